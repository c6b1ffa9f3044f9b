package sim_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"testing"
	"time"
)

// at moves the clock to the beginning of a cache window, so that no service speaks of another instant.
func (b *bench) at(t time.Time) {
	b.clock.advance(t.Sub(b.clock.now()))
}

func TestServicesAgreeWithinBasisPoints(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	for minute := range 6 {
		b.at(start.Truncate(time.Minute).Add(time.Duration(minute) * 61 * time.Minute))
		var quotes []struct {
			ID, Symbol string
			Price      *float64 `json:"current_price"`
		}
		b.read(gecko+"/coins/markets?vs_currency=usd&per_page=250", &quotes)
		var prices []struct{ Symbol, Price string }
		b.read(spot+"/ticker/price", &prices)
		exchange := map[string]float64{}
		for _, p := range prices {
			exchange[p.Symbol] = number(t, p.Price)
		}
		var western struct {
			Result map[string]struct {
				Last []string `json:"c"`
			}
		}
		b.read(west+"/Ticker", &western)
		compared := 0
		for _, q := range quotes {
			other := exchange[upper(q.Symbol)+"USDT"]
			largest := b.sim.Market().Symbol(q.Symbol)[0].ID == q.ID
			if q.Price == nil || other == 0 || !largest || *q.Price < 0.001 {
				continue
			}
			compared++
			if bps := 1e4 * math.Abs(*q.Price/other-1); bps > 5 {
				t.Errorf("%s: %v and %v are %.1f basis points apart", q.ID, *q.Price, other, bps)
			}
			if row, ok := western.Result[upper(q.Symbol)+"USD"]; ok {
				if bps := 1e4 * math.Abs(number(t, row.Last[0])/other-1); bps > 5 {
					t.Errorf("%s: %v and %v are %.1f basis points apart at the exchanges", q.ID, row.Last[0], other, bps)
				}
			}
		}
		if compared < 80 {
			t.Fatalf("compared %d coins only", compared)
		}
	}
}

func upper(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'a' && c <= 'z' {
			b[i] = c - 32
		}
	}
	return string(b)
}

