package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestChaosKilledHost kills the host at random moments of its life, one data directory throughout: a second later there is no
// island, no socket, no lock and no half-written file, and the next start is clean and serves.
func TestChaosKilledHost(t *testing.T) {
	t.Parallel()
	r := dice(t)
	m := startMarket(t)
	c := newComposition(t)
	c.text = restless(c.text)
	c.write(c.text)
	env := map[string]string{"ISLANDS_DATA_DIR": dataDir(t), "ISLANDS_CONFIG": c.path}
	moments := []struct {
		name string
		// live leads the host to the moment at which it is killed.
		live func(t *testing.T, h *host)
	}{
		{"load", func(t *testing.T, h *host) {
			t.Helper()
			time.Sleep(within(r, time.Second))
		}},
		{"crash", func(t *testing.T, h *host) {
			t.Helper()
			for _, pid := range h.pids(t) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			time.Sleep(within(r, 500*time.Millisecond))
		}},
		{"swap", func(t *testing.T, h *host) {
			t.Helper()
			pids := h.pids(t)
			for name := range pids {
				begin(t, h, "swap", name)
			}
			time.Sleep(within(r, time.Second))
		}},
		{"reload", func(t *testing.T, h *host) {
			t.Helper()
			c.write(strings.Replace(c.text, `max_memory = "64MiB"`, fmt.Sprintf(`max_memory = "%dMiB"`, 32+r.IntN(32)), 1))
			begin(t, h, "reload")
			time.Sleep(within(r, time.Second))
		}},
		{"shutdown", func(t *testing.T, h *host) {
			t.Helper()
			_ = h.cmd.Process.Signal(syscall.SIGTERM)
			time.Sleep(within(r, 500*time.Millisecond))
		}},
	}
	for round := range scaled(len(moments), 16) {
		moment := moments[round%len(moments)]
		t.Run(fmt.Sprintf("%d %s", round, moment.name), func(t *testing.T) {
			h := startHost(t, m, env)
			h.ok(t, "/api/crypto-report/btc")
			askers := harass(t, h)
			moment.live(t, h)
			killHost(t, h)
			askers()
		})
	}
	for round := range scaled(2, 4) {
		t.Run(fmt.Sprintf("%d start", round), func(t *testing.T) {
			h := &host{env: map[string]string{"ISLANDS_LISTEN": "127.0.0.1:0", "LOG_FORMAT": "json"}, data: env["ISLANDS_DATA_DIR"]}
			for _, from := range []map[string]string{m.env, env} {
				for k, v := range from {
					h.env[k] = v
				}
			}
			h.program = launch(t, h.env, "islands", "run", "--config", h.config())
			time.Sleep(within(r, 2*time.Second))
			killHost(t, h)
		})
	}
	h := startHost(t, m, env)
	h.ok(t, "/api/crypto-report/btc")
	if there := relatives(h.data); len(there) < 6 {
		t.Errorf("five islands and a janitor were to be found, not %v: the search finds nothing", there)
	}
	allRun(t, h, map[string]int{"cache": -1, "sqlite-store": -1, "coingecko-source": -1, "binance-source": -1, "report-generator": -1})
	if status := h.stop(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// begin runs the command line tool beside the test. What becomes of the command is of no interest, only that it ends.
func begin(t *testing.T, h *host, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "islands"), append(args, "--config", h.config(), "--timeout", "20s")...)
	for k, v := range h.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() { <-ended })
}

