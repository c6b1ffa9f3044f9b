package sim_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/examples/marketsim/sim"
)

const (
	markets = gecko + "/coins/markets?vs_currency=usd&ids=bitcoin"
	klines  = spot + "/klines?symbol=BTCUSDT&interval=1d&limit=3"
	mood    = "/fng/?limit=3"
)

func TestFaultsThatAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fault, path string
		status      int
		kind        string // beginning of the Content-Type
		body, retry string
	}{
		{`{"service":"coingecko","kind":"status","status":429}`, markets, 429, "application/json", `{"status":{"error_code":429,`, ""},
		{`{"service":"coingecko","kind":"status","status":429,"body":"json","retry_after":"5"}`, markets, 429, "application/json", `{"status":{"error_code":429,`, "5"},
		{`{"service":"coingecko","kind":"status","status":429,"body":"html"}`, markets, 429, "text/html", `<!DOCTYPE html>`, ""},
		{`{"service":"coingecko","kind":"status","status":429,"body":"html","retry_after":"Sat, 14 Mar 2026 12:01:00 GMT"}`, markets, 429, "text/html", `<!DOCTYPE html>`, "Sat, 14 Mar 2026 12:01:00 GMT"},
		{`{"service":"coingecko","kind":"status","status":429,"body":"text","retry_after":"auto"}`, markets, 429, "text/plain", `Throttled`, "56"},
		{`{"service":"coingecko","kind":"status","status":500}`, markets, 500, "application/json", `{"status":500,"error":"Internal Server Error"}`, ""},
		{`{"service":"coingecko","kind":"status","status":503,"body":"text"}`, markets, 503, "text/plain", `Service Unavailable`, ""},
		{`{"service":"coingecko","kind":"status","status":401}`, markets, 401, "application/json", `{"error":{"status":{"timestamp":"2026-03-14T`, ""},
		{`{"service":"coingecko","kind":"status","status":403}`, markets, 403, "text/html", `<!DOCTYPE html>`, ""},
		{`{"service":"coingecko","kind":"status","status":404}`, markets, 404, "application/json", `{"error":"not found"}`, ""},
		{`{"service":"binance","kind":"status","status":429}`, klines, 429, "application/json", `{"code":-1003,"msg":"Too much request weight used;`, ""},
		{`{"service":"binance","kind":"status","status":418,"retry_after":"120"}`, klines, 418, "application/json", `{"code":-1003,"msg":"Way too much request weight used; IP banned until 1773489724500.`, "120"},
		{`{"service":"binance","kind":"status","status":403}`, klines, 403, "text/html", `<html>`, ""},
		{`{"service":"binance","kind":"status","status":502,"body":"html"}`, klines, 502, "text/html", `<html>`, ""},
		{`{"service":"binance","kind":"status","status":500}`, klines, 500, "application/json", `{"code":-1000,`, ""},
		{`{"service":"binance","kind":"restricted"}`, klines, 451, "application/json", `{"code":0,"msg":"Service unavailable from a restricted location`, ""},
		{`{"service":"*","kind":"restricted"}`, klines, 451, "application/json", `{"code":0,`, ""},
		{`{"service":"*","kind":"restricted"}`, markets, 200, "application/json", `[{"id":"bitcoin"`, ""},
		{`{"service":"binance","kind":"ban","retry_after":"30"}`, klines, 418, "application/json", `{"code":-1003,"msg":"Way too much request weight used; IP banned until 1773489634500.`, "30"},
		{`{"service":"fng","kind":"status","status":500}`, mood, 500, "application/json", `{"name":"Fear and Greed Index","data":[],"metadata":{"error":"Internal Server Error"}}`, ""},
		{`{"service":"fng","kind":"status","status":429,"body":"text"}`, mood, 429, "text/plain", `Too Many Requests`, ""},
		{`{"service":"*","kind":"status","status":500}`, mood, 500, "application/json", ``, ""},
		{`{"service":"coingecko","kind":"garbage"}`, markets, 200, "text/html", `<!DOCTYPE html>`, ""},
		{`{"service":"coingecko","kind":"garbage","body":"json"}`, markets, 200, "application/json", `{"message":"ok",`, ""},
		{`{"service":"binance","kind":"garbage","body":"text"}`, klines, 200, "application/json", "\x00", ""},
		{`{"service":"coingecko","kind":"status","status":500,"route":"/coins/markets"}`, markets, 500, "", ``, ""},
		{`{"service":"coingecko","kind":"status","status":500,"route":"/coins/{id}"}`, gecko + "/coins/bitcoin", 500, "", ``, ""},
		{`{"service":"coingecko","kind":"status","status":500,"route":"/global"}`, markets, 200, "", ``, ""},
		{`{"service":"binance","kind":"status","status":500}`, markets, 200, "", ``, ""},
		{`{"service":"coingecko-pro","kind":"status","status":500}`, markets, 200, "", ``, ""},
		{`{"service":"coingecko","kind":"status","status":500}`, geckoPro + "/ping", 500, "", ``, ""},
	} {
		b := newBench(t, unlimited())
		b.inject(c.fault)
		a := b.get(c.path)
		if a.status != c.status || !strings.HasPrefix(a.header.Get("Content-Type"), c.kind) ||
			!strings.HasPrefix(a.body, c.body) || a.header.Get("Retry-After") != c.retry {
			t.Errorf("%s\n%d %q %.120q, Retry-After %q; want %d %q %q, %q", c.fault,
				a.status, a.header.Get("Content-Type"), a.body, a.header.Get("Retry-After"), c.status, c.kind, c.body, c.retry)
		}
		if strings.HasPrefix(c.path, "/binance") && a.header.Get("X-MBX-USED-WEIGHT-1M") == "" {
			t.Errorf("%s: no weight in the headers", c.fault)
		}
		b.clear()
		if a := b.get(c.path); strings.Contains(c.path, "/ping") == (a.status == http.StatusOK) {
			t.Errorf("%s: after clearing: %d", c.fault, a.status)
		}
	}
}

