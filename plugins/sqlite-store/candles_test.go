package main

import (
	"slices"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
)

var midnight = noon.Truncate(24 * time.Hour)

func candle(day int, price float64, closed bool) sdk.Candle {
	return sdk.Candle{OpenTime: midnight.AddDate(0, 0, day-10000), Close: sdk.Known(price), Closed: closed}
}

func daily(source string, asOf time.Time, items ...sdk.Candle) sdk.Candles {
	return sdk.Candles{
		ID: "bitcoin", Symbol: "btc", VsCurrency: "usd", Source: source, Interval: sdk.Interval1d, AsOf: asOf, Items: items,
	}
}

func days(limit int) sdk.CandlesRequest {
	return sdk.CandlesRequest{
		Asset: sdk.Asset{ID: "bitcoin", Symbol: "btc"}, VsCurrency: "usd", Interval: sdk.Interval1d, Limit: limit,
	}
}

func TestStoredCandles(t *testing.T) {
	full := sdk.Candle{
		OpenTime: midnight, Open: sdk.Known(0.1 + 0.2), High: sdk.Known(1e300), Low: sdk.Known(5e-324), Close: sdk.Known(1), Closed: true,
	}
	with := func(c sdk.Candles, change func(*sdk.Candles)) sdk.Candles {
		change(&c)
		return c
	}
	ask := func(change func(*sdk.CandlesRequest)) sdk.CandlesRequest {
		req := days(1000)
		change(&req)
		return req
	}
	noted := with(daily("one", noon, full), func(c *sdk.Candles) { c.Note = "in USDT" })
	bySymbol := with(daily("one", noon, candle(1, 1, true)), func(c *sdk.Candles) { c.ID = "" })
	named := with(daily("one", noon, candle(1, 1, true)), func(c *sdk.Candles) { c.ID, c.Symbol = "btc", "other" })
	later := noon.Add(time.Minute)
	for _, test := range []struct {
		name string
		save []sdk.Candles
		req  sdk.CandlesRequest
		want sdk.Candles // no source: not found
	}{
		{"as they were saved", []sdk.Candles{noted}, days(10), noted},
		{
			"oldest first, the newest of them",
			[]sdk.Candles{daily("one", noon, candle(3, 3, true), candle(1, 1, true), candle(2, 2, true))},
			days(2),
			daily("one", noon, candle(2, 2, true), candle(3, 3, true)),
		},
		{
			"the same twice in one batch",
			[]sdk.Candles{daily("one", noon, candle(1, 1, true), candle(1, 1, true)), daily("one", noon, candle(1, 1, true))},
			days(10),
			daily("one", noon, candle(1, 1, true)),
		},
		{
			"a closed one replaces an open one",
			[]sdk.Candles{daily("one", noon, candle(1, 1, false)), daily("one", later, candle(1, 2, true))},
			days(10),
			daily("one", later, candle(1, 2, true)),
		},
		{
			"an open one never replaces a closed one",
			[]sdk.Candles{daily("one", noon, candle(1, 2, true)), daily("one", later, candle(1, 1, false))},
			days(10),
			daily("one", later, candle(1, 2, true)),
		},
		{
			"an open one does not replace a closed one of its own batch",
			[]sdk.Candles{daily("one", noon, candle(1, 2, true), candle(1, 1, false))},
			days(10),
			daily("one", noon, candle(1, 2, true)),
		},
		{
			"an open one that was asked later replaces an open one",
			[]sdk.Candles{daily("one", noon, candle(1, 1, false)), daily("one", later, candle(1, 2, false))},
			days(10),
			daily("one", later, candle(1, 2, false)),
		},
		{
			"an open one that arrives late changes nothing",
			[]sdk.Candles{daily("one", later, candle(1, 2, false)), daily("one", noon, candle(1, 1, false))},
			days(10),
			daily("one", later, candle(1, 2, false)),
		},
		{
			"a closed one that was asked before the open one",
			[]sdk.Candles{daily("one", later, candle(1, 2, false)), daily("one", noon, candle(1, 1, true))},
			days(10),
			daily("one", later, candle(1, 1, true)),
		},
		{
			"the source with the newest alone",
			[]sdk.Candles{
				daily("one", later, candle(1, 1, true), candle(2, 1, true)), daily("two", noon, candle(3, 2, true)),
			},
			days(10),
			daily("two", noon, candle(3, 2, true)),
		},
		{
			"of equal newest the source that was asked last",
			[]sdk.Candles{
				daily("two", later, candle(1, 2, true)), daily("one", noon, candle(1, 1, true)), daily("three", noon, candle(1, 3, true)),
			},
			days(10),
			daily("two", later, candle(1, 2, true)),
		},
		{"by symbol without an id", []sdk.Candles{bySymbol}, ask(func(r *sdk.CandlesRequest) { r.Asset.ID = "" }), bySymbol},
		{"by symbol, saved with an id", []sdk.Candles{noted}, ask(func(r *sdk.CandlesRequest) { r.Asset.ID = "" }), noted},
		{"by id, saved without one", []sdk.Candles{bySymbol}, days(10), sdk.Candles{}},
		{"an id that is another's symbol", []sdk.Candles{named}, ask(func(r *sdk.CandlesRequest) { r.Asset.ID = "" }), sdk.Candles{}},
		{"another currency", []sdk.Candles{noted}, ask(func(r *sdk.CandlesRequest) { r.VsCurrency = "eur" }), sdk.Candles{}},
		{"another interval", []sdk.Candles{noted}, ask(func(r *sdk.CandlesRequest) { r.Interval = sdk.Interval1m }), sdk.Candles{}},
		{"another asset", []sdk.Candles{noted}, ask(func(r *sdk.CandlesRequest) { r.Asset.ID = "ethereum" }), sdk.Candles{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := opened(t)
			check := func() {
				t.Helper()
				got, err := s.StoredCandles(t.Context(), test.req)
				if test.want.Source == "" {
					wantKind(t, err, sdk.NotFound)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				same(t, got, test.want)
			}
			for _, c := range test.save {
				if err := s.SaveCandles(t.Context(), []sdk.Candles{c}); err != nil {
					t.Fatal(err)
				}
			}
			check()
			// Once more as one batch: whatever came before, the outcome is the same.
			if err := s.SaveCandles(t.Context(), test.save); err != nil {
				t.Fatal(err)
			}
			check()
		})
	}
}

func TestTenThousandCandles(t *testing.T) {
	s := opened(t)
	var items []sdk.Candle
	for i := range 10000 {
		c := candle(i, float64(i)+0.1, true)
		c.Open, c.High, c.Low, c.Volume = c.Close, c.Close, c.Close, c.Close
		items = append(items, c)
	}
	for _, what := range []string{"new", "again"} {
		start := time.Now()
		if err := s.SaveCandles(t.Context(), []sdk.Candles{daily("one", noon, items...)}); err != nil {
			t.Fatal(err)
		}
		t.Logf("10,000 candles, %s: %v", what, time.Since(start))
	}
	start := time.Now()
	found, err := s.StoredCandles(t.Context(), days(1000))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the newest 1,000 of them: %v", time.Since(start))
	same(t, found.Items, slices.Clone(items[9000:]))
}
