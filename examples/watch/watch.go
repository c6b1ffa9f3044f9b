package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// options say what is watched and where it is shown.
type options struct {
	url      string
	channels []string
	out      io.Writer
	errs     io.Writer
	lines    bool // a line per update,
	raw      bool // or per message, instead of a table that is redrawn.
	size     func() (width, height int)
	palette  palette
	http     *http.Client
}

// watcher ties the parts: what the client brings goes into the feed, and from there to whoever shows it.
type watcher struct {
	url   string
	lines *lines // nil when a screen shows the feed.

	mu      sync.Mutex
	feed    *feed
	link    link
	joined  int
	version int
}

// watch shows the feed until the context ends, or nothing can be shown any more.
func watch(ctx context.Context, o options) error {
	w := &watcher{url: o.url, feed: newFeed(o.channels)}
	c := &client{url: o.url, http: o.http, opened: w.opened, receive: w.receive, changed: w.changed}
	if o.lines || o.raw {
		w.lines = &lines{out: o.out, errs: o.errs, raw: o.raw}
		return c.run(ctx)
	}

	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- c.run(ctx)
	}()
	s := &screen{out: o.out, size: o.size, palette: o.palette, view: w.view}
	err := s.run(ctx)
	cancel()
	return errors.Join(<-ended, err)
}

func (w *watcher) opened() [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return subscribe(w.feed.names, w.feed.since())
}

func (w *watcher) receive(m message, raw []byte, at time.Time) error {
	w.mu.Lock()
	n, err := w.feed.apply(m, at)
	w.version++
	w.mu.Unlock()
	if w.lines != nil {
		return errors.Join(w.lines.message(raw, n, at), err)
	}
	return err
}

func (w *watcher) changed(l link) {
	w.mu.Lock()
	w.link = l
	w.version++
	if l.up {
		w.joined++
	} else {
		w.feed.interrupted()
	}
	w.mu.Unlock()
	if w.lines != nil {
		w.lines.linked(l, time.Now())
	}
}

// view returns what is to be drawn now.
func (w *watcher) view() (view, int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.feed
	v := view{
		url: w.url, link: w.link, live: f.live(), last: f.last, rows: f.rows(), global: f.global, holes: f.holes, lost: f.lost,
		latency: f.latency, notes: f.refusals(), now: time.Now(), rejoined: max(w.joined-1, 0),
	}
	if f.last != "" {
		v.at = f.channels[f.last].at
	}
	if f.problem != "" {
		v.notes = append(v.notes, f.problem)
	}
	if f.lastHole != nil {
		v.notes = append(v.notes, f.lastHole.String())
	}
	for _, i := range f.troubled() {
		v.notes = append(v.notes, i.String())
	}
	return v, w.version
}
