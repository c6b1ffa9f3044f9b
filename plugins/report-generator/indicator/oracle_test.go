package indicator_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/markcheno/go-talib"
	"pgregory.net/rapid"

	"github.com/service-islands/islands/plugins/report-generator/indicator"
)

// walk makes a deterministic random walk of bars. Its first bar opens and closes where its range begins, so that the
// true range of the first bar is the same with and without a close before it.
func walk(seed uint64, n int) []indicator.Bar {
	random := rand.New(rand.NewPCG(seed, 1))
	price := 100 + 900*random.Float64()
	bars := make([]indicator.Bar, n)
	for i := range bars {
		open := price
		price *= math.Exp(0.04 * random.NormFloat64())
		bars[i] = indicator.Bar{
			High:   max(open, price) * (1 + 0.02*random.Float64()),
			Low:    min(open, price) * (1 - 0.02*random.Float64()),
			Close:  price,
			Volume: 1000 * random.Float64(),
		}
	}
	return bars
}

// columns splits bars as go-talib wants them.
func columns(bars []indicator.Bar) (high, low, price, volume []float64) {
	for _, b := range bars {
		high, low, price, volume = append(high, b.High), append(low, b.Low), append(price, b.Close), append(volume, b.Volume)
	}
	return high, low, price, volume
}

// TestAgainstTALib compares every value of every indicator with go-talib. The series are long, because go-talib panics
// on short ones.
func TestAgainstTALib(t *testing.T) {
	for seed := range uint64(5) {
		bars := walk(seed, 400)
		high, low, closes, volume := columns(bars)

		fast, slow := talib.Ema(closes, 12), talib.Ema(closes, 26)
		difference := make([]float64, 0, len(closes))
		for i := 25; i < len(closes); i++ {
			difference = append(difference, fast[i]-slow[i])
		}
		signal := append(make([]float64, 25), talib.Ema(difference, 9)...)
		rsi := talib.Rsi(closes, 14)
		settled := rsi[14:]
		stochastic, smoothed := talib.StochF(settled, settled, settled, 14, 3, talib.SMA)
		_ = stochastic
		stochasticD := append(make([]float64, 14), talib.Sma(smoothed, 3)...)
		stochasticK := append(make([]float64, 14), smoothed...)
		upper, middle, lower := talib.BBands(closes, 20, 2, 2, talib.SMA)

		// go-talib skips the first true range; a bar before the first, inside its range, gives it one.
		early := append([]float64{(high[0] + low[0]) / 2}, closes...)
		atr := talib.Atr(append([]float64{early[0]}, high...), append([]float64{early[0]}, low...), early, 14)[1:]

		sma, ema := indicator.NewSMA(50), indicator.NewEMA(26)
		ours, stoch := indicator.NewRSI(14), indicator.NewStochRSI(14, 14, 3, 3)
		macd, bollinger := indicator.NewMACD(12, 26, 9), indicator.NewBollinger(20, 2)
		ownATR, adx, obv := indicator.NewATR(14), indicator.NewADX(14), &indicator.OBV{}

		wantSMA, wantADX, wantOBV := talib.Sma(closes, 50), talib.Adx(high, low, closes, 14), talib.Obv(closes, volume)
		wantPlus, wantMinus := talib.PlusDI(high, low, closes, 14), talib.MinusDI(high, low, closes, 14)
		for i, bar := range bars {
			for _, s := range []scalar{sma, ema, ours} {
				s.Update(bar.Close)
			}
			stoch.Update(bar.Close)
			macd.Update(bar.Close)
			bollinger.Update(bar.Close)
			ownATR.Update(bar)
			adx.Update(bar)
			obv.Update(bar)

			compare := func(name string, first int, want float64, got float64, ready bool) {
				t.Helper()
				if ready != (i >= first) {
					t.Fatalf("seed %d, bar %d: %s ready is %t", seed, i, name, ready)
				}
				if ready && math.Abs(got-want) > 1e-8*max(1, math.Abs(want)) {
					t.Fatalf("seed %d, bar %d: %s is %v, go-talib says %v", seed, i, name, got, want)
				}
			}
			got, ready := sma.Value()
			compare("sma", 49, wantSMA[i], got, ready)
			got, ready = ema.Value()
			compare("ema", 25, slow[i], got, ready)
			got, ready = ours.Value()
			compare("rsi", 14, rsi[i], got, ready)
			s, ready := stoch.Value()
			compare("stoch rsi k", 31, stochasticK[i], s.K, ready)
			compare("stoch rsi d", 31, stochasticD[i], s.D, ready)
			m, ready := macd.Value()
			compare("macd", 33, fast[i]-slow[i], m.MACD, ready)
			compare("macd signal", 33, signal[i], m.Signal, ready)
			compare("macd histogram", 33, fast[i]-slow[i]-signal[i], m.Histogram, ready)
			b, ready := bollinger.Value()
			compare("upper band", 19, upper[i], b.Upper, ready)
			compare("middle band", 19, middle[i], b.Middle, ready)
			compare("lower band", 19, lower[i], b.Lower, ready)
			got, ready = ownATR.Value()
			compare("atr", 13, atr[i], got, ready)
			d, ready := adx.Value()
			compare("adx", 27, wantADX[i], d.ADX, ready)
			compare("plus di", 27, wantPlus[i], d.PlusDI, ready)
			compare("minus di", 27, wantMinus[i], d.MinusDI, ready)
			got, ready = obv.Value()
			compare("obv", 0, wantOBV[i], got, ready)
		}
	}
}

