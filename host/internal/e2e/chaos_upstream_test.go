package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// upstreamFaults is everything that is known to go wrong with an upstream.
var upstreamFaults = []string{
	`{"service":"%s","kind":"status","status":500}`,
	`{"service":"%s","kind":"status","status":404}`,
	`{"service":"%s","kind":"status","status":403,"body":"html"}`,
	`{"service":"%s","kind":"status","status":429,"body":"html","retry_after":"2"}`,
	`{"service":"%s","kind":"status","status":429,"body":"text"}`,
	`{"service":"%s","kind":"latency","latency_ms":1500}`,
	`{"service":"%s","kind":"truncate"}`,
	`{"service":"%s","kind":"reset"}`,
	`{"service":"%s","kind":"silence"}`,
	`{"service":"%s","kind":"garbage","body":"html"}`,
	`{"service":"%s","kind":"garbage","body":"json"}`,
	`{"service":"%s","kind":"garbage","body":"text"}`,
	`{"service":"%s","kind":"limit","limit":1,"retry_after":"auto"}`,
}

// binanceFaults is what goes wrong with Binance alone, and with its streams.
var binanceFaults = []string{
	`{"service":"binance","kind":"ban","retry_after":"2"}`,
	`{"service":"binance","kind":"restricted"}`,
	`{"service":"binance","kind":"stream_refuse","status":503}`,
	`{"service":"binance","kind":"stream_silence"}`,
	`{"service":"binance","kind":"stream_no_ping"}`,
	`{"service":"binance","kind":"stream_cut"}`,
	`{"service":"binance","kind":"stream_cut","code":1008}`,
	`{"service":"binance","kind":"stream_shutdown","after_ms":300}`,
	`{"service":"binance","kind":"stream_life","after_ms":700}`,
	`{"service":"binance","kind":"stream_interval","stream_interval_ms":50}`,
	`{"service":"binance","kind":"stream_duplicate"}`,
	`{"service":"binance","kind":"stream_late","late_ms":5000}`,
}

// Budgets of the sources in TestChaosUpstreams, per minute: small enough to be reached.
const (
	coingeckoBudget = 10  // Of calls; what the source takes without a key.
	binanceBudget   = 300 // Of weight.
)

