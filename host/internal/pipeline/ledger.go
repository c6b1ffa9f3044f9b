package pipeline

import (
	"context"
	"encoding/json"
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
	ledgerRead    = 256 << 10 // bytes of the spool at once
)

// Pauses between attempts to write while the store is away.
const (
	minLedgerPause = 250 * time.Millisecond
	maxLedgerPause = 5 * time.Second
)

// Spool keeps what waits for the store on disk, in order, until it has arrived there.
type Spool interface {
	// Append keeps a content. It survives the end of this process from then on.
	Append(contents ...[]byte) (last uint64, err error)
	// Read returns the contents after those it returned before, about so many bytes of them, and the number of the last.
	Read(most int) (contents [][]byte, last uint64, err error)
	// Confirm forgets all contents up to a number; Rewind makes Read begin again behind those.
	Confirm(last uint64)
	Rewind()
}

// ledger hands quotes and candles to the store, and nobody waits for it. They wait in the spool. Where there is none, or
// while that cannot be written, they wait in memory, and what there is no room for is dropped, the oldest first.
type ledger struct {
	r       *Requests
	refusal sync.Once // to be logged
	strange sync.Once // a content that is not understood, likewise
	// full holds a token once a whole batch waits.
	full chan struct{}
	// spooling is whether the spool takes what it is given.
	spooling *mode

	mu     sync.Mutex
	quotes []sdk.Quote
	// losing is whether the queue overflows, which is said once.
	losing bool
	series map[seriesKey]*sdk.Candles
	closed int // candles in series
	// spooled is how many rows this process has given to the spool and not yet to the store.
	spooled int

	batches, rows, failures, dropped atomic.Uint64
}

// seriesKey names one series of candles that waits.
type seriesKey struct {
	symbol, source string
	interval       sdk.Interval
}

func newLedger(r *Requests) *ledger {
	return &ledger{
		r: r, full: make(chan struct{}, 1), series: make(map[seriesKey]*sdk.Candles),
		spooling: newMode(r.opts, "Spool cannot be written, what waits for the database is in memory alone", "Spool can be written again"),
	}
}

// spoolEntry is a content of the spool.
type spoolEntry struct {
	Version int           `json:"v"`
	Quotes  []sdk.Quote   `json:"quotes,omitempty"`
	Candles []sdk.Candles `json:"candles,omitempty"`
}

// spoolVersion is the version of its form.
const spoolVersion = 1

// spool gives rows to the spool, and reports whether it has them.
func (l *ledger) spool(e spoolEntry, rows int) bool {
	if l.r.opts.Spool == nil {
		return false
	}
	e.Version = spoolVersion
	text, err := json.Marshal(e)
	if err == nil {
		// The lock comes first, so that the writer never counts rows off that were not yet counted.
		l.mu.Lock()
		if _, err = l.r.opts.Spool.Append(text); err == nil {
			l.spooled += rows
			if l.spooled >= ledgerBatch {
				l.wake()
			}
		}
		l.mu.Unlock()
	}
	l.spooling.set(err == nil, err)
	return err == nil
}

// add leaves quotes to be written.
func (l *ledger) add(quotes []sdk.Quote) {
	if l.r.store() == "" || len(quotes) == 0 || l.spool(spoolEntry{Quotes: quotes}, len(quotes)) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.quotes = append(l.quotes, quotes...)
	if over := len(l.quotes) - l.r.opts.StoreQueue; over > 0 {
		l.quotes = slices.Delete(l.quotes, 0, over)
		l.drop(over)
	}
	l.enough()
}

