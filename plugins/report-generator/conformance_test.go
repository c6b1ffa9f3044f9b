package main

import (
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/islandtest"
)

// wholeRequest asks for a report out of everything that a host can hand over.
func wholeRequest(name string) sdk.ReportRequest {
	req := quoteRequest()
	req.Report, req.Now, req.ResolvedFrom = name, req.Now.Add(9*time.Hour), "btc"
	req.Ambiguous = []sdk.Asset{{ID: "batcat", Symbol: "btc", Rank: 3021}}
	req.Quote.AsOf, req.Quote.Change24h, req.Quote.MarketCap = req.Now, sdk.Known(-1.5), sdk.Known(1e12)
	today := req.Now.Truncate(24 * time.Hour)
	req.Candles = &sdk.Candles{ID: "bitcoin", Symbol: "btc", Interval: sdk.Interval1d, VsCurrency: "usd", Source: "somewhere", AsOf: req.Now}
	for i := range 400 {
		price := 100 + float64((i*37)%50) + float64(i)/4
		req.Candles.Items = append(req.Candles.Items, sdk.Candle{
			OpenTime: today.AddDate(0, 0, i-399), Open: sdk.Known(price), High: sdk.Known(price + 3), Low: sdk.Known(price - 3),
			Close: sdk.Known(price + 1), Volume: sdk.Known(1000), Closed: i < 399,
		})
	}
	req.Global = &sdk.Global{
		VsCurrency: "usd", MarketCap: sdk.Known(2.5e12), Source: "somewhere", AsOf: req.Now,
		Dominance: map[string]sdk.Number{"btc": sdk.Known(57), "eth": sdk.Known(11), "sol": sdk.Known(3), "xrp": sdk.Known(2)},
	}
	req.Sentiment = &sdk.Sentiment{Value: sdk.Known(22), Label: "Extreme Fear", Source: "somewhere", AsOf: req.Now}
	req.CrossCheck = []sdk.Quote{{Symbol: "btc", VsCurrency: "usd", Price: sdk.Known(1.01), Source: "elsewhere", AsOf: req.Now}}
	req.Stale, req.Warnings = []string{"global"}, []string{"no source gave a part"}
	return req
}

func TestConformance(t *testing.T) {
	var requests []sdk.ReportRequest
	for _, spec := range newGenerator().Reports() {
		bare := quoteRequest()
		bare.Report = spec.Name
		requests = append(requests, wholeRequest(spec.Name))
		if !spec.Needs.Quote {
			continue
		}
		if _, err := initialized(t, nil).Report(t.Context(), bare); err == nil {
			requests = append(requests, bare)
		}
	}
	islandtest.Run(t, islandtest.Subject{
		Manifest:       manifest(),
		New:            func(testing.TB) sdk.IslandComponent { return newGenerator() },
		ReportRequests: requests,
	})
}
