package binance

import (
	"net/http"
	"strconv"
	"time"

	"github.com/service-islands/islands/examples/marketsim/market"
	"github.com/service-islands/islands/examples/marketsim/sim/internal/upstream"
)

// interval is the length of a candle: a fixed one, counted from offset after 1970, or a month.
type interval struct {
	span, offset time.Duration
}

const month = -1

const day = 24 * time.Hour

var intervals = map[string]interval{
	"1s": {span: time.Second},
	"1m": {span: time.Minute}, "3m": {span: 3 * time.Minute}, "5m": {span: 5 * time.Minute},
	"15m": {span: 15 * time.Minute}, "30m": {span: 30 * time.Minute},
	"1h": {span: time.Hour}, "2h": {span: 2 * time.Hour}, "4h": {span: 4 * time.Hour},
	"6h": {span: 6 * time.Hour}, "8h": {span: 8 * time.Hour}, "12h": {span: 12 * time.Hour},
	"1d": {span: day}, "3d": {span: 3 * day},
	// 1970 began on a Thursday, weeks begin on Mondays.
	"1w": {span: 7 * day, offset: 4 * day},
	"1M": {span: month},
}

// open is when the candle that holds t opened.
func (i interval) open(t time.Time) time.Time {
	t = t.UTC()
	if i.span == month {
		return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	}
	ms, span := t.UnixMilli()-i.offset.Milliseconds(), i.span.Milliseconds()
	rest := ms % span
	if rest < 0 {
		rest += span
	}
	return time.UnixMilli(ms - rest + i.offset.Milliseconds()).UTC()
}

// step moves an open time by n candles.
func (i interval) step(open time.Time, n int) time.Time {
	if i.span == month {
		return open.AddDate(0, n, 0)
	}
	return open.Add(time.Duration(n) * i.span)
}

const (
	klinesDefault = 500
	klinesMax     = 1000
)

// klines serves candles, oldest first: those that open from startTime on, or else the last ones until endTime. The last
// is open until its close time has passed.
func (s *Service) klines(r *upstream.Request) upstream.Reply {
	p, refusal := s.pair(r)
	if refusal != nil {
		return *refusal
	}
	name := r.Query.Get("interval")
	if name == "" {
		return *mandatory("interval")
	}
	step, ok := intervals[name]
	if !ok {
		return *wrong(codeInterval, "Invalid interval.")
	}
	limit, refusal := number(r.Query, "limit", klinesDefault)
	if refusal != nil {
		return *refusal
	}
	if limit == 0 {
		return *wrong(codeInvalid, "Data sent for parameter 'limit' is not valid.")
	}
	start, refusal := number(r.Query, "startTime", -1)
	if refusal != nil {
		return *refusal
	}
	until, refusal := number(r.Query, "endTime", r.Now.UnixMilli())
	if refusal != nil {
		return *refusal
	}
	rows := rows(p, step, r.Now, start, until, int(min(limit, klinesMax)))
	return upstream.JSON(http.StatusOK, rows)
}

func rows(p *market.Pair, step interval, now time.Time, start, until int64, limit int) [][12]any {
	end := now
	if !p.Delisted.IsZero() && p.Delisted.Before(now) {
		end = p.Delisted
	}
	// A candle needs a trade, so one that opens at this very instant is not there yet.
	last := step.open(end.Add(-time.Millisecond))
	if until < last.UnixMilli() {
		last = step.open(time.UnixMilli(until))
	}
	first := step.open(p.Listed)
	if start >= 0 {
		if from := time.UnixMilli(start); from.After(first) {
			if first = step.open(from); first.Before(from) {
				first = step.step(first, 1)
			}
		}
	} else if recent := step.step(last, 1-limit); recent.After(first) {
		first = recent
	}
	list := [][12]any{}
	for open := first; !open.After(last) && len(list) < limit; open = step.step(open, 1) {
		list = append(list, row(p, open, step.step(open, 1), end))
	}
	return list
}

func row(p *market.Pair, open, closes, end time.Time) [12]any {
	from, to := open, closes
	if from.Before(p.Listed) {
		from = p.Listed
	}
	if to.After(end) {
		to = end
	}
	b := p.Bar(from, to)
	volume := quantity(p, b.Volume)
	// Takers buy a little more in a candle that rises.
	taker := quantity(p, volume*(0.5+0.3*(b.Close-b.Open)/max(b.High-b.Low, p.Tick)))
	return [12]any{
		open.UnixMilli(),
		decimal(b.Open), decimal(b.High), decimal(b.Low), decimal(b.Close),
		decimal(volume),
		closes.UnixMilli() - 1,
		decimal(volume * b.Typical()),
		max(1, b.Trades),
		decimal(taker),
		decimal(taker * b.Typical()),
		"0",
	}
}

// quantity rounds to the pair's step, and up to one step: what was traded was traded.
func quantity(p *market.Pair, x float64) float64 {
	return max(1, float64(int64(x/p.Step))) * p.Step
}

// decimal writes prices and quantities as the service does.
func decimal(x float64) string { return strconv.FormatFloat(x, 'f', 8, 64) }
