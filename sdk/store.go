package sdk

import (
	"context"
	"time"
)

// Store remembers for good. All methods may be called concurrently. Saving is idempotent: the same rows twice are one
// row, so a batch that may or may not have arrived is simply sent again.
type Store interface {
	// SaveQuotes adds quotes to the history. A quote is known by id (or symbol), currency, source and AsOf.
	SaveQuotes(ctx context.Context, quotes []Quote) error
	// SaveCandles adds candles. A candle is known by id (or symbol), currency, source, interval and OpenTime; a closed
	// one replaces an open one and never the reverse.
	SaveCandles(ctx context.Context, series []Candles) error
	// History returns stored quotes of a symbol, oldest first, a page at a time.
	History(ctx context.Context, req HistoryRequest) (HistoryPage, error)
	// StoredCandles returns the newest Limit candles of the source that has the newest ones, oldest first; NotFound
	// when there are none. StoredCandles never mixes sources in one answer.
	StoredCandles(ctx context.Context, req CandlesRequest) (Candles, error)
	// Remember keeps entries by key, the newest StoredAt winning. Version is not used.
	Remember(ctx context.Context, entries []Entry) error
	// Recall returns the entries of those keys that are kept, in any order. Those past StaleUntil are left out.
	Recall(ctx context.Context, keys []string) ([]Entry, error)
	// Forget drops every entry whose key equals a pattern or matches it as a glob and returns how many.
	Forget(ctx context.Context, patterns []string) (int, error)
}

// HistoryRequest asks for stored quotes with From <= AsOf < To. A zero To means no upper bound; with any
// other, From >= To gives an empty page.
type HistoryRequest struct {
	// Symbol in lower case, such as "btc".
	Symbol string
	// VsCurrency of the quotes, lower case, such as "usd".
	VsCurrency string
	From       time.Time
	To         time.Time
	Limit      int // 1 to 1000
	// Cursor is the Next of the page before, empty for the first. A malformed one is an InvalidArgument error.
	Cursor string
}

// HistoryPage is a page of stored quotes, oldest first.
type HistoryPage struct {
	// Quotes of the page, oldest first, at most Limit.
	Quotes []Quote
	// Next is the cursor of the page that follows, empty after the last.
	Next string
}
