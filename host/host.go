package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/config"
	"github.com/service-islands/islands/host/internal/gateway"
	"github.com/service-islands/islands/host/internal/gateway/hub"
	"github.com/service-islands/islands/host/internal/observe"
	"github.com/service-islands/islands/host/internal/pipeline"
	"github.com/service-islands/islands/host/internal/spool"
	"github.com/service-islands/islands/host/internal/supervisor"
	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// host is everything that runs: opened in order by start, closed in reverse by stop.
type host struct {
	cfg    atomic.Pointer[config.Config] // what it is right now: a reload replaces it
	logger hclog.Logger

	observer   *observe.Observer
	supervisor *supervisor.Supervisor
	spool      *spool.Spool
	requests   *pipeline.Requests
	feeds      *feeds
	hub        *hub.Hub
	news       *news
	gateway    *gateway.Gateway
	reloads    *reloader

	opened []closer // in the order of opening
}

// closer is a named step of the way down.
type closer struct {
	name  string
	close func(ctx context.Context) error
}

// config returns what the host is right now.
func (h *host) config() *config.Config { return h.cfg.Load() }

// startHost opens everything in order: run directory, islands, pipeline, live feed, gateway. On an error it closes what it opened.
// The file is read anew for a reload.
func startHost(ctx context.Context, cfg *config.Config, file *configFile, logger hclog.Logger) (_ *host, err error) {
	h := &host{logger: logger}
	h.cfg.Store(cfg)
	h.feeds = &feeds{h: h}
	h.reloads = newReloader(h, cfg, file)
	defer func() {
		if err != nil {
			err = errors.Join(err, h.stop())
		}
	}()

	run, err := openRunDir(cfg.Host.DataDir)
	if err != nil {
		return nil, err
	}
	h.opens("run directory", func(context.Context) error { return run.close() })
	groups := process.OpenCgroups(run.key()) // Before there is any process.
	janitor, err := startJanitor(run, logger.Named("janitor"))
	if err != nil {
		return nil, err
	}
	h.opens("janitor", func(context.Context) error { return janitor.close() })

	h.hub = hub.New(h.hubOptions())
	h.news = newNews(h.hub)
	h.observer = observe.New(observe.Options{Layers: layersOf(cfg), Logger: logger.Named("observe")})
	h.supervisor, err = supervisor.New(supervisor.Options{
		Islands: specsOf(cfg, cfg.Host.DataDir), RunDir: run.path, Cgroups: groups, CrashDir: filepath.Join(cfg.Host.DataDir, "crashes"), Logger: logger, Observer: h.observer, OnChange: h.changed, OnProcess: janitor.watch,
	})
	if err != nil {
		return nil, err
	}
	h.opens("islands", h.supervisor.Stop)
	if err := h.supervisor.Start(ctx); err != nil {
		return nil, fmt.Errorf("start islands: %w", err)
	}

	h.openSpool(cfg)
	h.requests = pipeline.New(h.pipelineOptions(cfg))
	h.opens("pipeline", func(context.Context) error {
		h.requests.Close()
		return nil
	})
	h.runs("invalidations", h.requests.Run)
	select {
	case <-h.requests.Stands():
	case <-time.After(streamGrace): // the cache is away; the pipeline goes on without it
	case <-ctx.Done():
		return nil, ctx.Err()
	}

	h.feeds.reconfigure(cfg)
	h.opens("live feed", h.feeds.close)
	opts := gateway.Options{
		Listen: cfg.Host.Listen, AdminSocket: filepath.Join(run.path, adminSocketName), AdminToken: cfg.Host.AdminToken,
		Market: market{h.requests}, Insight: &insight{h}, Operator: &operator{h}, Reports: formatsOf(cfg),
		Feed: h.hub, Origins: cfg.Broadcast.Clients.Origins,
		RequestTimeout: cfg.Host.RequestTimeout, MaxSymbols: cfg.Host.Limits.MaxSymbols, Logger: logger.Named("gateway"),
	}
	h.edgeOptions(&opts)
	h.gateway, err = gateway.New(opts)
	if err != nil {
		return nil, err
	}
	if err := h.gateway.Start(); err != nil {
		return nil, err
	}
	h.opens(stepGateway, h.gateway.Shutdown)
	h.runs("warm-up", h.warm)
	h.opens("reload", h.reloads.close)
	return h, nil
}

