package conformance

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/service-islands/islands/sdk"
)

func storeCandleChecks() []Check {
	return []Check{
		{
			Name: "stored-candles/newest", Role: sdk.RoleStore, run: on(storedNewest),
			Rule: "StoredCandles returns the newest Limit candles, oldest first",
		},
		{
			Name: "stored-candles/fidelity", Role: sdk.RoleStore, run: on(storedFidelity),
			Rule: "SaveCandles adds candles: every figure as it was saved, unknown ones unknown",
		},
		{
			Name: "stored-candles/closed-wins", Role: sdk.RoleStore, run: on(storedClosedWins),
			Rule: "a closed one replaces an open one and never the reverse",
		},
		{
			Name: "stored-candles/sent-again", Role: sdk.RoleStore, run: on(storedSentAgain),
			Rule: "Saving is idempotent: a batch that may or may not have arrived is simply sent again, also after a later one",
		},
		{
			Name: "stored-candles/many", Role: sdk.RoleStore, run: on(storedMany),
			Rule: "SaveCandles adds candles; StoredCandles returns the newest Limit candles, 1 to 1000",
		},
		{
			Name: "stored-candles/sources", Role: sdk.RoleStore, run: on(storedSources),
			Rule: "StoredCandles returns candles of the source that has the newest ones; it never mixes sources in one answer",
		},
		{
			Name: "stored-candles/apart", Role: sdk.RoleStore, run: on(storedApart),
			Rule: "A candle is known by id (or symbol), currency, source, interval and OpenTime",
		},
		{
			Name: "stored-candles/none", Role: sdk.RoleStore, run: on(storedNone),
			Rule: "StoredCandles: NotFound when there are none",
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
	series.AsOf, series.Note = series.AsOf.Add(123456789), "in USDT"
	series.Items[0] = sdk.Candle{
		OpenTime: noon(), Open: sdk.Known(0.1 + 0.2), High: sdk.Known(1e300), Low: sdk.Known(5e-324), Close: sdk.Known(1.123456789012), Volume: sdk.Known(0), Closed: true,
	}
	series.Items = append(series.Items, sdk.Candle{OpenTime: noon().Add(time.Hour), Close: sdk.Known(3)})
	if err := store.SaveCandles(ctx, []sdk.Candles{series}); err != nil {
		return fmt.Errorf("saveCandles: %w", err)
	}
	run, err := b.stored(ctx, store, "full", 10)
	if err != nil {
		return err
	}
	if !exactly(run, series) {
		return fmt.Errorf("saved\n%+v, stored\n%+v", series, run)
	}
	return nil
}

func storedMany(ctx context.Context, b *bench, store sdk.Store) error {
	const n, limit = 10_000, 1000
	series := b.series("many", "islandtest", 0, true)
	series.Items = nil
	for i := range n {
		one := b.series("many", "islandtest", i-n, true)
		series.Items = append(series.Items, one.Items...)
	}
	if err := store.SaveCandles(ctx, []sdk.Candles{series}); err != nil {
		return fmt.Errorf("saveCandles of %d: %w", n, err)
	}
	run, err := b.stored(ctx, store, "many", limit)
	if err != nil {
		return err
	}
	if !exactly(run.Items, series.Items[n-limit:]) {
		return fmt.Errorf("of %d candles the newest %d are not what was saved: %d from %v", n, limit, len(run.Items), run.Items[0].OpenTime)
	}
	return nil
}

func storedSentAgain(ctx context.Context, b *bench, store sdk.Store) error {
	first, later := b.series("again", "islandtest", 0, false), b.series("again", "islandtest", 0, false)
	later.AsOf, later.Items[0].Close = first.AsOf.Add(time.Minute), sdk.Known(2)
	for i, batch := range [][]sdk.Candles{{first}, {first, later}, {first}, {later, first}} {
		if err := store.SaveCandles(ctx, batch); err != nil {
			return fmt.Errorf("saveCandles: %w", err)
		}
		if i == 0 {
			continue
		}
		run, err := b.stored(ctx, store, "again", 10)
		if err != nil {
			return err
		}
		if len(run.Items) != 1 || run.Items[0].Close != later.Items[0].Close {
			return fmt.Errorf("step %d: what was asked later is undone: %+v", i+1, run.Items)
		}
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
	// A closed one wins in one batch too, and where it was asked before the open one.
	for _, what := range []string{"open-first", "closed-first", "one-run"} {
		moving, closed := b.series(what, "islandtest", 0, false), b.series(what, "islandtest", 0, true)
		moving.AsOf, closed.Items[0].Close = closed.AsOf.Add(time.Minute), sdk.Known(3)
		batch := []sdk.Candles{moving, closed}
		switch what {
		case "closed-first":
			slices.Reverse(batch)
		case "one-run":
			closed.Items = append(closed.Items, moving.Items...)
			batch = []sdk.Candles{closed}
		}
		if err := store.SaveCandles(ctx, batch); err != nil {
			return fmt.Errorf("saveCandles: %w", err)
		}
		run, err := b.stored(ctx, store, what, 10)
		if err != nil {
			return err
		}
		if len(run.Items) != 1 || !run.Items[0].Closed || run.Items[0].Close != sdk.Known(3) {
			return fmt.Errorf("of an open and a closed candle in one batch (%s) is stored %+v", what, run.Items)
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
	nameless, another := b.series("nameless", "islandtest", 0, true), b.series("another", "islandtest", 0, true)
	nameless.ID, another.ID = "", nameless.Symbol // An id that is the symbol of another.
	another.Items[0].Close = sdk.Known(999)
	if err := store.SaveCandles(ctx, []sdk.Candles{another, nameless}); err != nil {
		return fmt.Errorf("saveCandles: %w", err)
	}
	req := sdk.CandlesRequest{Asset: sdk.Asset{Symbol: nameless.Symbol}, VsCurrency: "usd", Interval: sdk.Interval1h, Limit: 10}
	if run, err = store.StoredCandles(ctx, req); err != nil {
		return fmt.Errorf("storedCandles of an asset without an id: %w", err)
	}
	if !exactly(run.Items, nameless.Items) {
		return fmt.Errorf("of an asset without an id is stored %+v, want %+v", run.Items, nameless.Items)
	}
	return nil
}

func storedNone(ctx context.Context, b *bench, store sdk.Store) error {
	_, err := b.stored(ctx, store, "none", 10)
	return wantKind("StoredCandles of an asset that was never saved", err, sdk.NotFound)
}
