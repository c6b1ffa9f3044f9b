package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
)

// TestMalformedRequestsReachNobody is the promise that nothing that cannot be meant gets as far as a cache or a source.
func TestMalformedRequestsReachNobody(t *testing.T) {
	long := strings.Repeat("a", 33)
	huge := strings.Repeat("a", 10<<10)
	for name, tt := range map[string]struct {
		method, target string
		status         int
		code           string
	}{
		"dots":                      {"GET", "/api/crypto-report/..", 400, "malformed_symbol"},
		"dots and slashes":          {"GET", "/api/crypto-report/../../etc/passwd", 400, "malformed_symbol"},
		"escaped slash":             {"GET", "/api/crypto-report/..%2f..%2fetc%2fpasswd", 400, "malformed_symbol"},
		"escaped backslash":         {"GET", "/api/crypto-report/..%5c", 400, "malformed_symbol"},
		"escaped letter":            {"GET", "/api/crypto-report/%62tc", 400, "malformed_symbol"},
		"NUL":                       {"GET", "/api/crypto-report/btc%00", 400, "malformed_symbol"},
		"line break":                {"GET", "/api/crypto-report/btc%0d%0aX-Evil:1", 400, "malformed_symbol"},
		"unicode":                   {"GET", "/api/crypto-report/₿", 400, "malformed_symbol"},
		"escaped unicode":           {"GET", "/api/crypto-report/%E2%82%BF", 400, "malformed_symbol"},
		"look-alike":                {"GET", "/api/market-data/btс", 400, "malformed_symbol"},
		"star":                      {"GET", "/api/crypto-report/*", 400, "malformed_symbol"},
		"glob":                      {"GET", "/api/crypto-report/b[a-z]c", 400, "malformed_symbol"},
		"escaped question mark":     {"GET", "/api/crypto-report/b%3Fc", 400, "malformed_symbol"},
		"space":                     {"GET", "/api/crypto-report/b%20c", 400, "malformed_symbol"},
		"underscore":                {"GET", "/api/crypto-report/btc_eur", 400, "malformed_symbol"},
		"colon":                     {"GET", "/api/candles/ticker:btc", 400, "malformed_symbol"},
		"33 letters":                {"GET", "/api/history/" + long, 400, "malformed_symbol"},
		"8 kB":                      {"GET", "/api/crypto-report/" + huge[:7<<10], 400, "malformed_symbol"},
		"10 kB":                     {"GET", "/api/crypto-report/" + huge, 400, "malformed_symbol"},
		"no symbol":                 {"GET", "/api/crypto-report/", 400, "malformed_symbol"},
		"slash after the symbol":    {"GET", "/api/crypto-report/btc/", 400, "malformed_symbol"},
		"unknown route":             {"GET", "/api/nothing", 404, "unknown_route"},
		"route in capitals":         {"GET", "/API/symbols", 404, "unknown_route"},
		"no symbol, no slash":       {"GET", "/api/crypto-report", 400, "malformed_symbol"},
		"wrong method":              {"POST", "/api/crypto-report/btc", 405, "method_not_allowed"},
		"deleting":                  {"DELETE", "/api/market-data/btc", 405, "method_not_allowed"},
		"tracing":                   {"TRACE", "/api/market-data/btc", 405, "method_not_allowed"},
		"invented method":           {"FROBNICATE", "/api/market-data/btc", 405, "method_not_allowed"},
		"unknown parameter":         {"GET", "/api/crypto-report/btc?vs_curency=eur", 400, "invalid_parameter"},
		"known elsewhere":           {"GET", "/api/crypto-report/btc?limit=3", 400, "invalid_parameter"},
		"given twice":               {"GET", "/api/crypto-report/btc?vs_currency=eur&vs_currency=usd", 400, "invalid_parameter"},
		"without a value":           {"GET", "/api/crypto-report/btc?vs_currency=", 400, "invalid_parameter"},
		"without even a sign":       {"GET", "/api/crypto-report/btc?vs_currency", 400, "invalid_parameter"},
		"unknown currency":          {"GET", "/api/crypto-report/btc?vs_currency=doge", 400, "invalid_parameter"},
		"currency as a glob":        {"GET", "/api/crypto-report/btc?vs_currency=*", 400, "invalid_parameter"},
		"unknown format":            {"GET", "/api/crypto-report/btc?format=pdf", 400, "invalid_parameter"},
		"format of another report":  {"GET", "/api/technical-analysis/btc?format=md", 400, "invalid_parameter"},
		"unknown source":            {"GET", "/api/market-data/btc?source=cache", 400, "invalid_parameter"},
		"unknown interval":          {"GET", "/api/candles/btc?interval=1D", 400, "invalid_parameter"},
		"limit of nothing":          {"GET", "/api/candles/btc?limit=0", 400, "invalid_parameter"},
		"limit too high":            {"GET", "/api/candles/btc?limit=1001", 400, "invalid_parameter"},
		"limit with a sign":         {"GET", "/api/candles/btc?limit=%2B5", 400, "invalid_parameter"},
		"limit in words":            {"GET", "/api/candles/btc?limit=all", 400, "invalid_parameter"},
		"no symbols":                {"GET", "/api/market-data", 400, "invalid_parameter"},
		"empty symbols":             {"GET", "/api/market-data?symbols=", 400, "invalid_parameter"},
		"empty symbol in the list":  {"GET", "/api/market-data?symbols=btc,,eth", 400, "invalid_parameter"},
		"bad symbol in the list":    {"GET", "/api/market-data?symbols=btc,e*h", 400, "invalid_parameter"},
		"too many symbols":          {"GET", "/api/market-data?symbols=" + strings.Repeat("a,", 250) + "a", 400, "invalid_parameter"},
		"time in words":             {"GET", "/api/history/btc?from=yesterday", 400, "invalid_parameter"},
		"time before 1970":          {"GET", "/api/history/btc?from=-5", 400, "invalid_parameter"},
		"time without an end":       {"GET", "/api/history/btc?to=99999999999999999", 400, "invalid_parameter"},
		"end before beginning":      {"GET", "/api/history/btc?from=1700000000&to=1600000000", 400, "invalid_parameter"},
		"cursor of control letters": {"GET", "/api/history/btc?cursor=%01", 400, "invalid_parameter"},
		"search in bad UTF-8":       {"GET", "/api/symbols?q=%ff", 400, "invalid_parameter"},
		"endless search":            {"GET", "/api/symbols?q=" + strings.Repeat("a", 65), 400, "invalid_parameter"},
		"bad escape":                {"GET", "/api/crypto-report/btc?vs_currency=%zz", 400, "invalid_parameter"},
		"admin without a token":     {"GET", "/admin/status", 404, "unknown_route"},
		"admin change":              {"POST", "/admin/cache/invalidate", 404, "unknown_route"},
		"no island of that name":    {"GET", "/health/islands/..%2f", 404, "unknown_island"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newFakeMarket()
			g := newTest(t, options(m))
			p := isProblem(t, send(t, g, tt.method, tt.target, ""), tt.status)
			if p.Code != tt.code || p.Type != problemType+tt.code {
				t.Errorf("code %q, want %q", p.Code, tt.code)
			}
			if p.Code == "invalid_parameter" && (len(p.Errors) == 0 || p.Errors[0].Parameter == "" || p.Errors[0].Detail == "") {
				t.Errorf("which parameter is at fault is not said: %+v", p)
			}
			if p.Retryable {
				t.Error("is said to be worth another try")
			}
			if calls := m.asked(); len(calls) > 0 {
				t.Errorf("the market was asked %q", calls)
			}
		})
	}
}

