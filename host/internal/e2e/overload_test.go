package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestOverload floods a host with cold requests of distinct keys while both sources and the reporter are frozen: what is
// warm is served all the while, and what is turned away is told when to come back.
func TestOverload(t *testing.T) {
	m := startMarket(t)
	h := startHost(t, m, nil)
	var symbols []string
	for _, asset := range h.ok(t, "/api/symbols").json(t)["symbols"].([]any) {
		symbols = append(symbols, at(t, asset, "symbol").(string))
	}
	warm := startLoad(t, h, 4, "/api/crypto-report/btc", "/api/market-data/global")
	pids := h.pids(t)
	var frozen []int
	for _, name := range []string{"coingecko-source", "binance-source", "report-generator"} {
		pid := pids[name]
		if pid == 0 {
			t.Fatalf("no island %q runs: %v", name, pids)
		}
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		frozen = append(frozen, pid)
	}
	defer func() {
		for _, pid := range frozen {
			_ = syscall.Kill(pid, syscall.SIGCONT) // It may have been replaced.
		}
	}()
	var next, shed, other atomic.Int64
	var flood sync.WaitGroup
	currencies := []string{"usd", "eur", "gbp", "jpy", "chf", "cad", "aud", "pln"}
	until := time.Now().Add(8 * time.Second)
	for range 600 {
		flood.Go(func() {
			for time.Now().Before(until) {
				i := int(next.Add(1))
				symbol, currency := symbols[i%len(symbols)], currencies[i/len(symbols)%len(currencies)]
				path := "/api/candles/" + symbol + "?vs_currency=" + currency + "&interval=" + []string{"1h", "4h", "1d"}[i/len(symbols)/len(currencies)%3]
				if i%2 == 0 {
					path = "/api/crypto-report/" + symbol + "?vs_currency=" + currency
				}
				r, err := ask(t.Context(), http.MethodGet, h.url+path, nil)
				if err != nil {
					t.Errorf("%s: %v", path, err)
					return
				}
				if r.status != http.StatusServiceUnavailable {
					other.Add(1)
					continue
				}
				if after, err := strconv.Atoi(r.header.Get("Retry-After")); err != nil || after < 1 || after > 60 {
					t.Errorf("%s is to be asked for again after %q", path, r.header.Get("Retry-After"))
				}
				shed.Add(1)
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	flood.Wait()
	warm.stop()
	t.Logf("%d cold requests, %d refused, %d answered otherwise", next.Load(), shed.Load(), other.Load())
	if shed.Load() == 0 {
		t.Error("nothing was refused")
	}
	for _, pid := range frozen {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	frozen = nil
	eventually(t, 60*time.Second, "cold reports again", func() error {
		r := h.get(t, "/api/crypto-report/"+symbols[len(symbols)-1])
		if r.status != http.StatusOK {
			return fmt.Errorf("%d %s", r.status, r.body)
		}
		return nil
	})
	if turned := at(t, h.get(t, "/metrics/performance").json(t), "admission.turned_away").(float64); turned == 0 {
		t.Error("/metrics/performance counts none of it")
	}
}
