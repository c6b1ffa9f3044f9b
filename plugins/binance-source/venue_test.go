package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/service-islands/islands/sdk"
)

// venue is the side of Binance that streams. Each connection gets a ticker per stream and interval, a ping every 20
// seconds, and what a test sends.
type venue struct {
	mu      sync.Mutex
	sockets []*socket
	// tick is how often tickers come; 0 for never.
	tick time.Duration
	// refuse answers handshakes instead, nil for accepting them.
	refuse http.HandlerFunc
	// reply answers requests instead of an acknowledgement; empty for none.
	reply func(id int64) string
	// lifetime is how long a connection lives; 0 for ever.
	lifetime time.Duration
	// handshakes are when they came.
	handshakes []time.Time
	faults     []string
}

// socket is one connection to the venue.
type socket struct {
	venue  *venue
	conn   *websocket.Conn
	opened time.Time
	// ended is closed when the client is gone or was cut.
	ended chan struct{}
	ctx   context.Context
	cut   context.CancelFunc

	mu       sync.Mutex
	names    []string
	received []time.Time
	// mute stops the tickers; frozen stops everything, pongs included, with the connection still there.
	mute, frozen bool
}

func newVenue() *venue {
	return &venue{tick: time.Second, reply: func(id int64) string { return fmt.Sprintf(`{"result":null,"id":%d}`, id) }}
}

func (v *venue) set(change func(v *venue)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change(v)
}

func (v *venue) fault(format string, args ...any) {
	v.set(func(v *venue) { v.faults = append(v.faults, fmt.Sprintf(format, args...)) })
}

// all returns every connection there was, and open those that still are.
func (v *venue) all() []*socket {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.sockets)
}

func (v *venue) open() []*socket {
	return slices.DeleteFunc(v.all(), func(s *socket) bool {
		select {
		case <-s.ended:
			return true
		default:
			return false
		}
	})
}

// tries is how many handshakes there were.
func (v *venue) tries() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.handshakes)
}

func (v *venue) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	v.handshakes = append(v.handshakes, time.Now())
	refuse, lifetime := v.refuse, v.lifetime
	v.mu.Unlock()
	if refuse != nil {
		refuse(w, r)
		return
	}
	s := &socket{
		venue: v, opened: time.Now(), ended: make(chan struct{}),
		names: strings.Split(r.URL.Query().Get("streams"), "/"),
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		OnPingReceived: func(context.Context, []byte) bool { s.got(); return !s.isFrozen() },
		OnPongReceived: func(context.Context, []byte) { s.got() },
	})
	if err != nil {
		v.fault("accept: %v", err)
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	if lifetime > 0 {
		ctx, cancel = context.WithTimeout(ctx, lifetime)
	}
	defer cancel()
	s.conn, s.ctx, s.cut = conn, ctx, cancel
	v.set(func(v *venue) { v.sockets = append(v.sockets, s) })
	var wg sync.WaitGroup
	wg.Go(func() { defer cancel(); s.listen(ctx) })
	wg.Go(func() { s.push(ctx) })
	wg.Go(func() { s.ping(ctx) })
	<-ctx.Done()
	_ = conn.CloseNow()
	close(s.ended)
	wg.Wait()
}

// got notes a message of the client.
func (s *socket) got() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received = append(s.received, time.Now())
}

// listen reads requests and answers them.
func (s *socket) listen(ctx context.Context) {
	for {
		_, text, err := s.conn.Read(ctx)
		if err != nil {
			return
		}
		s.got()
		var request struct {
			Method string   `json:"method"`
			Params []string `json:"params"`
			ID     int64    `json:"id"`
		}
		if err := json.Unmarshal(text, &request); err != nil || request.Method != "SUBSCRIBE" {
			s.venue.fault("request %s: %v", text, err)
			return
		}
		s.mu.Lock()
		s.names = append(s.names, request.Params...)
		s.mu.Unlock()
		s.venue.mu.Lock()
		reply := s.venue.reply(request.ID)
		s.venue.mu.Unlock()
		if reply != "" {
			s.send(reply)
		}
	}
}

// push sends tickers.
func (s *socket) push(ctx context.Context) {
	for {
		s.venue.mu.Lock()
		tick := s.venue.tick
		s.venue.mu.Unlock()
		if tick == 0 {
			<-ctx.Done()
			return
		}
		select {
		case <-time.After(time.Until(time.Now().Truncate(tick).Add(tick))):
		case <-ctx.Done():
			return
		}
		s.mu.Lock()
		names, mute := slices.Clone(s.names), s.mute
		s.mu.Unlock()
		for _, name := range names {
			if !mute {
				s.send(tickerFrame(symbolOf(name), time.Now().Truncate(tick), 100))
			}
		}
	}
}

// ping asks every 20 seconds whether the client is there, and wants the answer within a minute.
func (s *socket) ping(ctx context.Context) {
	for {
		select {
		case <-time.After(20 * time.Second):
		case <-ctx.Done():
			return
		}
		s.mu.Lock()
		mute := s.mute
		s.mu.Unlock()
		if mute {
			continue
		}
		within, cancel := context.WithTimeout(ctx, time.Minute)
		err := s.conn.Ping(within)
		cancel()
		if err != nil && errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			s.venue.fault("a ping was not answered")
		}
	}
}

// send sends one message.
func (s *socket) send(text string) {
	_ = s.conn.Write(s.ctx, websocket.MessageText, []byte(text)) // The client may be gone.
}

// still stops the tickers of this connection.
func (s *socket) still() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute = true
}

