package market

import (
	"math"
	"sync"
	"time"
)

// Options choose a market.
type Options struct {
	// Seed selects one of 2^64 markets; the coins are the same in all of them, their prices are not.
	Seed uint64
	// Born is when the market's observer appeared. It decides one thing only: the coin "fledgling" was listed 60 days
	// before that day. The zero time stands for 2026-01-01.
	Born time.Time
}

// Market holds the coins and trading pairs of one seed. It is immutable but for a memo of extremes, and safe for
// concurrent use.
type Market struct {
	root     key
	factors  []float64
	coins    []*Coin
	byID     map[string]*Coin
	bySymbol map[string][]*Coin
	pairs    []*Pair
	byPair   map[string]*Pair
}

// factors covers 2010 to 2060; days outside are computed when asked for.
const (
	factorFrom = 14610
	factorTo   = 32872
)

// New builds the market of a seed. It takes a few milliseconds and holds less than a megabyte.
func New(o Options) *Market {
	if o.Born.IsZero() {
		o.Born = time.UnixMilli(anchorDay * dayMS)
	}
	m := &Market{
		root:     newKey(o.Seed, ""),
		factors:  make([]float64, factorTo-factorFrom),
		byID:     map[string]*Coin{},
		bySymbol: map[string][]*Coin{},
		byPair:   map[string]*Pair{},
	}
	for i := range m.factors {
		m.factors[i] = m.sharedPath(factorFrom + int64(i))
	}
	for _, c := range listCoins(o.Born) {
		c.market, c.key = m, newKey(o.Seed, c.ID)
		c.settle()
		m.coins = append(m.coins, c)
		m.byID[c.ID] = c
		m.bySymbol[c.Symbol] = append(m.bySymbol[c.Symbol], c)
	}
	for _, c := range m.coins {
		if c.pegID != "" {
			c.peg = m.byID[c.pegID]
		}
	}
	for _, p := range listPairs(m) {
		m.pairs = append(m.pairs, p)
		m.byPair[p.Symbol] = p
	}
	return m
}

// Coins returns every coin, by falling nominal market cap. The caller must not change the slice.
func (m *Market) Coins() []*Coin { return m.coins }

// Coin finds a coin by its id, such as "bitcoin".
func (m *Market) Coin(id string) (*Coin, bool) {
	c, ok := m.byID[id]
	return c, ok
}

// Symbol returns the coins that share a lower-case symbol, by falling nominal market cap.
func (m *Market) Symbol(symbol string) []*Coin { return m.bySymbol[symbol] }

// Pairs returns every trading pair of the exchange, the dead ones included. The caller must not change the slice.
func (m *Market) Pairs() []*Pair { return m.pairs }

// Pair finds a trading pair by its symbol, such as "BTCUSDT".
func (m *Market) Pair(symbol string) (*Pair, bool) {
	p, ok := m.byPair[symbol]
	return p, ok
}

// Mood is the fear and greed index of the UTC day that holds t: 5 (fear) to 95 (greed).
func (m *Market) Mood(t time.Time) int {
	day := float64(millis(t) / dayMS)
	swing := 0.65*m.root.smooth(streamMood, day/17.3) + 0.35*m.root.smooth(streamMood+1<<levelShift, day/3.1)
	return 50 + int(math.Round(45*swing))
}

// Noise is a number in [0, 1) that depends on the seed, a name and an index: for what a service adds of its own, such
// as jittered time stamps.
func (m *Market) Noise(name string, index int64) float64 {
	return newKey(uint64(m.root), name).draw(0, index)
}

func (m *Market) sharedPath(day int64) float64 {
	return yearlyDrift*float64(day-anchorDay)/365 + m.root.wander(float64(day), marketSigma, len(octavePeriods))
}

func (m *Market) factor(day int64) float64 {
	if i := day - factorFrom; i >= 0 && i < int64(len(m.factors)) {
		return m.factors[i]
	}
	return m.sharedPath(day)
}

// Bar is what happened in a span of time. Prices are in USDT (or the pair's quote asset), Volume is in coins.
// High is at least, and Low at most, each of Open and Close.
type Bar struct {
	Open, High, Low, Close float64
	Volume                 float64
	Trades                 int64
}

// Typical is the mean of the four prices, which stands in for the average price paid.
func (b Bar) Typical() float64 { return (b.Open + b.High + b.Low + b.Close) / 4 }

// Price is the coin's price in USDT at an instant.
func (c *Coin) Price(t time.Time) float64 { return math.Exp(c.logAt(millis(t))) }

