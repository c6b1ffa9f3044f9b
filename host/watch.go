package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/service-islands/islands/config"
)

// settle is how long a folder has to be left alone before the file is read: editors write it in several steps.
// patience is how long that may put the reading off.
const (
	settle   = 100 * time.Millisecond
	patience = time.Second
)

// configFile is where the host's configuration is.
type configFile struct {
	path string
	// load reads and checks it.
	load func() (*config.Config, error)
	// seen is what it held when it was last read, nil before.
	seen atomic.Pointer[[]byte]
}

// read reads and checks the file.
func (f *configFile) read() (*config.Config, error) {
	f.look()
	return f.load()
}

// look reports whether the file holds something else than it did the last time. One that is away for a moment does not.
func (f *configFile) look() (changed bool) {
	text, err := os.ReadFile(f.path)
	if err != nil {
		return false
	}
	last := f.seen.Swap(&text)
	return last == nil || !bytes.Equal(*last, text)
}

// watch calls changed whenever the file holds something else than when it was last read, until the context ends. It watches
// the file's folder, because most programs put a new file in the place of the old one; where the file is a link, it notices
// that another link took its place. The error is that there is nothing to watch.
func (f *configFile) watch(ctx context.Context, changed func()) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", f.path, err)
	}
	defer watcher.Close()
	if err := watcher.Add(filepath.Dir(f.path)); err != nil {
		return fmt.Errorf("watch the folder of %s: %w", f.path, err)
	}
	due := time.NewTimer(settle) // It may have changed since it was read.
	defer due.Stop()
	var since time.Time // of the first event after the last look
	await := func() {
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) < patience { // A folder in which something is written all the time keeps nobody from looking.
			due.Reset(settle)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watcher.Events:
			await()
		case <-watcher.Errors: //nolint:errcheck // Events were lost: the file is looked at all the same.
			await()
		case <-due.C:
			since = time.Time{}
			if f.look() {
				changed()
			}
		}
	}
}

// watch reloads the configuration when its file changes, as long as the configuration wants that, until the context ends.
func (r *reloader) watch(ctx context.Context) {
	var watching sync.WaitGroup
	defer watching.Wait()
	stop := func() {}
	for on := false; ; {
		if wanted := r.h.config().Host.Watch; wanted != on {
			on = wanted
			stop()
			watched, cancel := context.WithCancel(ctx)
			if stop = cancel; on {
				watching.Go(func() {
					if err := r.file.watch(watched, func() { r.reloadSoon(ctx, "watch") }); err != nil {
						r.h.logger.Error("the configuration is not watched: reload it by \"islands reload\" or SIGHUP", "error", err)
					}
				})
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-r.taken:
		}
	}
}

// reloadSoon reloads for somebody who does not wait for the outcome, which is in the log.
func (r *reloader) reloadSoon(ctx context.Context, by string) {
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	_, _ = r.reload(ctx, by) // It has told the log.
}
