package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/config"
	"github.com/service-islands/islands/host/internal/gateway/hub"
	"github.com/service-islands/islands/host/internal/supervisor"
	"github.com/service-islands/islands/sdk"
)

// reloader makes a running host what its configuration says now. One reload follows the other, and none begins once the host
// stops.
type reloader struct {
	h    *host
	file *configFile
	// booted is what the host was started with: what it cannot take over is compared with that.
	booted *config.Config

	turn   chan struct{} // held by the reload that is under way
	closed chan struct{} // closed when the host stops
	taken  chan struct{} // holds a token when a configuration was taken over that watch has not seen
}

func newReloader(h *host, cfg *config.Config, file *configFile) *reloader {
	return &reloader{h: h, file: file, booted: cfg, turn: make(chan struct{}, 1), closed: make(chan struct{}), taken: make(chan struct{}, 1)}
}

// reloaded is what came of a reload. The CLI reads it.
type reloaded struct {
	Result string `json:"result"` // "reloaded", or "unchanged"
	supervisor.Applied
	// NeedsRestart lists settings that are not in effect before the host is started again.
	NeedsRestart []string `json:"needs_restart"`
}

// reloadTimeout bounds a reload that nobody waits for. It is longer than what is bounded within.
const reloadTimeout = 2 * time.Minute

// errStopping refuses a reload while the host stops.
var errStopping = sdk.Errorf(sdk.Unavailable, "the host is stopping")

