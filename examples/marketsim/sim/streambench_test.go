package sim_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/service-islands/islands/examples/marketsim/sim"
)

// pipes is a network inside a test, so that synctest's clock can pass: a client that does not read stops the server at
// once, and nothing takes any time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.IPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pond is a simulation in a bubble of synctest. Its clock begins at noon and passes with the bubble's.
type pond struct {
	*testing.T
	sim    *sim.Server
	client *http.Client
	begin  time.Time
}

// noon is on the grid of every stream.
var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

// float runs a test in a bubble.
func float(t *testing.T, o sim.StreamOptions, test func(*pond)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		options := unlimited()
		options.Streams = o
		options.Now = func() time.Time { return noon.Add(time.Since(begin)) }
		s := sim.New(options)
		network := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		server := &http.Server{Handler: s}
		served := make(chan error, 1)
		go func() { served <- server.Serve(network) }()
		client := &http.Client{Transport: &http.Transport{DialContext: network.dial}}
		defer func() {
			s.Close()
			client.CloseIdleConnections()
			if err := server.Close(); err != nil {
				t.Error(err)
			}
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
			if n := s.Streams().Open + s.Channels().Open; n != 0 {
				t.Errorf("%d connections are open after the end", n)
			}
		}()
		test(&pond{t, s, client, begin})
	})
}

// age is the time since the beginning.
func (p *pond) age() time.Duration { return time.Since(p.begin) }

// listener is a client of a stream.
type listener struct {
	*pond
	*websocket.Conn
	pings []string
}

// dial connects. A refusal comes with its status and Retry-After header.
func dial(ctx context.Context, url string, o *websocket.DialOptions) (conn *websocket.Conn, status int, retry string, err error) {
	conn, response, err := websocket.Dial(ctx, url, o) //nolint:bodyclose // The library has read and replaced the body.
	if response == nil {
		return conn, 0, "", err
	}
	return conn, response.StatusCode, response.Header.Get("Retry-After"), err
}

// attempt connects within the bubble.
func (p *pond) attempt(path string, o websocket.DialOptions) (conn *websocket.Conn, status int, retry string, err error) {
	o.HTTPClient = p.client
	if path != "/v2" {
		path = "/binance" + path
	} else {
		path = "/kraken" + path
	}
	return dial(p.Context(), "ws://sim"+path, &o)
}

func (p *pond) connect(path string) *listener {
	p.Helper()
	l := &listener{pond: p}
	conn, status, _, err := p.attempt(path, websocket.DialOptions{OnPingReceived: func(_ context.Context, payload []byte) bool {
		l.pings = append(l.pings, string(payload))
		return true
	}})
	if err != nil {
		p.Fatalf("%s: %d %v", path, status, err)
	}
	conn.SetReadLimit(1 << 20)
	l.Conn = conn
	p.Cleanup(func() { _ = conn.CloseNow() })
	synctest.Wait() // Until the server serves it.
	return l
}

// next reads a frame.
func (l *listener) next() string {
	l.Helper()
	_, text, err := l.Read(l.pond.Context())
	if err != nil {
		l.Fatalf("at %v: %v", l.age(), err)
	}
	return string(text)
}

// until reads frames for some time, and closes the connection.
func (l *listener) until(d time.Duration) []string {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.pond.Context(), d)
	defer cancel()
	// A context that ends between two reads leaves the connection open.
	defer func() { _ = l.CloseNow() }()
	var frames []string
	for {
		_, text, err := l.Read(ctx)
		if err != nil {
			if ctx.Err() == nil {
				l.Errorf("at %v: %v", l.age(), err)
			}
			return frames
		}
		frames = append(frames, string(text))
	}
}

// ask sends a request and reads the next frame.
func (l *listener) ask(request string) string {
	l.Helper()
	l.send(request)
	return l.next()
}

func (l *listener) send(request string) {
	l.Helper()
	if err := l.Write(l.pond.Context(), websocket.MessageText, []byte(request)); err != nil {
		l.Fatal(err)
	}
}

// ended reads until the connection ends, and returns the close code, -1 when there was none.
func (l *listener) ended() (code websocket.StatusCode, frames []string) {
	l.Helper()
	for {
		_, text, err := l.Read(l.pond.Context())
		if err != nil {
			return websocket.CloseStatus(err), frames
		}
		frames = append(frames, string(text))
	}
}

// reasons are why connections have ended.
func (p *pond) reasons(want map[string]int64) {
	p.Helper()
	synctest.Wait()
	got := p.sim.Streams().Closed
	for name, n := range want {
		if got[name] != n {
			p.Errorf("%d connections ended by %q, want %d: %v", got[name], name, n, got)
		}
	}
}

type message struct {
	Stream string
	Data   json.RawMessage
}

type event struct {
	Kind   string `json:"e"`
	At     int64  `json:"E"`
	Symbol string `json:"s"`
	Close  string `json:"c"`
	Candle struct {
		Open   int64  `json:"t"`
		Close  int64  `json:"T"`
		Last   string `json:"c"`
		Closed bool   `json:"x"`
	} `json:"k"`
}

// event reads a combined frame.
func (p *pond) event(frame string) (stream string, e event) {
	p.Helper()
	var m message
	if err := json.Unmarshal([]byte(frame), &m); err != nil {
		p.Fatalf("%v in %s", err, frame)
	}
	if err := json.Unmarshal(m.Data, &e); err != nil {
		p.Fatalf("%v in %s", err, frame)
	}
	return m.Stream, e
}

// sinceNoon is the event's time.
func (e event) sinceNoon() time.Duration { return time.UnixMilli(e.At).Sub(noon) }

func (p *pond) inject(faults ...sim.Fault) {
	p.Helper()
	if err := p.sim.Inject(faults...); err != nil {
		p.Fatal(err)
	}
}

// stream connects over a socket.
func (b *bench) stream(path string) *websocket.Conn {
	b.t.Helper()
	conn, status, _, err := dial(b.t.Context(), b.url+path, nil)
	if err != nil {
		b.t.Fatalf("%s: %d %v", path, status, err)
	}
	conn.SetReadLimit(1 << 20)
	b.t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

// fixed writes a price as the exchange does.
func fixed(price float64) string { return strconv.FormatFloat(price, 'f', 8, 64) }
