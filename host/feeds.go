package main

import (
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"

	"github.com/service-islands/islands/config"
	"github.com/service-islands/islands/host/internal/pipeline"
	"github.com/service-islands/islands/sdk/process"
)

// feeds keeps the live feed, which there is as long as the configuration has symbols for it.
type feeds struct {
	h       *host
	current atomic.Pointer[pipeline.Feed]

	mu     sync.Mutex
	closed bool
	cancel context.CancelFunc
	ended  chan struct{}
}

// reconfigure starts the feed, stops it, or has it go on with what the configuration says.
func (f *feeds) reconfigure(cfg *config.Config) {
	f.mu.Lock()
	defer f.mu.Unlock()
	feed, wanted := f.current.Load(), len(cfg.Broadcast.Symbols) > 0
	switch {
	case f.closed || (feed == nil && !wanted):
	case feed == nil:
		f.h.hub.SetSymbols(cfg.Broadcast.Symbols)
		f.start(cfg)
	case wanted:
		f.h.hub.SetSymbols(cfg.Broadcast.Symbols)
		feed.Reconfigure(f.h.feedOptions(cfg))
	default:
		f.cancel()
		<-f.ended
		f.current.Store(nil)
		f.h.hub.Publish(nothingKnown(rand.Text()))
		f.h.hub.SetSymbols(nil)
	}
}

// start begins a feed; the lock is held.
func (f *feeds) start(cfg *config.Config) {
	feed := pipeline.NewFeed(f.h.requests, f.h.feedOptions(cfg))
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel, f.ended = cancel, make(chan struct{})
	ended := f.ended
	go func() {
		defer close(ended)
		feed.Run(process.Routine(ctx))
	}()
	f.current.Store(feed)
}

// close ends the feed for good.
func (f *feeds) close(ctx context.Context) error {
	f.mu.Lock()
	f.closed = true
	ended := f.ended
	if f.cancel != nil {
		f.cancel()
	}
	f.mu.Unlock()
	if ended == nil {
		return nil
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
