package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// kinds are the uses of the primitive that are not reports.
type kinds struct {
	quote, candles, global, sentiment, catalogue *kind
}

// jsonForm returns the two functions that translate a value of one type for the cache and the store.
func jsonForm[T any]() (marshal func(any) ([]byte, error), unmarshal func([]byte) (any, error)) {
	return json.Marshal, func(value []byte) (any, error) {
		var noun T
		err := json.Unmarshal(value, &noun)
		return noun, err
	}
}

// one makes a load function of a kind whose questions are answered one by one.
func one(rt *routes, load func(ctx context.Context, rt *routes, q question) loaded) func(context.Context, []question) []loaded {
	return func(ctx context.Context, questions []question) []loaded {
		out := make([]loaded, len(questions))
		for i, q := range questions {
			out[i] = load(ctx, rt, q)
		}
		return out
	}
}

func (r *Requests) newKinds(rt *routes) kinds {
	quote := &kind{name: "quotes", routes: rt, strategy: rt.Quotes.Strategy}
	quote.load = func(ctx context.Context, questions []question) []loaded { return r.loadQuotes(ctx, rt, questions) }
	quote.marshal, quote.unmarshal = jsonForm[sdk.Quote]()
	quote.encode = func(noun any, stale bool) []Representation {
		return []Representation{r.opts.Encode.Quote(noun.(sdk.Quote), stale)}
	}
	quote.asOf = func(noun any) time.Time { return noun.(sdk.Quote).AsOf }
	quote.save = func(ctx context.Context, store process.Island, nouns []any) error {
		quotes := make([]sdk.Quote, len(nouns))
		for i, noun := range nouns {
			quotes[i] = noun.(sdk.Quote)
		}
		return store.SaveQuotes(ctx, quotes)
	}

	candles := &kind{name: "candles", routes: rt, strategy: rt.Candles.Strategy, load: one(rt, r.loadCandles)}
	candles.marshal, candles.unmarshal = jsonForm[sdk.Candles]()
	candles.size = func(noun any) int { return len(noun.(sdk.Candles).Items) * bytesPerCandle }
	candles.save = func(ctx context.Context, store process.Island, nouns []any) error {
		series := make([]sdk.Candles, len(nouns))
		for i, noun := range nouns {
			series[i] = noun.(sdk.Candles)
		}
		return store.SaveCandles(ctx, series)
	}

	global := &kind{name: "global", routes: rt, strategy: rt.Global.Strategy, load: one(rt, r.loadGlobal)}
	global.marshal, global.unmarshal = jsonForm[sdk.Global]()
	global.encode = func(noun any, stale bool) []Representation {
		return []Representation{r.opts.Encode.Global(noun.(sdk.Global), stale)}
	}

	sentiment := &kind{name: "sentiment", routes: rt, strategy: rt.Sentiment.Strategy, load: one(rt, r.loadSentiment)}
	sentiment.marshal, sentiment.unmarshal = jsonForm[sdk.Sentiment]()

	catalogue := &kind{name: "catalogue", routes: rt, strategy: rt.Catalogue.Strategy, load: one(rt, r.loadCatalogue)}
	catalogue.marshal = func(noun any) ([]byte, error) { return json.Marshal(noun.(*catalogueNoun)) }
	catalogue.unmarshal = func(value []byte) (any, error) {
		noun := &catalogueNoun{}
		if err := json.Unmarshal(value, noun); err != nil {
			return nil, err
		}
		noun.index()
		return noun, nil
	}
	catalogue.size = func(noun any) int { return len(noun.(*catalogueNoun).Assets) * bytesPerAsset }
	return kinds{quote: quote, candles: candles, global: global, sentiment: sentiment, catalogue: catalogue}
}

// bytesPerCandle and bytesPerAsset estimate what one takes in memory, its parts' encodings included.
const (
	bytesPerCandle = 256
	bytesPerAsset  = 224
)