func TestTruncatedBodiesAreCompleteMessages(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	for _, path := range []string{markets, klines, mood} {
		whole := b.get(path).body
		b.inject(`{"service":"*","kind":"truncate","count":1}`)
		a := b.get(path)
		if a.status != http.StatusOK || a.body != whole[:len(whole)/2] || json.Valid([]byte(a.body)) || a.header.Get("ETag") != "" {
			t.Errorf("%s: %d %.100s", path, a.status, a.body)
		}
		if again := b.get(path); again.body != whole {
			t.Errorf("%s: still cut", path)
		}
	}
}

func TestReset(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	b.inject(`{"service":"coingecko","kind":"reset"}`)
	b.client.CloseIdleConnections()
	if _, err := b.try(http.MethodGet, markets, ""); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v", err)
	}
}

func TestCountEndsAFault(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	b.inject(`[{"service":"coingecko","kind":"status","status":500,"count":2},{"service":"coingecko","kind":"status","status":503,"count":1}]`)
	var statuses []int
	for range 4 {
		statuses = append(statuses, b.get(markets).status)
	}
	if got := fmt.Sprint(statuses); got != "[500 500 503 200]" {
		t.Errorf("got %s", got)
	}
	if a := b.get("/_sim/faults"); a.body != "[]\n" {
		t.Errorf("left over: %s", a.body)
	}
}

