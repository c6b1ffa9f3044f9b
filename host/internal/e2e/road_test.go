package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk/islandtest/servers"
)

// TestRoutes asks every route that needs no live feed, on a fresh host with empty caches.
func TestRoutes(t *testing.T) {
	m := startMarket(t)
	h := startHost(t, m, nil)
	tests := []struct {
		path string
		keys []string
	}{
		{"/api/crypto-report/btc", []string{
			"id", "symbol", "name", "vs_currency", "generated_at", "resolved_from", "ambiguous", "method_version",
			"market.price", "market.change_24h", "market.volume_to_market_cap", "market.dominance", "market.ath.price", "market.atl.date",
			"indicators.rsi_14.value", "indicators.macd_12_26_9.params", "indicators.sma_200.samples", "indicators.vwap.signal",
			"volatility.realised_30d", "volatility.max_drawdown_365d", "levels.support", "levels.pivots",
			"sentiment.value", "verdict.score", "verdict.label", "verdict.confidence", "verdict.reasons",
			"provenance.quote.source", "provenance.candles.as_of", "cross_check.deviation_bps", "warnings", "disclaimer",
		}},
		{"/api/crypto-report/eth", []string{"market.price"}},
		{"/api/technical-analysis/btc", []string{"indicators.rsi_14.value", "verdict.label"}},
		{"/api/market-data/global", []string{"market_cap", "volume_24h", "market_cap_change_24h", "dominance.btc", "active_assets", "source", "as_of", "stale"}},
		{"/api/market-data/btc", []string{"price", "change_1y", "rank", "source", "as_of", "stale"}},
		{"/api/market-data?symbols=btc,eth,sol", []string{"quotes", "missing"}},
		{"/api/candles/btc?interval=1d&limit=30", []string{"symbol", "interval", "vs_currency", "source", "candles"}},
		{"/api/history/btc", []string{"symbol", "vs_currency", "quotes", "next"}},
		{"/api/symbols?q=uni", []string{"symbols"}},
		{"/health/live", nil},
		{"/health/ready", nil},
		{"/health/system", []string{"layer1.status", "layer2.islands", "layer3.reason", "layer4.status", "layer5.status", "overall", "timestamp"}},
		{"/health/cache", []string{"status", "tiers"}},
		{"/health/external-apis", []string{"status", "sources"}},
		{"/health/database", []string{"status", "mode"}},
		{"/health/islands", []string{"islands"}},
		{"/health/islands/cache", []string{"name", "layer", "version", "state", "status", "reason", "since", "restarts", "last_crash"}},
		{"/metrics/islands/report-generator", []string{"metrics"}},
		{"/metrics/cache", []string{
			"near_cache.entries", "near_cache.hit_rate", "l1_cache.entries", "l1_cache.hits", "l1_cache.misses", "l1_cache.hit_rate",
			"l2_cache.memory_usage", "l2_cache.connections", "l2_cache.latency_avg",
			"cache_manager.l1_promotions", "cache_manager.fallbacks", "cache_manager.total_operations",
		}},
		{"/metrics/performance", []string{"operations"}},
		{"/metrics/database", []string{"pool.total", "pool.idle", "pool.in_use", "pool.waits", "pool.wait_time_ms"}},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			r := h.ok(t, tt.path)
			if got := r.header.Get("Content-Type"); !strings.HasPrefix(got, "application/json") {
				t.Errorf("content type %q", got)
			}
			body := r.json(t)
			for _, key := range tt.keys {
				at(t, body, key)
			}
		})
	}
	t.Run("candles are as many as asked for", func(t *testing.T) {
		list := at(t, h.ok(t, "/api/candles/btc?interval=1d&limit=30").json(t), "candles").([]any)
		if len(list) != 30 {
			t.Errorf("%d candles", len(list))
		}
	})
	t.Run("a report is complete", func(t *testing.T) {
		report := h.ok(t, "/api/crypto-report/btc").json(t)
		for _, key := range []string{
			"market.price", "sentiment.value", "indicators.rsi_14.value", "indicators.sma_200.value", "indicators.atr_14.value", "indicators.adx_14.value",
			"volatility.max_drawdown_365d", "verdict.score", "market.dominance", "cross_check.deviation_bps",
		} {
			if at(t, report, key) == nil {
				t.Errorf("%s is null; warnings: %v", key, at(t, report, "warnings"))
			}
		}
	})
	t.Run("other formats", func(t *testing.T) {
		for format, want := range map[string]string{"html": "text/html", "md": "text/markdown"} {
			if r := h.ok(t, "/api/crypto-report/btc?format="+format); !strings.HasPrefix(r.header.Get("Content-Type"), want) {
				t.Errorf("%s: %s", format, r.header.Get("Content-Type"))
			}
		}
	})
	t.Run("the simulated market was asked once per need", func(t *testing.T) {
		for route, n := range m.requests(t) {
			// Quotes are asked for the catalogue, for each report's symbol, and in one call for three symbols.
			if n > 6 {
				t.Errorf("%s: %d calls", route, n)
			}
		}
	})
	if out := h.cli(t, "status"); !strings.Contains(out, "report-generator") || !strings.Contains(out, "disabled") {
		t.Errorf("status:\n%s", out)
	}
	if status := h.stop(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// TestReportEndToEnd walks the whole road, in both set-ups: a cold report from a simulated CoinGecko, remembered under
// crypto_report_btc, promoted from L2 to L1, and back after a restart without another call.
func TestReportEndToEnd(t *testing.T) {
	t.Parallel()
	setups := map[string]func(t *testing.T) (env map[string]string, redis string){
		"embedded": func(*testing.T) (map[string]string, string) { return map[string]string{}, "" },
		"redis and postgres": func(t *testing.T) (map[string]string, string) {
			t.Helper()
			redis := servers.Redis(t)
			return map[string]string{"REDIS_URL": redis.URL(), "DATABASE_URL": servers.Postgres(t).URL()}, redis.Addr()
		},
	}
	for name, setup := range setups {
		t.Run(name, func(t *testing.T) {
			env, redis := setup(t)
			env["ISLANDS_DATA_DIR"] = dataDir(t)
			env["ISLANDS_CONFIG"] = edited(t, withoutBroadcast) // Each call to an upstream is a request's.
			m := startMarket(t)
			h := startHost(t, m, env)
			first := h.ok(t, "/api/crypto-report/btc")
			eventually(t, 5*time.Second, "warm", func() error {
				r := h.ok(t, "/api/crypto-report/btc")
				if r.header.Get("X-Cache") != "near" {
					return fmt.Errorf("X-Cache %s", r.header.Get("X-Cache"))
				}
				return nil
			})
			if redis != "" {
				eventually(t, 5*time.Second, "Redis holds crypto_report_btc with both TTLs", func() error {
					ttl, err := strconv.Atoi(redisSays(t, redis, "PTTL", "islands:value:crypto_report_btc"))
					if err != nil || ttl < int(24*time.Hour/time.Millisecond) || ttl > int(25*time.Hour/time.Millisecond) {
						return fmt.Errorf("PTTL %d, %w", ttl, err)
					}
					return nil
				})
			}
			settled(t, h)
			if status := h.stop(t); status != 0 {
				t.Fatalf("exit status %d", status)
			}
			m.requests(t)

			again := startHost(t, m, env)
			r := again.ok(t, "/api/crypto-report/btc")
			want := map[bool][]string{true: {"l1", "l2", "near"}, false: {"store", "near"}}[redis != ""]
			if got := r.header.Get("X-Cache"); !slices.Contains(want, got) {
				t.Errorf("after a restart: X-Cache %s, want one of %v", got, want)
			}
			if !bytes.Equal(r.body, first.body) {
				t.Error("another report after a restart")
			}
			calls := m.requests(t)
			for route, n := range calls {
				t.Errorf("after a restart: %s called %d times", route, n)
			}
			if redis != "" {
				eventually(t, 20*time.Second, "it was promoted", func() error {
					metrics := again.ok(t, "/metrics/cache").json(t)
					if n, ok := at(t, metrics, "cache_manager.l1_promotions").(float64); !ok || n < 1 {
						return fmt.Errorf("promotions: %v", n)
					}
					if at(t, metrics, "l2_cache.memory_usage") == nil {
						return errors.New("no memory usage of Redis")
					}
					return nil
				})
			}
			// What was answered from the store is filled in behind the answer.
			eventually(t, 20*time.Second, "it is in L1", func() error {
				if entries, ok := at(t, again.ok(t, "/metrics/cache").json(t), "l1_cache.entries").(float64); !ok || entries < 1 {
					return fmt.Errorf("L1 holds %v entries", entries)
				}
				return nil
			})
			if quotes := at(t, again.ok(t, "/api/history/btc").json(t), "quotes").([]any); len(quotes) < 1 {
				t.Error("no history")
			}
		})
	}
}

// redisSays asks Redis over a plain connection and returns its answer's first line, without the type.
func redisSays(t *testing.T, addr string, words ...string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprintf(conn, "%s\r\n", strings.Join(words, " ")); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line[1:])
}

