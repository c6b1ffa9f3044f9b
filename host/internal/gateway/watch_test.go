package gateway

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// recorder is a connection that remembers what was done to it.
type recorder struct {
	net.Conn
	closed, deadlines int
}

func (r *recorder) Close() error                    { r.closed++; return nil }
func (r *recorder) RemoteAddr() net.Addr            { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (r *recorder) SetReadDeadline(time.Time) error { r.deadlines++; return nil }

func TestWatch(t *testing.T) {
	const (
		accept = iota
		first  // byte of a request
		enter  // the handler
		leave
		done // with the answer
		hijack
	)
	type event struct {
		at   time.Duration
		what int
	}
	const ms = time.Millisecond
	l := limits{read: 100 * ms, write: 300 * ms, idle: 500 * ms, look: 10 * ms}
	for name, tt := range map[string]struct {
		events          []event
		refused, closed time.Duration // at the earliest; at the latest two looks after; 0 for never
	}{
		"says nothing":              {[]event{{0, accept}}, 100 * ms, 400 * ms},
		"half a request":            {[]event{{0, accept}, {5 * ms, first}}, 100 * ms, 400 * ms},
		"late first byte":           {[]event{{0, accept}, {90 * ms, first}}, 100 * ms, 400 * ms},
		"half of the second":        {[]event{{0, accept}, {0, first}, {0, enter}, {0, leave}, {0, done}, {200 * ms, first}}, 300 * ms, 600 * ms},
		"slow handler":              {[]event{{0, accept}, {0, first}, {50 * ms, enter}}, 0, 0},
		"slow reader":               {[]event{{0, accept}, {0, first}, {0, enter}, {200 * ms, leave}}, 0, 500 * ms},
		"reads in time":             {[]event{{0, accept}, {0, first}, {0, enter}, {0, leave}, {290 * ms, done}}, 0, 790 * ms},
		"idle":                      {[]event{{0, accept}, {0, first}, {0, enter}, {0, leave}, {0, done}}, 0, 500 * ms},
		"comes back":                {[]event{{0, accept}, {0, first}, {0, enter}, {0, leave}, {0, done}, {490 * ms, first}, {500 * ms, enter}, {500 * ms, leave}, {500 * ms, done}}, 0, 1000 * ms},
		"is a WebSocket now":        {[]event{{0, accept}, {0, first}, {0, enter}, {0, hijack}}, 0, 0},
		"arrives when it is over":   {[]event{{0, accept}, {200 * ms, first}}, 100 * ms, 400 * ms},
		"gone on its own afterward": {[]event{{0, accept}, {0, first}, {150 * ms, hijack}}, 100 * ms, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w, conn := newWatch(l), &recorder{}
			var refused, closed time.Duration
			for at := time.Duration(0); at < 2*time.Second; at += ms {
				for _, e := range tt.events {
					if e.at != at {
						continue
					}
					switch e.what {
					case accept:
						w.track(conn, fasthttp.StateNew)
					case first:
						w.track(conn, fasthttp.StateActive)
					case enter:
						w.step(conn, working)
					case leave:
						w.step(conn, writing)
					case done:
						w.track(conn, fasthttp.StateIdle)
					case hijack:
						w.track(conn, fasthttp.StateHijacked)
					}
				}
				if at%l.look == 9*ms { // Between the events, so that a look is never of the same age as a stamp.
					w.look(ticks(at))
				}
				if conn.deadlines > 0 && refused == 0 {
					refused = at
				}
				if conn.closed > 0 && closed == 0 {
					closed = at
				}
			}
			within := func(what string, got, want time.Duration) {
				if (want == 0) != (got == 0) || got < want || got > want+4*l.look {
					t.Errorf("%s at %v, want %v", what, got, want)
				}
			}
			within("refused", refused, tt.refused)
			within("closed", closed, tt.closed)
			if conn.deadlines > 1 || conn.closed > 1 {
				t.Errorf("refused %d times, closed %d times", conn.deadlines, conn.closed)
			}
		})
	}
}

