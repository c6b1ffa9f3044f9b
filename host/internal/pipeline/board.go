package pipeline

import (
	"cmp"
	"crypto/rand"
	"maps"
	"slices"
	"time"

	"github.com/service-islands/islands/sdk"
)

// board is the state of a feed after one of its ticks: everything that is known, with its place in the sequence. The zero
// board is that of no feed.
type board struct {
	epoch     string
	n         uint64
	at        time.Time
	quotesSeq uint64
	quotes    map[string]TickQuote // by symbol
	global    *sdk.Global
	globalSeq uint64
}

// newEpoch is the first tick of a new epoch, in which everything is known that is handed in.
func newEpoch(quotes map[string]sdk.Quote, global *sdk.Global, at time.Time) Tick {
	t := Tick{Epoch: rand.Text(), N: 1, At: at, Whole: true, Global: global}
	for _, q := range quotes {
		t.Quotes = append(t.Quotes, TickQuote{Seq: 1, Quote: q})
	}
	sortQuotes(t.Quotes)
	if len(t.Quotes) > 0 {
		t.QuotesSeq = 1
	}
	if global != nil {
		t.GlobalSeq = 1
	}
	return t
}

// next is the tick that follows: it holds what is handed in and is news to the board.
func (b *board) next(quotes []sdk.Quote, global *sdk.Global, at time.Time) (t Tick, news bool) {
	t = Tick{Epoch: b.epoch, N: b.n + 1, At: at}
	for _, q := range quotes {
		known, ok := b.quotes[q.Symbol]
		if !ok || q.AsOf.After(known.Quote.AsOf) {
			t.Quotes = append(t.Quotes, TickQuote{Seq: known.Seq + 1, Quote: q})
		}
	}
	sortQuotes(t.Quotes)
	if len(t.Quotes) > 0 {
		t.QuotesSeq = b.quotesSeq + 1
	}
	if global != nil && (b.global == nil || global.AsOf.After(b.global.AsOf)) {
		t.Global, t.GlobalSeq = global, b.globalSeq+1
	}
	return t, len(t.Quotes) > 0 || t.Global != nil
}

// apply takes a tick over. The caller has seen to it that the tick follows, or is whole.
func (b *board) apply(t Tick) {
	if t.Whole {
		*b = board{quotes: make(map[string]TickQuote, len(t.Quotes))}
	}
	b.epoch, b.n, b.at = t.Epoch, t.N, t.At
	for _, q := range t.Quotes {
		b.quotes[q.Quote.Symbol] = q
	}
	if t.QuotesSeq > 0 {
		b.quotesSeq = t.QuotesSeq
	}
	if t.Global != nil {
		b.global, b.globalSeq = t.Global, t.GlobalSeq
	}
}

// whole is the board as a tick.
func (b *board) whole() Tick {
	t := Tick{
		Epoch: b.epoch, N: b.n, At: b.at, Whole: true, Quotes: slices.Collect(maps.Values(b.quotes)), QuotesSeq: b.quotesSeq,
		Global: b.global, GlobalSeq: b.globalSeq,
	}
	sortQuotes(t.Quotes)
	return t
}

func sortQuotes(quotes []TickQuote) {
	slices.SortFunc(quotes, func(a, b TickQuote) int { return cmp.Compare(a.Quote.Symbol, b.Quote.Symbol) })
}

// newer keeps the newest quote per symbol.
func newer(into map[string]sdk.Quote, quotes ...sdk.Quote) {
	for _, q := range quotes {
		if known, ok := into[q.Symbol]; !ok || q.AsOf.After(known.AsOf) {
			into[q.Symbol] = q
		}
	}
}
