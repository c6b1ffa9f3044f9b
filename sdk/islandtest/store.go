package islandtest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/service-islands/islands/sdk"
)

func storeChecks() []check {
	return []check{
		{
			name: "history/fidelity", role: sdk.RoleStore, run: on(historyFidelity),
			rule: "SaveQuotes adds quotes to the history; History returns stored quotes: every figure as it was saved, unknown ones unknown",
		},
		{
			name: "history/idempotent", role: sdk.RoleStore, run: on(historyIdempotent),
			rule: "Saving is idempotent: the same rows twice are one row. A quote is known by id (or symbol), currency, source and AsOf",
		},
		{
			name: "history/range", role: sdk.RoleStore, run: on(historyRange),
			rule: "HistoryRequest asks for stored quotes with From <= AsOf < To",
		},
		{
			name: "history/pages", role: sdk.RoleStore, run: on(historyPages),
			rule: "History returns stored quotes of a symbol, oldest first, a page at a time; Next is empty after the last",
		},
		{
			name: "history/cursor", role: sdk.RoleStore, run: on(historyCursor),
			rule: "A malformed cursor is an InvalidArgument error; Limit 1 to 1000",
		},
		{
			name: "store/nothing", role: sdk.RoleStore, run: on(storeNothing),
			rule: "Saving nothing is not an error, and what was never saved is not found",
		},
		{
			name: "store/concurrent", role: sdk.RoleStore, run: on(storeConcurrent),
			rule: "All methods may be called concurrently",
		},
	}
}

// noon is an instant from which the checks count; seconds are kept by any store.
func noon() time.Time { return time.Now().UTC().Truncate(24 * time.Hour).Add(-12 * time.Hour) }

// quote is a quote of an asset that no other check uses, with little in it.
func (b *bench) quote(what string, asOf time.Time) sdk.Quote {
	return sdk.Quote{
		ID: b.name(what), Symbol: b.symbol(what), VsCurrency: "usd", Price: sdk.Known(1.5), Source: "islandtest", AsOf: asOf,
	}
}

// history asks for one page of the quotes of a symbol, over a wide range.
func history(ctx context.Context, store sdk.Store, symbol string, limit int, cursor string) (sdk.HistoryPage, error) {
	page, err := store.History(ctx, sdk.HistoryRequest{
		Symbol: symbol, VsCurrency: "usd", From: noon().Add(-48 * time.Hour), To: noon().Add(72 * time.Hour), Limit: limit, Cursor: cursor,
	})
	if err != nil {
		return page, fmt.Errorf("history: %w", err)
	}
	return page, nil
}

func historyFidelity(ctx context.Context, b *bench, store sdk.Store) error {
	bare := b.quote("bare", noon())
	bare.Price = sdk.Known(0)
	full := b.quote("full", noon())
	full.Name, full.Note, full.Rank = "Full Coin ₿", "in USDT", 7
	for i, n := range []*sdk.Number{
		&full.Price, &full.Change1h, &full.Change24h, &full.Change7d, &full.Change30d, &full.Change1y, &full.High24h, &full.Low24h,
		&full.Volume24h, &full.MarketCap, &full.Supply.Circulating, &full.Supply.Total, &full.Supply.Max, &full.Supply.FullyDilutedValuation,
		&full.ATH.Price, &full.ATH.Change, &full.ATL.Price, &full.ATL.Change,
	} {
		*n = sdk.Known(float64(i+1) * 1234.56789012345e-3)
	}
	full.Change24h = sdk.Known(-3.25)
	full.ATH.Date, full.ATL.Date = noon().Add(-1000*time.Hour), noon().Add(-2000*time.Hour)
	for _, q := range []sdk.Quote{full, bare} {
		if err := store.SaveQuotes(ctx, []sdk.Quote{q}); err != nil {
			return fmt.Errorf("saveQuotes: %w", err)
		}
		page, err := history(ctx, store, q.Symbol, 10, "")
		if err != nil {
			return err
		}
		if len(page.Quotes) != 1 || !reflect.DeepEqual(page.Quotes[0], q) {
			return fmt.Errorf("saved\n%+v, the history has\n%+v", q, page.Quotes)
		}
	}
	return nil
}

func historyIdempotent(ctx context.Context, b *bench, store sdk.Store) error {
	first := b.quote("same", noon())
	quotes := []sdk.Quote{first}
	for _, differ := range []func(*sdk.Quote){
		func(q *sdk.Quote) { q.AsOf = q.AsOf.Add(time.Second) },
		func(q *sdk.Quote) { q.Source = "another" },
		func(q *sdk.Quote) { q.VsCurrency = "eur" },
		func(q *sdk.Quote) { q.ID += "-namesake" },
	} {
		q := first
		differ(&q)
		quotes = append(quotes, q)
	}
	for range 3 {
		if err := store.SaveQuotes(ctx, append(quotes, first)); err != nil {
			return fmt.Errorf("saveQuotes: %w", err)
		}
	}
	page, err := history(ctx, store, first.Symbol, 100, "")
	if err != nil {
		return err
	}
	if len(page.Quotes) != len(quotes)-1 {
		return fmt.Errorf("%d quotes in usd were saved, several times each; the history has %d", len(quotes)-1, len(page.Quotes))
	}
	return nil
}

