package analysis

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/service-islands/islands/plugins/report-generator/indicator"
	"github.com/service-islands/islands/sdk"
)

// Reading is one indicator after the newest closed day.
type Reading struct {
	// Params of the indicator, such as its period in days.
	Params Figures `json:"params"`
	// Value is null while there are too few days.
	Value  Value  `json:"value"`
	Signal Signal `json:"signal"`
	// Samples is how many days the indicator saw.
	Samples int `json:"samples"`

	// needs is how many days it takes until there is a value.
	needs int
	// reason is the signal in words.
	reason string
}

// Indicators are all readings.
type Indicators struct {
	RSI14     Reading `json:"rsi_14"`
	MACD      Reading `json:"macd_12_26_9"`
	SMA20     Reading `json:"sma_20"`
	SMA50     Reading `json:"sma_50"`
	SMA200    Reading `json:"sma_200"`
	EMA12     Reading `json:"ema_12"`
	EMA26     Reading `json:"ema_26"`
	Bollinger Reading `json:"bollinger_20_2"`
	ATR14     Reading `json:"atr_14"`
	ADX14     Reading `json:"adx_14"`
	StochRSI  Reading `json:"stoch_rsi"`
	OBV       Reading `json:"obv"`
	VWAP      Reading `json:"vwap"`
}

// NamedReading is a reading with its key.
type NamedReading struct {
	Name string
	Reading
}

// All lists the readings in the order of their keys in the report.
func (i Indicators) All() []NamedReading {
	return []NamedReading{
		{"rsi_14", i.RSI14},
		{"macd_12_26_9", i.MACD},
		{"sma_20", i.SMA20},
		{"sma_50", i.SMA50},
		{"sma_200", i.SMA200},
		{"ema_12", i.EMA12},
		{"ema_26", i.EMA26},
		{"bollinger_20_2", i.Bollinger},
		{"atr_14", i.ATR14},
		{"adx_14", i.ADX14},
		{"stoch_rsi", i.StochRSI},
		{"obv", i.OBV},
		{"vwap", i.VWAP},
	}
}

// IndicatorsOf computes every indicator after the newest day of the series. Units are those of the price, besides RSI, ADX
// and stochastic RSI (0 to 100), OBV (units of the asset), and of the Bollinger Bands the width (percent of the middle)
// and percent_b (0 on the lower band, 1 on the upper one).
func IndicatorsOf(s Series) Indicators {
	traded := s.traded()
	ranged := s.ranged()
	both := s.run(func(d Day) bool { return d.HasRange && d.HasVolume })
	return Indicators{
		RSI14:     rsi(s.Days),
		MACD:      macd(s.Days),
		SMA20:     average("sma_20", indicator.NewSMA(20), 20, s.Days),
		SMA50:     average("sma_50", indicator.NewSMA(50), 50, s.Days),
		SMA200:    average("sma_200", indicator.NewSMA(200), 200, s.Days),
		EMA12:     average("ema_12", indicator.NewEMA(12), 12, s.Days),
		EMA26:     average("ema_26", indicator.NewEMA(26), 26, s.Days),
		Bollinger: bollinger(s.Days),
		ATR14:     atr(ranged),
		ADX14:     adx(ranged),
		StochRSI:  stochRSI(s.Days),
		OBV:       obv(traded),
		VWAP:      vwap(both),
	}
}

// params makes the parameters of a reading from name and value in turn.
func params(names []string, values ...float64) Figures {
	out := make(Figures, len(names))
	for i, name := range names {
		out[i] = Figure{Name: name, Number: sdk.Known(values[i])}
	}
	return out
}

// period is the parameters of an indicator that has only that.
func period(n float64) Figures { return params([]string{"period"}, n) }

// parts makes an object of figures, or null when one that must be there is no number.
func parts(names []string, values ...float64) Value {
	if slices.ContainsFunc(values, func(f float64) bool { return math.IsNaN(f) || math.IsInf(f, 0) }) {
		return Value{}
	}
	return Value{Parts: params(names, values...)}
}

// say adds signal and reason to a reading that has a value.
func (r Reading) say(signal Signal, format string, args ...any) Reading {
	if r.Value.Known() {
		r.Signal, r.reason = signal, fmt.Sprintf(format, args...)
	}
	return r
}

// text writes a float for people.
func text(f float64) string { return Text(sdk.Known(f)) }

// compared says how the first is to the second.
func compared(a, b float64) string {
	switch {
	case a > b:
		return "above"
	case a < b:
		return "below"
	default:
		return "at"
	}
}

// averaging is a moving average over closes.
type averaging interface {
	Update(x float64)
	Value() (float64, bool)
}

// average reads a moving average.
func average(name string, a averaging, n int, days []Day) Reading {
	for _, d := range days {
		a.Update(d.Close)
	}
	value, ready := a.Value()
	return averaged(name, value, ready, days, n)
}

// averaged compares the newest close with an average price.
func averaged(name string, value float64, ready bool, days []Day, n int) Reading {
	r := Reading{Params: period(float64(n)), Samples: len(days), needs: n}
	if !ready {
		return r
	}
	price := days[len(days)-1].Close
	r.Value.Number = sdk.Known(value)
	return r.say(signalOf(price > value, price < value), "the close %s is %s %s at %s",
		text(price), compared(price, value), name, text(value))
}

