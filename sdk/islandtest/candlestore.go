package islandtest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/service-islands/islands/sdk"
)

func storeCandleChecks() []check {
	return []check{
		{
			name: "stored-candles/newest", role: sdk.RoleStore, run: on(storedNewest),
			rule: "StoredCandles returns the newest Limit candles, oldest first",
		},
		{
			name: "stored-candles/fidelity", role: sdk.RoleStore, run: on(storedFidelity),
			rule: "SaveCandles adds candles: every figure as it was saved, unknown ones unknown",
		},
		{
			name: "stored-candles/closed-wins", role: sdk.RoleStore, run: on(storedClosedWins),
			rule: "a closed one replaces an open one and never the reverse",
		},
		{
			name: "stored-candles/sources", role: sdk.RoleStore, run: on(storedSources),
			rule: "StoredCandles returns candles of the source that has the newest ones; it never mixes sources in one answer",
		},
		{
			name: "stored-candles/apart", role: sdk.RoleStore, run: on(storedApart),
			rule: "A candle is known by id (or symbol), currency, source, interval and OpenTime",
		},
		{
			name: "stored-candles/none", role: sdk.RoleStore, run: on(storedNone),
			rule: "StoredCandles: NotFound when there are none",
		},
	}
}

// series is one hourly candle of an asset that no other check uses, n hours after noon.
func (b *bench) series(what, source string, n int, closed bool) sdk.Candles {
	price := sdk.Known(100 + float64(n))
	return sdk.Candles{
		ID: b.name(what), Symbol: b.symbol(what), Interval: sdk.Interval1h, VsCurrency: "usd", Source: source, AsOf: noon().Add(time.Hour),
		Items: []sdk.Candle{{
			OpenTime: noon().Add(time.Duration(n) * time.Hour),
			Open:     price, High: price, Low: price, Close: price, Volume: sdk.Known(1), Closed: closed,
		}},
	}
}

// stored asks for the candles of a check's asset.
func (b *bench) stored(ctx context.Context, store sdk.Store, what string, limit int) (sdk.Candles, error) {
	run, err := store.StoredCandles(ctx, sdk.CandlesRequest{
		Asset: sdk.Asset{ID: b.name(what), Symbol: b.symbol(what)}, VsCurrency: "usd", Interval: sdk.Interval1h, Limit: limit,
	})
	if err != nil {
		return run, fmt.Errorf("storedCandles: %w", err)
	}
	return run, runFault(run, limit)
}

func storedNewest(ctx context.Context, b *bench, store sdk.Store) error {
	var batch []sdk.Candles
	for _, n := range []int{4, 0, 3, 1, 2} {
		batch = append(batch, b.series("newest", "islandtest", n, true))
	}
	for range 2 {
		if err := store.SaveCandles(ctx, batch); err != nil {
			return fmt.Errorf("saveCandles: %w", err)
		}
	}
	for limit, first := range map[int]int{1: 4, 3: 2, 5: 0, 100: 0} {
		run, err := b.stored(ctx, store, "newest", limit)
		if err != nil {
			return err
		}
		if want := min(limit, 5); len(run.Items) != want || !run.Items[0].OpenTime.Equal(noon().Add(time.Duration(first)*time.Hour)) {
			return fmt.Errorf("with the limit %d: %d candles, the first of %v", limit, len(run.Items), run.Items[0].OpenTime)
		}
	}
	for _, limit := range []int{-1, 0, 1001} {
		_, err := b.stored(ctx, store, "newest", limit)
		if err := wantKind(fmt.Sprintf("StoredCandles with the limit %d", limit), err, sdk.InvalidArgument); err != nil {
			return err
		}
	}
	return nil
}

func storedFidelity(ctx context.Context, b *bench, store sdk.Store) error {
	series := b.series("full", "islandtest", 0, true)
	series.Items[0] = sdk.Candle{
		OpenTime: noon(), Open: sdk.Known(1.25), High: sdk.Known(2.5), Low: sdk.Known(1e-8), Close: sdk.Known(1.123456789012), Volume: sdk.Known(0), Closed: true,
	}
	series.Items = append(series.Items, sdk.Candle{OpenTime: noon().Add(time.Hour), Close: sdk.Known(3)})
	if err := store.SaveCandles(ctx, []sdk.Candles{series}); err != nil {
		return fmt.Errorf("saveCandles: %w", err)
	}
	run, err := b.stored(ctx, store, "full", 10)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(run.Items, series.Items) || run.Symbol != series.Symbol || run.Source != series.Source ||
		run.Interval != series.Interval || run.VsCurrency != series.VsCurrency {
		return fmt.Errorf("saved\n%+v, stored\n%+v", series, run)
	}
	return nil
}

