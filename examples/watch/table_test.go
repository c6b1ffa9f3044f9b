package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/service-islands/islands/sdk"
)

var rewrite = flag.Bool("update", false, "write the golden files anew")

// shown is a view with a row of each kind.
func shown(t *testing.T) view {
	t.Helper()
	now := noon.Add(30 * time.Second)
	f := newFeed([]string{"ticker:*", "ticker:dot", "global", "islands"})
	for _, text := range []string{
		`{"type":"subscribed","id":1,"data":{"ticker:*":{"ok":true},"global":{"ok":true},"islands":{"ok":true},"ticker:dot":{"ok":false,"error":"too many"}}}`,
		`{"type":"snapshot","channel":"ticker:*","epoch":"7f3a","seq":41,"timestamp":"2026-11-05T12:00:29.995Z","data":{
			"btc":{"price":67000,"change_24h":1.234,"volume_24h":28123456789,"market_cap":1300000000000,"source":"binance-source","as_of":"2026-11-05T12:00:29Z","stale":false},
			"eth":{"price":2604.5,"change_24h":-0.5,"volume_24h":9000000000,"market_cap":310000000000,"source":"coingecko-source","as_of":"2026-11-05T12:00:10Z","stale":false},
			"old":{"price":3.25,"change_24h":0,"volume_24h":1200,"market_cap":50000000,"source":"coingecko-source","as_of":"2026-11-05T11:00:00Z","stale":false},
			"shib":{"price":0.00001234567,"change_24h":12,"volume_24h":999,"market_cap":7000000000,"source":"coingecko-source","as_of":"2026-11-05T12:00:00Z","stale":true},
			"none":{"price":null,"change_24h":null,"volume_24h":null,"market_cap":null,"source":null,"as_of":null,"stale":false},
			"evil":{"price":1,"market_cap":1,"source":"a\u001b[2Jb\u009bc\nd","as_of":"2026-11-05T12:00:29Z","stale":false}}}`,
		`{"type":"market_update","channel":"ticker:*","epoch":"7f3a","seq":44,"timestamp":"2026-11-05T12:00:29.995Z","data":{
			"btc":{"price":67000.5,"change_24h":1.234,"volume_24h":28123456789,"market_cap":1300000000000,"source":"binance-source","as_of":"2026-11-05T12:00:29Z","stale":false},
			"eth":{"price":2604.25,"change_24h":-0.5,"volume_24h":9000000000,"market_cap":310000000000,"source":"coingecko-source","as_of":"2026-11-05T12:00:10Z","stale":false}}}`,
		`{"type":"snapshot","channel":"global","epoch":"g","seq":1,"data":{"market_cap":2410000000000,"market_cap_change_24h":0.8,"volume_24h":98100000000,"dominance":{"btc":52.5,"eth":12.9,"sol":3.1,"xrp":2},"stale":false}}`,
		`{"type":"snapshot","channel":"islands","epoch":"i","seq":1,"data":{"cache":{"status":"ok","state":"running"},"postgres-store":{"status":"","state":"disabled"},"binance-source":{"status":"degraded","reason":"banned for 2 minutes"}}}`,
	} {
		if _, err := f.apply(parse(t, text), now); err != nil {
			t.Fatal(err)
		}
	}
	f.last, f.latency = "ticker:*", 5*time.Millisecond
	w := &watcher{url: "ws://127.0.0.1:3000/ws", feed: f, link: link{up: true}, joined: 2}
	v, _ := w.view()
	v.now = now
	return v
}

// plainly takes the styles off, as the writer does in a pipe.
func plainly(t *testing.T, lines []string) string {
	t.Helper()
	var b strings.Builder
	if _, err := lipgloss.Fprintln(&b, strings.Join(lines, "\n")); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := "testdata/" + name + ".golden"
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s; -update writes it anew\n%s", file, diff)
	}
}