func number(tb testing.TB, text string) float64 {
	tb.Helper()
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// kline is one row of candles.
type kline struct {
	open, closes                             int64
	o, h, l, c, volume, quote, taker, takerQ float64
	trades                                   int64
}

func (b *bench) klines(query string) []kline {
	b.t.Helper()
	var rows [][]any
	b.read(spot+"/klines?"+query, &rows)
	list := make([]kline, len(rows))
	for i, r := range rows {
		if len(r) != 12 || r[11] != "0" {
			b.t.Fatalf("%s: row %v", query, r)
		}
		f := func(i int) float64 { return number(b.t, r[i].(string)) }
		list[i] = kline{
			open: int64(r[0].(float64)), o: f(1), h: f(2), l: f(3), c: f(4), volume: f(5), closes: int64(r[6].(float64)),
			quote: f(7), trades: int64(r[8].(float64)), taker: f(9), takerQ: f(10),
		}
	}
	return list
}

func TestKlinesOfEveryIntervalAreCandles(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	now := start.UnixMilli()
	for _, interval := range []string{
		"1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M",
	} {
		list := b.klines("symbol=SOLUSDT&limit=60&interval=" + interval)
		if len(list) != 60 {
			t.Errorf("%s: %d candles", interval, len(list))
			continue
		}
		for i, k := range list {
			if k.h < max(k.o, k.c) || k.l > min(k.o, k.c) || k.l <= 0 || k.volume <= 0 || k.quote <= 0 || k.trades < 1 ||
				k.taker > k.volume {
				t.Errorf("%s: not a candle: %+v", interval, k)
			}
			if i > 0 && (k.open != list[i-1].closes+1 || k.o != list[i-1].c) {
				t.Errorf("%s: %+v does not follow %+v", interval, k, list[i-1])
			}
		}
		last := list[len(list)-1]
		if last.open >= now || last.closes < now {
			t.Errorf("%s: the last candle %d to %d is not the open one at %d", interval, last.open, last.closes, now)
		}
		if got := time.UnixMilli(last.open).UTC(); interval == "1w" && got.Weekday() != time.Monday ||
			interval == "1M" && got.Day() != 1 {
			t.Errorf("%s: opens on %v", interval, got)
		}
	}
}

func TestHoursAddUpToDays(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	days := b.klines("symbol=ETHUSDT&interval=1d&limit=41")
	hours := b.klines("symbol=ETHUSDT&interval=1h&limit=1000")
	for _, d := range days[:len(days)-1] {
		sum := kline{l: math.Inf(1)}
		n := 0
		for _, h := range hours {
			if h.open < d.open || h.closes > d.closes {
				continue
			}
			if n == 0 {
				sum.o = h.o
			}
			sum.c, sum.h, sum.l = h.c, max(sum.h, h.h), min(sum.l, h.l)
			sum.volume += h.volume
			sum.trades += h.trades
			n++
		}
		if n != 24 {
			continue
		}
		if sum.o != d.o || sum.h != d.h || sum.l != d.l || sum.c != d.c || sum.trades != d.trades {
			t.Errorf("24 hours make %+v, not %+v", sum, d)
		}
		if math.Abs(sum.volume/d.volume-1) > 1e-6 {
			t.Errorf("24 hours have a volume of %v, not %v", sum.volume, d.volume)
		}
	}
}

func TestKlineWindows(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	day := start.Truncate(24 * time.Hour).UnixMilli()
	const ms = 86400_000
	for _, c := range []struct {
		name, query string
		first, last int64
		n           int
	}{
		{"default", "", day - 499*ms, day, 500},
		{"limit", "&limit=3", day - 2*ms, day, 3},
		{"beyond the maximum", "&limit=5000", day - 999*ms, day, 1000},
		{"from a start", fmt.Sprintf("&startTime=%d&limit=4", day-10*ms), day - 10*ms, day - 7*ms, 4},
		{"start inside a candle", fmt.Sprintf("&startTime=%d", day-2*ms+1), day - ms, day, 2},
		{"until an end", fmt.Sprintf("&endTime=%d&limit=2", day-5*ms), day - 6*ms, day - 5*ms, 2},
		{"both", fmt.Sprintf("&startTime=%d&endTime=%d", day-5*ms, day-3*ms), day - 5*ms, day - 3*ms, 3},
	} {
		list := b.klines("symbol=BTCUSDT&interval=1d" + c.query)
		if len(list) != c.n || list[0].open != c.first || list[len(list)-1].open != c.last {
			t.Errorf("%s: %d candles %v", c.name, len(list), list)
		}
	}
	for name, query := range map[string]string{
		"in the future":         fmt.Sprintf("&startTime=%d", day+2*ms),
		"end before start":      fmt.Sprintf("&startTime=%d&endTime=%d", day, day-3*ms),
		"before the exchange":   "&endTime=1400000000000",
		"end at the epoch":      "&endTime=0",
		"far beyond every date": "&startTime=9000000000000000",
	} {
		if list := b.klines("symbol=BTCUSDT&interval=1d" + query); len(list) != 0 {
			t.Errorf("%s: %d candles", name, len(list))
		}
	}
	if list := b.klines("symbol=BTCUSDT&interval=1d&startTime=0&limit=1"); list[0].open != 1502928000000 {
		t.Errorf("history begins at %v", list[0].open)
	}
	if list := b.klines("symbol=FLEDGEUSDT&interval=1d"); len(list) != 61 {
		t.Errorf("the fledgling has %d days, want 60 and the open one", len(list))
	}
	b.at(start.Truncate(24 * time.Hour))
	if list := b.klines("symbol=BTCUSDT&interval=1d&limit=1"); list[0].open != day-ms {
		t.Error("a candle without a trade is shown")
	}
}

func TestTickerAgreesWithKlines(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	b.at(start.Truncate(time.Hour))
	var day struct {
		LastPrice, HighPrice, LowPrice, OpenPrice, Volume string
		Count, FirstID, LastID                            int64
	}
	b.read(spot+"/ticker/24hr?symbol=BTCUSDT", &day)
	hours := b.klines("symbol=BTCUSDT&interval=1h&limit=24")
	high, low, volume := 0.0, math.Inf(1), 0.0
	for _, h := range hours {
		high, low, volume = max(high, h.h), min(low, h.l), volume+h.volume
	}
	if number(t, day.HighPrice) != high || number(t, day.LowPrice) != low || number(t, day.OpenPrice) != hours[0].o ||
		number(t, day.LastPrice) != hours[23].c {
		t.Errorf("%+v does not agree with high %v, low %v", day, high, low)
	}
	if math.Abs(number(t, day.Volume)/volume-1) > 1e-6 {
		t.Errorf("volume is %v, hours have %v", day.Volume, volume)
	}
	if day.LastID-day.FirstID+1 != day.Count || day.Count < 1 {
		t.Errorf("trades %d to %d are %d", day.FirstID, day.LastID, day.Count)
	}
}

func TestChartAgreesWithKlines(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	b.at(start.Truncate(24 * time.Hour))
	var chart struct{ Prices [][2]float64 }
	b.read(gecko+"/coins/bitcoin/market_chart?vs_currency=usd&days=365", &chart)
	closes := map[int64]float64{}
	for _, k := range b.klines("symbol=BTCUSDT&interval=1d&limit=1000") {
		closes[k.closes+1] = k.c
	}
	if n := len(chart.Prices); n != 366 {
		t.Fatalf("%d points", n)
	}
	for _, p := range chart.Prices {
		if want := closes[int64(p[0])]; math.Abs(p[1]/want-1) > 5e-4 {
			t.Errorf("%v: %v here, %v there", int64(p[0]), p[1], want)
		}
	}
}

func TestDollarsAreNotTether(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	if a := b.get(spot + "/ticker/price?symbol=USDTUSDT"); a.status != http.StatusBadRequest {
		t.Errorf("got %d", a.status)
	}
	var prices map[string]map[string]json.Number
	b.read(gecko+"/simple/price?ids=tether&vs_currencies=usd&precision=full", &prices)
	if p := prices["tether"]["usd"]; p == "1" || p == "" {
		t.Errorf("tether is at %q", p)
	}
}