func TestSuggestions(t *testing.T) {
	g := newTest(t, options(newFakeMarket()))
	p := isProblem(t, get(t, g, "/api/crypto-report/btc?vs_currency=eurr"), 400)
	if !slices.Contains(p.Suggestions, "eur") {
		t.Errorf("suggestions %q", p.Suggestions)
	}
	p = isProblem(t, get(t, g, "/api/crypto-report/btc?vs_curency=eur"), 400)
	if want := "did you mean vs_currency?"; !strings.Contains(p.Errors[0].Detail, want) {
		t.Errorf("%q does not ask %q", p.Errors[0].Detail, want)
	}
	p = isProblem(t, get(t, g, "/api/candles/btc?interval=1H"), 400)
	if !slices.Contains(p.Suggestions, "1h") {
		t.Errorf("suggestions %q", p.Suggestions)
	}
}

// unknownSymbol is the market's error for a symbol it does not know.
type unknownSymbol struct{}

func (unknownSymbol) Error() string       { return "no such thing at /secret/path" }
func (unknownSymbol) Unwrap() error       { return sdk.NotFound }
func (unknownSymbol) Suggested() []string { return []string{"btc", "btt"} }

func TestEveryKindOfFailure(t *testing.T) {
	const secret = "dial unix /var/run/secret.sock: key=hunter2"
	for kind, want := range map[sdk.Kind]struct {
		status    int
		retryable bool
	}{
		sdk.Internal: {500, false}, sdk.InvalidArgument: {400, false}, sdk.NotFound: {404, false}, sdk.RateLimited: {503, true},
		sdk.Unavailable: {503, true}, sdk.DeadlineExceeded: {504, true}, sdk.Canceled: {503, true},
		sdk.Unauthenticated: {502, false}, sdk.PermissionDenied: {503, true}, sdk.BadUpstream: {502, true},
		sdk.Unsupported: {400, false}, sdk.Conflict: {409, false}, sdk.ResourceExhausted: {503, true}, sdk.Kind(200): {500, false},
	} {
		t.Run(kind.String(), func(t *testing.T) {
			m := newFakeMarket()
			m.err = fmt.Errorf("pipeline: %w", &sdk.Error{Kind: kind, Message: secret, RetryAfter: 1500 * time.Millisecond})
			g := newTest(t, options(m))
			for _, target := range []string{"/api/crypto-report/btc", "/api/market-data/btc", "/api/market-data/global", "/api/candles/btc", "/api/history/btc", "/api/symbols"} {
				r := get(t, g, target)
				p := isProblem(t, r, want.status)
				if p.Retryable != want.retryable {
					t.Errorf("%s: retryable %v", target, p.Retryable)
				}
				if strings.Contains(string(r.body), "secret") || strings.Contains(string(r.body), "hunter2") {
					t.Errorf("%s tells too much: %s", target, r.body)
				}
				retry, limit := r.Header.Get("Retry-After"), r.Header.Get("RateLimit")
				if want.status == 503 && (retry != "2" || limit != `"upstream";r=0;t=2`) {
					t.Errorf("%s: Retry-After %q, RateLimit %q", target, retry, limit)
				}
			}
		})
	}
}

