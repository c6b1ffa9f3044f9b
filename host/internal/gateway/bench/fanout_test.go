package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestFanout runs the section as it is, with processes, on few clients for a short time.
func TestFanout(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		return // It is measured on Linux only.
	}
	var out, errs bytes.Buffer
	args := []string{
		"--only", "fanout", "--loads", "5x20,8xmax", "--turns", "2", "--turn", "100ms", "--audience", "6", "--stalled", "2", "--shed", "1s", "--json",
		"--centrifuge", filepath.Join(t.TempDir(), "none"),
	}
	if code := run(t.Context(), args, nil, &out, &errs); code != exitUnmeasured {
		t.Errorf("exit status %d: %s", code, &errs)
	}
	var got results
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Problems) != 1 || !strings.Contains(got.Problems[0], "none is not built, make bench does it") {
		t.Errorf("%q", got.Problems)
	}
	if len(got.Tables) != 4 {
		t.Fatalf("%d tables, want two loads, the idle connections and those that do not read", len(got.Tables))
	}
	rows := make(map[string]row)
	for _, r := range got.Tables[0].Rows {
		rows[r.Name] = r
	}
	for _, name := range []string{
		"bare loop: processor time per delivery", "bare loop: half are there within", "bare loop: 99 of 100 are there within",
		"bare loop: deliveries per second", "bare loop: the audience's own processor time per delivery",
	} {
		if r, ok := rows[name]; !ok || r.Value.Count != 2 || r.Value.Min <= 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for _, name := range []string{"bare loop", "islands"} {
		if r, ok := rows[name+": deliveries missed"]; !ok || r.Value.Count != 1 || r.Value.Median != 0 {
			t.Errorf("%s missed: %+v", name, r)
		}
	}
	if idle := got.Tables[2].Rows; len(idle) != 4 || idle[2].Name != "bare loop, 8 connections" || idle[3].Name != "islands, 8 connections" {
		t.Errorf("idle: %+v", idle)
	}
}

func newTestBench(t *testing.T) *bench {
	t.Helper()
	cpus, err := allowedProcessors()
	if err != nil {
		t.Fatal(err)
	}
	return &bench{dir: t.TempDir(), program: os.Args[0], cpus: cpus, logged: io.Discard}
}

// TestStalled runs the part about clients that do not read on a station that holds out: it is told as it is.
func TestStalled(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		return // It is measured on Linux only.
	}
	b := newTestBench(t)
	b.opts = options{turns: 1, turn: 50 * time.Millisecond, audience: 6, stalled: 2, shed: 100 * time.Millisecond}
	c := b.contenders()[0]
	c.role = ours
	got, err := b.stalled(t.Context(), c, b.cpus, b.cpus)
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]row)
	for _, r := range got.Rows {
		rows[r.Name] = r
	}
	if r := rows["deliveries that the others missed"]; r.Met == nil || !*r.Met {
		t.Errorf("missed: %+v", r)
	}
	if r := rows["not all of those were gone after"]; r.Met == nil || *r.Met || r.Value.Median < 0.1 {
		t.Errorf("gone: %+v", r)
	}
	if r := rows["open files once those are gone"]; r.Met == nil || *r.Met || r.Value.Median != r.Ceiling.Median+2 {
		t.Errorf("open files: %+v", r)
	}
	if r := rows["open files once all are gone"]; r.Met == nil || !*r.Met {
		t.Errorf("open files: %+v", r)
	}
}

// TestStationsThatFail shows what is said of a station that does not do what it should.
func TestStationsThatFail(t *testing.T) {
	t.Parallel()
	b := newTestBench(t)
	for _, c := range []struct {
		name, script, want string
	}{
		{"ends at once", "exit 3", "x: sh ended: exit status 3; it said: "},
		{"says why", "echo no socket >&2; exit 3", "it said: no socket"},
		{"says nonsense", "echo nonsense; read x", "x: sh answers nonsense"},
		{"says half", `printf '{"address":'`, "x: sh ended: by itself"},
		{"does not listen", "echo {}; read x", "x: it does not say where it listens"},
	} {
		contender := contender{name: "x", program: "/bin/sh", args: []string{"-c", c.script}}
		if s, err := b.startStation(t.Context(), contender, b.cpus); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v %v, want %s", c.name, s, err, c.want)
		}
	}
	silent, err := program{path: "/bin/sh", args: []string{"-c", "read x"}, log: b.place(".log"), cpus: b.cpus, reports: true}.start()
	if err != nil {
		t.Fatal(err)
	}
	if err := silent.ask(t.Context(), nil, &struct{}{}, time.Millisecond); err == nil || !strings.Contains(err.Error(), "sh has not answered for 1ms") {
		t.Errorf("%v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := silent.ask(ended, nil, &struct{}{}, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := silent.kill(); err != nil {
		t.Error(err)
	}
}

