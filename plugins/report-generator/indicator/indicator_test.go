package indicator_test

import (
	"math"
	"testing"

	"github.com/service-islands/islands/plugins/report-generator/indicator"
)

// publishedCloses are the closes of StockCharts' worked example of the RSI, and publishedRSI what it gives for them from
// the fifteenth on.
var (
	publishedCloses = []float64{
		44.3389, 44.0902, 44.1497, 43.6124, 44.3278, 44.8264, 45.0955, 45.4245, 45.8433, 46.0826, 45.8931,
		46.0328, 45.6140, 46.2820, 46.2820, 46.0028, 46.0328, 46.4116, 46.2222, 45.6439, 46.2122, 46.2521,
		45.7137, 46.4515, 45.7835, 45.3548, 44.0288, 44.1783, 44.2181, 44.5672, 43.4205, 42.6628, 43.1314,
	}
	publishedRSI = []float64{
		70.53, 66.32, 66.55, 69.41, 66.36, 57.97, 62.93, 63.26, 56.06, 62.38, 54.71, 50.42, 39.99, 41.46, 41.87,
		45.46, 37.30, 33.08, 37.77,
	}
)

func TestRSIEqualsPublishedValues(t *testing.T) {
	rsi := indicator.NewRSI(14)
	for i, price := range publishedCloses {
		rsi.Update(price)
		value, ready := rsi.Value()
		if ready != (i >= 14) {
			t.Fatalf("close %d: ready is %t", i, ready)
		}
		if ready && math.Abs(value-publishedRSI[i-14]) > 0.006 {
			t.Errorf("close %d: RSI is %.4f, published is %.2f", i, value, publishedRSI[i-14])
		}
	}
}

// scalar is what the indicators of one figure have in common.
type scalar interface {
	Update(x float64)
	Value() (float64, bool)
}

// last feeds the closes and returns the value after them, NaN while it is not ready.
func last(s scalar, closes ...float64) float64 {
	for _, x := range closes {
		s.Update(x)
	}
	if value, ready := s.Value(); ready {
		return value
	}
	return math.NaN()
}