// harass asks a host that is about to die, for what is warm and what is cold, whatever it answers.
func harass(t *testing.T, h *host) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var askers sync.WaitGroup
	for _, path := range []string{"/api/crypto-report/btc", "/api/crypto-report/eth", "/api/technical-analysis/sol", "/api/market-data/btc"} {
		askers.Go(func() {
			for ctx.Err() == nil {
				_, _ = ask(ctx, http.MethodGet, h.url+path, nil)
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	return func() {
		cancel()
		askers.Wait()
	}
}

// killHost kills a host and wants nothing of it to be left a second later.
func killHost(t *testing.T, h *host) {
	t.Helper()
	known := relatives(h.data)
	_ = h.cmd.Process.Kill()
	<-h.done
	died := time.Now()
	// It is promised within a second. Beside all the other tests those who clean up may be slow to run, and the test to see it; and a
	// program with the race detector sleeps for a second before it ends.
	bound := 5 * time.Second
	if full && !races {
		bound = time.Second
	}
	eventually(t, bound, "nothing is left", func() error {
		for _, pid := range known {
			if err := gone(pid); err != nil {
				return err
			}
		}
		return nothingLeft(h.data)
	})
	t.Logf("nothing was left after %v", time.Since(died).Round(time.Millisecond))
}

// TestChaosTerminated stops a host with many clients of the feed and requests under way: every client is told, every request
// answered, and all is done within the budget.
func TestChaosTerminated(t *testing.T) {
	t.Parallel()
	clients := scaled(200, 1000)
	m := startMarket(t)
	h := startHost(t, m, map[string]string{"ISLANDS_CONFIG": edited(t, func(text string) string {
		return strings.Replace(text, "max_per_address = 1000 ", "max_per_address = 2000 ", 1)
	})})
	h.ok(t, "/api/crypto-report/btc")
	var ready, listening sync.WaitGroup
	ready.Add(clients)
	failures := make(chan error, clients)
	places := make(chan struct{}, 50)
	for range clients {
		listening.Go(func() { failures <- shutdownHeard(t.Context(), h, places, ready.Done) })
	}
	ready.Wait()
	m.fault(t, `{"service":"*","kind":"latency","latency_ms":1000}`)
	var asking sync.WaitGroup
	for _, symbol := range []string{"ada", "doge", "link", "xrp", "sol", "bnb"} {
		asking.Go(func() {
			r, err := ask(t.Context(), http.MethodGet, h.url+"/api/crypto-report/"+symbol, nil)
			if err != nil || (r.status != http.StatusOK && r.status != http.StatusServiceUnavailable) || !json.Valid(r.body) {
				t.Errorf("the report of %s, under way at the end: %d %v %s", symbol, r.status, err, r.body)
			}
		})
	}
	eventually(t, 20*time.Second, "requests under way", func() error {
		if calls := m.callsOf(t, ""); calls < 3 {
			return fmt.Errorf("%d calls", calls)
		}
		return nil
	})
	began := time.Now()
	if status := h.stop(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("took %v", took)
	} else {
		t.Logf("took %v", took.Round(time.Millisecond))
	}
	asking.Wait()
	listening.Wait()
	close(failures)
	failed := 0
	for err := range failures {
		if err != nil {
			if failed++; failed < 5 {
				t.Error(err)
			}
		}
	}
	if failed > 0 {
		t.Errorf("%d of %d clients were not told in order", failed, clients)
	}
	eventually(t, 5*time.Second, "nothing is left", func() error { return nothingLeft(h.data) })
}

// callsOf counts the calls to a service of the market, since they were forgotten the last time, and forgets none.
func (m *market) callsOf(t *testing.T, service string) (n int) {
	t.Helper()
	r, err := ask(t.Context(), http.MethodGet, m.url+"/_sim/requests", nil)
	if err != nil {
		t.Fatal(err)
	}
	for route, count := range r.json(t) {
		if count, ok := count.(float64); ok && strings.HasPrefix(route, service) {
			n += int(count)
		}
	}
	return n
}

// shutdownHeard listens to the feed until the host ends: it wants to be told, and then an orderly close.
func shutdownHeard(ctx context.Context, h *host, places chan struct{}, ready func()) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	conn, err := func() (*websocket.Conn, error) {
		places <- struct{}{}
		defer func() { <-places }()
		defer ready()
		conn, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(h.url, "http")+"/ws?channels=ticker:btc", nil) //nolint:bodyclose // The library closes it.
		return conn, err
	}()
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseNow() }()
	told := false
	for {
		_, text, err := conn.Read(ctx)
		if err != nil {
			if !told || websocket.CloseStatus(err) != 4001 {
				return fmt.Errorf("told of the end: %v, closed with %w", told, err)
			}
			return nil
		}
		m, _, err := decodeMessage(text)
		if err != nil {
			return err
		}
		told = told || m.Type == "shutdown"
	}
}