// TestInvalidation forgets by key and by pattern on one host, and the other host on the same Redis forgets too.
func TestInvalidation(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	env := map[string]string{"REDIS_URL": servers.Redis(t).URL()}
	a, b := startHost(t, m, env), startHost(t, m, env)
	warm := func(h *host, path string) {
		t.Helper()
		eventually(t, 10*time.Second, "warm", func() error {
			if r := h.ok(t, path); r.header.Get("X-Cache") != "near" {
				return fmt.Errorf("X-Cache %s", r.header.Get("X-Cache"))
			}
			return nil
		})
	}
	generated := func(h *host, path string) any {
		t.Helper()
		return at(t, h.ok(t, path).json(t), "generated_at")
	}
	for _, tt := range []struct{ name, pattern, path string }{
		{"by key", "crypto_report_btc", "/api/crypto-report/btc"},
		{"by pattern", "crypto_report_*", "/api/crypto-report/eth"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			warm(a, tt.path)
			warm(b, tt.path)
			settled(t, a)
			settled(t, b)
			var before any
			eventually(t, 5*time.Second, "the hosts share the report", func() error {
				before = generated(b, tt.path)
				if there := generated(a, tt.path); there != before {
					return fmt.Errorf("those of %v and %v", before, there)
				}
				return nil
			})
			warm(a, tt.path)
			warm(b, tt.path)
			a.cli(t, "cache", "invalidate", tt.pattern)
			eventually(t, 3*time.Second, "a new report on both hosts", func() error {
				if generated(a, tt.path) == before || generated(b, tt.path) == before {
					return fmt.Errorf("still the report of %v", before)
				}
				return nil
			})
		})
	}
}

