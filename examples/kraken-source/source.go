package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/upstream"
)

// settings are what the island's config block may hold.
type settings struct {
	URL            string        `setting:"url" default:"https://api.kraken.com" doc:"Base URL of the REST API, without /0/public."`
	StreamURL      string        `setting:"stream_url" default:"wss://ws.kraken.com/v2" doc:"URL of the WebSocket API, version 2."`
	CallsPerMinute int           `setting:"calls_per_minute" default:"60" doc:"Most calls in any minute; 6 or more."`
	Timeout        time.Duration `setting:"timeout" default:"3s" doc:"Bound on one attempt, reading the reply included."`
}

const (
	// leastCalls leaves a burst that a report with a fresh list of pairs fits into.
	leastCalls = 6
	// mostBurst is how many calls may come at once; Kraken's counter takes some more.
	mostBurst = 10
)

// source is the island.
type source struct {
	client *upstream.Client
	name   string
	list   *directory
	// now is the clock.
	now func() time.Time
	// trouble is what Kraken's own words say is wrong, and told counts them.
	trouble trouble
	told    [sdk.ResourceExhausted + 1]atomic.Int64

	logger    *slog.Logger
	streamURL string
	manners   manners
	// sockets opens the stream's connections, connects is the budget of them, and exile is when none may be opened.
	sockets  *http.Client
	connects *rate.Limiter
	exile    exile
	streams  *streams
	streamed streamed
}

var (
	_ sdk.IslandComponent = (*source)(nil)
	_ sdk.QuoteSource     = (*source)(nil)
	_ sdk.CandleSource    = (*source)(nil)
	_ sdk.CatalogueSource = (*source)(nil)
	_ sdk.StreamSource    = (*source)(nil)
)

// newSource returns the island before its life begins.
func newSource() *source {
	return &source{now: time.Now, list: newDirectory(), manners: goodManners(), streams: newStreams()}
}

// Initialize reads the settings. It asks nothing of Kraken yet.
func (s *source) Initialize(_ context.Context, cfg sdk.Config) error {
	var set settings
	if err := cfg.Decode(&set); err != nil {
		return err
	}
	if err := set.check(); err != nil {
		return err
	}
	s.name, s.logger, s.streamURL = cfg.Name, cfg.Logger, set.StreamURL
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	s.connects = rate.NewLimiter(rate.Every(s.manners.connectEvery), s.manners.connectBurst)
	s.sockets = &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: 64 << 10,
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	s.client = upstream.New(upstream.Options{
		BaseURL:  set.URL,
		Limit:    upstream.Limit{PerMinute: set.CallsPerMinute, Burst: min(mostBurst, set.CallsPerMinute)},
		Timeout:  set.Timeout,
		MaxBody:  16 << 20, // The list of all pairs is more than a megabyte.
		Logger:   cfg.Logger,
		Classify: classify,
	})
	return nil
}

// check refuses what cannot be meant.
func (set settings) check() error {
	if err := upstream.CheckURL("url", set.URL); err != nil {
		return err
	}
	wrong := func(setting, format string, args ...any) error {
		return &sdk.Error{Kind: sdk.InvalidArgument, Setting: setting, Message: fmt.Sprintf(format, args...)}
	}
	u, err := url.Parse(set.StreamURL)
	switch {
	case err != nil || (u.Scheme != "ws" && u.Scheme != "wss") || u.Host == "":
		return wrong("stream_url", `setting "stream_url" wants the URL of the WebSocket API, such as "wss://ws.kraken.com/v2"`)
	case set.CallsPerMinute < leastCalls:
		return wrong("calls_per_minute", `setting "calls_per_minute" wants %d or more, not %d`, leastCalls, set.CallsPerMinute)
	case set.Timeout <= 0:
		return wrong("timeout", `setting "timeout" wants a duration above zero, such as "3s"`)
	}
	return nil
}

// Health is that of the upstream and of the stream: degraded while Kraken fails, refuses or must be left alone, never failed.
func (s *source) Health(context.Context) sdk.Health {
	if s.client == nil {
		return sdk.Failed("not initialized")
	}
	part := s.client.Health()
	if reason := s.trouble.reason(); reason != "" {
		part.Details["last_error"] = reason
		if part.Status == sdk.StatusOK {
			part.Status, part.Reason = sdk.StatusDegraded, reason
		}
	}
	health := sdk.Healthy(part)
	if stream, streaming := s.streamPart(); streaming {
		health.Parts = append(health.Parts, stream)
	}
	for _, p := range health.Parts {
		if p.Status != sdk.StatusOK {
			return sdk.Degraded(p.Reason, health.Parts...)
		}
	}
	return health
}

// Metrics are those of the upstream and of the stream, and the errors that Kraken told in words.
func (s *source) Metrics(context.Context) (sdk.Metrics, error) {
	if s.client == nil {
		return nil, nil
	}
	told := sdk.Metric{
		Name: "kraken_errors_total", Type: sdk.CounterType, Help: "Answers that held an error in Kraken's words, by kind.",
	}
	for kind := range s.told {
		if n := s.told[kind].Load(); n > 0 {
			told.Samples = append(told.Samples, sdk.Sample{
				Labels: map[string]string{"kind": strings.ReplaceAll(sdk.Kind(kind).String(), " ", "_")}, Value: float64(n),
			})
		}
	}
	out := s.client.Metrics()
	if len(told.Samples) > 0 {
		out = append(out, told)
	}
	return append(out, s.streamMetrics()...), nil
}

// Shutdown ends the streams and the connections.
func (s *source) Shutdown(ctx context.Context) error {
	err := s.streams.shutdown(ctx)
	if s.client != nil {
		s.client.Close()
		s.sockets.CloseIdleConnections()
	}
	return err
}