// Currency suffix of a key: usd is bare.
func suffix(vsCurrency string) string {
	if vsCurrency == "usd" {
		return ""
	}
	return "_" + vsCurrency
}

// quoteArg asks for the quote of one asset.
type quoteArg struct {
	wanted
	source string // one source only; empty for the line
}

// wanted is an asset, as far as it is known when a question is asked.
type wanted struct {
	symbol     string // or id, as it was asked for
	found      *resolved
	vsCurrency string
}

// resolve finds the asset out, unless it is known.
func (w wanted) resolve(ctx context.Context, r *Requests) (resolved, error) {
	if w.found != nil {
		return *w.found, nil
	}
	return r.resolve(ctx, w.symbol)
}

func quoteQuestion(arg quoteArg) question {
	key := arg.symbol + "_current_price" + suffix(arg.vsCurrency)
	if arg.source != "" {
		key += "@" + arg.source
	}
	return question{key: key, arg: arg}
}

// Quote answers what an asset is worth. Source names one source to ask; empty asks the configured line. Symbol is a
// symbol or an id of the catalogue, already in lower case.
func (r *Requests) Quote(ctx context.Context, symbol, vsCurrency, source string) (Answer, error) {
	if err := r.unknown(symbol); err != nil {
		return Answer{}, err
	}
	rt := r.enter()
	defer rt.leave()
	return r.get(ctx, rt.kinds.quote, quoteQuestion(quoteArg{wanted{symbol: symbol, vsCurrency: vsCurrency}, source}))
}

// Quotes answers for several symbols at once, in their order; those that must be loaded are loaded in one call. An
// unknown symbol has a NotFound error of its own.
func (r *Requests) Quotes(ctx context.Context, symbols []string, vsCurrency, source string) ([]Answer, []error) {
	answers, errs := make([]Answer, len(symbols)), make([]error, len(symbols))
	questions := make([]question, 0, len(symbols))
	places := make([]int, 0, len(symbols))
	for i, symbol := range symbols {
		if errs[i] = r.unknown(symbol); errs[i] == nil {
			questions = append(questions, quoteQuestion(quoteArg{wanted{symbol: symbol, vsCurrency: vsCurrency}, source}))
			places = append(places, i)
		}
	}
	rt := r.enter()
	defer rt.leave()
	for i, out := range r.getMany(ctx, rt.kinds.quote, questions) {
		answers[places[i]], errs[places[i]] = out.answer, out.err
	}
	return answers, errs
}

// loadQuotes asks the sources for a batch. What one source does not know, the next is asked for.
func (r *Requests) loadQuotes(ctx context.Context, rt *routes, questions []question) []loaded {
	r.counts.loads.Add(1)
	out := make([]loaded, len(questions))
	assets := make([]resolved, len(questions))
	var missing []int
	for i, q := range questions {
		if assets[i], out[i].err = q.arg.(quoteArg).resolve(ctx, r); out[i].err == nil {
			missing = append(missing, i)
		}
	}
	if len(missing) == 0 {
		return out
	}
	// Questions of one batch share currency and source: they come from one request.
	first := questions[0].arg.(quoteArg)
	names := rt.Quotes.Sources
	if first.source != "" {
		names = []string{first.source}
	}
	err := r.sources.walk(ctx, names, allRetries, func(ctx context.Context, a attempt) error {
		req := sdk.QuotesRequest{VsCurrency: first.vsCurrency, Retries: a.retries}
		for _, i := range missing {
			req.Assets = append(req.Assets, assets[i].forSource())
		}
		quotes, err := a.island.Quotes(ctx, req)
		if err != nil {
			return err
		}
		missing = slices.DeleteFunc(missing, func(i int) bool {
			quote, ok := quoteOf(quotes, assets[i])
			if ok {
				quote.Source = a.name
				out[i] = loaded{noun: quote, poor: !a.first}
			}
			return ok
		})
		if len(missing) == 0 {
			return errEnough
		}
		return sdk.NotFound
	})
	for _, i := range missing {
		out[i] = loaded{err: err}
	}
	return out
}

