package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/service-islands/islands/sdk"
)

func marketChecks() []Check {
	return []Check{
		{
			Name: "global/figures", Role: sdk.RoleGlobal, run: on(globalFigures),
			Rule: "Global is the state of the whole market in VsCurrency; Dominance: symbol → percent of MarketCap",
		},
		{
			Name: "global/currency", Role: sdk.RoleGlobal, run: on(globalCurrency),
			Rule: "Unsupported when the source does not offer the currency or interval",
		},
		{
			Name: "sentiment/range", Role: sdk.RoleSentiment, run: on(sentimentRange),
			Rule: "Value from 0 (fear) to 100 (greed)",
		},
		{
			Name: "catalogue/assets", Role: sdk.RoleCatalogue, run: on(catalogueAssets),
			Rule: "Catalogue returns every asset the source knows; ID may be empty where the upstream has none, its symbol is then unique among those without; Symbol in lower case; Rank from 1, 0 when unknown",
		},
	}
}

func globalFigures(ctx context.Context, b *bench, source sdk.GlobalSource) error {
	g, err := source.Global(ctx, sdk.GlobalRequest{VsCurrency: b.VsCurrency})
	if err != nil {
		return fmt.Errorf("global: %w", err)
	}
	switch {
	case g.VsCurrency != b.VsCurrency:
		return fmt.Errorf("figures in %q; %q was asked for", g.VsCurrency, b.VsCurrency)
	case g.MarketCap.Or(0) <= 0:
		return fmt.Errorf("market cap %v", g.MarketCap)
	case g.Volume24h.Or(0) < 0, g.ActiveAssets < 0, g.Markets < 0:
		return fmt.Errorf("figures below zero: %+v", g)
	case g.Source == "", g.AsOf.IsZero(), g.AsOf.Location() != time.UTC:
		return fmt.Errorf("source %q, as of %v", g.Source, g.AsOf)
	}
	total := 0.0
	for symbol, share := range g.Dominance {
		f, known := share.Float64()
		if symbol != strings.ToLower(symbol) || symbol == "" || !known || f < 0 || f > 100 {
			return fmt.Errorf("dominance of %q: %v percent", symbol, share)
		}
		total += f
	}
	if total > 100.5 {
		return fmt.Errorf("dominances add up to %v percent", total)
	}
	return nil
}

func globalCurrency(ctx context.Context, b *bench, source sdk.GlobalSource) error {
	_, err := source.Global(ctx, sdk.GlobalRequest{VsCurrency: b.UnsupportedCurrency})
	return wantKind(fmt.Sprintf("global figures in %q", b.UnsupportedCurrency), err, sdk.Unsupported)
}

func sentimentRange(ctx context.Context, _ *bench, source sdk.SentimentSource) error {
	s, err := source.Sentiment(ctx, sdk.SentimentRequest{})
	if err != nil {
		return fmt.Errorf("sentiment: %w", err)
	}
	value, known := s.Value.Float64()
	if !known || value < 0 || value > 100 {
		return fmt.Errorf("value %v", s.Value)
	}
	if s.Source == "" || s.AsOf.IsZero() || s.AsOf.Location() != time.UTC {
		return fmt.Errorf("source %q, as of %v", s.Source, s.AsOf)
	}
	return nil
}

func catalogueAssets(ctx context.Context, b *bench, source sdk.CatalogueSource) error {
	assets, err := source.Catalogue(ctx, sdk.CatalogueRequest{})
	if err != nil {
		return fmt.Errorf("catalogue: %w", err)
	}
	if len(assets) == 0 {
		return errors.New("an empty catalogue")
	}
	ids, symbols := map[string]bool{}, map[string]bool{}
	for _, a := range assets {
		id := a.ID
		if id == "" {
			id = "symbol " + a.Symbol
		}
		switch {
		case ids[id]:
			return fmt.Errorf("an asset that is listed twice: %+v", a)
		case a.Symbol == "" || a.Symbol != strings.ToLower(a.Symbol):
			return fmt.Errorf("a symbol that is empty or not in lower case: %+v", a)
		case a.Rank < 0 || a.MarketCap.Or(0) < 0:
			return fmt.Errorf("a figure below zero: %+v", a)
		}
		ids[id], symbols[a.Symbol] = true, true
	}
	for _, a := range b.Assets {
		if !symbols[a.Symbol] {
			return fmt.Errorf("the catalogue lacks %+v, which the upstream knows", a)
		}
	}
	return nil
}
