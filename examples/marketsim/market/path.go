package market

import (
	"math"
	"time"
)

// levels are the nested spans of the price path, longest first; parts says into how many of them the one before is cut.
var levels = [...]struct {
	span  int64 // milliseconds
	parts int64
	root  float64 // square root of parts
}{
	{span: dayMS},
	{4 * hourMS, 6, math.Sqrt(6)},
	{hourMS, 4, 2},
	{hourMS / 2, 2, math.Sqrt2},
	{hourMS / 4, 2, math.Sqrt2},
	{5 * minuteMS, 3, math.Sqrt(3)},
	{minuteMS, 5, math.Sqrt(5)},
	{secondMS, 60, math.Sqrt(60)},
}

const (
	secondMS int64 = 1000
	minuteMS       = 60 * secondMS
	hourMS         = 60 * minuteMS
	dayMS          = 24 * hourMS
)

// anchorDay is the day (2026-01-01, in days since 1970) at which a coin's nominal price holds, give or take the noise.
const anchorDay = 20454

// yearlyDrift is the market's upward drift in natural log units per year.
const yearlyDrift = 0.12

// marketSigma is the daily standard deviation of what all coins share.
const marketSigma = 0.018

// node is one candle of the path in natural logarithms.
type node struct{ open, high, low, close float64 }

// millis turns an instant into the path's clock. The path begins in 1970.
func millis(t time.Time) int64 { return max(t.UnixMilli(), 0) }

// boundary is the log price at 00:00 UTC of a day.
func (c *Coin) boundary(day int64) float64 {
	years := float64(day-anchorDay) / 365
	return c.logBase + c.drift*years + c.beta*c.market.factor(day) +
		c.key.wander(float64(day), c.sigma, ownOctaves)
}

// day is the path's coarsest candle.
func (c *Coin) day(day int64) node {
	return c.around(day, c.boundary(day), c.boundary(day+1))
}

// around draws a day's high and low about its open and close.
func (c *Coin) around(day int64, open, closing float64) node {
	reach := math.Hypot(c.beta*marketSigma, c.sigma)
	return node{
		open:  open,
		close: closing,
		high:  max(open, closing) + reach*(0.05+0.7*c.key.draw(streamHigh, day)),
		low:   min(open, closing) - reach*(0.05+0.7*c.key.draw(streamLow, day)),
	}
}

// node returns the candle of a level that begins at ms, which must be a multiple of that level's span.
func (c *Coin) node(level int, ms int64) node {
	n := c.day(ms / dayMS)
	for l := 1; l <= level; l++ {
		s := c.split(l, ms/levels[l-1].span, n)
		n = s.child(ms / levels[l].span % levels[l].parts)
	}
	return n
}

// split is a parent candle on its way to being cut into the parts of a level: where in it the high and the low lie, and
// the zigzag open, extreme, extreme, close that its children follow.
type split struct {
	key            key
	stream         uint64
	parts          int64
	first          int64 // index of the first child among all candles of the level
	top, bottom    int64 // which child holds the high, and which the low
	x1, y1, x2, y2 float64
	unit           float64 // the reach expected of one child
	node
}

func (c *Coin) split(level int, index int64, n node) split {
	parts := levels[level].parts
	stream := uint64(level) << levelShift
	s := split{key: c.key, stream: stream, parts: parts, first: index * parts, node: n}
	s.top = int64(c.key.draw(stream+streamTop, index) * float64(parts))
	s.bottom = int64(c.key.draw(stream+streamBottom, index) * float64(parts))
	s.unit = (n.high - n.low) / levels[level].root
	high, low := float64(s.top)+0.5, float64(s.bottom)+0.5
	if s.top == s.bottom {
		high += 0.2
		low -= 0.2
	}
	if high < low {
		s.x1, s.y1, s.x2, s.y2 = high, n.high, low, n.low
	} else {
		s.x1, s.y1, s.x2, s.y2 = low, n.low, high, n.high
	}
	return s
}