// close refuses reloads from now on, and waits for the one under way.
func (r *reloader) close(ctx context.Context) error {
	close(r.closed)
	select {
	case r.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// begin waits for the turn of a reload. The context that it returns ends when the host stops.
func (r *reloader) begin(ctx context.Context) (_ context.Context, done func(), err error) {
	select {
	case <-r.closed:
		return nil, nil, errStopping
	default:
	}
	select {
	case r.turn <- struct{}{}:
	case <-r.closed:
		return nil, nil, errStopping
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("another reload is under way: %w", context.Cause(ctx))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		select {
		case <-r.closed:
			cancel(errStopping)
		case <-ended:
		}
	}()
	return ctx, func() {
		close(ended)
		cancel(nil)
		<-r.turn
	}, nil
}

// reload reads the configuration and makes the host what it says, and tells the log what came of it. By is who wants it. An
// error has changed nothing.
func (r *reloader) reload(ctx context.Context, by string) (reloaded, error) {
	ctx, done, err := r.begin(ctx)
	if err != nil {
		r.h.logger.Warn("a reload was not begun", "by", by, "error", err)
		return reloaded{}, err
	}
	defer done()
	began := time.Now()
	result, err := r.apply(ctx)
	if err != nil {
		r.h.logger.Error("the configuration was not taken over, the running one goes on", "by", by, "error", oneLine(err))
		return reloaded{}, err
	}
	fields := []any{"by", by, "took", time.Since(began).Round(time.Millisecond)}
	for _, what := range result.lists() {
		if len(what.names) > 0 && what.title != "unchanged" {
			fields = append(fields, strings.ReplaceAll(what.title, " ", "_"), strings.Join(what.names, " "))
		}
	}
	level := hclog.Info
	if len(result.NeedsRestart) > 0 {
		level = hclog.Warn
	}
	message := "the configuration was taken over"
	if result.Result == "unchanged" {
		message = "the configuration is what it was"
	}
	r.h.logger.Log(level, message, fields...)
	return result, nil
}

// list is one of the lists of a result.
type list struct {
	title string
	names []string
}

// lists are what is to be told, in this order.
func (r reloaded) lists() []list {
	return []list{
		{"added", r.Added},
		{"replaced", r.Replaced},
		{"updated", r.Updated},
		{"removed", r.Removed},
		{"unchanged", r.Unchanged},
		{"needs restart", r.NeedsRestart},
	}
}

// refusedFile is a configuration that is not valid: a mistake of whoever asked for the reload.
type refusedFile struct{ *config.Diagnostics }

// Unwrap makes it an InvalidArgument.
func (r refusedFile) Unwrap() []error { return []error{r.Diagnostics, sdk.InvalidArgument} }

// apply takes the configuration over.
func (r *reloader) apply(ctx context.Context) (reloaded, error) {
	h := r.h
	cfg, err := r.file.read()
	var wrong *config.Diagnostics
	switch {
	case errors.As(err, &wrong):
		return reloaded{}, refusedFile{wrong}
	case err != nil:
		return reloaded{}, fmt.Errorf("%w: %w", sdk.InvalidArgument, err)
	}
	before := h.config()
	layers := layersOf(before)
	maps.Copy(layers, layersOf(cfg))
	h.observer.SetLayers(layers)
	applied, err := h.supervisor.Apply(ctx, specsOf(cfg, r.booted.Host.DataDir), func() { h.move(cfg) }) //nolint:contextcheck // Requests and the feed have contexts of their own.
	if err != nil {
		h.observer.SetLayers(layersOf(before))
		return reloaded{}, err
	}
	h.observer.SetLayers(layersOf(cfg))
	h.tellOfRemoved(before, applied.Removed)
	select {
	case r.taken <- struct{}{}:
	default:
	}
	result := reloaded{Result: "reloaded", Applied: applied, NeedsRestart: r.booted.NeedsRestart(cfg)}
	if len(applied.Added)+len(applied.Replaced)+len(applied.Updated)+len(applied.Removed) == 0 && reflect.DeepEqual(before, cfg) {
		result.Result = "unchanged"
	}
	return result, nil
}

// move makes everybody ask the islands of another configuration: all of them run, those of the former too. It returns when
// nothing is under way any more that may ask the former, or after as long as a request may take.
func (h *host) move(cfg *config.Config) {
	h.cfg.Store(cfg)
	h.logger.SetLevel(hclog.LevelFromString(cfg.Host.Log.Level))
	settled := h.requests.Reconfigure(h.pipelineOptions(cfg))
	if err := h.gateway.SetReports(formatsOf(cfg)); err != nil {
		// The configuration has checked the names, and a reporter has formats.
		h.logger.Error("the routes of the reports stay as they were", "error", err)
	}
	h.feeds.reconfigure(cfg)
	select {
	case <-settled:
	case <-time.After(h.reloads.booted.Host.RequestTimeout + time.Second): // Another one takes a restart.
	case <-h.reloads.closed: // The host stops, and its clients have been told.
	}
}

// tellOfRemoved tells clients of the live feed of islands that were disabled, and of those that are gone.
func (h *host) tellOfRemoved(before *config.Config, removed []string) {
	status := h.supervisor.Status()
	for _, island := range before.Islands {
		at := slices.IndexFunc(status, func(s supervisor.IslandStatus) bool { return s.Name == island.Name })
		switch {
		case at < 0:
			h.news.removed(island.Name, island.Layer)
		case slices.Contains(removed, island.Name):
			h.news.changed(status[at])
		}
	}
}

// oneLine is an error for the log: what is wrong with a file takes many lines.
func oneLine(err error) string {
	var wrong *config.Diagnostics
	if !errors.As(err, &wrong) {
		return strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	var text []string
	for _, p := range wrong.Problems() {
		text = append(text, fmt.Sprintf("%s:%d: %s: %s", p.File, p.Line, p.Summary, p.Detail))
	}
	return strings.Join(text, "; ")
}

// removed tells of an island that is not in the configuration any more.
func (n *news) removed(name string, layer sdk.Layer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tell(islandNews{Name: name, Layer: layer, State: stateRemoved, Since: time.Now().UTC()})
	delete(n.last, name)
	n.hub.ForgetIslands([]string{name})
}

// stateRemoved is the last state that clients hear of an island that has left the configuration.
const stateRemoved supervisor.State = "removed"

// nothingKnown is a step of the feed that takes everything back.
func nothingKnown(epoch string) hub.Tick {
	return hub.Tick{Epoch: epoch, N: 1, At: time.Now().UTC(), Whole: true}
}
