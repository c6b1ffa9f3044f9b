package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"math"
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

// shape is what the tests read of a report.
type shape struct {
	Name   *string
	Market struct {
		Price, Dominance sdk.Number
		Volume24h        sdk.Number `json:"volume_24h"`
		VolumeToCap      sdk.Number `json:"volume_to_market_cap"`
	}
	Indicators map[string]struct {
		Value   json.RawMessage
		Signal  *string
		Samples int
	}
	Volatility map[string]sdk.Number
	Levels     struct {
		Support, Resistance []sdk.Number
		Pivots              map[string]sdk.Number
	}
	Sentiment struct{ Value sdk.Number }
	Verdict   struct {
		Score, Confidence sdk.Number
		Label             string
		Reasons           []string
	}
	Provenance map[string]struct {
		Source *string
		Stale  *bool
	}
	CrossCheck struct {
		Sources   []string
		Deviation sdk.Number `json:"deviation_bps"`
	} `json:"cross_check"`
	Warnings []string
}

// read makes a report and reads its JSON.
func read(tb testing.TB, req sdk.ReportRequest) shape {
	tb.Helper()
	var out shape
	if err := json.Unmarshal([]byte(body(tb, write(tb, req), "json")), &out); err != nil {
		tb.Fatal(err)
	}
	return out
}

// warned reports whether a warning holds all the words.
func (s shape) warned(words ...string) bool {
	return slices.ContainsFunc(s.Warnings, func(w string) bool {
		return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(w, word) })
	})
}

func TestFullReportHasNothingMissing(t *testing.T) {
	got := read(t, request())
	if len(got.Warnings) != 0 {
		t.Errorf("warnings are %q", got.Warnings)
	}
	for name, reading := range got.Indicators {
		if string(reading.Value) == "null" || reading.Samples != 399 {
			t.Errorf("%s is %s of %d days", name, reading.Value, reading.Samples)
		}
	}
	if got.Verdict.Confidence.Or(0) != 1 {
		t.Errorf("confidence is %v", got.Verdict.Confidence)
	}
	if got.Market.Dominance.Or(0) != 50 || got.Market.VolumeToCap.Or(0) != 0.02 {
		t.Errorf("dominance is %v, volume to market cap %v", got.Market.Dominance, got.Market.VolumeToCap)
	}
	if bps := got.CrossCheck.Deviation.Or(0); math.Abs(bps-5) > 0.01 || !slices.Equal(got.CrossCheck.Sources, []string{"coingecko", "binance"}) {
		t.Errorf("cross check is %+v", got.CrossCheck)
	}
}

