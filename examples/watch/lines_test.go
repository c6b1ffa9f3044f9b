package main

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLines(t *testing.T) {
	f := newFeed([]string{"ticker:*", "global", "islands"})
	var out, errs strings.Builder
	l := &lines{out: &out, errs: &errs}
	at := noon.In(time.Local)
	for _, text := range []string{
		`{"type":"subscribed","id":1,"data":{"ticker:*":{"ok":true},"global":{"ok":true},"islands":{"ok":false,"error":"not here"}}}`,
		`{"type":"snapshot","channel":"ticker:*","epoch":"a","seq":1,"data":{"btc":{"price":67000.125,"change_24h":1.5,"volume_24h":2e9,"source":"sim","as_of":"2026-11-05T12:00:00Z"},
			"eth":{"price":null,"as_of":"2026-11-05T10:00:00Z"}}}`,
		`{"type":"market_update","channel":"ticker:*","epoch":"a","seq":3,"data":{"btc":{"price":66000,"source":"si\u001b[1mm","as_of":"2026-11-05T12:00:00Z"}}}`,
		`{"type":"snapshot","channel":"global","epoch":"a","seq":1,"data":{"market_cap":1e12,"stale":true}}`,
		`{"type":"heartbeat","data":null}`,
	} {
		n, err := f.apply(parse(t, text), at)
		if err := errors.Join(err, l.message([]byte(text), n, at)); err != nil {
			t.Fatal(err)
		}
	}
	l.linked(link{reason: "closed with 4001 shutdown", retry: at.Add(time.Second)}, at)
	golden(t, "lines", strings.ReplaceAll(out.String(), at.Format(time.TimeOnly), "12:00:00")+"---\n"+errs.String())
}

// slowWriter takes its time.
type slowWriter struct {
	safeBuffer
	delay time.Duration
}

func (w *slowWriter) Write(p []byte) (int, error) {
	time.Sleep(w.delay)
	return w.safeBuffer.Write(p)
}

// TestSlowPipe: whoever reads slowly gets everything, and the connection is not taken for dead meanwhile.
func TestSlowPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := &slowWriter{delay: 2 * time.Minute}
		s := watching(t, options{lines: true, out: pipe}, nil, func(s *server, stop func()) {
			s.begin(false)
			s.send(snapshot("a", 1, "btc 1"), update("a", 2, "btc 2"), update("a", 3, "btc 3"))
			s.send(`{"type":"heartbeat"}`) // Taken only once all is written.
			stop()
			s.closed()
		})
		if s.err != nil || strings.Count(pipe.String(), "btc") != 3 || strings.Count(s.errs.String(), "connected\n") != 1 {
			t.Errorf("%v\n%s\n%s", s.err, pipe.String(), s.errs.String())
		}
	})
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestOutputThatFailsEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := watching(t, options{lines: true, out: brokenWriter{}}, nil, func(s *server, _ func()) {
			s.begin(false)
			s.send(snapshot("a", 1, "btc 1"))
			s.closed()
		})
		if s.err == nil || s.err.Error() != "write the output: no space left" {
			t.Error(s.err)
		}
	})
}

func TestRawMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := watching(t, options{raw: true}, nil, func(s *server, stop func()) {
			s.send("{\n  \"type\": \"welcome\",\n  \"data\": {\"heartbeat_interval_ms\": 15000}\n}")
			s.subscribed()
			s.send(answered(false), snapshot("a", 1, "btc 1"))
			stop()
			s.closed()
		})
		want := `{"type":"welcome","data":{"heartbeat_interval_ms":15000}}` + "\n" + answered(false) + "\n" + snapshot("a", 1, "btc 1") + "\n"
		if diff := cmp.Diff(want, s.out.String()); s.err != nil || diff != "" {
			t.Errorf("%v %s", s.err, diff)
		}
	})
}
