package main

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/service-islands/islands/sdk"
)

// bounds are the upper bounds of the duration buckets, in seconds.
var bounds = [...]float64{0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5}

// otherReport labels what is asked for under a name that is no report's, so that callers cannot add labels.
const otherReport = "other"

// outcome is what a report came to.
type outcome struct{ report, outcome string }

// counts is what the island counts.
type counts struct {
	names []string

	mu         sync.Mutex
	operations uint64
	outcomes   map[outcome]uint64
	durations  map[string]*durations
}

// durations counts how long the making of one kind of report took.
type durations struct {
	count   uint64
	sum     float64
	buckets [len(bounds)]uint64
}

// newCounts starts from nothing for reports of these names.
func newCounts(names []string) *counts {
	return &counts{
		names:     append(slices.Clone(names), otherReport),
		outcomes:  make(map[outcome]uint64),
		durations: make(map[string]*durations),
	}
}

// add counts one call.
func (c *counts) add(report string, err error, took time.Duration) {
	if !slices.Contains(c.names, report) {
		report = otherReport
	}
	result := "ok"
	if err != nil {
		result = strings.ReplaceAll(sdk.KindOf(err).String(), " ", "_")
	}
	seconds := took.Seconds()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.operations++
	c.outcomes[outcome{report, result}]++
	d := c.durations[report]
	if d == nil {
		d = &durations{}
		c.durations[report] = d
	}
	d.count++
	d.sum += seconds
	for i, bound := range bounds {
		if seconds <= bound {
			d.buckets[i]++
		}
	}
}

// metrics returns the counts as they stand.
func (c *counts) metrics() sdk.Metrics {
	c.mu.Lock()
	defer c.mu.Unlock()
	reports := sdk.Metric{
		Name: "reports_total", Type: sdk.CounterType, Help: "Reports asked for, by kind of report and outcome.",
	}
	took := sdk.Metric{
		Name: "report_duration_seconds", Type: sdk.HistogramType, Unit: "seconds", Help: "Time to make a report, by kind of report.",
	}
	for key, n := range c.outcomes {
		reports.Samples = append(reports.Samples, sdk.Sample{
			Labels: map[string]string{"report": key.report, "outcome": key.outcome}, Value: float64(n),
		})
	}
	slices.SortFunc(reports.Samples, func(a, b sdk.Sample) int {
		return strings.Compare(a.Labels["report"]+" "+a.Labels["outcome"], b.Labels["report"]+" "+b.Labels["outcome"])
	})
	for _, name := range c.names {
		d := c.durations[name]
		if d == nil {
			continue
		}
		h := &sdk.Histogram{Count: d.count, Sum: d.sum}
		for i, bound := range bounds {
			h.Buckets = append(h.Buckets, sdk.Bucket{UpperBound: bound, Count: d.buckets[i]})
		}
		took.Samples = append(took.Samples, sdk.Sample{Labels: map[string]string{"report": name}, Histogram: h})
	}
	return sdk.Metrics{
		sdk.Counter("operations_total", "Calls answered, whatever the outcome.", float64(c.operations)), reports, took,
	}
}