// edge is the log price at the beginning of child i, and at the end of the last for i == parts.
func (s *split) edge(i int64) float64 {
	switch i {
	case 0:
		return s.open
	case s.parts:
		return s.close
	}
	x := float64(i)
	var y float64
	switch {
	case x < s.x1:
		y = s.open + (s.y1-s.open)*x/s.x1
	case x < s.x2:
		y = s.y1 + (s.y2-s.y1)*(x-s.x1)/(s.x2-s.x1)
	default:
		y = s.y2 + (s.close-s.y2)*(x-s.x2)/(float64(s.parts)-s.x2)
	}
	y += s.unit * 0.7 * (s.key.draw(s.stream+streamEdge, s.first+i) - 0.5)
	return min(max(y, s.low), s.high)
}

// child is the candle of part i.
func (s *split) child(i int64) node {
	n := node{open: s.edge(i), close: s.edge(i + 1), high: s.high, low: s.low}
	at := s.first + i
	if i != s.top {
		wick := 0.4 * s.unit * s.key.draw(s.stream+streamWickUp, at)
		n.high = min(s.high, max(n.open, n.close)+wick)
	}
	if i != s.bottom {
		wick := 0.4 * s.unit * s.key.draw(s.stream+streamWickDown, at)
		n.low = max(s.low, min(n.open, n.close)-wick)
	}
	return n
}

// logAt is the log price at an instant: the open of a second, and a straight line inside it.
func (c *Coin) logAt(ms int64) float64 {
	if c.peg != nil {
		return c.peg.logAt(ms) + c.logBase
	}
	if ms%dayMS == 0 {
		return c.boundary(ms / dayMS)
	}
	n := c.day(ms / dayMS)
	for l := 1; l < len(levels); l++ {
		s, i := c.split(l, ms/levels[l-1].span, n), ms/levels[l].span%levels[l].parts
		if ms%levels[l].span == 0 {
			return s.edge(i)
		}
		n = s.child(i)
	}
	return n.open + (n.close-n.open)*float64(ms%secondMS)/float64(secondMS)
}

// reachOf returns the highest and lowest log price of [from, to).
func (c *Coin) reachOf(from, to int64) (high, low float64) {
	if c.peg != nil {
		high, low = c.peg.reachOf(from, to)
		return high + c.logBase, low + c.logBase
	}
	a, b := c.logAt(from), c.logAt(to)
	high, low = max(a, b), min(a, b)
	c.walk(from, to, func(_ int, _ int64, n node) { high, low = max(high, n.high), min(low, n.low) })
	return high, low
}

// walk visits the longest candles that together make up the whole seconds of [from, to).
func (c *Coin) walk(from, to int64, visit func(level int, ms int64, n node)) {
	end := to - to%secondMS
	for t := from + (secondMS-from%secondMS)%secondMS; t < end; {
		level := 0
		for t%levels[level].span != 0 || t+levels[level].span > end {
			level++
		}
		visit(level, t, c.node(level, t))
		t += levels[level].span
	}
}

// extremeOf finds the second at which a candle's high or low lies.
func (c *Coin) extremeOf(level int, ms int64, high bool) int64 {
	n := c.node(level, ms)
	for l := level + 1; l < len(levels); l++ {
		s := c.split(l, ms/levels[l-1].span, n)
		part := s.bottom
		if high {
			part = s.top
		}
		n = s.child(part)
		ms += part * levels[l].span
	}
	return ms
}

// traded is the growing count, in average days of trading since the day ref, of what has changed hands until ms. It
// rises by 0.2 to 1.8 times the average in every part of every level.
func (c *Coin) traded(ms, ref int64) float64 {
	day := ms / dayMS
	share := func(level int, index int64) float64 {
		return 0.8 * (c.key.draw(uint64(level)<<levelShift+streamTraded, index) - 0.5)
	}
	low, high := float64(day-ref)+share(0, day), float64(day-ref+1)+share(0, day+1)
	for l := 1; l < len(levels); l++ {
		index, parts := ms/levels[l].span, levels[l].parts
		i := index % parts
		a, b := 0.0, 1.0
		if i > 0 {
			a = (float64(i) + share(l, index)) / float64(parts)
		}
		if i < parts-1 {
			b = (float64(i+1) + share(l, index+1)) / float64(parts)
		}
		low, high = low+(high-low)*a, low+(high-low)*b
		if ms%levels[l].span == 0 {
			return low
		}
	}
	return low + (high-low)*float64(ms%secondMS)/float64(secondMS)
}
