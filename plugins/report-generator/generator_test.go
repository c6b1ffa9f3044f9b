package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
)

// quoteRequest asks for a report out of a quote alone.
func quoteRequest() sdk.ReportRequest {
	return sdk.ReportRequest{
		Report: "crypto-report", Asset: sdk.Asset{Symbol: "btc"}, VsCurrency: "usd", Now: time.Date(2026, 3, 14, 0, 0, 0, 0, time.UTC),
		Quote: &sdk.Quote{Symbol: "btc", VsCurrency: "usd", Price: sdk.Known(1), Source: "somewhere"},
	}
}

// initialized returns an island with these settings.
func initialized(t *testing.T, values map[string]any) *generator {
	t.Helper()
	g := newGenerator()
	if err := g.Initialize(t.Context(), sdk.Config{Name: "report", Values: values, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestManifest(t *testing.T) {
	m := manifest().Complete(newGenerator())
	if !slices.Equal(m.Roles, []sdk.Role{sdk.RoleReporter}) || m.Layer != sdk.LayerBusinessLogic || m.Name != "report-generator" {
		t.Errorf("manifest is %+v", m)
	}
	if s, ok := m.Setting("disclaimer"); !ok || s.Required {
		t.Errorf("settings are %+v", m.Settings)
	}
	if len(m.Reports) != 2 || m.Reports[0].Needs.DailyCandles != 400 || !m.Reports[0].Needs.CrossCheck || m.Reports[1].Needs.Global {
		t.Errorf("reports are %+v", m.Reports)
	}
}

func TestLife(t *testing.T) {
	g := newGenerator()
	if err := g.Shutdown(t.Context()); err != nil {
		t.Errorf("shutdown before initialize: %v", err)
	}
	if g.Health(t.Context()).Status != sdk.StatusFailed {
		t.Error("healthy before initialize")
	}
	if _, err := g.Report(t.Context(), quoteRequest()); !errors.Is(err, sdk.Unavailable) {
		t.Errorf("report before initialize: %v", err)
	}
	g = initialized(t, nil)
	if g.Health(t.Context()).Status != sdk.StatusOK {
		t.Error("not healthy")
	}
	for range 2 {
		if err := g.Shutdown(t.Context()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	}
	if _, err := g.Report(t.Context(), quoteRequest()); !errors.Is(err, sdk.Unavailable) {
		t.Errorf("report after shutdown: %v", err)
	}
}

func TestSettingsAreStrict(t *testing.T) {
	for name, values := range map[string]map[string]any{
		"unknown":    {"disclaimr": "x"},
		"wrong type": {"disclaimer": 1.5},
	} {
		t.Run(name, func(t *testing.T) {
			if err := newGenerator().Initialize(t.Context(), sdk.Config{Values: values}); !errors.Is(err, sdk.InvalidArgument) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestEveryReportInEveryFormat(t *testing.T) {
	g := initialized(t, map[string]any{"disclaimer": "Do your own research."})
	day := quoteRequest().Now.AddDate(0, 0, -1)
	for _, spec := range g.Reports() {
		req := quoteRequest()
		req.Report = spec.Name
		req.Candles = &sdk.Candles{Symbol: "btc", VsCurrency: "usd", Interval: sdk.Interval1d, Items: []sdk.Candle{
			{OpenTime: day, Close: sdk.Known(1), Closed: true},
		}}
		made, err := g.Report(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, format := range spec.Formats {
			d, ok := made.Document(format)
			if !ok || len(d.Body) == 0 || d.ContentType == "" {
				t.Errorf("%s as %s is %+v", spec.Name, format, d)
			}
		}
		if len(made.Documents) != len(spec.Formats) {
			t.Errorf("%s has %d documents", spec.Name, len(made.Documents))
		}
	}
}

func TestMetricsCountWhatHappened(t *testing.T) {
	g := initialized(t, nil)
	ctx := t.Context()
	gone, cancel := context.WithCancel(ctx)
	cancel()
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			if _, err := g.Report(ctx, quoteRequest()); err != nil {
				t.Error(err)
			}
			if _, err := g.Report(gone, quoteRequest()); !errors.Is(err, context.Canceled) {
				t.Errorf("the caller has gone, the error is %v", err)
			}
			req := quoteRequest()
			req.Quote = nil
			if _, err := g.Report(ctx, req); !errors.Is(err, sdk.Unavailable) {
				t.Errorf("without data the error is %v", err)
			}
			for _, name := range []string{"a", "b", ""} {
				if _, err := g.Report(ctx, sdk.ReportRequest{Report: name}); !errors.Is(err, sdk.InvalidArgument) {
					t.Errorf("no such report, the error is %v", err)
				}
			}
			if _, err := g.Metrics(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	m, err := g.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		name   string
		labels map[string]string
		value  float64
	}{
		{"operations_total", nil, 24},
		{"reports_total", map[string]string{"report": "crypto-report", "outcome": "ok"}, 4},
		{"reports_total", map[string]string{"report": "crypto-report", "outcome": "canceled"}, 4},
		{"reports_total", map[string]string{"report": "crypto-report", "outcome": "unavailable"}, 4},
		{"reports_total", map[string]string{"report": "other", "outcome": "invalid_argument"}, 12},
	} {
		if got, ok := m.Value(want.name, want.labels); !ok || got != want.value {
			t.Errorf("%s %v is %v, want %v", want.name, want.labels, got, want.value)
		}
	}
	for _, metric := range m {
		if metric.Name != "report_duration_seconds" {
			continue
		}
		if len(metric.Samples) != 2 || metric.Samples[0].Histogram.Count != 12 {
			t.Errorf("durations are %+v", metric.Samples)
		}
		last := uint64(0)
		for _, b := range metric.Samples[0].Histogram.Buckets {
			if b.Count < last || b.Count > 12 {
				t.Errorf("buckets are %+v", metric.Samples[0].Histogram.Buckets)
			}
			last = b.Count
		}
	}
}
