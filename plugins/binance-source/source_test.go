package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	pathStream  = "/stream"
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
	if want := []sdk.Role{sdk.RoleQuotes, sdk.RoleCandles, sdk.RoleCatalogue, sdk.RoleStream}; !slices.Equal(m.Roles, want) {
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

// TestReadmeNamesEveryMetric keeps the table of metrics complete.
func TestReadmeNamesEveryMetric(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	s, _ := serve(t)
	metrics, err := s.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range metrics {
		if !strings.Contains(string(readme), "| `"+m.Name) || !strings.Contains(string(readme), "| "+string(m.Type)+" |") {
			t.Errorf("README.md has no row of %s", m.Name)
		}
	}
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
