package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// noon is when everything in these tests happens.
var noon = time.Date(2026, 11, 5, 12, 0, 0, 0, time.UTC)

// parse reads a message as the client does.
func parse(t rapid.TB, text string) message {
	t.Helper()
	var m message
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return m
}

// ticker is a message with the prices of a channel, written as "btc 1, eth 2".
func ticker(kind, channel, epoch string, seq uint64, prices string) string {
	var quotes []string
	for _, pair := range strings.FieldsFunc(prices, func(r rune) bool { return r == ',' }) {
		symbol, price, _ := strings.Cut(strings.TrimSpace(pair), " ")
		quotes = append(quotes, fmt.Sprintf(`%q:{"id":null,"symbol":%q,"price":%s,"rank":null,"source":"sim","as_of":%q,"stale":false}`,
			symbol, symbol, price, noon.Format(time.RFC3339)))
	}
	return fmt.Sprintf(`{"type":%q,"channel":%q,"epoch":%q,"seq":%d,"timestamp":%q,"data":{%s}}`,
		kind, channel, epoch, seq, noon.Format(time.RFC3339Nano), strings.Join(quotes, ","))
}

func snapshot(epoch string, seq uint64, prices string) string {
	return ticker("snapshot", "ticker:*", epoch, seq, prices)
}

func update(epoch string, seq uint64, prices string) string {
	return ticker("market_update", "ticker:*", epoch, seq, prices)
}

func answered(recovered bool) string {
	return fmt.Sprintf(`{"type":"subscribed","id":1,"timestamp":"2026-11-05T12:00:00Z","data":{"ticker:*":{"ok":true,"recovered":%t,"epoch":"a","seq":9}}}`, recovered)
}

// prices is the reverse of what ticker reads, by symbol.
func prices(f *feed) string {
	var pairs []string
	for _, r := range f.rows() {
		pairs = append(pairs, r.Symbol+" "+r.Price.String())
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ", ")
}

func TestFeed(t *testing.T) {
	for _, test := range []struct {
		name     string
		messages []string // "!" is a lost connection.
		prices   string
		holes    []string
		lost     uint64
		since    position
		err      string // of the last message; none before.
	}{
		{
			"what comes before the answer does not count",
			[]string{snapshot("a", 4, "btc 1"), update("a", 5, "btc 2")},
			"", nil, 0,
			position{},
			"",
		},
		{
			"the answer to nobody's request",
			[]string{`{"type":"subscribed","data":{"ticker:*":{"ok":true}}}`, snapshot("a", 4, "btc 1")},
			"", nil, 0,
			position{},
			"",
		},
		{
			"a snapshot and updates",
			[]string{answered(false), snapshot("a", 4, "btc 1, eth 2"), update("a", 5, "btc 3"), update("a", 6, "sol 4")},
			"btc 3, eth 2, sol 4", nil, 0,
			position{"a", 6},
			"",
		},
		{
			"known already",
			[]string{answered(false), snapshot("a", 4, "btc 1"), update("a", 5, "btc 3"), update("a", 5, "btc 9"), update("a", 3, "btc 9")},
			"btc 3", nil, 0,
			position{"a", 5},
			"",
		},
		{
			"a jump",
			[]string{answered(false), snapshot("a", 4, "btc 1"), update("a", 8, "btc 3")},
			"btc 3",
			[]string{"hole in ticker:*: 3 lost between seq 4 and 8"},
			3,
			position{"a", 8},
			"",
		},
		{
			"recovered: the snapshot of the defaults is newer than the replay and must not hide it",
			[]string{
				answered(false), snapshot("a", 4, "btc 1"), "!",
				snapshot("a", 6, "btc 3"), answered(true), update("a", 5, "btc 2"), update("a", 6, "btc 3"),
			},
			"btc 3", nil, 0,
			position{"a", 6},
			"",
		},
		{
			"not recovered",
			[]string{answered(false), snapshot("a", 4, "btc 1, eth 1"), "!", answered(false), snapshot("a", 9, "btc 3")},
			"btc 3",
			[]string{"hole in ticker:*: 5 lost between seq 4 and 9"},
			5,
			position{"a", 9},
			"",
		},
		{
			"not recovered, and nothing missed",
			[]string{answered(false), snapshot("a", 4, "btc 1"), "!", answered(false), snapshot("a", 4, "btc 1")},
			"btc 1", nil, 0,
			position{"a", 4},
			"",
		},
		{
			"another epoch",
			[]string{answered(false), snapshot("a", 4, "btc 1"), "!", answered(false), snapshot("b", 2, "btc 3")},
			"btc 3",
			[]string{"hole in ticker:*: epoch a ended at 4, epoch b goes on at 2"},
			0,
			position{"b", 2},
			"",
		},
		{
			"another epoch without a snapshot",
			[]string{answered(false), snapshot("a", 4, "btc 1"), update("b", 5, "btc 3")},
			"btc 1",
			[]string{"hole in ticker:*: epoch a ended at 4, epoch b goes on at 5"},
			0,
			position{},
			"ticker:* began a new epoch without a snapshot",
		},
		{
			"a channel nobody asked for",
			[]string{answered(false), ticker("snapshot", "ticker:btc", "a", 4, "btc 1")},
			"", nil, 0,
			position{},
			"",
		},
		{
			"a type nobody knows",
			[]string{answered(false), `{"type":"poem","data":"roses"}`},
			"", nil, 0,
			position{},
			"",
		},
		{
			"data of another form",
			[]string{answered(false), `{"type":"snapshot","channel":"ticker:*","epoch":"a","seq":1,"data":[]}`},
			"", nil, 0,
			position{},
			"snapshot with unreadable data: json: cannot unmarshal array into Go value of type map[string]main.quote",
		},
		{
			"refused",
			[]string{`{"type":"subscribed","id":1,"data":{"ticker:*":{"ok":false,"error":"full\u001b[2J"}}}`, snapshot("a", 4, "btc 1")},
			"", nil, 0,
			position{},
			"",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFeed([]string{"ticker:*", "global"})
			var holes []string
			for i, text := range test.messages {
				if text == "!" {
					f.interrupted()
					continue
				}
				n, err := f.apply(parse(t, text), noon)
				for _, h := range n.holes {
					holes = append(holes, h.String())
				}
				if want := test.err; i == len(test.messages)-1 && want != "" {
					if err == nil || err.Error() != want {
						t.Errorf("%v, want %s", err, want)
					}
				} else if err != nil {
					t.Error(err)
				}
			}
			if got := prices(f); got != test.prices {
				t.Errorf("prices %s, want %s", got, test.prices)
			}
			if diff := cmp.Diff(test.holes, holes); diff != "" {
				t.Error(diff)
			}
			if f.holes != len(test.holes) || f.lost != test.lost {
				t.Errorf("%d holes, %d lost; want %d, %d", f.holes, f.lost, len(test.holes), test.lost)
			}
			if got := f.since()["ticker:*"]; got != test.since {
				t.Errorf("since %v, want %v", got, test.since)
			}
		})
	}
}

