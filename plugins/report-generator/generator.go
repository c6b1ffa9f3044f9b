package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/plugins/report-generator/report"
	"github.com/service-islands/islands/sdk"
)

var (
	_ sdk.IslandComponent = (*generator)(nil)
	_ sdk.Reporter        = (*generator)(nil)
)

// settings of the island.
type settings struct {
	Disclaimer string `setting:"disclaimer" default:"Computed from public market data by fixed rules. This is not investment advice." doc:"Last sentence of every report, empty for none."`
}

// ready is what Initialize makes.
type ready struct {
	writer *report.Writer
	logger *slog.Logger
}

// generator is the island.
type generator struct {
	ready  atomic.Pointer[ready]
	counts *counts
}

// newGenerator makes an island that has not been initialized.
func newGenerator() *generator {
	var names []string
	for _, spec := range report.Specs() {
		names = append(names, spec.Name)
	}
	return &generator{counts: newCounts(names)}
}

// Initialize reads the settings.
func (g *generator) Initialize(_ context.Context, cfg sdk.Config) error {
	var set settings
	if err := cfg.Decode(&set); err != nil {
		return err
	}
	writer, err := report.NewWriter(set.Disclaimer)
	if err != nil {
		return err
	}
	logger := cfg.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	g.ready.Store(&ready{writer: writer, logger: logger})
	return nil
}

// Health is ok once the island is initialized: it depends on nothing else.
func (g *generator) Health(context.Context) sdk.Health {
	if g.ready.Load() == nil {
		return sdk.Failed("not initialized")
	}
	return sdk.Healthy()
}

// Metrics returns the counters.
func (g *generator) Metrics(context.Context) (sdk.Metrics, error) { return g.counts.metrics(), nil }

// Shutdown stops answering.
func (g *generator) Shutdown(context.Context) error {
	g.ready.Store(nil)
	return nil
}

// Reports lists what the island can make.
func (g *generator) Reports() []sdk.ReportSpec { return report.Specs() }

// Report makes one report. Unavailable also before Initialize and after Shutdown.
func (g *generator) Report(ctx context.Context, req sdk.ReportRequest) (sdk.Report, error) {
	start := time.Now()
	made, err := g.make(ctx, req)
	g.counts.add(req.Report, err, time.Since(start))
	return made, err
}

// make makes one report unless the caller has gone. A report takes less than a millisecond or so, so there is nothing to
// interrupt.
func (g *generator) make(ctx context.Context, req sdk.ReportRequest) (sdk.Report, error) {
	if err := ctx.Err(); err != nil {
		return sdk.Report{}, err
	}
	r := g.ready.Load()
	if r == nil {
		return sdk.Report{}, sdk.Errorf(sdk.Unavailable, "the report generator is not initialized")
	}
	made, err := r.writer.Write(req)
	if err != nil {
		return sdk.Report{}, err
	}
	r.logger.DebugContext(ctx, "report made", "report", req.Report, "symbol", req.Asset.Symbol)
	return made, nil
}
