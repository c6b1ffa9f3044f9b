package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/service-islands/islands/sdk/islandtest/servers"
)

// message is one of the live feed.
type message struct {
	Type      string          `json:"type"`
	Data      json.RawMessage `json:"data"`
	Timestamp time.Time       `json:"timestamp"`
	Channel   string          `json:"channel"`
	Seq       uint64          `json:"seq"`
	Epoch     string          `json:"epoch"`
}

// quote is what the feed says of a symbol.
type quote struct {
	Symbol string    `json:"symbol"`
	Price  float64   `json:"price"`
	Source string    `json:"source"`
	AsOf   time.Time `json:"as_of"`
}

// decodeMessage reads a message, and the quotes that it holds if it has some.
func decodeMessage(text []byte) (m message, quotes map[string]quote, err error) {
	if err := json.Unmarshal(text, &m); err != nil {
		return m, nil, err
	}
	if m.Type == "market_update" {
		err = json.Unmarshal(m.Data, &quotes)
	}
	return m, quotes, err
}

func (m message) quotes(t *testing.T) map[string]quote {
	t.Helper()
	var out map[string]quote
	if err := json.Unmarshal(m.Data, &out); err != nil {
		t.Fatalf("%v in %s", err, m.Data)
	}
	return out
}

// listener is a client of the live feed, with an independent library.
type listener struct {
	t    *testing.T
	conn *websocket.Conn
}

func (h *host) listen(t *testing.T, query string) *listener {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(h.url, "http")+"/ws"+query, nil) //nolint:bodyclose // The library closes it.
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(1 << 20)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &listener{t, conn}
}

// next returns the next message, within a time.
func (l *listener) next(within time.Duration) (message, error) {
	ctx, cancel := context.WithTimeout(l.t.Context(), within)
	defer cancel()
	_, text, err := l.conn.Read(ctx)
	if err != nil {
		return message{}, err
	}
	var m message
	err = json.Unmarshal(text, &m)
	return m, err
}

// await returns the next message of a type in a channel.
func (l *listener) await(kind, channel string, within time.Duration) message {
	l.t.Helper()
	deadline := time.Now().Add(within)
	for {
		m, err := l.next(time.Until(deadline))
		if err != nil {
			l.t.Fatalf("waiting for %s in %q: %v", kind, channel, err)
		}
		if m.Type == kind && m.Channel == channel {
			return m
		}
	}
}

func (l *listener) say(text string) {
	l.t.Helper()
	if err := l.conn.Write(l.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		l.t.Fatal(err)
	}
}

