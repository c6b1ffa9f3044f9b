package sdk

import "context"

// A source fetches what it is asked for and remembers nothing beyond the politeness it owes its upstream. Every method
// may be called concurrently. What a source does not know is left out or unknown, never guessed. Errors carry a Kind:
// NotFound when the upstream knows no such asset, Unsupported when the source does not offer the currency or interval,
// RateLimited with RetryAfter, Unavailable, BadUpstream for nonsense.
//
// Each request holds Retries: how often the source may try again within the call's deadline. It is 0 while another
// source is in line; package upstream honours it.

// QuoteSource answers what assets are worth.
type QuoteSource interface {
	// Quotes returns one quote per asset it knows, in any order; an asset it does not know is left out. Symbol and
	// VsCurrency of each quote are those of the request.
	Quotes(ctx context.Context, req QuotesRequest) ([]Quote, error)
}

// QuotesRequest asks for quotes, at most 250 at once.
type QuotesRequest struct {
	// Assets whose quotes are wanted, 1 to 250.
	Assets     []Asset
	VsCurrency string // lower case, such as "usd"
	// Retries is how often to try again within the deadline, 0 to 3.
	Retries int
}

// CandleSource answers how a price moved.
type CandleSource interface {
	// Candles returns the newest Limit candles, oldest first; fewer when the asset is younger. The last one may be open.
	Candles(ctx context.Context, req CandlesRequest) (Candles, error)
}

// CandlesRequest asks for the newest candles of one asset.
type CandlesRequest struct {
	// Asset whose candles are wanted.
	Asset Asset
	// VsCurrency of the prices, lower case, such as "usd".
	VsCurrency string
	// Interval of the candles; Unsupported where the source does not have it.
	Interval Interval
	Limit    int // 1 to 1000
	// Retries is how often to try again within the deadline, 0 to 3.
	Retries int
}

// GlobalSource answers how the whole market is.
type GlobalSource interface {
	// Global returns the state of the whole market as it is now.
	Global(ctx context.Context, req GlobalRequest) (Global, error)
}

// GlobalRequest asks for the state of the whole market.
type GlobalRequest struct {
	// VsCurrency of the money, lower case, such as "usd"; Unsupported where the source does not have it.
	VsCurrency string
	// Retries is how often to try again within the deadline, 0 to 3.
	Retries int
}

// SentimentSource answers how the market feels.
type SentimentSource interface {
	// Sentiment returns how the market feels now.
	Sentiment(ctx context.Context, req SentimentRequest) (Sentiment, error)
}

// SentimentRequest asks how the market feels.
type SentimentRequest struct {
	// Retries is how often to try again within the deadline, 0 to 3.
	Retries int
}

// CatalogueSource answers which assets there are.
type CatalogueSource interface {
	// Catalogue returns every asset the source knows, once. ID may be empty where the upstream has none; an asset is then
	// known by its symbol, which must be unique among those without an ID. Rank and MarketCap are filled in for the larger
	// ones at least, so that an ambiguous symbol can be resolved to the largest.
	Catalogue(ctx context.Context, req CatalogueRequest) ([]Asset, error)
}

// CatalogueRequest asks for every asset.
type CatalogueRequest struct {
	// Retries is how often to try again within the deadline, 0 to 3.
	Retries int
}

// StreamSource pushes quotes as they change, and candles as they close.
type StreamSource interface {
	// Stream calls emit with every batch until the context ends, emit fails, or the stream breaks, and returns why. The
	// host opens it again. Emit may block while the host is busy; a source keeps the latest quote per asset meanwhile, and
	// a bounded number of closed candles; package latest does.
	Stream(ctx context.Context, req StreamRequest, emit func(QuoteBatch) error) error
}

// StreamRequest says what to stream.
type StreamRequest struct {
	// Assets whose quotes are wanted.
	Assets []Asset
	// VsCurrency of the prices, lower case, such as "usd".
	VsCurrency string
	// Candles asks for the one-minute candles too, as they close. A source that has none to stream ignores it.
	Candles bool
}

// QuoteBatch is what changed since the batch before. One with neither quotes nor candles is a heartbeat.
type QuoteBatch struct {
	// Seq counts batches of one stream from 1 without a hole.
	Seq uint64
	// Quotes that have changed, one for each asset at most.
	Quotes []Quote
	// Candles are closed candles of the assets asked for, each series of one asset and interval; only with
	// StreamRequest.Candles. A stream brings each candle once, oldest first. Holes are possible, such as while its upstream
	// was away: whoever needs a run without them asks a CandleSource.
	Candles []Candles
}
