package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/service-islands/islands/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// exchange is a small Binance that remembers what it was asked.
type exchange struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
	now   time.Time
	// answers replace the usual ones, by path.
	answers map[string]http.HandlerFunc
	gone    string // a symbol that is listed and yet unknown
}

const (
	pathInfo    = "/api/v3/exchangeInfo"
	pathTickers = "/api/v3/ticker/24hr"
	pathKlines  = "/api/v3/klines"
)

// noon is the time at which tests take place.
var noon = time.Date(2026, 5, 18, 12, 0, 30, 0, time.UTC)

// clock returns the time, which tests move.
func (e *exchange) clock() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now
}

func (e *exchange) pass(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now = e.now.Add(d)
}

// answer sets how a path is answered from now on; nil for the usual.
func (e *exchange) answer(path string, h http.HandlerFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answers[path] = h
}

// count is how often a path was asked.
func (e *exchange) count(path string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, a := range e.asked {
		if strings.HasPrefix(a, path) {
			n++
		}
	}
	return n
}

func (e *exchange) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	e.asked = append(e.asked, r.URL.Path+"?"+r.URL.RawQuery)
	h, gone := e.answers[r.URL.Path], e.gone
	e.mu.Unlock()
	if h != nil {
		h(w, r)
		return
	}
	switch r.URL.Path {
	case pathInfo:
		rows := []string{row("DEAD", "USDT", "TRADING"), row("OLD", "USDT", "BREAK"), row("BTC", "EUR", "TRADING")}
		for _, base := range []string{"ETH", "BTC", "SOL"} {
			if base+"USDT" != gone {
				rows = append(rows, row(base, "USDT", "TRADING"))
			}
		}
		_, _ = fmt.Fprintf(w, `{"timezone":"UTC","rateLimits":[],"symbols":[%s]}`, strings.Join(rows, ","))
	case pathTickers:
		var symbols, rows []string
		if err := json.Unmarshal([]byte(r.URL.Query().Get("symbols")), &symbols); err != nil || slices.Contains(symbols, gone) {
			fail(400, `{"code":-1121,"msg":"Invalid symbol."}`)(w, r)
			return
		}
		for _, s := range symbols {
			rows = append(rows, ticker(s))
		}
		_, _ = io.WriteString(w, "["+strings.Join(rows, ",")+"]")
	default:
		http.NotFound(w, r)
	}
}

func row(base, quote, status string) string {
	return fmt.Sprintf(`{"symbol":"%s%s","status":%q,"baseAsset":%q,"quoteAsset":%q,"filters":[{"filterType":"LOT_SIZE"}]}`,
		base, quote, status, base, quote)
}

// ticker is one row of ticker/24hr.
func ticker(symbol string) string {
	if strings.HasPrefix(symbol, "DEAD") {
		return fmt.Sprintf(`{"symbol":%q,"priceChangePercent":"0.000","lastPrice":"0.00000000","highPrice":"0.00000000",
			"lowPrice":"0.00000000","volume":"0.00000000","quoteVolume":"0.00000000","openTime":1779019230000,
			"closeTime":1779105630000,"firstId":-1,"lastId":-1,"count":0}`, symbol)
	}
	return fmt.Sprintf(`{"symbol":%q,"priceChange":"-94.99","priceChangePercent":"-0.953","lastPrice":"77671.01000000",
		"highPrice":"78419.00000000","lowPrice":"76696.00000000","volume":"8913.30000000","quoteVolume":"15300000.50000000",
		"openTime":1779019230000,"closeTime":1779105629123,"firstId":28385,"lastId":28460,"count":76}`, symbol)
}

func fail(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// serve starts an exchange and a source that asks it.
func serve(t *testing.T, values ...any) (*source, *exchange) {
	t.Helper()
	e := &exchange{now: noon, answers: map[string]http.HandlerFunc{}}
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	config := map[string]any{"url": e.URL, "stream_url": "ws" + strings.TrimPrefix(e.URL, "http")}
	for i := 0; i+1 < len(values); i += 2 {
		config[values[i].(string)] = values[i+1]
	}
	s := newSource()
	s.now = e.clock
	if err := s.Initialize(t.Context(), sdk.Config{Name: "binance", Values: config}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Shutdown(context.WithoutCancel(t.Context())) }) // It never fails.
	return s, e
}

