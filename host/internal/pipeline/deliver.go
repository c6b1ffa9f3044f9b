package pipeline

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// remember writes quotes to where requests look for them: the near cache and the cache island. A cache that fails is
// counted, and the feed goes on.
func (f *Feed) remember(ctx context.Context, quotes []sdk.Quote, at time.Time, began moment, version uint64) {
	if len(quotes) == 0 {
		return
	}
	r := f.r
	rt := r.enter()
	defer rt.leave()
	entries, fills := make([]*entry, 0, len(quotes)), make([]sdk.Entry, 0, len(quotes))
	for _, q := range quotes {
		value, err := rt.kinds.quote.marshal(q)
		if err != nil {
			f.logger.Error("a quote cannot be written", "symbol", q.Symbol, "error", err)
			continue
		}
		e := rt.entry(q, at)
		entries = append(entries, e)
		fills = append(fills, sdk.Entry{
			Key: e.key, Value: value, StoredAt: e.storedAt, FreshUntil: e.freshUntil, StaleUntil: e.staleUntil, Version: version,
		})
	}
	r.live.writing.Lock()
	defer r.live.writing.Unlock()
	for _, e := range entries {
		r.near.put(e, began)
		r.live.advance(e, at)
	}
	if rt.Cache == "" {
		return
	}
	refused := f.fill(ctx, rt, fills)
	if refused == 0 {
		return
	}
	// An invalidation has come between, such as that of a host which had written something older. It is not to keep the
	// newest there is from those who ask when they hear of it.
	f.counts.fillRefusals.Add(uint64(refused))
	began = r.near.moment()
	for i, e := range entries {
		r.near.put(e, began)
		fills[i].Version = 0
	}
	f.fill(ctx, rt, fills)
}

// fill writes entries to the cache island, and returns how many it refused.
func (f *Feed) fill(ctx context.Context, rt *routes, fills []sdk.Entry) (refused int) {
	r := f.r
	taken, err := ask(ctx, r, rt.Cache, r.cacheMode, func(ctx context.Context, cache process.Island) (int, error) {
		return cache.Fill(ctx, fills)
	})
	r.counts.written(taken, err)
	f.counts.fills.Add(1)
	if err != nil {
		f.counts.fillFailures.Add(1)
		return 0
	}
	return max(0, len(fills)-taken)
}

// feedKey is the key under which requests look for a symbol's quote.
func feedKey(symbol string) string {
	return quoteQuestion(quoteArg{wanted: wanted{symbol: symbol, vsCurrency: "usd"}}).key
}

// entry is a quote of a tick as the near cache keeps it.
func (rt *routes) entry(q sdk.Quote, at time.Time) *entry {
	strategy := rt.Quotes.Strategy
	fresh := at.Add(strategy.TTL)
	return rt.kinds.quote.entry(feedKey(q.Symbol), q, at, fresh, fresh.Add(strategy.StaleFor))
}

// adopt puts the quotes of another host's tick into the near cache; the cache island has them from the leader.
func (f *Feed) adopt(t Tick) {
	r, now, rt := f.r, f.r.opts.Now(), f.r.routes.Load()
	began := r.near.moment()
	var entries []*entry
	for _, q := range t.Quotes {
		at := t.At
		if t.Whole && q.Quote.AsOf.Before(at) {
			at = q.Quote.AsOf // What is known may have been known for long.
		}
		there := r.near.get([]byte(feedKey(q.Quote.Symbol)))
		known := there != nil && !there.asOf.Before(q.Quote.AsOf) && now.Before(there.freshUntil) && r.near.trusted(there)
		if !known && now.Before(at.Add(rt.Quotes.Strategy.TTL)) {
			entries = append(entries, rt.entry(q.Quote, at))
		}
	}
	r.live.writing.Lock()
	defer r.live.writing.Unlock()
	for _, e := range entries {
		r.near.put(e, began)
		r.live.advance(e, now)
	}
}

// back reports whether a quote is older than what was delivered.
func (f *Feed) back(q TickQuote) bool { return q.Quote.AsOf.Before(f.newest[q.Quote.Symbol].AsOf) }

// forward is a tick without what would go back in time: everything that is known, with the newest quotes that this host has
// delivered. It is whole, so that no update of another content has the number of this one.
func (f *Feed) forward(t Tick) Tick {
	if !t.Whole {
		t = f.log.board.whole()
	}
	t.Quotes = slices.Clone(t.Quotes)
	for i, q := range t.Quotes {
		if f.back(q) {
			t.Quotes[i].Quote = f.newest[q.Quote.Symbol]
			f.counts.wentBack.Add(1)
		}
	}
	return t
}

// deliver hands a tick over. No quote in it is older than what was delivered.
func (f *Feed) deliver(t Tick) {
	if f.lone == nil && slices.ContainsFunc(t.Quotes, f.back) {
		t = f.forward(t)
	}
	if f.lone == nil {
		f.adopt(t)
	}
	in := make(map[string]bool, len(t.Quotes))
	for _, q := range t.Quotes {
		f.newest[q.Quote.Symbol] = q.Quote
		in[q.Quote.Symbol] = true
	}
	if t.Whole {
		maps.DeleteFunc(f.newest, func(symbol string, _ sdk.Quote) bool { return !in[symbol] && !f.asked(symbol) })
	}
	if t.Global != nil {
		f.global = t.Global
	}
	f.counts.delivered(t)
	f.safely("deliver a tick", func() { f.opts.Deliver(t) })
}