func TestWhatIsMissingIsNullWithAWarning(t *testing.T) {
	tests := []struct {
		name  string
		edit  func(r *sdk.ReportRequest)
		null  func(s shape) bool
		words []string
	}{
		{
			"quote", func(r *sdk.ReportRequest) { r.Quote = nil },
			func(s shape) bool { return !s.Market.Price.IsKnown() && s.Provenance["quote"].Stale == nil },
			[]string{"no quote"},
		},
		{
			"candles", func(r *sdk.ReportRequest) { r.Candles = nil },
			func(s shape) bool {
				return string(s.Indicators["rsi_14"].Value) == "null" && !s.Verdict.Score.IsKnown() && s.Verdict.Label == "neutral" &&
					s.Verdict.Confidence == sdk.Known(0) && len(s.Verdict.Reasons) == 1 && !s.Volatility["realised_7d"].IsKnown()
			},
			[]string{"no daily candles"},
		},
		{
			"global", func(r *sdk.ReportRequest) { r.Global = nil },
			func(s shape) bool { return !s.Market.Dominance.IsKnown() },
			[]string{"dominance"},
		},
		{
			"global in another currency", func(r *sdk.ReportRequest) { r.Global.VsCurrency = "eur" },
			func(s shape) bool { return !s.Market.Dominance.IsKnown() && s.Provenance["global"].Source == nil },
			[]string{"in eur, not usd"},
		},
		{
			"market capitalisation of nothing", func(r *sdk.ReportRequest) { r.Quote.MarketCap = sdk.Known(0) },
			func(s shape) bool { return !s.Market.VolumeToCap.IsKnown() },
			[]string{"volume_to_market_cap"},
		},
		{
			"sentiment", func(r *sdk.ReportRequest) { r.Sentiment = nil },
			func(s shape) bool { return !s.Sentiment.Value.IsKnown() },
			[]string{"no sentiment"},
		},
		{
			"sentiment off the scale", func(r *sdk.ReportRequest) { r.Sentiment.Value = sdk.Known(101) },
			func(s shape) bool { return !s.Sentiment.Value.IsKnown() },
			[]string{"sentiment", "0 to 100"},
		},
		{
			"second source", func(r *sdk.ReportRequest) { r.CrossCheck = nil },
			func(s shape) bool { return !s.CrossCheck.Deviation.IsKnown() && len(s.CrossCheck.Sources) == 0 },
			[]string{"not cross-checked"},
		},
		{
			"second source is the first", func(r *sdk.ReportRequest) { r.CrossCheck[0].Source = "coingecko" },
			func(s shape) bool { return !s.CrossCheck.Deviation.IsKnown() },
			[]string{"not cross-checked"},
		},
		{
			"figures of the quote", func(r *sdk.ReportRequest) { r.Quote.Volume24h, r.Quote.ATH = sdk.Number{}, sdk.Mark{} },
			func(s shape) bool { return !s.Market.Volume24h.IsKnown() },
			[]string{"coingecko", "volume_24h, volume_to_market_cap, ath"},
		},
		{
			"price below zero", func(r *sdk.ReportRequest) { r.Quote.Price = sdk.Known(-1) },
			func(s shape) bool { return !s.Market.Price.IsKnown() },
			[]string{"no usable price"},
		},
		{
			"quote in another currency", func(r *sdk.ReportRequest) { r.Quote.VsCurrency = "eur" },
			func(s shape) bool { return !s.Market.Price.IsKnown() },
			[]string{"in eur, not usd"},
		},
		{
			"quote of another symbol", func(r *sdk.ReportRequest) { r.Quote.Symbol = "eth" },
			func(s shape) bool { return !s.Market.Price.IsKnown() },
			[]string{"of eth, not btc"},
		},
		{
			"candles of another interval", func(r *sdk.ReportRequest) { r.Candles.Interval = sdk.Interval4h },
			func(s shape) bool {
				return s.Indicators["rsi_14"].Samples == 0 && s.Provenance["candles"].Source == nil
			},
			[]string{`"4h"`},
		},
		{
			"candles in another currency", func(r *sdk.ReportRequest) { r.Candles.VsCurrency = "eur" },
			func(s shape) bool { return s.Indicators["rsi_14"].Samples == 0 },
			[]string{"in eur, not usd"},
		},
		{
			"candles of another symbol", func(r *sdk.ReportRequest) { r.Candles.Symbol = "eth" },
			func(s shape) bool { return s.Indicators["rsi_14"].Samples == 0 },
			[]string{"of eth, not btc"},
		},
		{
			"all but the closes", func(r *sdk.ReportRequest) { r.Candles = edited(series(400), closesOnly) },
			func(s shape) bool {
				for _, name := range []string{"atr_14", "adx_14", "obv", "vwap"} {
					if string(s.Indicators[name].Value) != "null" || s.Indicators[name].Samples != 0 {
						return false
					}
				}
				for _, name := range []string{"rsi_14", "stoch_rsi", "sma_200", "bollinger_20_2", "macd_12_26_9"} {
					if string(s.Indicators[name].Value) == "null" {
						return false
					}
				}
				return !s.Levels.Pivots["pivot"].IsKnown() && len(s.Levels.Support) == 0 && s.Verdict.Confidence.Or(1) < 1
			},
			[]string{"no high and low", "atr_14"},
		},
		{
			"volumes", func(r *sdk.ReportRequest) {
				r.Candles = edited(series(400), func(_ int, c *sdk.Candle) { c.Volume = sdk.Number{} })
			},
			func(s shape) bool {
				return string(s.Indicators["obv"].Value) == "null" && string(s.Indicators["atr_14"].Value) != "null"
			},
			[]string{"no volume", "obv"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			req := request()
			test.edit(&req)
			got := read(t, req)
			if !test.null(got) {
				t.Errorf("something is not as it should be: %+v", got)
			}
			if !got.warned(test.words...) {
				t.Errorf("no warning holds %q: %q", test.words, got.Warnings)
			}
		})
	}
}

func TestStalePartsAreSaidToBe(t *testing.T) {
	req := request()
	req.Stale = []string{"quote", "candles", "global", "sentiment"}
	got := read(t, req)
	for _, words := range []string{
		"quote is stale (as of 2026-03-14T15:09:06Z)", "candles are stale", "global figures are stale", "sentiment is stale",
	} {
		if !got.warned(words) {
			t.Errorf("no warning %q in %q", words, got.Warnings)
		}
	}
	for part, origin := range got.Provenance {
		if origin.Stale == nil || !*origin.Stale {
			t.Errorf("%s is not stale", part)
		}
	}
	if got.Verdict.Confidence.Or(1) != 0.5 {
		t.Errorf("confidence is %v", got.Verdict.Confidence)
	}
}

