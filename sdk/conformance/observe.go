package conformance

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/service-islands/islands/sdk"
)

func healthChecks() []Check {
	return []Check{
		{
			Name: "health/ok", run: healthOK,
			Rule: "Health: what is not configured is ok; Reason in a short sentence, empty when ok",
		},
		{
			Name: "health/parts", calls: true, run: healthParts,
			Rule: "Part: Name unique within the island; Details' values are string, bool, float64, or integers that a float64 holds",
		},
		{
			Name: "health/prompt", run: healthPrompt,
			Rule: "Health says how the island is, without doing new work for it and within two seconds",
		},
	}
}

func healthOK(ctx context.Context, b *bench) error {
	island, err := b.open(ctx)
	if err != nil {
		return err
	}
	return eventually(ctx, b.Patience, func() error {
		health := island.Health(ctx)
		if health.Status != sdk.StatusOK || health.Reason != "" {
			return fmt.Errorf("an island that works says %s: %q", health.Status, health.Reason)
		}
		return nil
	})
}

func healthParts(ctx context.Context, b *bench) error {
	island, err := b.open(ctx)
	if err != nil {
		return err
	}
	for _, c := range b.roleCalls(island) {
		if err := c.call(ctx); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	var errs []error
	seen := map[string]bool{}
	for _, p := range island.Health(ctx).Parts {
		if p.Name == "" || seen[p.Name] {
			errs = append(errs, fmt.Errorf("part %q: a name that is empty or given twice", p.Name))
		}
		seen[p.Name] = true
		for name, value := range p.Details {
			if !snakeCase.MatchString(name) {
				errs = append(errs, fmt.Errorf("part %q: detail %q is not in snake case", p.Name, name))
			}
			if !scalar(value) {
				errs = append(errs, fmt.Errorf("part %q: detail %q is %#v", p.Name, name, value))
			}
		}
	}
	return errors.Join(errs...)
}

// scalar reports whether a value is one that Part.Details may hold.
func scalar(value any) bool {
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.String, reflect.Bool:
		return true
	case reflect.Float64:
		return !math.IsNaN(v.Float()) && !math.IsInf(v.Float(), 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return max(v.Int(), -v.Int()) <= 1<<53
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return v.Uint() <= 1<<53
	default:
		return false
	}
}

func healthPrompt(ctx context.Context, b *bench) error {
	island, err := b.open(ctx)
	if err != nil {
		return err
	}
	return within(2*time.Second, "Health", func() { _ = island.Health(ctx) })
}

func metricsChecks() []Check {
	return []Check{
		{
			Name: "metrics/names", calls: true, run: metricsNames,
			Rule: "Name in snake case with its unit at the end and, for counters, \"_total\" last; one Metric per name",
		},
		{
			Name: "metrics/values", calls: true, run: metricsValues,
			Rule: "Samples, at most one per set of labels; Histogram of a histogram metric, nil otherwise; Buckets in rising order, each count includes the buckets before it",
		},
		{
			Name: "metrics/counters", calls: true, run: metricsCounters,
			Rule: "a counter only rises, until the process ends",
		},
	}
}

// used returns the metrics of an island after every role was called.
func (b *bench) used(ctx context.Context, island sdk.IslandComponent) (sdk.Metrics, error) {
	for _, c := range b.roleCalls(island) {
		if err := c.call(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return island.Metrics(ctx)
}

func metricsNames(ctx context.Context, b *bench) error {
	island, err := b.open(ctx)
	if err != nil {
		return err
	}
	metrics, err := b.used(ctx, island)
	if err != nil {
		return err
	}
	var errs []error
	seen := map[string]bool{}
	for _, m := range metrics {
		problem := ""
		stem := strings.TrimSuffix(m.Name, "_total")
		switch {
		case !snakeCase.MatchString(m.Name):
			problem = "not in snake case"
		case seen[m.Name]:
			problem = "given twice"
		case m.Help == "":
			problem = "without Help"
		case m.Type == sdk.CounterType && stem == m.Name:
			problem = "a counter that does not end in _total"
		case m.Unit != "" && !strings.HasSuffix(stem, m.Unit):
			problem = fmt.Sprintf("does not end in its unit %q", m.Unit)
		case strings.HasPrefix(m.Name, "islands_"):
			problem = "the prefix islands_ is added by the host"
		}
		seen[m.Name] = true
		if problem != "" {
			errs = append(errs, fmt.Errorf("metric %q: %s", m.Name, problem))
		}
		for _, s := range m.Samples {
			for label := range s.Labels {
				if !snakeCase.MatchString(label) || label == "island" || label == "layer" || label == "le" {
					errs = append(errs, fmt.Errorf("metric %q: label %q is not in snake case, or is one that others add", m.Name, label))
				}
			}
		}
	}
	return errors.Join(errs...)
}

func metricsValues(ctx context.Context, b *bench) error {
	island, err := b.open(ctx)
	if err != nil {
		return err
	}
	metrics, err := b.used(ctx, island)
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range metrics {
		seen := map[string]bool{}
		for _, s := range m.Samples {
			labels := fmt.Sprint(s.Labels)
			if s.Labels == nil {
				labels = "map[]"
			}
			if seen[labels] {
				errs = append(errs, fmt.Errorf("metric %q: two samples with the labels %s", m.Name, labels))
			}
			seen[labels] = true
			if err := sampleFault(m.Type, s); err != nil {
				errs = append(errs, fmt.Errorf("metric %q %s: %w", m.Name, labels, err))
			}
		}
	}
	return errors.Join(errs...)
}

// sampleFault reports what is wrong with a sample of a metric of a type.
func sampleFault(t sdk.MetricType, s sdk.Sample) error {
	switch t {
	case sdk.CounterType, sdk.GaugeType:
		if s.Histogram != nil {
			return fmt.Errorf("a %s with a histogram", t)
		}
		if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) || (t == sdk.CounterType && s.Value < 0) {
			return fmt.Errorf("value %v", s.Value)
		}
	case sdk.HistogramType:
		h := s.Histogram
		if h == nil {
			return errors.New("a histogram without one")
		}
		if math.IsNaN(h.Sum) {
			return errors.New("its sum is not a number")
		}
		bound, count := math.Inf(-1), uint64(0)
		for _, bucket := range h.Buckets {
			if bucket.UpperBound <= bound || bucket.Count < count || bucket.Count > h.Count {
				return fmt.Errorf("bucket %+v after one of %v with %d, of %d in all", bucket, bound, count, h.Count)
			}
			bound, count = bucket.UpperBound, bucket.Count
		}
	default:
		return fmt.Errorf("type %q", t)
	}
	return nil
}

func metricsCounters(ctx context.Context, b *bench) error {
	island, err := b.open(ctx)
	if err != nil {
		return err
	}
	before, err := b.used(ctx, island)
	if err != nil {
		return err
	}
	after, err := b.used(ctx, island)
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range before {
		for _, s := range m.Samples {
			if m.Type != sdk.CounterType {
				continue
			}
			if now, ok := after.Value(m.Name, s.Labels); !ok || now < s.Value {
				errs = append(errs, fmt.Errorf("counter %q %v fell from %v to %v (there: %v)", m.Name, s.Labels, s.Value, now, ok))
			}
		}
	}
	return errors.Join(errs...)
}
