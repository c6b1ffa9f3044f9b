package observe

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// Host is the name under which the host's own operations are counted, where islands have theirs.
const Host = "host"

// SlowAfter is the duration beyond which an operation is slow.
const SlowAfter = 1000 * time.Millisecond

const (
	// maxSeries bounds the pairs of island and operation that are told apart.
	maxSeries = 1024
	// otherOperation is what operations beyond maxSeries are counted as.
	otherOperation = "other"
	// kindSlots leaves room for kinds that the contract may yet append.
	kindSlots = 32
	// maxErrorText bounds how much of an error's text goes into a log line, in bytes.
	maxErrorText = 1024
)

// Options of an Observer.
type Options struct {
	// Layers of the islands, by name. What is not in it is counted under layer 0.
	Layers map[string]sdk.Layer
	// Logger receives the line of each operation; nil for none.
	Logger hclog.Logger
}

// Observer counts, times and logs calls. All methods may be called concurrently.
type Observer struct {
	// layers is replaced, as series is.
	layers atomic.Pointer[map[string]sdk.Layer]
	logger hclog.Logger

	// series is replaced, never changed, so that a look-up takes no lock.
	series atomic.Pointer[map[seriesKey]*series]
	grow   sync.Mutex
}

var _ process.Observer = (*Observer)(nil)

// New returns an observer that has seen nothing yet.
func New(opts Options) *Observer {
	o := &Observer{logger: opts.Logger}
	o.SetLayers(opts.Layers)
	if o.logger == nil {
		o.logger = hclog.NewNullLogger()
	}
	o.series.Store(&map[seriesKey]*series{})
	return o
}

// SetLayers says which layers the islands are in from now on. What was counted stays, that of islands that are gone too.
func (o *Observer) SetLayers(layers map[string]sdk.Layer) {
	layers = maps.Clone(layers)
	o.layers.Store(&layers)
}

// seriesKey tells series apart.
type seriesKey struct{ island, operation string }

// series is what is known of one operation of one island.
type series struct {
	seriesKey
	layer sdk.Layer
	// stream is whether the operation lives until it breaks and is therefore not timed.
	stream bool
	// polled is whether the host asks by the clock, so that success is worth no line, as with routine calls.
	polled bool

	begun    atomic.Uint64
	inFlight atomic.Int64
	slow     atomic.Uint64
	kinds    [kindSlots]atomic.Uint64
	duration sketch
}

// Begin counts the start of a call to an island. The function it returns must be called once, with the call's error.
func (o *Observer) Begin(ctx context.Context, island, operation string) (context.Context, func(error)) {
	return o.begin(ctx, o.find(seriesKey{island, operation}, (*o.layers.Load())[island]))
}

// Operation counts the start of something that the host itself does, such as "crypto-report". The function it returns
// must be called once, with the error it ended with.
func (o *Observer) Operation(ctx context.Context, operation string) (context.Context, func(error)) {
	return o.begin(ctx, o.find(seriesKey{Host, operation}, sdk.LayerCommunication))
}

func (o *Observer) begin(ctx context.Context, s *series) (context.Context, func(error)) {
	s.begun.Add(1)
	s.inFlight.Add(1)
	start := time.Now()
	return ctx, func(err error) { o.end(ctx, s, time.Since(start), err) }
}

// find returns the series of a key and makes it at first sight.
func (o *Observer) find(key seriesKey, layer sdk.Layer) *series {
	if s, ok := (*o.series.Load())[key]; ok {
		return s
	}
	o.grow.Lock()
	defer o.grow.Unlock()
	known := *o.series.Load()
	if len(known) >= maxSeries {
		key, layer = seriesKey{Host, otherOperation}, sdk.LayerCommunication
	}
	if s, ok := known[key]; ok {
		return s
	}
	s := &series{
		seriesKey: seriesKey{strings.Clone(key.island), strings.Clone(key.operation)},
		layer:     layer,
		stream:    slices.Contains([]string{"cache_watch", "subscribe", "stream"}, key.operation),
		polled:    key.operation == "health" || key.operation == "metrics",
	}
	grown := maps.Clone(known)
	grown[s.seriesKey] = s
	o.series.Store(&grown)
	return s
}

// end counts and logs how an operation ended.
func (o *Observer) end(ctx context.Context, s *series, took time.Duration, err error) {
	s.inFlight.Add(-1)
	if err != nil {
		s.kinds[min(int(sdk.KindOf(err)), kindSlots-1)].Add(1)
	}
	if s.stream {
		o.logStream(ctx, s, took, err)
		return
	}
	s.duration.add(took)
	slow := took > SlowAfter
	if slow {
		s.slow.Add(1)
	}
	switch {
	case err == nil && (s.polled || process.IsRoutine(ctx)):
		if o.logger.IsDebug() {
			o.logger.Debug("Operation completed successfully in "+round(took), fields(ctx, s)...)
		}
	case err == nil:
		if o.logger.IsInfo() {
			o.logger.Info("Operation completed successfully in "+round(took), fields(ctx, s)...)
		}
	case expected(sdk.KindOf(err)) || process.IsRoutine(ctx):
		if o.logger.IsDebug() {
			o.logger.Debug("Operation failed after "+round(took)+": "+oneLine(err), fields(ctx, s)...)
		}
	default:
		o.logger.Error("Operation failed after "+round(took)+": "+oneLine(err), fields(ctx, s)...)
	}
	if slow {
		o.logger.Warn("Slow operation detected: "+round(took), fields(ctx, s)...)
	}
}

// logStream tells of a stream's end: a break is worth a warning, the host's own wish is not.
func (o *Observer) logStream(ctx context.Context, s *series, took time.Duration, err error) {
	switch {
	case err == nil || expected(sdk.KindOf(err)) || process.IsRoutine(ctx):
		if o.logger.IsDebug() {
			o.logger.Debug("Stream ended after "+round(took), fields(ctx, s)...)
		}
	default:
		o.logger.Warn("Stream broke after "+round(took)+": "+oneLine(err), fields(ctx, s)...)
	}
}

// expected reports whether a failure of that kind is an answer rather than a fault.
func expected(kind sdk.Kind) bool {
	switch kind {
	case sdk.NotFound, sdk.Canceled, sdk.Unsupported, sdk.Conflict:
		return true
	default:
		return false
	}
}

// fields of a log line.
func fields(ctx context.Context, s *series) []any {
	out := make([]any, 0, 8)
	out = append(out, "operation", s.operation, "island", s.island, "layer", s.layer.String())
	if id := sdk.RequestID(ctx); id != "" {
		out = append(out, "request_id", id)
	}
	return out
}

// round writes a duration with three digits, as Go writes durations.
func round(d time.Duration) string {
	unit := time.Nanosecond
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

// oneLine returns an error's text without what could forge a second log line, and bounded.
func oneLine(err error) string {
	text := err.Error()
	if len(text) > maxErrorText {
		text = text[:maxErrorText] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}
