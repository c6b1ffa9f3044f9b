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
	// MinInterval is the least time from one batch with quotes to the next; 0 for none.
	MinInterval time.Duration
	// Heartbeat is how long no batch was emitted before an empty one is; DefaultHeartbeat when 0, none when negative.
	Heartbeat time.Duration
}

// key is what a quote is the newest of.
type key struct{ id, symbol, currency string }

// Queue holds the newest quote of each asset until it is emitted. All methods may be called concurrently.
type Queue struct {
	// wake holds a token while quotes may wait.
	wake chan struct{}
	// failed is closed by Fail.
	failed chan struct{}
	// draining is true while Run runs.
	draining atomic.Bool

	mu      sync.Mutex
	waiting []sdk.Quote
	place   map[key]int // where in waiting
	err     error
}

// New returns an empty queue.
func New() *Queue {
	return &Queue{wake: make(chan struct{}, 1), failed: make(chan struct{}), place: map[key]int{}}
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
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return found
}

// Len returns how many quotes wait.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
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

// take empties the queue.
func (q *Queue) take() []sdk.Quote {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return nil
	}
	quotes := q.waiting
	// The batch belongs to the receiver now. The next one is likely to be as large.
	q.waiting = make([]sdk.Quote, 0, len(quotes))
	clear(q.place)
	return quotes
}

// failure returns what Fail was called with.
func (q *Queue) failure() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

// Run emits what is put, in batches that are counted from 1, and heartbeats in between. It returns why it ended: the
// cause of the context's end, the error of emit, or what Fail was called with. Emit is not called once the context has
// ended, and may block: quotes that come meanwhile replace those that wait. Only one Run at a time drains a queue;
// another is refused.
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
			if err := d.send(ctx, nil); err != nil {
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
	// next is when the next batch with quotes may be emitted.
	next time.Time
	// pace fires then, if quotes wait.
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
	quotes := d.queue.take()
	if len(quotes) == 0 {
		return nil
	}
	d.next = time.Now().Add(d.opts.MinInterval)
	return d.send(ctx, quotes)
}

// send emits one batch.
func (d *drain) send(ctx context.Context, quotes []sdk.Quote) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	d.seq++
	if err := d.emit(sdk.QuoteBatch{Seq: d.seq, Quotes: quotes}); err != nil {
		return err
	}
	if d.beat != nil {
		d.beat.Reset(d.opts.Heartbeat)
	}
	return nil
}
