package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/service-islands/islands/host/internal/gateway/hub"
	"github.com/service-islands/islands/host/internal/gateway/rfc6455"
)

// TestABurst opens 2,000 connections at once to a feed that has room for 500. All of them are held open until everybody has
// an answer.
func TestABurst(t *testing.T) {
	const connects, room = 2000, 500
	cases := map[string]struct {
		opts   hub.Options
		status int
	}{
		"in all":           {hub.Options{MaxConnections: room, MaxPerAddress: connects}, http.StatusServiceUnavailable},
		"from one address": {hub.Options{MaxConnections: connects, MaxPerAddress: room}, http.StatusTooManyRequests},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l := startLive(t, tc.opts)
			files := openFiles()
			var granted, refused, late atomic.Int32
			var all sync.WaitGroup
			answered := make(chan struct{})
			var answers sync.WaitGroup
			for i := range connects {
				answers.Add(1)
				all.Go(func() {
					once := sync.OnceFunc(answers.Done)
					defer once()
					target, headers := "/ws", handshake()
					if i%4 == 0 {
						target, headers = "/api/stream", nil
					}
					conn, err := l.connect("", http.MethodGet, target, headers...)
					if err != nil {
						t.Errorf("connection %d: %v", i, err)
						return
					}
					defer conn.Close()
					switch conn.status {
					case http.StatusSwitchingProtocols, http.StatusOK:
						// One that was let in when others took the last places meanwhile is sent away before a word.
						begin, err := conn.in.Peek(4)
						switch {
						case i%4 != 0 && begin[0] == closeFrame:
							late.Add(1)
							if code := int(begin[2])<<8 | int(begin[3]); code != rfc6455.TryAgainLater {
								t.Errorf("too late, and told %d", code)
							}
							return
						case i%4 == 0:
							_, err = conn.in.Peek(200)
						}
						if err != nil {
							late.Add(1)
							return
						}
						granted.Add(1)
					case tc.status:
						refused.Add(1)
						if conn.header.Get("Retry-After") == "" {
							t.Error("refused without a word about when to come back")
						}
					default:
						t.Errorf("status %d", conn.status)
					}
					once()
					<-answered
				})
			}
			answers.Wait()
			if got := granted.Load(); got != room || granted.Load()+refused.Load()+late.Load() != connects {
				t.Errorf("%d of %d let in, %d refused, %d too late", got, connects, refused.Load(), late.Load())
			}
			if s := l.hub.Stats(); s.Clients != room || s.Connected != room {
				t.Errorf("the feed has %d clients and had %d", s.Clients, s.Connected)
			}
			close(answered)
			all.Wait()
			l.clients(t, 0)
			until(t, "the files are closed", func() bool { return openFiles() <= files })
			if lines := l.log.with("refused"); len(lines) == 0 || len(lines) > 30 {
				t.Errorf("%d lines about %d refusals", len(lines), refused.Load())
			}
		})
	}
}

// TestWhoDoesNotRead connects in every encoding and reads nothing while the feed is loud: the others get everything.
func TestWhoDoesNotRead(t *testing.T) {
	l := startLive(t, hub.Options{WriteTimeout: 300 * time.Millisecond, SlowTimeout: time.Second, PongTimeout: time.Minute})
	for target, headers := range map[string][]string{"/ws": handshake(), "/api/stream": nil} {
		t.Run(target, func(t *testing.T) {
			slow := l.hub.Stats().Slow
			stuck := l.ask(t, http.MethodGet, target, headers...)
			_ = stuck.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
			l.clients(t, 1)
			reader := l.rawDial(t, "/ws?channels=ticker:btc", "")
			seen := make(chan uint64)
			go func() {
				defer close(seen)
				for {
					m, err := reader.next()
					if err != nil {
						return
					}
					if m.Type == "market_update" {
						seen <- m.Seq
					}
				}
			}()
			l.clients(t, 2)
			l.flood(t, "who does not read is gone", func() bool {
				if got := <-seen; got != l.n {
					t.Fatalf("who reads got %d after %d", got, l.n-1)
				}
				return l.hub.Stats().Clients == 1
			})
			if n := l.hub.Stats().Slow - slow; n != 1 {
				t.Errorf("%d clients counted as slow", n)
			}
			_ = reader.Close()
			l.clients(t, 0)
		})
	}
}

