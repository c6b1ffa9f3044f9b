package main

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/service-islands/islands/sdk"
)

// maxAssets is the most that one request may ask for.
const maxAssets = 250

// tickerRow is one pair in the answer of Ticker. Each figure is a list: of today and of the last 24 hours, or of a price and
// what lies beside it.
type tickerRow struct {
	Last   []sdk.Number `json:"c"` // price, lot
	Volume []sdk.Number `json:"v"` // today, 24 hours; in the base
	VWAP   []sdk.Number `json:"p"` // today, 24 hours
	Low    []sdk.Number `json:"l"` // today, 24 hours
	High   []sdk.Number `json:"h"` // today, 24 hours
	Trades []sdk.Number `json:"t"` // today, 24 hours
}

// figure returns one of a list, unknown where it is not there or is not one that can be.
func figure(list []sdk.Number, i int) sdk.Number {
	if i >= len(list) || list[i].Or(-1) < 0 {
		return sdk.Number{}
	}
	return list[i]
}

// product of two figures; unknown when one of them is.
func product(a, b sdk.Number) sdk.Number {
	if !a.IsKnown() || !b.IsKnown() {
		return sdk.Number{}
	}
	return sdk.Known(a.Or(0) * b.Or(0))
}

// quote turns the row into the quote of an asset, which is not ok when nothing was traded in 24 hours.
func (r tickerRow) quote(asset sdk.Asset, vs, source string, now time.Time) (q sdk.Quote, ok bool) {
	price := figure(r.Last, 0)
	if price.Or(0) <= 0 || figure(r.Trades, 1).Or(1) == 0 {
		return sdk.Quote{}, false
	}
	return sdk.Quote{
		ID: asset.ID, Symbol: asset.Symbol, Name: asset.Name, VsCurrency: vs, Source: source, AsOf: now.UTC(),
		Price: price, High24h: figure(r.High, 1), Low24h: figure(r.Low, 1),
		Volume24h: product(figure(r.Volume, 1), figure(r.VWAP, 1)),
	}, true
}

// Quotes asks for the day's figures of every asset that is traded, in one call. The change, market caps, ranks, supplies and
// longer changes are not known here.
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
	if !list.quotes[req.VsCurrency] {
		return nil, sdk.Errorf(sdk.Unsupported, "nothing is traded against %q", req.VsCurrency)
	}
	var names []string
	for _, a := range req.Assets {
		if p, ok := list.find(a.Symbol, req.VsCurrency); ok {
			names = append(names, p.name)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	slices.Sort(names)
	names = slices.Compact(names)
	var rows map[string]tickerRow
	err := s.ask(ctx, "Ticker", url.Values{"pair": {strings.Join(names, ",")}}, req.Retries, &rows)
	if err != nil {
		return nil, err
	}
	now := s.now()
	var out []sdk.Quote
	for _, a := range req.Assets {
		p, ok := list.find(a.Symbol, req.VsCurrency)
		if !ok {
			continue
		}
		if q, ok := rows[p.key].quote(a, req.VsCurrency, s.name, now); ok {
			out = append(out, q)
		}
	}
	return out, nil
}
