package sdk

import "maps"

// MetricType is what a metric's values mean.
type MetricType string

// The types of metrics there are.
const (
	CounterType   MetricType = "counter"   // only rises, until the process ends
	GaugeType     MetricType = "gauge"     // rises and falls
	HistogramType MetricType = "histogram" // counts observations in buckets
)

// Metrics is everything an island counts, one Metric per name.
type Metrics []Metric

// Metric is a family of samples that share a name and a meaning.
type Metric struct {
	// Name in snake case with its unit at the end and, for counters, "_total" last, such as "upstream_calls_total" or
	// "call_duration_seconds". The host adds the prefix "islands_" and the labels island and layer.
	Name string `json:"name"`
	// Type of the values.
	Type MetricType `json:"type"`
	// Unit in full, such as "seconds" or "bytes"; empty for plain counts.
	Unit string `json:"unit"`
	// Help in one sentence, for people.
	Help string `json:"help"`
	// Samples, at most one per set of labels. Keep the number of label values bounded.
	Samples []Sample `json:"samples"`
}

// Sample is one value of a metric.
type Sample struct {
	// Labels that tell the sample from others of the metric; nil for none.
	Labels map[string]string `json:"labels,omitempty"`
	// Value of a counter or gauge.
	Value float64 `json:"value"`
	// Histogram of a histogram metric, nil otherwise.
	Histogram *Histogram `json:"histogram,omitempty"`
}

// Histogram counts observations.
type Histogram struct {
	// Count of all observations.
	Count uint64 `json:"count"`
	// Sum of all observations, in the unit of the metric.
	Sum float64 `json:"sum"`
	// Buckets in rising order of UpperBound; each count includes the buckets before it.
	Buckets []Bucket `json:"buckets"`
}

// Bucket counts the observations at or below UpperBound.
type Bucket struct {
	// UpperBound is the largest value that the bucket counts, in the unit of the metric.
	UpperBound float64 `json:"le"`
	// Count of the observations at or below UpperBound, those of the buckets before included.
	Count uint64 `json:"count"`
}

// Counter is a metric of one unlabelled counter.
func Counter(name, help string, value float64) Metric {
	return Metric{Name: name, Type: CounterType, Help: help, Samples: []Sample{{Value: value}}}
}

// Gauge is a metric of one unlabelled gauge.
func Gauge(name, unit, help string, value float64) Metric {
	return Metric{Name: name, Type: GaugeType, Unit: unit, Help: help, Samples: []Sample{{Value: value}}}
}

// Value returns the value of the sample with exactly these labels (nil for an unlabelled one).
func (m Metrics) Value(name string, labels map[string]string) (float64, bool) {
	for _, metric := range m {
		if metric.Name != name {
			continue
		}
		for _, sample := range metric.Samples {
			if maps.Equal(sample.Labels, labels) {
				return sample.Value, true
			}
		}
	}
	return 0, false
}