// quoteOf finds an asset's quote and completes it with what the catalogue knows. A quote without a price is none.
func quoteOf(quotes []sdk.Quote, asset resolved) (sdk.Quote, bool) {
	asked := asset.forSource()
	i := slices.IndexFunc(quotes, func(q sdk.Quote) bool {
		if q.ID != "" && asset.ID != "" {
			return q.ID == asset.ID
		}
		return q.Symbol == asked.Symbol
	})
	if i < 0 || !quotes[i].Price.IsKnown() {
		return sdk.Quote{}, false
	}
	return completed(quotes[i], asset), true
}

// completed is an asset's quote with what the catalogue knows of the asset.
func completed(quote sdk.Quote, asset resolved) sdk.Quote {
	quote.Symbol = asset.Symbol
	if quote.ID == "" {
		quote.ID = asset.ID
	}
	if quote.Name == "" {
		quote.Name = asset.Name
	}
	if quote.Rank == 0 {
		quote.Rank = asset.Rank
	}
	return quote
}

// candlesArg asks for the candles of one asset.
type candlesArg struct {
	wanted
	interval sdk.Interval
	limit    int
}

// Candle limits: one load serves every smaller limit.
const (
	someCandles = 500
	MaxCandles  = 1000
)

func candlesQuestion(arg candlesArg) question {
	key := fmt.Sprintf("%s_candles_%s%s", arg.symbol, arg.interval, suffix(arg.vsCurrency))
	if arg.limit <= someCandles {
		arg.limit = someCandles
	} else {
		arg.limit = MaxCandles
		key += "_long"
	}
	return question{key: key, arg: arg}
}

// Candles answers how a price moved. The answer's noun holds at least limit candles where there are that many; it has no
// representation of its own: Part makes one per limit.
func (r *Requests) Candles(ctx context.Context, symbol, vsCurrency string, interval sdk.Interval, limit int) (Answer, error) {
	if err := r.unknown(symbol); err != nil {
		return Answer{}, err
	}
	rt := r.enter()
	defer rt.leave()
	return r.get(ctx, rt.kinds.candles, candlesQuestion(candlesArg{wanted{symbol: symbol, vsCurrency: vsCurrency}, interval, limit}))
}

func (r *Requests) loadCandles(ctx context.Context, rt *routes, q question) (out loaded) {
	r.counts.loads.Add(1)
	arg := q.arg.(candlesArg)
	asset, err := arg.resolve(ctx, r)
	if err != nil {
		return loaded{err: err}
	}
	out.err = r.sources.walk(ctx, rt.Candles.Sources, allRetries, func(ctx context.Context, a attempt) error {
		candles, err := a.island.Candles(ctx, sdk.CandlesRequest{
			Asset: asset.forSource(), VsCurrency: arg.vsCurrency, Interval: arg.interval, Limit: arg.limit, Retries: a.retries,
		})
		if err != nil {
			return err
		}
		if len(candles.Items) == 0 {
			return sdk.NotFound
		}
		if candles.ID == "" {
			candles.ID = asset.ID
		}
		candles.Symbol, candles.Source = asset.Symbol, a.name
		out.noun, out.poor, out.until = candles, !a.first, nextClose(candles)
		return errEnough
	})
	return out
}

// nextClose is when the next candle of a series closes: until then its closed candles are all there are.
func nextClose(candles sdk.Candles) time.Time {
	last := candles.Items[len(candles.Items)-1]
	next := last.OpenTime.Add(candles.Interval.Duration())
	if last.Closed {
		next = next.Add(candles.Interval.Duration())
	}
	return next
}

// Global answers how the whole market is.
func (r *Requests) Global(ctx context.Context, vsCurrency string) (Answer, error) {
	rt := r.enter()
	defer rt.leave()
	return r.get(ctx, rt.kinds.global, globalQuestion(vsCurrency))
}

