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
	"time"

	"github.com/coder/websocket"
)

// venue is the side of Binance that streams. Each connection gets a ticker per stream and interval, candles half as often,
// a ping every 20 seconds, and what a test sends.
type venue struct {
	mu      sync.Mutex
	sockets []*socket
	// tick is how often tickers come; 0 for never.
	tick time.Duration
	// minute is how long a candle takes, from began on.
	minute time.Duration
	began  time.Time
	// hushed is the kind of stream that connections from now on do not bring.
	hushed string
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
	// mute stops tickers and candles; frozen stops everything, pongs included, with the connection still there.
	mute, frozen bool
	// hushed is the kind of stream that is not brought.
	hushed string
	// first is when the first ticker was sent, gone when the connection ended; the zero time until then.
	first, gone time.Time
}

func newVenue() *venue {
	return &venue{
		tick: time.Second, minute: time.Minute, began: time.Now().Truncate(time.Minute),
		reply: func(id int64) string { return fmt.Sprintf(`{"result":null,"id":%d}`, id) },
	}
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
	refuse, lifetime, hushed := v.refuse, v.lifetime, v.hushed
	v.mu.Unlock()
	if refuse != nil {
		refuse(w, r)
		return
	}
	s := &socket{
		venue: v, opened: time.Now(), ended: make(chan struct{}),
		names: strings.Split(r.URL.Query().Get("streams"), "/"), hushed: hushed,
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
	s.mu.Lock()
	s.gone = time.Now()
	s.mu.Unlock()
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

// push sends tickers and candles.
func (s *socket) push(ctx context.Context) {
	last := s.venue.minuteOf(time.Now())
	for {
		s.venue.mu.Lock()
		tick := s.venue.tick
		s.venue.mu.Unlock()
		if tick == 0 {
			<-ctx.Done()
			return
		}
		at := time.Now().Truncate(tick).Add(tick)
		select {
		case <-time.After(time.Until(at)):
		case <-ctx.Done():
			return
		}
		s.pushTickers(at)
		if at.Truncate(2 * tick).Equal(at) {
			current := s.venue.minuteOf(at)
			s.pushCandles(at, last, current)
			last = current
		}
	}
}

// pushTickers sends what every symbol did until an instant.
func (s *socket) pushTickers(at time.Time) {
	symbols := s.symbols(tickerStream)
	s.mu.Lock()
	if s.first.IsZero() && len(symbols) > 0 {
		s.first = at
	}
	s.mu.Unlock()
	for _, symbol := range symbols {
		s.send(tickerFrame(symbol, at, 100))
	}
}

// pushCandles sends the minutes from last to current; only the current one is open.
func (s *socket) pushCandles(at time.Time, last, current int) {
	for _, symbol := range s.symbols(candleStream) {
		for n := last; n <= current; n++ {
			s.send(candleFrame(symbol, at, s.venue.opens(n), n < current, 100))
		}
	}
}

// minuteOf is the number of the candle that is open at an instant, and opens is when it says that it opened.
func (v *venue) minuteOf(at time.Time) int { return int(at.Sub(v.began) / v.minute) }

func (v *venue) opens(n int) time.Time {
	return v.began.Truncate(time.Minute).Add(time.Duration(n) * time.Minute)
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

// hush stops the streams of one kind, none when it is empty.
func (s *socket) hush(kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hushed = kind
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

// symbols are those whose streams of a kind are brought.
func (s *socket) symbols(kind string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, name := range s.names {
		symbol, found := strings.CutSuffix(name, kind)
		if found && !s.mute && s.hushed != kind {
			out = append(out, strings.ToUpper(symbol))
		}
	}
	return out
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

// tickerFrame is the ticker of a symbol at a time.
func tickerFrame(symbol string, at time.Time, price float64) string {
	return fmt.Sprintf(`{"stream":"%s@miniTicker","data":{"e":"24hrMiniTicker","E":%d,"s":%q,"c":"%.8f","o":"80.00000000",`+
		`"h":"120.00000000","l":"75.50000000","v":"24032.63625000","q":"2472261593.19821790"}}`,
		strings.ToLower(symbol), at.UnixMilli(), symbol, price)
}

// candleFrame is the minute of a symbol that began at a time, as it is told at another.
func candleFrame(symbol string, at, opens time.Time, closed bool, price float64) string {
	return fmt.Sprintf(`{"stream":"%s@kline_1m","data":{"e":"kline","E":%d,"s":%q,"k":{"t":%d,"T":%d,"s":%q,"i":"1m","f":13562205,`+
		`"L":13562210,"o":"99.00000000","c":"%.8f","h":"120.00000000","l":"75.50000000","v":"24.63625000","n":6,"x":%t,`+
		`"q":"2472.98000000","V":"12.10000000","Q":"1236.10000000","B":"0"}}}`,
		strings.ToLower(symbol), at.UnixMilli(), symbol, opens.UnixMilli(), opens.Add(time.Minute).UnixMilli()-1, symbol, price, closed)
}
