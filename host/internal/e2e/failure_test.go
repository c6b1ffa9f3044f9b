package e2e

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestSourceFaults breaks CoinGecko in every way it is known to break: the report comes from Binance.
func TestSourceFaults(t *testing.T) {
	t.Parallel()
	faults := map[string]string{
		"429 as JSON":      `{"service":"coingecko","kind":"status","status":429,"body":"json"}`,
		"429 as HTML":      `{"service":"coingecko","kind":"status","status":429,"body":"html","retry_after":"30"}`,
		"429 as text":      `{"service":"coingecko","kind":"status","status":429,"body":"text"}`,
		"500":              `{"service":"coingecko","kind":"status","status":500}`,
		"truncated JSON":   `{"service":"coingecko","kind":"truncate"}`,
		"connection reset": `{"service":"coingecko","kind":"reset"}`,
		"silence":          `{"service":"coingecko","kind":"silence"}`,
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			m := startMarket(t)
			m.fault(t, fault)
			h := startHost(t, m, nil)
			began := time.Now()
			report := h.ok(t, "/api/crypto-report/btc").json(t)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			if got := at(t, report, "provenance.quote.source"); got != "binance-source" {
				t.Errorf("quote from %v", got)
			}
			if at(t, report, "market.price") == nil || at(t, report, "market.market_cap") != nil {
				t.Errorf("market %v", at(t, report, "market"))
			}
			warnings := fmt.Sprint(at(t, report, "warnings"))
			for _, want := range []string{"global", "USDT"} {
				if !strings.Contains(warnings, want) {
					t.Errorf("no warning of %s in %s", want, warnings)
				}
			}
		})
	}
}

// TestAllSourcesDown serves what is remembered, marked stale, and refuses the rest politely.
func TestAllSourcesDown(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	h := startHost(t, m, map[string]string{"ISLANDS_CONFIG": shortLived(t)})
	h.ok(t, "/api/crypto-report/btc")
	h.ok(t, "/api/market-data/btc")
	m.fault(t, `{"service":"*","kind":"status","status":500}`)
	for _, path := range []string{"/api/market-data/btc", "/api/crypto-report/btc"} {
		eventually(t, 10*time.Second, path, func() error {
			if got := h.ok(t, path).header.Get("X-Cache"); got != "stale" {
				return fmt.Errorf("X-Cache %s", got)
			}
			return nil
		})
	}
	if got := at(t, h.ok(t, "/api/market-data/btc").json(t), "stale"); fmt.Sprint(got) != "true" {
		t.Errorf("the quote says that stale is %v", got)
	}
	r := h.get(t, "/api/crypto-report/sol")
	if r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" {
		t.Errorf("%d, Retry-After %q: %s", r.status, r.header.Get("Retry-After"), r.body)
	}
	h.says(t, "External APIs unavailable, serving cached data")
	m.heal(t)
	eventually(t, 40*time.Second, "the sources are back", func() error {
		if r := h.get(t, "/api/crypto-report/sol"); r.status != http.StatusOK {
			return fmt.Errorf("%d %s", r.status, r.body)
		}
		return nil
	})
}

// TestSilentSources asks a host whose upstreams accept and never answer: it is refused in time, told when to come back.
func TestSilentSources(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	m.fault(t, `{"service":"*","kind":"silence"}`)
	h := startHost(t, m, nil)
	for range 2 {
		began := time.Now()
		r := h.get(t, "/api/crypto-report/btc")
		if r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" {
			t.Errorf("%d, Retry-After %q: %s", r.status, r.header.Get("Retry-After"), r.body)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
	}
}

// shortLived is the shipped configuration with strategies of half a second, and without the live feed, which would keep
// quotes fresh.
func shortLived(t *testing.T) string {
	t.Helper()
	return edited(t, func(text string) string {
		lines := strings.Split(text, "\n")
		for i, line := range lines {
			if strings.HasPrefix(line, `strategy "`) && !strings.Contains(line, "very_long_term") {
				name, _, _ := strings.Cut(line, "{")
				lines[i] = name + `{ ttl = "500ms" }`
			}
		}
		return withoutBroadcast(strings.Join(lines, "\n"))
	})
}

