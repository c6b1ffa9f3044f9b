package pipeline

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
)

func TestTheNewestIsServedFirstAndTheOldestShed(t *testing.T) {
	a := newAdmission(2, time.Now)
	for range 2 {
		if waits, err := a.join(false); waits != nil || err != nil {
			t.Fatalf("no place: %v, %v", waits, err)
		}
	}
	var tickets []*ticket
	for range 3 {
		waits, err := a.join(false)
		if err != nil {
			t.Fatal(err)
		}
		tickets = append(tickets, waits)
	}
	refresh, err := a.join(true)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.wait(t.Context(), tickets[0], time.Hour); !errors.Is(err, sdk.ResourceExhausted) || sdk.RetryAfter(err) < time.Second {
		t.Errorf("the oldest is not shed: %v", err)
	}
	for i, next := range []*ticket{refresh, tickets[2], tickets[1]} {
		a.leave()
		if err := a.wait(t.Context(), next, time.Hour); err != nil {
			t.Errorf("ticket %d: %v", i, err)
		}
	}
	a.leave()
	a.leave()
	if a.free != 2 || len(a.cold)+len(a.refreshes) != 0 {
		t.Errorf("%d places are free, %d wait", a.free, len(a.cold)+len(a.refreshes))
	}
}

func TestNobodyWaitsLongerThanAShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, end := running(w, func(o *Options) { o.MaxFlights = 2 })
		defer end()
		if _, err := r.Quote(t.Context(), "btc", "usd", ""); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.gecko.delay, w.binan.delay = time.Hour, time.Hour // hung
		began := time.Now()
		var shed atomic.Int64
		var wait sync.WaitGroup
		for i := range 4 {
			wait.Go(func() {
				_, err := r.Quote(t.Context(), fmt.Sprintf("coin%d", i), "usd", "")
				if errors.Is(err, sdk.ResourceExhausted) && time.Since(began) <= r.opts.RequestTimeout/waitShare {
					shed.Add(1)
				}
			})
		}
		time.Sleep(time.Second)
		// A warm answer waits for nobody.
		before := time.Now()
		if _, err := r.Quote(t.Context(), "btc", "usd", ""); err != nil || time.Since(before) != 0 {
			t.Errorf("a warm answer took %v: %v", time.Since(before), err)
		}
		wait.Wait()
		if shed.Load() != 2 {
			t.Errorf("%d are shed in time, not 2", shed.Load())
		}
		synctest.Wait()
		if r.cold.free != 2 {
			t.Errorf("%d places are free", r.cold.free)
		}
	})
}
