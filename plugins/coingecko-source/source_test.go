package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/service-islands/islands/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "CG-s3cr3t"

// bitcoin is a row of /coins/markets.
const bitcoin = `{"id":"bitcoin","symbol":"btc","name":"Bitcoin","current_price":77671,"market_cap":1555886872303,
"market_cap_rank":1,"fully_diluted_valuation":1555914058873,"total_volume":33235034316.0,"high_24h":78419,"low_24h":76696,
"price_change_percentage_24h":-0.95302,"circulating_supply":20030493.0,"total_supply":20030843.0,"max_supply":21000000.0,
"ath":126080,"ath_change_percentage":-38.39571,"ath_date":"2025-10-06T18:57:42.558Z","atl":67.81,
"atl_change_percentage":114443.23093,"atl_date":"2013-07-06T00:00:00.000Z","roi":null,
"last_updated":"2026-05-18T12:49:21.599Z","price_change_percentage_1h_in_currency":0.58,
"price_change_percentage_24h_in_currency":-0.953,"price_change_percentage_7d_in_currency":-4.04,
"price_change_percentage_30d_in_currency":1.95,"price_change_percentage_1y_in_currency":-25.2}`

// ghost is a row in which everything that may be null is.
const ghost = `{"id":"ghost","symbol":"gst","name":"Ghost","current_price":null,"market_cap":null,"market_cap_rank":null,
"fully_diluted_valuation":null,"total_volume":null,"high_24h":null,"low_24h":null,"circulating_supply":null,
"total_supply":null,"max_supply":null,"ath":null,"ath_change_percentage":null,"ath_date":null,"atl":null,
"atl_change_percentage":null,"atl_date":null,"roi":{"times":1.5,"currency":"usd","percentage":150.1},"last_updated":null,
"price_change_percentage_1h_in_currency":null}`

// gecko is a small upstream that remembers what it was asked.
type gecko struct {
	*httptest.Server
	mu    sync.Mutex
	asked []*http.Request
}

func (g *gecko) requests() []*http.Request {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked
}

// query is the query of the n-th request.
func (g *gecko) query(n int) url.Values { return g.requests()[n].URL.Query() }

// serve starts an upstream and a source that asks it, at a given time.
func serve(t *testing.T, now time.Time, answer http.HandlerFunc, values ...any) (*source, *gecko) {
	t.Helper()
	g := &gecko{}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.asked = append(g.asked, r)
		g.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(g.Close)
	config := map[string]any{"url": g.URL + "/api/v3"}
	for i := 0; i+1 < len(values); i += 2 {
		config[values[i].(string)] = values[i+1]
	}
	s := newSource()
	s.now = func() time.Time { return now }
	if err := s.Initialize(t.Context(), sdk.Config{Name: "gecko", Values: config}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Shutdown(context.WithoutCancel(t.Context())) }) // It never fails.
	return s, g
}

func body(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func status(code int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text)
	}
}

var noon = time.Date(2026, 5, 18, 12, 0, 0, 0, time.UTC)

