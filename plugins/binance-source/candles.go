package main

import (
	"context"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/upstream"
)

const (
	// weightKlines is what a run of candles weighs.
	weightKlines = 2
	// mostKlines is the most that one call returns.
	mostKlines = 1000
	// silentAfter is how long the newest candle may lie back, beyond two intervals, before a note says so: Binance goes
	// on to serve the last candles of pairs that it no longer trades.
	silentAfter = 24 * time.Hour
)

// tradable matches what Binance takes for a symbol.
var tradable = regexp.MustCompile(`^[A-Z0-9_.-]{1,20}$`)

// kline is one [openTime, o, h, l, c, volume, closeTime, …] of /api/v3/klines. Prices are strings, times are numbers.
type kline struct {
	opens, closes                  time.Time
	open, high, low, close, volume sdk.Number
}

// UnmarshalJSON reads the first seven figures.
func (k *kline) UnmarshalJSON(text []byte) error {
	var row []sdk.Number
	if err := json.Unmarshal(text, &row); err != nil {
		return err
	}
	if len(row) < 7 {
		return sdk.Errorf(sdk.BadUpstream, "a candle of %d figures", len(row))
	}
	for i, n := range row[:7] {
		f, ok := n.Float64()
		if !ok || f < 0 || ((i == 0 || i == 6) && f > maxMillis) {
			return sdk.Errorf(sdk.BadUpstream, "figure %d of a candle is %s", i, n)
		}
	}
	*k = kline{
		opens: time.UnixMilli(int64(row[0].Or(0))).UTC(), closes: time.UnixMilli(int64(row[6].Or(0))).UTC(),
		open: row[1], high: row[2], low: row[3], close: row[4], volume: row[5],
	}
	return nil
}

// candle turns the row into a candle.
func (k kline) candle(closed bool) sdk.Candle {
	return sdk.Candle{
		OpenTime: k.opens, Open: k.open, High: k.high, Low: k.low, Close: k.close, Volume: k.volume, Closed: closed,
	}
}

// Candles asks for the newest candles of one pair. The last one is open.
func (s *source) Candles(ctx context.Context, req sdk.CandlesRequest) (sdk.Candles, error) {
	if !req.Interval.Valid() {
		return sdk.Candles{}, sdk.Errorf(sdk.Unsupported, "no candles of %q; there are %v", req.Interval, sdk.Intervals())
	}
	if req.Limit < 1 || req.Limit > mostKlines {
		return sdk.Candles{}, sdk.Errorf(sdk.InvalidArgument, "a limit of %d candles; it can be 1 to %d", req.Limit, mostKlines)
	}
	symbol, note, err := s.symbol(ctx, req)
	if err != nil {
		return sdk.Candles{}, err
	}
	var rows []kline
	err = s.client.GetJSON(ctx, upstream.Request{
		Path: "/api/v3/klines", Weight: weightKlines, Retries: req.Retries,
		Query: url.Values{"symbol": {symbol}, "interval": {string(req.Interval)}, "limit": {strconv.Itoa(req.Limit)}},
	}, &rows)
	if err != nil {
		return sdk.Candles{}, err
	}
	now := s.now().UTC()
	items := candlesOf(rows, now)
	if len(items) == 0 {
		return sdk.Candles{}, sdk.Errorf(sdk.NotFound, "%s is not traded", symbol)
	}
	if last := items[len(items)-1].OpenTime; now.Sub(last) > 2*req.Interval.Duration()+silentAfter {
		note = strings.TrimPrefix(note+"; not traded since "+last.Format(time.DateOnly), "; ")
	}
	return sdk.Candles{
		ID: req.Asset.ID, Symbol: req.Asset.Symbol, Interval: req.Interval, VsCurrency: req.VsCurrency,
		Source: s.name, AsOf: now, Items: items[max(len(items)-req.Limit, 0):], Note: note,
	}, nil
}

// symbol returns what Binance calls the asset in the currency, and the note that this asks for.
func (s *source) symbol(ctx context.Context, req sdk.CandlesRequest) (symbol, note string, err error) {
	against, note := quoteAsset(req.VsCurrency)
	base := strings.ToUpper(req.Asset.Symbol)
	if !tradable.MatchString(base) {
		return "", "", sdk.Errorf(sdk.NotFound, "no asset %q is traded", req.Asset.Symbol)
	}
	if against == tether {
		return base + tether, note, nil
	}
	list, err := s.listing(ctx, listAge, req.Retries)
	if err != nil {
		return "", "", err
	}
	symbol, ok := list.symbols[pair{base, against}]
	if !ok {
		return "", "", sdk.Errorf(sdk.Unsupported, "%q is not traded against %q", req.Asset.Symbol, req.VsCurrency)
	}
	return symbol, note, nil
}

// candlesOf turns rows into candles, oldest first and each once; one whose close time lies ahead is open. A row without
// a price is left out: the pair was not traded yet.
func candlesOf(rows []kline, now time.Time) []sdk.Candle {
	rows = slices.DeleteFunc(slices.Clone(rows), func(k kline) bool { return k.close.Or(0) <= 0 })
	slices.SortStableFunc(rows, func(a, b kline) int { return a.opens.Compare(b.opens) })
	out := make([]sdk.Candle, 0, len(rows))
	for _, k := range rows {
		c := k.candle(k.closes.Before(now)) // The close time is the last millisecond of the candle.
		if n := len(out); n > 0 && out[n-1].OpenTime.Equal(c.OpenTime) {
			out[n-1] = c
			continue
		}
		out = append(out, c)
	}
	return out
}
