package main

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// drawing is a screen whose window and view the test changes.
type drawing struct {
	out     safeBuffer
	version atomic.Int64
	width   atomic.Int64
}

func newDrawing(width int64) *drawing {
	d := &drawing{}
	d.width.Store(width)
	return d
}

func (d *drawing) screen() *screen {
	return &screen{
		out: &d.out, palette: paint(false),
		size: func() (int, int) { return int(d.width.Load()), 5 },
		view: func() (view, int) { return view{url: "ws://feed/ws", now: time.Now()}, int(d.version.Load()) },
	}
}

func TestScreen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDrawing(40)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- d.screen().run(ctx) }()
		seen := 0
		expect := func(when string, frames int, clears bool) {
			t.Helper()
			synctest.Wait()
			text := d.out.String()[seen:]
			seen += len(text)
			if strings.Count(text, beginFrame) != frames || strings.Contains(text, clearScreen) != clears {
				t.Errorf("%s: %q", when, text)
			}
		}
		expect("at first", 1, true)
		if !strings.HasPrefix(d.out.String(), enterScreen) {
			t.Errorf("%q", d.out.String())
		}
		time.Sleep(9 * frameTime)
		expect("nothing happens", 0, false)
		time.Sleep(frameTime)
		expect("a second later, for the ages", 1, false)
		d.version.Add(1)
		time.Sleep(frameTime)
		expect("an update", 1, false)
		d.version.Add(5)
		time.Sleep(frameTime)
		expect("several in one frame", 1, false)
		d.width.Store(30)
		time.Sleep(frameTime)
		expect("another window", 1, true)
		cancel()
		if err := <-ended; err != nil || !strings.HasSuffix(d.out.String(), leaveScreen) {
			t.Errorf("%v: %q", err, d.out.String()[seen:])
		}
	})
}

// failing takes so many writes.
type failing struct{ writes int }

func (f *failing) Write(p []byte) (int, error) {
	f.writes--
	if f.writes < 0 {
		return 0, errors.New("gone")
	}
	return len(p), nil
}

func TestTerminalThatIsGone(t *testing.T) {
	for writes := range 2 {
		s := newDrawing(40).screen()
		s.out = &failing{writes: writes}
		if err := s.run(t.Context()); !errors.Is(err, errOutput) {
			t.Errorf("after %d writes: %v", writes, err)
		}
	}
}

// TestScreenLeavesWhenTheFeedIsRefused, and says why after it.
func TestScreenLeavesWhenTheFeedIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := watching(t, options{size: func() (int, int) { return 80, 24 }, palette: paint(false)}, nil, func(s *server, _ func()) {
			s.begin(false)
			s.send(snapshot("a", 1, "btc 1"))
			time.Sleep(time.Second)
			_ = s.conn.Close(4503, "enough")
		})
		if s.err == nil || s.err.Error() != "closed with 4503 enough" {
			t.Error(s.err)
		}
		if out := s.out.String(); !strings.Contains(out, "btc ") || !strings.HasSuffix(out, leaveScreen) || s.errs.String() != "" {
			t.Errorf("%q", out)
		}
	})
}