func TestByClients(t *testing.T) {
	t.Parallel()
	loads, err := parseLoads("10x1,20xmax,10x5")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := byClients(loads), [][]feedLoad{{{10, 1}, {10, 5}}, {{20, 0}}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := loads[1].String(); got != "20xmax" {
		t.Errorf("%s", got)
	}
}

// took returns the rounds of a contender whose every figure is as given.
func took(name string, what role, figures ...float64) *rounds {
	return &rounds{
		contender: contender{name: name, role: what}, cpu: figures, audience: figures, p50: figures, p99: figures, rate: figures,
	}
}

func TestBetter(t *testing.T) {
	t.Parallel()
	sheds := took("sheds", rival, 1)
	sheds.gone = 1
	for _, c := range []struct {
		name, want string
		all        []*rounds
	}{
		{"the quicker", "b", []*rounds{took("bare", floor, 1), took("a", rival, 3, 9), took("b", rival, 4, 5), took("we", ours, 1)}},
		{"nobody else", "bare", []*rounds{took("we", ours, 1), took("bare", floor, 2)}},
		{"one kept its clients", "a", []*rounds{sheds, took("a", rival, 3)}},
		{"none did", "sheds", []*rounds{sheds, took("a", rival)}},
		{"none delivered", "bare", []*rounds{took("a", rival), took("bare", floor, 9)}},
	} {
		if got := better(c.all); got.name != c.want {
			t.Errorf("%s: %s, want %s", c.name, got.name, c.want)
		}
	}
}

func TestLoadTable(t *testing.T) {
	t.Parallel()
	m := &match{bench: &bench{opts: options{turns: 2, turn: time.Second}}}
	for _, c := range []struct {
		name   string
		load   feedLoad
		ours   []float64
		missed int
		want   map[string]string
	}{
		{"seldom, met", feedLoad{1000, 10}, []float64{8, 8}, 0, map[string]string{
			"we: processor time per delivery": "≤ 0.8 ×, met", "we: 99 of 100 are there within": "< 1 ×, met", "we: deliveries missed": "0, met",
		}},
		{"seldom, missed", feedLoad{1000, 10}, []float64{10, 10}, 1, map[string]string{
			"we: processor time per delivery": "≤ 0.8 ×, MISSED", "we: 99 of 100 are there within": "< 1 ×, MISSED", "we: deliveries missed": "0, MISSED",
		}},
		{"busy", feedLoad{1000, 200}, []float64{7.6, 7.6}, 0, map[string]string{"we: processor time per delivery": "≤ 0.75 ×, MISSED"}},
		{"without a pause", feedLoad{1000, 0}, []float64{4, 4}, 7, map[string]string{
			"we: processor time per delivery": "≤ 0.4 ×, met", "we: deliveries missed": "", "them: processor time per delivery": "",
		}},
	} {
		we := took("we", ours, c.ours...)
		we.missed = c.missed
		got := m.loadTable(c.load, []*rounds{took("bare", floor, 5, 5), took("them", rival, 10, 10), we})
		if !strings.Contains(got.Title, "the ceiling is them") {
			t.Errorf("%s: %s", c.name, got.Title)
		}
		for name, want := range c.want {
			at := slices.IndexFunc(got.Rows, func(r row) bool { return r.Name == name })
			if at < 0 || got.Rows[at].verdict() != want {
				t.Errorf("%s: %s is not %q in %+v", c.name, name, want, got.Rows)
			}
		}
	}
	lost := took("them", rival)
	lost.gone, lost.reason, lost.repeated = 9, "slow", 2
	got := m.loadTable(feedLoad{1000, 0}, []*rounds{took("bare", floor, 5), lost})
	var text strings.Builder
	if err := (results{Tables: []table{got}}).write(&text, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"them: clients gone, slow", "them: deliveries repeated", "as fast as it goes"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, &text)
		}
	}
}

func TestIdleRows(t *testing.T) {
	t.Parallel()
	m := &match{}
	for name, p := range map[string]*pairing{
		"bare": {idle: 16 << 10}, "we": {idle: 17.5 * 1024},
	} {
		p.station = &station{contender: contender{name: name, role: floor}}
		if name == "we" {
			p.role = ours
		}
		m.pairs = append(m.pairs, p)
	}
	for _, r := range m.idleRows(1000) {
		switch r.Name {
		case "bare, 1000 connections":
			if r.Value.Median != 16 || r.Ceiling != nil || r.Aim != "" {
				t.Errorf("%+v", r)
			}
		case "we, 1000 connections":
			if r.Value.Median != 17.5 || r.Ceiling == nil || r.verdict() != "≤ 17 KB, MISSED" {
				t.Errorf("%+v", r)
			}
		default:
			t.Errorf("%+v", r)
		}
	}
}