// spreadReach is how far, as a fraction, an aggregator's price of one coin strays from the exchange's.
const spreadReach = 0.0001

// USD is the coin's price in dollars as an aggregator shows it: the exchange's price, times what a USDT is worth, times
// a spread of the coin's own. It stays within about four basis points of [Coin.Price].
func (c *Coin) USD(t time.Time) float64 {
	ms := millis(t)
	if c.ID == dollarID {
		return math.Exp(c.logAt(ms))
	}
	usdt := c.market.byID[dollarID]
	spread := spreadReach * (2*c.key.draw(streamSpread, ms/(5*minuteMS)) - 1)
	return math.Exp(c.logAt(ms)+usdt.logAt(ms)) * (1 + spread)
}

// Bar is the candle of [from, to). It is built from the same path at every length, so bars nest: the high of a day is
// the highest high of its hours, and volumes and trades add up. An empty span has no volume.
func (c *Coin) Bar(from, to time.Time) Bar {
	a, b := millis(from), millis(to)
	b = max(a, b)
	high, low := c.reachOf(a, b)
	bar := Bar{Open: math.Exp(c.logAt(a)), Close: math.Exp(c.logAt(b)), High: math.Exp(high), Low: math.Exp(low)}
	if b > a {
		bar.Volume = c.Volume(from, to)
		bar.Trades = c.Trades(to) - c.Trades(from)
	}
	return bar
}

// Volume is how many coins the exchange's main pair traded in [from, to).
func (c *Coin) Volume(from, to time.Time) float64 {
	a, b := millis(from), millis(to)
	ref := a / dayMS
	return max(0, c.traded(b, ref)-c.traded(a, ref)) * c.dailyVolume
}

// Trades is how many trades the exchange's main pair has seen until t; their ids count from 0.
func (c *Coin) Trades(t time.Time) int64 {
	// The count of days starts up to 0.4 below zero.
	return int64(max(0, c.traded(millis(t), c.Listed.UnixMilli()/dayMS)+0.4) * c.dailyTrades)
}

// Extremes are the highest and lowest prices in USDT since a coin's listing, and when they came.
type Extremes struct {
	High, Low     float64
	HighAt, LowAt time.Time
}

// memo remembers the extremes of the whole days before day, in logarithms.
type memo struct {
	sync.Mutex
	day             int64
	high, low       float64
	highDay, lowDay int64
}

// Extremes looks at everything from the coin's listing to t. The first call walks through all days, later ones only
// through what came since.
func (c *Coin) Extremes(t time.Time) Extremes {
	if c.peg != nil {
		e := c.peg.Extremes(t)
		ratio := math.Exp(c.logBase)
		e.High, e.Low = e.High*ratio, e.Low*ratio
		return e
	}
	listed, now := c.Listed.UnixMilli()/dayMS, millis(t)
	today := max(now/dayMS, listed)

	c.memo.Lock()
	defer c.memo.Unlock()
	m := &c.memo
	if m.day == 0 || m.day > today {
		m.day, m.high, m.low = listed, math.Inf(-1), math.Inf(1)
	}
	open := c.boundary(m.day)
	for ; m.day < today; m.day++ {
		closing := c.boundary(m.day + 1)
		n := c.around(m.day, open, closing)
		open = closing
		if n.high > m.high {
			m.high, m.highDay = n.high, m.day
		}
		if n.low < m.low {
			m.low, m.lowDay = n.low, m.day
		}
	}
	best := spot{level: 0, ms: m.highDay * dayMS, value: m.high}
	worst := spot{level: 0, ms: m.lowDay * dayMS, value: m.low}
	c.walk(today*dayMS, max(now, today*dayMS), func(level int, ms int64, n node) {
		if n.high > best.value {
			best = spot{level, ms, n.high}
		}
		if n.low < worst.value {
			worst = spot{level, ms, n.low}
		}
	})
	if math.IsInf(best.value, 0) {
		// Listed less than a second ago.
		first := c.node(len(levels)-1, today*dayMS)
		best = spot{len(levels) - 1, today * dayMS, first.high}
		worst = spot{len(levels) - 1, today * dayMS, first.low}
	}
	return Extremes{
		High: math.Exp(best.value), HighAt: time.UnixMilli(c.extremeOf(best.level, best.ms, true)).UTC(),
		Low: math.Exp(worst.value), LowAt: time.UnixMilli(c.extremeOf(worst.level, worst.ms, false)).UTC(),
	}
}

// spot is a candle of the path that holds an extreme.
type spot struct {
	level int
	ms    int64
	value float64
}
