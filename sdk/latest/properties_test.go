package latest

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/service-islands/islands/sdk"
)

// step is one thing that happens to a queue.
type step struct {
	asset   int
	candles int           // that are put with the quote
	pass    time.Duration // before
	busy    time.Duration // for which the receiver of the next batch is
}

// TestProperties holds a queue to what its documentation says, whatever happens to it.
func TestProperties(t *testing.T) {
	durations := rapid.SampledFrom([]time.Duration{0, 0, time.Millisecond, 40 * time.Millisecond, 100 * time.Millisecond, 3 * time.Second})
	rapid.Check(t, func(r *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) step {
			return step{
				asset: rapid.IntRange(0, 4).Draw(r, "asset"), candles: rapid.IntRange(0, 3).Draw(r, "candles"),
				pass: durations.Draw(r, "pass"), busy: durations.Draw(r, "busy"),
			}
		}), 0, 60).Draw(r, "steps")
		opts := Options{
			MinInterval: rapid.SampledFrom([]time.Duration{0, 50 * time.Millisecond, time.Second}).Draw(r, "interval"),
			Heartbeat:   rapid.SampledFrom([]time.Duration{-1, 70 * time.Millisecond, 2 * time.Second}).Draw(r, "heartbeat"),
		}
		var fault string
		synctest.Test(t, func(t *testing.T) { fault = play(t, steps, opts) })
		if fault != "" {
			r.Fatal(fault)
		}
	})
}

// play lets the steps happen and returns what was wrong with what came out.
func play(t *testing.T, steps []step, opts Options) (fault string) {
	t.Helper()
	var mu sync.Mutex
	var busy time.Duration
	report := func(format string, args ...any) {
		if fault == "" {
			fault = fmt.Sprintf(format, args...)
		}
	}
	q := New()
	q.MaxCandles = 4
	closed := candleCount{given: map[string]int{}, lost: map[string]int{}, got: map[string]int{}, last: map[string]time.Time{}}
	put, got := map[string]int{}, map[string]int{}
	var seq uint64
	var lastBatch time.Time
	last := time.Now() // when the emission before ended
	emit := func(batch sdk.QuoteBatch) error {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		if seq++; batch.Seq != seq {
			report("batch %d has the number %d", seq, batch.Seq)
		}
		if quiet := now.Sub(last); opts.Heartbeat > 0 && quiet > opts.Heartbeat {
			report("nothing for %s", quiet)
		}
		if fault := closed.emitted(batch.Candles, q.MaxCandles); fault != "" {
			report("%s", fault)
		}
		if len(batch.Quotes)+len(batch.Candles) > 0 {
			if !lastBatch.IsZero() && now.Sub(lastBatch) < opts.MinInterval {
				report("two batches within %s", now.Sub(lastBatch))
			}
			lastBatch = now
		} else if opts.Heartbeat < 0 || now.Sub(last) < opts.Heartbeat {
			report("a heartbeat that was not due")
		}
		seen := map[string]bool{}
		for _, one := range batch.Quotes {
			if seen[one.Symbol] {
				report("%s twice in a batch", one.Symbol)
			}
			seen[one.Symbol] = true
			if n := int(one.Price.Or(-1)); n > got[one.Symbol] {
				got[one.Symbol] = n
			} else {
				report("%s went from %d to %d", one.Symbol, got[one.Symbol], n)
			}
		}
		d := busy
		mu.Unlock()
		time.Sleep(d)
		mu.Lock()
		last = time.Now()
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- q.Run(t.Context(), emit, opts) }()
	for i, s := range steps {
		time.Sleep(s.pass)
		symbol := strconv.Itoa(s.asset)
		mu.Lock()
		busy = s.busy
		mu.Unlock()
		put[symbol] = i + 1
		one := quote(symbol, 0)
		one.Price, one.AsOf = sdk.Known(float64(i+1)), time.Now()
		q.Put(one)
		mu.Lock()
		run := closed.next(symbol, s.candles)
		closed.lost[symbol] += q.PutCandles(run)
		mu.Unlock()
		if n := q.Len(); n > 5+5*q.MaxCandles {
			report("%d wait for 5 assets", n)
		}
	}
	time.Sleep(time.Minute)
	for symbol, n := range put {
		mu.Lock()
		if got[symbol] != n {
			report("%s: the newest is %d, emitted was %d", symbol, n, got[symbol])
		}
		mu.Unlock()
	}
	mu.Lock()
	for symbol, n := range closed.given {
		if closed.got[symbol]+closed.lost[symbol] != n {
			report("%s: %d candles emitted and %d given up of %d", symbol, closed.got[symbol], closed.lost[symbol], n)
		}
	}
	mu.Unlock()
	q.Fail(errStop)
	if err := <-done; !errors.Is(err, errStop) {
		report("ended with %v", err)
	}
	return fault
}

// candleCount follows the candles of a play: per asset how many were put, given up and emitted, and the last one emitted.
type candleCount struct {
	given, lost, got map[string]int
	last             map[string]time.Time
}

// next is a run of as many candles as are asked for, each after all before.
func (c *candleCount) next(symbol string, n int) sdk.Candles {
	var numbers []int
	for range n {
		numbers = append(numbers, c.given[symbol])
		c.given[symbol]++
	}
	return minutes(symbol, numbers...)
}

// emitted counts the candles of a batch and returns what is wrong with them.
func (c *candleCount) emitted(runs []sdk.Candles, most int) (fault string) {
	seen := map[string]bool{}
	for _, run := range runs {
		if n := len(run.Items); seen[run.Symbol] || n == 0 || n > most {
			fault = fmt.Sprintf("%d candles of %s in a series, among others: %v", n, run.Symbol, seen[run.Symbol])
		}
		seen[run.Symbol] = true
		for _, one := range run.Items {
			if last, ok := c.last[run.Symbol]; ok && !one.OpenTime.After(last) {
				fault = fmt.Sprintf("%s: %s came after %s", run.Symbol, one.OpenTime, last)
			}
			c.last[run.Symbol] = one.OpenTime
		}
		c.got[run.Symbol] += len(run.Items)
	}
	return fault
}
