package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/upstream"
)

// settings are what the island's config block may hold.
type settings struct {
	URL             string        `setting:"url" default:"https://data-api.binance.vision" doc:"Base URL of the REST API, without /api/v3."`
	StreamURL       string        `setting:"stream_url" default:"wss://data-stream.binance.vision" doc:"Base URL of the streams, without /stream."`
	WeightPerMinute int           `setting:"weight_per_minute" default:"6000" doc:"Most request weight in any minute; 200 or more."`
	Timeout         time.Duration `setting:"timeout" default:"3s" doc:"Bound on one attempt, reading the reply included."`
}

// leastWeight is a budget of which the burst still holds the heaviest call.
const leastWeight = 200

// source is the island.
type source struct {
	client *upstream.Client
	name   string
	budget int
	list   *directory
	// now is the clock.
	now func() time.Time
	// used is the weight of the running minute as Binance last told it.
	used atomic.Int64
	// restricted is true from a 451 until the next success.
	restricted atomic.Bool

	logger *slog.Logger
	// streamURL is the base of the streams, without a slash at the end.
	streamURL string
	manners   manners
	// sockets opens the streams' connections, and connects is the budget of them.
	sockets  *http.Client
	connects *rate.Limiter
	// exile is when none may be opened.
	exile    exile
	streams  *streams
	streamed *streamed
	// transport carries calls and handshakes; one of its own for each when nil.
	transport http.RoundTripper
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
	return &source{
		now: time.Now, list: newDirectory(), manners: goodManners(), streamed: &streamed{},
		streams: newStreams(),
	}
}

// Initialize reads the settings. It asks nothing of Binance yet.
func (s *source) Initialize(_ context.Context, cfg sdk.Config) error {
	var set settings
	if err := cfg.Decode(&set); err != nil {
		return err
	}
	if err := set.check(); err != nil {
		return err
	}
	s.name, s.budget, s.logger = cfg.Name, set.WeightPerMinute, cfg.Logger
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	s.streamURL = strings.TrimRight(set.StreamURL, "/")
	s.connects = newConnectLimit(s.manners)
	s.sockets = newSockets(s.transport)
	s.client = upstream.New(upstream.Options{
		BaseURL: set.URL,
		Limit:   upstream.Limit{PerMinute: set.WeightPerMinute},
		Timeout: set.Timeout,
		MaxBody: 32 << 20, // The list of all pairs is several megabytes.
		Logger:  cfg.Logger,
		OnReply: s.onReply,
		Classify: func(status int, header http.Header, body []byte) error {
			now := s.now()
			err := classify(status, header, body, now)
			s.onRefusal(status, header, err, now)
			return err
		},
		Transport: s.transport,
	})
	return nil
}

// newSockets returns what opens the streams' connections. Each is used once, and none is led elsewhere.
func newSockets(transport http.RoundTripper) *http.Client {
	if transport == nil {
		transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: 64 << 10,
			DisableKeepAlives: true,
		}
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
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
		return wrong("stream_url", `setting "stream_url" wants the base of the streams, such as "wss://data-stream.binance.vision"`)
	case set.WeightPerMinute < leastWeight:
		return wrong("weight_per_minute", `setting "weight_per_minute" wants %d or more, not %d`, leastWeight, set.WeightPerMinute)
	case set.Timeout <= 0:
		return wrong("timeout", `setting "timeout" wants a duration above zero, such as "3s"`)
	}
	return nil
}

// onReply obeys the weight that every reply tells, and notes what its status says about the location.
func (s *source) onReply(status int, header http.Header) {
	switch {
	case status == http.StatusUnavailableForLegalReasons:
		s.restricted.Store(true)
	case status/100 == 2:
		s.restricted.Store(false)
	}
	used, err := strconv.Atoi(header.Get("X-MBX-USED-WEIGHT-1M"))
	if err != nil || used < 0 {
		return
	}
	s.used.Store(int64(used))
	if used >= s.budget*95/100 {
		turn := s.now().Truncate(time.Minute).Add(time.Minute)
		s.client.Silence(turn, sdk.RateLimited, fmt.Sprintf("%d of the minute's weight of %d are used", used, s.budget))
	}
}

// Health is that of the upstream and of the streams: degraded while Binance fails, refuses or must be left alone, never
// failed.
func (s *source) Health(context.Context) sdk.Health {
	if s.client == nil {
		return sdk.Failed("not initialized")
	}
	part := s.client.Health()
	part.Details["used_weight"] = s.used.Load()
	if s.restricted.Load() {
		part.Status, part.Reason = sdk.StatusDegraded, restrictedLocation
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

// Metrics are those of the upstream and of the streams, and the weight that Binance counted.
func (s *source) Metrics(context.Context) (sdk.Metrics, error) {
	if s.client == nil {
		return nil, nil
	}
	own := sdk.Gauge("upstream_used_weight", "", "Weight used in the minute of the last reply, as Binance counts it.",
		float64(s.used.Load()))
	return append(append(s.client.Metrics(), own), s.streamMetrics()...), nil
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