// TestInvalidationUnheard invalidates while one of two hosts with stores of their own is away: what it still has in its
// store must not come back.
func TestInvalidationUnheard(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	redis := servers.Redis(t).URL()
	away := map[string]string{"REDIS_URL": redis, "ISLANDS_DATA_DIR": dataDir(t)}
	a, b := startHost(t, m, away), startHost(t, m, map[string]string{"REDIS_URL": redis})
	generated := func(h *host) any { return at(t, h.ok(t, "/api/crypto-report/btc").json(t), "generated_at") }
	eventually(t, 5*time.Second, "both hosts share a report", func() error {
		if generated(a) != generated(b) {
			return errors.New("two reports")
		}
		return nil
	})
	before := generated(a)
	settled(t, a)
	a.stop(t)
	b.cli(t, "cache", "invalidate", "crypto_report_*")
	again := startHost(t, m, away)
	if generated(again) == before || generated(b) == before {
		t.Errorf("the report of %v came back", before)
	}
}

// TestColdStampede sends a thousand requests for one cold report at once.
func TestColdStampede(t *testing.T) {
	m := startMarket(t)
	h := startHost(t, m, map[string]string{"ISLANDS_CONFIG": edited(t, withoutBroadcast)})
	h.ok(t, "/api/crypto-report/btc") // the catalogue and the global figures
	settled(t, h)
	m.requests(t)
	bodies := make([]string, 1000)
	pooled := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 200, MaxConnsPerHost: 200}}
	defer pooled.CloseIdleConnections()
	var wait sync.WaitGroup
	for i := range bodies {
		wait.Go(func() {
			resp, err := pooled.Get(h.url + "/api/crypto-report/link")
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = resp.Body.Close() }()
			var text strings.Builder
			if _, err := bufio.NewReader(resp.Body).WriteTo(&text); err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("%d, %v", resp.StatusCode, err)
			}
			bodies[i] = text.String()
		})
	}
	wait.Wait()
	for _, body := range bodies[1:] {
		if body != bodies[0] {
			t.Fatal("two clients got two bodies")
		}
	}
	for route, n := range m.requests(t) {
		if n > 1 {
			t.Errorf("%s: %d calls for one need", route, n)
		}
	}
}

