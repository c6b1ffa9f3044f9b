package main

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestHistogramIsCloseEverywhere(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{
		0, 1, 31, 32, 63, 64, 65, 127, 128, 1000, 99_999, time.Millisecond, 123 * time.Millisecond, time.Second, time.Hour,
		math.MaxInt64/2 + 1, math.MaxInt64,
	} {
		var h histogram
		h.add(d)
		got := h.quantile(0.5)
		if off := math.Abs(float64(got - d)); off > float64(d)/64 {
			t.Errorf("%d became %d", d, got)
		}
	}
}

func TestHistogramQuantiles(t *testing.T) {
	t.Parallel()
	var h histogram
	if got := h.quantile(0.99); got != 0 {
		t.Errorf("nothing: %v", got)
	}
	h.add(-time.Second)
	if got := h.quantile(1); got != 0 {
		t.Errorf("a negative duration: %v", got)
	}
	h = histogram{}
	var readings []float64
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		d := time.Duration(random.ExpFloat64() * float64(time.Millisecond))
		h.add(d)
		readings = append(readings, float64(d))
	}
	for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 1} {
		got, want := float64(h.quantile(q)), quantile(readings, q)
		if math.Abs(got-want) > want/32+1 {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
}