func TestQuotes(t *testing.T) {
	s, g := serve(t, noon, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("ids") != "" {
			_, _ = io.WriteString(w, "["+ghost+","+bitcoin+"]")
			return
		}
		// Two coins of one symbol, the smaller one first.
		_, _ = io.WriteString(w, `[{"id":"fake-uni","symbol":"uni","name":"Fake","current_price":1,"market_cap":5},
			{"id":"uniswap","symbol":"UNI","name":"Uniswap","current_price":7.5,"market_cap":4.5e+9},
			{"id":"none-uni","symbol":"uni","name":"None","current_price":2,"market_cap":null}]`)
	}, "api_key", key)
	got, err := s.Quotes(t.Context(), sdk.QuotesRequest{VsCurrency: "usd", Assets: []sdk.Asset{
		{ID: "bitcoin", Symbol: "btc"},
		{ID: "ghost", Symbol: "gst"},
		{ID: "unknown", Symbol: "xyz"},
		{ID: "a,b", Symbol: "comma"},
		{Symbol: "uni"},
		{Symbol: "nope"},
	}})
	if err != nil || len(got) != 3 {
		t.Fatalf("%d quotes, %v", len(got), err)
	}
	btc := got[0]
	want := sdk.Quote{
		ID: "bitcoin", Symbol: "btc", Name: "Bitcoin", VsCurrency: "usd", Price: sdk.Known(77671),
		Change1h: sdk.Known(0.58), Change24h: sdk.Known(-0.953), Change7d: sdk.Known(-4.04), Change30d: sdk.Known(1.95),
		Change1y: sdk.Known(-25.2), High24h: sdk.Known(78419), Low24h: sdk.Known(76696), Volume24h: sdk.Known(33235034316),
		MarketCap: sdk.Known(1555886872303), Rank: 1,
		Supply: sdk.Supply{
			Circulating: sdk.Known(20030493), Total: sdk.Known(20030843), Max: sdk.Known(21e6),
			FullyDilutedValuation: sdk.Known(1555914058873),
		},
		ATH: sdk.Mark{
			Price: sdk.Known(126080), Date: time.Date(2025, 10, 6, 18, 57, 42, 558e6, time.UTC), Change: sdk.Known(-38.39571),
		},
		ATL:    sdk.Mark{Price: sdk.Known(67.81), Date: time.Date(2013, 7, 6, 0, 0, 0, 0, time.UTC), Change: sdk.Known(114443.23093)},
		Source: "gecko", AsOf: time.Date(2026, 5, 18, 12, 49, 21, 599e6, time.UTC),
	}
	if btc != want {
		t.Errorf("got  %+v\nwant %+v", btc, want)
	}
	if g := got[1]; g != (sdk.Quote{ID: "ghost", Symbol: "gst", Name: "Ghost", VsCurrency: "usd", Source: "gecko", AsOf: noon}) {
		t.Errorf("nulls became figures: %+v", g)
	}
	if u := got[2]; u.ID != "uniswap" || u.Symbol != "uni" || u.Price != sdk.Known(7.5) || u.Note != resolved {
		t.Errorf("the symbol became %+v", u)
	}
	requests := g.requests()
	if len(requests) != 2 || requests[0].URL.Path != "/api/v3/coins/markets" {
		t.Fatalf("asked %d times", len(requests))
	}
	q := g.query(0)
	if q.Get("ids") != "bitcoin,ghost,unknown" || q.Get("per_page") != "250" || q.Get("vs_currency") != "usd" ||
		q.Get("price_change_percentage") != "1h,24h,7d,30d,1y" {
		t.Errorf("asked for %v", q)
	}
	if q := g.query(1); q.Get("symbols") != "nope,uni" || q.Get("include_tokens") != "top" {
		t.Errorf("asked for %v", q)
	}
	if h := requests[0].Header; h.Get("X-Cg-Demo-Api-Key") != key || h.Get("User-Agent") == "" {
		t.Errorf("sent %v", h)
	}
}

func TestOneCallServes250Quotes(t *testing.T) {
	s, g := serve(t, noon, body("["+bitcoin+"]"))
	assets := make([]sdk.Asset, 250)
	for i := range assets {
		assets[i] = sdk.Asset{ID: "bitcoin", Symbol: "btc"}
	}
	got, err := s.Quotes(t.Context(), sdk.QuotesRequest{VsCurrency: "usd", Assets: assets})
	if err != nil || len(got) != 250 || len(g.requests()) != 1 || g.query(0).Get("ids") != "bitcoin" {
		t.Errorf("%d quotes in %d calls, %v", len(got), len(g.requests()), err)
	}
	if _, err := s.Quotes(t.Context(), sdk.QuotesRequest{VsCurrency: "usd", Assets: make([]sdk.Asset, 251)}); !errors.Is(err, sdk.InvalidArgument) {
		t.Errorf("251 assets: %v", err)
	}
	if got, err := s.Quotes(t.Context(), sdk.QuotesRequest{VsCurrency: "usd"}); err != nil || len(got) != 0 || len(g.requests()) != 1 {
		t.Errorf("no assets: %v, %v", got, err)
	}
}

