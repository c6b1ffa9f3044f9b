package conformance

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/service-islands/islands/sdk"
)

func historyChecks() []Check {
	return []Check{
		{
			Name: "history/fidelity", Role: sdk.RoleStore, run: on(historyFidelity),
			Rule: "SaveQuotes adds quotes to the history; History returns stored quotes: every figure as it was saved, unknown ones unknown",
		},
		{
			Name: "history/idempotent", Role: sdk.RoleStore, run: on(historyIdempotent),
			Rule: "Saving is idempotent: the same rows twice are one row. A quote is known by id (or symbol), currency, source and AsOf",
		},
		{
			Name: "history/range", Role: sdk.RoleStore, run: on(historyRange),
			Rule: "HistoryRequest asks for stored quotes with From <= AsOf < To; a zero To means no upper bound; with any other, From >= To gives an empty page",
		},
		{
			Name: "history/pages", Role: sdk.RoleStore, run: on(historyPages),
			Rule: "History returns stored quotes of a symbol, oldest first, a page at a time; Next is empty after the last",
		},
		{
			Name: "history/cursor", Role: sdk.RoleStore, run: on(historyCursor),
			Rule: "A malformed cursor is an InvalidArgument error; Limit 1 to 1000",
		},
	}
}

// noon is an instant from which the checks count, the start of an interval.
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
	full := b.quote("full", noon().Add(123456789))
	full.Name, full.Note, full.Rank = "Full Coin \u2028 <₿>", "in USDT", 7
	for i, n := range []*sdk.Number{
		&full.Price, &full.Change1h, &full.Change24h, &full.Change7d, &full.Change30d, &full.Change1y, &full.High24h, &full.Low24h,
		&full.Volume24h, &full.MarketCap, &full.Supply.Circulating, &full.Supply.Total, &full.Supply.Max, &full.Supply.FullyDilutedValuation,
		&full.ATH.Price, &full.ATH.Change, &full.ATL.Price, &full.ATL.Change,
	} {
		*n = sdk.Known(float64(i+1) * 1234.56789012345e-3)
	}
	full.Price, full.Change1h, full.Change24h = sdk.Known(0.1+0.2), sdk.Known(math.Copysign(0, -1)), sdk.Known(-3.25)
	full.Change7d, full.Change30d, full.High24h = sdk.Known(math.MaxFloat64), sdk.Known(math.SmallestNonzeroFloat64), sdk.Known(0)
	full.ATH.Date, full.ATL.Date = noon().Add(-1000*time.Hour), noon().Add(-2000*time.Hour)
	nameless, unknown := b.quote("nameless", noon()), b.quote("unknown", noon())
	nameless.ID, unknown.Price = "", sdk.Number{}
	for _, q := range []sdk.Quote{full, bare, nameless, unknown} {
		if err := store.SaveQuotes(ctx, []sdk.Quote{q}); err != nil {
			return fmt.Errorf("saveQuotes: %w", err)
		}
		page, err := history(ctx, store, q.Symbol, 10, "")
		if err != nil {
			return err
		}
		if len(page.Quotes) != 1 || !exactly(page.Quotes[0], q) {
			return fmt.Errorf("saved\n%+v, the history has\n%+v", q, page.Quotes)
		}
	}
	elsewhere := b.quote("elsewhere", noon().In(time.FixedZone("", 7200)))
	if err := store.SaveQuotes(ctx, []sdk.Quote{elsewhere}); err != nil {
		return fmt.Errorf("saveQuotes: %w", err)
	}
	page, err := history(ctx, store, elsewhere.Symbol, 10, "")
	if err != nil {
		return err
	}
	if elsewhere.AsOf = noon(); len(page.Quotes) != 1 || !exactly(page.Quotes[0], elsewhere) {
		return fmt.Errorf("saved with a time of another zone, the history has\n%+v", page.Quotes)
	}
	return nil
}

// exactly reports whether two values are the same, the sign of a zero included.
func exactly(a, b any) bool { return reflect.DeepEqual(a, b) && fmt.Sprint(a) == fmt.Sprint(b) }