// TestLiveFeed listens to the shipped composition over WebSocket and as an event stream: a welcome, snapshots, then updates
// at least once a second, each of which the cache holds before a client has it.
func TestLiveFeed(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	h := startHost(t, m, nil)
	t.Run("websocket", func(t *testing.T) {
		l := h.listen(t, "")
		if first, err := l.next(5 * time.Second); err != nil || first.Type != "welcome" {
			t.Fatalf("%+v, %v", first, err)
		}
		eventually(t, 10*time.Second, "a snapshot of all", func() error {
			if n := len(h.listen(t, "").await("snapshot", "ticker:*", 5*time.Second).quotes(t)); n != 8 {
				return fmt.Errorf("%d symbols", n)
			}
			return nil
		})
		last := l.await("market_update", "ticker:*", 10*time.Second)
		for range 5 {
			m := l.await("market_update", "ticker:*", 2*time.Second)
			if m.Seq != last.Seq+1 || m.Epoch != last.Epoch || m.Timestamp.IsZero() {
				t.Errorf("update %d of %s follows %d of %s", m.Seq, m.Epoch, last.Seq, last.Epoch)
			}
			for symbol, q := range m.quotes(t) {
				var cached quote
				if err := json.Unmarshal(h.ok(t, "/api/market-data/"+symbol).body, &cached); err != nil {
					t.Fatal(err)
				}
				if cached.AsOf.Before(q.AsOf) {
					t.Errorf("a client has %s of %v while the cache holds that of %v", symbol, q.AsOf, cached.AsOf)
				}
			}
			last = m
		}
	})
	t.Run("event stream", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url+"/api/stream?channels=ticker:btc", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("Content-Type %s", got)
		}
		var events []string
		for lines := bufio.NewScanner(resp.Body); len(events) < 4 && lines.Scan(); {
			if kind, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				events = append(events, kind)
			}
		}
		if got := strings.Join(events, " "); got != "welcome snapshot market_update market_update" {
			t.Errorf("events %s", got)
		}
	})
	t.Run("islands", func(t *testing.T) {
		l := h.listen(t, "?channels=islands")
		l.await("snapshot", "islands", 5*time.Second)
		if err := syscall.Kill(h.pids(t)["report-generator"], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, 10*time.Second, "the restart in the channel", func() error {
			var changed map[string]struct{ State string }
			if err := json.Unmarshal(l.await("islands_update", "islands", 5*time.Second).Data, &changed); err != nil {
				return err
			}
			if state := changed["report-generator"].State; state != "running" {
				return fmt.Errorf("report-generator is %q", state)
			}
			return nil
		})
	})
	t.Run("a report keeps its hour", func(t *testing.T) {
		first := at(t, h.ok(t, "/api/crypto-report/eth").json(t), "generated_at")
		h.listen(t, "?channels=ticker:eth").await("market_update", "ticker:eth", 10*time.Second)
		if again := at(t, h.ok(t, "/api/crypto-report/eth").json(t), "generated_at"); again != first {
			t.Errorf("made anew at %v", again)
		}
	})
	t.Run("every delivered quote is stored", func(t *testing.T) {
		l := h.listen(t, "?channels=ticker:btc")
		q := l.await("market_update", "ticker:btc", 10*time.Second).quotes(t)["btc"]
		eventually(t, 5*time.Second, "stored", func() error {
			path := fmt.Sprintf("/api/history/btc?from=%s&limit=10", q.AsOf.Format(time.RFC3339Nano))
			if !strings.Contains(string(h.ok(t, path).body), q.AsOf.Format(time.RFC3339Nano)) {
				return errors.New("not yet")
			}
			return nil
		})
	})
	t.Run("shutdown", func(t *testing.T) {
		l := h.listen(t, "")
		l.await("snapshot", "global", 5*time.Second)
		began := time.Now()
		if status := h.stop(t); status != 0 {
			t.Errorf("exit status %d", status)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
		told := l.await("shutdown", "", 5*time.Second)
		_, err := l.next(5 * time.Second)
		if websocket.CloseStatus(err) != 4001 || !strings.Contains(string(told.Data), "reconnect_after_ms") {
			t.Errorf("told %s, closed with %v", told.Data, err)
		}
	})
}

// calmPolls is the shipped configuration with a quicker poll, within the simulated budgets.
func calmPolls(text string) string {
	return strings.Replace(text, `poll    = "30s"`, "poll    = \"10s\"\n  silence = \"3s\"", 1)
}

// TestFeedFaults breaks Binance in every way: the feed goes on from CoinGecko's poll and returns, without a duplicate and
// without a price that goes back in time.
func TestFeedFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, faults string
		// taken is whether CoinGecko has to take over before Binance is healed.
		taken bool
	}{
		{"cut", `[{"service":"binance","kind":"stream_cut","count":1}]`, false},
		{"shutdown", `[{"service":"binance","kind":"stream_shutdown","after_ms":1000,"count":1}]`, false},
		{"silence", `[{"service":"binance","kind":"stream_silence"}]`, true},
		{"ban", `[{"service":"binance","kind":"ban","retry_after":"70"},{"service":"binance","kind":"stream_cut","count":1}]`, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := startMarket(t)
			h := startHost(t, m, map[string]string{"ISLANDS_CONFIG": edited(t, calmPolls)})
			l := h.listen(t, "?channels=ticker:btc")
			last := l.await("market_update", "ticker:btc", 15*time.Second)
			newest := last.quotes(t)["btc"].AsOf
			from := func(source string, within time.Duration) {
				t.Helper()
				for deadline := time.Now().Add(within); ; {
					u := l.await("market_update", "ticker:btc", time.Until(deadline))
					q := u.quotes(t)["btc"]
					if u.Seq != last.Seq+1 || u.Epoch != last.Epoch || !q.AsOf.After(newest) {
						t.Fatalf("update %d of %v follows %d of %v", u.Seq, q.AsOf, last.Seq, newest)
					}
					if last, newest = u, q.AsOf; q.Source == source {
						return
					}
				}
			}
			from("binance-source", 10*time.Second)
			m.fault(t, tt.faults)
			if tt.taken {
				// CoinGecko's own figures are as old as a minute: it takes that long until they are newer than what Binance said.
				from("coingecko-source", 80*time.Second)
			} else {
				time.Sleep(2 * time.Second)
			}
			m.heal(t)
			from("binance-source", 90*time.Second)
		})
	}
}

