package observe

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/service-islands/islands/sdk"
)

// Performance is the answer of /metrics/performance.
type Performance struct {
	Operations []Operation `json:"operations"`
}

// Operation is what was seen of one operation of one island, or of the host itself, since the host started.
type Operation struct {
	Operation string    `json:"operation"`
	Island    string    `json:"island"`
	Layer     sdk.Layer `json:"layer"`
	// Count of what has ended; of a stream, how often it was opened.
	Count uint64 `json:"count"`
	// Errors leave out the kinds that are answers rather than faults; of a stream, they are how often it broke.
	Errors uint64 `json:"errors"`
	// ErrorsByKind holds every failure, by the name of its kind.
	ErrorsByKind map[string]uint64 `json:"errors_by_kind,omitempty"`
	InFlight     int64             `json:"in_flight"`
	// Durations in milliseconds, within 3.2 %; unknown for streams and while nothing has ended.
	P50 sdk.Number `json:"p50_ms"`
	P95 sdk.Number `json:"p95_ms"`
	P99 sdk.Number `json:"p99_ms"`
	// SlowCount is how many took longer than SlowAfter.
	SlowCount uint64 `json:"slow_count"`
}

// Snapshot returns every operation seen so far, by island and name.
func (o *Observer) Snapshot() Performance {
	all := o.sorted()
	out := Performance{Operations: make([]Operation, 0, len(all))}
	for _, s := range all {
		out.Operations = append(out.Operations, s.snapshot())
	}
	return out
}

func (s *series) snapshot() Operation {
	durations := s.duration.read()
	op := Operation{
		Operation: s.operation, Island: s.island, Layer: s.layer,
		Count: durations.total, InFlight: s.inFlight.Load(), SlowCount: s.slow.Load(),
		P50: durations.milliseconds(0.50), P95: durations.milliseconds(0.95), P99: durations.milliseconds(0.99),
	}
	if s.stream {
		op.Count = s.begun.Load()
	}
	for i := range s.kinds {
		n := s.kinds[i].Load()
		if n == 0 {
			continue
		}
		if op.ErrorsByKind == nil {
			op.ErrorsByKind = map[string]uint64{}
		}
		op.ErrorsByKind[sdk.Kind(i).String()] = n
		if !expected(sdk.Kind(i)) {
			op.Errors += n
		}
	}
	return op
}

// milliseconds returns a quantile to the microsecond, unknown when nothing was counted.
func (c *counts) milliseconds(q float64) sdk.Number {
	d, ok := c.quantile(q)
	if !ok {
		return sdk.Number{}
	}
	return sdk.Known(math.Round(float64(d)/float64(time.Microsecond)) / 1000)
}

func (o *Observer) sorted() []*series {
	all := *o.series.Load()
	out := make([]*series, 0, len(all))
	for _, s := range all {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *series) int {
		return cmp.Or(cmp.Compare(a.island, b.island), cmp.Compare(a.operation, b.operation))
	})
	return out
}

// The Prometheus histogram's bounds are 1<<n nanoseconds for n from lowestBound to highestBound: 65.5 µs to 34.4 s.
const (
	lowestBound  = 16
	highestBound = 35
)

// Metrics returns the same counts as typed metrics, each sample labelled with operation, island and layer.
func (o *Observer) Metrics() sdk.Metrics {
	family := func(name string, t sdk.MetricType, unit, help string) *sdk.Metric {
		return &sdk.Metric{Name: name, Type: t, Unit: unit, Help: help}
	}
	duration := family("operation_duration_seconds", sdk.HistogramType, "seconds", "How long operations took.")
	failed := family("operation_failures_total", sdk.CounterType, "", "Operations that ended with an error, by its kind.")
	slow := family("operation_slow_total", sdk.CounterType, "", "Operations that took longer than a second.")
	inFlight := family("operations_in_flight", sdk.GaugeType, "", "Operations that have begun and not ended.")
	opened := family("stream_opens_total", sdk.CounterType, "", "Streams that were opened.")
	broke := family("stream_breaks_total", sdk.CounterType, "", "Streams that ended, by the kind of the reason.")
	for _, s := range o.sorted() {
		failures := failed
		if s.stream {
			failures = broke
			opened.Samples = append(opened.Samples, s.sample(float64(s.begun.Load())))
		} else {
			histogram := s.sample(0)
			histogram.Histogram = s.duration.read().histogram()
			duration.Samples = append(duration.Samples, histogram)
			slow.Samples = append(slow.Samples, s.sample(float64(s.slow.Load())))
		}
		inFlight.Samples = append(inFlight.Samples, s.sample(float64(s.inFlight.Load())))
		for i := range s.kinds {
			if n := s.kinds[i].Load(); n > 0 {
				sample := s.sample(float64(n))
				sample.Labels["kind"] = sdk.Kind(i).String()
				failures.Samples = append(failures.Samples, sample)
			}
		}
	}
	return sdk.Metrics{*duration, *failed, *slow, *inFlight, *opened, *broke}
}

// sample returns a sample with labels of its own.
func (s *series) sample(value float64) sdk.Sample {
	return sdk.Sample{Value: value, Labels: map[string]string{
		"operation": s.operation, "island": s.island, "layer": s.layer.String(),
	}}
}

// histogram folds the sketch into buckets of whole doublings, whose edges it shares.
func (c *counts) histogram() *sdk.Histogram {
	h := &sdk.Histogram{Count: c.total, Sum: c.sum.Seconds()}
	var below uint64
	bucket := 0
	for exponent := lowestBound; exponent <= highestBound; exponent++ {
		bound := time.Duration(1) << exponent
		for ; bucket < bucketCount && upperEdge(bucket) <= bound; bucket++ {
			below += c.buckets[bucket]
		}
		h.Buckets = append(h.Buckets, sdk.Bucket{UpperBound: bound.Seconds(), Count: below})
	}
	return h
}