// everything returns all figures after the bars, NaN for those that are not ready.
func everything(bars []indicator.Bar) []float64 {
	sma, ema, rsi := indicator.NewSMA(5), indicator.NewEMA(5), indicator.NewRSI(5)
	stoch, macd, bollinger := indicator.NewStochRSI(5, 5, 3, 3), indicator.NewMACD(3, 6, 4), indicator.NewBollinger(5, 2)
	atr, adx, obv, vwap := indicator.NewATR(5), indicator.NewADX(5), &indicator.OBV{}, indicator.NewVWAP(5)
	for _, bar := range bars {
		sma.Update(bar.Close)
		ema.Update(bar.Close)
		rsi.Update(bar.Close)
		stoch.Update(bar.Close)
		macd.Update(bar.Close)
		bollinger.Update(bar.Close)
		atr.Update(bar)
		adx.Update(bar)
		obv.Update(bar)
		vwap.Update(bar)
	}
	var out []float64
	add := func(ready bool, values ...float64) {
		for _, v := range values {
			if !ready {
				v = math.NaN()
			}
			out = append(out, v)
		}
	}
	one := func(v float64, ready bool) { add(ready, v) }
	one(sma.Value())
	one(ema.Value())
	one(rsi.Value())
	one(atr.Value())
	one(obv.Value())
	one(vwap.Value())
	s, ready := stoch.Value()
	add(ready, s.K, s.D)
	m, ready := macd.Value()
	add(ready, m.MACD, m.Signal, m.Histogram)
	b, ready := bollinger.Value()
	add(ready, b.Upper, b.Middle, b.Lower, b.Width, b.PercentB)
	d, ready := adx.Value()
	add(ready, d.ADX, d.PlusDI, d.MinusDI)
	return out
}

// drawBars draws bars as a market could make them.
func drawBars(t *rapid.T, least int) []indicator.Bar {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) indicator.Bar {
		low := rapid.Float64Range(1, 1000).Draw(t, "low")
		high := low * rapid.Float64Range(1, 1.5).Draw(t, "stretch")
		price := low + (high-low)*rapid.Float64Range(0, 1).Draw(t, "place")
		return indicator.Bar{High: high, Low: low, Close: min(price, high), Volume: rapid.Float64Range(0, 1e6).Draw(t, "volume")}
	}), least, 60).Draw(t, "bars")
}

func TestValuesStayInTheirRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bars := drawBars(t, 1)
		rsi, stoch, adx, vwap := indicator.NewRSI(5), indicator.NewStochRSI(5, 5, 3, 3), indicator.NewADX(5), indicator.NewVWAP(5)
		lowest, highest := math.Inf(1), math.Inf(-1)
		for _, bar := range bars {
			rsi.Update(bar.Close)
			stoch.Update(bar.Close)
			adx.Update(bar)
			vwap.Update(bar)
			lowest, highest = min(lowest, bar.Low), max(highest, bar.High)
			r, _ := rsi.Value()
			s, _ := stoch.Value()
			d, _ := adx.Value()
			for _, v := range []float64{r, s.K, s.D, d.ADX, d.PlusDI, d.MinusDI} {
				if !(v >= 0 && v <= 100) {
					t.Fatalf("%v is not in 0 to 100 (rsi %v, stochastic %+v, direction %+v)", v, r, s, d)
				}
			}
			if v, ready := vwap.Value(); ready && (v < lowest || v > highest) {
				t.Fatalf("VWAP %v is outside of %v to %v", v, lowest, highest)
			}
		}
	})
}

func TestScaleOfThePriceDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bars := drawBars(t, 30)
		// A power of two scales exactly, so the figures must follow exactly.
		factor := math.Ldexp(1, rapid.IntRange(-40, 40).Draw(t, "exponent"))
		scaled := make([]indicator.Bar, len(bars))
		for i, b := range bars {
			scaled[i] = indicator.Bar{High: b.High * factor, Low: b.Low * factor, Close: b.Close * factor, Volume: b.Volume}
		}
		before, after := everything(bars), everything(scaled)
		free := map[int]bool{2: true, 4: true, 6: true, 7: true, 14: true, 15: true, 16: true, 17: true, 18: true}
		for i := range before {
			want := before[i] * factor
			if free[i] {
				want = before[i]
			}
			if after[i] != want && !(math.IsNaN(after[i]) && math.IsNaN(want)) {
				t.Fatalf("figure %d is %v, want %v", i, after[i], want)
			}
		}
	})
}

func TestNothingLooksAhead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bars := drawBars(t, 2)
		cut := rapid.IntRange(1, len(bars)-1).Draw(t, "cut")
		changed := append([]indicator.Bar(nil), bars...)
		for i := cut; i < len(changed); i++ {
			changed[i] = indicator.Bar{High: 9, Low: 7, Close: 8, Volume: 1}
		}
		before, after := everything(bars[:cut]), everything(changed[:cut])
		for i := range before {
			if before[i] != after[i] && !(math.IsNaN(before[i]) && math.IsNaN(after[i])) {
				t.Fatalf("figure %d changed from %v to %v", i, before[i], after[i])
			}
		}
	})
}

func TestDistancesDoNotDependOnTheLevelOfThePrice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bars := drawBars(t, 30)
		shift := rapid.Float64Range(0, 1000).Draw(t, "shift")
		shifted := make([]indicator.Bar, len(bars))
		for i, b := range bars {
			shifted[i] = indicator.Bar{High: b.High + shift, Low: b.Low + shift, Close: b.Close + shift, Volume: b.Volume}
		}
		before, after := everything(bars), everything(shifted)
		for _, i := range []int{3, 8, 9, 10} { // ATR, MACD.
			if math.Abs(before[i]-after[i]) > 1e-6 {
				t.Fatalf("figure %d changed from %v to %v", i, before[i], after[i])
			}
		}
		for _, i := range []int{0, 1, 5, 11, 12, 13} { // The averages and bands move along.
			if math.Abs(before[i]+shift-after[i]) > 1e-6 {
				t.Fatalf("figure %d moved from %v to %v, not by %v", i, before[i], after[i], shift)
			}
		}
	})
}
