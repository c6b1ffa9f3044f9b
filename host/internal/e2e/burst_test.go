package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestBurst opens ten thousand connections to a feed that has room for five hundred: those are served, the others refused in
// words, and neither the log nor anybody else notices much.
func TestBurst(t *testing.T) {
	const connects, room, atOnce = 10_000, 500, 500
	path := edited(t, func(text string) string {
		text = strings.Replace(text, "max_connections = 20000", fmt.Sprintf("max_connections = %d", room), 1)
		return strings.Replace(text, "max_per_address = 1000 ", fmt.Sprintf("max_per_address = %d ", room), 1)
	})
	h := startHost(t, startMarket(t), map[string]string{"ISLANDS_CONFIG": path})
	address := strings.TrimPrefix(h.url, "http://")
	handshake := "GET /ws HTTP/1.1\r\nHost: " + address + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	var let, refused atomic.Int64
	conns := make([]net.Conn, connects)
	defer func() {
		for _, conn := range conns {
			if conn != nil {
				_ = conn.Close()
			}
		}
	}()
	places := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i := range conns {
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			conn, err := net.DialTimeout("tcp", address, 20*time.Second)
			if err != nil {
				t.Error(err)
				return
			}
			conns[i] = conn
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			if _, err := conn.Write([]byte(handshake)); err != nil {
				t.Error(err)
				return
			}
			status, err := bufio.NewReaderSize(conn, 64).ReadString('\n')
			switch {
			case err != nil:
				t.Error(err)
			case strings.Contains(status, " 101 "):
				let.Add(1)
			case strings.Contains(status, " 429 "), strings.Contains(status, " 503 "):
				refused.Add(1)
			default:
				t.Errorf("answered %q", status)
			}
		})
	}
	all.Wait()
	// Places of those who came too early to be refused in words, and too late to be let in, are refused after the handshake.
	if let.Load() < room || let.Load()+refused.Load() != connects {
		t.Errorf("%d of %d were let in, %d refused", let.Load(), connects, refused.Load())
	}
	figures := at(t, h.ok(t, "/metrics/feed").json(t), "clients")
	if n, ok := at(t, figures, "total").(float64); !ok || n > room {
		t.Errorf("%v clients have been served, %v are", n, at(t, figures, "connected"))
	}
	if status := h.get(t, "/health/ready").status; status != http.StatusOK {
		t.Errorf("ready: %d", status)
	}
	lines := 0
	for _, line := range h.tail(100_000) {
		if strings.Contains(line, "client of the live feed") {
			lines++
		}
	}
	if lines == 0 || lines > 40 {
		t.Errorf("%d lines about %d refusals", lines, refused.Load())
	}
}
