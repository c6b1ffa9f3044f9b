package indicator

import "slices"

// Pivots are the classic (floor traders') pivot points of the bar after the one they are computed from.
type Pivots struct {
	Pivot, R1, R2, R3, S1, S2, S3 float64
}

// PivotsOf returns the pivot points that follow from a finished bar: the mean of high, low and close, and the distances
// of high and low from it, mirrored.
func PivotsOf(bar Bar) Pivots {
	pivot, reach := bar.typical(), bar.High-bar.Low
	return Pivots{
		Pivot: pivot,
		R1:    pivot + (pivot - bar.Low), R2: pivot + reach, R3: bar.High + 2*(pivot-bar.Low),
		S1: pivot - (bar.High - pivot), S2: pivot - reach, S3: bar.Low - 2*(bar.High-pivot),
	}
}

// Swings returns the prices at which the market turned, in the order of the bars: highs above those of the reach bars
// before and not below those of the reach bars after, and lows likewise. Of a plateau the first bar counts. A turn shows
// only when reach bars have followed it.
func Swings(bars []Bar, reach int) []float64 {
	var turns []float64
	for i := reach; i+reach < len(bars); i++ {
		high, low := true, true
		for distance := 1; distance <= reach; distance++ {
			before, after := bars[i-distance], bars[i+distance]
			high = high && bars[i].High > before.High && bars[i].High >= after.High
			low = low && bars[i].Low < before.Low && bars[i].Low <= after.Low
		}
		if high {
			turns = append(turns, bars[i].High)
		}
		if low {
			turns = append(turns, bars[i].Low)
		}
	}
	return turns
}

// Cluster gathers prices that lie close together and returns the mean of each group, lowest first. A group begins with
// the lowest price not yet in one and holds all that lie at most width above it.
func Cluster(prices []float64, width float64) []float64 {
	sorted := slices.Sorted(slices.Values(prices))
	var means []float64
	for len(sorted) > 0 {
		size := 1
		for size < len(sorted) && sorted[size]-sorted[0] <= width {
			size++
		}
		group := window{values: sorted[:size], count: size}
		means = append(means, group.mean())
		sorted = sorted[size:]
	}
	return means
}