// addCandles leaves candles to be written. Each series has its symbol and its source. In memory only closed ones are kept.
func (l *ledger) addCandles(series []sdk.Candles) {
	if l.r.store() == "" {
		return
	}
	rows := 0
	for _, s := range series {
		rows += len(s.Items)
	}
	if rows == 0 || l.spool(spoolEntry{Candles: series}, rows) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range series {
		key := seriesKey{s.Symbol, s.Source, s.Interval}
		var items []sdk.Candle
		if kept := l.series[key]; kept != nil {
			items = kept.Items
			l.closed -= len(items)
		}
		if s.Items = merged(items, s.Items); len(s.Items) > 0 {
			l.series[key] = &s
			l.closed += len(s.Items)
		}
	}
	for l.closed > ledgerCandles {
		l.dropOldestCandle()
	}
	l.enough()
}

// addNouns leaves quotes or series of candles to be written.
func (l *ledger) addNouns(nouns []any) {
	var quotes []sdk.Quote
	var candles []sdk.Candles
	for _, noun := range nouns {
		switch noun := noun.(type) {
		case sdk.Quote:
			quotes = append(quotes, noun)
		case sdk.Candles:
			candles = append(candles, noun)
		}
	}
	l.add(quotes)
	l.addCandles(candles)
}

// candles leaves closed candles of assets that were asked for to be written.
func (f *Feed) candles(set *assetSet, source string, series []sdk.Candles) {
	var asked []sdk.Candles
	for _, s := range series {
		asset, ok := set.find(s.ID, s.Symbol)
		if !ok || !s.Interval.Valid() {
			f.counts.notAsked.Add(uint64(len(s.Items)))
			continue
		}
		s.ID, s.Symbol, s.Source, s.VsCurrency, s.Items = asset.ID, asset.Symbol, source, "usd", merged(nil, s.Items)
		asked = append(asked, s)
	}
	if len(asked) > 0 {
		f.r.ledger.addCandles(asked)
	}
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
		l.r.opts.Logger.Warn("the store does not keep up, the oldest quotes that wait for it are dropped", "waiting", len(l.quotes))
	}
}

// enough tells the writer when there is enough in memory to write at once; the caller holds the lock.
func (l *ledger) enough() {
	if len(l.quotes) >= ledgerBatch || l.closed >= ledgerBatch {
		l.wake()
	}
}

// wake tells the writer that a batch waits.
func (l *ledger) wake() {
	select {
	case l.full <- struct{}{}:
	default:
	}
}

// waiting is how many rows wait, those that an earlier process left in the spool not counted.
func (l *ledger) waiting() int { return l.inMemory() + l.inSpool() }

func (l *ledger) inMemory() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.quotes) + l.closed
}

func (l *ledger) inSpool() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.spooled
}

