package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/upstream"
)

const (
	// tether is what Binance trades against where others use the US dollar.
	tether = "USDT"
	// inTether is the note of figures that were asked for in US dollars.
	inTether = "figures are in USDT, not in US dollars"
	// maxAssets is the most that one request may ask for.
	maxAssets = 250
	// maxMillis is a time in the year 2200, beyond which a stamp is nonsense.
	maxMillis = 7258118400000
)

// quoteAsset returns the asset that a currency is answered in, and the note that this asks for.
func quoteAsset(vs string) (asset, note string) {
	if vs == "usd" {
		return tether, inTether
	}
	return strings.ToUpper(vs), ""
}

// tickerRow is one symbol in the reply of /api/v3/ticker/24hr.
type tickerRow struct {
	Symbol      string     `json:"symbol"`
	Last        sdk.Number `json:"lastPrice"`
	Change      sdk.Number `json:"priceChangePercent"`
	High        sdk.Number `json:"highPrice"`
	Low         sdk.Number `json:"lowPrice"`
	QuoteVolume sdk.Number `json:"quoteVolume"`
	CloseTime   sdk.Number `json:"closeTime"`
	Count       sdk.Number `json:"count"`
}

// dead reports whether nothing was traded: the figures are then zeros that mean nothing.
func (r tickerRow) dead() bool { return r.Count.Or(1) == 0 || r.Last.Or(0) <= 0 }

// quote turns the row into the quote of an asset.
func (r tickerRow) quote(asset sdk.Asset, vs, note, source string, now time.Time) sdk.Quote {
	q := sdk.Quote{
		ID: asset.ID, Symbol: asset.Symbol, Name: asset.Name, VsCurrency: vs, Source: source, Note: note, AsOf: now.UTC(),
		Price: r.Last, Change24h: r.Change, High24h: r.High, Low24h: r.Low, Volume24h: r.QuoteVolume,
	}
	if ms := r.CloseTime.Or(0); ms > 0 && ms < maxMillis {
		q.AsOf = time.UnixMilli(int64(ms)).UTC()
	}
	return q
}

// Quotes asks for the day's figures of every asset that is traded, in one call. Market caps, ranks, supplies and longer
// changes are not known here.
func (s *source) Quotes(ctx context.Context, req sdk.QuotesRequest) ([]sdk.Quote, error) {
	switch {
	case len(req.Assets) > maxAssets:
		return nil, sdk.Errorf(sdk.InvalidArgument, "%d assets at once; at most %d", len(req.Assets), maxAssets)
	case len(req.Assets) == 0:
		return nil, nil
	}
	list, err := s.listing(ctx, listAge, req.Retries)
	if err != nil {
		return nil, err
	}
	quotes, err := s.tickers(ctx, list, req)
	if !errors.Is(err, sdk.NotFound) {
		return quotes, err
	}
	// A pair has gone since the list was made, which spoils the call for all others.
	if list, err = s.listing(ctx, listPause, req.Retries); err != nil {
		return nil, err
	}
	return s.tickers(ctx, list, req)
}

// tickers asks for the assets that the list knows.
func (s *source) tickers(ctx context.Context, list *listing, req sdk.QuotesRequest) ([]sdk.Quote, error) {
	against, note := quoteAsset(req.VsCurrency)
	if !list.quotes[against] {
		return nil, sdk.Errorf(sdk.Unsupported, "nothing is traded against %q", req.VsCurrency)
	}
	var symbols []string
	for _, a := range req.Assets {
		if symbol, ok := list.symbols[pair{strings.ToUpper(a.Symbol), against}]; ok {
			symbols = append(symbols, symbol)
		}
	}
	if len(symbols) == 0 {
		return nil, nil
	}
	slices.Sort(symbols)
	symbols = slices.Compact(symbols)
	names, err := json.Marshal(symbols)
	if err != nil {
		return nil, sdk.Errorf(sdk.Internal, "symbols of a ticker: %w", err)
	}
	var rows []tickerRow
	err = s.client.GetJSON(ctx, upstream.Request{
		Path: "/api/v3/ticker/24hr", Weight: weightOfTickers(len(symbols)), Retries: req.Retries,
		Query: url.Values{"symbols": {string(names)}},
	}, &rows)
	if err != nil {
		return nil, err
	}
	found := make(map[string]tickerRow, len(rows))
	for _, row := range rows {
		if !row.dead() {
			found[row.Symbol] = row
		}
	}
	now := s.now()
	var out []sdk.Quote
	for _, a := range req.Assets {
		if row, ok := found[list.symbols[pair{strings.ToUpper(a.Symbol), against}]]; ok {
			out = append(out, row.quote(a, req.VsCurrency, note, s.name, now))
		}
	}
	return out, nil
}

// weightOfTickers is what ticker/24hr weighs for n symbols.
func weightOfTickers(n int) int {
	switch {
	case n <= 20:
		return 2
	case n <= 100:
		return 40
	default:
		return 80
	}
}