func globalQuestion(vsCurrency string) question {
	return question{key: "global" + suffix(vsCurrency), arg: vsCurrency}
}

func (r *Requests) loadGlobal(ctx context.Context, rt *routes, q question) (out loaded) {
	r.counts.loads.Add(1)
	out.err = r.sources.walk(ctx, rt.Global.Sources, q.retries(), func(ctx context.Context, a attempt) error {
		global, err := a.island.Global(ctx, sdk.GlobalRequest{VsCurrency: q.arg.(string), Retries: a.retries})
		if err != nil {
			return err
		}
		global.Source = a.name
		out.noun, out.poor = global, !a.first
		return errEnough
	})
	return out
}

// sentimentQuestion is the one question there is about the sentiment.
var sentimentQuestion = question{key: "sentiment"}

// retries is what the last source in line may spend on something that a report can do without: nothing while a report
// waits for it.
func (q question) retries() int {
	if q.insist {
		return noRetries
	}
	return allRetries
}

func (r *Requests) loadSentiment(ctx context.Context, rt *routes, q question) (out loaded) {
	r.counts.loads.Add(1)
	out.err = r.sources.walk(ctx, rt.Sentiment.Sources, q.retries(), func(ctx context.Context, a attempt) error {
		sentiment, err := a.island.Sentiment(ctx, sdk.SentimentRequest{Retries: a.retries})
		if err != nil {
			return err
		}
		sentiment.Source = a.name
		out.noun, out.poor = sentiment, !a.first
		return errEnough
	})
	return out
}

// History answers with stored quotes. NotFound when there is no store.
func (r *Requests) History(ctx context.Context, req sdk.HistoryRequest) (sdk.HistoryPage, error) {
	rt := r.enter()
	defer rt.leave()
	if rt.Store == "" {
		return sdk.HistoryPage{}, sdk.Errorf(sdk.NotFound, "no store is configured, so there is no history")
	}
	return ask(ctx, r, rt.Store, r.storeMode, func(ctx context.Context, store process.Island) (sdk.HistoryPage, error) {
		return store.History(ctx, req)
	})
}

// HasSource reports whether a source answers quotes, for ?source=.
func (r *Requests) HasSource(name string) bool {
	rt := r.routes.Load()
	return slices.Contains(rt.Quotes.Sources, name) || slices.Contains(rt.Alone, name)
}

// Invalidate forgets keys and globs in the store, the cache and the near cache, here and on every host that shares the
// cache's second tier. It returns how many keys the cache forgot. The near cache forgets even when the others fail.
func (r *Requests) Invalidate(ctx context.Context, patterns []string) (int, error) {
	rt := r.enter()
	defer rt.leave()
	// Noted before and after: what is loaded meanwhile must not be written back to what has already forgotten.
	r.near.invalidate(patterns)
	var errs []error
	if rt.Store != "" {
		_, err := ask(ctx, r, rt.Store, r.storeMode, func(ctx context.Context, store process.Island) (int, error) {
			return store.Forget(ctx, patterns)
		})
		errs = append(errs, err)
	}
	forgotten := 0
	if rt.Cache != "" {
		n, err := ask(ctx, r, rt.Cache, r.cacheMode, func(ctx context.Context, cache process.Island) (int, error) {
			return cache.Invalidate(ctx, patterns)
		})
		forgotten = n
		errs = append(errs, err)
	}
	r.counts.invalidations.Add(1)
	r.near.invalidate(patterns)
	return forgotten, errors.Join(errs...)
}

// SetTier takes a tier of the cache out or back in, by an operator's word.
func (r *Requests) SetTier(ctx context.Context, tier string, enabled bool) error {
	island, err := r.opts.Island(r.cache())
	if err != nil {
		return err
	}
	return island.SetTier(ctx, strings.ToLower(tier), enabled)
}