func quotes(t *testing.T, s *source, vs string, symbols ...string) ([]sdk.Quote, error) {
	t.Helper()
	req := sdk.QuotesRequest{VsCurrency: vs}
	for _, symbol := range symbols {
		req.Assets = append(req.Assets, sdk.Asset{ID: symbol + "-id", Symbol: symbol, Name: "A " + symbol})
	}
	return s.Quotes(t.Context(), req)
}

func TestQuotes(t *testing.T) {
	s, e := serve(t)
	got, err := quotes(t, s, "usd", "btc", "dead", "old", "nope", "sol", "b\"t")
	if err != nil || len(got) != 2 {
		t.Fatalf("%d quotes, %v; want btc and sol", len(got), err)
	}
	want := sdk.Quote{
		ID: "btc-id", Symbol: "btc", Name: "A btc", VsCurrency: "usd", Price: sdk.Known(77671.01), Change24h: sdk.Known(-0.953),
		High24h: sdk.Known(78419), Low24h: sdk.Known(76696), Volume24h: sdk.Known(15300000.5),
		Source: "binance", AsOf: time.UnixMilli(1779105629123).UTC(), Note: inTether,
	}
	if got[0] != want {
		t.Errorf("got  %+v\nwant %+v", got[0], want)
	}
	if e.count(pathTickers) != 1 || e.count(pathInfo) != 1 {
		t.Errorf("asked %v", e.asked)
	}
	// The list is kept for six hours.
	e.pass(5*time.Hour + 59*time.Minute)
	if _, err := quotes(t, s, "usd", "eth"); err != nil || e.count(pathInfo) != 1 {
		t.Errorf("%v; the list was asked for %d times, want once", err, e.count(pathInfo))
	}
	e.pass(2 * time.Minute)
	if _, err := quotes(t, s, "usd", "eth"); err != nil || e.count(pathInfo) != 2 {
		t.Errorf("%v; the list was asked for %d times, want twice", err, e.count(pathInfo))
	}
}

func TestCurrencies(t *testing.T) {
	s, e := serve(t)
	if got, err := quotes(t, s, "eur", "btc", "eth"); err != nil || len(got) != 1 || got[0].Note != "" || got[0].VsCurrency != "eur" {
		t.Errorf("in eur: %+v, %v; want btc alone, without a note", got, err)
	}
	if got, err := quotes(t, s, "usdt", "eth"); err != nil || len(got) != 1 || got[0].Note != "" {
		t.Errorf("in usdt: %+v, %v", got, err)
	}
	if _, err := quotes(t, s, "xyz", "btc"); !errors.Is(err, sdk.Unsupported) {
		t.Errorf("in xyz: %v", err)
	}
	before := e.count(pathTickers)
	if got, err := quotes(t, s, "usd", "nope"); err != nil || len(got) != 0 || e.count(pathTickers) != before {
		t.Errorf("an unknown asset: %v, %v, %d calls", got, err, e.count(pathTickers)-before)
	}
	if got, err := quotes(t, s, "usd"); err != nil || len(got) != 0 {
		t.Errorf("no assets: %v, %v", got, err)
	}
	if _, err := quotes(t, s, "usd", make([]string, 251)...); !errors.Is(err, sdk.InvalidArgument) {
		t.Errorf("251 assets: %v", err)
	}
}

func TestAPairThatHasGoneDoesNotSpoilTheOthers(t *testing.T) {
	s, e := serve(t)
	if _, err := quotes(t, s, "usd", "btc"); err != nil {
		t.Fatal(err)
	}
	e.pass(time.Hour)
	e.gone = "SOLUSDT"
	got, err := quotes(t, s, "usd", "btc", "sol")
	if err != nil || len(got) != 1 || got[0].Symbol != "btc" || e.count(pathInfo) != 2 {
		t.Errorf("%+v, %v, the list was asked for %d times", got, err, e.count(pathInfo))
	}
}