func TestGlobal(t *testing.T) {
	s, _ := serve(t, noon, body(`{"data":{"active_cryptocurrencies":17397,"markets":1476,
		"total_market_cap":{"btc":34570737.19,"usd":2.6210403213550405e+12},"total_volume":{"usd":95133256404.37},
		"market_cap_percentage":{"btc":57.95,"eth":9.58},"market_cap_change_percentage_24h_usd":-1.6,"updated_at":1779878351}}`))
	got, err := s.Global(t.Context(), sdk.GlobalRequest{VsCurrency: "usd"})
	if err != nil {
		t.Fatal(err)
	}
	if got.MarketCap != sdk.Known(2621040321355.0405) || got.Volume24h != sdk.Known(95133256404.37) ||
		got.MarketCapChange24h != sdk.Known(-1.6) || got.Dominance["btc"] != sdk.Known(57.95) || got.ActiveAssets != 17397 ||
		got.Markets != 1476 || got.Source != "gecko" || !got.AsOf.Equal(time.Unix(1779878351, 0)) {
		t.Errorf("got %+v", got)
	}
	inBTC, err := s.Global(t.Context(), sdk.GlobalRequest{VsCurrency: "btc"})
	if err != nil || inBTC.MarketCapChange24h.IsKnown() || inBTC.Volume24h.IsKnown() {
		t.Errorf("in btc: %+v, %v; the change is known in US dollars only", inBTC, err)
	}
	if _, err := s.Global(t.Context(), sdk.GlobalRequest{VsCurrency: "xyz"}); !errors.Is(err, sdk.Unsupported) {
		t.Errorf("in xyz: %v", err)
	}
}