func historyRange(ctx context.Context, b *bench, store sdk.Store) error {
	at := func(minute int) time.Time { return noon().Add(time.Duration(minute) * time.Minute) }
	var quotes []sdk.Quote
	for _, minute := range []int{3, 1, 0, 4, 2} {
		quotes = append(quotes, b.quote("range", at(minute)))
	}
	if err := store.SaveQuotes(ctx, quotes); err != nil {
		return fmt.Errorf("saveQuotes: %w", err)
	}
	page, err := store.History(ctx, sdk.HistoryRequest{
		Symbol: b.symbol("range"), VsCurrency: "usd", From: at(1), To: at(3), Limit: 10,
	})
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	var got []time.Time
	for _, q := range page.Quotes {
		got = append(got, q.AsOf)
	}
	if want := []time.Time{at(1), at(2)}; !slices.EqualFunc(got, want, time.Time.Equal) {
		return fmt.Errorf("from %v to %v: %v", at(1), at(3), got)
	}
	if page.Next != "" {
		return fmt.Errorf("the only page has the next one %q", page.Next)
	}
	return nil
}

func historyPages(ctx context.Context, b *bench, store sdk.Store) error {
	// Several quotes of one instant, so that a cursor that holds only the time loses some.
	var quotes []sdk.Quote
	for i := range 11 {
		q := b.quote("pages", noon().Add(time.Duration(i/4)*time.Minute))
		q.Source = fmt.Sprintf("source-%02d", (i*7)%11)
		quotes = append(quotes, q)
	}
	if err := store.SaveQuotes(ctx, quotes); err != nil {
		return fmt.Errorf("saveQuotes: %w", err)
	}
	for _, limit := range []int{1, 3, 11, 12} {
		seen := map[string]bool{}
		var last time.Time
		cursor, pages := "", 0
		for {
			page, err := history(ctx, store, b.symbol("pages"), limit, cursor)
			if err != nil {
				return err
			}
			if len(page.Quotes) > limit {
				return fmt.Errorf("a page of %d with the limit %d", len(page.Quotes), limit)
			}
			for _, q := range page.Quotes {
				if q.AsOf.Before(last) {
					return fmt.Errorf("with the limit %d a quote of %v comes after one of %v", limit, q.AsOf, last)
				}
				if seen[q.Source] {
					return fmt.Errorf("with the limit %d the quote of %s comes twice", limit, q.Source)
				}
				seen[q.Source], last = true, q.AsOf
			}
			if cursor, pages = page.Next, pages+1; cursor == "" {
				break
			}
			if pages > len(quotes)+1 {
				return fmt.Errorf("with the limit %d the pages do not end", limit)
			}
		}
		if len(seen) != len(quotes) {
			return fmt.Errorf("with the limit %d the pages hold %d of %d quotes", limit, len(seen), len(quotes))
		}
	}
	return nil
}

func historyCursor(ctx context.Context, b *bench, store sdk.Store) error {
	for _, cursor := range []string{"x", "no cursor", "\x00", "9999999999999999999999", "💥"} {
		_, err := history(ctx, store, b.symbol("cursor"), 10, cursor)
		if err := wantKind(fmt.Sprintf("History after the cursor %q", cursor), err, sdk.InvalidArgument); err != nil {
			return err
		}
	}
	for _, limit := range []int{-1, 0, 1001} {
		_, err := history(ctx, store, b.symbol("cursor"), limit, "")
		if err := wantKind(fmt.Sprintf("History with the limit %d", limit), err, sdk.InvalidArgument); err != nil {
			return err
		}
	}
	return nil
}

func storeNothing(ctx context.Context, b *bench, store sdk.Store) error {
	if err := errors.Join(store.SaveQuotes(ctx, nil), store.SaveCandles(ctx, nil), store.Remember(ctx, nil)); err != nil {
		return fmt.Errorf("saving nothing: %w", err)
	}
	page, err := history(ctx, store, b.symbol("nothing"), 10, "")
	if err != nil {
		return err
	}
	if len(page.Quotes) > 0 || page.Next != "" {
		return fmt.Errorf("the history of a symbol that was never saved: %+v", page)
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
		switch i % 5 {
		case 0, 1:
			return store.SaveQuotes(ctx, []sdk.Quote{b.quote("busy", noon().Add(time.Duration(i)*time.Second)), b.quote("busy", noon())})
		case 2:
			return store.SaveCandles(ctx, []sdk.Candles{b.series("busy", "islandtest", i, true)})
		case 3:
			return store.Remember(ctx, []sdk.Entry{entry(b.name("busy"), "v")})
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
	if len(page.Quotes) != 40 {
		return fmt.Errorf("%d quotes after 40 different ones were saved at once", len(page.Quotes))
	}
	return nil
}
