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

// throughTo makes a call through the gate to whichever generation of the island runs by the time the call has its place. One
// that has just been superseded may be gone before the call reaches it: then its successor is asked.
func throughTo[T any](ctx context.Context, i gated, call func(ctx context.Context, island process.Island) (T, error)) (T, error) {
	return through(ctx, i.gate, func(ctx context.Context) (T, error) {
		island := i.running()
		out, err := call(ctx, island)
		if err == nil || sdk.KindOf(err) != sdk.Unavailable || ctx.Err() != nil {
			return out, err
		}
		if next := i.running(); next != island {
			return call(ctx, next)
		}
		return out, err
	})
}

// running is the generation of the island that runs, or the one that did when the island was asked for.
func (i gated) running() process.Island {
	if island, err := i.gate.island(i.gate.name); err == nil {
		return island
	}
	return i.Island
}

// Quotes implements sdk.QuoteSource.
func (i gated) Quotes(ctx context.Context, req sdk.QuotesRequest) ([]sdk.Quote, error) {
	quotes, err := throughTo(ctx, i, func(ctx context.Context, island process.Island) ([]sdk.Quote, error) { return island.Quotes(ctx, req) })
	if err != nil {
		return nil, err
	}
	var v verdict
	quotes = v.quotes(newAskedFor(req.Assets), req.VsCurrency, quotes, i.gate.now(), false)
	return quotes, i.gate.judge(&v, "quotes")
}

// Candles implements sdk.CandleSource.
func (i gated) Candles(ctx context.Context, req sdk.CandlesRequest) (sdk.Candles, error) {
	candles, err := throughTo(ctx, i, func(ctx context.Context, island process.Island) (sdk.Candles, error) { return island.Candles(ctx, req) })
	if err != nil {
		return sdk.Candles{}, err
	}
	var v verdict
	candles = v.candles(req, candles, i.gate.now())
	return candles, i.gate.judge(&v, "candles")
}

// Global implements sdk.GlobalSource.
func (i gated) Global(ctx context.Context, req sdk.GlobalRequest) (sdk.Global, error) {
	global, err := throughTo(ctx, i, func(ctx context.Context, island process.Island) (sdk.Global, error) { return island.Global(ctx, req) })
	if err != nil {
		return sdk.Global{}, err
	}
	var v verdict
	global = v.global(req.VsCurrency, global, i.gate.now())
	return global, i.gate.judge(&v, "global")
}

// Sentiment implements sdk.SentimentSource.
func (i gated) Sentiment(ctx context.Context, req sdk.SentimentRequest) (sdk.Sentiment, error) {
	sentiment, err := throughTo(ctx, i, func(ctx context.Context, island process.Island) (sdk.Sentiment, error) {
		return island.Sentiment(ctx, req)
	})
	if err != nil {
		return sdk.Sentiment{}, err
	}
	var v verdict
	sentiment = v.sentiment(sentiment, i.gate.now())
	return sentiment, i.gate.judge(&v, "sentiment")
}

// Catalogue implements sdk.CatalogueSource.
func (i gated) Catalogue(ctx context.Context, req sdk.CatalogueRequest) ([]sdk.Asset, error) {
	assets, err := throughTo(ctx, i, func(ctx context.Context, island process.Island) ([]sdk.Asset, error) {
		return island.Catalogue(ctx, req)
	})
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
	results, err := throughTo(ctx, i, func(ctx context.Context, island process.Island) ([]sdk.Lookup, error) {
		return island.Lookup(ctx, keys)
	})
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
	entries, err := throughTo(ctx, i, func(ctx context.Context, island process.Island) ([]sdk.Entry, error) { return island.Recall(ctx, keys) })
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
	page, err := throughTo(ctx, i, func(ctx context.Context, island process.Island) (sdk.HistoryPage, error) {
		return island.History(ctx, req)
	})
	if err != nil {
		return sdk.HistoryPage{}, err
	}
	var v verdict
	page = v.history(req, page, i.gate.now())
	return page, i.gate.judge(&v, "history")
}

// Report implements sdk.Reporter.
func (i gated) Report(ctx context.Context, req sdk.ReportRequest) (sdk.Report, error) {
	report, err := throughTo(ctx, i, func(ctx context.Context, island process.Island) (sdk.Report, error) { return island.Report(ctx, req) })
	if err != nil {
		return sdk.Report{}, err
	}
	var v verdict
	report = v.report(i.gate.formatsOf(req.Report), report)
	return report, i.gate.judge(&v, "report")
}

// Fill implements sdk.Cache.
func (i gated) Fill(ctx context.Context, entries []sdk.Entry) (int, error) {
	return throughTo(ctx, i, func(ctx context.Context, island process.Island) (int, error) { return island.Fill(ctx, entries) })
}

// Remember implements sdk.Store.
func (i gated) Remember(ctx context.Context, entries []sdk.Entry) error {
	_, err := throughTo(ctx, i, func(ctx context.Context, island process.Island) (struct{}, error) {
		return struct{}{}, island.Remember(ctx, entries)
	})
	return err
}

// SaveQuotes implements sdk.Store.
func (i gated) SaveQuotes(ctx context.Context, quotes []sdk.Quote) error {
	_, err := throughTo(ctx, i, func(ctx context.Context, island process.Island) (struct{}, error) {
		return struct{}{}, island.SaveQuotes(ctx, quotes)
	})
	return err
}

// SaveCandles implements sdk.Store.
func (i gated) SaveCandles(ctx context.Context, series []sdk.Candles) error {
	_, err := throughTo(ctx, i, func(ctx context.Context, island process.Island) (struct{}, error) {
		return struct{}{}, island.SaveCandles(ctx, series)
	})
	return err
}