// rsi reads the RSI; the day before tells whether it rises.
func rsi(days []Day) Reading {
	r := Reading{Params: period(14), Samples: len(days), needs: 15}
	stream := indicator.NewRSI(14)
	var value, before float64
	var ready, hadBefore bool
	for _, d := range days {
		before, hadBefore = value, ready
		stream.Update(d.Close)
		value, ready = stream.Value()
	}
	if !ready {
		return r
	}
	r.Value.Number = sdk.Known(value)
	rising, falling := hadBefore && value > before, hadBefore && value < before
	trend := "steady"
	if rising {
		trend = "rising"
	} else if falling {
		trend = "falling"
	}
	return r.say(signalOf(value < 30 && rising, value > 70 && falling), "rsi_14 is %s and %s (oversold is below 30, overbought above 70)",
		text(value), trend)
}

// macd reads the MACD.
func macd(days []Day) Reading {
	r := Reading{Params: params([]string{"fast", "slow", "signal"}, 12, 26, 9), Samples: len(days), needs: 34}
	stream := indicator.NewMACD(12, 26, 9)
	for _, d := range days {
		stream.Update(d.Close)
	}
	v, ready := stream.Value()
	if !ready {
		return r
	}
	r.Value = parts([]string{"macd", "signal", "histogram"}, v.MACD, v.Signal, v.Histogram)
	return r.say(signalOf(v.MACD > v.Signal, v.MACD < v.Signal), "macd_12_26_9 is %s, %s its signal line at %s",
		text(v.MACD), compared(v.MACD, v.Signal), text(v.Signal))
}

// bollinger reads the Bollinger Bands.
func bollinger(days []Day) Reading {
	r := Reading{Params: params([]string{"period", "deviations"}, 20, 2), Samples: len(days), needs: 20}
	stream := indicator.NewBollinger(20, 2)
	for _, d := range days {
		stream.Update(d.Close)
	}
	v, ready := stream.Value()
	if !ready {
		return r
	}
	r.Value = parts([]string{"upper", "middle", "lower", "width"}, v.Upper, v.Middle, v.Lower, v.Width)
	if r.Value.Known() {
		r.Value.Parts = append(r.Value.Parts, Figure{Name: "percent_b", Number: sdk.Known(v.PercentB)})
	}
	price := days[len(days)-1].Close
	place := "within"
	if price > v.Upper {
		place = "above"
	} else if price < v.Lower {
		place = "below"
	}
	return r.say(signalOf(price < v.Lower, price > v.Upper), "the close %s is %s the Bollinger Bands of %s to %s",
		text(price), place, text(v.Lower), text(v.Upper))
}

// atr reads the average true range.
func atr(days []Day) Reading {
	r := Reading{Params: period(14), Samples: len(days), needs: 14}
	stream := indicator.NewATR(14)
	for _, d := range days {
		stream.Update(d.Bar)
	}
	if value, ready := stream.Value(); ready {
		r.Value.Number = sdk.Known(value)
	}
	return r
}

// adx reads the directional movement.
func adx(days []Day) Reading {
	r := Reading{Params: period(14), Samples: len(days), needs: 28}
	stream := indicator.NewADX(14)
	for _, d := range days {
		stream.Update(d.Bar)
	}
	v, ready := stream.Value()
	if !ready {
		return r
	}
	r.Value = parts([]string{"adx", "plus_di", "minus_di"}, v.ADX, v.PlusDI, v.MinusDI)
	trend := v.ADX > 20
	return r.say(signalOf(trend && v.PlusDI > v.MinusDI, trend && v.PlusDI < v.MinusDI),
		"adx_14 is %s (a trend is above 20), with +DI %s and -DI %s", text(v.ADX), text(v.PlusDI), text(v.MinusDI))
}

// stochRSI reads the stochastic RSI.
func stochRSI(days []Day) Reading {
	r := Reading{Params: params([]string{"rsi_period", "stoch_period", "k", "d"}, 14, 14, 3, 3), Samples: len(days), needs: 32}
	stream := indicator.NewStochRSI(14, 14, 3, 3)
	for _, d := range days {
		stream.Update(d.Close)
	}
	v, ready := stream.Value()
	if !ready {
		return r
	}
	r.Value = parts([]string{"k", "d"}, v.K, v.D)
	return r.say(signalOf(v.K < 20 && v.D < 20 && v.K > v.D, v.K > 80 && v.D > 80 && v.K < v.D),
		"stoch_rsi has K %s and D %s (oversold is below 20, overbought above 80)", text(v.K), text(v.D))
}

// obv reads the on-balance volume.
func obv(days []Day) Reading {
	r := Reading{Params: Figures{}, Samples: len(days), needs: 1}
	var stream indicator.OBV
	for _, d := range days {
		stream.Update(d.Bar)
	}
	if value, ready := stream.Value(); ready {
		r.Value.Number = sdk.Known(value)
	}
	return r
}

// vwap reads the volume-weighted average price of 20 days.
func vwap(days []Day) Reading {
	stream := indicator.NewVWAP(20)
	for _, d := range days {
		stream.Update(d.Bar)
	}
	value, ready := stream.Value()
	return averaged("vwap", value, ready, days, 20)
}

// unready explains the readings that have no value although their inputs are known, in at most two warnings.
func (i Indicators) unready() []string {
	var early, impossible []string
	for _, r := range i.All() {
		switch {
		case r.Value.Known() || r.Samples == 0:
		case r.Samples < r.needs:
			early = append(early, fmt.Sprintf("%s (%d of %d)", r.Name, r.Samples, r.needs))
		default:
			impossible = append(impossible, r.Name)
		}
	}
	var out []string
	if len(early) > 0 {
		out = append(out, "too few closed daily candles for "+strings.Join(early, ", "))
	}
	if len(impossible) > 0 {
		out = append(out, "the candles' figures allow no value for "+strings.Join(impossible, ", "))
	}
	return out
}