// streamGrace is how long the API waits for the cache's invalidations before it opens.
const streamGrace = time.Second

// warm warms up what is to be warm, at the start and after each reload.
func (h *host) warm(ctx context.Context) {
	for ctx.Err() == nil {
		changed := h.requests.Changed()
		h.requests.Warm(ctx)
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

// opens notes what is to be closed.
func (h *host) opens(name string, closeStep func(ctx context.Context) error) {
	h.opened = append(h.opened, closer{name, closeStep})
}

// runs starts a goroutine that lives until the way down reaches it.
func (h *host) runs(name string, run func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		run(ctx)
	}()
	h.opens(name, func(ctx context.Context) error {
		cancel()
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// stop closes everything in reverse within the shutdown timeout. A step that fails or takes too long does not keep the
// others from theirs.
func (h *host) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), h.config().Host.ShutdownTimeout)
	defer cancel()
	if h.supervisor != nil {
		h.supervisor.RefuseChanges() // Nobody who waits for one holds up the rest.
	}
	var errs []error
	for i := len(h.opened) - 1; i >= 0; i-- {
		step, began := h.opened[i], time.Now()
		if err := h.close(ctx, step); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", step.name, err))
		}
		h.logger.Debug("closed", "step", step.name, "took", time.Since(began).Round(time.Millisecond))
	}
	h.opened = nil
	return errors.Join(errs...)
}

// close closes a step. The clients get two thirds of the time that is left at most: the islands need some, too.
func (h *host) close(ctx context.Context, step closer) error {
	if deadline, ok := ctx.Deadline(); ok && step.name == stepGateway {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)*2/3)
		defer cancel()
	}
	return step.close(ctx)
}

// stepGateway is the step at which clients are sent away.
const stepGateway = "gateway"

// changed logs what becomes of an island and tells clients of it.
func (h *host) changed(s supervisor.IslandStatus) {
	h.logger.Debug("island changed", "island", s.Name, "state", string(s.State), "health", s.Health.Status.String())
	h.news.changed(s)
}

// specsOf turns the configuration into what the supervisor keeps alive. The host's data is where it is until it ends, whatever
// the configuration says by now.
func specsOf(cfg *config.Config, dataDir string) []supervisor.Spec {
	specs := make([]supervisor.Spec, len(cfg.Islands))
	users := usersOf(cfg, dataDir)
	private := []string{dataDir}
	if cfg.File != "" {
		private = append(private, cfg.File)
	}
	for i, island := range cfg.Islands {
		specs[i] = supervisor.Spec{
			Name: island.Name, Kind: island.Manifest.Name, Layer: island.Layer, Roles: island.Manifest.Roles, Enabled: island.Enabled,
			Path: island.Binary, SHA256: island.SHA256, Env: island.Env, Settings: island.Settings,
			Restart: supervisor.Restart(island.Restart), Health: supervisor.Health(island.Health),
			Limits: process.Limits{
				Memory: uint64(island.Limits.Memory), Processors: island.Limits.Processors, Files: uint64(island.Limits.Files),
			},
		}
		if island.Confine {
			specs[i].Confine = &process.Confine{Reads: island.Reads, Writes: island.Writes, Private: private, User: users[island.Name]}
		}
	}
	return specs
}

// layersOf says which layer each island is in.
func layersOf(cfg *config.Config) map[string]sdk.Layer {
	layers := make(map[string]sdk.Layer, len(cfg.Islands))
	for _, island := range cfg.Islands {
		layers[island.Name] = island.Layer
	}
	return layers
}

// Calls that requests make to an island at once, when its limits do not say. A report takes a processor, so that a reporter
// gets no more work than some processors can do.
const (
	defaultCalls  = 64
	reporterCalls = 16
)

