package observe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// logged returns an observer and what it logs, without times.
func logged(level hclog.Level) (*Observer, *bytes.Buffer) {
	var out bytes.Buffer
	return New(Options{
		Layers: map[string]sdk.Layer{"cache": sdk.LayerInfrastructure, "mood": sdk.LayerExternalServices},
		Logger: hclog.New(&hclog.LoggerOptions{Level: level, Output: &out, DisableTime: true}),
	}), &out
}

// routine is the id of a request that nobody made.
const routine = "routine"

func TestLogLines(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		operation string
		requestID string
		took      time.Duration
		err       error
		want      string
	}{
		{
			"success", "quotes", "r-1", 12345 * time.Microsecond, nil,
			"[INFO]  Operation completed successfully in 12.3ms: operation=quotes island=mood layer=external_services request_id=r-1\n",
		},
		{
			"a second is not slow", "quotes", "", time.Second, nil,
			"[INFO]  Operation completed successfully in 1s: operation=quotes island=mood layer=external_services\n",
		},
		{
			"slow", "quotes", "", 1001 * time.Millisecond, nil,
			"[INFO]  Operation completed successfully in 1s: operation=quotes island=mood layer=external_services\n" +
				"[WARN]  Slow operation detected: 1s: operation=quotes island=mood layer=external_services\n",
		},
		{
			"failure", "quotes", "r-2", 1500 * time.Microsecond, sdk.Errorf(sdk.Unavailable, "no route to %s", "upstream"),
			"[ERROR] Operation failed after 1.5ms: no route to upstream: operation=quotes island=mood layer=external_services request_id=r-2\n",
		},
		{
			"slow failure", "candles", "", 3 * time.Second, errors.New("odd\nline"),
			"[ERROR] Operation failed after 3s: odd line: operation=candles island=mood layer=external_services\n" +
				"[WARN]  Slow operation detected: 3s: operation=candles island=mood layer=external_services\n",
		},
		{"not found is an answer", "quotes", "", time.Millisecond, sdk.NotFound, ""},
		{"conflict is an answer", "lease_acquire", "", time.Millisecond, sdk.Errorf(sdk.Conflict, "held"), ""},
		{"a client that left", "quotes", "", time.Millisecond, context.Canceled, ""},
		{"a poll that went well", "health", "", time.Millisecond, nil, ""},
		{
			"a poll that did not", "health", "", 2 * time.Second, context.DeadlineExceeded,
			"[ERROR] Operation failed after 2s: context deadline exceeded: operation=health island=mood layer=external_services\n" +
				"[WARN]  Slow operation detected: 2s: operation=health island=mood layer=external_services\n",
		},
		{"routine that went well", "cache_fill", routine, time.Millisecond, nil, ""},
		{"routine that did not", "cache_fill", routine, time.Millisecond, sdk.Unavailable, ""},
		{"a stream of routine that broke", "subscribe", routine, time.Hour, sdk.Unavailable, ""},
		{"a stream the host ended", "stream", "", time.Hour, context.Canceled, ""},
		{
			"a stream that broke", "stream", "", time.Hour, sdk.Unavailable,
			"[WARN]  Stream broke after 1h0m0s: unavailable: operation=stream island=mood layer=external_services\n",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o, out := logged(hclog.Info)
				ctx := t.Context()
				if test.requestID == routine {
					ctx, test.requestID = process.Routine(ctx), ""
				}
				if test.requestID != "" {
					ctx = sdk.WithRequestID(ctx, test.requestID)
				}
				_, done := o.Begin(ctx, "mood", test.operation)
				time.Sleep(test.took)
				done(test.err)
				if diff := cmp.Diff(test.want, out.String()); diff != "" {
					t.Errorf("log (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestLongErrorsAreCut(t *testing.T) {
	t.Parallel()
	o, out := logged(hclog.Info)
	_, done := o.Begin(t.Context(), "mood", "quotes")
	done(errors.New(strings.Repeat("x", 1<<20)))
	if out.Len() > 2*maxErrorText {
		t.Errorf("a line of %d bytes was logged", out.Len())
	}
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, _ := logged(hclog.Off)
		call := func(begin func(context.Context) (context.Context, func(error)), took time.Duration, err error) {
			_, done := begin(t.Context())
			time.Sleep(took)
			done(err)
		}
		of := func(island, operation string) func(context.Context) (context.Context, func(error)) {
			return func(ctx context.Context) (context.Context, func(error)) { return o.Begin(ctx, island, operation) }
		}
		for range 98 {
			call(of("cache", "cache_lookup"), 10*time.Millisecond, nil)
		}
		call(of("cache", "cache_lookup"), 2*time.Second, sdk.Unavailable)
		call(of("cache", "cache_lookup"), 2*time.Second, sdk.NotFound)
		call(of("cache", "cache_watch"), time.Hour, sdk.Unavailable)
		call(of("cache", "cache_watch"), time.Hour, context.Canceled)
		_, watching := o.Begin(t.Context(), "cache", "cache_watch")
		defer watching(nil)
		call(func(ctx context.Context) (context.Context, func(error)) {
			return o.Operation(ctx, "crypto-report")
		}, 30*time.Millisecond, nil)

		want := Performance{Operations: []Operation{
			{
				Operation: "cache_lookup", Island: "cache", Layer: sdk.LayerInfrastructure, Count: 100, Errors: 1,
				ErrorsByKind: map[string]uint64{"unavailable": 1, "not found": 1},
				P50:          sdk.Known(10), P95: sdk.Known(10), P99: sdk.Known(2000), SlowCount: 2,
			},
			{
				Operation: "cache_watch", Island: "cache", Layer: sdk.LayerInfrastructure, Count: 3, Errors: 1,
				ErrorsByKind: map[string]uint64{"unavailable": 1, "canceled": 1}, InFlight: 1,
			},
			{
				Operation: "crypto-report", Island: Host, Layer: sdk.LayerCommunication, Count: 1,
				P50: sdk.Known(30), P95: sdk.Known(30), P99: sdk.Known(30),
			},
		}}
		close32 := cmp.Comparer(func(a, b sdk.Number) bool {
			x, y := a.Or(-1), b.Or(-1)
			return x == y || (x > 0 && y > 0 && x/y < 1.033 && y/x < 1.033)
		})
		if diff := cmp.Diff(want, o.Snapshot(), close32); diff != "" {
			t.Errorf("snapshot (-want +got):\n%s", diff)
		}

		metrics := o.Metrics()
		labels := func(more ...string) map[string]string {
			m := map[string]string{"operation": "cache_lookup", "island": "cache", "layer": "infrastructure"}
			for i := 0; i < len(more); i += 2 {
				m[more[i]] = more[i+1]
			}
			return m
		}
		for _, check := range []struct {
			name   string
			labels map[string]string
			want   float64
		}{
			{"operation_failures_total", labels("kind", "unavailable"), 1},
			{"operation_slow_total", labels(), 2},
			{"operations_in_flight", labels("operation", "cache_watch"), 1},
			{"stream_opens_total", labels("operation", "cache_watch"), 3},
			{"stream_breaks_total", labels("operation", "cache_watch", "kind", "unavailable"), 1},
		} {
			if got, ok := metrics.Value(check.name, check.labels); !ok || got != check.want {
				t.Errorf("%s%v = %v, %t, want %v", check.name, check.labels, got, ok, check.want)
			}
		}
	})
}

func TestHistogramIsCumulativeAndExact(t *testing.T) {
	t.Parallel()
	var s sketch
	durations := []time.Duration{0, 1, 1 << 16, 1<<16 + 1, 1 << 20, time.Second, time.Minute, time.Hour}
	for _, d := range durations {
		s.add(d)
	}
	h := s.read().histogram()
	if h.Count != uint64(len(durations)) {
		t.Errorf("count is %d, want %d", h.Count, len(durations))
	}
	for _, bucket := range h.Buckets {
		var want uint64
		for _, d := range durations {
			if d.Seconds() <= bucket.UpperBound {
				want++
			}
		}
		if bucket.Count != want {
			t.Errorf("%d durations at or below %v s, want %d", bucket.Count, bucket.UpperBound, want)
		}
	}
}

func TestSketchError(t *testing.T) {
	t.Parallel()
	for d := time.Duration(1<<firstExponent + 1); d < 1<<lastExponent; d += d/97 + 1 {
		var s sketch
		s.add(d)
		s.add(time.Hour) // So that the longest duration does not help.
		got, ok := s.read().quantile(0.5)
		if off := float64(got-d) / float64(d); !ok || off > 1.0/31 || off < -1.0/31 {
			t.Fatalf("%v is reported as %v, %.1f %% off", d, got, off*100)
		}
	}
	var s sketch
	s.add(-time.Second)
	s.add(48 * time.Hour)
	if got, _ := s.read().quantile(1); got != 48*time.Hour {
		t.Errorf("the longest is %v, want 48h", got)
	}
	if _, ok := new(sketch).read().quantile(0.5); ok {
		t.Error("an empty sketch has a median")
	}
}

func TestSeriesAreBounded(t *testing.T) {
	t.Parallel()
	o, _ := logged(hclog.Off)
	for i := range 2 * maxSeries {
		_, done := o.Begin(t.Context(), "cache", fmt.Sprint("operation-", i))
		done(nil)
	}
	operations := o.Snapshot().Operations
	if len(operations) != maxSeries+1 {
		t.Errorf("%d series, want %d", len(operations), maxSeries+1)
	}
	var sum uint64
	for _, op := range operations {
		sum += op.Count
	}
	if sum != 2*maxSeries {
		t.Errorf("%d operations were counted, want %d", sum, 2*maxSeries)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	o, _ := logged(hclog.Off)
	var calls sync.WaitGroup
	for i := range 8 {
		calls.Go(func() {
			for j := range 500 {
				_, done := o.Begin(t.Context(), "cache", fmt.Sprint("operation-", (i+j)%7))
				if j%100 == 0 {
					o.Snapshot()
					o.Metrics()
				}
				done(nil)
			}
		})
	}
	calls.Wait()
	var sum uint64
	for _, op := range o.Snapshot().Operations {
		sum += op.Count
		if op.InFlight != 0 {
			t.Errorf("%d of %s are still in flight", op.InFlight, op.Operation)
		}
	}
	if sum != 8*500 {
		t.Errorf("%d operations were counted, want %d", sum, 8*500)
	}
}

func TestMeasuringAllocatesTheClosureAlone(t *testing.T) {
	o, _ := logged(hclog.Off)
	ctx := t.Context()
	_, done := o.Begin(ctx, "cache", "cache_lookup")
	done(nil)
	allocs := testing.AllocsPerRun(1000, func() {
		_, done := o.Begin(ctx, "cache", "cache_lookup")
		done(nil)
	})
	if allocs > 1 {
		t.Errorf("%v allocations for each call, want 1", allocs)
	}
}

func BenchmarkBegin(b *testing.B) {
	o, _ := logged(hclog.Off)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, done := o.Begin(b.Context(), "cache", "cache_lookup")
			done(nil)
		}
	})
}

func TestLayersFollow(t *testing.T) {
	o := New(Options{Layers: map[string]sdk.Layer{"cache": sdk.LayerInfrastructure}})
	o.SetLayers(map[string]sdk.Layer{"added": sdk.LayerExternalServices})
	_, done := o.Begin(t.Context(), "added", "quotes")
	done(nil)
	for _, operation := range o.Snapshot().Operations {
		if operation.Island == "added" && operation.Layer == sdk.LayerExternalServices && operation.Count == 1 {
			return
		}
	}
	t.Errorf("counted %+v", o.Snapshot())
}
