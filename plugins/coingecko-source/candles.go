package main

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/upstream"
)

const (
	day = 24 * time.Hour
	// maxMillis is a time in the year 2200, beyond which a stamp is nonsense.
	maxMillis = 7258118400000
	// nowSlack is how far from the end of a candle the current price may be to count as its close as well.
	nowSlack = 10 * time.Minute
)

// series is what a reply holds.
type series struct {
	// items are candles, oldest first and each once.
	items []sdk.Candle
	// newest is the stamp of the newest price; that of an open candle lies ahead.
	newest time.Time
	note   string
}

// point is one [ms, figure] of a chart.
type point struct {
	at    time.Time
	value sdk.Number
}

// UnmarshalJSON reads [ms, figure]; the figure may be null.
func (p *point) UnmarshalJSON(text []byte) error {
	var pair []sdk.Number
	if err := json.Unmarshal(text, &pair); err != nil {
		return err
	}
	if len(pair) < 2 {
		return sdk.Errorf(sdk.BadUpstream, "a point of %d figures", len(pair))
	}
	at, err := millis(pair[0])
	*p = point{at: at, value: pair[1]}
	return err
}

// bar is one [ms, open, high, low, close] of /ohlc; the stamp is the close time.
type bar struct {
	closes                 time.Time
	open, high, low, close sdk.Number
}

// UnmarshalJSON reads [ms, open, high, low, close].
func (b *bar) UnmarshalJSON(text []byte) error {
	var row []sdk.Number
	if err := json.Unmarshal(text, &row); err != nil {
		return err
	}
	if len(row) < 5 {
		return sdk.Errorf(sdk.BadUpstream, "a candle of %d figures", len(row))
	}
	at, err := millis(row[0])
	*b = bar{closes: at, open: row[1], high: row[2], low: row[3], close: row[4]}
	return err
}

// millis reads a stamp in milliseconds.
func millis(n sdk.Number) (time.Time, error) {
	ms, ok := n.Float64()
	if !ok || ms < 0 || ms > maxMillis {
		return time.Time{}, sdk.Errorf(sdk.BadUpstream, "%s is not a stamp in milliseconds", n)
	}
	return time.UnixMilli(int64(ms)).UTC(), nil
}

// Candles makes candles of what CoinGecko has: 30m and 4h from /ohlc, 1h and 1d as closes from /market_chart. A price at
// 00:00 UTC is the close of the day before.
func (s *source) Candles(ctx context.Context, req sdk.CandlesRequest) (sdk.Candles, error) {
	switch req.Interval {
	case sdk.Interval30m, sdk.Interval1h, sdk.Interval4h, sdk.Interval1d:
	default:
		return sdk.Candles{}, sdk.Errorf(sdk.Unsupported, "no candles of %q; there are 30m, 1h, 4h and 1d", req.Interval)
	}
	if req.Limit < 1 || req.Limit > 1000 {
		return sdk.Candles{}, sdk.Errorf(sdk.InvalidArgument, "a limit of %d candles; it can be 1 to 1000", req.Limit)
	}
	now := s.now().UTC()
	out := sdk.Candles{
		ID: req.Asset.ID, Symbol: req.Asset.Symbol, Interval: req.Interval, VsCurrency: req.VsCurrency, Source: s.name, AsOf: now,
	}
	var notes []string
	if out.ID == "" {
		id, err := s.resolve(ctx, req)
		if err != nil {
			return sdk.Candles{}, err
		}
		out.ID = id
		notes = append(notes, resolved)
	}
	if out.ID == "." || out.ID == ".." {
		return sdk.Candles{}, sdk.Errorf(sdk.NotFound, "no coin %q", out.ID)
	}
	ask := s.ohlc
	if req.Interval == sdk.Interval1h || req.Interval == sdk.Interval1d {
		ask = s.chart
	}
	found, err := ask(ctx, out.ID, req, now)
	if err != nil {
		return sdk.Candles{}, err
	}
	if len(found.items) == 0 {
		return sdk.Candles{}, sdk.Errorf(sdk.NotFound, "no prices of %q in %q", out.ID, req.VsCurrency)
	}
	if found.newest.Before(now) {
		out.AsOf = found.newest
	}
	out.Items = found.items[max(len(found.items)-req.Limit, 0):]
	out.Note = strings.Join(append(notes, found.note), "; ")
	return out, nil
}

// resolve returns the id of the largest coin of the asset's symbol.
func (s *source) resolve(ctx context.Context, req sdk.CandlesRequest) (string, error) {
	symbol := strings.ToLower(req.Asset.Symbol)
	if listable(symbol) {
		found, err := s.find(ctx, "symbols", []string{symbol}, req.VsCurrency, req.Retries)
		if err != nil {
			return "", err
		}
		if row, ok := found[symbol]; ok && row.ID != "" {
			return row.ID, nil
		}
	}
	return "", sdk.Errorf(sdk.NotFound, "no coin with the symbol %q", req.Asset.Symbol)
}