func TestCatalogue(t *testing.T) {
	s, g := serve(t, noon, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/list") {
			_, _ = io.WriteString(w, `[{"id":"zed","symbol":"ZED","name":"Zed","platforms":{}},{"id":"bitcoin","symbol":"btc","name":"Bitcoin"},
				{"id":"alpha","symbol":"al","name":"Alpha"},{"id":"","symbol":"x","name":"x"},{"id":"y","symbol":"","name":"y"}]`)
			return
		}
		_, _ = io.WriteString(w, `[{"id":"small","symbol":"sm","name":"Small","market_cap":7,"market_cap_rank":2},`+bitcoin+`]`)
	})
	got, err := s.Catalogue(t.Context(), sdk.CatalogueRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := []sdk.Asset{
		{ID: "bitcoin", Symbol: "btc", Name: "Bitcoin", Rank: 1, MarketCap: sdk.Known(1555886872303)},
		{ID: "small", Symbol: "sm", Name: "Small", Rank: 2, MarketCap: sdk.Known(7)},
		{ID: "alpha", Symbol: "al", Name: "Alpha"},
		{ID: "zed", Symbol: "zed", Name: "Zed"},
	}
	if len(got) != len(want) {
		t.Fatalf("got %+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("place %d: got %+v, want %+v", i+1, got[i], want[i])
		}
	}
	if len(g.requests()) != 2 {
		t.Errorf("%d calls, want 2", len(g.requests()))
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
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		kind   sdk.Kind
	}{
		"429 as JSON": {status(429, `{"status":{"error_code":429,"error_message":"You've exceeded the Rate Limit."}}`), sdk.RateLimited},
		"429 as a page": {
			status(429, "<!DOCTYPE html><html><body><h1>Error 1015</h1><p>You are being rate limited</p></body></html>"), sdk.RateLimited,
		},
		"429 as text":         {status(429, "Throttled"), sdk.RateLimited},
		"limiter's page, 403": {status(403, "<html><h1>Error 1015</h1></html>"), sdk.RateLimited},
		"500":                 {status(500, `{"status":500,"error":"Internal Server Error"}`), sdk.Unavailable},
		"truncated JSON":      {body(`[{"id":"bitcoin","current_pr`), sdk.BadUpstream},
		"a page":              {body("<html>hello</html>"), sdk.BadUpstream},
		"nonsense figure":     {body(`[{"id":"bitcoin","symbol":"btc","current_price":true}]`), sdk.BadUpstream},
		"reset":               {reset, sdk.Unavailable},
		"silence":             {silent, sdk.Unavailable},
		"unknown currency":    {status(400, `{"error":"invalid vs_currency"}`), sdk.Unsupported},
		"key missing":         {status(401, `{"status":{"error_code":10002,"error_message":"API Key Missing."}}`), sdk.Unauthenticated},
		"key on wrong host":   {status(400, `{"status":{"error_code":10010,"error_message":"change your root URL"}}`), sdk.Unauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := serve(t, noon, tc.answer, "timeout", "200ms", "api_key", key)
			_, err := s.Quotes(t.Context(), sdk.QuotesRequest{VsCurrency: "usd", Assets: []sdk.Asset{{ID: "bitcoin", Symbol: "btc"}}})
			if err == nil || sdk.KindOf(err) != tc.kind {
				t.Fatalf("got %v, want %q", err, tc.kind)
			}
			if tc.kind == sdk.RateLimited && sdk.RetryAfter(err) < time.Minute {
				t.Errorf("RetryAfter %s, want a minute or more", sdk.RetryAfter(err))
			}
			if strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "127.0.0.1") {
				t.Errorf("%q gives something away", err)
			}
			want := sdk.StatusDegraded
			if tc.kind == sdk.Unsupported {
				want = sdk.StatusOK
			}
			if h := s.Health(t.Context()); h.Status != want {
				t.Errorf("health is %+v, want %s", h, want)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	for name, tc := range map[string]struct {
		values  map[string]any
		setting string
	}{
		"defaults":      {nil, ""},
		"pro":           {map[string]any{"plan": "pro", "api_key": key, "calls_per_minute": 5.0}, ""},
		"url":           {map[string]any{"url": "api.coingecko.com"}, "url"},
		"key":           {map[string]any{"api_key": key + "\n"}, "api_key"},
		"plan":          {map[string]any{"plan": "gold"}, "plan"},
		"negative":      {map[string]any{"calls_per_minute": -1.0}, "calls_per_minute"},
		"no timeout":    {map[string]any{"timeout": "0s"}, "timeout"},
		"too many":      {map[string]any{"catalogue_pages": 21.0}, "catalogue_pages"},
		"unknown":       {map[string]any{"apikey": "x"}, "apikey"},
		"wrongly typed": {map[string]any{"timeout": 3.0}, "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSource()
			err := s.Initialize(t.Context(), sdk.Config{Name: "gecko", Values: tc.values})
			var e *sdk.Error
			switch {
			case tc.setting == "" && err != nil:
				t.Error(err)
			case tc.setting != "" && (!errors.As(err, &e) || e.Kind != sdk.InvalidArgument || e.Setting != tc.setting):
				t.Errorf("got %v, want an error about %q", err, tc.setting)
			case err != nil && strings.Contains(err.Error(), key):
				t.Errorf("%q holds the key", err)
			}
			for range 2 {
				if err := s.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestKeyGoesByPlan(t *testing.T) {
	for name, tc := range map[string]struct {
		set  settings
		plan string
	}{
		"public host":  {settings{URL: "https://api.coingecko.com/api/v3", Plan: planAuto}, planDemo},
		"pro host":     {settings{URL: "https://pro-api.coingecko.com/api/v3", Plan: planAuto}, planPro},
		"said demo":    {settings{URL: "https://pro-api.coingecko.com/api/v3", Plan: planDemo}, planDemo},
		"said pro":     {settings{URL: "http://127.0.0.1:1", Plan: planPro}, planPro},
		"local server": {settings{URL: "http://127.0.0.1:1", Plan: planAuto}, planDemo},
	} {
		if got := tc.set.plan(); got != tc.plan {
			t.Errorf("%s: plan %q, want %q", name, got, tc.plan)
		}
	}
}

func TestManifest(t *testing.T) {
	m := manifest().Complete(newSource())
	for _, role := range []sdk.Role{sdk.RoleQuotes, sdk.RoleCandles, sdk.RoleGlobal, sdk.RoleCatalogue} {
		if !m.Has(role) {
			t.Errorf("the role %q is missing", role)
		}
	}
	if set, _ := m.Setting("api_key"); !set.Secret {
		t.Error("api_key must be secret")
	}
	if newSource().Health(t.Context()).Status != sdk.StatusFailed {
		t.Error("an island that is not initialized cannot be well")
	}
}

func FuzzClassify(f *testing.F) {
	f.Add(404, []byte(`{"error":"coin not found"}`))
	f.Add(429, []byte(`{"status":{"error_code":429,"error_message":"x"}}`))
	f.Add(401, []byte(`{"error":{"status":{"timestamp":"x","error_code":10012,"error_message":"y"}}}`))
	f.Add(500, []byte(`{"status":500,"error":"x"}`))
	f.Add(429, []byte(`Throttled`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		err := classify(status, body)
		if status == 429 && err == nil {
			t.Error("a 429 must be told from other errors whatever its body")
		}
	})
}
