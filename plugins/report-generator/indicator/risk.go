package indicator

import (
	"math"
	"strconv"
)

// daysPerYear annualises daily figures of a market that never closes.
const daysPerYear = 365

// RealisedVolatility returns the sample standard deviation of the logarithmic returns between consecutive daily closes,
// annualised by √365, in percent. It is false for fewer than three closes, or one that is not positive.
//
// The result is rounded to 12 significant digits, because logarithms differ in the last bit between architectures.
func RealisedVolatility(closes []float64) (float64, bool) {
	if len(closes) < 3 || closes[0] <= 0 {
		return 0, false
	}
	returns := newWindow(len(closes) - 1)
	for i, price := range closes[1:] {
		if price <= 0 {
			return 0, false
		}
		returns.push(math.Log(price / closes[i]))
	}
	mean := returns.mean()
	squares := 0.0
	for _, r := range returns.values {
		squares += float64((r - mean) * (r - mean))
	}
	daily := math.Sqrt(squares / float64(len(returns.values)-1))
	text := strconv.FormatFloat(daily*math.Sqrt(daysPerYear)*100, 'g', 12, 64)
	rounded, err := strconv.ParseFloat(text, 64)
	return rounded, err == nil && !math.IsNaN(rounded) && !math.IsInf(rounded, 0)
}

// MaxDrawdown returns the largest fall from a close to a later one, in percent of the former: 0 when the closes never
// fall, 100 when all is lost. It is false without closes.
func MaxDrawdown(closes []float64) (float64, bool) {
	if len(closes) == 0 {
		return 0, false
	}
	peak, worst := closes[0], 0.0
	for _, price := range closes {
		peak = max(peak, price)
		if peak > 0 {
			worst = max(worst, (peak-price)/peak)
		}
	}
	return worst * 100, true
}