// freeze stops everything, as when the peer lost its power.
func (s *socket) freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute, s.frozen = true, true
}

func (s *socket) isFrozen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frozen
}

// streams are the names that were asked for, in order.
func (s *socket) streams() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(slices.Values(s.names))
}

// busiest is the most messages that came within a second.
func (s *socket) busiest() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	most := 0
	for i, from := range s.received {
		n := 0
		for _, at := range s.received[i:] {
			if at.Sub(from) >= time.Second {
				break
			}
			n++
		}
		most = max(most, n)
	}
	return most
}

func symbolOf(name string) string {
	symbol, _, _ := strings.Cut(name, "@")
	return strings.ToUpper(symbol)
}

// tickerFrame is the ticker of a symbol at a time.
func tickerFrame(symbol string, at time.Time, price float64) string {
	return fmt.Sprintf(`{"stream":"%s@miniTicker","data":{"e":"24hrMiniTicker","E":%d,"s":%q,"c":"%.8f","o":"80.00000000",`+
		`"h":"120.00000000","l":"75.50000000","v":"24032.63625000","q":"2472261593.19821790"}}`,
		strings.ToLower(symbol), at.UnixMilli(), symbol, price)
}

// world is a source and a Binance in a bubble of their own time.
type world struct {
	*testing.T
	exchange *exchange
	venue    *venue
	source   *source
	streams  []*stream
}

// inWorld runs a test in a bubble. With it end the connections, the source and the exchange.
func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		v := newVenue()
		w := &world{T: t, venue: v, exchange: &exchange{answers: map[string]http.HandlerFunc{pathStream: v.ServeHTTP}}}
		listener := newPipes()
		server := &http.Server{Handler: w.exchange}
		go func() { _ = server.Serve(listener) }() // It ends when it is closed.
		transport := &http.Transport{DialContext: listener.dial, DisableKeepAlives: true}
		w.source = newSource()
		w.source.transport = transport
		err := w.source.Initialize(t.Context(), sdk.Config{Name: "binance", Values: map[string]any{
			"url": "http://exchange", "stream_url": "ws://exchange",
		}})
		if err != nil {
			t.Fatal(err)
		}
		test(w)
		if err := w.source.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		for _, st := range w.streams {
			st.cancel()
		}
		for _, s := range v.all() {
			s.cut()
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		for _, fault := range v.faults {
			t.Errorf("the venue: %s", fault)
		}
		for i, s := range v.all() {
			if n := s.busiest(); n > 5 {
				t.Errorf("connection %d got %d messages within a second; 5 are allowed", i, n)
			}
		}
	})
}

// stream is a Stream under way.
type stream struct {
	w      *world
	cancel context.CancelFunc
	done   chan error

	mu     sync.Mutex
	quotes []sdk.Quote
	at     []time.Time
	seq    uint64
	// block makes the receiver wait.
	block chan struct{}
}

// stream opens a stream of assets in US dollars.
func (w *world) stream(symbols ...string) *stream {
	ctx, cancel := context.WithCancel(w.Context())
	st := &stream{w: w, cancel: cancel, done: make(chan error, 1)}
	req := sdk.StreamRequest{VsCurrency: "usd"}
	for _, symbol := range symbols {
		req.Assets = append(req.Assets, sdk.Asset{ID: symbol + "-id", Symbol: symbol})
	}
	go func() { st.done <- w.source.Stream(ctx, req, st.emit) }()
	w.streams = append(w.streams, st)
	return st
}

func (st *stream) emit(batch sdk.QuoteBatch) error {
	st.mu.Lock()
	st.seq++
	if batch.Seq != st.seq {
		st.w.Errorf("batch %d has the number %d", st.seq, batch.Seq)
	}
	for _, q := range batch.Quotes {
		for i := len(st.quotes) - 1; i >= 0; i-- {
			if st.quotes[i].Symbol == q.Symbol {
				if !q.AsOf.After(st.quotes[i].AsOf) {
					st.w.Errorf("%s went from %s to %s", q.Symbol, st.quotes[i].AsOf, q.AsOf)
				}
				break
			}
		}
		st.quotes, st.at = append(st.quotes, q), append(st.at, time.Now())
	}
	block := st.block
	st.mu.Unlock()
	if block != nil {
		<-block
	}
	return nil
}

// of returns the quotes of a symbol so far.
func (st *stream) of(symbol string) []sdk.Quote {
	st.mu.Lock()
	defer st.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(st.quotes), func(q sdk.Quote) bool { return q.Symbol != symbol })
}

// gap is the longest time between two quotes of a symbol, the time since the last one included.
func (st *stream) gap(symbol string, since time.Time) time.Duration {
	st.mu.Lock()
	defer st.mu.Unlock()
	var longest time.Duration
	for i, q := range st.quotes {
		if q.Symbol == symbol && st.at[i].After(since) {
			longest = max(longest, st.at[i].Sub(since))
			since = st.at[i]
		}
	}
	return max(longest, time.Since(since))
}

// end cancels the stream and returns why it ended.
func (st *stream) end() error {
	st.cancel()
	return <-st.done
}

// count returns a metric of the source.
func (w *world) count(name string, labels ...string) float64 {
	w.Helper()
	metrics, err := w.source.Metrics(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	var with map[string]string
	for i := 0; i+1 < len(labels); i += 2 {
		with = map[string]string{labels[i]: labels[i+1]}
	}
	value, ok := metrics.Value(name, with)
	if !ok {
		w.Fatalf("no metric %s %v", name, labels)
	}
	return value
}
