package conformance

import (
	"math"
	"time"

	"github.com/service-islands/islands/sdk"
)

// requestsFor makes a request for each report that a manifest lists, with all it needs: an invented asset whose price goes
// in waves. It is the same every time.
func requestsFor(manifest sdk.Manifest) []sdk.ReportRequest {
	now := time.Date(2025, time.June, 1, 12, 0, 0, 0, time.UTC)
	requests := make([]sdk.ReportRequest, 0, len(manifest.Reports))
	for _, spec := range manifest.Reports {
		req := sdk.ReportRequest{
			Report: spec.Name, Asset: sdk.Asset{ID: "bitcoin", Symbol: "btc", Name: "Bitcoin", Rank: 1}, VsCurrency: "usd", Now: now, ResolvedFrom: "btc",
		}
		quote := sdk.Quote{
			ID: "bitcoin", Symbol: "btc", Name: "Bitcoin", VsCurrency: "usd", Price: sdk.Known(wave(0)), Change24h: sdk.Known(1.5),
			High24h: sdk.Known(wave(0) * 1.02), Low24h: sdk.Known(wave(0) * 0.98), Volume24h: sdk.Known(3e10), MarketCap: sdk.Known(1.3e12), Rank: 1,
			Source: "verify", AsOf: now.Add(-time.Minute),
		}
		if spec.Needs.Quote {
			req.Quote = &quote
		}
		if spec.Needs.CrossCheck {
			other := quote
			other.Price, other.Source = sdk.Known(wave(0)*1.001), "verify-too"
			req.CrossCheck = []sdk.Quote{other}
		}
		if spec.Needs.Global {
			req.Global = &sdk.Global{
				VsCurrency: "usd", MarketCap: sdk.Known(2.5e12), Volume24h: sdk.Known(1e11), MarketCapChange24h: sdk.Known(-0.4),
				Dominance: map[string]sdk.Number{"btc": sdk.Known(52)}, ActiveAssets: 10_000, Markets: 900, Source: "verify", AsOf: now.Add(-time.Minute),
			}
		}
		if spec.Needs.Sentiment {
			req.Sentiment = &sdk.Sentiment{Value: sdk.Known(40), Label: "Fear", Source: "verify", AsOf: now.Add(-time.Hour)}
		}
		if n := spec.Needs.DailyCandles; n > 0 {
			req.Candles = dailyCandles(now, n)
		}
		requests = append(requests, req)
	}
	return requests
}

// wave is the price some days ago.
func wave(daysAgo int) float64 {
	day := float64(daysAgo)
	return math.Round(100*(60_000-30*day+4_000*math.Sin(day/9)+900*math.Sin(day*1.7))) / 100
}

// dailyCandles are the last n days, of which today is open.
func dailyCandles(now time.Time, n int) *sdk.Candles {
	run := sdk.Candles{ID: "bitcoin", Symbol: "btc", Interval: sdk.Interval1d, VsCurrency: "usd", Source: "verify", AsOf: now}
	today := now.Truncate(24 * time.Hour)
	for ago := n - 1; ago >= 0; ago-- {
		from, to := wave(ago+1), wave(ago)
		run.Items = append(run.Items, sdk.Candle{
			OpenTime: today.AddDate(0, 0, -ago), Open: sdk.Known(from), Close: sdk.Known(to),
			High: sdk.Known(max(from, to) * 1.01), Low: sdk.Known(min(from, to) * 0.99), Volume: sdk.Known(20_000), Closed: ago > 0,
		})
	}
	return &run
}
