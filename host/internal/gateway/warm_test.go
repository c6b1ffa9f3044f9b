package gateway

import (
	"bytes"
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// TestWarmWayAndRouteAnswerAlike is the promise that a client cannot tell whether the router was asked.
func TestWarmWayAndRouteAnswerAlike(t *testing.T) {
	market := func(warm bool) *fakeMarket {
		m := newFakeMarket()
		m.warm = warm
		rep := m.answer.Representation
		rep.Body = bytes.Repeat([]byte(`{"symbol":"btc"}`), 400)
		rep.Gzip, rep.ETagGzip = []byte("packed"), `"plain-g"`
		rep.Brotli, rep.ETagBrotli = []byte("pressed"), `"plain-b"`
		return m
	}
	date := regexp.MustCompile(`(?m)^Date: .*\r\n`)
	const asked, refused = true, false
	for name, tt := range map[string]struct {
		target  string
		headers []string
		asks    bool
	}{
		"plain":                  {"/api/crypto-report/btc", nil, asked},
		"another report":         {"/api/technical-analysis/btc", nil, asked},
		"digits and hyphens":     {"/api/crypto-report/1-inch", nil, asked},
		"any type":               {"/api/crypto-report/btc", []string{"Accept", "*/*"}, asked},
		"JSON":                   {"/api/crypto-report/btc", []string{"Accept", "application/json"}, asked},
		"a browser":              {"/api/crypto-report/btc", []string{"Accept", "text/html,application/xml;q=0.9,*/*;q=0.8"}, asked},
		"Markdown":               {"/api/crypto-report/btc", []string{"Accept", "text/markdown"}, asked},
		"no such type":           {"/api/crypto-report/btc", []string{"Accept", "image/png"}, refused},
		"not of this report":     {"/api/technical-analysis/btc", []string{"Accept", "text/html"}, refused},
		"gzip":                   {"/api/crypto-report/btc", []string{"Accept-Encoding", "gzip"}, asked},
		"brotli":                 {"/api/crypto-report/btc", []string{"Accept-Encoding", "gzip, deflate, br"}, asked},
		"known":                  {"/api/crypto-report/btc", []string{"If-None-Match", `"plain"`}, asked},
		"known in gzip":          {"/api/crypto-report/btc", []string{"If-None-Match", `W/"plain-g"`, "Accept-Encoding", "gzip"}, asked},
		"known otherwise":        {"/api/crypto-report/btc", []string{"If-None-Match", `"other"`}, asked},
		"insane id":              {"/api/crypto-report/btc", []string{"X-Request-Id", "a b"}, asked},
		"with a parameter":       {"/api/crypto-report/btc?vs_currency=eur", nil, asked},
		"format":                 {"/api/crypto-report/btc?format=md", nil, asked},
		"empty query":            {"/api/crypto-report/btc?", nil, asked},
		"capitals":               {"/api/crypto-report/BTC", nil, asked},
		"absolute form":          {"http://islands/api/crypto-report/btc", nil, asked},
		"another asset":          {"/api/market-data/btc", nil, asked},
		"bad parameter":          {"/api/crypto-report/btc?vs_curency=eur", nil, refused},
		"no symbol":              {"/api/crypto-report/", nil, refused},
		"no slash":               {"/api/crypto-report", nil, refused},
		"slash after it":         {"/api/crypto-report/btc/", nil, refused},
		"two slashes":            {"/api//crypto-report/btc", nil, refused},
		"slash before the name":  {"/api/crypto-report//btc", nil, refused},
		"dots":                   {"/api/crypto-report/..", nil, refused},
		"dots on the way":        {"/api/candles/../crypto-report/btc", nil, refused},
		"escape":                 {"/api/crypto-report/%62tc", nil, refused},
		"NUL":                    {"/api/crypto-report/btc%00", nil, refused},
		"fragment":               {"/api/crypto-report/btc#x", nil, asked},
		"star":                   {"/api/crypto-report/*", nil, refused},
		"underscore":             {"/api/crypto-report/btc_eur", nil, refused},
		"unicode":                {"/api/crypto-report/₿", nil, refused},
		"33 letters":             {"/api/crypto-report/" + strings.Repeat("a", 33), nil, refused},
		"unknown report":         {"/api/weather-report/btc", nil, refused},
		"route in capitals":      {"/API/crypto-report/btc", nil, refused},
		"name in capitals":       {"/api/Crypto-Report/btc", nil, refused},
		"no route at all":        {"/", nil, refused},
		"nothing behind the API": {"/api/", nil, refused},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodOptions} {
			t.Run(name+"/"+method, func(t *testing.T) {
				headers := append([]string{"X-Request-Id", "mine"}, tt.headers...)
				own := slices.Contains(tt.headers, "X-Request-Id")
				if own {
					headers = tt.headers
				}
				ask := func(warm bool) (answer string, asked []string) {
					m := market(warm)
					g := newTest(t, options(m))
					raw := date.ReplaceAllString(string(exchange(t, g.public, method, tt.target, "", headers...)), "")
					if own {
						raw = regexp.MustCompile(`(X-Request-Id: |"request_id":")[0-9a-f]{16}`).ReplaceAllString(raw, "${1}new")
					}
					return raw, m.asked()
				}
				warm, asked := ask(true)
				routed, askedByRoute := ask(false)
				if warm != routed {
					t.Errorf("warm:\n%.600s\nby the route:\n%.600s", warm, routed)
				}
				if !slices.Equal(asked, askedByRoute) {
					t.Errorf("asked %q, by the route %q", asked, askedByRoute)
				}
				if method == http.MethodGet && tt.asks != (len(asked) > 0) {
					t.Errorf("asked %q", asked)
				}
			})
		}
	}
}

// TestWarmWay checks that the way before the router is taken, and that it keeps what every request is promised.
func TestWarmWay(t *testing.T) {
	m := newFakeMarket()
	m.warm = true
	opts := options(m)
	var log bytes.Buffer
	opts.Logger = hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Debug})
	g := newTest(t, opts)
	if r := get(t, g, "/api/crypto-report/btc", "X-Request-Id", "mine"); r.StatusCode != http.StatusOK {
		t.Fatalf("%d", r.StatusCode)
	}
	if !slices.Equal(m.ids, []string{""}) { // The route would have handed over a context with the id.
		t.Errorf("the market saw the ids %q", m.ids)
	}
	if !strings.Contains(log.String(), "request_id=mine") || !strings.Contains(log.String(), "status=200") {
		t.Errorf("the log: %q", log.String())
	}

	m.hook = func(context.Context) { panic("at /secret/path") }
	r := get(t, g, "/api/crypto-report/btc", "X-Request-Id", "mine")
	if p := isProblem(t, r, http.StatusInternalServerError); p.RequestID != "mine" || strings.Contains(string(r.body), "secret") {
		t.Errorf("%s", r.body)
	}
	if !strings.Contains(log.String(), "at /secret/path") {
		t.Errorf("the log: %q", log.String())
	}
}

func FuzzPlainSymbol(f *testing.F) {
	for _, seed := range []string{"btc", "BTC", "usd-coin", "", "a_b", "₿", strings.Repeat("a", 32), strings.Repeat("a", 33)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if symbol, ok := parseSymbol(text); plainSymbol(text) != (ok && symbol == text) {
			t.Errorf("%q is plain: %v; it means %q, %v", text, plainSymbol(text), symbol, ok)
		}
	})
}
