package latest

import (
	"slices"
	"time"

	"github.com/service-islands/islands/sdk"
)

// DefaultMaxCandles is how many candles of one asset and interval wait at most when the queue does not say: the minutes
// of two hours.
const DefaultMaxCandles = 120

// runKey is what a run of candles is one of.
type runKey struct {
	asset    key
	interval sdk.Interval
}

// PutCandles leaves the closed candles of a series to be emitted and never blocks; those that are open are left out. They
// join the ones of the same asset and interval that wait, oldest first; of two that open at the same time the one that was
// put last is kept, and what is said about the series is what the one with the later AsOf says. It returns how many were
// given up, the oldest ones, because more than MaxCandles would wait. The series stays the caller's.
func (q *Queue) PutCandles(series sdk.Candles) (superseded int) {
	if !slices.ContainsFunc(series.Items, func(c sdk.Candle) bool { return c.Closed }) {
		return 0
	}
	q.mu.Lock()
	run := q.run(series)
	for _, c := range series.Items {
		if c.Closed {
			run.Items = placed(run.Items, c)
		}
	}
	most := q.MaxCandles
	if most <= 0 {
		most = DefaultMaxCandles
	}
	if superseded = max(0, len(run.Items)-most); superseded > 0 {
		run.Items = slices.Delete(run.Items, 0, superseded)
	}
	q.mu.Unlock()
	q.rouse()
	return superseded
}

// run returns the series that waits for more candles of an asset and interval. The queue's lock is held.
func (q *Queue) run(series sdk.Candles) *sdk.Candles {
	k := runKey{key{series.ID, series.Symbol, series.VsCurrency}, series.Interval}
	i, found := q.runPlace[k]
	if !found {
		i = len(q.runs)
		q.runPlace[k] = i
		q.runs = append(q.runs, sdk.Candles{})
	}
	run := &q.runs[i]
	if !found || !series.AsOf.Before(run.AsOf) {
		series.Items = run.Items
		*run = series
	}
	return run
}

// placed puts a candle where it belongs among others, instead of the one that opens at the same time if there is one.
func placed(candles []sdk.Candle, c sdk.Candle) []sdk.Candle {
	i, found := slices.BinarySearchFunc(candles, c.OpenTime, func(c sdk.Candle, opens time.Time) int {
		return c.OpenTime.Compare(opens)
	})
	if found {
		candles[i] = c
		return candles
	}
	return slices.Insert(candles, i, c)
}
