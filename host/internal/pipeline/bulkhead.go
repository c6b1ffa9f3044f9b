package pipeline

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// room bounds the calls to one island that are under way, and those that wait for one to end: an island that hangs keeps
// that many goroutines and no more.
type room struct {
	places  chan struct{}
	waiting atomic.Int64
	most    int64 // that may wait
}

// waitersPerCall is how many may wait for each call that may be under way.
const waitersPerCall = 4

func newRoom(calls int) *room {
	return &room{places: make(chan struct{}, calls), most: int64(waitersPerCall * calls)}
}

// errBusy marks a call that was not made because the island has too many already.
var errBusy = errors.New("the island is busy")

// enter waits for a place within the context's time.
func (r *room) enter(ctx context.Context) error {
	select {
	case r.places <- struct{}{}:
		return nil
	default:
	}
	if r.waiting.Add(1) > r.most {
		r.waiting.Add(-1)
		return errBusy
	}
	defer r.waiting.Add(-1)
	select {
	case r.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return errBusy
	}
}

// leave gives a place back.
func (r *room) leave() { <-r.places }

// routineCalls is how many calls the host may make by itself to one island at once, beside those that requests make: a flood
// of requests must not silence the live feed.
const routineCalls = 16

// wayBack is the part of what is left of a request's time that is kept for the way back of the answer, as a divisor, and
// maxWayBack the most of it.
const (
	wayBack    = 20
	maxWayBack = 100 * time.Millisecond
)

// through makes a call to an island through its gate: in the room of who makes it, and with what is left of the time but for
// the way back.
func through[T any](ctx context.Context, g *gate, call func(ctx context.Context) (T, error)) (T, error) {
	in := g.asked
	if process.IsRoutine(ctx) {
		in = g.routine
	}
	if err := in.enter(ctx); err != nil {
		var none T
		g.turnedAway.Add(1)
		if errors.Is(ctx.Err(), context.Canceled) {
			return none, ctx.Err()
		}
		return none, &sdk.Error{
			Kind: sdk.ResourceExhausted, Message: "island \"" + g.name + "\" has too many calls under way", RetryAfter: busyRetry, Err: errBusy,
		}
	}
	defer in.leave()
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-min(max(0, time.Until(deadline))/wayBack, maxWayBack)))
		defer cancel()
	}
	return call(ctx)
}

// busyRetry is when a call to a busy island is worth another try.
const busyRetry = time.Second