// maxCalls is how many calls that requests make to an island may be under way at once.
func (h *host) maxCalls(name string) int {
	switch island, _ := h.config().Island(name); {
	case island.MaxCalls > 0:
		return island.MaxCalls
	case island.Manifest.Has(sdk.RoleReporter):
		return reporterCalls
	default:
		return defaultCalls
	}
}

// specOf returns what the reporter's manifest says of a report.
func specOf(cfg *config.Config, report config.Report) sdk.ReportSpec {
	island, _ := cfg.Island(report.Island)
	for _, spec := range island.Manifest.Reports {
		if spec.Name == report.Name {
			return spec
		}
	}
	return sdk.ReportSpec{}
}

// formatsOf lists the formats of each report.
func formatsOf(cfg *config.Config) map[string][]string {
	formats := make(map[string][]string, len(cfg.Request.Reports))
	for _, report := range cfg.Request.Reports {
		formats[report.Name] = specOf(cfg, report).Formats
	}
	return formats
}

// pipelineOptions joins the configuration, the islands and the gateway's shapes to the pipeline.
func (h *host) pipelineOptions(cfg *config.Config) pipeline.Options {
	line := func(k config.Kind) pipeline.Line {
		return pipeline.Line{Sources: k.Sources, Strategy: strategyOf(k.Strategy)}
	}
	req, limits := cfg.Request, cfg.Host
	opts := pipeline.Options{
		Island: h.supervisor.Island, Hold: h.supervisor.Hold, Cache: req.Cache, Store: req.Store,
		Quotes: line(req.Quotes), Candles: line(req.Candles), Global: line(req.Global), Sentiment: line(req.Sentiment),
		Catalogue: line(req.Catalogue), Alone: aloneIn(cfg),
		Encode: pipeline.Encoders{
			Quote: func(q sdk.Quote, stale bool) pipeline.Representation {
				return pipeline.NewRepresentation("json", jsonType, gateway.EncodeQuote(q, stale))
			},
			Global: func(g sdk.Global, stale bool) pipeline.Representation {
				return pipeline.NewRepresentation("json", jsonType, gateway.EncodeGlobal(g, stale))
			},
		},
		NegativeTTL: limits.NegativeTTL, RequestTimeout: limits.RequestTimeout, SourceTimeout: limits.SourceTimeout,
		LastSourceTimeout: limits.LastSourceTimeout, MaxEntries: limits.NearCache.MaxEntries,
		MaxBytes: int64(limits.NearCache.MaxMemory), MaxFlights: limits.Limits.MaxColdRequests,
		Spool: h.spool, Operation: h.observer.Operation, Logger: h.logger.Named("pipeline"),
		MaxCalls: h.maxCalls, Caller: gateway.ClientOf,
	}
	for _, report := range req.Reports {
		spec := specOf(cfg, report)
		opts.Reports = append(opts.Reports, pipeline.Report{
			Name: report.Name, Island: report.Island, KeyPrefix: report.Key, Strategy: strategyOf(report.Strategy),
			Needs: spec.Needs, Formats: spec.Formats, Warm: report.Warm,
		})
	}
	return opts
}

// aloneIn lists the enabled islands that offer quotes and are not in line for them: a client may ask for one by its name,
// so that it can be tried before others go by it.
func aloneIn(cfg *config.Config) []string {
	line := cfg.Request.Quotes.Sources
	if len(line) == 0 {
		return nil // Nobody said how long a quote holds.
	}
	var alone []string
	for _, island := range cfg.Islands {
		if island.Enabled && island.Manifest.Has(sdk.RoleQuotes) && !slices.Contains(line, island.Name) {
			alone = append(alone, island.Name)
		}
	}
	return alone
}

// jsonType is the content type of the answers that the gateway encodes.
const jsonType = "application/json"

func strategyOf(s config.Strategy) pipeline.Strategy {
	return pipeline.Strategy{TTL: s.TTL, StaleFor: s.StaleFor}
}