func TestAveragesByHand(t *testing.T) {
	tests := []struct {
		name   string
		s      scalar
		closes []float64
		want   float64
	}{
		{"sma not ready", indicator.NewSMA(3), []float64{1, 2}, math.NaN()},
		{"sma first", indicator.NewSMA(3), []float64{1, 2, 6}, 3},
		{"sma slides", indicator.NewSMA(3), []float64{1, 2, 6, 7}, 5},
		{"sma of one", indicator.NewSMA(1), []float64{4, 9}, 9},
		{"sma of no period counts as one", indicator.NewSMA(0), []float64{4, 9}, 9},
		{"ema not ready", indicator.NewEMA(3), []float64{1, 2}, math.NaN()},
		{"ema seed", indicator.NewEMA(3), []float64{1, 2, 6}, 3},
		{"ema step", indicator.NewEMA(3), []float64{1, 2, 6, 7}, 5}, // 3 + (7-3)/2.
		{"ema second step", indicator.NewEMA(3), []float64{1, 2, 6, 7, 1}, 3},
		{"rsi not ready", indicator.NewRSI(2), []float64{1, 2}, math.NaN()},
		{"rsi only gains", indicator.NewRSI(2), []float64{1, 2, 3}, 100},
		{"rsi only losses", indicator.NewRSI(2), []float64{3, 2, 1}, 0},
		{"rsi standing still", indicator.NewRSI(2), []float64{3, 3, 3}, 50},
		{"rsi half and half", indicator.NewRSI(2), []float64{3, 4, 3}, 50},
		{"rsi three quarters", indicator.NewRSI(2), []float64{3, 6, 5}, 75},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := last(test.s, test.closes...)
			if got != test.want && !(math.IsNaN(got) && math.IsNaN(test.want)) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestBollingerByHand(t *testing.T) {
	bands := indicator.NewBollinger(4, 2)
	for _, x := range []float64{2, 4, 4, 6} { // Mean 4, population deviation √2.
		if _, ready := bands.Value(); ready {
			t.Fatal("ready too early")
		}
		bands.Update(x)
	}
	got, ready := bands.Value()
	reach := 2 * math.Sqrt2
	if !ready || got.Middle != 4 || !near(got.Upper, 4+reach) || !near(got.Lower, 4-reach) {
		t.Fatalf("bands are %+v, ready %t", got, ready)
	}
	if !near(got.Width, 100*reach/2) || !near(got.PercentB, (2+reach)/(2*reach)) {
		t.Errorf("width %v, percent b %v", got.Width, got.PercentB)
	}
	for range 4 {
		bands.Update(0.1)
	}
	got, _ = bands.Value()
	if got.Upper != 0.1 || got.Middle != 0.1 || got.Lower != 0.1 || got.Width != 0 || !math.IsNaN(got.PercentB) {
		t.Errorf("bands of a standing price are %+v", got)
	}
}

func TestBarsByHand(t *testing.T) {
	bars := []indicator.Bar{
		{High: 12, Low: 9, Close: 12, Volume: 10},
		{High: 15, Low: 13, Close: 14, Volume: 30}, // Gap up: true range 3.
		{High: 14, Low: 8, Close: 8, Volume: 5},    // True range 6.
		{High: 9, Low: 8, Close: 8, Volume: 7},     // True range 1.
	}
	atr, vwap, obv := indicator.NewATR(2), indicator.NewVWAP(2), &indicator.OBV{}
	if _, ready := obv.Value(); ready {
		t.Error("OBV is ready before the first bar")
	}
	wantATR := []float64{math.NaN(), 3, 4.5, 2.75}
	wantVWAP := []float64{math.NaN(), (10*11 + 30*14) / 40.0, (30*14 + 5*10) / 35.0, (5*10 + 7*25/3.0) / 12}
	wantOBV := []float64{10, 40, 35, 35}
	for i, bar := range bars {
		atr.Update(bar)
		vwap.Update(bar)
		obv.Update(bar)
		for _, check := range []struct {
			name  string
			value func() (float64, bool)
			want  float64
		}{{"atr", atr.Value, wantATR[i]}, {"vwap", vwap.Value, wantVWAP[i]}, {"obv", obv.Value, wantOBV[i]}} {
			got, ready := check.value()
			if ready == math.IsNaN(check.want) || ready && !near(got, check.want) {
				t.Errorf("bar %d: %s is %v (ready %t), want %v", i, check.name, got, ready, check.want)
			}
		}
	}
}

func TestADXByHand(t *testing.T) {
	tests := []struct {
		name string
		next indicator.Bar
		want indicator.Direction
	}{
		{"up", indicator.Bar{High: 14, Low: 11, Close: 12}, indicator.Direction{ADX: 100, PlusDI: 50}}, // 2 of a true range of 4.
		{"down", indicator.Bar{High: 11, Low: 6, Close: 8}, indicator.Direction{ADX: 100, MinusDI: 80}},
		{"both, up more", indicator.Bar{High: 15, Low: 8, Close: 12}, indicator.Direction{ADX: 100, PlusDI: 300.0 / 7}},
		{"both, down more", indicator.Bar{High: 13, Low: 6, Close: 12}, indicator.Direction{ADX: 100, MinusDI: 400.0 / 7}},
		{"both alike count for neither", indicator.Bar{High: 14, Low: 8, Close: 12}, indicator.Direction{}},
		{"within", indicator.Bar{High: 12, Low: 10, Close: 12}, indicator.Direction{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			adx := indicator.NewADX(1)
			adx.Update(indicator.Bar{High: 12, Low: 10, Close: 10})
			if _, ready := adx.Value(); ready {
				t.Error("ready after one bar")
			}
			adx.Update(test.next)
			got, ready := adx.Value()
			if !ready || !equal([]float64{got.ADX, got.PlusDI, got.MinusDI}, []float64{test.want.ADX, test.want.PlusDI, test.want.MinusDI}) {
				t.Errorf("direction is %+v (ready %t), want %+v", got, ready, test.want)
			}
		})
	}
}

func TestVWAPWithoutVolumeDoesNotExist(t *testing.T) {
	vwap := indicator.NewVWAP(1)
	vwap.Update(indicator.Bar{High: 2, Low: 1, Close: 1})
	if _, ready := vwap.Value(); ready {
		t.Error("an average was weighted with nothing")
	}
}

func TestStandingMarketSaysNothing(t *testing.T) {
	const price = 0.1 // Not exact in binary: naive sums would drift off it.
	macd, stoch, adx := indicator.NewMACD(12, 26, 9), indicator.NewStochRSI(14, 14, 3, 3), indicator.NewADX(14)
	sma, vwap := indicator.NewSMA(200), indicator.NewVWAP(20)
	for range 250 {
		bar := indicator.Bar{High: price, Low: price, Close: price, Volume: 0.3}
		macd.Update(price)
		stoch.Update(price)
		sma.Update(price)
		adx.Update(bar)
		vwap.Update(bar)
	}
	if got, ready := macd.Value(); !ready || got != (indicator.Convergence{}) {
		t.Errorf("MACD is %+v, ready %t", got, ready)
	}
	if got, ready := stoch.Value(); !ready || got != (indicator.Stochastic{K: 50, D: 50}) {
		t.Errorf("stochastic is %+v, ready %t", got, ready)
	}
	if got, ready := adx.Value(); !ready || got != (indicator.Direction{}) {
		t.Errorf("ADX is %+v, ready %t", got, ready)
	}
	if got := last(sma); got != price {
		t.Errorf("SMA is %v", got)
	}
	if got, ready := vwap.Value(); !ready || got != price {
		t.Errorf("VWAP is %v, ready %t", got, ready)
	}
}

func TestRealisedVolatility(t *testing.T) {
	tests := []struct {
		name   string
		closes []float64
		want   float64
	}{
		{"none", nil, math.NaN()},
		{"one return has no deviation", []float64{1, 2}, math.NaN()},
		{"not positive", []float64{1, 0, 1}, math.NaN()},
		{"starts not positive", []float64{-1, 1, 1}, math.NaN()},
		{"steady growth", []float64{1, 2, 4, 8}, 0},
		{"up and down", []float64{1, math.E, 1}, 100 * math.Sqrt2 * math.Sqrt(365)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, ok := indicator.RealisedVolatility(test.closes)
			if ok == math.IsNaN(test.want) || ok && math.Abs(got-test.want) > 1e-8 {
				t.Errorf("got %v, %t, want %v", got, ok, test.want)
			}
		})
	}
}

func TestMaxDrawdown(t *testing.T) {
	tests := []struct {
		name   string
		closes []float64
		want   float64
	}{
		{"none", nil, math.NaN()},
		{"never falls", []float64{1, 1, 2}, 0},
		{"the later fall is larger", []float64{4, 3, 8, 2, 6}, 75},
		{"a low before the peak does not count", []float64{1, 10, 9}, 10},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, ok := indicator.MaxDrawdown(test.closes)
			if ok == math.IsNaN(test.want) || ok && !near(got, test.want) {
				t.Errorf("got %v, %t, want %v", got, ok, test.want)
			}
		})
	}
}

