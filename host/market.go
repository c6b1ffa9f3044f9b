package main

import (
	"context"

	"github.com/service-islands/islands/host/internal/gateway"
	"github.com/service-islands/islands/host/internal/pipeline"
	"github.com/service-islands/islands/sdk"
)

// market is the pipeline as the gateway asks it. The two never meet: their types are joined here, without copying.
type market struct{ requests *pipeline.Requests }

var _ gateway.Market = market{}

// answer hands an answer on in one format.
func answer(a *pipeline.Answer, format string) gateway.Answer {
	out := gateway.Answer{
		Tier: string(a.Tier), Stale: a.Stale, StoredAt: a.StoredAt(), FreshUntil: a.FreshUntil(), StaleUntil: a.StaleUntil(),
	}
	if rep, ok := a.Representation(format); ok {
		out.Representation = (*gateway.Representation)(rep)
	}
	return out
}

// Report implements gateway.Market.
func (m market) Report(ctx context.Context, report, symbol, vsCurrency, format string) (gateway.Answer, error) {
	a, err := m.requests.Report(ctx, report, symbol, vsCurrency)
	if err != nil {
		return gateway.Answer{}, err
	}
	return answer(&a, format), nil
}

// WarmReport implements gateway.Market.
func (m market) WarmReport(report, symbol, vsCurrency, format string) (gateway.Answer, bool) {
	a, ok := m.requests.WarmReport(report, symbol, vsCurrency)
	if !ok {
		return gateway.Answer{}, false
	}
	out := answer(&a, format)
	return out, out.Representation != nil
}

// Quote implements gateway.Market.
func (m market) Quote(ctx context.Context, symbol, vsCurrency, source string) (gateway.Answer, error) {
	a, err := m.requests.Quote(ctx, symbol, vsCurrency, source)
	if err != nil {
		return gateway.Answer{}, err
	}
	return answer(&a, "json"), nil
}

// Quotes implements gateway.Market.
func (m market) Quotes(ctx context.Context, symbols []string, vsCurrency, source string) ([]gateway.Answer, []error) {
	got, errs := m.requests.Quotes(ctx, symbols, vsCurrency, source)
	out := make([]gateway.Answer, len(got))
	for i := range got {
		if errs[i] == nil {
			out[i] = answer(&got[i], "json")
		}
	}
	return out, errs
}

// Global implements gateway.Market.
func (m market) Global(ctx context.Context, vsCurrency string) (gateway.Answer, error) {
	a, err := m.requests.Global(ctx, vsCurrency)
	if err != nil {
		return gateway.Answer{}, err
	}
	return answer(&a, "json"), nil
}

// Candles implements gateway.Market.
func (m market) Candles(ctx context.Context, symbol, vsCurrency string, interval sdk.Interval, limit int) (gateway.Answer, error) {
	a, err := m.requests.Candles(ctx, symbol, vsCurrency, interval, limit)
	if err != nil {
		return gateway.Answer{}, err
	}
	part, err := a.Part(ctx, limit, func(noun any) pipeline.Representation {
		return pipeline.NewRepresentation("json", jsonType, gateway.EncodeCandles(noun.(sdk.Candles), limit, a.Stale))
	})
	if err != nil {
		return gateway.Answer{}, err
	}
	out := answer(&a, "json")
	out.Representation = (*gateway.Representation)(part)
	return out, nil
}

// History implements gateway.Market.
func (m market) History(ctx context.Context, req sdk.HistoryRequest) (sdk.HistoryPage, error) {
	return m.requests.History(ctx, req)
}

// Symbols implements gateway.Market.
func (m market) Symbols(ctx context.Context, query string) ([]sdk.Asset, map[string]bool, gateway.Answer, error) {
	assets, ambiguous, a, err := m.requests.Symbols(ctx, query)
	if err != nil {
		return nil, nil, gateway.Answer{}, err
	}
	return assets, ambiguous, answer(&a, ""), nil
}

// HasSource implements gateway.Market.
func (m market) HasSource(name string) bool { return m.requests.HasSource(name) }