func storedClosedWins(ctx context.Context, b *bench, store sdk.Store) error {
	save := func(closed bool, price float64) error {
		series := b.series("closed", "islandtest", 0, closed)
		series.Items[0].Close = sdk.Known(price)
		if err := store.SaveCandles(ctx, []sdk.Candles{series}); err != nil {
			return fmt.Errorf("saveCandles: %w", err)
		}
		return nil
	}
	for i, step := range []struct {
		closed     bool
		price      float64
		wantClosed bool
		want       float64
	}{
		{false, 1, false, 1},
		{false, 2, false, 2}, // An open one moves.
		{true, 3, true, 3},   // A closed one replaces it.
		{false, 4, true, 3},  // Never the reverse.
	} {
		if err := save(step.closed, step.price); err != nil {
			return err
		}
		run, err := b.stored(ctx, store, "closed", 10)
		if err != nil {
			return err
		}
		if len(run.Items) != 1 || run.Items[0].Closed != step.wantClosed || run.Items[0].Close != sdk.Known(step.want) {
			return fmt.Errorf("step %d: stored is %+v, want the close %v", i+1, run.Items, step.want)
		}
	}
	return nil
}

func storedSources(ctx context.Context, b *bench, store sdk.Store) error {
	var batch []sdk.Candles
	for n := range 5 {
		batch = append(batch, b.series("sources", "long", n, true))
	}
	for n := 4; n < 6; n++ {
		batch = append(batch, b.series("sources", "new", n, n < 5))
	}
	if err := store.SaveCandles(ctx, batch); err != nil {
		return fmt.Errorf("saveCandles: %w", err)
	}
	run, err := b.stored(ctx, store, "sources", 10)
	if err != nil {
		return err
	}
	if run.Source != "new" || len(run.Items) != 2 {
		return fmt.Errorf("%d candles of the source %q; the newest 2 are those of \"new\"", len(run.Items), run.Source)
	}
	return nil
}

func storedApart(ctx context.Context, b *bench, store sdk.Store) error {
	mine := b.series("apart", "islandtest", 0, true)
	batch := []sdk.Candles{mine}
	for _, differ := range []func(*sdk.Candles){
		func(s *sdk.Candles) { s.VsCurrency = "eur" },
		func(s *sdk.Candles) { s.Interval = sdk.Interval4h },
		func(s *sdk.Candles) { s.ID += "-namesake" },
	} {
		other := b.series("apart", "islandtest", 0, true)
		other.Items[0].Close = sdk.Known(999)
		differ(&other)
		batch = append(batch, other)
	}
	if err := store.SaveCandles(ctx, batch); err != nil {
		return fmt.Errorf("saveCandles: %w", err)
	}
	run, err := b.stored(ctx, store, "apart", 10)
	if err != nil {
		return err
	}
	if len(run.Items) != 1 || run.Items[0].Close != mine.Items[0].Close {
		return fmt.Errorf("candles of others come along: %+v", run.Items)
	}
	return nil
}

func storedNone(ctx context.Context, b *bench, store sdk.Store) error {
	_, err := b.stored(ctx, store, "none", 10)
	return wantKind("StoredCandles of an asset that was never saved", err, sdk.NotFound)
}

func entryChecks() []check {
	return []check{
		{
			name: "entries/newest-wins", role: sdk.RoleStore, run: on(entriesNewestWins),
			rule: "Remember keeps entries by key, the newest StoredAt winning. Version is not used",
		},
		{
			name: "entries/stale", role: sdk.RoleStore, run: on(entriesStale),
			rule: "Recall returns the entries of those keys that are kept. Those past StaleUntil are left out",
		},
		{
			name: "entries/forget", role: sdk.RoleStore, run: on(entriesForget),
			rule: "Forget drops every entry whose key equals a pattern or matches it as a glob and returns how many",
		},
	}
}

// recall asks for keys and returns what is kept, by key.
func recall(ctx context.Context, store sdk.Store, keys ...string) (map[string]sdk.Entry, error) {
	entries, err := store.Recall(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("recall: %w", err)
	}
	kept := map[string]sdk.Entry{}
	for _, e := range entries {
		if _, twice := kept[e.Key]; twice {
			return nil, fmt.Errorf("recall returns the key %q twice", e.Key)
		}
		kept[e.Key] = e
	}
	return kept, nil
}