// TestWatchAndRequestRace is about a request that is complete in the moment in which its time is up: it is refused or
// answered, never both.
func TestWatchAndRequestRace(t *testing.T) {
	for range 2000 {
		w, conn := newWatch(limits{read: time.Second, write: time.Minute, idle: time.Minute}), &recorder{}
		w.track(conn, fasthttp.StateNew)
		w.track(conn, fasthttp.StateActive)
		var look sync.WaitGroup
		look.Go(func() { w.look(ticks(time.Hour)) })
		intime := w.step(conn, working)
		look.Wait()
		if intime == (conn.deadlines > 0) {
			t.Fatalf("in time: %v, refused %d times", intime, conn.deadlines)
		}
	}
}

// TestLateRequest is about a request that reaches the handler after its time was up. What is warm is answered all the
// same; nobody is asked for anything else. Either way the connection ends, since its deadline is over.
func TestLateRequest(t *testing.T) {
	for warm, status := range map[bool]int{true: http.StatusOK, false: http.StatusRequestTimeout} {
		m := newFakeMarket()
		m.warm = warm
		g := newTest(t, options(m))
		w, conn := g.public.watch, &recorder{}
		w.track(conn, fasthttp.StateNew)
		w.track(conn, fasthttp.StateActive)
		w.look(ticks(time.Hour))
		rctx := &fasthttp.RequestCtx{}
		rctx.Init2(conn, nil, false)
		rctx.Request.Header.SetRequestURI("/api/crypto-report/btc")
		g.Handler()(rctx)
		if got := rctx.Response.StatusCode(); got != status || !rctx.Response.ConnectionClose() {
			t.Errorf("warm: %v: status %d, want %d; closes: %v", warm, got, status, rctx.Response.ConnectionClose())
		}
		if asked := m.asked(); !warm && len(asked) > 0 {
			t.Errorf("asked %q", asked)
		}
		if stamp := w.find(conn).at.Load(); phaseOf(stamp) != writing {
			t.Errorf("warm: %v: phase %d", warm, phaseOf(stamp))
		}
	}
}

func TestIdleConnectionIsClosed(t *testing.T) {
	l := defaultLimits()
	l.idle, l.look = 100*time.Millisecond, 10*time.Millisecond
	g := started(t, options(newFakeMarket()), l)
	conn, err := net.Dial("tcp", g.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	begun := time.Now()
	_, _ = io.WriteString(conn, "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
	answer, err := io.ReadAll(conn)
	if err != nil || time.Since(begun) < l.idle {
		t.Errorf("closed after %v: %v", time.Since(begun), err)
	}
	if r := parse(t, http.MethodGet, answer); r.StatusCode != http.StatusOK {
		t.Errorf("%d", r.StatusCode)
	}
	for watching(g) > 0 { // The server's own last step may still be under way.
		time.Sleep(time.Millisecond)
	}
}

func TestSlowReaderIsCut(t *testing.T) {
	l := defaultLimits()
	l.write, l.look = 100*time.Millisecond, 10*time.Millisecond
	m := newFakeMarket()
	m.answer.Representation.Body = bytes.Repeat([]byte("x"), 32<<20)
	g := started(t, options(m), l)
	conn, err := net.Dial("tcp", g.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET /api/crypto-report/btc HTTP/1.1\r\nHost: x\r\n\r\n")
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		if time.Since(begun) > 5*time.Second {
			t.Fatal("still served")
		}
		if time.Since(begun) < l.write/2 {
			_, _ = io.CopyN(io.Discard, conn, 1) // It reads a little all the time; once at least, so that it is served.
		} else if watching(g) == 0 {
			break
		}
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if n, err := io.Copy(io.Discard, conn); n >= 32<<20 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %d bytes: %v", n, err)
	}
}

// watching returns how many connections of the API are open.
func watching(g *Gateway) (open int) {
	g.public.watch.conns.Range(func(any, any) bool { open++; return true })
	return open
}
