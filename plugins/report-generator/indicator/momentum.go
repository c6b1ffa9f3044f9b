package indicator

// RSI is Wilder's relative strength index, from 0 to 100.
type RSI struct {
	gains    *EMA
	losses   *EMA
	previous float64
	started  bool
}

// NewRSI makes a relative strength index of period n.
func NewRSI(n int) *RSI { return &RSI{gains: newWilder(n), losses: newWilder(n)} }

// Update takes the next close.
func (r *RSI) Update(price float64) {
	if r.started {
		change := price - r.previous
		r.gains.Update(max(change, 0))
		r.losses.Update(max(-change, 0))
	}
	r.previous, r.started = price, true
}

// Value returns the index, and false before n changes, which take n+1 closes. Without gains and losses it is 50.
func (r *RSI) Value() (float64, bool) {
	gain, ready := r.gains.Value()
	loss, _ := r.losses.Value()
	switch {
	case !ready:
		return 0, false
	case gain+loss == 0:
		return 50, true
	default:
		return 100 * (gain / (gain + loss)), true
	}
}

// Stochastic is where a value stands in its recent range, from 0 to 100, smoothed.
type Stochastic struct {
	K float64
	// D is the simple average of K.
	D float64
}

// StochRSI is the stochastic of the RSI, smoothed twice. Source: T. Chande and S. Kroll, The New Technical Trader, 1994;
// the smoothing and the scale of 0 to 100 are TradingView's.
type StochRSI struct {
	rsi   *RSI
	reach window
	k     *SMA
	d     *SMA
}

// NewStochRSI makes a stochastic over stoch values of an RSI of period rsi, smoothed by k and that again by d values.
func NewStochRSI(rsi, stoch, k, d int) *StochRSI {
	return &StochRSI{rsi: NewRSI(rsi), reach: newWindow(stoch), k: NewSMA(k), d: NewSMA(d)}
}

// Update takes the next close.
func (s *StochRSI) Update(price float64) {
	s.rsi.Update(price)
	rsi, ok := s.rsi.Value()
	if !ok {
		return
	}
	s.reach.push(rsi)
	if !s.reach.full() {
		return
	}
	lowest, highest := s.reach.extremes()
	raw := 50.0
	if highest > lowest {
		raw = 100 * ((rsi - lowest) / (highest - lowest))
	}
	s.k.Update(raw)
	if k, ready := s.k.Value(); ready {
		s.d.Update(k)
	}
}

// Value returns the stochastic, and false before rsi+stoch+k+d-2 closes.
func (s *StochRSI) Value() (Stochastic, bool) {
	k, _ := s.k.Value()
	d, ready := s.d.Value()
	if !ready {
		return Stochastic{}, false
	}
	return Stochastic{K: k, D: d}, true
}

// Convergence is the state of a MACD, in units of the price.
type Convergence struct {
	MACD   float64
	Signal float64
	// Histogram is MACD less Signal.
	Histogram float64
}

// MACD is the moving average convergence divergence. Source: G. Appel, Technical Analysis: Power Tools, 2005.
type MACD struct {
	fast   *EMA
	slow   *EMA
	signal *EMA
	macd   float64
}

// NewMACD makes the difference of EMAs of periods fast and slow, with its own EMA of period signal.
func NewMACD(fast, slow, signal int) *MACD {
	return &MACD{fast: NewEMA(fast), slow: NewEMA(slow), signal: NewEMA(signal)}
}

// Update takes the next close.
func (m *MACD) Update(price float64) {
	m.fast.Update(price)
	m.slow.Update(price)
	fast, fastReady := m.fast.Value()
	slow, slowReady := m.slow.Value()
	if fastReady && slowReady {
		m.macd = fast - slow
		m.signal.Update(m.macd)
	}
}

// Value returns the state, and false before slow+signal-1 closes.
func (m *MACD) Value() (Convergence, bool) {
	signal, ready := m.signal.Value()
	if !ready {
		return Convergence{}, false
	}
	return Convergence{MACD: m.macd, Signal: signal, Histogram: m.macd - signal}, true
}
