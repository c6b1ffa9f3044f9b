package indicator

import "math"

// Bar is how a price moved in one interval.
type Bar struct {
	High   float64
	Low    float64
	Close  float64
	Volume float64
}

// trueRange is the larger of the bar's own range and its distance from the close before.
func (b Bar) trueRange(previousClose float64) float64 {
	return max(b.High-b.Low, math.Abs(b.High-previousClose), math.Abs(b.Low-previousClose))
}

// typical is the mean of high, low and close.
func (b Bar) typical() float64 { return b.Low + ((b.High-b.Low)+(b.Close-b.Low))/3 }

// ATR is Wilder's average true range, in units of the price.
type ATR struct {
	average  *EMA
	previous float64
	started  bool
}

// NewATR makes an average true range of period n.
func NewATR(n int) *ATR { return &ATR{average: newWilder(n)} }

// Update takes the next bar.
func (a *ATR) Update(bar Bar) {
	reach := bar.High - bar.Low
	if a.started {
		reach = bar.trueRange(a.previous)
	}
	a.average.Update(reach)
	a.previous, a.started = bar.Close, true
}

// Value returns the average, and false before the n-th bar.
func (a *ATR) Value() (float64, bool) { return a.average.Value() }

// Direction is the state of Wilder's directional movement system, each figure from 0 to 100.
type Direction struct {
	// ADX is the strength of the trend, whichever way it goes.
	ADX float64
	// PlusDI and MinusDI are the strength of the upward and the downward movement.
	PlusDI  float64
	MinusDI float64
}

// ADX is Wilder's average directional index.
type ADX struct {
	n         float64
	changes   int
	previous  Bar
	started   bool
	plus      float64
	minus     float64
	reach     float64
	direction Direction
	index     *EMA
}

// NewADX makes an average directional index of period n.
func NewADX(n int) *ADX { return &ADX{n: float64(max(n, 1)), index: newWilder(n)} }

// Update takes the next bar.
func (a *ADX) Update(bar Bar) {
	previous := a.previous
	a.previous = bar
	if !a.started {
		a.started = true
		return
	}
	a.changes++
	if float64(a.changes) >= a.n {
		a.plus -= a.plus / a.n
		a.minus -= a.minus / a.n
		a.reach -= a.reach / a.n
	}
	up, down := bar.High-previous.High, previous.Low-bar.Low
	switch {
	case down > 0 && down > up:
		a.minus += down
	case up > 0 && up > down:
		a.plus += up
	}
	a.reach += bar.trueRange(previous.Close)
	if float64(a.changes) < a.n {
		return
	}
	index := 0.0
	a.direction.PlusDI, a.direction.MinusDI = 0, 0
	if a.reach > 0 {
		a.direction.PlusDI = min(100*(a.plus/a.reach), 100)
		a.direction.MinusDI = min(100*(a.minus/a.reach), 100)
	}
	if both := a.direction.PlusDI + a.direction.MinusDI; both > 0 {
		index = 100 * (math.Abs(a.direction.PlusDI-a.direction.MinusDI) / both)
	}
	a.index.Update(index)
	a.direction.ADX, _ = a.index.Value()
}

// Value returns the state, and false before 2n bars.
func (a *ADX) Value() (Direction, bool) {
	if _, ready := a.index.Value(); !ready {
		return Direction{}, false
	}
	return a.direction, true
}

// OBV is the on-balance volume, in units of the asset. Source: J. Granville, New Key to Stock Market Profits, 1963.
type OBV struct {
	value    float64
	previous float64
	started  bool
}

// Update takes the next bar; only its close and volume matter.
func (o *OBV) Update(bar Bar) {
	switch {
	case !o.started || bar.Close > o.previous:
		o.value += bar.Volume
	case bar.Close < o.previous:
		o.value -= bar.Volume
	}
	o.previous, o.started = bar.Close, true
}

// Value returns the balance, and false before the first bar.
func (o *OBV) Value() (float64, bool) { return o.value, o.started }

// VWAP is the volume-weighted average price of the newest n bars.
type VWAP struct {
	prices  window
	volumes window
}

// NewVWAP makes a volume-weighted average price over n bars.
func NewVWAP(n int) *VWAP { return &VWAP{prices: newWindow(n), volumes: newWindow(n)} }

// Update takes the next bar, whose price is the mean of high, low and close.
func (v *VWAP) Update(bar Bar) {
	v.prices.push(bar.typical())
	v.volumes.push(bar.Volume)
}

// Value returns the average, and false before the n-th bar or when nothing was traded in the window.
func (v *VWAP) Value() (float64, bool) {
	if !v.prices.full() {
		return 0, false
	}
	origin := v.prices.values[0]
	money, volume := 0.0, 0.0
	for i, price := range v.prices.values {
		money += float64((price - origin) * v.volumes.values[i])
		volume += v.volumes.values[i]
	}
	if volume <= 0 {
		return 0, false
	}
	lowest, highest := v.prices.extremes()
	return min(max(origin+money/volume, lowest), highest), true
}
