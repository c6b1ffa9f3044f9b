package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/service-islands/islands/sdk"
)

func quoteChecks() []Check {
	return []Check{
		{
			Name: "quotes/answer", Role: sdk.RoleQuotes, run: on(quotesAnswer),
			Rule: "Quotes returns one quote per asset it knows; Symbol and VsCurrency of each quote are those of the request",
		},
		{
			Name: "quotes/units", Role: sdk.RoleQuotes, run: on(quotesUnits),
			Rule: "money is in VsCurrency; AsOf is when the upstream last changed the quote, UTC; what a source does not know is unknown, never guessed",
		},
		{
			Name: "quotes/unknown", Role: sdk.RoleQuotes, run: on(quotesUnknown),
			Rule: "an asset it does not know is left out",
		},
		{
			Name: "quotes/currency", Role: sdk.RoleQuotes, run: on(quotesCurrency),
			Rule: "Unsupported when the source does not offer the currency or interval",
		},
		{
			Name: "quotes/empty", Role: sdk.RoleQuotes, run: on(quotesEmpty),
			Rule: "Quotes returns one quote per asset it knows: none for none",
		},
		{
			Name: "quotes/many", Role: sdk.RoleQuotes, run: on(quotesMany),
			Rule: "QuotesRequest asks for quotes, at most 250 at once",
		},
	}
}

func quotesAnswer(ctx context.Context, b *bench, source sdk.QuoteSource) error {
	quotes, err := source.Quotes(ctx, sdk.QuotesRequest{Assets: b.Assets, VsCurrency: b.VsCurrency})
	if err != nil {
		return fmt.Errorf("quotes: %w", err)
	}
	if len(quotes) != len(b.Assets) {
		return fmt.Errorf("%d quotes for %d assets that the upstream knows", len(quotes), len(b.Assets))
	}
	for _, asset := range b.Assets {
		n := 0
		for _, q := range quotes {
			if q.Symbol == asset.Symbol && (asset.ID == "" || q.ID == "" || q.ID == asset.ID) {
				n++
			}
		}
		if n != 1 {
			return fmt.Errorf("%d quotes of %+v: %+v", n, asset, quotes)
		}
	}
	for _, q := range quotes {
		if q.VsCurrency != b.VsCurrency {
			return fmt.Errorf("quote of %s in %q; %q was asked for", q.Symbol, q.VsCurrency, b.VsCurrency)
		}
	}
	return nil
}

func quotesUnits(ctx context.Context, b *bench, source sdk.QuoteSource) error {
	quotes, err := source.Quotes(ctx, sdk.QuotesRequest{Assets: b.Assets, VsCurrency: b.VsCurrency})
	if err != nil {
		return fmt.Errorf("quotes: %w", err)
	}
	var errs []error
	for _, q := range quotes {
		if fault := quoteFault(q); fault != "" {
			errs = append(errs, fmt.Errorf("quote of %s: %s: %+v", q.Symbol, fault, q))
		}
	}
	return errors.Join(errs...)
}

// quoteFault says what is wrong with a quote, "" when nothing is.
func quoteFault(q sdk.Quote) string {
	if price, known := q.Price.Float64(); !known || price <= 0 {
		return "a price that is unknown or not above zero"
	}
	for name, n := range map[string]sdk.Number{
		"high_24h": q.High24h, "low_24h": q.Low24h, "volume_24h": q.Volume24h, "market_cap": q.MarketCap,
		"supply.circulating": q.Supply.Circulating, "supply.total": q.Supply.Total, "supply.max": q.Supply.Max,
		"ath": q.ATH.Price, "atl": q.ATL.Price,
	} {
		if n.Or(0) < 0 {
			return name + " is below zero"
		}
	}
	high, highKnown := q.High24h.Float64()
	low, lowKnown := q.Low24h.Float64()
	switch {
	case highKnown && lowKnown && low > high:
		return "low_24h above high_24h"
	case q.Change24h.Or(0) < -100 || q.Change1h.Or(0) < -100 || q.Change7d.Or(0) < -100 || q.Change30d.Or(0) < -100 || q.Change1y.Or(0) < -100:
		return "a change below -100 percent"
	case q.Rank < 0:
		return "a rank below zero"
	case q.Source == "":
		return "without its source"
	case q.AsOf.IsZero() || q.AsOf.Location() != time.UTC:
		return "as_of is not a time in UTC"
	default:
		return ""
	}
}

func quotesUnknown(ctx context.Context, b *bench, source sdk.QuoteSource) error {
	assets := append([]sdk.Asset{b.Unknown}, b.Assets...)
	quotes, err := source.Quotes(ctx, sdk.QuotesRequest{Assets: assets, VsCurrency: b.VsCurrency})
	if err != nil {
		return fmt.Errorf("an unknown asset among known ones: %w", err)
	}
	if len(quotes) != len(b.Assets) {
		return fmt.Errorf("%d quotes for %d known assets and an unknown one", len(quotes), len(b.Assets))
	}
	quotes, err = source.Quotes(ctx, sdk.QuotesRequest{Assets: []sdk.Asset{b.Unknown}, VsCurrency: b.VsCurrency})
	if len(quotes) > 0 {
		return fmt.Errorf("quotes of an unknown asset: %+v", quotes)
	}
	if err != nil {
		return wantKind("Quotes of an unknown asset alone", err, sdk.NotFound)
	}
	return nil
}

func quotesCurrency(ctx context.Context, b *bench, source sdk.QuoteSource) error {
	_, err := source.Quotes(ctx, sdk.QuotesRequest{Assets: b.Assets, VsCurrency: b.UnsupportedCurrency})
	return wantKind(fmt.Sprintf("Quotes in %q", b.UnsupportedCurrency), err, sdk.Unsupported)
}

func quotesEmpty(ctx context.Context, b *bench, source sdk.QuoteSource) error {
	quotes, err := source.Quotes(ctx, sdk.QuotesRequest{VsCurrency: b.VsCurrency})
	if err != nil {
		return wantKind("Quotes of no asset", err, sdk.InvalidArgument)
	}
	if len(quotes) > 0 {
		return fmt.Errorf("%d quotes for no asset", len(quotes))
	}
	return nil
}

func quotesMany(ctx context.Context, b *bench, source sdk.QuoteSource) error {
	assets := slices.Clone(b.Assets)
	for i := len(assets); i < 250; i++ {
		assets = append(assets, sdk.Asset{ID: fmt.Sprintf("%s-%d", b.Unknown.ID, i), Symbol: fmt.Sprintf("%s%d", b.Unknown.Symbol, i)})
	}
	quotes, err := source.Quotes(ctx, sdk.QuotesRequest{Assets: assets, VsCurrency: b.VsCurrency})
	if err != nil {
		return fmt.Errorf("quotes of 250 assets: %w", err)
	}
	if len(quotes) != len(b.Assets) {
		return fmt.Errorf("%d quotes for 250 assets of which %d are known", len(quotes), len(b.Assets))
	}
	return nil
}