func TestFaultsAreListedWithTheirHits(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	b.inject(`{"service":"coingecko","route":"/global","kind":"status","status":500,"retry_after":"5","count":9}`)
	b.inject(`{"service":"binance","kind":"latency","latency_ms":1}`)
	b.get(gecko + "/global")
	b.get(gecko + "/global")
	b.get(spot + "/ping")
	want := `[{"service":"coingecko","route":"/global","kind":"status","status":500,"retry_after":"5","count":9,"hits":2},` +
		`{"service":"binance","kind":"latency","latency_ms":1,"hits":1}]` + "\n"
	if a := b.get("/_sim/faults"); a.body != want {
		t.Errorf("got  %swant %s", a.body, want)
	}
	if got := b.sim.Faults(); len(got) != 2 || got[0].Hits != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestBanEndsByItself(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	b.inject(`{"service":"binance","kind":"ban"}`)
	b.clock.advance(119 * time.Second)
	if a := b.get(klines); a.status != http.StatusTeapot || a.header.Get("Retry-After") != "1" {
		t.Errorf("%d %v", a.status, a.header)
	}
	b.clock.advance(time.Second)
	if a := b.get(klines); a.status != http.StatusOK || len(b.sim.Faults()) != 0 {
		t.Errorf("after the ban: %d, %v", a.status, b.sim.Faults())
	}
}

func TestLimitReplacesTheBudget(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	for _, c := range []struct {
		fault, path, body, retry string
		passes                   int
	}{
		{`{"service":"coingecko","kind":"limit","limit":3,"body":"text","retry_after":"auto"}`, markets, "Throttled", "56", 3},
		{`{"service":"coingecko","kind":"limit","limit":3,"body":"html"}`, markets, "<!DOCTYPE", "", 3},
		{`{"service":"binance","kind":"limit","limit":6,"retry_after":"7"}`, klines, `{"code":-1003`, "7", 3},
		{`{"service":"fng","kind":"limit","limit":1}`, mood, `{"name":`, "", 1},
	} {
		b.clear()
		b.inject(c.fault)
		for n := range c.passes + 2 {
			a := b.get(c.path)
			if n < c.passes && a.status != http.StatusOK {
				t.Errorf("%s: call %d: %d", c.fault, n+1, a.status)
			}
			if n >= c.passes && (a.status != http.StatusTooManyRequests || !strings.HasPrefix(a.body, c.body) ||
				a.header.Get("Retry-After") != c.retry) {
				t.Errorf("%s: call %d: %d %.60s %q", c.fault, n+1, a.status, a.body, a.header.Get("Retry-After"))
			}
		}
	}
}

// within asks the server without sockets, so that synctest's clock can pass.
func within(ctx context.Context, s *sim.Server, path string) (code int, dropped bool) {
	defer func() {
		if r := recover(); r != nil {
			if err, ok := r.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				panic(r)
			}
			dropped = true
		}
	}()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	r.Header.Set("User-Agent", "test")
	s.ServeHTTP(w, r)
	return w.Code, false
}

func TestLatencyAndSilenceTakeTheirTime(t *testing.T) {
	t.Parallel()
	slow := sim.Fault{Service: "coingecko", Kind: sim.KindLatency, LatencyMS: 1500}
	for _, c := range []struct {
		name    string
		faults  []sim.Fault
		meddle  func(s *sim.Server, cancel func()) // after 5 seconds
		took    time.Duration
		code    int
		dropped bool
	}{
		{name: "latency", faults: []sim.Fault{slow}, took: 1500 * time.Millisecond, code: 200},
		{
			name: "latency and an error", took: 1500 * time.Millisecond, code: 500,
			faults: []sim.Fault{{Service: "*", Kind: sim.KindStatus, Status: 500}, slow},
		},
		{
			name: "latency, cleared", took: 5 * time.Second, code: 200,
			faults: []sim.Fault{{Service: "*", Kind: sim.KindLatency, LatencyMS: 60_000}},
			meddle: func(s *sim.Server, _ func()) { s.Clear() },
		},
		{
			name: "silence, cleared", took: 5 * time.Second, dropped: true,
			faults: []sim.Fault{{Service: "*", Kind: sim.KindSilence, Count: 1}},
			meddle: func(s *sim.Server, _ func()) { s.Clear() },
		},
		{
			name: "silence, closed", took: 5 * time.Second, dropped: true,
			faults: []sim.Fault{{Service: "*", Kind: sim.KindSilence}},
			meddle: func(s *sim.Server, _ func()) { s.Close(); s.Close() },
		},
		{
			name: "silence, client gone", took: 5 * time.Second, dropped: true,
			faults: []sim.Fault{{Service: "*", Kind: sim.KindSilence}},
			meddle: func(_ *sim.Server, cancel func()) { cancel() },
		},
		{
			name: "silence to the end", took: 10 * time.Minute, dropped: true,
			faults: []sim.Fault{{Service: "*", Kind: sim.KindSilence}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := sim.New(sim.Options{})
				defer s.Close()
				if err := s.Inject(c.faults...); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.meddle != nil {
					timer := time.AfterFunc(5*time.Second, func() { c.meddle(s, cancel) })
					defer timer.Stop()
				}
				begin := time.Now()
				code, dropped := within(ctx, s, gecko+"/ping")
				if took := time.Since(begin); took != c.took || dropped != c.dropped || !dropped && code != c.code {
					t.Errorf("took %v, %d, dropped %v; want %v, %d, %v", took, code, dropped, c.took, c.code, c.dropped)
				}
				if n := s.Requests()["coingecko GET /ping"]; n != 1 {
					t.Errorf("counted %d", n)
				}
			})
		})
	}
}

