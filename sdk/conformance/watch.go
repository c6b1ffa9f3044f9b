package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/service-islands/islands/sdk"
)

func watchChecks() []Check {
	return []Check{
		{
			Name: "watch/hello", Role: sdk.RoleCache, run: on(watchHello),
			Rule: "The first event is a Hello, sent at once; Epoch and Version are the cache's",
		},
		{
			Name: "watch/invalidated", Role: sdk.RoleCache, run: on(watchInvalidated),
			Rule: "Version rises by one with each CacheInvalidated and CacheFlushed of one epoch; Patterns are no longer true",
		},
		{
			Name: "watch/heartbeat", Role: sdk.RoleCache, run: on(watchHeartbeat), Waits: true,
			Rule: "WatchHeartbeat is how often a Cache sends a CacheHeartbeat on an idle stream, which repeats the version last sent",
		},
		{
			Name: "watch/emit-fails", Role: sdk.RoleCache, run: on(watchEmitFails),
			Rule: "Watch calls emit until the context ends or emit fails, and returns why",
		},
		{
			Name: "watch/ends", Role: sdk.RoleCache, run: on(watchEnds),
			Rule: "Watch calls emit until the context ends or emit fails, and returns why",
		},
	}
}

// watching is a Watch that runs beside a check.
type watching struct {
	events chan sdk.CacheEvent
	cancel context.CancelFunc
	ended  chan error
}

// watch begins to watch and waits for the Hello.
func (b *bench) watch(ctx context.Context, cache sdk.Cache) (*watching, sdk.CacheEvent, error) {
	ctx, cancel := context.WithCancel(ctx)
	w := &watching{events: make(chan sdk.CacheEvent, 1000), cancel: cancel, ended: make(chan error, 1)}
	go func() {
		w.ended <- cache.Watch(ctx, func(e sdk.CacheEvent) error {
			select {
			case w.events <- e:
				return nil
			default:
				return errors.New("a thousand events that nobody asked for")
			}
		})
	}()
	hello, err := w.next(b.Patience)
	if err == nil && hello.Type != sdk.CacheHello {
		err = fmt.Errorf("the first event is %+v", hello)
	}
	if err != nil {
		return nil, hello, errors.Join(err, w.stop())
	}
	return w, hello, nil
}

// next waits for an event.
func (w *watching) next(limit time.Duration) (sdk.CacheEvent, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case e := <-w.events:
		return e, nil
	case err := <-w.ended:
		w.ended <- err
		return sdk.CacheEvent{}, fmt.Errorf("the stream has ended: %w", err)
	case <-timer.C:
		return sdk.CacheEvent{}, fmt.Errorf("no event within %v", limit)
	}
}

// news waits for an event that is not a heartbeat.
func (w *watching) news(limit time.Duration) (sdk.CacheEvent, error) {
	for {
		e, err := w.next(limit)
		if err != nil || e.Type != sdk.CacheHeartbeat {
			return e, err
		}
	}
}

// stop ends the watch and returns an error unless it ends soon, for that reason.
func (w *watching) stop() error {
	w.cancel()
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case err := <-w.ended:
		return wantKind("Watch whose context was cancelled", err, sdk.Canceled)
	case <-timer.C:
		return errors.New("watch goes on a second after its context has ended")
	}
}

func watchHello(ctx context.Context, b *bench, cache sdk.Cache) error {
	first, hello, err := b.watch(ctx, cache)
	if err != nil {
		return err
	}
	second, again, err := b.watch(ctx, cache)
	if err != nil {
		return errors.Join(err, first.stop())
	}
	errs := []error{first.stop(), second.stop()}
	found, err := look(ctx, cache, b.name("hello"))
	switch {
	case err != nil:
		errs = append(errs, err)
	case hello.Epoch == "" || hello.Epoch != again.Epoch:
		errs = append(errs, fmt.Errorf("two watchers of one life see the epochs %q and %q", hello.Epoch, again.Epoch))
	case hello.Version != again.Version || found.Version != hello.Version:
		errs = append(errs, fmt.Errorf("versions %d and %d in Hello, %d in Lookup", hello.Version, again.Version, found.Version))
	}
	return errors.Join(errs...)
}

func watchInvalidated(ctx context.Context, b *bench, cache sdk.Cache) error {
	w, hello, err := b.watch(ctx, cache)
	if err != nil {
		return err
	}
	err = func() error {
		for i, patterns := range [][]string{{b.name("one")}, {b.name("two"), b.name("glob*")}, {b.name("?")}} {
			if _, err := cache.Invalidate(ctx, patterns); err != nil {
				return fmt.Errorf("invalidate: %w", err)
			}
			e, err := w.news(b.Patience)
			if err != nil {
				return err
			}
			want := hello.Version + uint64(i) + 1
			if e.Type != sdk.CacheInvalidated || e.Version != want || e.Epoch != hello.Epoch || !slices.Equal(e.Patterns, patterns) {
				return fmt.Errorf("invalidating %q was told as %+v; the version ought to be %d", patterns, e, want)
			}
			found, err := look(ctx, cache, b.name("one"))
			if err != nil {
				return err
			}
			if found.Version != e.Version {
				return fmt.Errorf("lookup says version %d, the stream %d", found.Version, e.Version)
			}
		}
		return nil
	}()
	return errors.Join(err, w.stop())
}

func watchHeartbeat(ctx context.Context, b *bench, cache sdk.Cache) error {
	w, last, err := b.watch(ctx, cache)
	if err != nil {
		return err
	}
	for {
		e, err := w.next(2 * b.Heartbeat)
		switch {
		case err != nil:
		case e.Type != sdk.CacheHeartbeat && e.Version == last.Version+1 && ctx.Err() == nil:
			last = e // Others who share L2 may be at work: then the stream is not idle yet.
			continue
		case e.Type != sdk.CacheHeartbeat || e.Version != last.Version || e.Epoch != last.Epoch:
			err = fmt.Errorf("on an idle stream comes %+v after %+v", e, last)
		}
		return errors.Join(err, w.stop())
	}
}

func watchEmitFails(ctx context.Context, b *bench, cache sdk.Cache) error {
	ctx, cancel := context.WithTimeout(ctx, b.Patience)
	defer cancel()
	calls := 0
	err := cache.Watch(ctx, func(sdk.CacheEvent) error {
		calls++
		return errEnough
	})
	return emitFailed("Watch", err, calls)
}

func watchEnds(ctx context.Context, b *bench, cache sdk.Cache) error {
	w, _, err := b.watch(ctx, cache)
	if err != nil {
		return err
	}
	return w.stop()
}
