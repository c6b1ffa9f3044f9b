package market_test

import (
	"math"
	"testing"
	"time"

	"github.com/service-islands/islands/examples/marketsim/market"
)

var noon = time.Date(2026, 3, 14, 12, 34, 56, 789e6, time.UTC)

func coin(tb testing.TB, m *market.Market, id string) *market.Coin {
	tb.Helper()
	c, ok := m.Coin(id)
	if !ok {
		tb.Fatalf("no coin %q", id)
	}
	return c
}

func TestSameSeedSamePricesOtherSeedOthers(t *testing.T) {
	t.Parallel()
	a, b, other := market.New(market.Options{Seed: 7}), market.New(market.Options{Seed: 7}), market.New(market.Options{Seed: 8})
	differ := 0
	for i, c := range a.Coins() {
		if got, want := b.Coins()[i].Price(noon), c.Price(noon); got != want {
			t.Errorf("%s: %v and %v under one seed", c.ID, got, want)
		}
		if other.Coins()[i].Price(noon) != c.Price(noon) {
			differ++
		}
	}
	if differ != len(a.Coins()) {
		t.Errorf("only %d of %d prices depend on the seed", differ, len(a.Coins()))
	}
}

func TestPricesStayInReason(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		m := market.New(market.Options{Seed: seed})
		btc := coin(t, m, "bitcoin")
		for day := range 3000 {
			at := date(2018, 1, 1).AddDate(0, 0, day)
			if p := btc.Price(at); p < 5000 || p > 500000 {
				t.Fatalf("seed %d: bitcoin is at %v on %v", seed, p, at)
			}
			for _, id := range []string{"tether", "usd-coin", "dai"} {
				if p := coin(t, m, id).Price(at); math.Abs(p-1) > 0.002 {
					t.Fatalf("seed %d: %s is at %v on %v", seed, id, p, at)
				}
			}
		}
	}
}

func TestDailyMovesAreThoseOfACryptoMarket(t *testing.T) {
	t.Parallel()
	btc := coin(t, market.New(market.Options{}), "bitcoin")
	for _, span := range []struct {
		of       time.Duration
		min, max float64
	}{
		{24 * time.Hour, 0.01, 0.04},
		{time.Hour, 0.002, 0.01},
		{time.Minute, 0.0001, 0.001},
	} {
		sum, n := 0.0, 2000
		for i := range n {
			at := date(2024, 1, 1).Add(time.Duration(i) * span.of)
			r := math.Log(btc.Price(at.Add(span.of)) / btc.Price(at))
			sum += r * r
		}
		if sd := math.Sqrt(sum / float64(n)); sd < span.min || sd > span.max {
			t.Errorf("moves over %v have a standard deviation of %.5f, want %v to %v", span.of, sd, span.min, span.max)
		} else {
			t.Logf("%v: %.5f", span.of, sd)
		}
	}
}

func date(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }

func TestBarsNest(t *testing.T) {
	t.Parallel()
	m := market.New(market.Options{Seed: 3})
	spans := []struct{ whole, part time.Duration }{
		{7 * 24 * time.Hour, 24 * time.Hour},
		{24 * time.Hour, time.Hour},
		{12 * time.Hour, 2 * time.Hour},
		{4 * time.Hour, 15 * time.Minute},
		{time.Hour, 3 * time.Minute},
		{time.Hour, time.Minute},
		{time.Minute, time.Second},
	}
	for _, id := range []string{"bitcoin", "pepe", "wrapped-bitcoin", "tether", "nova-protocol"} {
		c := coin(t, m, id)
		for _, span := range spans {
			start := date(2025, 7, 7).Add(36 * time.Hour).Truncate(span.whole)
			whole := c.Bar(start, start.Add(span.whole))
			sum := market.Bar{Low: math.Inf(1)}
			for at := start; at.Before(start.Add(span.whole)); at = at.Add(span.part) {
				b := c.Bar(at, at.Add(span.part))
				if b.High < max(b.Open, b.Close) || b.Low > min(b.Open, b.Close) || b.Low <= 0 {
					t.Fatalf("%s %v: not a candle: %+v", id, span.part, b)
				}
				if b.Volume <= 0 {
					t.Fatalf("%s %v: no volume", id, span.part)
				}
				if sum.Open == 0 {
					sum.Open = b.Open
				} else if sum.Close != b.Open {
					t.Fatalf("%s %v: a gap between %v and %v", id, span.part, sum.Close, b.Open)
				}
				sum.Close, sum.High, sum.Low = b.Close, max(sum.High, b.High), min(sum.Low, b.Low)
				sum.Volume += b.Volume
				sum.Trades += b.Trades
			}
			if math.Abs(sum.Volume-whole.Volume) > 1e-9*whole.Volume {
				t.Errorf("%s %v: the parts' volume is %v, not %v", id, span.whole, sum.Volume, whole.Volume)
			}
			sum.Volume = whole.Volume
			if sum != whole {
				t.Errorf("%s: %v of %v make\n%+v, not\n%+v", id, span.whole, span.part, sum, whole)
			}
		}
	}
}

