package gateway

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// readAll reads a body to its end.
func readAll(t *testing.T, r *http.Response) []byte {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// hold opens a connection for as long as the test runs, and says nothing.
func hold(t *testing.T, g *Gateway) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", g.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// refusedAtTheDoor reads why a connection was not let in.
func refusedAtTheDoor(t *testing.T, conn net.Conn, status int, code string) {
	t.Helper()
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var p problemBody
	if err := json.Unmarshal(readAll(t, r), &p); err != nil {
		t.Fatal(err)
	}
	if r.StatusCode != status || p.Status != status || p.Code != code || r.Header.Get("Retry-After") == "" ||
		r.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %+v %v", r.StatusCode, p, r.Header)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		most, each int
		status     int
		code       string
	}{
		{"all together", 5, 100, http.StatusServiceUnavailable, "host_full"},
		{"of one address", 100, 5, http.StatusTooManyRequests, "too_many_connections"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			opts := options(newFakeMarket())
			opts.MaxConnections, opts.MaxConnectionsPerAddress = test.most, test.each
			g := started(t, opts, defaultLimits())
			var held []net.Conn
			for range 5 {
				held = append(held, hold(t, g))
			}
			until(t, "all of them are let in", func() bool { return g.door.count() == 5 })
			for range 3 {
				refusedAtTheDoor(t, hold(t, g), test.status, test.code)
			}
			// Those that were let in are served, and one that leaves makes room.
			if _, err := io.WriteString(held[0], "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			r, err := http.ReadResponse(bufio.NewReader(held[0]), nil)
			if err != nil || r.StatusCode != http.StatusOK {
				t.Fatalf("%v, %v", r, err)
			}
			_ = r.Body.Close()
			_ = held[1].Close()
			until(t, "the one that left is gone", func() bool { return g.door.count() == 4 })
			answer, err := fetch("http://" + g.Addr() + "/health/live")
			if err != nil || answer.StatusCode != http.StatusOK {
				t.Fatalf("%v, %v", answer, err)
			}
			_ = answer.Body.Close()
			if n := g.door.refused.Load() + g.door.refusedEach.Load(); n != 3 {
				t.Errorf("%d refusals were counted", n)
			}
		})
	}
}

// Those who hold connections and say nothing lose them soon when others want in.
func TestSilentConnectionsMakeRoom(t *testing.T) {
	t.Parallel()
	opts := options(newFakeMarket())
	opts.MaxConnections, opts.MaxConnectionsPerAddress = 20, 20
	l := defaultLimits()
	l.read, l.idle, l.hurry, l.look = time.Hour, time.Hour, 100*time.Millisecond, 20*time.Millisecond
	g := started(t, opts, l)
	for range 10 {
		hold(t, g)
	}
	time.Sleep(5 * l.hurry)
	if n := g.door.count(); n != 10 {
		t.Errorf("%d of 10 are left although there is room", n)
	}
	for range 10 {
		hold(t, g)
	}
	until(t, "they are gone", func() bool { return g.door.count() <= 15 })
	r, err := fetch("http://" + g.Addr() + "/health/live")
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", r, err)
	}
	_ = r.Body.Close()
}

// A client that asks and never reads the answer holds its connection no longer than it may.
func TestAClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	l := defaultLimits()
	l.write, l.look = 200*time.Millisecond, 20*time.Millisecond
	big := steady(t, 8<<20, false)
	opts := big.opts
	g := started(t, opts, l)
	conn := hold(t, g)
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(4 << 10)
	}
	if _, err := io.WriteString(conn, strings.Repeat("GET /api/crypto-report/btc HTTP/1.1\r\nHost: x\r\n\r\n", 8)); err != nil {
		t.Fatal(err)
	}
	until(t, "it is served", func() bool { return g.door.count() == 1 })
	until(t, "it is cut", func() bool { return g.door.count() == 0 })
}

// The body of a GET is read like any other, and is not taken for the next request.
func TestTheBodyOfAGetIsNoRequest(t *testing.T) {
	t.Parallel()
	m := newFakeMarket()
	g := started(t, options(m), defaultLimits())
	const hidden = "GET /api/market-data/hidden HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, text := range map[string]string{
		"a length": "GET /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: " + itoa(len(hidden)) + "\r\n\r\n" + hidden,
		"a coding": "GET /health/live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" +
			strconv.FormatInt(int64(len(hidden)), 16) + "\r\n" + hidden + "\r\n0\r\n\r\n",
		"both": "GET /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
	} {
		t.Run(name, func(t *testing.T) {
			conn := hold(t, g)
			if _, err := io.WriteString(conn, text); err != nil {
				t.Fatal(err)
			}
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
			_, _ = io.ReadAll(conn) // It may be reset behind the answer.
		})
	}
	for _, asked := range m.asked() {
		if strings.Contains(asked, "hidden") {
			t.Errorf("the hidden request was carried out: %s", asked)
		}
	}
}

// Two sides that do not agree where a request ends would see two different requests.
func TestNoRequestHidesInAnother(t *testing.T) {
	t.Parallel()
	m := newFakeMarket()
	g := started(t, options(m), defaultLimits())
	const hidden = "GET /api/market-data/hidden HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, text := range map[string]string{
		"both lengths":        "POST /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"both, the other way": "POST /health/live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n" + hidden,
		"two lengths":         "POST /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 50\r\n\r\n" + hidden,
		"a list of lengths":   "POST /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 0, 50\r\n\r\n" + hidden,
		"a negative length":   "POST /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n" + hidden,
		"an unknown coding":   "POST /health/live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n" + hidden,
		"a bad chunk":         "POST /health/live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + hidden,
		"space before colon":  "POST /health/live HTTP/1.1\r\nHost: x\r\nContent-Length : 50\r\n\r\n" + hidden,
	} {
		t.Run(name, func(t *testing.T) {
			conn := hold(t, g)
			if _, err := io.WriteString(conn, text); err != nil {
				t.Fatal(err)
			}
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
			answers, _ := io.ReadAll(conn) // It may be reset behind the answer.
			if !strings.HasPrefix(string(answers), "HTTP/1.1 400 ") {
				t.Errorf("answered:\n%s", answers)
			}
			if n := strings.Count(string(answers), "HTTP/1.1 4") + strings.Count(string(answers), "HTTP/1.1 2"); n > 1 {
				t.Errorf("%d answers:\n%s", n, answers)
			}
		})
	}
	for _, asked := range m.asked() {
		if strings.Contains(asked, "hidden") {
			t.Errorf("the hidden request was carried out: %s", asked)
		}
	}
}
