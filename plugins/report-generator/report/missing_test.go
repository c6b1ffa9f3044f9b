package report_test

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/service-islands/islands/sdk"
)

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