func TestSilenceOverASocket(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	b.inject(`{"service":"binance","kind":"silence"}`)
	ended := make(chan error, 1)
	b.client.CloseIdleConnections()
	go func() {
		_, err := b.try(http.MethodGet, klines, "")
		ended <- err
	}()
	for b.sim.Requests()["binance GET /api/v3/klines"] == 0 {
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-ended:
		t.Fatalf("the silent call ended: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if a := b.get(markets); a.status != http.StatusOK {
		t.Errorf("beside it: %d", a.status)
	}
	b.clear()
	// Go's client may repeat the call, which is then answered; it must end either way.
	select {
	case err := <-ended:
		t.Logf("it ended with %v", err)
	case <-time.After(10 * time.Second):
		t.Error("clearing did not let go of the silent call")
	}
}

func TestFaultsThatAreRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	for _, c := range []struct{ fault, message string }{
		{``, "the body is empty"},
		{`nonsense`, "not a fault or a list of faults"},
		{`{"service":"binance","kind":"reset"} more`, "the body goes on"},
		{`{"service":"binance","kind":"reset","colour":"red"}`, `unknown field \"colour\"`},
		{`{"service":"binance","kind":"reset","count":"3"}`, "cannot unmarshal string"},
		{`{"kind":"reset"}`, "service is missing"},
		{`{"service":"coinbase","kind":"reset"}`, `service \"coinbase\" is unknown`},
		{`{"service":"binance"}`, "kind is missing"},
		{`{"service":"binance","kind":"fire"}`, `kind \"fire\" is unknown`},
		{`{"service":"binance","kind":"status"}`, "status is 0: want 400 to 599"},
		{`{"service":"binance","kind":"status","status":200}`, "status is 200: want 400 to 599"},
		{`{"service":"binance","kind":"status","status":500,"body":"xml"}`, `body \"xml\" is unknown`},
		{`{"service":"binance","kind":"status","status":500,"retry_after":"soon"}`, `retry_after \"soon\": want seconds`},
		{`{"service":"binance","kind":"status","status":500,"retry_after":"-1"}`, `retry_after \"-1\": want seconds`},
		{`{"service":"binance","kind":"status","status":500,"latency_ms":5}`, `latency_ms means nothing for kind \"status\"`},
		{`{"service":"binance","kind":"latency"}`, "latency_ms is 0: want 1 to 600000"},
		{`{"service":"binance","kind":"latency","latency_ms":600001}`, "want 1 to 600000"},
		{`{"service":"binance","kind":"reset","status":500}`, `status means nothing for kind \"reset\"`},
		{`{"service":"binance","kind":"reset","count":-1}`, "count is -1"},
		{`{"service":"binance","kind":"reset","route":"klines"}`, `route \"klines\": want a path`},
		{`{"service":"binance","kind":"limit"}`, "limit is 0: want 1 or more"},
		{`{"service":"binance","kind":"limit","limit":1,"count":1}`, `count means nothing for kind \"limit\"`},
		{`{"service":"coingecko","kind":"ban"}`, `kind \"ban\" is for binance only`},
		{`{"service":"fng","kind":"restricted"}`, `kind \"restricted\" is for binance only`},
		{`{"service":"binance","kind":"ban","retry_after":"auto"}`, "a ban wants 1 to 259200 seconds"},
		{`[{"service":"binance","kind":"reset"},{"service":"x","kind":"reset"}]`, "fault 2: "},
		{`[` + strings.Repeat(`{"service":"fng","kind":"reset"},`, 64) + `{"service":"fng","kind":"reset"}]`, "at most 64"},
		{`[` + strings.Repeat(`{"service":"fng","kind":"reset"},`, 3000) + `]`, "too large"},
	} {
		a, err := b.try(http.MethodPost, "/_sim/faults", c.fault)
		if err != nil || a.status != http.StatusBadRequest || !strings.Contains(a.body, c.message) {
			t.Errorf("%.80s: %d %s %v, want %s", c.fault, a.status, a.body, err, c.message)
		}
	}
	if n := len(b.sim.Faults()); n != 0 {
		t.Errorf("%d faults are active", n)
	}
}

func FuzzFaults(f *testing.F) {
	f.Add(`{"service":"*","kind":"status","status":500,"count":1}`)
	f.Add(`[{"service":"binance","kind":"ban","retry_after":"9"}]`)
	f.Fuzz(func(t *testing.T, body string) {
		s := sim.New(sim.Options{})
		defer s.Close()
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/_sim/faults", strings.NewReader(body)))
		if w.Code != http.StatusOK && w.Code != http.StatusBadRequest || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
