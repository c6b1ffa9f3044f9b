package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
)

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
		"firewall":             {fail(403, "<html><h1>403 Forbidden</h1></html>"), sdk.PermissionDenied, time.Minute, "firewall"},
		"500":                  {fail(500, ""), sdk.Unavailable, 0, "unavailable"},
		"truncated JSON":       {fail(200, `[[1779105600000,"1","2`), sdk.BadUpstream, 0, "bad upstream"},
		"a page":               {fail(200, "<html></html>"), sdk.BadUpstream, 0, "bad upstream"},
		"short candle":         {fail(200, `[[1779105600000,"1"]]`), sdk.BadUpstream, 0, "bad upstream"},
		"null price":           {fail(200, `[[1779105600000,null,"1","1","1","1",1779105659999]]`), sdk.BadUpstream, 0, "bad upstream"},
		"reset":                {reset, sdk.Unavailable, 0, "unavailable"},
		"silence":              {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, sdk.Unavailable, 0, "unavailable"},
		"unknown symbol":       {fail(400, `{"code":-1121,"msg":"Invalid symbol."}`), sdk.NotFound, 0, ""},
		"unknown symbol, 404":  {fail(404, `{"code":-1121,"msg":"Invalid symbol."}`), sdk.NotFound, 0, ""},
		"no such path":         {fail(404, "<html><h1>404 Not Found</h1></html>"), sdk.BadUpstream, 0, "bad upstream"},
		"no such path, JSON":   {fail(404, `{"code":-1000,"msg":"An unknown error occurred."}`), sdk.BadUpstream, 0, "bad upstream"},
		"no path, other words": {fail(404, `{"status":404,"error":"Not Found"}`), sdk.BadUpstream, 0, "bad upstream"},
		"no such path, gone":   {fail(410, ""), sdk.BadUpstream, 0, "bad upstream"},
		"interval":             {fail(400, `{"code":-1120,"msg":"Invalid interval."}`), sdk.InvalidArgument, 0, ""},
		"characters":           {fail(400, `{"code":-1100,"msg":"Illegal characters found."}`), sdk.InvalidArgument, 0, ""},
		"weight in a 400":      {fail(400, `{"code":-1003,"msg":"Too many requests."}`), sdk.RateLimited, time.Minute, "rate limited"},
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

func TestAWrongAddressIsNotAGonePair(t *testing.T) {
	for _, path := range []string{pathInfo, pathTickers} {
		s, e := serve(t)
		e.answer(path, fail(404, `{"status":404,"error":"Not Found"}`))
		if _, err := quotes(t, s, "usd", "btc"); !errors.Is(err, sdk.BadUpstream) || e.count(path) != 1 {
			t.Errorf("%s: %v after %d calls", path, err, e.count(path))
		}
		if h := s.Health(t.Context()); h.Status != sdk.StatusDegraded {
			t.Errorf("%s: health is %+v", path, h)
		}
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
