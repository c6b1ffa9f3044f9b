package main

import (
	"math"
	"slices"
	"time"
)

// spread sums up several readings of one figure.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	// Count of the readings. All other fields are 0 when it is.
	Count int `json:"count"`
}

// spreadOf sums readings up.
func spreadOf(readings []float64) spread {
	if len(readings) == 0 {
		return spread{}
	}
	return spread{
		Median: quantile(readings, 0.5), Min: slices.Min(readings), Max: slices.Max(readings), Count: len(readings),
	}
}

// quantile returns the value below which the share q of the readings lies, interpolated between the two nearest. It is NaN
// without readings. Q is from 0 to 1.
func quantile(readings []float64, q float64) float64 {
	if len(readings) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(readings))
	place := q * float64(len(sorted)-1)
	low := int(place)
	high := min(low+1, len(sorted)-1)
	part := place - float64(low)
	return sorted[low]*(1-part) + sorted[high]*part
}

// ratios divides reading by reading. Pairs whose second is 0 are left out.
func ratios(of, by []float64) []float64 {
	var out []float64
	for i, divisor := range by[:min(len(of), len(by))] {
		if divisor != 0 {
			out = append(out, of[i]/divisor)
		}
	}
	return out
}

// milliseconds returns a duration as a figure.
func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// microseconds returns a duration as a figure.
func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
