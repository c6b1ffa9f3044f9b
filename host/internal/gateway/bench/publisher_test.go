package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTurn(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		return // There is no clock.
	}
	for _, c := range []struct {
		name        string
		rate        int
		lasts, each time.Duration // of a turn, and of publishing once
		want        int
	}{
		{"at its rate", 10, time.Second, time.Millisecond, 10},
		{"one that is due too soon is left out", 10, time.Second, 150 * time.Millisecond, 6},
		{"without a pause", 0, time.Second, 10 * time.Millisecond, 101},
		{"shorter than the interval", 10, time.Millisecond, 0, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			clock, err := newClock()
			if err != nil {
				t.Fatal(err)
			}
			var got []stamp
			p := publisher{clock: clock, next: 3, publish: func(text []byte) error {
				s, ok := parseStamp(text)
				if now := clock.now(); !ok || s.published != now {
					t.Errorf("%s: %q was published at %d", c.name, text, now)
				}
				got = append(got, s)
				time.Sleep(c.each)
				return nil
			}}
			if err := p.turn(t.Context(), c.rate, c.lasts); err != nil {
				t.Fatal(err)
			}
			if len(got) != c.want {
				t.Errorf("%s: %d updates, want %d", c.name, len(got), c.want)
			}
			for i, s := range got {
				if s.number != uint64(3+i) || s.last != (i == len(got)-1) {
					t.Errorf("%s: update %d of %d is %+v", c.name, i, len(got), s)
				}
			}
		})
	}
}

func TestTurnEndsEarly(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		return // There is no clock.
	}
	ctx, cancel := context.WithCancel(t.Context())
	p := publisher{publish: func([]byte) error { cancel(); return nil }}
	if err := p.turn(ctx, 0, time.Hour); err != nil || p.next != 2 {
		t.Errorf("%d updates, %v", p.next, err)
	}
	broken := errors.New("broken")
	p.publish = func([]byte) error { return broken }
	if err := p.turn(t.Context(), 0, time.Hour); !errors.Is(err, broken) || !strings.Contains(err.Error(), "update 2") {
		t.Errorf("%v", err)
	}
}

func TestDrive(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		return // There is no clock.
	}
	in, orders := io.Pipe()
	reports, out := io.Pipe()
	driven := make(chan error, 1)
	published := 0
	go func() {
		driven <- drive(t.Context(), in, out, "here:1", func([]byte) error { published++; return nil })
	}()
	input, output := json.NewEncoder(orders), json.NewDecoder(reports)
	for i, o := range []*order{nil, {Rate: 1000, Lasts: 3 * time.Millisecond}, {Settle: true}} {
		if o != nil {
			if err := input.Encode(o); err != nil {
				t.Fatal(err)
			}
		}
		var got report
		if err := output.Decode(&got); err != nil {
			t.Fatal(err)
		}
		if got.Address != "here:1" || got.Goroutines == 0 || got.Next != uint64(published) || (i > 0) != (published > 0) {
			t.Errorf("report %d: %+v after %d updates", i, got, published)
		}
	}
	_ = orders.Close()
	if err := <-driven; err != nil {
		t.Errorf("%v", err)
	}
	err := drive(t.Context(), strings.NewReader("{nonsense"), io.Discard, "", nil)
	if err == nil || !strings.Contains(err.Error(), "read an order") {
		t.Errorf("%v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := drive(ended, bytes.NewReader(nil), io.Discard, "", nil); err != nil {
		t.Errorf("%v", err)
	}
}
