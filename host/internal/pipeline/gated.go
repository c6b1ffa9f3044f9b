package pipeline

import (
	"context"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// gated is an island behind its gate. Two are equal when both island and gate are.
type gated struct {
	process.Island
	gate *gate
}

// Quotes implements sdk.QuoteSource.
func (i gated) Quotes(ctx context.Context, req sdk.QuotesRequest) ([]sdk.Quote, error) {
	quotes, err := through(ctx, i.gate, func(ctx context.Context) ([]sdk.Quote, error) { return i.Island.Quotes(ctx, req) })
	if err != nil {
		return nil, err
	}
	var v verdict
	quotes = v.quotes(newAskedFor(req.Assets), req.VsCurrency, quotes, i.gate.now(), false)
	return quotes, i.gate.judge(&v, "quotes")
}

// Candles implements sdk.CandleSource.
func (i gated) Candles(ctx context.Context, req sdk.CandlesRequest) (sdk.Candles, error) {
	candles, err := through(ctx, i.gate, func(ctx context.Context) (sdk.Candles, error) { return i.Island.Candles(ctx, req) })
	if err != nil {
		return sdk.Candles{}, err
	}
	var v verdict
	candles = v.candles(req, candles, i.gate.now())
	return candles, i.gate.judge(&v, "candles")
}

// Global implements sdk.GlobalSource.
func (i gated) Global(ctx context.Context, req sdk.GlobalRequest) (sdk.Global, error) {
	global, err := through(ctx, i.gate, func(ctx context.Context) (sdk.Global, error) { return i.Island.Global(ctx, req) })
	if err != nil {
		return sdk.Global{}, err
	}
	var v verdict
	global = v.global(req.VsCurrency, global, i.gate.now())
	return global, i.gate.judge(&v, "global")
}

// Sentiment implements sdk.SentimentSource.
func (i gated) Sentiment(ctx context.Context, req sdk.SentimentRequest) (sdk.Sentiment, error) {
	sentiment, err := through(ctx, i.gate, func(ctx context.Context) (sdk.Sentiment, error) { return i.Island.Sentiment(ctx, req) })
	if err != nil {
		return sdk.Sentiment{}, err
	}
	var v verdict
	sentiment = v.sentiment(sentiment, i.gate.now())
	return sentiment, i.gate.judge(&v, "sentiment")
}

// Catalogue implements sdk.CatalogueSource.
func (i gated) Catalogue(ctx context.Context, req sdk.CatalogueRequest) ([]sdk.Asset, error) {
	assets, err := through(ctx, i.gate, func(ctx context.Context) ([]sdk.Asset, error) { return i.Island.Catalogue(ctx, req) })
	if err != nil {
		return nil, err
	}
	var v verdict
	assets = v.catalogue(assets)
	return assets, i.gate.judge(&v, "catalogue")
}

// Stream implements sdk.StreamSource. A batch of which nothing is taken is a heartbeat: whoever says nothing that can be is
// silent, and the next in line speaks.
func (i gated) Stream(ctx context.Context, req sdk.StreamRequest, emit func(sdk.QuoteBatch) error) error {
	asked := newAskedFor(req.Assets)
	return i.Island.Stream(ctx, req, func(batch sdk.QuoteBatch) error {
		var v verdict
		batch = v.batch(asked, req.VsCurrency, batch, i.gate.now())
		_ = i.gate.judge(&v, "stream") // Counted.
		return emit(batch)
	})
}

// Lookup implements sdk.Cache.
func (i gated) Lookup(ctx context.Context, keys []string) ([]sdk.Lookup, error) {
	results, err := through(ctx, i.gate, func(ctx context.Context) ([]sdk.Lookup, error) { return i.Island.Lookup(ctx, keys) })
	if err != nil {
		return nil, err
	}
	var v verdict
	taken := v.lookups(keys, results, i.gate.now())
	if err := i.gate.judge(&v, "cache_lookup"); taken == nil {
		return nil, err
	}
	return taken, nil
}

// Recall implements sdk.Store.
func (i gated) Recall(ctx context.Context, keys []string) ([]sdk.Entry, error) {
	entries, err := through(ctx, i.gate, func(ctx context.Context) ([]sdk.Entry, error) { return i.Island.Recall(ctx, keys) })
	if err != nil {
		return nil, err
	}
	var v verdict
	entries = v.recalled(keys, entries, i.gate.now())
	_ = i.gate.judge(&v, "recall") // Counted; what is not there is loaded.
	return entries, nil
}

// History implements sdk.Store.
func (i gated) History(ctx context.Context, req sdk.HistoryRequest) (sdk.HistoryPage, error) {
	page, err := through(ctx, i.gate, func(ctx context.Context) (sdk.HistoryPage, error) { return i.Island.History(ctx, req) })
	if err != nil {
		return sdk.HistoryPage{}, err
	}
	var v verdict
	page = v.history(req, page, i.gate.now())
	return page, i.gate.judge(&v, "history")
}

// Report implements sdk.Reporter.
func (i gated) Report(ctx context.Context, req sdk.ReportRequest) (sdk.Report, error) {
	report, err := through(ctx, i.gate, func(ctx context.Context) (sdk.Report, error) { return i.Island.Report(ctx, req) })
	if err != nil {
		return sdk.Report{}, err
	}
	var v verdict
	report = v.report(i.gate.formatsOf(req.Report), report)
	return report, i.gate.judge(&v, "report")
}

// Fill implements sdk.Cache.
func (i gated) Fill(ctx context.Context, entries []sdk.Entry) (int, error) {
	return through(ctx, i.gate, func(ctx context.Context) (int, error) { return i.Island.Fill(ctx, entries) })
}

// Remember implements sdk.Store.
func (i gated) Remember(ctx context.Context, entries []sdk.Entry) error {
	_, err := through(ctx, i.gate, func(ctx context.Context) (struct{}, error) { return struct{}{}, i.Island.Remember(ctx, entries) })
	return err
}

// SaveQuotes implements sdk.Store.
func (i gated) SaveQuotes(ctx context.Context, quotes []sdk.Quote) error {
	_, err := through(ctx, i.gate, func(ctx context.Context) (struct{}, error) { return struct{}{}, i.Island.SaveQuotes(ctx, quotes) })
	return err
}

// SaveCandles implements sdk.Store.
func (i gated) SaveCandles(ctx context.Context, series []sdk.Candles) error {
	_, err := through(ctx, i.gate, func(ctx context.Context) (struct{}, error) { return struct{}{}, i.Island.SaveCandles(ctx, series) })
	return err
}