func TestTable(t *testing.T) {
	reconnecting := func(v *view) {
		v.link, v.live = link{reason: "closed with 4008 slow", retry: v.now.Add(1234 * time.Millisecond)}, false
	}
	for _, test := range []struct {
		name          string
		width, height int
		change        func(*view)
	}{
		{"wide", 100, 24, nil},
		{"half", 60, 24, nil},
		{"narrow", 24, 24, nil},
		{"low", 100, 11, nil},
		{"reconnecting", 100, 24, reconnecting},
		{"subscribing", 100, 24, func(v *view) { v.live = false }},
		{"connecting", 100, 24, func(v *view) { *v = view{url: v.url, now: v.now} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := shown(t)
			if test.change != nil {
				test.change(&v)
			}
			golden(t, test.name, plainly(t, draw(v, test.width, test.height, paint(true))))
		})
	}
}

// TestTableFits whatever the window is.
func TestTableFits(t *testing.T) {
	v := shown(t)
	for width := 0; width < 120; width += 7 {
		for height := 0; height < 30; height += 3 {
			lines := draw(v, width, height, paint(true))
			if len(lines) > max(height, 1) {
				t.Fatalf("%d lines in a window of %d × %d", len(lines), width, height)
			}
			for _, line := range lines {
				if got := lipgloss.Width(line); width > 0 && got > width || strings.Contains(line, "\n") {
					t.Fatalf("%d letters in a window of %d × %d: %q", got, width, height, line)
				}
			}
		}
	}
}

func TestColours(t *testing.T) {
	v := shown(t)
	coloured := strings.Join(draw(v, 100, 24, paint(true)), "\n")
	golden(t, "colours", fmt.Sprintf("%s\n", strings.ReplaceAll(coloured, "\x1b", "^")))
	plain := strings.Join(draw(v, 100, 24, paint(false)), "\n")
	for _, code := range []string{"\x1b[3", "\x1b[9", ";3", ";9", "38;"} {
		if strings.Contains(plain, code) {
			t.Errorf("%q in what should have no colour:\n%q", code, plain)
		}
	}
	if plainly(t, strings.Split(plain, "\n")) != plainly(t, strings.Split(coloured, "\n")) {
		t.Error("the words depend on the colour")
	}
}

func TestFigures(t *testing.T) {
	for _, test := range []struct{ number, price, short, percent string }{
		{"null", "-", "-", "-"},
		{"0", "0.00", "0.00", "+0.00%"},
		{"67000.5", "67,000.50", "67.00K", "+67000.50%"},
		{"1234567.891", "1,234,567.89", "1.23M", "+1234567.89%"},
		{"-1234.5", "-1,234.50", "-1234.50", "-1234.50%"},
		{"-123.5", "-123.50", "-123.50", "-123.50%"},
		{"999.126", "999.13", "999.13", "+999.13%"},
		{"1.23456", "1.2346", "1.23", "+1.23%"},
		{"0.999", "0.99900", "1.00", "+1.00%"},
		{"0.00001234567", "0.000012346", "0.00", "+0.00%"},
		{"0.0000000000000000001", "0.0000000000000000", "0.00", "+0.00%"},
		{"2410000000000", "2,410,000,000,000.00", "2.41T", "+2410000000000.00%"},
	} {
		var n sdk.Number
		if err := json.Unmarshal([]byte(test.number), &n); err != nil {
			t.Fatal(err)
		}
		if got := [3]string{price(n), short(n), percent(n)}; got != [3]string{test.price, test.short, test.percent} {
			t.Errorf("%s is %v", test.number, got)
		}
	}
}

func TestAge(t *testing.T) {
	for _, test := range []struct {
		old  time.Duration
		want string
	}{
		{-time.Hour, "0s"},
		{59 * time.Second, "59s"},
		{60 * time.Second, "1m"},
		{time.Hour, "1h"},
		{47 * time.Hour, "47h"},
		{49 * time.Hour, "2d"},
	} {
		if got := age(noon.Add(-test.old), noon); got != test.want {
			t.Errorf("%v is %s, want %s", test.old, got, test.want)
		}
	}
	if got := age(time.Time{}, noon); got != "-" {
		t.Errorf("an unknown time is %s", got)
	}
}