func historyIdempotent(ctx context.Context, b *bench, store sdk.Store) error {
	first := b.quote("same", noon())
	quotes := []sdk.Quote{first}
	for _, differ := range []func(*sdk.Quote){
		func(q *sdk.Quote) { q.AsOf = q.AsOf.Add(time.Second) },
		func(q *sdk.Quote) { q.AsOf = q.AsOf.Add(1) },
		func(q *sdk.Quote) { q.Source = "another" },
		func(q *sdk.Quote) { q.VsCurrency = "eur" },
		func(q *sdk.Quote) { q.ID += "-namesake" },
		func(q *sdk.Quote) { q.ID = "" },
	} {
		q := first
		differ(&q)
		quotes = append(quotes, q)
	}
	for i := range 3 {
		again := first
		again.Price = sdk.Known(float64(i)) // No figure makes another quote.
		if err := store.SaveQuotes(ctx, append(quotes, again)); err != nil {
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
	all := []time.Time{at(0), at(1), at(2), at(3), at(4)}
	var quotes []sdk.Quote
	for _, minute := range []int{3, 1, 0, 4, 2} {
		quotes = append(quotes, b.quote("range", at(minute)))
	}
	if err := store.SaveQuotes(ctx, append(quotes, b.quote("another", at(2)))); err != nil {
		return fmt.Errorf("saveQuotes: %w", err)
	}
	for what, test := range map[string]struct {
		from, to time.Time
		want     []time.Time
	}{
		"no bound":          {time.Time{}, time.Time{}, all},
		"from is inside":    {at(1), time.Time{}, all[1:]},
		"to is outside":     {time.Time{}, at(3), all[:3]},
		"both":              {at(1), at(3), all[1:3]},
		"to the nanosecond": {at(1).Add(1), at(3).Add(1), all[2:4]},
		"empty":             {at(2), at(2), nil},
		"backwards":         {at(3), at(1), nil},
		"far away":          {time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), all},
	} {
		for _, limit := range []int{1, 2, 10} {
			got, err := walk(ctx, store, sdk.HistoryRequest{Symbol: b.symbol("range"), VsCurrency: "usd", From: test.from, To: test.to, Limit: limit})
			if err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			var times []time.Time
			for _, q := range got {
				times = append(times, q.AsOf)
			}
			if !slices.EqualFunc(times, test.want, time.Time.Equal) {
				return fmt.Errorf("%s, from %v to %v with the limit %d: %v", what, test.from, test.to, limit, times)
			}
		}
	}
	return nil
}

// walk returns what all pages of a history hold and returns an error when they are not pages: too large, unordered,
// empty where more was promised, or without an end.
func walk(ctx context.Context, store sdk.Store, req sdk.HistoryRequest) ([]sdk.Quote, error) {
	var all []sdk.Quote
	for pages := 1; ; pages++ {
		page, err := store.History(ctx, req)
		if err != nil {
			return nil, fmt.Errorf("history: %w", err)
		}
		if len(page.Quotes) > req.Limit {
			return nil, fmt.Errorf("a page of %d with the limit %d", len(page.Quotes), req.Limit)
		}
		if len(page.Quotes) == 0 && (page.Next != "" || pages > 1) {
			return nil, fmt.Errorf("page %d with the limit %d is empty; Next of the page before ought to have been", pages, req.Limit)
		}
		for _, q := range page.Quotes {
			if n := len(all); n > 0 && q.AsOf.Before(all[n-1].AsOf) {
				return nil, fmt.Errorf("with the limit %d a quote of %v comes after one of %v", req.Limit, q.AsOf, all[n-1].AsOf)
			}
			all = append(all, q)
		}
		if page.Next == "" {
			return all, nil
		}
		if pages > 10_000 {
			return nil, fmt.Errorf("with the limit %d the pages do not end", req.Limit)
		}
		req.Cursor = page.Next
	}
}

func historyPages(ctx context.Context, b *bench, store sdk.Store) error {
	for what, test := range map[string]struct {
		n, instants int
		limits      []int
	}{
		"few":  {11, 3, []int{1, 3, 11, 12}},
		"many": {1100, 4, []int{1000, 550}},
	} {
		// Several quotes of one instant, so that a cursor that holds only the time loses some.
		var quotes []sdk.Quote
		for i := range test.n {
			q := b.quote(what, noon().Add(time.Duration(i*test.instants/test.n)*time.Minute))
			q.Source = fmt.Sprintf("source-%04d", (i*7)%test.n)
			quotes = append(quotes, q)
		}
		if err := store.SaveQuotes(ctx, append(quotes, b.quote("another", noon()))); err != nil {
			return fmt.Errorf("saveQuotes: %w", err)
		}
		for _, limit := range test.limits {
			got, err := walk(ctx, store, sdk.HistoryRequest{Symbol: b.symbol(what), VsCurrency: "usd", Limit: limit})
			if err != nil {
				return err
			}
			seen := map[string]bool{}
			for _, q := range got {
				if seen[q.Source] {
					return fmt.Errorf("with the limit %d the quote of %s comes twice", limit, q.Source)
				}
				seen[q.Source] = true
			}
			if len(seen) != test.n {
				return fmt.Errorf("with the limit %d the pages hold %d of %d quotes", limit, len(seen), test.n)
			}
		}
	}
	return nil
}

func historyCursor(ctx context.Context, b *bench, store sdk.Store) error {
	if err := store.SaveQuotes(ctx, []sdk.Quote{b.quote("cursor", noon()), b.quote("cursor", noon().Add(1))}); err != nil {
		return fmt.Errorf("saveQuotes: %w", err)
	}
	page, err := history(ctx, store, b.symbol("cursor"), 1, "")
	if err != nil {
		return err
	}
	if len(page.Quotes) != 1 || page.Next == "" {
		return fmt.Errorf("the first page of two: %+v", page)
	}
	for _, cursor := range []string{
		"x", "no cursor", "\x00", "9999999999999999999999", "💥", strings.Repeat("A", 1<<16), page.Next + "AAAA", "!" + page.Next, page.Next[:len(page.Next)/2],
	} {
		_, err := history(ctx, store, b.symbol("cursor"), 10, cursor)
		if err := wantKind(fmt.Sprintf("History after the cursor %.40q", cursor), err, sdk.InvalidArgument); err != nil {
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
