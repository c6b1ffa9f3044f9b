package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

// pipes is a network without sockets, so that time can be the test's own.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// server is the far end of one connection, as the script of a test sees it.
type server struct {
	t    *testing.T
	conn *websocket.Conn
	n    int // which connection this is, from 1.
	at   time.Time
}

// send sends messages, one after the other.
func (s *server) send(messages ...string) {
	s.t.Helper()
	for _, m := range messages {
		if err := s.conn.Write(context.Background(), websocket.MessageText, []byte(m)); err != nil {
			s.t.Errorf("connection %d: %v", s.n, err)
		}
	}
}

// subscribed reads a subscription.
func (s *server) subscribed() request {
	s.t.Helper()
	var r request
	_, frame, err := s.conn.Read(context.Background())
	if err == nil {
		err = json.Unmarshal(frame, &r)
	}
	if err != nil {
		s.t.Errorf("connection %d: %v", s.n, err)
	}
	return r
}

// begin greets, and answers the subscription. It returns where the client was.
func (s *server) begin(recovered bool) position {
	s.t.Helper()
	s.send(welcome)
	r := s.subscribed()
	s.send(snapshot("noise", 1, "btc 0"), answered(recovered))
	return r.Since["ticker:*"]
}

// closed waits until the client closes, and returns with which code.
func (s *server) closed() websocket.StatusCode {
	for {
		if _, _, err := s.conn.Read(context.Background()); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}

const welcome = `{"type":"welcome","timestamp":"2026-11-05T12:00:00Z","data":{"connection_id":"1","heartbeat_interval_ms":15000,"limits":{},"channels":["ticker:*"]}}`

// session is a watcher that runs against a script, with a clock of its own.
type session struct {
	out, errs safeBuffer
	err       error
	ended     time.Time
}

// watching runs the watcher against the script, which is called for each connection; it ends when
// the script stops it, or on its own. In a synctest bubble.
func watching(t *testing.T, o options, refuse func(n int, w http.ResponseWriter) bool, script func(s *server, stop func())) *session {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stop := func() {
		synctest.Wait() // What was sent is shown: the end does not wait for what is on its way.
		cancel()
	}
	network := newPipes()
	n, turn := 0, make(chan struct{}, 1) // One connection after the other, whatever the client does.
	var handlers sync.WaitGroup
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers.Add(1)
		defer handlers.Done()
		at := time.Now()
		turn <- struct{}{}
		defer func() { <-turn }()
		n++
		if refuse != nil && refuse(n, w) {
			return
		}
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.CloseNow() }()
		script(&server{t: t, conn: conn, n: n, at: at}, stop)
	})}
	served := make(chan error, 1)
	go func() { served <- web.Serve(network) }()
	transport := &http.Transport{DialContext: network.dial}

	s := &session{}
	o.url, o.channels, o.http = "ws://feed/ws", []string{"ticker:*", "global"}, &http.Client{Transport: transport}
	if o.out == nil {
		o.out = &s.out
	}
	o.errs = &s.errs
	s.err = watch(ctx, o)
	s.ended = time.Now()
	transport.CloseIdleConnections()
	_ = web.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	synctest.Wait()
	handlers.Wait()
	return s
}

// safeBuffer is written by one goroutine and read by another.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// values returns symbol and price of each line.
func values(out string) string {
	var values []string
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		values = append(values, fields[1]+" "+fields[2])
	}
	return strings.Join(values, ", ")
}

func (s *session) values() string { return values(s.out.String()) }

func shutdownAfter(d time.Duration) string {
	return fmt.Sprintf(`{"type":"shutdown","data":{"reconnect_after_ms":%d},"timestamp":"2026-11-05T12:00:00Z"}`, d.Milliseconds())
}

func verifyNoLeaks(m *testing.M) { goleak.VerifyTestMain(m) }
