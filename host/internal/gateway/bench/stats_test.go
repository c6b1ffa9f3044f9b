package main

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		readings []float64
		q, want  float64
	}{
		{"one", []float64{4}, 0.99, 4},
		{"odd median", []float64{9, 1, 5}, 0.5, 5},
		{"even median", []float64{4, 1, 3, 2}, 0.5, 2.5},
		{"least", []float64{4, 1, 3, 2}, 0, 1},
		{"most", []float64{4, 1, 3, 2}, 1, 4},
		{"between", []float64{0, 10}, 0.99, 9.9},
	} {
		before := slices.Clone(c.readings)
		if got := quantile(c.readings, c.q); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if !slices.Equal(before, c.readings) {
			t.Errorf("%s: the readings were moved", c.name)
		}
	}
	if got := quantile(nil, 0.5); !math.IsNaN(got) {
		t.Errorf("nothing: %v", got)
	}
}

func TestSpread(t *testing.T) {
	t.Parallel()
	if got, want := spreadOf([]float64{3, 1, 2}), (spread{Median: 2, Min: 1, Max: 3, Count: 3}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := spreadOf(nil); got != (spread{}) {
		t.Errorf("nothing: %+v", got)
	}
}

func TestRatios(t *testing.T) {
	t.Parallel()
	if got, want := ratios([]float64{2, 9, 3, 7}, []float64{1, 0, 2}), []float64{2, 1.5}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := milliseconds(1500 * time.Microsecond); got != 1.5 {
		t.Errorf("%v ms", got)
	}
	if got := microseconds(1500 * time.Nanosecond); got != 1.5 {
		t.Errorf("%v µs", got)
	}
}