func TestDeviationWarns(t *testing.T) {
	req := request()
	req.Quote.Price = sdk.Known(1000)
	other := func(source string, price float64) sdk.Quote {
		return sdk.Quote{Symbol: "btc", VsCurrency: "usd", Source: source, Price: sdk.Known(price)}
	}
	req.CrossCheck = []sdk.Quote{
		other("near", 1010), other("far", 980),
		{Source: "mute", Symbol: "btc", VsCurrency: "usd"},
		{Source: "foreign", Symbol: "btc", VsCurrency: "eur", Price: sdk.Known(5)},
	}
	got := read(t, req)
	if got.CrossCheck.Deviation.Or(0) != 200 || !slices.Equal(got.CrossCheck.Sources, []string{"coingecko", "near", "far"}) {
		t.Errorf("cross check is %+v", got.CrossCheck)
	}
	if got.warned("near says") || !got.warned("far says 980 usd, 200 basis points") || !got.warned("mute") || !got.warned("foreign") {
		t.Errorf("warnings are %q", got.Warnings)
	}
}

func TestHostWarningsAndNotesAreKeptOnce(t *testing.T) {
	req := request()
	req.Warnings = []string{"b", "a", "b", ""}
	req.Quote.Note, req.Candles.Note = "prices are in USDT", "thin market"
	want := []string{"b", "a", "quote: prices are in USDT", "candles: thin market"}
	if got := read(t, req); !slices.Equal(got.Warnings, want) {
		t.Errorf("warnings are %q", got.Warnings)
	}
}

func TestNameComesFromTheQuoteWhenTheAssetHasNone(t *testing.T) {
	req := request()
	req.Asset.Name = ""
	if got := read(t, req); got.Name == nil || *got.Name != "Bitcoin" {
		t.Errorf("name is %v", got.Name)
	}
}

func TestNumbersHaveNoExponent(t *testing.T) {
	for _, factor := range []float64{1e-12, 1e12} {
		req := request()
		req.Quote.Price = sdk.Known(req.Quote.Price.Or(0) * factor)
		req.Candles = edited(series(400), func(_ int, c *sdk.Candle) {
			for _, n := range []*sdk.Number{&c.Open, &c.High, &c.Low, &c.Close, &c.Volume} {
				*n = sdk.Known(n.Or(0) * factor)
			}
		})
		d := json.NewDecoder(strings.NewReader(body(t, write(t, req), "json")))
		d.UseNumber()
		for token, err := d.Token(); err == nil; token, err = d.Token() {
			if n, ok := token.(json.Number); ok && strings.ContainsAny(n.String(), "eE") {
				t.Errorf("%s is written with an exponent", n)
			}
		}
	}
}

// TestLevelsAreOnTheirSide moves the quote through the market.
func TestLevelsAreOnTheirSide(t *testing.T) {
	for _, price := range []float64{1, 30_000, 45_000, 1e9} {
		req := request()
		req.Quote.Price = sdk.Known(price)
		got := read(t, req)
		for i, level := range got.Levels.Support {
			if level.Or(math.Inf(1)) >= price || i > 0 && level.Or(0) >= got.Levels.Support[i-1].Or(0) {
				t.Errorf("price %v: support is %v", price, got.Levels.Support)
			}
		}
		for i, level := range got.Levels.Resistance {
			if level.Or(0) <= price || i > 0 && level.Or(0) <= got.Levels.Resistance[i-1].Or(0) {
				t.Errorf("price %v: resistance is %v", price, got.Levels.Resistance)
			}
		}
		if (len(got.Levels.Support) == 0) != got.warned("no support") || (len(got.Levels.Resistance) == 0) != got.warned("no resistance") {
			t.Errorf("price %v: levels are %+v, warnings %q", price, got.Levels, got.Warnings)
		}
	}
}

func TestAnOldQuoteDoesNotDivideTheLevels(t *testing.T) {
	req := request()
	req.Quote.Price, req.Quote.AsOf = sdk.Known(1), now.AddDate(0, 0, -30)
	if got := read(t, req); len(got.Levels.Support) == 0 {
		t.Error("levels follow a quote that is older than the candles")
	}
}