func TestUnknownAsset(t *testing.T) {
	m := newFakeMarket()
	m.err = unknownSymbol{}
	g := newTest(t, options(m))
	p := isProblem(t, get(t, g, "/api/crypto-report/bt"), http.StatusNotFound)
	if p.Code != "unknown_asset" || !slices.Equal(p.Suggestions, []string{"btc", "btt"}) || p.Instance != "/api/crypto-report/bt" {
		t.Errorf("%+v", p)
	}
	m.err = errors.New("nobody classified this")
	if p := isProblem(t, get(t, g, "/api/market-data/btc"), http.StatusInternalServerError); p.Code != "internal" {
		t.Errorf("%+v", p)
	}
}

func TestBadCursorIsTheClientsFault(t *testing.T) {
	m := newFakeMarket()
	m.err = sdk.Errorf(sdk.InvalidArgument, "cursor %q", "xyz")
	g := newTest(t, options(m))
	if p := isProblem(t, get(t, g, "/api/history/btc?cursor=xyz"), http.StatusBadRequest); len(p.Errors) != 1 || p.Errors[0].Parameter != "cursor" {
		t.Errorf("%+v", p)
	}
}

func TestUnknownFormatOfAnAnswer(t *testing.T) {
	m := newFakeMarket()
	m.answer.Representation = nil
	g := newTest(t, options(m))
	isProblem(t, get(t, g, "/api/crypto-report/btc?format=md"), http.StatusNotAcceptable)
}

func FuzzSymbol(f *testing.F) {
	for _, seed := range []string{"btc", "BTC", "usd-coin", "..%2f", "%00", "₿", "*", "a b", "?", "#", "", strings.Repeat("a", 33), "global", "/"} {
		f.Add(seed)
	}
	m := newFakeMarket()
	g := newTest(f, options(m))
	handler := g.Handler()
	f.Fuzz(func(t *testing.T, symbol string) {
		rctx := ask()
		rctx.Request.Header.SetRequestURI("/api/market-data/" + symbol)
		before := len(m.asked())
		handler(rctx)
		if status := rctx.Response.StatusCode(); status >= 500 {
			t.Fatalf("%d for %q: %s", status, symbol, rctx.Response.Body())
		}
		_, sane := parseSymbol(symbol)
		if asked := m.asked()[before:]; !sane && len(asked) > 0 && !reachesElsewhere(symbol) {
			t.Fatalf("%q reached the market: %q", symbol, asked)
		}
	})
}

// reachesElsewhere reports whether what is put behind a path makes it another request, with a query or a fragment.
func reachesElsewhere(symbol string) bool { return strings.ContainsAny(symbol, "?#") }

func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"", "vs_currency=eur", "limit=3&interval=1h", "limit=3&limit=4", "a=b", "&&&", "=", "%", "%zz=%zz", "symbols=btc,eth",
		"symbols=,", "from=0&to=1", "from=2026-01-01T00:00:00Z", "from=99999999999999999999", "cursor=%20", "q=%ff", "format=md", "source=x",
	} {
		f.Add(seed)
	}
	g := newTest(f, options(newFakeMarket()))
	handler := g.Handler()
	f.Fuzz(func(t *testing.T, queryString string) {
		for _, path := range []string{"/api/crypto-report/btc", "/api/market-data", "/api/market-data/btc", "/api/candles/btc", "/api/history/btc", "/api/symbols"} {
			rctx := ask()
			rctx.Request.Header.SetRequestURI(path + "?" + queryString)
			handler(rctx)
			if status := rctx.Response.StatusCode(); status >= 500 {
				t.Fatalf("%d for %s?%q: %s", status, path, queryString, rctx.Response.Body())
			}
		}
	})
}
