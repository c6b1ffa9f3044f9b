package pipeline

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// room bounds the calls to one island that are under way, and those that wait for one to end. As long as calls end, as many
// may wait as there are loads, which wait in good hope. While none does, few may: an island that hangs keeps little of what
// the others need.
type room struct {
	places  chan struct{}
	waiting atomic.Int64
	most    int64 // that may wait
	// ended is when a call ended, or the first one began, in nanoseconds of Unix.
	ended atomic.Int64
	now   func() time.Time
}

// stuckAfter is how long no call has ended to an island that hangs, as far as can be told.
const stuckAfter = time.Second

func newRoom(calls, waiting int, now func() time.Time) *room {
	return &room{places: make(chan struct{}, calls), most: int64(max(calls, waiting)), now: now}
}

// errBusy marks a call that was not made because the island has too many already.
var errBusy = errors.New("the island is busy")

// enter waits for a place within the context's time.
func (r *room) enter(ctx context.Context) error {
	if len(r.places) == 0 {
		r.ended.Store(r.now().UnixNano()) // Nobody was there to end a call.
	}
	select {
	case r.places <- struct{}{}:
		return nil
	default:
	}
	most := r.most
	if r.now().UnixNano()-r.ended.Load() > int64(stuckAfter) {
		most = min(most, int64(cap(r.places)))
	}
	if r.waiting.Add(1) > most {
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
func (r *room) leave() {
	r.ended.Store(r.now().UnixNano())
	<-r.places
}

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
	in := g.asked.Load()
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
