package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/service-islands/islands/sdk"
)

func storeChecks() []Check {
	return []Check{
		{
			Name: "store/refusals", Role: sdk.RoleStore, run: on(storeRefusals),
			Rule: "InvalidArgument: the caller asked for something that cannot be meant. A quote is known by id (or symbol), currency, source and AsOf, a candle by those, interval and OpenTime, an entry by key",
		},
		{
			Name: "store/ended", Role: sdk.RoleStore, run: on(storeEnded),
			Rule: "The context of each call covers that call alone: a call whose context has ended is Canceled or DeadlineExceeded and saves nothing",
		},
		{
			Name: "store/nothing", Role: sdk.RoleStore, run: on(storeNothing),
			Rule: "Saving nothing is not an error, and what was never saved is not found",
		},
		{
			Name: "store/concurrent", Role: sdk.RoleStore, run: on(storeConcurrent),
			Rule: "All methods may be called concurrently",
		},
	}
}

// refusedAsks lists questions that cannot be meant.
func (b *bench) refusedAsks(store sdk.Store) []roleCall {
	ask := func(name string, change func(*sdk.HistoryRequest)) roleCall {
		req := sdk.HistoryRequest{Symbol: b.symbol("asked"), VsCurrency: "usd", Limit: 10}
		change(&req)
		return roleCall{sdk.RoleStore, "History " + name, func(ctx context.Context) error { return second(store.History(ctx, req)) }}
	}
	candles := func(name string, change func(*sdk.CandlesRequest)) roleCall {
		req := sdk.CandlesRequest{Asset: sdk.Asset{Symbol: b.symbol("asked")}, VsCurrency: "usd", Interval: sdk.Interval1h, Limit: 10}
		change(&req)
		return roleCall{sdk.RoleStore, "StoredCandles " + name, func(ctx context.Context) error { return second(store.StoredCandles(ctx, req)) }}
	}
	return []roleCall{
		ask("of no symbol", func(r *sdk.HistoryRequest) { r.Symbol = "" }),
		ask("in no currency", func(r *sdk.HistoryRequest) { r.VsCurrency = "" }),
		candles("of no asset", func(r *sdk.CandlesRequest) { r.Asset = sdk.Asset{} }),
		candles("in no currency", func(r *sdk.CandlesRequest) { r.VsCurrency = "" }),
		candles("of no interval", func(r *sdk.CandlesRequest) { r.Interval = "" }),
		candles("of an interval that there is not", func(r *sdk.CandlesRequest) { r.Interval = "2d" }),
	}
}

// refusedSaves lists batches of a good row and one that lacks what it would be known by.
func (b *bench) refusedSaves(store sdk.Store) []roleCall {
	quote := func(name string, change func(*sdk.Quote)) roleCall {
		bad := b.quote("bad", noon())
		change(&bad)
		return roleCall{sdk.RoleStore, "SaveQuotes with " + name, func(ctx context.Context) error {
			return store.SaveQuotes(ctx, []sdk.Quote{b.quote("refused", noon()), bad})
		}}
	}
	series := func(name string, change func(*sdk.Candles)) roleCall {
		bad := b.series("bad", "islandtest", 0, true)
		change(&bad)
		return roleCall{sdk.RoleStore, "SaveCandles with " + name, func(ctx context.Context) error {
			return store.SaveCandles(ctx, []sdk.Candles{b.series("refused", "islandtest", 0, true), bad})
		}}
	}
	return []roleCall{
		quote("no id and no symbol", func(q *sdk.Quote) { q.ID, q.Symbol = "", "" }),
		quote("no currency", func(q *sdk.Quote) { q.VsCurrency = "" }),
		quote("no source", func(q *sdk.Quote) { q.Source = "" }),
		quote("no time", func(q *sdk.Quote) { q.AsOf = time.Time{} }),
		series("no id and no symbol", func(c *sdk.Candles) { c.ID, c.Symbol = "", "" }),
		series("no currency", func(c *sdk.Candles) { c.VsCurrency = "" }),
		series("no source", func(c *sdk.Candles) { c.Source = "" }),
		series("an interval that there is not", func(c *sdk.Candles) { c.Interval = "2d" }),
		series("no open time", func(c *sdk.Candles) { c.Items[0].OpenTime = time.Time{} }),
		{sdk.RoleStore, "Remember with no key", func(ctx context.Context) error {
			return store.Remember(ctx, []sdk.Entry{entry(b.name("refused"), "v"), entry("", "v")})
		}},
	}
}

func storeRefusals(ctx context.Context, b *bench, store sdk.Store) error {
	for _, c := range append(b.refusedAsks(store), b.refusedSaves(store)...) {
		if err := wantKind(c.name, c.call(ctx), sdk.InvalidArgument); err != nil {
			return err
		}
	}
	if err := b.nothingOf(ctx, store, "refused"); err != nil {
		return fmt.Errorf("of batches that were refused: %w", err)
	}
	return nil
}

