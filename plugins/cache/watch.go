package main

import (
	"context"
	"sync"
	"time"

	"github.com/service-islands/islands/sdk"
)

const (
	// watcherQueue is how many events wait for a watcher before they become one CacheFlushed.
	watcherQueue = 256
	maxWatchers  = 1024
)

// watcher is one caller of Watch.
type watcher struct {
	wake chan struct{}

	mu    sync.Mutex
	queue []sdk.CacheEvent
	// lost is the flush that stands for events which did not fit.
	lost *sdk.CacheEvent
}

// offer queues an event and never waits.
func (w *watcher) offer(event sdk.CacheEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.lost != nil:
		w.lost.Version = event.Version
	case len(w.queue) >= watcherQueue:
		event.Type, event.Patterns = sdk.CacheFlushed, nil
		w.queue, w.lost = nil, &event
	default:
		w.queue = append(w.queue, event)
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take returns what waits.
func (w *watcher) take() []sdk.CacheEvent {
	w.mu.Lock()
	defer w.mu.Unlock()
	events := w.queue
	if w.lost != nil {
		events = []sdk.CacheEvent{*w.lost}
	}
	w.queue, w.lost = nil, nil
	return events
}

// watch is Watch. It also ends when done is closed.
func (j *journal) watch(ctx context.Context, done <-chan struct{}, emit func(sdk.CacheEvent) error) error {
	w := &watcher{wake: make(chan struct{}, 1)}
	j.mu.Lock()
	if len(j.watchers) >= maxWatchers {
		j.mu.Unlock()
		return sdk.Errorf(sdk.ResourceExhausted, "there are %d watchers already", maxWatchers)
	}
	j.watchers[w] = struct{}{}
	last := sdk.CacheEvent{Type: sdk.CacheHello, Epoch: j.epoch, Version: j.current.Load(), Shared: j.shared}
	j.mu.Unlock()
	defer func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.watchers, w)
	}()
	if err := emit(last); err != nil {
		return err
	}

	idle := time.NewTicker(sdk.WatchHeartbeat)
	defer idle.Stop()
	for {
		var events []sdk.CacheEvent
		select {
		case <-ctx.Done():
			return sdk.Errorf(sdk.KindOf(ctx.Err()), "watch: %w", ctx.Err())
		case <-done:
			return errNotRunning()
		case <-w.wake:
			events = w.take()
		case <-idle.C:
			events = []sdk.CacheEvent{{
				Type: sdk.CacheHeartbeat, Epoch: last.Epoch, Version: last.Version, Shared: last.Shared,
			}}
		}
		for _, event := range events {
			if err := emit(event); err != nil {
				return err
			}
			last = event
		}
		if len(events) > 0 {
			idle.Reset(sdk.WatchHeartbeat)
		}
	}
}
