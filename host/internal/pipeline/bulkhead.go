package pipeline

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// bulkheads bound the calls that are under way at each island, so that one that hangs cannot hold the goroutines and the
// memory of all. What the host asks for by itself, such as for the feed, has a room of its own that a flood of requests
// cannot fill.
type bulkheads struct {
	places int

	mu    sync.Mutex
	rooms map[roomKey]*room // bounded: islands of the configuration × 2
}

type roomKey struct {
	island  string
	routine bool
}

// room is the places at one island; as many calls again may wait for one.
type room struct {
	places  chan struct{}
	waiting atomic.Int64
}

func newBulkheads(places int) *bulkheads {
	return &bulkheads{places: places, rooms: make(map[roomKey]*room)}
}

// full is the error for a call that was not made, because too many are under way. It says nothing of how an island is
// doing when it is asked.
type full struct{ island string }

// Error names the island.
func (f *full) Error() string {
	return fmt.Sprintf("too many calls to island %q are under way", f.island)
}

// Unwrap makes it ResourceExhausted.
func (f *full) Unwrap() error {
	return &sdk.Error{Kind: sdk.ResourceExhausted, Message: f.Error(), RetryAfter: minBusyRetry}
}

// enter takes a place at an island, waiting for one within the call's own time. Leave gives it back.
func (b *bulkheads) enter(ctx context.Context, island string) (leave func(), err error) {
	key := roomKey{island, process.IsRoutine(ctx)}
	b.mu.Lock()
	r := b.rooms[key]
	if r == nil {
		r = &room{places: make(chan struct{}, b.places)}
		b.rooms[key] = r
	}
	b.mu.Unlock()
	leave = func() { <-r.places }
	select {
	case r.places <- struct{}{}:
		return leave, nil
	default:
	}
	defer r.waiting.Add(-1)
	if r.waiting.Add(1) > int64(b.places) {
		return nil, &full{island}
	}
	select {
	case r.places <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		return nil, &full{island}
	}
}

// within makes a call with a place at the island.
func within[T any](ctx context.Context, c checked, call func() (T, error)) (T, error) {
	leave, err := c.b.bulkheads.enter(ctx, c.name)
	if err != nil {
		var none T
		return none, err
	}
	defer leave()
	return call()
}