// TestUnknownSymbols asks for a thousand assets that do not exist.
func TestUnknownSymbols(t *testing.T) {
	m := startMarket(t)
	h := startHost(t, m, nil)
	h.ok(t, "/api/crypto-report/btc")
	settled(t, h)
	entries := func() float64 {
		return at(t, h.ok(t, "/metrics/cache").json(t), "near_cache.entries").(float64)
	}
	before := entries()
	m.requests(t)
	for i := range 1000 {
		r := h.get(t, fmt.Sprintf("/api/crypto-report/nosuch%d", i))
		if r.status != http.StatusNotFound || !strings.HasPrefix(r.header.Get("Content-Type"), "application/problem+json") {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	for route, n := range m.requests(t) {
		t.Errorf("%s: %d calls for symbols that the catalogue does not hold", route, n)
	}
	if grown := entries() - before; grown > 1001 {
		t.Errorf("the near cache grew by %v entries", grown)
	}
}

// TestMalformed asks for what cannot be meant; nothing of it reaches a source or a cache.
func TestMalformed(t *testing.T) {
	m := startMarket(t)
	h := startHost(t, m, nil)
	h.ok(t, "/api/crypto-report/btc")
	settled(t, h)
	m.requests(t)
	before := at(t, h.ok(t, "/metrics/cache").json(t), "l1_cache.entries")
	for name, path := range map[string]string{
		"path trick":      "/api/crypto-report/..%2f..%2fetc%2fpasswd",
		"glob":            "/api/crypto-report/%2a",
		"unicode":         "/api/crypto-report/%E2%82%BFtc",
		"control":         "/api/crypto-report/bt%00c",
		"10 kB":           "/api/crypto-report/" + strings.Repeat("a", 10_000),
		"33 letters":      "/api/crypto-report/" + strings.Repeat("a", 33),
		"format":          "/api/crypto-report/btc?format=exe",
		"currency":        "/api/crypto-report/btc?vs_currency=wampum",
		"interval":        "/api/candles/btc?interval=1x",
		"limit":           "/api/candles/btc?limit=-1",
		"too many":        "/api/market-data?symbols=" + strings.TrimSuffix(strings.Repeat("a,", 300), ","),
		"source":          "/api/market-data/btc?source=nobody",
		"unknown route":   "/api/nothing/here",
		"unknown island":  "/health/islands/nobody",
		"moment of times": "/api/history/btc?from=yesterday",
	} {
		t.Run(name, func(t *testing.T) {
			r := h.get(t, path)
			if r.status < 400 || r.status > 499 || !strings.HasPrefix(r.header.Get("Content-Type"), "application/problem+json") {
				t.Errorf("%d %s %s", r.status, r.header.Get("Content-Type"), r.body)
			}
			for _, key := range []string{"type", "title", "status", "detail", "instance", "code", "request_id", "retryable"} {
				at(t, r.json(t), key)
			}
		})
	}
	if r, err := ask(t.Context(), http.MethodPost, h.url+"/api/crypto-report/btc", nil); err != nil || r.status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d, %v", r.status, err)
	}
	if calls := m.requests(t); len(calls) > 0 {
		t.Errorf("upstream calls: %v", calls)
	}
	if after := at(t, h.ok(t, "/metrics/cache").json(t), "l1_cache.entries"); after != before {
		t.Errorf("L1 went from %v to %v entries", before, after)
	}
}

// TestValidate checks the shipped configuration against the islands' manifests.
func TestValidate(t *testing.T) {
	p := launch(t, map[string]string{}, "islands", "validate", "../../../islands.hcl")
	p.says(t, "is valid")
}
