package indicator

import "math"

// SMA is the simple moving average: the mean of the newest n observations.
type SMA struct{ window window }

// NewSMA makes a simple moving average over n observations, at least 1.
func NewSMA(n int) *SMA { return &SMA{window: newWindow(n)} }

// Update takes the next observation.
func (s *SMA) Update(x float64) { s.window.push(x) }

// Value returns the average, and false before the n-th observation.
func (s *SMA) Value() (float64, bool) {
	if !s.window.full() {
		return 0, false
	}
	return s.window.mean(), true
}

// EMA is an exponential moving average that starts with the simple average of its first n observations.
type EMA struct {
	seed  *SMA
	alpha float64
	value float64
	ready bool
}

// NewEMA makes an exponential moving average of period n, at least 1, with the weight 2/(n+1) on the newest observation.
func NewEMA(n int) *EMA { return &EMA{seed: NewSMA(n), alpha: 2 / (float64(max(n, 1)) + 1)} }

// newWilder makes Wilder's average of period n: the weight of the newest observation is 1/n.
func newWilder(n int) *EMA { return &EMA{seed: NewSMA(n), alpha: 1 / float64(max(n, 1))} }

// Update takes the next observation.
func (e *EMA) Update(x float64) {
	if e.ready {
		e.value += float64((x - e.value) * e.alpha)
		return
	}
	e.seed.Update(x)
	e.value, e.ready = e.seed.Value()
}

// Value returns the average, and false before the n-th observation.
func (e *EMA) Value() (float64, bool) { return e.value, e.ready }

// Bands are Bollinger Bands.
type Bands struct {
	Upper  float64
	Middle float64
	Lower  float64
	// Width is the distance of the bands in percent of the middle.
	Width float64
	// PercentB is where the newest observation lies: 0 on the lower band, 1 on the upper one. NaN while the bands touch.
	PercentB float64
}

// Bollinger computes Bollinger Bands. Source: J. Bollinger, Bollinger on Bollinger Bands, 2001.
type Bollinger struct {
	window     window
	deviations float64
	newest     float64
}

// NewBollinger makes bands of so many population standard deviations around the simple average of n observations.
func NewBollinger(n int, deviations float64) *Bollinger {
	return &Bollinger{window: newWindow(n), deviations: deviations}
}

// Update takes the next observation.
func (b *Bollinger) Update(x float64) {
	b.window.push(x)
	b.newest = x
}

// Value returns the bands, and false before the n-th observation.
func (b *Bollinger) Value() (Bands, bool) {
	if !b.window.full() {
		return Bands{}, false
	}
	mean := b.window.mean()
	squares := 0.0
	for _, x := range b.window.values {
		squares += float64((x - mean) * (x - mean))
	}
	reach := float64(b.deviations * math.Sqrt(squares/float64(len(b.window.values))))
	bands := Bands{Upper: mean + reach, Middle: mean, Lower: mean - reach, PercentB: math.NaN()}
	bands.Width = (bands.Upper - bands.Lower) / mean * 100
	if bands.Upper > bands.Lower {
		bands.PercentB = (b.newest - bands.Lower) / (bands.Upper - bands.Lower)
	}
	return bands, true
}