// TestTwoHosts runs two hosts on one Redis: one of them speaks to the sources, both say the same under the same numbers, and
// a client moves from one to the other and on to the survivor without missing anything.
func TestTwoHosts(t *testing.T) {
	m := startMarket(t)
	env := map[string]string{"REDIS_URL": servers.Redis(t).URL()}
	a, b := startHost(t, m, env), startHost(t, m, env)
	there, here := a.listen(t, "?channels=ticker:*"), b.listen(t, "?channels=ticker:*")
	said := map[uint64]string{}
	first := there.await("market_update", "ticker:*", 15*time.Second)
	said[first.Seq] = string(first.Data)
	for range 4 {
		u := there.await("market_update", "ticker:*", 10*time.Second)
		said[u.Seq] = string(u.Data)
	}
	same := 0
	for deadline := time.Now().Add(10 * time.Second); same < 3 && time.Now().Before(deadline); {
		u := here.await("market_update", "ticker:*", 10*time.Second)
		if u.Epoch != first.Epoch {
			t.Fatalf("epochs %s and %s", first.Epoch, u.Epoch)
		}
		if text, ok := said[u.Seq]; ok {
			if same++; text != string(u.Data) {
				t.Errorf("update %d is not the same on both hosts", u.Seq)
			}
		}
	}
	if same < 3 {
		t.Errorf("%d updates in common", same)
	}
	var streams struct {
		Open int `json:"open"`
	}
	r, err := ask(t.Context(), http.MethodGet, m.url+"/_sim/streams", nil)
	if err != nil || json.Unmarshal(r.body, &streams) != nil || streams.Open != 1 {
		t.Errorf("%d streams are open, %v: %s", streams.Open, err, r.body)
	}

	leader, follower := a, b
	if leads(t, b) {
		leader, follower = b, a
	}
	client := follower.listen(t, "?channels=ticker:btc")
	u := client.await("market_update", "ticker:btc", 10*time.Second)
	_ = client.conn.CloseNow()
	moved := leader.listen(t, "?channels=global")
	time.Sleep(2 * time.Second) // Something is to be missed.
	u = recovers(t, moved, u)
	_ = moved.conn.CloseNow()

	killed := time.Now()
	_ = leader.cmd.Process.Kill()
	<-leader.done
	again := follower.listen(t, "?channels=global")
	u = recovers(t, again, u)
	next := again.await("market_update", "ticker:btc", time.Until(killed.Add(10*time.Second)))
	if next.Epoch == u.Epoch && next.Seq != u.Seq+1 {
		t.Errorf("update %d follows %d", next.Seq, u.Seq)
	}
	if !leads(t, follower) {
		t.Error("the survivor does not lead")
	}
}

// leads reports whether a host speaks to the sources for all.
func leads(t *testing.T, h *host) bool {
	t.Helper()
	return at(t, h.ok(t, "/metrics/feed").json(t), "feed.mode") == "leading"
}

// recovers subscribes to btc after an update and wants exactly what follows it. It returns the last of the replay.
func recovers(t *testing.T, l *listener, since message) message {
	t.Helper()
	l.say(fmt.Sprintf(`{"action":"subscribe","channels":["ticker:btc"],"id":1,"since":{"ticker:btc":{"epoch":%q,"seq":%d}}}`,
		since.Epoch, since.Seq))
	answer := l.await("subscribed", "", 5*time.Second)
	var results map[string]struct {
		Recovered bool
		Seq       uint64
	}
	if err := json.Unmarshal(answer.Data, &results); err != nil || !results["ticker:btc"].Recovered {
		t.Fatalf("%v in %s", err, answer.Data)
	}
	for since.Seq < results["ticker:btc"].Seq {
		u := l.await("market_update", "ticker:btc", 5*time.Second)
		if u.Seq != since.Seq+1 || u.Epoch != since.Epoch {
			t.Fatalf("update %d follows %d", u.Seq, since.Seq)
		}
		since = u
	}
	return since
}