func TestPivots(t *testing.T) {
	got := indicator.PivotsOf(indicator.Bar{High: 110, Low: 95, Close: 101})
	want := indicator.Pivots{Pivot: 102, R1: 109, R2: 117, R3: 124, S1: 94, S2: 87, S3: 79}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestSwings(t *testing.T) {
	bars := func(prices ...float64) []indicator.Bar {
		out := make([]indicator.Bar, len(prices))
		for i, p := range prices {
			out[i] = indicator.Bar{High: p + 1, Low: p - 1, Close: p}
		}
		return out
	}
	tests := []struct {
		name string
		bars []indicator.Bar
		want []float64
	}{
		{"none", nil, nil},
		{"flat", bars(5, 5, 5, 5, 5, 5, 5), nil},
		{"peak and trough", bars(1, 2, 5, 3, 0, 2, 3), []float64{6, -1}},
		{"a plateau counts once", bars(1, 2, 5, 5, 2, 1), []float64{6}},
		{"unconfirmed at the end", bars(1, 2, 3, 5, 4), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := indicator.Swings(test.bars, 2); !equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestCluster(t *testing.T) {
	tests := []struct {
		name   string
		prices []float64
		want   []float64
	}{
		{"none", nil, nil},
		{"apart", []float64{10, 1}, []float64{1, 10}},
		{"together", []float64{12, 10, 11}, []float64{11}},
		{"a chain does not grow beyond the width", []float64{1, 2, 3, 4, 5}, []float64{2, 4.5}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := indicator.Cluster(test.prices, 2); !equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(1, math.Abs(a), math.Abs(b)) }

func equal(a, b []float64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !near(a[i], b[i]) {
			return false
		}
	}
	return true
}
