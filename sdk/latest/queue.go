package latest

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/sdk"
)

// DefaultHeartbeat is how long a stream is quiet before it says that it is alive.
const DefaultHeartbeat = 5 * time.Second

// Options say how a queue is drained.
type Options struct {
	// MinInterval is the least time from one batch that is no heartbeat to the next; 0 for none.
	MinInterval time.Duration
	// Heartbeat is how long no batch was emitted before an empty one is; DefaultHeartbeat when 0, none when negative.
	Heartbeat time.Duration
}

// key is what a quote is the newest of.
type key struct{ id, symbol, currency string }

// Queue holds the newest quote of each asset, and the newest closed candles of each asset and interval, until they are
// emitted. All methods may be called concurrently.
type Queue struct {
	// MaxCandles is how many candles of one asset and interval wait at most; DefaultMaxCandles when 0. It is not changed
	// once candles are put.
	MaxCandles int

	// wake holds a token while something may wait.
	wake chan struct{}
	// failed is closed by Fail.
	failed chan struct{}
	// draining is true while Run runs.
	draining atomic.Bool

	mu      sync.Mutex
	waiting []sdk.Quote
	place   map[key]int // where in waiting
	// runs are the candles that wait, each of one asset and interval.
	runs     []sdk.Candles
	runPlace map[runKey]int // where in runs
	err      error
}

// New returns an empty queue.
func New() *Queue {
	return &Queue{
		wake: make(chan struct{}, 1), failed: make(chan struct{}), place: map[key]int{}, runPlace: map[runKey]int{},
	}
}

// Put leaves a quote to be emitted and never blocks. Of two quotes of an asset the one with the later AsOf is kept, of
// two with the same the one that was put last. It reports whether one was given up for the other.
func (q *Queue) Put(quote sdk.Quote) (superseded bool) {
	k := key{quote.ID, quote.Symbol, quote.VsCurrency}
	q.mu.Lock()
	i, found := q.place[k]
	switch {
	case !found:
		q.place[k] = len(q.waiting)
		q.waiting = append(q.waiting, quote)
	case !quote.AsOf.Before(q.waiting[i].AsOf):
		q.waiting[i] = quote
	}
	q.mu.Unlock()
	q.rouse()
	return found
}

// rouse lets Run know that something waits.
func (q *Queue) rouse() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Len returns how many quotes and candles wait.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.waiting)
	for _, run := range q.runs {
		n += len(run.Items)
	}
	return n
}

// Fail ends Run with an error, once what was put before it is emitted. Only the first call counts. Nil is taken for a
// stream that ended without saying why, which is Unavailable.
func (q *Queue) Fail(err error) {
	if err == nil {
		err = sdk.Errorf(sdk.Unavailable, "the stream ended")
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
		close(q.failed)
	}
}

// take empties the queue into a batch.
func (q *Queue) take() (batch sdk.QuoteBatch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	// The batch belongs to the receiver. The next one is likely to have as many quotes; candles come by the minute.
	if len(q.waiting) > 0 {
		batch.Quotes = q.waiting
		q.waiting = make([]sdk.Quote, 0, len(batch.Quotes))
		clear(q.place)
	}
	if len(q.runs) > 0 {
		batch.Candles, q.runs = q.runs, nil
		clear(q.runPlace)
	}
	return batch
}

// failure returns what Fail was called with.
func (q *Queue) failure() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

// Run emits what is put, in batches that are counted from 1, and heartbeats in between. It returns why it ended: the
// cause of the context's end, the error of emit, or what Fail was called with. Emit is not called once the context has
// ended, and may block: quotes that come meanwhile replace those that wait, and candles join them. Only one Run at a time
// drains a queue; another is refused.
func (q *Queue) Run(ctx context.Context, emit func(sdk.QuoteBatch) error, opts Options) error {
	if !q.draining.CompareAndSwap(false, true) {
		return sdk.Errorf(sdk.Internal, "the queue is being drained already")
	}
	defer q.draining.Store(false)
	d := newDrain(q, emit, opts)
	defer d.stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-q.failed:
			if err := d.flush(ctx); err != nil {
				return err
			}
			return q.failure()
		case <-q.wake:
			if wait := time.Until(d.next); wait > 0 {
				d.pace.Reset(wait)
				continue
			}
			if err := d.flush(ctx); err != nil {
				return err
			}
		case <-d.pace.C:
			if err := d.flush(ctx); err != nil {
				return err
			}
		case <-d.beats:
			if err := d.send(ctx, sdk.QuoteBatch{}); err != nil {
				return err
			}
		}
	}
}

// drain is one Run under way.
type drain struct {
	queue *Queue
	emit  func(sdk.QuoteBatch) error
	opts  Options
	seq   uint64
	// next is when the next batch that is no heartbeat may be emitted.
	next time.Time
	// pace fires then, if something waits.
	pace *time.Timer
	// beat fires when the next heartbeat is due, and beats is its channel; nil without heartbeats.
	beat  *time.Timer
	beats <-chan time.Time
}

// newDrain returns a drain that has emitted nothing yet.
func newDrain(q *Queue, emit func(sdk.QuoteBatch) error, opts Options) *drain {
	if opts.Heartbeat == 0 {
		opts.Heartbeat = DefaultHeartbeat
	}
	d := &drain{queue: q, emit: emit, opts: opts, pace: time.NewTimer(time.Hour)}
	d.pace.Stop()
	if opts.Heartbeat > 0 {
		d.beat = time.NewTimer(opts.Heartbeat)
		d.beats = d.beat.C
	}
	return d
}

// stop releases the timers.
func (d *drain) stop() {
	d.pace.Stop()
	if d.beat != nil {
		d.beat.Stop()
	}
}

// flush emits what waits, if anything does.
func (d *drain) flush(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	batch := d.queue.take()
	if len(batch.Quotes) == 0 && len(batch.Candles) == 0 {
		return nil
	}
	d.pace.Stop() // What it was to fire for is in the batch; what comes now waits for its own turn.
	d.next = time.Now().Add(d.opts.MinInterval)
	return d.send(ctx, batch)
}

// send numbers a batch and emits it.
func (d *drain) send(ctx context.Context, batch sdk.QuoteBatch) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	d.seq++
	batch.Seq = d.seq
	if err := d.emit(batch); err != nil {
		return err
	}
	if d.beat != nil {
		d.beat.Reset(d.opts.Heartbeat)
	}
	return nil
}
