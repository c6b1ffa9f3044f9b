package sim_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/service-islands/islands/examples/marketsim/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock stands still until it is moved.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// start is 4 seconds into a minute, and into every longer cache window.
var start = time.Date(2026, 3, 14, 12, 0, 4, 500e6, time.UTC)

// bench is a simulation with its clock and a client.
type bench struct {
	t      testing.TB
	sim    *sim.Server
	clock  *clock
	url    string
	client *http.Client
}

// unlimited are options under which no budget is in the way.
func unlimited() sim.Options {
	return sim.Options{
		Seed: 7, KeylessPerMinute: -1, DemoPerMinute: -1, ProPerMinute: -1, BinanceWeightPerMinute: -1,
		FearGreedPerMinute: -1, KrakenCounter: -1,
	}
}

func newBench(tb testing.TB, o sim.Options) *bench {
	tb.Helper()
	c := &clock{t: start}
	o.Now = c.now
	s := sim.New(o)
	server := httptest.NewServer(s)
	transport := &http.Transport{}
	tb.Cleanup(func() {
		s.Close()
		transport.CloseIdleConnections()
		server.Close()
	})
	return &bench{t: tb, sim: s, clock: c, url: server.URL, client: &http.Client{Transport: transport, Timeout: 20 * time.Second}}
}

type answer struct {
	status int
	header http.Header
	body   string
}

// try sends a call; headers come as name, value.
func (b *bench) try(method, path, body string, headers ...string) (answer, error) {
	r := httptest.NewRequestWithContext(b.t.Context(), method, b.url+path, nil)
	r.RequestURI = ""
	if body != "" {
		r.Body = io.NopCloser(strings.NewReader(body))
		r.ContentLength = int64(len(body))
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := b.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(text)}, err
}

func (b *bench) get(path string, headers ...string) answer {
	b.t.Helper()
	a, err := b.try(http.MethodGet, path, "", headers...)
	if err != nil {
		b.t.Fatalf("GET %s: %v", path, err)
	}
	return a
}

// read decodes a 200.
func (b *bench) read(path string, into any) answer {
	b.t.Helper()
	a := b.get(path)
	if a.status != http.StatusOK {
		b.t.Fatalf("GET %s: %d %s", path, a.status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), into); err != nil {
		b.t.Fatalf("GET %s: %v in %.300s", path, err, a.body)
	}
	return a
}

// inject posts faults as another program would.
func (b *bench) inject(faults string) {
	b.t.Helper()
	a, err := b.try(http.MethodPost, "/_sim/faults", faults)
	if err != nil || a.status != http.StatusOK {
		b.t.Fatalf("POST /_sim/faults %s: %d %s %v", faults, a.status, a.body, err)
	}
}

func (b *bench) clear() {
	b.t.Helper()
	if a, err := b.try(http.MethodDelete, "/_sim/faults", ""); err != nil || a.status != http.StatusOK || a.body != "[]\n" {
		b.t.Fatalf("DELETE /_sim/faults: %d %q %v", a.status, a.body, err)
	}
}

const (
	gecko    = "/coingecko/api/v3"
	geckoPro = "/coingecko-pro/api/v3"
	spot     = "/binance/api/v3"
	west     = "/kraken/0/public"
)

// everything is one call of every route.
var everything = []string{
	gecko + "/ping",
	gecko + "/simple/price?ids=bitcoin,ethereum&vs_currencies=usd,eur&include_market_cap=true&include_24hr_vol=true&include_24hr_change=true&include_last_updated_at=true",
	gecko + "/simple/supported_vs_currencies",
	gecko + "/coins/list?include_platform=true",
	gecko + "/coins/markets?vs_currency=usd&per_page=250&price_change_percentage=1h,24h,7d,14d,30d,200d,1y&sparkline=true",
	gecko + "/coins/markets?vs_currency=usd&per_page=250&page=2&order=volume_desc",
	gecko + "/coins/bitcoin",
	gecko + "/coins/ghost-protocol?localization=false&tickers=false",
	gecko + "/coins/bitcoin/market_chart?vs_currency=usd&days=1",
	gecko + "/coins/bitcoin/market_chart?vs_currency=eur&days=90",
	gecko + "/coins/bitcoin/market_chart?vs_currency=usd&days=365",
	gecko + "/coins/bitcoin/ohlc?vs_currency=usd&days=30",
	gecko + "/global",
	gecko + "/search?query=uni",
	spot + "/ping",
	spot + "/time",
	spot + "/exchangeInfo",
	spot + "/klines?symbol=BTCUSDT&interval=1d&limit=1000",
	spot + "/klines?symbol=FLEDGEUSDT&interval=1w",
	spot + "/ticker/24hr",
	spot + "/ticker/price",
	spot + "/depth?symbol=ETHUSDT&limit=50",
	west + "/Time",
	west + "/SystemStatus",
	west + "/AssetPairs",
	west + "/Ticker",
	west + "/OHLC?pair=XBTUSD&interval=1440",
	"/fng/?limit=0",
}

