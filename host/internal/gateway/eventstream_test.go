package gateway

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/host/internal/gateway/hub"
)

func TestAnEventStream(t *testing.T) {
	l := startLive(t, hub.Options{})
	e := l.events(t, "/api/stream", "Accept", "text/event-stream")
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no", "Access-Control-Allow-Origin": "*",
		"X-Content-Type-Options": "nosniff", "Content-Length": "", "Transfer-Encoding": "",
	} {
		if got := e.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if e.header.Get("X-Request-Id") == "" || e.length >= 0 || !e.closes {
		t.Errorf("request id %q, length %d, closes: %t", e.header.Get("X-Request-Id"), e.length, e.closes)
	}
	if m, err := e.next(); err != nil || m.retry != "2000" || m.event != "" {
		t.Errorf("began with retry %q, an event %q and %v", m.retry, m.event, err)
	}
	last := e.want("welcome", "snapshot ticker:* 0", "snapshot global 0")
	if last.cursor == "" {
		t.Error("the last snapshot has no id")
	}
	l.publish(2)
	first := e.want("market_update ticker:* 1")
	if first.cursor != "" {
		t.Errorf("an id %q before all of the tick has come", first.cursor)
	}
	seen := e.want("global_update global 1").cursor
	last = e.want("market_update ticker:* 2", "global_update global 2")
	if seen == "" || last.cursor == "" || seen == last.cursor {
		t.Errorf("ids %q and %q", seen, last.cursor)
	}
	_ = e.Close()
	l.clients(t, 0)

	l.publish(1)
	again := l.events(t, "/api/stream", "Last-Event-ID", seen)
	_, _ = again.next()
	if m := again.want("welcome", "market_update ticker:* 2", "global_update global 2", "market_update ticker:* 3", "global_update global 3"); m.cursor == "" {
		t.Error("what was missed ends without an id")
	}
	l.publish(1)
	again.want("market_update ticker:* 4", "global_update global 4")
}

func TestWhereAnEventStreamBegins(t *testing.T) {
	l := startLive(t, hub.Options{})
	l.publish(1)
	cases := map[string]struct {
		target string
		accept string
		cursor string
		want   []string
	}{
		"one channel":          {"/api/stream?channels=ticker:btc", "", "", []string{"welcome", "snapshot ticker:btc 1"}},
		"in capitals":          {"/api/stream?channels=TICKER:BTC,global", "*/*", "", []string{"welcome", "snapshot global 1", "snapshot ticker:btc 1"}},
		"one twice":            {"/api/stream?channels=global,global", "text/*", "", []string{"welcome", "snapshot global 1"}},
		"a cursor of nobody":   {"/api/stream?channels=global", "", "nonsense", []string{"welcome", "snapshot global 1"}},
		"a cursor without end": {"/api/stream?channels=global", "", strings.Repeat("x", 5000), []string{"welcome", "snapshot global 1"}},
		"a preferred type":     {"/api/stream?channels=global", "text/html, text/event-stream;q=0.1", "", []string{"welcome", "snapshot global 1"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var headers []string
			if tc.accept != "" {
				headers = append(headers, "Accept", tc.accept)
			}
			if tc.cursor != "" {
				headers = append(headers, "Last-Event-ID", tc.cursor)
			}
			e := l.events(t, tc.target, headers...)
			_, _ = e.next()
			e.want(tc.want...)
		})
	}
}

// TestAnEventStreamThatLeaves ends in every way that a client can end.
func TestAnEventStreamThatLeaves(t *testing.T) {
	l := startLive(t, hub.Options{})
	cases := map[string]func(conn *net.TCPConn){
		"closes":      func(conn *net.TCPConn) { _ = conn.Close() },
		"half-closes": func(conn *net.TCPConn) { _ = conn.CloseWrite() },
		"resets": func(conn *net.TCPConn) {
			_ = conn.SetLinger(0)
			_ = conn.Close()
		},
	}
	for name, leave := range cases {
		t.Run(name, func(t *testing.T) {
			e := l.events(t, "/api/stream")
			l.clients(t, 1)
			leave(e.Conn.(*net.TCPConn))
			l.clients(t, 0)
		})
	}
}

func TestAHeartbeatOfAnEventStream(t *testing.T) {
	l := startLive(t, hub.Options{Heartbeat: time.Millisecond})
	e := l.events(t, "/api/stream?channels=global")
	_, _ = e.next()
	if m := e.want("welcome", "snapshot global 0", "heartbeat"); m.cursor != "" {
		t.Errorf("a heartbeat has the id %q", m.cursor)
	}
}

// TestAPipelinedRequest sends a request behind that for a stream, which is never answered.
func TestAPipelinedRequest(t *testing.T) {
	l := startLive(t, hub.Options{})
	a := l.askWith(t, "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n", http.MethodGet, "/api/stream?channels=global")
	if a.status != http.StatusOK {
		t.Fatalf("status %d", a.status)
	}
	l.clients(t, 1)
	_ = a.Conn.(*net.TCPConn).CloseWrite()
	text, err := io.ReadAll(a.in)
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	for i := range len(text) - 5 {
		if string(text[i:i+5]) == "HTTP/" {
			t.Errorf("answered within the stream: %q", text[i:])
		}
	}
	l.clients(t, 0)
}
