package upstream

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/service-islands/islands/sdk"
)

// durationBounds are the upper bounds of the buckets of upstream_call_duration_seconds.
var durationBounds = []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// outcomes are the kinds a call can end with, each a label value of upstream_calls_total beside "ok".
var outcomes = []sdk.Kind{
	sdk.InvalidArgument, sdk.NotFound, sdk.RateLimited, sdk.Unavailable, sdk.DeadlineExceeded, sdk.Canceled,
	sdk.Unauthenticated, sdk.PermissionDenied, sdk.BadUpstream, sdk.Unsupported, sdk.Internal,
}

// stats counts what happened.
type stats struct {
	mu        sync.Mutex
	ok        uint64
	failures  map[sdk.Kind]uint64
	retries   uint64
	limits    uint64
	refusals  map[string]uint64
	durations sdk.Histogram
	// last429 is the zero time until there was one.
	last429 time.Time
	// inARow counts the failures since the last call that showed the upstream at work.
	inARow    int
	lastError sdk.Kind
	hasError  bool
}

// newStats returns counters at zero.
func newStats() *stats {
	s := &stats{failures: map[sdk.Kind]uint64{}, refusals: map[string]uint64{}}
	for _, bound := range durationBounds {
		s.durations.Buckets = append(s.durations.Buckets, sdk.Bucket{UpperBound: bound})
	}
	return s
}

// observe adds a duration. The lock is held.
func (s *stats) observe(d time.Duration) {
	s.durations.Count++
	s.durations.Sum += d.Seconds()
	for i := range s.durations.Buckets {
		if d.Seconds() <= s.durations.Buckets[i].UpperBound {
			s.durations.Buckets[i].Count++
		}
	}
}

// succeeded counts an attempt that was answered.
func (s *stats) succeeded(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observe(d)
	s.ok++
	s.inARow = 0
}

// failed counts an attempt that was not.
func (s *stats) failed(d time.Duration, kind sdk.Kind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observe(d)
	if !slices.Contains(outcomes, kind) {
		kind = sdk.Internal
	}
	s.failures[kind]++
	switch kind {
	case sdk.NotFound, sdk.InvalidArgument, sdk.Unsupported:
		// The upstream works; it was asked for something that it does not have.
		s.inARow = 0
	case sdk.Canceled:
		// Says nothing about the upstream.
	default:
		s.inARow++
		s.lastError, s.hasError = kind, true
	}
}

// refused counts a call that was never sent.
func (s *stats) refused(by string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals[by]++
}

// retried counts another try.
func (s *stats) retried() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retries++
}

// sawLimit notes that the upstream asked for fewer calls.
func (s *stats) sawLimit(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits++
	s.last429 = now
}

// Health is the part "upstream" of an island's health: degraded while the last call failed or a silence holds, never
// failed, because the island itself works. Details: consecutive_failures; limiter_tokens and limiter_per_minute where
// there is a limit; last_429 (RFC 3339) and last_error (a kind) once there was one; retry_after_seconds while silent.
func (c *Client) Health() sdk.Part {
	now := time.Now()
	quiet, tokens := c.gate.state(now)
	s := c.stats
	s.mu.Lock()
	defer s.mu.Unlock()
	part := sdk.Part{Name: "upstream", Details: map[string]any{"consecutive_failures": s.inARow}}
	if tokens >= 0 {
		part.Details["limiter_tokens"] = math.Round(tokens*100) / 100
		part.Details["limiter_per_minute"] = c.gate.perMinute
	}
	if !s.last429.IsZero() {
		part.Details["last_429"] = s.last429.UTC().Format(time.RFC3339)
	}
	if s.hasError {
		part.Details["last_error"] = s.lastError.String()
	}
	if s.inARow > 0 {
		part.Status = sdk.StatusDegraded
		part.Reason = fmt.Sprintf("calls in a row that failed: %d, the last one %s", s.inARow, s.lastError)
	}
	if !quiet.until.IsZero() {
		left := math.Ceil(quiet.until.Sub(now).Seconds())
		part.Status = sdk.StatusDegraded
		part.Details["retry_after_seconds"] = left
		part.Reason = fmt.Sprintf("silent for another %.0f s: %s", left, quiet.reason)
	}
	return part
}

// Metrics counts the calls: by outcome ("ok" or a kind), with their retries, durations, and those that were refused
// before they were sent.
func (c *Client) Metrics() sdk.Metrics {
	now := time.Now()
	quiet, tokens := c.gate.state(now)
	s := c.stats
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := []sdk.Sample{{Labels: map[string]string{"outcome": "ok"}, Value: float64(s.ok)}}
	for _, kind := range outcomes {
		calls = append(calls, sdk.Sample{Labels: map[string]string{"outcome": kind.String()}, Value: float64(s.failures[kind])})
	}
	var refusals []sdk.Sample
	for _, by := range []string{"limiter", "silence"} {
		refusals = append(refusals, sdk.Sample{Labels: map[string]string{"by": by}, Value: float64(s.refusals[by])})
	}
	durations := s.durations
	durations.Buckets = slices.Clone(durations.Buckets)
	left := 0.0
	if !quiet.until.IsZero() {
		left = quiet.until.Sub(now).Seconds()
	}
	out := sdk.Metrics{
		{
			Name: "upstream_calls_total", Type: sdk.CounterType,
			Help: "Attempts sent to the upstream, by outcome.", Samples: calls,
		},
		sdk.Counter("upstream_retries_total", "Attempts that followed a failed one.", float64(s.retries)),
		sdk.Counter("upstream_rate_limited_total", "Replies with which the upstream asked for fewer calls.", float64(s.limits)),
		{
			Name: "upstream_refused_total", Type: sdk.CounterType,
			Help: "Calls not sent because the budget was used up or a silence held.", Samples: refusals,
		},
		{
			Name: "upstream_call_duration_seconds", Type: sdk.HistogramType, Unit: "seconds",
			Help: "How long attempts took.", Samples: []sdk.Sample{{Histogram: &durations}},
		},
		sdk.Gauge("upstream_silence_seconds", "seconds", "How long nothing will be sent.", left),
	}
	if tokens >= 0 {
		out = append(out, sdk.Gauge("upstream_limiter_tokens", "", "What is left of the budget right now.", tokens))
	}
	return out
}