func TestAnyInstantLiesWithinItsBar(t *testing.T) {
	t.Parallel()
	c := coin(t, market.New(market.Options{}), "ethereum")
	day := c.Bar(date(2026, 3, 14), date(2026, 3, 15))
	for ms := int64(0); ms < 86400_000; ms += 12_347 {
		at := date(2026, 3, 14).Add(time.Duration(ms) * time.Millisecond)
		if p := c.Price(at); p > day.High || p < day.Low {
			t.Fatalf("%v: %v lies outside %v to %v", at, p, day.Low, day.High)
		}
		part := c.Bar(date(2026, 3, 14), at)
		if part.High > day.High || part.Low < day.Low || part.Close != c.Price(at) || part.Volume > day.Volume {
			t.Fatalf("%v: the open bar %+v does not lie in %+v", at, part, day)
		}
	}
}

func TestEmptySpan(t *testing.T) {
	t.Parallel()
	c := coin(t, market.New(market.Options{}), "solana")
	p := c.Price(noon)
	if got, want := c.Bar(noon, noon), (market.Bar{Open: p, High: p, Low: p, Close: p}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestAggregatorAgreesWithExchange(t *testing.T) {
	t.Parallel()
	m := market.New(market.Options{Seed: 11})
	for _, c := range m.Coins() {
		for i := range 50 {
			at := noon.Add(time.Duration(i) * 37 * time.Hour)
			if bps := 1e4 * math.Abs(c.USD(at)/c.Price(at)-1); bps > 4 {
				t.Errorf("%s at %v: %.1f basis points apart", c.ID, at, bps)
			}
		}
	}
}

func TestExtremesHoldEveryDay(t *testing.T) {
	t.Parallel()
	m := market.New(market.Options{Seed: 5})
	for _, id := range []string{"bitcoin", "fledgling", "staked-ether"} {
		c := coin(t, m, id)
		late := c.Extremes(noon)
		for at := c.Listed; at.Before(noon); at = at.AddDate(0, 0, 1) {
			to := at.AddDate(0, 0, 1)
			if to.After(noon) {
				to = noon
			}
			if b := c.Bar(at, to); b.High > late.High*(1+1e-12) || b.Low < late.Low*(1-1e-12) {
				t.Fatalf("%s: %v reaches %v to %v, beyond %+v", id, at, b.Low, b.High, late)
			}
		}
		for _, e := range []struct {
			at    time.Time
			price float64
		}{{late.HighAt, late.High}, {late.LowAt, late.Low}} {
			b := c.Bar(e.at, e.at.Add(time.Second))
			if math.Abs(b.High/e.price-1) > 1e-9 && math.Abs(b.Low/e.price-1) > 1e-9 {
				t.Errorf("%s: %v is not reached at %v: %+v", id, e.price, e.at, b)
			}
		}
		early := c.Extremes(c.Listed.AddDate(0, 0, 30))
		if early.High > late.High || early.Low < late.Low {
			t.Errorf("%s: the first month reached further than all time", id)
		}
		if again := c.Extremes(noon); again != late {
			t.Errorf("%s: asked again, got %+v, not %+v", id, again, late)
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	m := market.New(market.Options{})
	if n := len(m.Coins()); n < 280 || n > 330 {
		t.Errorf("%d coins", n)
	}
	ids, shared := map[string]bool{}, map[string]int{}
	for _, c := range m.Coins() {
		if ids[c.ID] {
			t.Errorf("two coins %q", c.ID)
		}
		ids[c.ID] = true
		shared[c.Symbol]++
	}
	for symbol, n := range shared {
		switch symbol {
		case "uni", "ada", "dot", "ltc", "xrp":
			if n != 2 {
				t.Errorf("%d coins share %q, want 2", n, symbol)
			}
		default:
			if n != 1 {
				t.Errorf("%d coins share %q", n, symbol)
			}
		}
	}
	if got := m.Symbol("uni")[0].ID; got != "uniswap" {
		t.Errorf("the larger uni is %q", got)
	}
	pairs := map[string]bool{}
	for _, p := range m.Pairs() {
		if pairs[p.Symbol] {
			t.Errorf("two pairs %q", p.Symbol)
		}
		pairs[p.Symbol] = true
	}
	for _, dead := range []string{"XMRUSDT", "BCCUSDT"} {
		if p, ok := m.Pair(dead); !ok || p.Traded(noon) || !p.Traded(date(2018, 3, 1)) {
			t.Errorf("%s should have been traded in 2018, and no more", dead)
		}
	}
	if _, ok := m.Pair("USDTUSDT"); ok {
		t.Error("USDT is traded for itself")
	}
}

func TestBornMovesTheFledglingOnly(t *testing.T) {
	t.Parallel()
	a, b := market.New(market.Options{}), market.New(market.Options{Born: noon})
	for i, c := range a.Coins() {
		d := b.Coins()[i]
		if c.Price(noon) != d.Price(noon) {
			t.Errorf("%s: another price", c.ID)
		}
		if (c.Listed != d.Listed) != (c.ID == "fledgling") {
			t.Errorf("%s: listed %v and %v", c.ID, c.Listed, d.Listed)
		}
	}
	if got, want := coin(t, b, "fledgling").Listed, date(2026, 1, 13); !got.Equal(want) {
		t.Errorf("fledgling listed %v, want %v", got, want)
	}
}

func TestRatesAndMood(t *testing.T) {
	t.Parallel()
	m := market.New(market.Options{})
	for _, code := range m.Currencies() {
		if r := m.Rate(code, noon); r <= 0 || math.IsInf(r, 0) {
			t.Errorf("%s: %v", code, r)
		}
	}
	if m.Rate("xyz", noon) != 0 {
		t.Error("an unknown currency has a rate")
	}
	if got := m.Rate("btc", noon) * coin(t, m, "bitcoin").USD(noon); math.Abs(got-1) > 1e-12 {
		t.Errorf("a bitcoin is worth %v bitcoin", got)
	}
	low, high := 100, 0
	for day := range 1000 {
		v := m.Mood(date(2024, 1, 1).AddDate(0, 0, day))
		low, high = min(low, v), max(high, v)
	}
	if low < 5 || high > 95 || high-low < 40 {
		t.Errorf("moods range from %d to %d", low, high)
	}
}

func BenchmarkThousandMinutes(b *testing.B) {
	c := coin(b, market.New(market.Options{}), "bitcoin")
	for b.Loop() {
		for i := range 1000 {
			at := date(2026, 1, 1).Add(time.Duration(i) * time.Minute)
			c.Bar(at, at.Add(time.Minute))
		}
	}
}

func BenchmarkRollingDay(b *testing.B) {
	c := coin(b, market.New(market.Options{}), "bitcoin")
	for b.Loop() {
		c.Bar(noon.AddDate(0, 0, -1), noon)
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		market.New(market.Options{})
	}
}

func BenchmarkExtremesOfAll(b *testing.B) {
	for b.Loop() {
		for _, c := range market.New(market.Options{}).Coins() {
			c.Extremes(noon)
		}
	}
}