func entriesNewestWins(ctx context.Context, b *bench, store sdk.Store) error {
	key := b.name("newest")
	for i, step := range []struct {
		value   string
		age     time.Duration
		version uint64
		want    string
	}{
		{"first", time.Minute, 9, "first"},
		{"older", time.Hour, 10, "first"},
		{"newer\x00", time.Second, 1, "newer\x00"},
		{"older", time.Minute, 99, "newer\x00"},
	} {
		e := entry(key, step.value)
		e.StoredAt, e.Version = e.StoredAt.Add(-step.age).Truncate(time.Millisecond), step.version
		if err := store.Remember(ctx, []sdk.Entry{e}); err != nil {
			return fmt.Errorf("remember: %w", err)
		}
		kept, err := recall(ctx, store, key, b.name("other"))
		if err != nil {
			return err
		}
		got, ok := kept[key]
		if !ok || len(kept) != 1 || string(got.Value) != step.want {
			return fmt.Errorf("step %d: kept is %+v, want the value %q", i+1, kept, step.want)
		}
		if step.value == step.want && (!got.StoredAt.Equal(e.StoredAt) || got.FreshUntil.Sub(e.FreshUntil).Abs() >= time.Millisecond) {
			return fmt.Errorf("step %d: remembered was %+v, kept is %+v", i+1, e, got)
		}
	}
	return nil
}

func entriesStale(ctx context.Context, b *bench, store sdk.Store) error {
	gone, kept := entry(b.name("gone"), "v"), entry(b.name("kept"), "v")
	gone.StoredAt, gone.FreshUntil, gone.StaleUntil = gone.StoredAt.Add(-time.Hour), gone.StoredAt.Add(-time.Minute), gone.StoredAt.Add(-time.Second)
	soon := entry(b.name("soon"), "v")
	soon.FreshUntil, soon.StaleUntil = soon.StoredAt, soon.StoredAt.Add(300*time.Millisecond)
	kept.FreshUntil = kept.StoredAt.Add(-time.Second) // Stale, which is what a store's entries are for.
	if err := store.Remember(ctx, []sdk.Entry{gone, kept, soon}); err != nil {
		return fmt.Errorf("remember: %w", err)
	}
	if err := pause(ctx, soon.StaleUntil.Add(10*time.Millisecond)); err != nil {
		return err
	}
	got, err := recall(ctx, store, gone.Key, kept.Key, soon.Key)
	if err != nil {
		return err
	}
	if _, ok := got[kept.Key]; !ok || len(got) != 1 {
		return fmt.Errorf("of two entries past StaleUntil and a stale one there are %d: %+v", len(got), got)
	}
	return nil
}

func entriesForget(ctx context.Context, b *bench, store sdk.Store) error {
	p := b.name("")
	var entries []sdk.Entry
	var keys []string
	for _, end := range []string{"a", "ab", "a_b", "a%b", "b[c]", "c"} {
		entries, keys = append(entries, entry(p+end, end)), append(keys, p+end)
	}
	if err := store.Remember(ctx, entries); err != nil {
		return fmt.Errorf("remember: %w", err)
	}
	for _, step := range []struct {
		patterns []string
		dropped  int
		left     int
	}{
		{[]string{p + "none", p + "none*"}, 0, 6},
		{[]string{p + "a_b"}, 1, 5}, // Not SQL's wildcard.
		{[]string{p + "a%b"}, 1, 4},
		{[]string{p + "b[c]"}, 1, 3},
		{[]string{p + "a?", p + "ab"}, 1, 2},
		{[]string{p + "*"}, 2, 0},
	} {
		n, err := store.Forget(ctx, step.patterns)
		if err != nil {
			return fmt.Errorf("forget %q: %w", step.patterns, err)
		}
		kept, err := recall(ctx, store, keys...)
		if err != nil {
			return err
		}
		if n != step.dropped || len(kept) != step.left {
			return fmt.Errorf("forget %q dropped %d and left %d; want %d and %d", step.patterns, n, len(kept), step.dropped, step.left)
		}
	}
	if n, err := store.Forget(ctx, nil); n != 0 || err != nil {
		return errors.Join(fmt.Errorf("forget of no pattern dropped %d", n), err)
	}
	return nil
}