// nothingOf wants no row of a name to be there.
func (b *bench) nothingOf(ctx context.Context, store sdk.Store, what string) error {
	page, err := history(ctx, store, b.symbol(what), 10, "")
	if err != nil {
		return err
	}
	kept, err := recall(ctx, store, b.name(what))
	if err != nil {
		return err
	}
	if len(page.Quotes) > 0 || len(kept) > 0 {
		return fmt.Errorf("the history has %+v, kept is %+v", page.Quotes, kept)
	}
	_, err = b.stored(ctx, store, what, 10)
	return wantKind("StoredCandles", err, sdk.NotFound)
}

func storeEnded(ctx context.Context, b *bench, store sdk.Store) error {
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	late, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Second))
	defer cancel()
	calls := map[string]func(context.Context) error{
		"SaveQuotes": func(ctx context.Context) error { return store.SaveQuotes(ctx, []sdk.Quote{b.quote("ended", noon())}) },
		"SaveCandles": func(ctx context.Context) error {
			return store.SaveCandles(ctx, []sdk.Candles{b.series("ended", "islandtest", 0, true)})
		},
		"History":       func(ctx context.Context) error { return second(history(ctx, store, b.symbol("ended"), 10, "")) },
		"StoredCandles": func(ctx context.Context) error { return second(b.stored(ctx, store, "ended", 10)) },
		"Remember":      func(ctx context.Context) error { return store.Remember(ctx, []sdk.Entry{entry(b.name("ended"), "v")}) },
		"Recall":        func(ctx context.Context) error { return second(recall(ctx, store, b.name("ended"))) },
		"Forget":        func(ctx context.Context) error { return second(store.Forget(ctx, []string{b.name("ended")})) },
	}
	for name, call := range calls {
		if err := wantKind(name+" with a cancelled context", call(canceled), sdk.Canceled); err != nil {
			return err
		}
		if err := wantKind(name+" past its deadline", call(late), sdk.DeadlineExceeded); err != nil {
			return err
		}
	}
	if err := b.nothingOf(ctx, store, "ended"); err != nil {
		return fmt.Errorf("of calls whose context had ended: %w", err)
	}
	if health := store.(sdk.IslandComponent).Health(ctx); health.Status != sdk.StatusOK {
		return fmt.Errorf("callers that went away make the store %s: %q", health.Status, health.Reason)
	}
	return nil
}

func storeNothing(ctx context.Context, b *bench, store sdk.Store) error {
	bare := b.series("nothing", "islandtest", 0, true)
	bare.Items = nil
	if err := errors.Join(
		store.SaveQuotes(ctx, nil), store.SaveCandles(ctx, nil), store.SaveCandles(ctx, []sdk.Candles{bare}), store.Remember(ctx, nil)); err != nil {
		return fmt.Errorf("saving nothing: %w", err)
	}
	page, err := history(ctx, store, b.symbol("nothing"), 10, "")
	if err != nil {
		return err
	}
	if len(page.Quotes) > 0 || page.Next != "" {
		return fmt.Errorf("the history of a symbol that was never saved: %+v", page)
	}
	_, err = b.stored(ctx, store, "nothing", 10)
	if err := wantKind("StoredCandles of a series that was saved without candles", err, sdk.NotFound); err != nil {
		return err
	}
	for _, keys := range [][]string{{b.name("nothing")}, nil} {
		kept, err := recall(ctx, store, keys...)
		if err != nil {
			return err
		}
		if len(kept) > 0 {
			return fmt.Errorf("recall of what was never remembered: %+v", kept)
		}
	}
	return nil
}

func storeConcurrent(ctx context.Context, b *bench, store sdk.Store) error {
	err := together(func(i int) error {
		var quotes []sdk.Quote
		var series []sdk.Candles
		var entries []sdk.Entry
		block := i / 5 % 4
		for j := range 10 {
			// The same rows for all, in different orders, which is what locks each other out where it can.
			k := (j*3 + i*7) % 10
			quotes = append(quotes, b.quote("busy", noon().Add(time.Duration(block*10+k)*time.Second)))
			series = append(series, b.series("busy", fmt.Sprint("source-", k), block, true))
			entries = append(entries, entry(b.name(fmt.Sprint("busy-", k)), "v"))
		}
		switch i % 5 {
		case 0:
			return store.SaveQuotes(ctx, quotes)
		case 1:
			return store.SaveCandles(ctx, series)
		case 2:
			return store.Remember(ctx, entries)
		case 3:
			return second(store.Forget(ctx, []string{b.name("busy-1"), b.name("busy-5*")}))
		default:
			return second(history(ctx, store, b.symbol("busy"), 100, ""))
		}
	})
	if err != nil {
		return err
	}
	page, err := history(ctx, store, b.symbol("busy"), 1000, "")
	if err != nil {
		return err
	}
	run, err := b.stored(ctx, store, "busy", 1000)
	if err != nil {
		return err
	}
	if len(page.Quotes) != 40 || len(run.Items) != 4 {
		return fmt.Errorf("%d quotes and %d candles after 40 and 4 different ones were saved at once", len(page.Quotes), len(run.Items))
	}
	return nil
}