// TestNoNetwork starts a host whose upstreams cannot be reached: it starts, says so, and answers at once.
func TestNoNetwork(t *testing.T) {
	t.Parallel()
	h := startHost(t, nil, map[string]string{"COINGECKO_URL": "http://127.0.0.1:1", "BINANCE_URL": "http://127.0.0.1:1", "BINANCE_STREAM_URL": "ws://127.0.0.1:1", "FEAR_GREED_URL": "http://127.0.0.1:1"})
	began := time.Now()
	r := h.get(t, "/api/crypto-report/btc")
	if r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" ||
		!strings.HasPrefix(r.header.Get("Content-Type"), "application/problem+json") {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	h.says(t, "External APIs unavailable, serving cached data")
	h.ok(t, "/health/ready")
	if got := at(t, h.ok(t, "/health/external-apis").json(t), "status"); got != "degraded" {
		t.Errorf("external APIs are %v", got)
	}
}

// TestKilledIslands kills each island in turn while warm reports are asked for: none fails, and the island is back.
func TestKilledIslands(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	h := startHost(t, m, nil)
	h.ok(t, "/api/crypto-report/btc")
	var stop atomic.Bool
	var asked, failed atomic.Int64
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for !stop.Load() {
				r, err := ask(t.Context(), http.MethodGet, h.url+"/api/crypto-report/btc", nil)
				asked.Add(1)
				if err != nil || r.status != http.StatusOK {
					failed.Add(1)
					t.Errorf("%d %v %s", r.status, err, r.body)
					return
				}
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	for name, pid := range h.pids(t) {
		t.Run(name, func(t *testing.T) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			eventually(t, 5*time.Second, "back", func() error {
				island := h.get(t, "/health/islands/"+name).json(t)
				if at(t, island, "state") != "running" || at(t, island, "restarts") != 1.0 {
					return fmt.Errorf("%v", island)
				}
				if got := at(t, island, "last_crash.signal"); got != "killed" {
					t.Errorf("last crash: %v", got)
				}
				return nil
			})
			h.says(t, name, "killed")
		})
	}
	time.Sleep(300 * time.Millisecond)
	stop.Store(true)
	load.Wait()
	t.Logf("%d requests, %d failed", asked.Load(), failed.Load())
}

// TestKilledHost kills the host: a second later nothing of it is left, not even what an island has started, and it starts again.
func TestKilledHost(t *testing.T) {
	m, d := startMarket(t), startDirector(t, "parent")
	env := map[string]string{"ISLANDS_DATA_DIR": dataDir(t), "ISLANDS_CONFIG": d.troubled(t, "parent")}
	h := startHost(t, m, env)
	h.ok(t, "/api/crypto-report/btc")
	pids := h.pids(t)
	if len(pids) != 7 {
		t.Errorf("%d islands: %v", len(pids), pids)
	}
	d.order(t, "parent", "child")
	child, err := strconv.Atoi(d.hear(t, "parent"))
	if err != nil {
		t.Fatal(err)
	}
	if gone(child) == nil {
		t.Error("the child of an island does not run")
	}
	pids["the child of an island"] = child
	if err := h.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-h.done
	died := time.Now()
	// It takes a few milliseconds and is promised within a second; a busy machine may be slow to run those who clean up.
	eventually(t, 3*time.Second, "nothing is left", func() error {
		for name, pid := range pids {
			if err := gone(pid); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return filepath.WalkDir(h.data, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Type() == fs.ModeSocket {
				return fmt.Errorf("a socket: %s", path)
			}
			return nil // what is removed meanwhile is welcome to be gone
		})
	})
	t.Logf("nothing was left after %v", time.Since(died))
	again := startHost(t, m, env)
	again.ok(t, "/api/crypto-report/btc")
}

// TestStop stops a host by SIGTERM: exit status 0, nothing left behind.
func TestStop(t *testing.T) {
	m := startMarket(t)
	h := startHost(t, m, nil)
	h.ok(t, "/api/crypto-report/btc")
	pids := h.pids(t)
	if status := h.stop(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	for name, pid := range pids {
		if err := gone(pid); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	left, _ := filepath.Glob(filepath.Join(h.data, "run", "*"))
	for _, path := range left {
		if filepath.Base(path) != "lock" {
			t.Errorf("left behind: %s", path)
		}
	}
}

// TestSecondHost refuses a data directory that another host uses.
func TestSecondHost(t *testing.T) {
	m := startMarket(t)
	h := startHost(t, m, nil)
	second := launch(t, h.env, "islands", "run", "--config", h.config())
	second.says(t, "another host runs on the data directory")
	<-second.done
	if status := second.cmd.ProcessState.ExitCode(); status != 1 {
		t.Errorf("exit status %d", status)
	}
}

// TestThirdPartyIsland takes the market's mood from the forty-line source of the examples, as the shipped configuration does.
func TestThirdPartyIsland(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	h := startHost(t, m, nil)
	report := h.ok(t, "/api/crypto-report/btc").json(t)
	if at(t, report, "sentiment.value") == nil || at(t, report, "provenance.sentiment.source") != "fear-greed" {
		t.Errorf("sentiment %v, provenance %v, warnings %v", at(t, report, "sentiment"), at(t, report, "provenance"), at(t, report, "warnings"))
	}
	h.ok(t, "/health/islands/fear-greed")
	source, err := os.ReadFile("../../../examples/fear-greed/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(source), "\n"); lines > 40 {
		t.Errorf("a whole source takes %d lines, and was promised to fit in 40", lines)
	}
}