func TestSameSeedAndClockGiveIdenticalBodies(t *testing.T) {
	t.Parallel()
	a, b := newBench(t, unlimited()), newBench(t, unlimited())
	other := unlimited()
	other.Seed = 8
	c := newBench(t, other)
	for _, path := range everything {
		first, second := a.get(path), b.get(path)
		if first.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, first.status, first.body)
		}
		if !json.Valid([]byte(first.body)) {
			t.Errorf("%s: not JSON: %.200s", path, first.body)
		}
		if first.body != second.body || first.header.Get("ETag") != second.header.Get("ETag") {
			t.Errorf("%s: two servers with one seed and clock disagree", path)
		}
	}
	path := gecko + "/coins/markets?vs_currency=usd"
	if a.get(path).body == c.get(path).body {
		t.Error("another seed gives the same quotes")
	}
}

func TestEnvironmentPointsAtThisServer(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	var env map[string]string
	b.read("/_sim/env", &env)
	for name, path := range map[string]string{
		"COINGECKO_URL": "/ping", "BINANCE_URL": "/api/v3/ping", "FEAR_GREED_URL": "?limit=1", "KRAKEN_URL": "/0/public/Time",
	} {
		response, err := b.client.Get(env[name] + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s%s: %d", env[name], path, response.StatusCode)
		}
	}
	if want := "ws" + b.url[len("http"):] + "/binance"; env["BINANCE_STREAM_URL"] != want {
		t.Errorf("BINANCE_STREAM_URL is %q, want %q", env["BINANCE_STREAM_URL"], want)
	}
	if want := "ws" + b.url[len("http"):] + "/kraken/v2"; env["KRAKEN_STREAM_URL"] != want {
		t.Errorf("KRAKEN_STREAM_URL is %q, want %q", env["KRAKEN_STREAM_URL"], want)
	}
	if len(env) != 6 {
		t.Errorf("got %v", env)
	}
}

func TestRequestsAreCountedByTemplate(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	for _, path := range []string{
		gecko + "/coins/markets?vs_currency=usd", gecko + "/coins/markets", gecko + "/coins/bitcoin", gecko + "/coins/nothing",
		gecko + "/coins/bitcoin/market_chart?vs_currency=usd&days=1", gecko + "/nothing/at/all", gecko + "/a",
		geckoPro + "/ping", spot + "/klines?symbol=NOPE", "/fng/", "/fng?limit=2", "/elsewhere",
	} {
		b.get(path)
	}
	if _, err := b.try("BREW", spot+"/ping", ""); err != nil {
		t.Fatal(err)
	}
	if a, err := b.try(http.MethodPost, spot+"/ping", ""); err != nil || a.status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d %v", a.status, err)
	}
	// Go's client sends a GET again when a connection that it used before breaks, so this needs a new one.
	b.client.CloseIdleConnections()
	b.inject(`{"service":"binance","kind":"reset"}`)
	b.client.CloseIdleConnections()
	if _, err := b.try(http.MethodGet, spot+"/time", ""); err == nil {
		t.Error("a reset call was answered")
	}
	want := map[string]int64{
		"coingecko GET /coins/markets":           2,
		"coingecko GET /coins/{id}":              2,
		"coingecko GET /coins/{id}/market_chart": 1,
		"coingecko GET (unknown)":                2,
		"coingecko-pro GET /ping":                1,
		"binance GET /api/v3/klines":             1,
		"binance OTHER /api/v3/ping":             1,
		"binance POST /api/v3/ping":              1,
		"binance GET /api/v3/time":               1,
		"fng GET /":                              2,
	}
	var got map[string]int64
	b.read("/_sim/requests", &got)
	for name, n := range want {
		if got[name] != n {
			t.Errorf("%s: counted %d, want %d", name, got[name], n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("counted %v, want %v", got, want)
	}
	if a, err := b.try(http.MethodDelete, "/_sim/requests", ""); err != nil || a.body != "{}\n" {
		t.Errorf("after the reset: %q %v", a.body, err)
	}
	b.get("/fng/")
	if n := b.sim.Requests()["fng GET /"]; n != 1 {
		t.Errorf("after the reset: counted %d", n)
	}
}

func TestControlRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{http.MethodPut, "/_sim/faults", http.StatusMethodNotAllowed},
		{http.MethodPost, "/_sim/requests", http.StatusMethodNotAllowed},
		{http.MethodPost, "/_sim/env", http.StatusMethodNotAllowed},
		{http.MethodGet, "/_sim/other", http.StatusNotFound},
		{http.MethodGet, "/other", http.StatusNotFound},
	} {
		a, err := b.try(c.method, c.path, "")
		if err != nil || a.status != c.status {
			t.Errorf("%s %s: %d %v, want %d", c.method, c.path, a.status, err, c.status)
		}
	}
}
