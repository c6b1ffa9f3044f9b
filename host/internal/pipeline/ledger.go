package pipeline

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// Bounds on what the ledger writes and keeps.
const (
	ledgerBatch   = 500
	ledgerPace    = time.Second
	ledgerCandles = 1000
)

// Pauses between attempts to write while the store is away.
const (
	minLedgerPause = 250 * time.Millisecond
	maxLedgerPause = 5 * time.Second
)

// ledger hands quotes and candles to the store, and nobody waits for it: what it cannot keep it drops, the oldest first.
type ledger struct {
	refusal sync.Once // to be logged
	f       *Feed
	// full holds a token once a whole batch waits.
	full chan struct{}

	mu     sync.Mutex
	quotes []sdk.Quote
	// losing is whether the queue overflows, which is said once.
	losing bool
	series map[seriesKey]*sdk.Candles
	closed int // candles in series

	batches, rows, failures, dropped atomic.Uint64
}

// seriesKey names one series of candles that waits.
type seriesKey struct {
	symbol, source string
	interval       sdk.Interval
}

func newLedger(f *Feed) *ledger {
	return &ledger{f: f, full: make(chan struct{}, 1), series: make(map[seriesKey]*sdk.Candles)}
}

// add leaves quotes to be written.
func (l *ledger) add(quotes []sdk.Quote) {
	if l.f.r.store() == "" || len(quotes) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.quotes = append(l.quotes, quotes...)
	if over := len(l.quotes) - l.f.opts.StoreQueue; over > 0 {
		l.quotes = slices.Delete(l.quotes, 0, over)
		l.drop(over)
	}
	l.wake()
}

// candles leaves closed candles of assets that were asked for to be written.
func (l *ledger) candles(set *assetSet, source string, series []sdk.Candles) {
	if l.f.r.store() == "" || len(series) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range series {
		asset, ok := set.find(s.ID, s.Symbol)
		if !ok || !s.Interval.Valid() {
			l.f.counts.notAsked.Add(uint64(len(s.Items)))
			continue
		}
		key := seriesKey{asset.Symbol, source, s.Interval}
		kept := l.series[key]
		if kept == nil {
			kept = &sdk.Candles{}
		}
		l.closed -= len(kept.Items)
		kept.Items = merged(kept.Items, s.Items)
		items := kept.Items
		*kept = s
		kept.ID, kept.Symbol, kept.Source, kept.VsCurrency, kept.Items = asset.ID, asset.Symbol, source, "usd", items
		if len(items) > 0 {
			l.series[key] = kept
			l.closed += len(items)
		}
	}
	for l.closed > ledgerCandles {
		l.dropOldestCandle()
	}
	l.wake()
}

// merged adds closed candles to others, by their time.
func merged(items, more []sdk.Candle) []sdk.Candle {
	for _, c := range more {
		if !c.Closed {
			continue
		}
		at, found := slices.BinarySearchFunc(items, c, func(a, b sdk.Candle) int { return a.OpenTime.Compare(b.OpenTime) })
		if found {
			items[at] = c
		} else {
			items = slices.Insert(items, at, c)
		}
	}
	return items
}

// dropOldestCandle makes room; the caller holds the lock.
func (l *ledger) dropOldestCandle() {
	var oldest seriesKey
	var at time.Time
	for key, s := range l.series {
		if at.IsZero() || s.Items[0].OpenTime.Before(at) {
			oldest, at = key, s.Items[0].OpenTime
		}
	}
	s := l.series[oldest]
	if s.Items = slices.Delete(s.Items, 0, 1); len(s.Items) == 0 {
		delete(l.series, oldest)
	}
	l.closed--
	l.drop(1)
}

// drop counts what is lost, and says so once; the caller holds the lock.
func (l *ledger) drop(n int) {
	l.dropped.Add(uint64(n))
	if !l.losing {
		l.losing = true
		l.f.logger.Warn("the store does not keep up, the oldest quotes that wait for it are dropped", "waiting", len(l.quotes))
	}
}

// wake tells the writer when there is enough to write at once; the caller holds the lock.
func (l *ledger) wake() {
	if len(l.quotes) < ledgerBatch && l.closed < ledgerBatch {
		return
	}
	select {
	case l.full <- struct{}{}:
	default:
	}
}

// waiting is how many rows wait.
func (l *ledger) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.quotes) + l.closed
}