// TestWhoVanishes says nothing any more on a quiet feed, as a client does whose network is gone.
func TestWhoVanishes(t *testing.T) {
	l := startLive(t, hub.Options{PongTimeout: 300 * time.Millisecond})
	s := l.rawDial(t, "/ws?channels=ticker:eth", "")
	if got := s.rest(); got[len(got)-1] != fmt.Sprintf("close %d", hub.CloseSlow) {
		t.Errorf("got %q", got)
	}
	l.clients(t, 0)
	for name, leave := range map[string]func(conn *net.TCPConn){
		"closes":      func(conn *net.TCPConn) { _ = conn.Close() },
		"resets":      func(conn *net.TCPConn) { _ = conn.SetLinger(0); _ = conn.Close() },
		"half-closes": func(conn *net.TCPConn) { _ = conn.CloseWrite() },
	} {
		s := l.rawDial(t, "/ws", "")
		s.await("snapshot global 0")
		leave(s.Conn.(*net.TCPConn))
		until(t, name, func() bool { return l.hub.Stats().Clients == 0 })
	}
}

// quiet are the goroutines of fasthttp that outlive a server for a while.
var quiet = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
	goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
}

// TestFarewell shuts down under 300 WebSockets, 100 event streams and a client that reads nothing.
func TestFarewell(t *testing.T) {
	before := append([]goleak.Option{goleak.IgnoreCurrent()}, quiet...)
	files := openFiles()
	l := startLive(t, hub.Options{})
	const sockets, streams = 300, 100
	stuck, err := l.connect("", http.MethodGet, "/ws", handshake()...)
	if err != nil {
		t.Fatal(err)
	}
	defer stuck.Close()
	l.clients(t, 1)
	l.flood(t, "a client lags", func() bool { return l.hub.Stats().Lagging == 1 })

	var told, closed atomic.Int32
	var all sync.WaitGroup
	for i := range sockets + streams {
		target, headers := "/ws?channels=ticker:eth", handshake()
		if i >= sockets {
			target, headers = "/api/stream?channels=ticker:eth", nil
		}
		conn, err := l.connect("", http.MethodGet, target, headers...)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			defer conn.Close()
			text, err := io.ReadAll(conn.in)
			if err != nil {
				t.Errorf("the stream ended with %v", err)
			}
			if strings.Contains(string(text), `"reconnect_after_ms":`) {
				told.Add(1)
			}
			if i >= sockets && strings.Contains(string(text), "\nretry: ") && strings.HasSuffix(string(text), "}\n\n") ||
				i < sockets && strings.HasSuffix(string(text), "\x0f\xa1the host shuts down") {
				closed.Add(1)
			}
		})
	}
	l.clients(t, 1+sockets+streams)
	const budget = 6 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), budget)
	defer cancel()
	begun := time.Now()
	if err := l.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > budget {
		t.Errorf("took %v of %v", took, budget)
	}
	all.Wait()
	if told.Load() != sockets+streams || closed.Load() != sockets+streams {
		t.Errorf("%d of %d were told, %d closed as they should", told.Load(), sockets+streams, closed.Load())
	}
	_ = stuck.Close()
	if s := l.hub.Stats(); s.Clients != 0 || s.Groups != 0 || s.Lagging != 0 {
		t.Errorf("left behind: %+v", s)
	}
	until(t, "the files are closed", func() bool { return openFiles() <= files })
	goleak.VerifyNone(t, before...)
}

// TestComingAndGoing lets 1,000 clients come and go: what is left is what there was.
func TestComingAndGoing(t *testing.T) {
	l := startLive(t, hub.Options{})
	// The server starts its workers when they are first needed, and keeps them.
	round := func() {
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				target, headers := "/ws?channels=ticker:btc", handshake()
				switch i % 3 {
				case 1:
					headers = handshake("Sec-WebSocket-Extensions", "permessage-deflate")
				case 2:
					target, headers = "/api/stream", nil
				}
				conn, err := l.connect("", http.MethodGet, target, headers...)
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				if _, err := conn.in.Peek(300); err != nil { // The welcome has come.
					t.Error(err)
				}
				if i%2 == 0 {
					_ = conn.Conn.(*net.TCPConn).SetLinger(0)
				}
			})
		}
		l.publish(10)
		all.Wait()
		l.clients(t, 0)
	}
	before := append([]goleak.Option{goleak.IgnoreCurrent()}, quiet...)
	before = append(before, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).getCh.func1")) // Idle, for ten seconds.
	files := openFiles()
	for range 10 {
		round()
	}
	s := l.hub.Stats()
	if s.Clients != 0 || s.Groups != 0 || s.Lagging != 0 || s.EventStreams != 0 || s.Connected != 1000 {
		t.Errorf("left behind: %+v", s)
	}
	until(t, "the files are closed", func() bool { return openFiles() <= files })
	goleak.VerifyNone(t, before...)
}