func TestFeedOfTheWhole(t *testing.T) {
	f := newFeed([]string{"ticker:btc", "ticker:eth", "global", "islands"})
	for _, text := range []string{
		`{"type":"subscribed","id":1,"data":{"global":{"ok":true},"islands":{"ok":true},"ticker:btc":{"ok":true},"ticker:eth":{"ok":false,"error":"no such symbol"}}}`,
		`{"type":"snapshot","channel":"global","epoch":"g","seq":1,"data":{"vs_currency":"usd","market_cap":1,"dominance":{"btc":52.5},"active_assets":null,"as_of":null,"stale":false}}`,
		`{"type":"global_update","channel":"global","epoch":"g","seq":2,"data":{"vs_currency":"usd","market_cap":2,"dominance":{"btc":52.6},"stale":true}}`,
		`{"type":"snapshot","channel":"islands","epoch":"i","seq":7,"data":{"cache":{"name":"cache","status":"ok","state":"running"},"binance-source":{"name":"binance-source","status":"ok"}}}`,
		`{"type":"islands_update","channel":"islands","epoch":"i","seq":8,"data":{"binance-source":{"name":"binance-source","status":"failed","reason":"banned"}}}`,
		`{"type":"error","data":{"code":"too_many_messages","message":"slow down","temporary":true}}`,
	} {
		if _, err := f.apply(parse(t, text), noon); err != nil {
			t.Error(err)
		}
	}
	if f.global == nil || f.global.MarketCap.String() != "2" || !f.global.Stale {
		t.Errorf("global %+v", f.global)
	}
	var troubled []string
	for _, i := range f.troubled() {
		troubled = append(troubled, i.String())
	}
	if diff := cmp.Diff([]string{"island binance-source failed: banned"}, troubled); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"ticker:eth refused: no such symbol"}, f.refusals()); diff != "" {
		t.Error(diff)
	}
	if f.problem != "too_many_messages: slow down" {
		t.Errorf("problem %q", f.problem)
	}
}

func TestTrend(t *testing.T) {
	f := newFeed([]string{"ticker:*"})
	for i, step := range []struct {
		text  string
		trend int
	}{
		{snapshot("a", 1, "btc 5"), 0},
		{update("a", 2, "btc 6"), 1},
		{update("a", 3, "btc 6"), 1},
		{update("a", 4, "btc 4"), -1},
		{update("a", 5, "btc null"), -1},
		{snapshot("a", 6, "btc 3"), -1},
	} {
		if i == 0 {
			if _, err := f.apply(parse(t, answered(false)), noon); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := f.apply(parse(t, step.text), noon); err != nil {
			t.Fatal(err)
		}
		if got := f.rows()[0].trend; got != step.trend {
			t.Errorf("step %d: trend %d, want %d", i, got, step.trend)
		}
	}
}

// TestRequestsFitTheFeed asks for as much as can be asked for, from places with long names.
func TestRequestsFitTheFeed(t *testing.T) {
	var names []string
	since := make(map[string]position)
	for i := range mostSymbols {
		name := fmt.Sprintf("ticker:%032d", i)
		names = append(names, name)
		since[name] = position{strings.Repeat("e", 36), 1<<64 - 1}
	}
	var asked []string
	frames := subscribe(names, since)
	for _, frame := range frames {
		var r request
		if err := json.Unmarshal(frame, &r); err != nil || len(frame) > 4096 {
			t.Fatalf("%d bytes, %v", len(frame), err)
		}
		if r.Action != "subscribe" || r.ID != requestID || !slices.Equal(r.Channels, slices.Sorted(maps.Keys(r.Since))) {
			t.Errorf("%s", frame)
		}
		asked = append(asked, r.Channels...)
	}
	if !slices.Equal(asked, names) || len(frames) > 8 {
		t.Errorf("%d frames ask for %d of %d channels", len(frames), len(asked), len(names))
	}
}