// take returns the next batch.
func (l *ledger) take() (quotes []sdk.Quote, candles []sdk.Candles) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.quotes), ledgerBatch)
	quotes = slices.Clone(l.quotes[:n])
	l.quotes = slices.Delete(l.quotes, 0, n)
	if len(l.quotes) < l.f.opts.StoreQueue/2 {
		l.losing = false
	}
	for key, s := range l.series {
		part := *s
		part.Items = slices.Clone(s.Items[:min(len(s.Items), ledgerBatch-n)])
		if n += len(part.Items); len(part.Items) == 0 {
			break
		}
		candles = append(candles, part)
		l.closed -= len(part.Items)
		if s.Items = slices.Delete(s.Items, 0, len(part.Items)); len(s.Items) == 0 {
			delete(l.series, key)
		}
	}
	slices.SortFunc(candles, func(a, b sdk.Candles) int { return strings.Compare(a.Symbol+a.Source, b.Symbol+b.Source) })
	return quotes, candles
}

// run writes until the context ends, and what is left within StoreTimeout after that.
func (l *ledger) run(ctx context.Context) {
	pace := time.NewTicker(ledgerPace)
	defer pace.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-pace.C:
		case <-l.full:
		}
		for ctx.Err() == nil && l.waiting() > 0 {
			l.f.safely("write to the store", func() { l.write(ctx) })
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.f.opts.StoreTimeout)
	defer cancel()
	for last.Err() == nil && l.waiting() > 0 {
		l.f.safely("write to the store", func() { l.write(last) })
	}
	if left := l.waiting(); left > 0 {
		l.dropped.Add(uint64(left))
		l.f.logger.Warn("not everything could be stored on the way down", "rows", left)
	}
}

// write stores one batch, for as long as it takes. What the context's end leaves unwritten waits again.
func (l *ledger) write(ctx context.Context) {
	quotes, candles := l.take()
	if !l.persist(ctx, len(quotes), func(ctx context.Context, store process.Island, from, to int) error {
		return store.SaveQuotes(ctx, quotes[from:to])
	}) {
		l.mu.Lock()
		l.quotes = slices.Insert(l.quotes, 0, quotes...)
		l.mu.Unlock()
	}
	if !l.persist(ctx, len(candles), func(ctx context.Context, store process.Island, from, to int) error {
		return store.SaveCandles(ctx, candles[from:to])
	}) {
		l.restore(candles)
	}
}

// restore lets candles wait again.
func (l *ledger) restore(candles []sdk.Candles) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range candles {
		key := seriesKey{s.Symbol, s.Source, s.Interval}
		if later := l.series[key]; later != nil {
			l.closed -= len(later.Items)
			s.Items = merged(s.Items, later.Items)
		}
		l.series[key] = &s
		l.closed += len(s.Items)
	}
}

// persist saves rows, again and again while the store is away: saving twice is saving once. Rows that the store refuses
// are parted from the others and dropped. It reports whether it came to an end.
func (l *ledger) persist(ctx context.Context, n int, save func(ctx context.Context, store process.Island, from, to int) error) bool {
	type span struct{ from, to int }
	left := []span{{0, n}}
	pause := minLedgerPause
	for len(left) > 0 {
		part := left[0]
		if part.from == part.to {
			left = left[1:]
			continue
		}
		err := l.try(ctx, func(ctx context.Context, store process.Island) error { return save(ctx, store, part.from, part.to) })
		switch {
		case err == nil:
			l.batches.Add(1)
			l.rows.Add(uint64(part.to - part.from))
			left, pause = left[1:], minLedgerPause
		case definite(err) && part.to-part.from > 1:
			middle := (part.from + part.to) / 2
			left = append([]span{{part.from, middle}, {middle, part.to}}, left[1:]...)
		case definite(err):
			l.failures.Add(1)
			l.dropped.Add(1)
			l.refusal.Do(func() { // All of them are counted.
				l.f.logger.Warn("the store refuses a row, which is dropped; so will be others like it", "error", err)
			})
			left = left[1:]
		default:
			l.failures.Add(1)
			select {
			case <-ctx.Done():
				return false // what was saved already may be saved again
			case <-time.After(jittered(pause)):
			}
			pause = min(2*pause, maxLedgerPause)
		}
	}
	return true
}

// try makes one attempt, and keeps the store's mode.
func (l *ledger) try(ctx context.Context, save func(ctx context.Context, store process.Island) error) error {
	r := l.f.r
	island, err := r.opts.Island(r.store())
	if err != nil {
		r.storeMode.set(false, err)
		return err
	}
	// A batch takes longer than a look-up, also when the store did not answer the last time.
	_, err = askWithin(ctx, l.f.opts.StoreTimeout, island, r.storeMode, func(ctx context.Context, store process.Island) (struct{}, error) {
		return struct{}{}, save(ctx, store)
	})
	return err
}