// chart asks /market_chart, which is hourly from 2 to 90 days and daily beyond.
func (s *source) chart(ctx context.Context, id string, req sdk.CandlesRequest, now time.Time) (series, error) {
	note := "closes only, without highs, lows and volumes"
	// One day more than asked for, because the first and the last are not whole.
	days := min(max((req.Limit+23)/24+1, 2), 90)
	if req.Interval == sdk.Interval1d {
		days = max(req.Limit+1, 91)
		if s.wall > 0 {
			days = min(days, s.wall)
		}
		if days < req.Limit {
			note += "; " + strconv.Itoa(days) + " days at most"
		}
	}
	var reply struct {
		Prices []point `json:"prices"`
	}
	err := s.Client.GetJSON(ctx, upstream.Request{
		Path: "/coins/" + url.PathEscape(id) + "/market_chart", Retries: req.Retries,
		Query: url.Values{"vs_currency": {req.VsCurrency}, "days": {strconv.Itoa(days)}, "precision": {"full"}},
	}, &reply)
	if err != nil {
		return series{}, err
	}
	found := closesOf(reply.Prices, req.Interval.Duration(), now)
	found.note = note
	return found, nil
}

// reach is how far from the end of a candle a price may have been taken to be its close.
func reach(interval time.Duration) time.Duration {
	if interval >= day {
		return time.Hour
	}
	return 10 * time.Minute
}

// closesOf makes candles of prices that were taken near the ends of the intervals, in any order, the newest one now. A
// price that was taken elsewhere is the close of nothing.
func closesOf(prices []point, interval time.Duration, now time.Time) series {
	prices = slices.DeleteFunc(slices.Clone(prices), func(p point) bool { return !p.value.IsKnown() })
	if len(prices) == 0 {
		return series{}
	}
	slices.SortStableFunc(prices, func(a, b point) int { return a.at.Compare(b.at) })
	newest := prices[len(prices)-1]
	// Of several prices near one end, the nearest is the close.
	nearest := map[time.Time]point{}
	for i, p := range prices {
		end := p.at.Round(interval)
		off, most := p.at.Sub(end).Abs(), reach(interval)
		if i == len(prices)-1 {
			most = nowSlack
		}
		if end.After(newest.at) || off > most {
			continue
		}
		if before, ok := nearest[end]; !ok || off < before.at.Sub(end).Abs() {
			nearest[end] = p
		}
	}
	var out []sdk.Candle
	for end, p := range nearest {
		out = append(out, sdk.Candle{OpenTime: end.Add(-interval), Close: p.value, Closed: !end.After(now)})
	}
	slices.SortFunc(out, func(a, b sdk.Candle) int { return a.OpenTime.Compare(b.OpenTime) })
	// The newest price lies at or after every end that was kept, so its candle comes last.
	out = append(out, sdk.Candle{OpenTime: newest.at.Truncate(interval), Close: newest.value})
	return series{items: out, newest: newest.at}
}

// ohlc asks /ohlc, whose candles last 30 minutes for 1 day, 4 hours up to 30 days, and 4 days beyond.
func (s *source) ohlc(ctx context.Context, id string, req sdk.CandlesRequest, now time.Time) (series, error) {
	days := 1
	if req.Interval == sdk.Interval4h {
		days = 30
		for _, d := range []int{14, 7} {
			if req.Limit < d*6 {
				days = d
			}
		}
	}
	interval := req.Interval.Duration()
	note := "without volumes"
	if most := int(time.Duration(days) * day / interval); req.Limit > most {
		note += "; the past " + strconv.Itoa(most) + " candles at most"
	}
	var bars []bar
	err := s.Client.GetJSON(ctx, upstream.Request{
		Path: "/coins/" + url.PathEscape(id) + "/ohlc", Retries: req.Retries,
		Query: url.Values{"vs_currency": {req.VsCurrency}, "days": {strconv.Itoa(days)}, "precision": {"full"}},
	}, &bars)
	if err != nil {
		return series{}, err
	}
	found, err := candlesOf(bars, interval, now)
	found.note = note
	return found, err
}

// candlesOf turns bars under their close times into candles under their open times. The last one's close time lies in
// the future while it is open.
func candlesOf(bars []bar, interval time.Duration, now time.Time) (series, error) {
	bars = slices.DeleteFunc(slices.Clone(bars), func(b bar) bool { return !b.close.IsKnown() })
	slices.SortStableFunc(bars, func(a, b bar) int { return a.closes.Compare(b.closes) })
	var shortest time.Duration
	var found series
	for i, b := range bars {
		if i > 0 {
			gap := b.closes.Sub(bars[i-1].closes)
			if gap > 0 && (shortest == 0 || gap < shortest) {
				shortest = gap
			}
		}
		end := b.closes.Round(interval)
		c := sdk.Candle{
			OpenTime: end.Add(-interval), Open: b.open, High: b.high, Low: b.low, Close: b.close, Closed: !end.After(now),
		}
		found.newest = b.closes
		if n := len(found.items); n > 0 && found.items[n-1].OpenTime.Equal(c.OpenTime) {
			found.items[n-1] = c
			continue
		}
		found.items = append(found.items, c)
	}
	if shortest != 0 && (shortest < interval/2 || shortest > interval*3/2) {
		return series{}, sdk.Errorf(sdk.BadUpstream, "candles of %s where %s were asked for", shortest, interval)
	}
	return found, nil
}