// take returns the next batch.
func (l *ledger) take() (quotes []sdk.Quote, candles []sdk.Candles) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.quotes), ledgerBatch)
	quotes = slices.Clone(l.quotes[:n])
	l.quotes = slices.Delete(l.quotes, 0, n)
	if len(l.quotes) < l.r.opts.StoreQueue/2 {
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

// run writes until the context ends, and what is left within StoreTimeout after that. What is in the spool by then is
// written by the next process.
func (l *ledger) run(ctx context.Context) {
	pace := time.NewTicker(ledgerPace)
	defer pace.Stop()
	for ctx.Err() == nil {
		l.writeAll(ctx)
		select {
		case <-ctx.Done():
		case <-pace.C:
		case <-l.full:
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.r.opts.StoreTimeout)
	defer cancel()
	l.writeAll(last)
	for l.inMemory() > 0 { // The disk may be back.
		quotes, candles := l.take()
		if !l.spool(spoolEntry{Quotes: quotes, Candles: candles}, 0) {
			l.restore(candles)
			l.mu.Lock()
			l.quotes = slices.Insert(l.quotes, 0, quotes...)
			l.mu.Unlock()
			break
		}
	}
	if left := l.inMemory(); left > 0 {
		l.dropped.Add(uint64(left))
		l.r.opts.Logger.Warn("not everything could be stored on the way down", "rows", left)
	}
}

// writeAll writes what waits, one batch after the other, until nothing does or the context ends. One at a time is pace
// enough for a store that has just come back: whatever else is asked of it comes in between.
func (l *ledger) writeAll(ctx context.Context) {
	for ctx.Err() == nil && l.r.store() != "" {
		wrote := false
		whole := safely(l.r.opts.Logger, "write to the store", func() {
			wrote = l.writeSpool(ctx)
			if l.inMemory() > 0 {
				l.writeMemory(ctx)
				wrote = true
			}
		})
		if !whole && l.r.opts.Spool != nil {
			l.r.opts.Spool.Rewind() // What was read is not lost with the step.
		}
		if !wrote || !whole {
			return
		}
	}
}

// writeSpool stores what is next in the spool, for as long as it takes, and reports whether there was something.
func (l *ledger) writeSpool(ctx context.Context) bool {
	spool := l.r.opts.Spool
	if spool == nil {
		return false
	}
	contents, last, err := spool.Read(ledgerRead)
	if err != nil {
		l.failures.Add(1)
		l.spooling.set(false, err)
		return false
	}
	if len(contents) == 0 {
		return false
	}
	var quotes []sdk.Quote
	var candles []sdk.Candles
	rows := 0
	for _, text := range contents {
		var e spoolEntry
		if err := json.Unmarshal(text, &e); err != nil || e.Version != spoolVersion {
			l.dropped.Add(1)
			l.strange.Do(func() { // All of them are counted.
				l.r.opts.Logger.Error("what is in the spool is not understood and is dropped; was it another version?", "version", e.Version, "error", err)
			})
			continue
		}
		quotes, candles = append(quotes, e.Quotes...), append(candles, e.Candles...)
		rows += len(e.Quotes)
		for _, s := range e.Candles {
			rows += len(s.Items)
		}
	}
	if !l.store(ctx, quotes, candles) {
		spool.Rewind() // What was stored of it may be stored again.
		return true
	}
	spool.Confirm(last)
	l.mu.Lock()
	l.spooled = max(0, l.spooled-rows) // What an earlier process left was not counted.
	l.mu.Unlock()
	return true
}

// writeMemory stores one batch of what is in memory, for as long as it takes. What the context's end leaves unwritten waits
// again.
func (l *ledger) writeMemory(ctx context.Context) {
	quotes, candles := l.take()
	if !l.storeQuotes(ctx, quotes) {
		l.mu.Lock()
		l.quotes = slices.Insert(l.quotes, 0, quotes...)
		l.mu.Unlock()
	}
	if !l.storeCandles(ctx, candles) {
		l.restore(candles)
	}
}

// store stores rows, in batches, and reports whether it came to an end.
func (l *ledger) store(ctx context.Context, quotes []sdk.Quote, candles []sdk.Candles) bool {
	for part := range slices.Chunk(quotes, ledgerBatch) {
		if !l.storeQuotes(ctx, part) {
			return false
		}
	}
	for _, part := range candleBatches(candles) {
		if !l.storeCandles(ctx, part) {
			return false
		}
	}
	return true
}

func (l *ledger) storeQuotes(ctx context.Context, quotes []sdk.Quote) bool {
	return l.persist(ctx, len(quotes), func(ctx context.Context, store process.Island, from, to int) error {
		return store.SaveQuotes(ctx, quotes[from:to])
	})
}

func (l *ledger) storeCandles(ctx context.Context, candles []sdk.Candles) bool {
	return l.persist(ctx, len(candles), func(ctx context.Context, store process.Island, from, to int) error {
		return store.SaveCandles(ctx, candles[from:to])
	})
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
				l.r.opts.Logger.Warn("the store refuses a row, which is dropped; so will be others like it", "error", err)
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
	r := l.r
	island, err := r.opts.Island(r.store())
	if err != nil {
		r.storeMode.set(false, err)
		return err
	}
	// A batch takes longer than a look-up, also when the store did not answer the last time.
	_, err = askWithin(ctx, r.opts.StoreTimeout, island, r.storeMode, func(ctx context.Context, store process.Island) (struct{}, error) {
		return struct{}{}, save(ctx, store)
	})
	return err
}