func TestConcurrentCallersShareOneList(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		kind   sdk.Kind
	}{"loaded": {200, sdk.Internal}, "failed": {500, sdk.Unavailable}} {
		t.Run(name, func(t *testing.T) {
			s, e := serve(t)
			s.now = time.Now
			arrived, release := make(chan struct{}), make(chan struct{})
			e.answer(pathInfo, func(w http.ResponseWriter, _ *http.Request) {
				close(arrived) // A second call would panic.
				<-release
				w.WriteHeader(tc.status)
				_, _ = fmt.Fprintf(w, `{"symbols":[%s]}`, row("BTC", "USDT", "TRADING"))
			})
			errs := make([]error, 20)
			var began, wg sync.WaitGroup
			began.Add(len(errs))
			for i := range errs {
				wg.Go(func() {
					began.Done()
					_, errs[i] = quotes(t, s, "usd", "btc")
				})
			}
			<-arrived
			began.Wait()
			time.Sleep(20 * time.Millisecond) // Lets the others come to wait; the test holds without it too.
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := s.Catalogue(ctx, sdk.CatalogueRequest{}); !errors.Is(err, sdk.Canceled) {
				t.Errorf("a caller that went away: %v", err)
			}
			close(release)
			wg.Wait()
			for _, err := range errs {
				if (tc.status == 200) != (err == nil) || (err != nil && sdk.KindOf(err) != tc.kind) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}

func TestAnOldListIsBetterThanNone(t *testing.T) {
	s, e := serve(t)
	if _, err := quotes(t, s, "usd", "btc"); err != nil {
		t.Fatal(err)
	}
	e.pass(7 * time.Hour)
	e.answer(pathInfo, fail(500, ""))
	for range 3 {
		if got, err := quotes(t, s, "usd", "btc"); err != nil || len(got) != 1 {
			t.Errorf("%v, %v", got, err)
		}
	}
	if e.count(pathInfo) != 2 {
		t.Errorf("the list was asked for %d times, want 2: not again within a minute", e.count(pathInfo))
	}
	e.pass(time.Minute)
	e.answer(pathInfo, nil)
	if _, err := quotes(t, s, "usd", "btc"); err != nil || e.count(pathInfo) != 3 {
		t.Errorf("%v, asked %d times, want 3", err, e.count(pathInfo))
	}
}

func TestCatalogue(t *testing.T) {
	s, e := serve(t)
	got, err := s.Catalogue(t.Context(), sdk.CatalogueRequest{})
	want := []sdk.Asset{{Symbol: "btc"}, {Symbol: "dead"}, {Symbol: "eth"}, {Symbol: "sol"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	e.pass(7 * time.Hour)
	s.list = newDirectory()
	e.answer(pathInfo, fail(200, `{"symbols":[]}`))
	if _, err := s.Catalogue(t.Context(), sdk.CatalogueRequest{}); !errors.Is(err, sdk.BadUpstream) {
		t.Errorf("an empty list: %v", err)
	}
}

func TestFaults(t *testing.T) {
	reset := func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.(*net.TCPConn).SetLinger(0) // An orderly end would still be an end.
		_ = conn.Close()
	}
	banEnd := time.Now().Add(10 * time.Minute)
	banned := fmt.Sprintf(`{"code":-1003,"msg":"Way too much request weight used; IP banned until %d. Please use WebSocket Streams."}`, banEnd.UnixMilli())
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		kind   sdk.Kind
		after  time.Duration // at least
		reason string
	}{
		"429 as JSON":       {fail(429, `{"code":-1003,"msg":"Too much request weight used."}`, "Retry-After", "17"), sdk.RateLimited, 17 * time.Second, "429"},
		"429 as a page":     {fail(429, "<html>429</html>"), sdk.RateLimited, time.Minute, "429"},
		"429 as text":       {fail(429, "Too Many Requests"), sdk.RateLimited, time.Minute, "429"},
		"banned until":      {fail(418, banned), sdk.RateLimited, 9 * time.Minute, "banned"},
		"banned for longer": {fail(418, banned, "Retry-After", "7200"), sdk.RateLimited, 2 * time.Hour, "banned"},
		"banned, no end":    {fail(418, "I'm a teapot"), sdk.RateLimited, 2 * time.Minute, "banned"},
		"restricted": {
			fail(451, `{"code":0,"msg":"Service unavailable from a restricted location."}`), sdk.PermissionDenied, time.Minute, restrictedLocation,
		},
		"firewall":        {fail(403, "<html><h1>403 Forbidden</h1></html>"), sdk.PermissionDenied, time.Minute, "firewall"},
		"500":             {fail(500, ""), sdk.Unavailable, 0, "unavailable"},
		"truncated JSON":  {fail(200, `[[1779105600000,"1","2`), sdk.BadUpstream, 0, "bad upstream"},
		"a page":          {fail(200, "<html></html>"), sdk.BadUpstream, 0, "bad upstream"},
		"short candle":    {fail(200, `[[1779105600000,"1"]]`), sdk.BadUpstream, 0, "bad upstream"},
		"null price":      {fail(200, `[[1779105600000,null,"1","1","1","1",1779105659999]]`), sdk.BadUpstream, 0, "bad upstream"},
		"reset":           {reset, sdk.Unavailable, 0, "unavailable"},
		"silence":         {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, sdk.Unavailable, 0, "unavailable"},
		"unknown symbol":  {fail(400, `{"code":-1121,"msg":"Invalid symbol."}`), sdk.NotFound, 0, ""},
		"interval":        {fail(400, `{"code":-1120,"msg":"Invalid interval."}`), sdk.InvalidArgument, 0, ""},
		"characters":      {fail(400, `{"code":-1100,"msg":"Illegal characters found."}`), sdk.InvalidArgument, 0, ""},
		"weight in a 400": {fail(400, `{"code":-1003,"msg":"Too many requests."}`), sdk.RateLimited, time.Minute, "rate limited"},
	} {
		t.Run(name, func(t *testing.T) {
			s, e := serve(t, "timeout", "200ms")
			s.now = time.Now
			e.answer(pathKlines, tc.answer)
			ask := func() error {
				_, err := s.Candles(t.Context(), sdk.CandlesRequest{
					Asset: sdk.Asset{Symbol: "btc"}, VsCurrency: "usd", Interval: sdk.Interval1m, Limit: 10,
				})
				return err
			}
			err := ask()
			if err == nil || sdk.KindOf(err) != tc.kind || sdk.RetryAfter(err) < tc.after {
				t.Fatalf("got %v (%s, RetryAfter %s), want %q and at least %s", err, sdk.KindOf(err), sdk.RetryAfter(err), tc.kind, tc.after)
			}
			h := s.Health(t.Context())
			if want := tc.reason != ""; (h.Status == sdk.StatusDegraded) != want || !strings.Contains(h.Reason, tc.reason) {
				t.Errorf("health is %+v, want the reason %q", h, tc.reason)
			}
			if tc.after == 0 {
				return
			}
			// Nothing at all is asked until then.
			if _, err := quotes(t, s, "usd", "btc"); err == nil || sdk.KindOf(err) != tc.kind {
				t.Errorf("while silent: %v", err)
			}
			if len(e.asked) != 1 {
				t.Errorf("asked %v while silent", e.asked)
			}
		})
	}
}

func TestARestrictedLocationShowsUntilItIsOver(t *testing.T) {
	s, _ := serve(t)
	s.onReply(451, http.Header{})
	if h := s.Health(t.Context()); h.Status != sdk.StatusDegraded || h.Reason != restrictedLocation {
		t.Errorf("health is %+v", h)
	}
	s.onReply(200, http.Header{})
	if h := s.Health(t.Context()); h.Status != sdk.StatusOK {
		t.Errorf("health is %+v", h)
	}
}

func TestWeightOfEveryReplyIsObeyed(t *testing.T) {
	s, e := serve(t, "weight_per_minute", 1000.0)
	s.now = time.Now
	weight := "949"
	e.answer(pathTickers, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-MBX-USED-WEIGHT-1M", weight)
		_, _ = io.WriteString(w, "["+ticker("BTCUSDT")+"]")
	})
	if _, err := quotes(t, s, "usd", "btc"); err != nil {
		t.Fatal(err)
	}
	weight = "950"
	if _, err := quotes(t, s, "usd", "btc"); err != nil {
		t.Fatalf("949 of 1000 used: %v", err)
	}
	_, err := quotes(t, s, "usd", "btc")
	if !errors.Is(err, sdk.RateLimited) || sdk.RetryAfter(err) > time.Minute || e.count(pathTickers) != 2 {
		t.Errorf("950 of 1000 used: %v, RetryAfter %s, %d calls", err, sdk.RetryAfter(err), e.count(pathTickers))
	}
	metrics, err := s.Metrics(t.Context())
	if v, ok := metrics.Value("upstream_used_weight", nil); err != nil || !ok || v != 950 {
		t.Errorf("used weight %v, %v", v, err)
	}
	part, _ := s.Health(t.Context()).Part("upstream")
	if part.Details["used_weight"] != int64(950) || part.Status != sdk.StatusDegraded {
		t.Errorf("health is %+v", part)
	}
	for _, text := range []string{"", "x", "-1"} {
		s.onReply(200, http.Header{"X-Mbx-Used-Weight-1m": {text}})
	}
	if s.used.Load() != 950 {
		t.Errorf("nonsense changed the used weight to %d", s.used.Load())
	}
}

func TestWeights(t *testing.T) {
	for n, want := range map[int]int{1: 2, 20: 2, 21: 40, 100: 40, 101: 80, 250: 80} {
		if got := weightOfTickers(n); got != want {
			t.Errorf("%d symbols weigh %d, want %d", n, got, want)
		}
	}
	s, _ := serve(t)
	before := tokens(t, s)
	if _, err := quotes(t, s, "usd", "btc"); err != nil {
		t.Fatal(err)
	}
	// The bucket refills while the test runs, by 40 a second.
	if spent := before - tokens(t, s); spent > 22 || spent < 2 {
		t.Errorf("a list and a ticker weighed %v, want 22 less what was refilled", spent)
	}
}

func tokens(t *testing.T, s *source) float64 {
	t.Helper()
	metrics, err := s.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v, _ := metrics.Value("upstream_limiter_tokens", nil)
	return v
}

func TestSettings(t *testing.T) {
	for name, tc := range map[string]struct {
		values  map[string]any
		setting string
	}{
		"defaults":   {nil, ""},
		"url":        {map[string]any{"url": "data-api.binance.vision"}, "url"},
		"stream":     {map[string]any{"stream_url": "https://data-stream.binance.vision"}, "stream_url"},
		"weight":     {map[string]any{"weight_per_minute": 199.0}, "weight_per_minute"},
		"no timeout": {map[string]any{"timeout": "0s"}, "timeout"},
		"unknown":    {map[string]any{"api_key": "x"}, "api_key"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSource()
			err := s.Initialize(t.Context(), sdk.Config{Name: "binance", Values: tc.values})
			var e *sdk.Error
			if tc.setting == "" && err != nil {
				t.Error(err)
			}
			if tc.setting != "" && (!errors.As(err, &e) || e.Kind != sdk.InvalidArgument || e.Setting != tc.setting) {
				t.Errorf("got %v, want an error about %q", err, tc.setting)
			}
			for range 2 {
				if err := s.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestManifest(t *testing.T) {
	m := manifest().Complete(newSource())
	if want := []sdk.Role{sdk.RoleQuotes, sdk.RoleCandles, sdk.RoleCatalogue}; !slices.Equal(m.Roles, want) {
		t.Errorf("roles %v, want %v", m.Roles, want)
	}
	if newSource().Health(t.Context()).Status != sdk.StatusFailed {
		t.Error("an island that is not initialized cannot be well")
	}
}

// TestReadmeNamesEverySetting keeps the table of settings complete.
func TestReadmeNamesEverySetting(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range manifest().Settings {
		if row := "| `" + s.Name + "` | " + string(s.Type); !strings.Contains(string(readme), row) || !strings.Contains(string(readme), s.Default) {
			t.Errorf("README.md has no row %q with the default %q", row, s.Default)
		}
	}
}

func FuzzClassify(f *testing.F) {
	f.Add(418, "30", []byte(`{"code":-1003,"msg":"Way too much; IP banned until 1785050129644."}`))
	f.Add(400, "", []byte(`{"code":-1121,"msg":"Invalid symbol."}`))
	f.Add(403, "", []byte(`<html></html>`))
	f.Fuzz(func(t *testing.T, status int, after string, body []byte) {
		err := classify(status, http.Header{"Retry-After": {after}}, body, noon)
		if status == 418 && (err == nil || sdk.RetryAfter(err) <= 0) {
			t.Errorf("a ban that ends at once: %v", err)
		}
	})
}

func FuzzListing(f *testing.F) {
	f.Add([]byte(`{"symbols":[` + row("BTC", "USDT", "TRADING") + `]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var info exchangeInfo
		if json.Unmarshal(text, &info) != nil {
			return
		}
		if list, err := info.listing(noon); err == nil && len(list.symbols) == 0 {
			t.Error("an empty list must be an error")
		}
	})
}
