package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/service-islands/islands/plugins/report-generator/report"
	"github.com/service-islands/islands/sdk"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestGolden(t *testing.T) {
	for _, name := range []string{report.CryptoReport, report.TechnicalAnalysis} {
		req := request()
		req.Report = name
		made := write(t, req)
		for _, format := range []string{"json", "md", "html"} {
			t.Run(name+"."+format, func(t *testing.T) {
				got := []byte(body(t, made, format))
				if format == "json" {
					var indented bytes.Buffer
					if err := json.Indent(&indented, got, "", "  "); err != nil {
						t.Fatal(err)
					}
					got = append(indented.Bytes(), '\n')
				}
				path := filepath.Join("testdata", name+"."+format)
				if *update {
					if err := os.WriteFile(path, got, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), string(got)); diff != "" {
					t.Errorf("run with -update if this is meant:\n%s", diff)
				}
			})
		}
	}
}

// commonKeys are the documented keys that both reports have, with those of nested objects behind a dot. What an indicator
// says may be a number or an object, so that its keys are not among them.
var commonKeys = []string{
	"id", "symbol", "name", "vs_currency", "generated_at", "method_version",
	"indicators.{rsi_14 macd_12_26_9 sma_20 sma_50 sma_200 ema_12 ema_26 bollinger_20_2 atr_14 adx_14 stoch_rsi obv vwap}.{params value signal samples}",
	"volatility.{realised_7d realised_30d max_drawdown_30d max_drawdown_90d max_drawdown_365d}",
	"levels.{support resistance}", "levels.pivots.{pivot r1 r2 r3 s1 s2 s3}",
	"verdict.{score label confidence reasons}",
	"provenance.{quote candles}.{source as_of stale}",
	"warnings", "disclaimer",
}

// cryptoKeys are the keys of a crypto report alone, technicalKeys those of a technical analysis.
var (
	cryptoKeys = []string{
		"resolved_from", "ambiguous",
		"market.{price change_1h change_24h change_7d change_30d change_1y high_24h low_24h volume_24h market_cap volume_to_market_cap fully_diluted_valuation circulating_supply total_supply max_supply dominance rank}",
		"market.{ath atl}.{price date change}",
		"sentiment.{value label as_of}",
		"provenance.{global sentiment}.{source as_of stale}",
		"cross_check.{sources deviation_bps}",
	}
	technicalKeys = []string{"interval"}
)

// expand writes out the braces of a key.
func expand(key string) []string {
	before, rest, ok := strings.Cut(key, "{")
	if !ok {
		return []string{key}
	}
	names, after, _ := strings.Cut(rest, "}")
	var out []string
	for _, name := range strings.Fields(names) {
		out = append(out, expand(before+name+after)...)
	}
	return out
}

// keysOf lists the keys of an object, besides those of params and value.
func keysOf(prefix string, object map[string]any) []string {
	var out []string
	for name, value := range object {
		inner, nested := value.(map[string]any)
		if nested && name != "params" && name != "value" {
			out = append(out, keysOf(prefix+name+".", inner)...)
		} else {
			out = append(out, prefix+name)
		}
	}
	return out
}

