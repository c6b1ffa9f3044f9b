package pipeline

import (
	"context"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// probePace is how often a memory is asked that is unavailable.
const probePace = time.Second

// probe asks a cache and a store that are unavailable how they are, until the context ends: they come back also while
// nobody else asks.
func (r *Requests) probe(ctx context.Context) {
	pace := time.NewTicker(probePace)
	defer pace.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
			safely(r.opts.Logger, "ask a memory how it is", func() {
				r.probeOne(ctx, r.cache(), r.cacheMode)
				r.probeOne(ctx, r.store(), r.storeMode)
			})
		}
	}
}

func (r *Requests) probeOne(ctx context.Context, name string, m *mode) {
	if name == "" || m.available() {
		return
	}
	// What it answers is in the mode; nobody else waits for it.
	_, _ = ask(ctx, r, name, m, func(ctx context.Context, island process.Island) (struct{}, error) {
		if h := island.Health(ctx); h.Status == sdk.StatusFailed {
			return struct{}{}, sdk.Errorf(sdk.Unavailable, "%s", h.Reason)
		}
		return struct{}{}, nil
	})
}
