package analysis_test

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/service-islands/islands/plugins/report-generator/analysis"
	"github.com/service-islands/islands/sdk"
)

// now is the time of every test, nine hours into a day.
var now = time.Date(2026, 3, 14, 9, 0, 0, 0, time.UTC)

// candlesOf makes one closed daily candle per close, the last for the day before now.
func candlesOf(closes ...float64) *sdk.Candles {
	out := &sdk.Candles{Symbol: "btc", VsCurrency: "usd", Interval: sdk.Interval1d}
	first := now.Truncate(24*time.Hour).AddDate(0, 0, -len(closes))
	for i, price := range closes {
		n := sdk.Known(price)
		out.Items = append(out.Items, sdk.Candle{
			OpenTime: first.AddDate(0, 0, i), Open: n, High: n, Low: n, Close: n, Volume: sdk.Known(1), Closed: true,
		})
	}
	return out
}

// ramp makes n prices from first on, each higher by step than the one before.
func ramp(n int, first, step float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = first + float64(i)*step
	}
	return out
}

// of analyses candles.
func of(c *sdk.Candles) analysis.Technical {
	return analysis.Of(analysis.SeriesOf(c, "btc", "usd", now), sdk.Number{}, false)
}

func TestSeries(t *testing.T) {
	tests := []struct {
		name   string
		edit   func(c *sdk.Candles)
		closes []float64
		words  []string // Of one warning each.
	}{
		{"as it should be", func(*sdk.Candles) {}, []float64{1, 2, 3, 4}, nil},
		{"the open day does not count", func(c *sdk.Candles) {
			c.Items = append(c.Items, sdk.Candle{OpenTime: now.Truncate(24 * time.Hour), Close: sdk.Known(9)})
		}, []float64{1, 2, 3, 4}, nil},
		{"nor when it is called closed", func(c *sdk.Candles) {
			c.Items = append(c.Items, sdk.Candle{OpenTime: now.Truncate(24 * time.Hour), Close: sdk.Known(9), Closed: true})
		}, []float64{1, 2, 3, 4}, nil},
		{"nor a past day that is called open", func(c *sdk.Candles) { c.Items[0].Closed = false }, []float64{2, 3, 4}, nil},
		{"any order", func(c *sdk.Candles) { slices.Reverse(c.Items) }, []float64{1, 2, 3, 4}, nil},
		{"twice", func(c *sdk.Candles) {
			again := c.Items[1]
			again.Close, again.High = sdk.Known(8), sdk.Known(8)
			c.Items = append(c.Items, again)
		}, []float64{1, 8, 3, 4}, []string{"1 day was given more than once"}},
		{
			"a hole", func(c *sdk.Candles) { c.Items = slices.Delete(c.Items, 1, 3) },
			[]float64{1, 4},
			[]string{"2 days are missing among the daily candles, the first on 2026-03-11"},
		},
		{
			"no close", func(c *sdk.Candles) { c.Items[3].Close = sdk.Number{} },
			[]float64{1, 2, 3},
			[]string{"1 daily candle was left out for want of a positive close"},
		},
		{"close of nothing or less", func(c *sdk.Candles) {
			c.Items[0].Close, c.Items[1].Close = sdk.Known(0), sdk.Known(-1)
		}, []float64{3, 4}, []string{"2 daily candles were left out"}},
		{
			"close outside of its day", func(c *sdk.Candles) { c.Items[3].High = sdk.Known(3.5) },
			[]float64{1, 2, 3, 4},
			[]string{"1 candle holds a figure that cannot be", "no high and low"},
		},
		{
			"volume below nothing", func(c *sdk.Candles) { c.Items[0].Volume = sdk.Known(-1) },
			[]float64{1, 2, 3, 4},
			[]string{"1 candle holds a figure that cannot be", "only the newest 3 of 4 daily candles have a volume"},
		},
		{"outdated", func(c *sdk.Candles) { c.Items = c.Items[:2] }, []float64{1, 2}, []string{"ended at 2026-03-12T00:00:00Z"}},
		{"other interval", func(c *sdk.Candles) { c.Interval = sdk.Interval1w }, nil, []string{`"1w"`}},
		{"no candle", func(c *sdk.Candles) { c.Items = nil }, nil, []string{"no closed daily candle"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := candlesOf(1, 2, 3, 4)
			test.edit(c)
			s := analysis.SeriesOf(c, "BTC", "USD", now)
			var closes []float64
			for _, d := range s.Days {
				closes = append(closes, d.Close)
			}
			if !slices.Equal(closes, test.closes) {
				t.Errorf("closes are %v, want %v", closes, test.closes)
			}
			if len(s.Warnings) != len(test.words) {
				t.Errorf("warnings are %q", s.Warnings)
			}
			for i := range min(len(s.Warnings), len(test.words)) {
				if !strings.Contains(s.Warnings[i], test.words[i]) {
					t.Errorf("warning %q lacks %q", s.Warnings[i], test.words[i])
				}
			}
			if s.Outdated != (test.name == "outdated") {
				t.Errorf("outdated is %t", s.Outdated)
			}
		})
	}
}