func TestKeysAreAlwaysThoseDocumented(t *testing.T) {
	nothingElse := func(r *sdk.ReportRequest) {
		*r = sdk.ReportRequest{Report: r.Report, Asset: sdk.Asset{Symbol: "btc"}, VsCurrency: "usd", Now: now, Quote: r.Quote, Candles: r.Candles}
	}
	tests := []struct {
		name string
		edit func(r *sdk.ReportRequest)
	}{
		{"everything", func(*sdk.ReportRequest) {}},
		{"quote alone", func(r *sdk.ReportRequest) { nothingElse(r); r.Candles = nil }},
		{"price alone", func(r *sdk.ReportRequest) {
			nothingElse(r)
			r.Candles, r.Quote = nil, &sdk.Quote{Price: sdk.Known(1)}
		}},
		{"candles alone", func(r *sdk.ReportRequest) { nothingElse(r); r.Quote = nil }},
		{"one candle", func(r *sdk.ReportRequest) { r.Candles = series(2) }},
		{"closes only", func(r *sdk.ReportRequest) { r.Candles = edited(series(400), closesOnly) }},
	}
	for _, kind := range []struct {
		name string
		keys []string
	}{
		{report.CryptoReport, slices.Concat(commonKeys, cryptoKeys)},
		{report.TechnicalAnalysis, slices.Concat(commonKeys, technicalKeys)},
	} {
		var want []string
		for _, key := range kind.keys {
			want = append(want, expand(key)...)
		}
		slices.Sort(want)
		for _, test := range tests {
			t.Run(kind.name+"/"+test.name, func(t *testing.T) {
				req := request()
				req.Report = kind.name
				test.edit(&req)
				made, err := writer(t).Write(req)
				if kind.name == report.TechnicalAnalysis && req.Candles == nil {
					if !errors.Is(err, sdk.Unavailable) {
						t.Fatalf("without candles the error is %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				var object map[string]any
				if err := json.Unmarshal([]byte(body(t, made, "json")), &object); err != nil {
					t.Fatal(err)
				}
				got := keysOf("", object)
				slices.Sort(got)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestSameRequestSameBytes(t *testing.T) {
	w := writer(t)
	want := write(t, request())
	same := func(a, b sdk.Document) bool { return a.Format == b.Format && bytes.Equal(a.Body, b.Body) }
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 5 {
				got, err := w.Write(request())
				if err != nil || !slices.EqualFunc(want.Documents, got.Documents, same) {
					t.Errorf("another report, error %v", err)
				}
			}
		})
	}
	wait.Wait()
}

func TestRequestIsNotChanged(t *testing.T) {
	req, want := request(), request()
	slices.Reverse(req.Candles.Items)
	slices.Reverse(want.Candles.Items)
	req.Warnings, want.Warnings = make([]string, 1, 9), make([]string, 1, 9)
	write(t, req)
	same := cmp.AllowUnexported(sdk.Number{})
	if diff := cmp.Diff(want, req, same); diff != "" {
		t.Error(diff)
	}
}

func TestErrors(t *testing.T) {
	tests := []struct {
		name string
		edit func(r *sdk.ReportRequest)
		want sdk.Kind
	}{
		{"unknown report", func(r *sdk.ReportRequest) { r.Report = "horoscope" }, sdk.InvalidArgument},
		{"nothing", func(r *sdk.ReportRequest) { r.Quote, r.Candles = nil, nil }, sdk.Unavailable},
		{"nothing at all", func(r *sdk.ReportRequest) { *r = sdk.ReportRequest{Report: r.Report} }, sdk.Unavailable},
		{"a quote without a price", func(r *sdk.ReportRequest) { r.Quote.Price, r.Candles = sdk.Number{}, nil }, sdk.Unavailable},
		{"candles that are all open", func(r *sdk.ReportRequest) {
			r.Quote, r.Candles = nil, edited(series(3), func(_ int, c *sdk.Candle) { c.Closed = false })
		}, sdk.Unavailable},
		{"no symbol", func(r *sdk.ReportRequest) { r.Asset.Symbol = "" }, sdk.InvalidArgument},
		{"no currency", func(r *sdk.ReportRequest) { r.VsCurrency = "" }, sdk.InvalidArgument},
		{"no time", func(r *sdk.ReportRequest) { r.Now = time.Time{} }, sdk.InvalidArgument},
		{"too many candles", func(r *sdk.ReportRequest) { r.Candles.Items = make([]sdk.Candle, 5001) }, sdk.InvalidArgument},
		{"too many others", func(r *sdk.ReportRequest) { r.Ambiguous = make([]sdk.Asset, 1001) }, sdk.InvalidArgument},
		{"too many quotes", func(r *sdk.ReportRequest) { r.CrossCheck = make([]sdk.Quote, 1001) }, sdk.InvalidArgument},
		{"too many warnings", func(r *sdk.ReportRequest) { r.Warnings = make([]string, 1001) }, sdk.InvalidArgument},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			req := request()
			test.edit(&req)
			made, err := writer(t).Write(req)
			if !errors.Is(err, test.want) || len(made.Documents) != 0 {
				t.Errorf("error is %v, want %v; %d documents", err, test.want, len(made.Documents))
			}
		})
	}
}
