package main

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fullRequest asks for a report with something in every part, and something unknown in most.
func fullRequest(report string) sdk.ReportRequest {
	now := time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)
	req := sdk.ReportRequest{
		Report: report, Asset: sdk.Asset{ID: "bitcoin", Symbol: "btc", Name: "Bitcoin", Rank: 1}, VsCurrency: "usd", Now: now,
		ResolvedFrom: "btc", Ambiguous: []sdk.Asset{{ID: "batcat", Symbol: "btc", MarketCap: sdk.Known(1)}},
		Quote: &sdk.Quote{
			Symbol: "btc", VsCurrency: "usd", Price: sdk.Known(160.25), MarketCap: sdk.Known(1e12), Volume24h: sdk.Known(0),
			ATH: sdk.Mark{Price: sdk.Known(200), Date: now.AddDate(-1, 0, 0)}, Source: "one", AsOf: now, Note: "a note",
		},
		Candles:    &sdk.Candles{Symbol: "btc", VsCurrency: "usd", Interval: sdk.Interval1d, Source: "two", AsOf: now},
		Global:     &sdk.Global{VsCurrency: "usd", MarketCap: sdk.Known(2e12), Source: "one", AsOf: now},
		Sentiment:  &sdk.Sentiment{Value: sdk.Known(50), Label: "Neutral", Source: "three"},
		CrossCheck: []sdk.Quote{{Symbol: "btc", VsCurrency: "usd", Price: sdk.Known(160), Source: "two"}},
		Stale:      []string{"quote"}, Warnings: []string{"a warning"},
	}
	for i := range 400 {
		price := 100 + float64(i*i%97) + float64(i)/8
		c := sdk.Candle{
			OpenTime: now.Truncate(24*time.Hour).AddDate(0, 0, i-399), Open: sdk.Known(price), High: sdk.Known(price + 2),
			Low: sdk.Known(price - 1), Close: sdk.Known(price), Volume: sdk.Known(float64(i % 13)), Closed: i < 399,
		}
		if i == 20 {
			c.Volume = sdk.Number{}
		}
		req.Candles.Items = append(req.Candles.Items, c)
	}
	return req
}

// TestTheWireChangesNothing makes the same reports directly and through gRPC.
func TestTheWireChangesNothing(t *testing.T) {
	direct := initialized(t, nil)
	remote, end, err := process.Loopback(manifest(), newGenerator())
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	if err := remote.Initialize(t.Context(), sdk.Config{Name: "report-generator"}); err != nil {
		t.Fatal(err)
	}
	for _, spec := range direct.Reports() {
		want, err := direct.Report(t.Context(), fullRequest(spec.Name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := remote.Report(t.Context(), fullRequest(spec.Name))
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range want.Documents {
			other, ok := got.Document(document.Format)
			if !ok || !bytes.Equal(document.Body, other.Body) || document.ContentType != other.ContentType {
				t.Errorf("%s as %s is another over the wire:\n%s\n%s", spec.Name, document.Format, document.Body, other.Body)
			}
		}
	}
	if _, err := remote.Report(t.Context(), sdk.ReportRequest{Report: "horoscope"}); !errors.Is(err, sdk.InvalidArgument) {
		t.Errorf("error for no such report is %v", err)
	}
	if _, err := remote.Report(t.Context(), sdk.ReportRequest{Report: "crypto-report"}); !errors.Is(err, sdk.Unavailable) {
		t.Errorf("error for nothing handed over is %v", err)
	}
}
