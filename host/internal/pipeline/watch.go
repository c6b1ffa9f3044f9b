package pipeline

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// Pauses before the invalidation stream is opened again, and the silence after which it is taken for dead.
const (
	minReopen    = 20 * time.Millisecond
	maxReopen    = time.Second
	maxSilence   = 3 * sdk.WatchHeartbeat
	watchTooLong = "the cache's invalidation stream fell silent"
)

// Run keeps the near cache true by following the cache island's invalidations, until the context ends. Without a cache it
// waits for one: a reload may bring it.
func (r *Requests) Run(ctx context.Context) {
	pause := minReopen
	for ctx.Err() == nil {
		rt := r.routes.Load()
		if rt.Cache == "" {
			r.near.trust(false) // Nobody else changes what this process remembers.
			select {
			case <-ctx.Done():
			case <-rt.replaced:
			}
			continue
		}
		stood, err := r.follow(ctx, rt)
		r.near.suspect()
		r.watched.version.Store(0)
		if stood {
			pause = minReopen
			r.counts.streamBreaks.Add(1)
			r.opts.Logger.Debug("invalidation stream broke, the near cache is suspect", "reason", sdk.KindOf(err).String())
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, maxReopen)
	}
}

// Stands is closed once the invalidation stream stands for the first time. What is loaded before has to be confirmed
// after, where other hosts share the cache.
func (r *Requests) Stands() <-chan struct{} { return r.stands }

// errSilent ends a stream that nobody speaks on.
var errSilent = errors.New(watchTooLong)

// follow opens the stream and applies its events until it breaks. Stood is whether it ever stood.
//
// When another generation of the cache takes over, its stream stands before the former ends, so that no invalidation goes
// unheard and nothing comes into doubt.
func (r *Requests) follow(ctx context.Context, rt *routes) (stood bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		if r.otherCache(ctx, rt) {
			cancel(errOtherCache)
		}
	}()
	var heard atomic.Bool
	var newest atomic.Int64
	err = r.relay(ctx, rt.Cache, watchOverlap, func(ctx context.Context, island process.Island, hello func()) error {
		return r.watch(ctx, island, newest.Add(1), &newest, func() (first bool) {
			hello()
			return heard.CompareAndSwap(false, true)
		})
	})
	return heard.Load(), err
}

// errOtherCache ends the stream of a cache that is not to be asked any more.
var errOtherCache = errors.New("another cache is configured")

// otherCache waits until other routes than some name another cache, or none, and reports whether they do before the context
// ends.
func (r *Requests) otherCache(ctx context.Context, rt *routes) bool {
	for name := rt.Cache; rt.Cache == name; rt = r.routes.Load() {
		select {
		case <-ctx.Done():
			return false
		case <-rt.replaced:
		}
	}
	return true
}

// watchOverlap is how long the stream of the former generation of the cache stands beside that of the next, for what is
// still under way on it.
const watchOverlap = 250 * time.Millisecond

// watch applies the events of one stream until it breaks. Hello is called when it stands, and reports whether it is the
// first that does.
func (r *Requests) watch(ctx context.Context, island process.Island, number int64, newest *atomic.Int64, hello func() (first bool)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(maxSilence, func() { cancel(errSilent) })
	defer silence.Stop()
	var last sdk.CacheEvent
	err := island.Watch(ctx, func(e sdk.CacheEvent) error {
		silence.Reset(maxSilence)
		if number == newest.Load() {
			r.watched.hear(e)
		}
		switch {
		case e.Type == sdk.CacheHello:
			if hello() {
				r.near.trust(e.Shared)
			}
			r.stood.Do(func() { close(r.stands) })
		case e.Type == sdk.CacheFlushed || missed(last, e):
			// Anything may have changed: what is there must be confirmed again, one by one.
			r.near.trust(e.Shared)
		}
		if e.Type == sdk.CacheInvalidated {
			r.counts.invalidations.Add(1)
			r.near.invalidate(e.Patterns)
		}
		last = e
		return nil
	})
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause
	}
	return err
}

// watched is what the cache island said last.
type watched struct {
	// version to hand to Fill for what is loaded from now on; 0 while the stream does not stand.
	version atomic.Uint64
	// tiers is whether other hosts share the cache's second tier.
	tiers atomic.Int32
}

// Whether the cache is shared, as far as it has said.
const (
	sharedUnknown int32 = iota
	notShared
	isShared
)

func (w *watched) hear(e sdk.CacheEvent) {
	w.version.Store(e.Version)
	if e.Shared {
		w.tiers.Store(isShared)
	} else {
		w.tiers.Store(notShared)
	}
}

// Shared reports whether other hosts share the cache's second tier, and whether the cache has said so yet.
func (r *Requests) Shared() (shared, known bool) {
	tiers := r.watched.tiers.Load()
	return tiers == isShared, tiers != sharedUnknown
}

// missed reports whether events lie between two that came one after the other.
func missed(last, e sdk.CacheEvent) bool {
	if e.Epoch != last.Epoch {
		return true
	}
	if e.Type == sdk.CacheInvalidated {
		return e.Version != last.Version+1
	}
	return e.Version != last.Version
}