// TestChaosUpstreams switches every fault of both upstreams on, in random company, another every second: no island crashes, no
// figure is invented, and no upstream is asked for more than its budget.
func TestChaosUpstreams(t *testing.T) {
	t.Parallel()
	r := dice(t)
	// Of two markets of one seed, both say the same at one moment. The other has no faults and knows what is true.
	m, truth := startMarket(t), startMarket(t)
	config := edited(t, func(text string) string {
		text = strings.Replace(text, `    url        = env("BINANCE_URL"`, fmt.Sprintf("    weight_per_minute = %d\n    url        = env(\"BINANCE_URL\"", binanceBudget), 1)
		for _, strategy := range []string{"real_time", "short_term", "medium_term", "long_term"} {
			before, after, _ := strings.Cut(text, `strategy "`+strategy+`"`)
			_, rest, _ := strings.Cut(after, "\n")
			text = before + `strategy "` + strategy + `" { ttl = "1s" }` + "\n" + rest
		}
		return calmPolls(text)
	})
	h := startHost(t, m, map[string]string{"ISLANDS_CONFIG": config})
	start := h.pids(t)
	feed := startEar(t, h)
	figures := &witness{}
	// Something is remembered before the weather turns.
	for _, path := range []string{"/api/market-data/btc", "/api/crypto-report/btc", "/api/candles/btc?interval=1d&limit=30"} {
		figures.ask(t.Context(), t, h, path)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var askers sync.WaitGroup
	symbols := []string{"btc", "eth", "sol", "bnb", "xrp", "ada", "doge", "link"}
	for _, path := range []string{"/api/market-data/%s", "/api/crypto-report/%s", "/api/candles/%s?interval=1d&limit=30", "/api/technical-analysis/%s"} {
		askers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				figures.ask(ctx, t, h, fmt.Sprintf(path, symbols[i%len(symbols)]))
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	used := &usage{}
	for range scaled(10, 60) {
		m.weather(t, r)
		time.Sleep(time.Second)
		used.note(t, m) // Before the next change, which forgets it.
	}
	m.heal(t)
	cancel()
	askers.Wait()
	for _, q := range feed.stop() {
		figures.quotes = append(figures.quotes, witnessed{symbol: q.symbol, price: q.price, asOf: time.Unix(0, q.asOf)})
	}
	figures.judge(t, truth)
	t.Logf("%d answers, %d of them refusals, %d prices and %d candles", figures.answers, figures.refusals, len(figures.quotes), len(figures.candles))
	if len(figures.quotes) == 0 || len(figures.candles) == 0 {
		t.Error("nothing was answered at all")
	}
	if most := used.most(func(s sample) int { return s.calls }); most > coingeckoBudget {
		t.Errorf("CoinGecko was called %d times within a minute, and its budget is %d", most, coingeckoBudget)
	}
	if most := used.most(func(s sample) int { return s.weight }); most > binanceBudget {
		t.Errorf("a weight of %d was used up at Binance within a minute, and its budget is %d", most, binanceBudget)
	}
	if now := h.pids(t); fmt.Sprint(now) != fmt.Sprint(start) {
		t.Errorf("%v became %v", start, now)
	}
	eventually(t, 90*time.Second, "well again", func() error {
		if r := h.get(t, "/api/crypto-report/btc"); r.status != http.StatusOK || at(t, r.json(t), "market.price") == nil {
			return fmt.Errorf("%d %s", r.status, r.body)
		}
		return nil
	})
}

// weather clears what was and breaks each upstream in one or two ways.
func (m *market) weather(t *testing.T, r *rand.Rand) {
	t.Helper()
	m.heal(t)
	faults := []string{
		fmt.Sprintf(upstreamFaults[r.IntN(len(upstreamFaults))], "coingecko"),
		fmt.Sprintf(upstreamFaults[r.IntN(len(upstreamFaults))], "binance"),
		binanceFaults[r.IntN(len(binanceFaults))],
	}
	r.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
	m.fault(t, "["+strings.Join(faults[:1+r.IntN(len(faults))], ",")+"]")
}

// sample is what was used up of the upstreams in about a second.
type sample struct {
	at            time.Time
	calls, weight int
}

// usage is what was used up of the upstreams, as they count it.
type usage struct{ samples []sample }

// note takes what was used since the last time.
func (u *usage) note(t *testing.T, m *market) {
	t.Helper()
	s := sample{at: time.Now()}
	for route, n := range m.requests(t) {
		switch {
		case strings.HasPrefix(route, "coingecko"):
			s.calls += n
		case strings.HasPrefix(route, "binance GET"):
			s.weight += n * weightOf(route)
		}
	}
	u.samples = append(u.samples, s)
}

// weightOf is the least that a call of a route weighs.
func weightOf(route string) int {
	switch _, path, _ := strings.Cut(route, " GET "); path {
	case "/api/v3/exchangeInfo":
		return 20
	case "/api/v3/klines", "/api/v3/ticker/24hr", "/api/v3/ticker/price":
		return 2
	default:
		return 1
	}
}

// most is the largest sum within a minute, less what the samples are long, so that no minute is taken for a longer one.
func (u *usage) most(of func(sample) int) (most int) {
	for i, first := range u.samples {
		sum := 0
		for _, s := range u.samples[i:] {
			if s.at.Sub(first.at) < 55*time.Second {
				sum += of(s)
			}
		}
		most = max(most, sum)
	}
	return most
}

// witnessed is a price that a host said, and of when.
type witnessed struct {
	symbol string
	price  float64
	asOf   time.Time
}

// witnessedCandle is a candle that a host said.
type witnessedCandle struct {
	symbol, source         string
	OpenTime               time.Time `json:"open_time"`
	Open, High, Low, Close *float64
	Closed                 bool
}

// witness keeps every figure that a host says.
type witness struct {
	mu                sync.Mutex
	answers, refusals int
	quotes            []witnessed
	candles           []witnessedCandle
}

// ask asks for an answer and keeps its figures. What cannot be answered is refused in the proper way.
func (w *witness) ask(ctx context.Context, t *testing.T, h *host, path string) {
	t.Helper()
	r, err := ask(context.WithoutCancel(ctx), http.MethodGet, h.url+path, nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers++
	switch {
	case err != nil:
		t.Errorf("GET %s: %v", path, err)
	case r.status == http.StatusServiceUnavailable && r.header.Get("Retry-After") != "":
		w.refusals++
	case r.status == http.StatusBadGateway && bytes.Contains(r.body, []byte(`"bad_upstream"`)): // All that could answer talk nonsense.
		w.refusals++
	case r.status != http.StatusOK:
		t.Errorf("GET %s: %d %s", path, r.status, r.body)
	case strings.HasPrefix(path, "/api/market-data/"):
		var q struct {
			Symbol string
			Price  *float64
			AsOf   time.Time `json:"as_of"`
		}
		if err := json.Unmarshal(r.body, &q); err != nil {
			t.Errorf("GET %s: %v", path, err)
		} else if q.Price != nil {
			w.quotes = append(w.quotes, witnessed{q.Symbol, *q.Price, q.AsOf})
		}
	case strings.HasPrefix(path, "/api/crypto-report/"):
		var report struct {
			Symbol     string
			Market     struct{ Price *float64 }
			Provenance struct {
				Quote struct {
					AsOf time.Time `json:"as_of"`
				}
			}
		}
		if err := json.Unmarshal(r.body, &report); err != nil {
			t.Errorf("GET %s: %v", path, err)
		} else if report.Market.Price != nil {
			w.quotes = append(w.quotes, witnessed{report.Symbol, *report.Market.Price, report.Provenance.Quote.AsOf})
		}
	case strings.HasPrefix(path, "/api/candles/"):
		var candles struct {
			Symbol, Source string
			Candles        []witnessedCandle
		}
		if err := json.Unmarshal(r.body, &candles); err != nil {
			t.Errorf("GET %s: %v", path, err)
		}
		for _, c := range candles.Candles {
			c.symbol, c.source = candles.Symbol, candles.Source
			w.candles = append(w.candles, c)
		}
	}
}

// kline is a candle as the market says it.
type kline struct {
	open                   int64
	o, high, low, closings float64
}

// klines asks a market for its candles.
func (m *market) klines(t *testing.T, symbol, interval string) (list []kline) {
	t.Helper()
	r, err := ask(t.Context(), http.MethodGet, m.url+"/binance/api/v3/klines?limit=60&interval="+interval+"&symbol="+strings.ToUpper(symbol)+"USDT", nil)
	if err != nil || r.status != http.StatusOK {
		t.Fatalf("klines of %s: %d %v %s", symbol, r.status, err, r.body)
	}
	var rows [][]any
	if err := json.Unmarshal(r.body, &rows); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		number := func(i int) float64 {
			text, _ := row[i].(string)
			f, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatalf("%v in %v", err, row)
			}
			return f
		}
		open, _ := row[0].(float64)
		list = append(list, kline{int64(open), number(1), number(2), number(3), number(4)})
	}
	return list
}

// judge holds all figures against the truth: a price must have been that of its moment, or of the minutes before, for which
// CoinGecko remembers, within what the two upstreams differ.
func (w *witness) judge(t *testing.T, truth *market) {
	t.Helper()
	const differ = 0.0012
	minutes, days := map[string][]kline{}, map[string][]kline{}
	bad := 0
	complain := func(format string, args ...any) {
		if bad++; bad < 10 {
			t.Errorf(format, args...)
		}
	}
	for _, q := range w.quotes {
		if minutes[q.symbol] == nil {
			minutes[q.symbol] = truth.klines(t, q.symbol, "1m")
		}
		low, high := math.Inf(1), 0.0
		for _, k := range minutes[q.symbol] {
			if opened := time.UnixMilli(k.open); opened.After(q.asOf.Add(-3*time.Minute)) && opened.Before(q.asOf.Add(2*time.Minute)) {
				low, high = min(low, k.low), max(high, k.high)
			}
		}
		if q.price < low*(1-differ) || q.price > high*(1+differ) {
			complain("%s of %v costs %v; it was between %v and %v", q.symbol, q.asOf, q.price, low, high)
		}
	}
	for _, c := range w.candles {
		if days[c.symbol] == nil {
			days[c.symbol] = truth.klines(t, c.symbol, "1d")
		}
		i := slices.IndexFunc(days[c.symbol], func(k kline) bool { return k.open == c.OpenTime.UnixMilli() })
		if i < 0 {
			complain("a candle of %s opens at %v", c.symbol, c.OpenTime)
			continue
		}
		k := days[c.symbol][i]
		for _, figure := range []struct {
			name       string
			said, true *float64
		}{{"open", c.Open, &k.o}, {"high", c.High, &k.high}, {"low", c.Low, &k.low}, {"close", c.Close, &k.closings}} {
			if !c.Closed || figure.said == nil {
				continue
			}
			if math.Abs(*figure.said / *figure.true - 1) > differ {
				complain("the candle of %s at %v from %s: %s is %v and was %v", c.symbol, c.OpenTime, c.source, figure.name, *figure.said, *figure.true)
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d figures are invented", bad)
	}
}

// TestChaosBans has each upstream send a host away for a while: it is not asked again before that while is over, and soon after.
func TestChaosBans(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ source, service, fault string }{
		{"binance-source", "binance", `{"service":"binance","kind":"ban","retry_after":"6"}`},
		{"binance-source", "binance", `{"service":"binance","kind":"status","status":429,"retry_after":"6","count":1}`},
		{"coingecko-source", "coingecko", `{"service":"coingecko","kind":"status","status":429,"body":"html","retry_after":"6","count":1}`},
	} {
		t.Run(tt.source, func(t *testing.T) {
			t.Parallel()
			const sentAway = 6 * time.Second
			m := startMarket(t)
			h := startHost(t, m, map[string]string{"ISLANDS_CONFIG": edited(t, func(text string) string {
				return strings.Replace(withoutBroadcast(text), `strategy "real_time"      { ttl = "30s" }`, `strategy "real_time"      { ttl = "1s" }`, 1)
			})})
			h.ok(t, "/api/crypto-report/btc")
			h.ok(t, "/api/crypto-report/eth")
			settled(t, h)
			m.requests(t)
			m.fault(t, tt.fault)
			path := "/api/market-data/btc?source=" + tt.source
			ctx, cancel := context.WithCancel(t.Context())
			var asking sync.WaitGroup
			for _, path := range []string{path, "/api/market-data/eth"} {
				asking.Go(func() {
					for ctx.Err() == nil {
						_, _ = ask(ctx, http.MethodGet, h.url+path, nil)
						time.Sleep(50 * time.Millisecond)
					}
				})
			}
			// Each call happened after the look before the one that saw it.
			var first, second time.Time
			eventually(t, 60*time.Second, "asked again", func() error {
				looked := time.Now()
				calls := m.callsOf(t, tt.service)
				switch {
				case calls == 0:
					first = looked
				case calls > 1 && second.IsZero():
					second = time.Now()
				}
				if second.IsZero() {
					return fmt.Errorf("%d calls", calls)
				}
				return nil
			})
			cancel()
			asking.Wait()
			t.Logf("asked again %v after it was sent away for %v", second.Sub(first).Round(100*time.Millisecond), sentAway)
			if second.Sub(first) < sentAway {
				t.Errorf("asked %v after it was sent away for %v: %v", second.Sub(first), sentAway, m.requests(t))
			}
			eventually(t, 60*time.Second, "answered again", func() error {
				if r := h.get(t, path); r.status != http.StatusOK {
					return fmt.Errorf("%d %s", r.status, r.body)
				}
				return nil
			})
		})
	}
}
