package gateway

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
)

func TestRoutesAskTheMarket(t *testing.T) {
	for name, tt := range map[string]struct{ target, asked, header, value string }{
		"report":            {"/api/crypto-report/btc", "report crypto-report btc usd json", "", ""},
		"upper case":        {"/api/crypto-report/BTC?vs_currency=EUR", "report crypto-report btc eur json", "", ""},
		"format":            {"/api/crypto-report/btc?format=md", "report crypto-report btc usd md", "Content-Type", "text/markdown; charset=utf-8"},
		"format over type":  {"/api/crypto-report/btc?format=html", "report crypto-report btc usd html", "Content-Security-Policy", string(contentPolicy.value)},
		"a page's window":   {"/api/crypto-report/btc?format=html", "report crypto-report btc usd html", "Cross-Origin-Opener-Policy", "same-origin"},
		"a page's devices":  {"/api/crypto-report/btc?format=html", "report crypto-report btc usd html", "Permissions-Policy", string(noDevices.value)},
		"analysis":          {"/api/technical-analysis/btc", "report technical-analysis btc usd json", "", ""},
		"quote":             {"/api/market-data/eth?source=coingecko-source", "quote eth usd coingecko-source", "", ""},
		"global":            {"/api/market-data/global?vs_currency=btc", "global btc", "", ""},
		"candles":           {"/api/candles/sol?interval=1m&limit=3", "candles sol usd", "", ""},
		"history":           {"/api/history/sol?from=1700000000&to=1700000100000&limit=2", "history sol", "X-Cache", "store"},
		"catalogue":         {"/api/symbols?q=wrapped+b%C3%A9", "symbols wrapped bé", "", ""},
		"whole catalogue":   {"/api/symbols", "symbols ", "", ""},
		"id with hyphens":   {"/api/market-data/usd-coin", "quote usd-coin usd ", "", ""},
		"accepts all of it": {"/api/market-data/usd-coin?vs_currency=sats", "quote usd-coin sats ", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := newFakeMarket()
			g := newTest(t, options(m))
			r := get(t, g, tt.target)
			if r.StatusCode != http.StatusOK {
				t.Fatalf("%d: %s", r.StatusCode, r.body)
			}
			if got := m.asked(); !slices.Equal(got, []string{tt.asked}) {
				t.Errorf("asked %q, want %q", got, tt.asked)
			}
			if got := r.Header.Get(tt.header); got != tt.value {
				t.Errorf("%s: %q, want %q", tt.header, got, tt.value)
			}
		})
	}
}

