package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk/islandtest/servers"
)

// said counts the lines that hold every one of the texts.
func (p *program) said(texts ...string) (n int) {
	for _, line := range p.tail(1 << 30) {
		if holdsAll(line, texts) {
			n++
		}
	}
	return n
}

// traded lists symbols that every source of a market knows, for requests that have never been made.
func (m *market) traded(t *testing.T) (symbols []string) {
	t.Helper()
	r, err := ask(t.Context(), http.MethodGet, m.url+"/binance/api/v3/exchangeInfo", nil)
	if err != nil {
		t.Fatal(err)
	}
	var info struct {
		Symbols []struct{ BaseAsset, QuoteAsset, Status string }
	}
	if err := json.Unmarshal(r.body, &info); err != nil {
		t.Fatal(err)
	}
	for _, s := range info.Symbols {
		if s.QuoteAsset == "USDT" && s.Status == "TRADING" {
			symbols = append(symbols, strings.ToLower(s.BaseAsset))
		}
	}
	return symbols
}

// coldly asks for reports that nobody has asked for before. Every one must be answered: the market is well.
func coldly(t *testing.T, h *host, symbols []string, n int) (left []string) {
	t.Helper()
	for _, symbol := range symbols[:n] {
		if r := h.get(t, "/api/crypto-report/"+symbol); r.status != http.StatusOK {
			t.Errorf("the cold report of %s: %d %s", symbol, r.status, r.body)
		}
	}
	return symbols[n:]
}

// redisDo says several lines to a Redis over one connection.
func redisDo(t *testing.T, addr string, lines ...string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	answers := bufio.NewReader(conn)
	for _, line := range lines {
		if _, err := fmt.Fprintf(conn, "%s\r\n", line); err != nil {
			t.Fatal(err)
		}
		answer, err := answers.ReadString('\n')
		if err != nil || strings.HasPrefix(answer, "-") {
			t.Fatalf("%s: %s %v", line, answer, err)
		}
	}
}

// TestChaosRedis breaks a real Redis in every way under load: no warm request fails, cold ones are answered by what is left, the
// change to L1 and the database and the change back are logged once each, and the feed goes on.
func TestChaosRedis(t *testing.T) {
	t.Parallel()
	m, redis := startMarket(t), servers.Redis(t)
	w := startWire(t, redis.Addr())
	h := startHost(t, m, map[string]string{"REDIS_URL": "redis://" + w.addr()})
	requests := startLoad(t, h, 2, "/api/crypto-report/btc", "/api/market-data/eth")
	feed := startEarThat(t, h, true)
	cold := m.traded(t)
	const out, back = "L2 cache disabled, using L1 + database", "L2 cache enabled"
	for _, fault := range []struct {
		name string
		// gone is whether the tier is lost for as long as the fault lasts; otherwise it may be, or not.
		gone bool
		// breaks begins the fault; what it returns ends it.
		breaks func(t *testing.T) (mend func())
	}{
		{"killed", true, func(*testing.T) func() {
			redis.Stop()
			return redis.Restart
		}},
		{"restarted", false, func(*testing.T) func() {
			redis.Restart()
			return func() {}
		}},
		{"flushed", false, func(t *testing.T) func() {
			t.Helper()
			redisDo(t, redis.Addr(), "FLUSHALL")
			return func() {}
		}},
		{"frozen", true, func(*testing.T) func() {
			redis.Pause()
			return redis.Resume
		}},
		{"cut", true, func(*testing.T) func() {
			w.cut()
			return w.mend
		}},
		{"slow", false, func(*testing.T) func() { return w.spoil("latency", `{"latency":400,"jitter":200}`) }},
		{"reset", true, func(*testing.T) func() { return w.spoil("reset_peer", `{"timeout":0}`) }},
		{"full", false, func(t *testing.T) func() {
			t.Helper()
			redisDo(t, redis.Addr(), "CONFIG SET maxmemory-policy noeviction", "CONFIG SET maxmemory 1")
			return func() { redisDo(t, redis.Addr(), "CONFIG SET maxmemory 0") }
		}},
		{"password", true, func(t *testing.T) func() {
			t.Helper()
			redisDo(t, redis.Addr(), "CONFIG SET requirepass another", "CLIENT KILL TYPE normal SKIPME yes")
			redisDo(t, redis.Addr(), "AUTH another", "CLIENT KILL TYPE pubsub")
			return func() { redisDo(t, redis.Addr(), "AUTH another", `CONFIG SET requirepass ""`) }
		}},
	} {
		t.Run(fault.name, func(t *testing.T) {
			// On a busy machine a tier may be lost once more on its way back. That is no part of this fault.
			eventually(t, 60*time.Second, "all is well before", func() error {
				if gone, came := h.said(out), h.said(back); gone != came || l2(t, h) != "ok" {
					return fmt.Errorf("lost %d times, back %d times", gone, came)
				}
				return nil
			})
			outs, backs := h.said(out), h.said(back)
			ticks := feed.count()
			mend := fault.breaks(t)
			if fault.gone {
				eventually(t, 60*time.Second, "the loss is logged", func() error {
					if n := h.said(out); n != outs+1 {
						return fmt.Errorf("%d times", n-outs)
					}
					return nil
				})
			}
			cold = coldly(t, h, cold, 2)
			eventually(t, 60*time.Second, "the feed goes on", func() error {
				if n := feed.count() - ticks; n < 3 {
					return fmt.Errorf("%d ticks", n)
				}
				return nil
			})
			mend()
			eventually(t, 60*time.Second, "the way back", func() error {
				if gone, came := h.said(out)-outs, h.said(back)-backs; gone != came || l2(t, h) != "ok" {
					return fmt.Errorf("lost %d times, back %d times, %s", gone, came, h.get(t, "/health/cache").body)
				}
				return nil
			})
			if gone := h.said(out) - outs; gone > 1 {
				t.Errorf("the loss was logged %d times", gone)
			}
			cold = coldly(t, h, cold, 1)
		})
	}
	requests.stop()
	feed.stop()
}

// l2 is how the cache's second tier is.
func l2(t *testing.T, h *host) any {
	t.Helper()
	tiers, _ := at(t, h.get(t, "/health/cache").json(t), "tiers").([]any)
	for _, tier := range tiers {
		if at(t, tier, "name") == "l2" {
			return at(t, tier, "status")
		}
	}
	return nil
}
