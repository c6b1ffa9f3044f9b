package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// peak is the most memory that a process ever had in the machine's memory.
func peak(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	fields := strings.Fields(after)
	if len(fields) < 2 {
		t.Fatalf("no peak in %s", text)
	}
	kilobytes, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

// TestChaosFlood has a host asked for more than it can give, in every way in which one can ask too much: what is warm is served all
// the while, the rest is bounded or refused in order, and no upstream pays for it.
func TestChaosFlood(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	h := startHost(t, m, nil)
	address := strings.TrimPrefix(h.url, "http://")
	h.ok(t, "/api/crypto-report/btc")
	settled(t, h)
	before := footprintOf(t, h)
	begun := time.Now()
	m.requests(t) // Counts from here.
	requests := startLoad(t, h, 2, "/api/crypto-report/btc", "/api/market-data/eth", "/health/live")

	var slow sync.WaitGroup
	slow.Go(func() { drip(t, address) })
	t.Run("idle", func(t *testing.T) {
		var conns []net.Conn
		defer func() {
			for _, conn := range conns {
				_ = conn.Close()
			}
		}()
		for range scaled(1000, 10_000) {
			conn, err := net.DialTimeout("tcp", address, 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
		h.ok(t, "/api/crypto-report/btc")
	})
	t.Run("large", func(t *testing.T) {
		for name, request := range map[string]string{
			"body":          "POST /api/crypto-report/btc HTTP/1.1\r\nHost: islands\r\nContent-Length: 1073741824\r\n\r\n",
			"body of a GET": "GET /api/crypto-report/btc HTTP/1.1\r\nHost: islands\r\nContent-Length: 1073741824\r\n\r\n",
			"admin":         "POST /admin/cache/invalidate HTTP/1.1\r\nHost: islands\r\nContent-Length: 1073741824\r\n\r\n",
			"chunks":        "POST /api/crypto-report/btc HTTP/1.1\r\nHost: islands\r\nTransfer-Encoding: chunked\r\n\r\n",
			"header":        "GET /api/crypto-report/btc HTTP/1.1\r\nHost: islands\r\nX-Large: ",
			"address":       "GET /api/crypto-report/",
			"query":         "GET /api/crypto-report/btc?",
			"many headers":  "GET /api/crypto-report/btc HTTP/1.1\r\nHost: islands\r\n",
			"negative":      "POST /api/crypto-report/btc HTTP/1.1\r\nHost: islands\r\nContent-Length: -1\r\n\r\n",
			"no number":     "POST /api/crypto-report/btc HTTP/1.1\r\nHost: islands\r\nContent-Length: 99999999999999999999\r\n\r\n",
			"expected":      "POST /api/crypto-report/btc HTTP/1.1\r\nHost: islands\r\nExpect: 100-continue\r\nContent-Length: 1073741824\r\n\r\n",
		} {
			t.Run(name, func(t *testing.T) { pour(t, address, name, request) })
		}
	})
	t.Run("symbols", func(t *testing.T) {
		flood(t, h, scaled(20_000, 1_000_000), func(i int) string { return fmt.Sprintf("/api/crypto-report/s%d", i) }, http.StatusNotFound)
	})
	t.Run("queries", func(t *testing.T) {
		flood(t, h, scaled(20_000, 1_000_000), func(i int) string { return fmt.Sprintf("/api/market-data/btc?nonsense=%d", i) }, http.StatusOK, http.StatusBadRequest)
	})
	t.Run("pages", func(t *testing.T) {
		flood(t, h, scaled(2000, 50_000), func(i int) string { return fmt.Sprintf("/api/history/btc?limit=10&from=2026-01-01T00:00:00.%09dZ", i) },
			http.StatusOK, http.StatusServiceUnavailable)
	})
	t.Run("cold", func(t *testing.T) {
		symbols, currencies := m.traded(t), []string{"usd", "eur", "gbp", "jpy", "aud", "cad", "chf", "inr", "krw", "brl"}
		flood(t, h, scaled(1500, 30_000), func(i int) string {
			return fmt.Sprintf("/api/crypto-report/%s?vs_currency=%s", symbols[i%len(symbols)], currencies[i/len(symbols)%len(currencies)])
		}, http.StatusOK, http.StatusServiceUnavailable, http.StatusNotFound, http.StatusTooManyRequests)
	})

	slow.Wait()
	requests.stop()
	calls := 0
	for route, n := range m.requests(t) {
		if strings.HasPrefix(route, "coingecko") {
			calls += n
		}
	}
	if minutes := time.Since(begun).Minutes(); float64(calls) > coingeckoBudget*(1+minutes) {
		t.Errorf("CoinGecko was called %d times within %.1f minutes, and its budget is %d a minute", calls, minutes, coingeckoBudget)
	} else {
		t.Logf("CoinGecko was called %d times within %.1f minutes", calls, minutes)
	}
	bound := int64(256 << 20)
	switch {
	case races:
		bound *= 10 // The race detector remembers every access in several times as much memory, and every goroutine that ever was.
	case full:
		bound += 128 << 20 // For ten times as many connections.
	}
	if most := peak(t, h.cmd.Process.Pid); most > before.resident+bound {
		t.Errorf("%d MiB were %d MiB at the start", most>>20, before.resident>>20)
	} else {
		t.Logf("at most %d MiB, %d MiB at the start", most>>20, before.resident>>20)
	}
	eventually(t, 90*time.Second, "everything is given back", func() error {
		after := footprintOf(t, h)
		after.resident = before.resident // What is remembered is bounded, and was judged by its peak.
		after.goroutines -= 64           // The server keeps idle workers for ten seconds.
		return after.fits(before)
	})
}

// drip begins many requests and sends a letter of each now and then: the host must not wait for them for ever.
func drip(t *testing.T, address string) {
	t.Helper()
	var drips sync.WaitGroup
	for range scaled(50, 500) {
		drips.Go(func() {
			conn, err := net.DialTimeout("tcp", address, 10*time.Second)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			if _, err := io.WriteString(conn, "GET /api/crypto-report/btc HTTP/1.1\r\nHost: islands\r\nX-Slow: "); err != nil {
				return
			}
			ended := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, conn)
				ended <- err
			}()
			for {
				select {
				case err := <-ended:
					var timeout net.Error
					if errors.As(err, &timeout) && timeout.Timeout() {
						t.Error("the host waits for ever")
					}
					return
				case <-time.After(200 * time.Millisecond):
					_, _ = conn.Write([]byte("a"))
				}
			}
		})
	}
	drips.Wait()
}

// pour sends a request that has no end: the host must refuse it before long.
func pour(t *testing.T, address, name, request string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	answer := make(chan string, 1)
	go func() {
		answers := bufio.NewReader(conn)
		line, _ := answers.ReadString('\n')
		if strings.Contains(line, " 100 ") { // Go on, and then the answer.
			_, _ = answers.ReadString('\n')
			line, _ = answers.ReadString('\n')
		}
		answer <- strings.TrimSpace(line)
	}()
	piece := bytes.Repeat([]byte("x"), 64<<10)
	switch name {
	case "chunks":
		piece = append(append([]byte("10000\r\n"), piece...), "\r\n"...)
	case "many headers":
		piece = bytes.Repeat([]byte("X-One: 1\r\n"), 1000)
	}
	_, err = io.WriteString(conn, request)
	sent := 0
	for ; err == nil && sent < 1<<30; sent += len(piece) {
		select {
		case line := <-answer:
			if !strings.HasPrefix(line, "HTTP/1.1 4") && line != "" {
				t.Errorf("answered %q", line)
			}
			t.Logf("refused after %d KiB: %s", sent>>10, line)
			return
		default:
			_, err = conn.Write(piece)
		}
	}
	if sent > 64<<20 {
		t.Errorf("%d MiB were taken", sent>>20)
	}
	t.Logf("cut after %d KiB: %s", sent>>10, <-answer)
}

// flood asks for n different things as fast as the machine can. Each is answered by one of the statuses; a refusal for a while says
// for how long.
func flood(t *testing.T, h *host, n int, path func(i int) string, statuses ...int) {
	t.Helper()
	const askers, batch = 16, 20
	batches := make(chan int)
	counts := make([]atomic.Int64, 600)
	var asking sync.WaitGroup
	var failed atomic.Int64
	for range askers {
		asking.Go(func() {
			if err := pipelined(h, batches, batch, path, counts, statuses); err != nil && failed.Add(1) < 5 {
				t.Error(err)
			}
			for range batches { // Of one that has failed.
				failed.Add(1)
			}
		})
	}
	for i := 0; i < n; i += batch {
		batches <- i
	}
	close(batches)
	asking.Wait()
	for status := range counts {
		if count := counts[status].Load(); count > 0 {
			t.Logf("%d times %d", count, status)
		}
	}
}

// pipelined asks over one connection, a batch at once, and counts the answers by their status.
func pipelined(h *host, batches <-chan int, batch int, path func(i int) string, counts []atomic.Int64, statuses []int) error {
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(h.url, "http://"), 10*time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	answers := bufio.NewReaderSize(conn, 64<<10)
	for from := range batches {
		var requests bytes.Buffer
		for i := from; i < from+batch; i++ {
			fmt.Fprintf(&requests, "GET %s HTTP/1.1\r\nHost: islands\r\n\r\n", path(i))
		}
		_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
		if _, err := conn.Write(requests.Bytes()); err != nil {
			return err
		}
		for i := from; i < from+batch; i++ {
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				return fmt.Errorf("GET %s: %w", path(i), err)
			}
			text, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			switch counts[resp.StatusCode].Add(1); {
			case err != nil:
				return fmt.Errorf("GET %s: %w", path(i), err)
			case !slices.Contains(statuses, resp.StatusCode):
				return fmt.Errorf("GET %s: %d %s", path(i), resp.StatusCode, text)
			case resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") == "":
				return fmt.Errorf("GET %s: 503 without Retry-After", path(i))
			}
		}
	}
	return nil
}