func TestAnswerHeaders(t *testing.T) {
	m := newFakeMarket()
	g := newTest(t, options(m))
	r := get(t, g, "/api/crypto-report/btc", "X-Request-Id", "client-7.A_b")
	for header, want := range map[string]string{
		"Content-Type": jsonType, "ETag": `"plain"`, "Age": "20", "X-Cache": "near", "X-Request-Id": "client-7.A_b",
		"Cache-Control": "public, max-age=40, stale-while-revalidate=60, stale-if-error=3560",
		"Vary":          "Accept, Accept-Encoding", "Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff",
	} {
		if got := r.Header.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	if got := m.ids; !slices.Equal(got, []string{"client-7.A_b"}) {
		t.Errorf("the market saw the request ids %q", got)
	}
	for _, insane := range []string{"a b", strings.Repeat("x", 65), "<script>", "ü"} {
		got := get(t, g, "/api/crypto-report/btc", "X-Request-Id", insane).Header.Get("X-Request-Id")
		if got == insane || len(got) != 16 {
			t.Errorf("request id %q for %q", got, insane)
		}
	}

	m.answer.Stale, m.answer.FreshUntil = true, now.Add(-10*time.Second)
	r = get(t, g, "/api/crypto-report/btc")
	if got, want := r.Header.Get("Cache-Control"), "public, max-age=0, stale-while-revalidate=0, stale-if-error=3600"; got != want {
		t.Errorf("stale: %q, want %q", got, want)
	}
	if got := r.Header.Get("X-Cache"); got != "stale" {
		t.Errorf("X-Cache %q", got)
	}
}

func TestSeveralQuotes(t *testing.T) {
	m := newFakeMarket()
	g := newTest(t, options(m))
	r := get(t, g, "/api/market-data?symbols=btc,ETH,btc,sol")
	if got, want := string(r.body), `{"quotes":[{"symbol":"btc"},{"symbol":"eth"},{"symbol":"sol"}],"missing":[]}`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := r.Header.Get("Cache-Control"); !strings.HasPrefix(got, "public, max-age=40,") {
		t.Error(got)
	}
	if again := get(t, g, "/api/market-data?symbols=btc,eth,sol", "If-None-Match", r.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
		t.Errorf("%d", again.StatusCode)
	}

	m.errs = map[string]error{"eth": sdk.NotFound, "sol": sdk.Errorf(sdk.Unavailable, "secret words")}
	r = get(t, g, "/api/market-data?symbols=eth,btc,sol")
	if got, want := string(r.body), `{"quotes":[{"symbol":"btc"}],"missing":["eth","sol"]}`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := r.Header.Get("Cache-Control"); !strings.HasPrefix(got, "public, max-age=0,") {
		t.Error(got)
	}
	isProblem(t, get(t, g, "/api/market-data?symbols=eth,sol"), http.StatusServiceUnavailable)
	r = get(t, g, "/api/market-data?symbols=eth")
	if got, want := string(r.body), `{"quotes":[],"missing":["eth"]}`; got != want || r.StatusCode != http.StatusOK {
		t.Errorf("%d %s\nwant %s", r.StatusCode, got, want)
	}
	if got := r.Header.Get("Age"); got != "0" {
		t.Errorf("Age %q of an answer that holds nothing", got)
	}
}

func TestCandlesAreAskedForAsTheyWere(t *testing.T) {
	for target, want := range map[string]struct {
		interval sdk.Interval
		limit    int
	}{
		"/api/candles/btc":                        {sdk.Interval1d, 365},
		"/api/candles/btc?interval=1m&limit=1":    {sdk.Interval1m, 1},
		"/api/candles/btc?limit=1000&interval=1w": {sdk.Interval1w, 1000},
	} {
		m := newFakeMarket()
		if r := get(t, newTest(t, options(m)), target); r.StatusCode != http.StatusOK || m.interval != want.interval || m.limit != want.limit {
			t.Errorf("%s: %d, %s × %d", target, r.StatusCode, m.interval, m.limit)
		}
	}
}

func TestHistoryIsAskedForAsItWas(t *testing.T) {
	day := 24 * time.Hour
	for name, tt := range map[string]struct {
		query    string
		from, to time.Time
		limit    int
		cursor   string
	}{
		"nothing said": {"", now.Add(-day), now, 100, ""},
		"seconds":      {"?from=1700000000&to=1700000060&limit=7", time.Unix(1700000000, 0), time.Unix(1700000060, 0), 7, ""},
		"milliseconds": {"?from=1700000000500&cursor=abc", time.UnixMilli(1700000000500), now, 100, "abc"},
		"RFC 3339":     {"?to=2026-01-02T01:00:00%2B01:00", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), 100, ""},
		"a plain plus": {"?from=2026-01-02T01:00:00+01:00", time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), now, 100, ""},
		"1970":         {"?from=0", time.Unix(0, 0), now, 100, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := newFakeMarket()
			m.page.Next = "n"
			r := get(t, newTest(t, options(m)), "/api/history/btc"+tt.query)
			got := m.history
			if !got.From.Equal(tt.from) || !got.To.Equal(tt.to) || got.Limit != tt.limit || got.Cursor != tt.cursor {
				t.Errorf("%+v", got)
			}
			if want := `{"symbol":"btc","vs_currency":"usd","quotes":[],"next":"n"}`; string(r.body) != want {
				t.Errorf("%s", r.body)
			}
			if again := get(t, newTest(t, options(m)), "/api/history/btc"+tt.query, "If-None-Match", r.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
				t.Errorf("%d for what is known", again.StatusCode)
			}
		})
	}
}
