package supervisor

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// calls counts what is in flight to one generation, and passes on what it sees.
type calls struct {
	observer process.Observer
	inFlight atomic.Int64
	streams  atomic.Int64
	// draining is whether somebody waits for one of the two to become zero.
	draining atomic.Bool
	idle     chan struct{}
}

var _ process.Observer = (*calls)(nil)

// question follows one call of Health through the observer, because Health itself returns no error.
type question struct{ unanswered atomic.Bool }

// questionKey is the context key of a question.
type questionKey struct{}

// streaming are the operations that live until they break. They are waited for only where a successor takes them over.
var streaming = []string{"stream", "subscribe", "cache_watch"}

// uncounted are the supervisor's own calls.
var uncounted = []string{"manifest", "initialize", "health", "metrics", "shutdown"}

// Begin implements process.Observer.
func (c *calls) Begin(ctx context.Context, island, operation string) (context.Context, func(error)) {
	ended := func(error) {}
	if c.observer != nil {
		ctx, ended = c.observer.Begin(ctx, island, operation)
	}
	counter := &c.inFlight
	switch {
	case slices.Contains(streaming, operation):
		counter = &c.streams
	case slices.Contains(uncounted, operation):
		asked, _ := ctx.Value(questionKey{}).(*question)
		if asked == nil {
			return ctx, ended
		}
		return ctx, func(err error) {
			if err != nil && (sdk.KindOf(err) == sdk.Unavailable || sdk.KindOf(err) == sdk.DeadlineExceeded) {
				asked.unanswered.Store(true)
			}
			ended(err)
		}
	}
	counter.Add(1)
	return ctx, func(err error) {
		ended(err)
		if counter.Add(-1) == 0 && c.draining.Load() {
			select {
			case c.idle <- struct{}{}:
			default:
			}
		}
	}
}

// drain waits until no call is in flight or the context ends, and returns how many still are.
func (c *calls) drain(ctx context.Context) int64 { return c.wait(ctx, &c.inFlight) }

// handOver waits until no stream is left or the context ends, and returns how many still are.
func (c *calls) handOver(ctx context.Context) int64 { return c.wait(ctx, &c.streams) }

// wait waits until a counter is zero or the context ends. One goroutine at a time may wait.
func (c *calls) wait(ctx context.Context, counter *atomic.Int64) int64 {
	c.draining.Store(true)
	for {
		n := counter.Load()
		if n <= 0 {
			return 0
		}
		select {
		case <-ctx.Done():
			return counter.Load()
		case <-c.idle:
		}
	}
}
