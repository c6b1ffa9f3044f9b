package main

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/service-islands/islands/sdk"
)

const (
	// mostRows is the most that one call returns.
	mostRows = 720
	// mostCandles is the most that one request may ask for.
	mostCandles = 1000
	// maxSeconds is a time in the year 2200, beyond which a stamp is nonsense.
	maxSeconds = 7258118400
)

// recipe is how an interval is made: from Kraken's candles of so many minutes, and of so many of those.
type recipe struct{ minutes, parts int }

// recipes are the intervals that there are. Kraken has no candles of 12 hours, and its weeks begin on Thursdays.
var recipes = map[sdk.Interval]recipe{
	sdk.Interval1m: {1, 1}, sdk.Interval5m: {5, 1}, sdk.Interval15m: {15, 1}, sdk.Interval30m: {30, 1},
	sdk.Interval1h: {60, 1}, sdk.Interval4h: {240, 1}, sdk.Interval12h: {240, 3},
	sdk.Interval1d: {1440, 1}, sdk.Interval1w: {1440, 7},
}

// monday is the beginning of a week; days and half days begin then too.
var monday = time.Date(1970, time.January, 5, 0, 0, 0, 0, time.UTC)

// row is one [time, open, high, low, close, vwap, volume, count] of OHLC. Prices are strings, the time is in seconds.
type row struct {
	opens                          time.Time
	open, high, low, close, volume sdk.Number
}

// UnmarshalJSON reads the figures that matter.
func (r *row) UnmarshalJSON(text []byte) error {
	var n []sdk.Number
	if err := json.Unmarshal(text, &n); err != nil {
		return err
	}
	if len(n) < 8 {
		return sdk.Errorf(sdk.BadUpstream, "a candle of %d figures", len(n))
	}
	for i, figure := range n[:8] {
		if f, ok := figure.Float64(); !ok || f < 0 || i == 0 && f > maxSeconds {
			return sdk.Errorf(sdk.BadUpstream, "figure %d of a candle is %s", i, figure)
		}
	}
	*r = row{time.Unix(int64(n[0].Or(0)), 0).UTC(), n[1], n[2], n[3], n[4], n[6]}
	return nil
}

// Candles asks for the newest candles of one pair, at most 720 or what can be made from 720. The last one is open.
func (s *source) Candles(ctx context.Context, req sdk.CandlesRequest) (sdk.Candles, error) {
	made, ok := recipes[req.Interval]
	if !ok {
		return sdk.Candles{}, sdk.Errorf(sdk.Unsupported, "no candles of %q; there are %v", req.Interval, sdk.Intervals())
	}
	if req.Limit < 1 || req.Limit > mostCandles {
		return sdk.Candles{}, sdk.Errorf(sdk.InvalidArgument, "a limit of %d candles; it can be 1 to %d", req.Limit, mostCandles)
	}
	list, err := s.listing(ctx, listAge, req.Retries)
	if err != nil {
		return sdk.Candles{}, err
	}
	p, ok := list.find(req.Asset.Symbol, req.VsCurrency)
	switch {
	case !list.quotes[req.VsCurrency]:
		return sdk.Candles{}, sdk.Errorf(sdk.Unsupported, "nothing is traded against %q", req.VsCurrency)
	case !ok:
		return sdk.Candles{}, sdk.Errorf(sdk.NotFound, "%q is not traded against %q", req.Asset.Symbol, req.VsCurrency)
	}
	query := url.Values{"pair": {p.name}, "interval": {strconv.Itoa(made.minutes)}}
	if rows := (req.Limit + 1) * made.parts; rows < mostRows {
		// Without it, a call for one candle brings 720.
		since := s.now().Add(-time.Duration(rows*made.minutes) * time.Minute)
		query.Set("since", strconv.FormatInt(since.Unix(), 10))
	}
	var result map[string]json.RawMessage
	if err := s.ask(ctx, "OHLC", query, req.Retries, &result); err != nil {
		return sdk.Candles{}, err
	}
	var rows []row
	if text, ok := result[p.key]; !ok || json.Unmarshal(text, &rows) != nil {
		return sdk.Candles{}, sdk.Errorf(sdk.BadUpstream, "GET /0/public/OHLC: no candles of %s that can be read", p.key)
	}
	items := candlesOf(rows, made, req.Interval.Duration())
	if len(items) == 0 {
		return sdk.Candles{}, sdk.Errorf(sdk.NotFound, "%s is not traded", p.name)
	}
	return sdk.Candles{
		ID: req.Asset.ID, Symbol: req.Asset.Symbol, Interval: req.Interval, VsCurrency: req.VsCurrency,
		Source: s.name, AsOf: s.now().UTC(), Items: items[max(len(items)-req.Limit, 0):],
	}, nil
}

// candlesOf turns rows into candles of a length, oldest first and each once. The last row is the one that still moves, and so
// does the candle that it is in. The first candle is left out when its beginning is missing.
func candlesOf(rows []row, made recipe, length time.Duration) []sdk.Candle {
	// A row without a price lies before the first trade.
	rows = slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return r.close.Or(0) <= 0 })
	slices.SortStableFunc(rows, func(a, b row) int { return a.opens.Compare(b.opens) })
	var out []sdk.Candle
	for i, r := range rows {
		if i+1 < len(rows) && rows[i+1].opens.Equal(r.opens) {
			continue // Of two, the later one is the newer.
		}
		opens := r.opens
		if made.parts > 1 {
			opens = opens.Add(-(opens.Sub(monday) % length))
		}
		n := len(out)
		if n == 0 || !out[n-1].OpenTime.Equal(opens) {
			if n == 0 && !opens.Equal(r.opens) {
				continue
			}
			out = append(out, sdk.Candle{
				OpenTime: opens, Open: r.open, High: r.high, Low: r.low, Close: r.close, Volume: r.volume, Closed: true,
			})
			continue
		}
		c := &out[n-1]
		c.High, c.Low = sdk.Known(max(c.High.Or(0), r.high.Or(0))), sdk.Known(min(c.Low.Or(0), r.low.Or(0)))
		c.Close, c.Volume = r.close, sdk.Known(c.Volume.Or(0)+r.volume.Or(0))
	}
	if n := len(out); n > 0 {
		out[n-1].Closed = false
	}
	return out
}
