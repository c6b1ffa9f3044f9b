package coingecko

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/service-islands/islands/examples/marketsim/market"
	"github.com/service-islands/islands/examples/marketsim/sim/internal/upstream"
)

// wall is how many days back callers of the public host may look.
const wall = 365

// days reads the parameter: -1 is "max". Its reply is nil unless the parameter is missing, wrong or beyond the wall.
func (s *Service) days(q *query) (int, *upstream.Reply) {
	text := q.Get("days")
	n, err := strconv.Atoi(text)
	var reply upstream.Reply
	switch {
	case text == "":
		reply = plain(http.StatusUnprocessableEntity, "Missing parameter days")
	case text == "max":
		n = -1
	case err != nil || n < 1:
		reply = plain(http.StatusBadRequest, "Invalid days parameter")
	}
	if reply.Status == 0 && !s.options.Pro && (n < 0 || n > wall) {
		reply = nested(http.StatusUnauthorized, codeTooFarBack, messages[codeTooFarBack], q.now)
	}
	if reply.Status != 0 {
		return 0, &reply
	}
	return n, nil
}

// history checks what charts and candles have in common.
func (s *Service) history(q *query) (c *market.Coin, v view, days int, refusal *upstream.Reply) {
	if v, refusal = s.view(q, q.now); refusal != nil {
		return nil, v, 0, refusal
	}
	if days, refusal = s.days(q); refusal != nil {
		return nil, v, 0, refusal
	}
	c, ok := s.market.Coin(q.id)
	if !ok || q.now.Before(c.Listed) {
		reply := plain(http.StatusNotFound, "coin not found")
		return nil, v, 0, &reply
	}
	return c, v, days, nil
}

// chart serves points every 5 minutes for a day, every hour up to 90 days, and beyond at 00:00 UTC; the last is the
// beginning of the cache window.
func (s *Service) chart(q *query) upstream.Reply {
	c, v, days, refusal := s.history(q)
	if refusal != nil {
		return *refusal
	}
	step, window := day, 12*time.Hour
	switch interval := q.Get("interval"); {
	case interval == "hourly" || interval == "5m":
		if !s.options.Pro {
			return coded(http.StatusUnauthorized, codePaidOnly)
		}
		step, window = time.Hour, 30*time.Minute
		if interval == "5m" {
			step, window = 5*time.Minute, 30*time.Second
		}
	case interval != "" && interval != "daily":
		return plain(http.StatusBadRequest, "Invalid interval parameter")
	case interval == "daily":
	case days == 1:
		step, window = 5*time.Minute, 30*time.Second
	case days > 0 && days <= 90:
		step, window = time.Hour, 30*time.Minute
	}
	now := upstream.Slot(q.now, window)
	v.at = now
	from := now.AddDate(0, 0, -days)
	if days < 0 || from.Before(c.Listed) {
		from = c.Listed
	}
	stamps := s.stamps(c, from, now, step)
	prices, caps, volumes := [][2]any{}, [][2]any{}, [][2]any{}
	if !c.Gaps.Price {
		for _, at := range stamps {
			ms, price := at.UnixMilli(), v.price(c, at)
			prices = append(prices, [2]any{ms, price})
			caps = append(caps, [2]any{ms, unless(c.Gaps.Cap, price*c.Circulating)})
			volumes = append(volumes, [2]any{ms, unless(c.Gaps.Volume, v.volume(c, at))})
		}
	}
	return upstream.JSON(http.StatusOK, upstream.Object{
		{Name: "prices", Value: prices},
		{Name: "market_caps", Value: caps},
		{Name: "total_volumes", Value: volumes},
	}).Cached(q.now, window)
}

// maxPoints bounds a chart, whatever a pro caller asks for.
const maxPoints = 50000

// stamps are the times of a chart's points. All but daily ones jitter, and every third answer has its last two swapped.
func (s *Service) stamps(c *market.Coin, from, now time.Time, step time.Duration) []time.Time {
	if oldest := now.Add(-maxPoints * step); from.Before(oldest) {
		from = oldest
	}
	var stamps []time.Time
	first := from.Truncate(step)
	if first.Before(from) {
		first = first.Add(step)
	}
	for at := first; at.Before(now); at = at.Add(step) {
		jittered := at
		if step < day {
			noise := s.market.Noise("stamp "+c.ID, at.Unix())
			jittered = at.Add(time.Duration(noise*step.Seconds()*20) * time.Millisecond)
		}
		if jittered.Before(now) {
			stamps = append(stamps, jittered)
		}
	}
	stamps = append(stamps, now)
	if n := len(stamps); n > 2 && s.market.Noise("swap "+c.ID, now.Unix()) < 1.0/3 {
		stamps[n-1], stamps[n-2] = stamps[n-2], stamps[n-1]
	}
	return stamps
}

const candleWindow = 15 * time.Minute

// candles serves open, high, low and close under the close time; the last candle is open, so its stamp lies ahead.
func (s *Service) candles(q *query) upstream.Reply {
	c, v, days, refusal := s.history(q)
	if refusal != nil {
		return *refusal
	}
	step := 4 * day
	switch days {
	case 1:
		step = 30 * time.Minute
	case 7, 14, 30:
		step = 4 * time.Hour
	case 90, 180, 365, -1:
	default:
		return plain(http.StatusBadRequest, "Invalid days parameter")
	}
	now := upstream.Slot(q.now, candleWindow)
	from := now.AddDate(0, 0, -days)
	if days < 0 || from.Before(c.Listed) {
		from = c.Listed
	}
	rows := [][5]any{}
	for at := floor(from, step); !at.After(now) && !c.Gaps.Price; at = at.Add(step) {
		start, end := at, at.Add(step)
		if start.Before(c.Listed) {
			start = c.Listed
		}
		if end.After(now) {
			end = now
		}
		// What lies between dollar and USDT is taken at the close, so that the four prices stay in order.
		bar := c.Bar(start, end)
		factor := v.price(c, end) / bar.Close
		rows = append(rows, [5]any{
			at.Add(step).UnixMilli(),
			short(bar.Open * factor), short(bar.High * factor), short(bar.Low * factor), short(bar.Close * factor),
		})
	}
	return upstream.JSON(http.StatusOK, rows).Cached(q.now, candleWindow)
}

// floor is the last multiple of step, counted from 1970, that is not after t.
func floor(t time.Time, step time.Duration) time.Time {
	ms := step.Milliseconds()
	return time.UnixMilli(t.UnixMilli() / ms * ms).UTC()
}

// short writes prices of candles: no fraction from 10,000 on, but always a decimal point.
func short(x float64) upstream.Float {
	rounded := amount(x)
	if math.IsInf(rounded, 0) || math.IsNaN(rounded) {
		rounded = 0
	}
	return upstream.Float(rounded)
}