func TestEveryLengthOfHistory(t *testing.T) {
	needs := map[string]int{
		"rsi_14": 15, "macd_12_26_9": 34, "sma_20": 20, "sma_50": 50, "sma_200": 200, "ema_12": 12, "ema_26": 26,
		"bollinger_20_2": 20, "atr_14": 14, "adx_14": 28, "stoch_rsi": 32, "obv": 1, "vwap": 20,
		"realised_7d": 8, "realised_30d": 31, "max_drawdown_30d": 30, "max_drawdown_90d": 90, "max_drawdown_365d": 365,
	}
	prices := ramp(400, 100, 1)
	for i := range prices {
		prices[i] += float64(i * i % 17)
	}
	for n := 1; n <= len(prices); n++ {
		got := of(candlesOf(prices[:n]...))
		warnings := strings.Join(got.Warnings, "\n")
		check := func(name string, known bool) {
			if known != (n >= needs[name]) {
				t.Errorf("%d days: %s known is %t", n, name, known)
			}
			if !known && !strings.Contains(warnings, name) {
				t.Errorf("%d days: no warning names %s: %q", n, name, got.Warnings)
			}
		}
		ready := 0
		for _, r := range got.Indicators.All() {
			check(r.Name, r.Value.Known())
			if r.Samples != n {
				t.Errorf("%d days: %s saw %d", n, r.Name, r.Samples)
			}
			if r.Signal != "" {
				ready++
			}
			if r.Signal != "" && !r.Value.Known() {
				t.Errorf("%d days: %s has a signal and no value", n, r.Name)
			}
		}
		for _, f := range got.Volatility.Figures() {
			check(f.Name, f.Number.IsKnown())
		}
		if want := float64(ready) / 11; got.Verdict.Confidence.Or(-1) != want {
			t.Errorf("%d days: confidence is %v, want %v", n, got.Verdict.Confidence, want)
		}
	}
}

func TestMarketsOfOneKind(t *testing.T) {
	falling := ramp(300, 1000, -3)
	tests := []struct {
		name   string
		closes []float64
		label  string
		score  float64
		rsi    float64
	}{
		// A steady climb: the averages and the trend say buy; the RSI stands at 100 and the MACD on its signal line.
		{"rising", ramp(300, 100, 1), "strong_buy", (1 + 1.0/5) / 2, 100},
		{"falling", falling, "strong_sell", (-1 - 1.0/5) / 2, 0},
		{"standing still", slices.Repeat([]float64{0.1}, 300), "neutral", 0, 50},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := of(candlesOf(test.closes...))
			if got.Indicators.RSI14.Value.Number.Or(-1) != test.rsi {
				t.Errorf("RSI is %v", got.Indicators.RSI14.Value.Number)
			}
			if got.Verdict.Label != test.label {
				t.Errorf("label is %s, score %v: %q", got.Verdict.Label, got.Verdict.Score, got.Verdict.Reasons)
			}
			if got.Verdict.Score.Or(-9) != test.score {
				t.Errorf("score is %v, want %v: %q", got.Verdict.Score, test.score, got.Verdict.Reasons)
			}
			if len(got.Verdict.Reasons) != 2+11 {
				t.Errorf("reasons are %q", got.Verdict.Reasons)
			}
		})
	}
}

