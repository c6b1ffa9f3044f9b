package report_test

import (
	"testing"
	"time"

	"github.com/service-islands/islands/plugins/report-generator/report"
	"github.com/service-islands/islands/sdk"
)

// now is the time of every report in the tests: a moment within a day.
var now = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

// series makes n daily candles that end with the one that is still open at now. They wander by whole-number arithmetic,
// so that they are the same everywhere.
func series(n int) *sdk.Candles {
	c := &sdk.Candles{
		ID: "bitcoin", Symbol: "btc", Interval: sdk.Interval1d, VsCurrency: "usd", Source: "binance", AsOf: now.Add(-time.Minute),
	}
	state, price := uint64(20260314), int64(4_000_000)
	step := func(span int64) int64 {
		state = state*6364136223846793005 + 1442695040888963407
		return int64(state>>33) % span
	}
	today := now.Truncate(24 * time.Hour)
	for i := range n {
		open := price
		price += (step(2001) - 990) * price / 40_000
		high, low := max(open, price)+step(500)*price/40_000, min(open, price)-step(500)*price/40_000
		c.Items = append(c.Items, sdk.Candle{
			OpenTime: today.AddDate(0, 0, i+1-n),
			Open:     cents(open), High: cents(high), Low: cents(low), Close: cents(price), Volume: cents(100_000 + step(900_000)),
			Closed: i+1 < n,
		})
	}
	return c
}

// cents is a number of hundredths.
func cents(n int64) sdk.Number { return sdk.Known(float64(n) / 100) }

// edited returns candles with every item changed.
func edited(c *sdk.Candles, edit func(i int, item *sdk.Candle)) *sdk.Candles {
	for i := range c.Items {
		edit(i, &c.Items[i])
	}
	return c
}

// closesOnly takes away all but the closes.
func closesOnly(_ int, c *sdk.Candle) {
	c.Open, c.High, c.Low, c.Volume = sdk.Number{}, sdk.Number{}, sdk.Number{}, sdk.Number{}
}

// request asks for a full report with everything there is.
func request() sdk.ReportRequest {
	return sdk.ReportRequest{
		Report:     report.CryptoReport,
		Asset:      sdk.Asset{ID: "bitcoin", Symbol: "btc", Name: "Bitcoin", Rank: 1, MarketCap: sdk.Known(1.3e12)},
		VsCurrency: "usd", Now: now, ResolvedFrom: "btc",
		Ambiguous: []sdk.Asset{{ID: "batcat", Symbol: "btc", Name: "batcat", Rank: 3021, MarketCap: sdk.Known(5e6)}, {ID: "btc-2", Symbol: "btc"}},
		Quote: &sdk.Quote{
			ID: "bitcoin", Symbol: "btc", Name: "Bitcoin", VsCurrency: "usd", Price: sdk.Known(55_700.5),
			Change1h: sdk.Known(-0.12), Change24h: sdk.Known(1.5), Change7d: sdk.Known(-3.25), Change30d: sdk.Known(10), Change1y: sdk.Known(44.4),
			High24h: sdk.Known(56_100), Low24h: sdk.Known(55_010), Volume24h: sdk.Known(2.5e10), MarketCap: sdk.Known(1.25e12), Rank: 1,
			Supply: sdk.Supply{
				Circulating: sdk.Known(19_700_000), Total: sdk.Known(21_000_000), Max: sdk.Known(21_000_000),
				FullyDilutedValuation: sdk.Known(1.349e12),
			},
			ATH:    sdk.Mark{Price: sdk.Known(126_080), Date: time.Date(2025, 10, 6, 18, 57, 42, 558e6, time.UTC), Change: sdk.Known(-49.04)},
			ATL:    sdk.Mark{Price: sdk.Known(67.81), Date: time.Date(2013, 7, 6, 0, 0, 0, 0, time.UTC), Change: sdk.Known(94650.1)},
			Source: "coingecko", AsOf: now.Add(-20 * time.Second),
		},
		Candles: series(400),
		Global: &sdk.Global{
			VsCurrency: "usd", MarketCap: sdk.Known(2.5e12), Source: "coingecko", AsOf: now.Add(-time.Minute),
		},
		Sentiment:  &sdk.Sentiment{Value: sdk.Known(22), Label: "Extreme Fear", Source: "fear-greed", AsOf: now.Truncate(24 * time.Hour)},
		CrossCheck: []sdk.Quote{{Symbol: "btc", VsCurrency: "usd", Price: sdk.Known(55_728.35025), Source: "binance", AsOf: now}},
	}
}

// write makes a report.
func write(tb testing.TB, req sdk.ReportRequest) sdk.Report {
	tb.Helper()
	made, err := writer(tb).Write(req)
	if err != nil {
		tb.Fatal(err)
	}
	return made
}

// writer makes a writer with a disclaimer.
func writer(tb testing.TB) *report.Writer {
	tb.Helper()
	w, err := report.NewWriter("Not advice.")
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

// body returns one document of a report.
func body(tb testing.TB, r sdk.Report, format string) string {
	tb.Helper()
	d, ok := r.Document(format)
	if !ok {
		tb.Fatalf("there is no %s", format)
	}
	return string(d.Body)
}