func TestLabels(t *testing.T) {
	tests := []struct {
		score float64
		want  string
	}{
		{-1, "strong_sell"},
		{-0.50001, "strong_sell"},
		{-0.5, "sell"},
		{-0.10001, "sell"},
		{-0.1, "neutral"},
		{0, "neutral"},
		{0.1, "neutral"},
		{0.10001, "buy"},
		{0.5, "buy"},
		{0.50001, "strong_buy"},
		{1, "strong_buy"},
	}
	for _, test := range tests {
		if got := analysis.LabelOf(test.score); got != test.want {
			t.Errorf("%v is %s, want %s", test.score, got, test.want)
		}
	}
}

func TestHolesMakeShortVolatilityUnknown(t *testing.T) {
	c := candlesOf(ramp(60, 100, 1)...)
	c.Items = slices.Delete(c.Items, 40, 41) // Twenty days ago.
	got := of(c)
	if !got.Volatility.Realised7d.IsKnown() || got.Volatility.Realised30d.IsKnown() || !got.Volatility.MaxDrawdown30d.IsKnown() {
		t.Errorf("volatility is %+v", got.Volatility)
	}
}

func TestRangesRestOnTheNewestUnbrokenRun(t *testing.T) {
	c := candlesOf(ramp(60, 100, 1)...)
	c.Items[20].High = sdk.Number{}
	got := of(c)
	if got.Indicators.ATR14.Samples != 39 || got.Indicators.OBV.Samples != 60 || got.Indicators.VWAP.Samples != 39 {
		t.Errorf("days seen are %d, %d and %d", got.Indicators.ATR14.Samples, got.Indicators.OBV.Samples, got.Indicators.VWAP.Samples)
	}
	if !slices.ContainsFunc(got.Warnings, func(w string) bool { return strings.Contains(w, "newest 39 of 60") }) {
		t.Errorf("warnings are %q", got.Warnings)
	}
}

func TestFiguresBeyondBelief(t *testing.T) {
	prices := slices.Repeat([]float64{math.MaxFloat64, 5e-324}, 200)
	got := of(candlesOf(prices...))
	text, err := json.Marshal(got.Indicators)
	if err != nil || !json.Valid(text) {
		t.Errorf("%s: %v", text, err)
	}
}

func TestSignals(t *testing.T) {
	slide := append(slices.Repeat([]float64{100, 101}, 30), ramp(15, 99, -4)...)
	soar := append(slices.Repeat([]float64{100, 101}, 30), ramp(15, 102, 4)...)
	tests := []struct {
		name    string
		closes  []float64
		reading func(i analysis.Indicators) analysis.Reading
		want    analysis.Signal
	}{
		{"rsi low and falling waits", slide, func(i analysis.Indicators) analysis.Reading { return i.RSI14 }, analysis.Neutral},
		{"rsi low and rising buys", append(slices.Clone(slide), 43.5), func(i analysis.Indicators) analysis.Reading { return i.RSI14 }, analysis.Buy},
		{"rsi high and rising waits", soar, func(i analysis.Indicators) analysis.Reading { return i.RSI14 }, analysis.Neutral},
		{"rsi high and falling sells", append(slices.Clone(soar), 157.5), func(i analysis.Indicators) analysis.Reading { return i.RSI14 }, analysis.Sell},
		{"below the bands buys", append(slices.Repeat([]float64{100, 101}, 30), 90), func(i analysis.Indicators) analysis.Reading { return i.Bollinger }, analysis.Buy},
		{"above the bands sells", append(slices.Repeat([]float64{100, 101}, 30), 120), func(i analysis.Indicators) analysis.Reading { return i.Bollinger }, analysis.Sell},
		{"macd above its signal buys", soar, func(i analysis.Indicators) analysis.Reading { return i.MACD }, analysis.Buy},
		{"macd below its signal sells", slide, func(i analysis.Indicators) analysis.Reading { return i.MACD }, analysis.Sell},
		{"upward trend buys", soar, func(i analysis.Indicators) analysis.Reading { return i.ADX14 }, analysis.Buy},
		{"downward trend sells", slide, func(i analysis.Indicators) analysis.Reading { return i.ADX14 }, analysis.Sell},
		{"atr says nothing", soar, func(i analysis.Indicators) analysis.Reading { return i.ATR14 }, ""},
		{"obv says nothing", soar, func(i analysis.Indicators) analysis.Reading { return i.OBV }, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := test.reading(of(candlesOf(test.closes...)).Indicators)
			if r.Signal != test.want {
				t.Errorf("signal is %q, want %q; the value is %+v", r.Signal, test.want, r.Value)
			}
		})
	}
}

func TestText(t *testing.T) {
	tests := []struct {
		f    float64
		want string
	}{
		{0, "0"},
		{math.Copysign(0, -1), "0"},
		{1, "1"},
		{-1, "-1"},
		{999.99999, "1,000"},
		{1234.5, "1,234.5"},
		{-1234567.891, "-1,234,567.89"},
		{12.34567, "12.3457"},
		{0.1, "0.1"},
		{0.000012345678, "0.0000123457"},
		{-0.5, "-0.5"},
		{1e21, "1,000,000,000,000,000,000,000"},
		{100, "100"},
		{-0.366666666, "-0.366667"},
	}
	for _, test := range tests {
		if got := analysis.Text(sdk.Known(test.f)); got != test.want {
			t.Errorf("%v is %q, want %q", test.f, got, test.want)
		}
	}
	if got := analysis.Text(sdk.Number{}); got != "n/a" {
		t.Errorf("unknown is %q", got)
	}
}

// TestOpenDaysChangeNothing appends what has not closed yet to any history.
func TestOpenDaysChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := candlesOf(rapid.SliceOfN(rapid.Float64Range(1, 100), 1, 80).Draw(t, "closes")...)
		before, err := json.Marshal(of(c))
		if err != nil {
			t.Fatal(err)
		}
		n := sdk.Known(rapid.Float64Range(1, 1e6).Draw(t, "moving"))
		c.Items = append(c.Items, sdk.Candle{
			OpenTime: now.Truncate(24 * time.Hour), High: n, Low: n, Close: n, Volume: n, Closed: rapid.Bool().Draw(t, "closed"),
		})
		after, err := json.Marshal(of(c))
		if err != nil || !bytes.Equal(before, after) {
			t.Fatalf("an open day changed the analysis (error %v):\n%s\n%s", err, before, after)
		}
	})
}

func TestScoreAndConfidenceStayInTheirRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := of(candlesOf(rapid.SliceOfN(rapid.Float64Range(1e-9, 1e9), 1, 230).Draw(t, "closes")...)).Verdict
		confidence := v.Confidence.Or(-1)
		if score, known := v.Score.Float64(); known && (score < -1 || score > 1 || analysis.LabelOf(score) != v.Label) {
			t.Fatalf("score is %v, label %s", score, v.Label)
		}
		if confidence < 0 || confidence > 1 || len(v.Reasons) == 0 {
			t.Fatalf("confidence is %v, reasons %q", confidence, v.Reasons)
		}
	})
}
