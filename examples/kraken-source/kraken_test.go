package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/service-islands/islands/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what has to come.
const patience = 30 * time.Second

// recorded is a file of the test data.
func recorded(tb testing.TB, name string) string {
	tb.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// says answers with a body.
func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

// refuses answers with a status.
func refuses(status int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
	}
}

// candles answers OHLC with 720 rows until now, as Kraken does, or fewer by since.
func candles(w http.ResponseWriter, r *http.Request) {
	minutes, _ := strconv.Atoi(r.URL.Query().Get("interval"))
	since, _ := strconv.ParseInt(r.URL.Query().Get("since"), 10, 64)
	length := time.Duration(minutes) * time.Minute
	last := time.Now().Truncate(length).Unix()
	var rows []string
	for i := 719; i >= 0; i-- {
		if at := last - int64(i)*int64(length/time.Second); at > since {
			rows = append(rows, fmt.Sprintf(`[%d,"2.0","4.0","0.5","3.0","2.5","21.6",617]`, at))
		}
	}
	_, _ = fmt.Fprintf(w, `{"error":[],"result":{"XXBTZUSD":[%s],"last":%d}}`, strings.Join(rows, ","), last)
}

// exchange is a Kraken that a test directs.
type exchange struct {
	tb testing.TB
	// beat is how often subscribed connections get a heartbeat, tick how often a ticker and the running minute; 0 for never.
	beat, tick time.Duration
	// minute is how long a minute takes.
	minute time.Duration

	mu      sync.Mutex
	answers map[string]http.HandlerFunc // by method, and "v2"
	calls   map[string][]string         // queries by method
	sockets []*socket
	// unstreamed pairs are refused by the stream.
	unstreamed []string
	// begins is what a subscription to minutes begins with.
	begins func(symbol string) string
}

func newExchange(tb testing.TB) *exchange {
	tb.Helper()
	return &exchange{
		tb: tb, calls: map[string][]string{},
		answers: map[string]http.HandlerFunc{
			"AssetPairs": says(recorded(tb, "asset_pairs.json")), "Ticker": says(recorded(tb, "ticker.json")), "OHLC": candles,
		},
	}
}

func (e *exchange) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method, ok := strings.CutPrefix(r.URL.Path, "/0/public/")
	if !ok {
		method = strings.TrimPrefix(r.URL.Path, "/")
	}
	e.mu.Lock()
	e.calls[method] = append(e.calls[method], r.URL.RawQuery)
	answer := e.answers[method]
	e.mu.Unlock()
	switch {
	case answer != nil:
		answer(w, r)
	case method == "v2":
		e.stream(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (e *exchange) answer(method string, how http.HandlerFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answers[method] = how
}

// called returns the queries of a method.
func (e *exchange) called(method string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.calls[method])
}

// socket is a connection to the stream.
type socket struct {
	conn *websocket.Conn
	ctx  context.Context
	mu   sync.Mutex
	subs []string // "ticker BTC/USD"
}

func (s *socket) send(text string) {
	_ = s.conn.Write(s.ctx, websocket.MessageText, []byte(text)) // The client may be gone.
}

func (s *socket) cut() { _ = s.conn.CloseNow() }

func (s *socket) subscribed() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.subs)
}

// stream serves a connection: a status, acknowledgements with snapshots, and what beat and tick ask for.
func (e *exchange) stream(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	s := &socket{conn: conn, ctx: ctx}
	e.mu.Lock()
	e.sockets = append(e.sockets, s)
	e.mu.Unlock()
	s.send(`{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2","connection_id":12393906104898154338}]}`)
	var work sync.WaitGroup
	work.Go(func() { e.every(ctx, e.beat, func() { s.send(`{"channel":"heartbeat"}`) }) })
	work.Go(func() { e.every(ctx, e.tick, func() { e.trade(s) }) })
	for {
		_, text, err := conn.Read(ctx)
		if err != nil {
			break
		}
		e.serve(s, text)
	}
	cancel()
	_ = conn.CloseNow()
	work.Wait()
}

func (e *exchange) every(ctx context.Context, pace time.Duration, do func()) {
	if pace == 0 {
		return
	}
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			do()
		}
	}
}

func wire(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// trade tells a ticker of each pair and its running minute.
func (e *exchange) trade(s *socket) {
	for _, name := range s.subscribed() {
		channel, symbol, _ := strings.Cut(name, " ")
		if channel == channelTicker {
			s.send(tick(symbol, 100, time.Now()))
			continue
		}
		// Minutes are faked by a clock that runs faster.
		n := int(time.Since(epoch) / max(1, e.minute))
		s.send(moving("update", symbol, 100, began.Add(time.Duration(n)*time.Minute)))
	}
}

var (
	epoch = time.Now()
	began = time.Now().UTC().Truncate(time.Minute)
)

// tick is a ticker of a pair.
func tick(symbol string, price float64, at time.Time) string {
	return fmt.Sprintf(`{"channel":"ticker","type":"update","data":[{"symbol":%q,"bid":1,"bid_qty":1,"ask":1,"ask_qty":1,"last":%v,`+
		`"volume":10,"vwap":2.5,"low":1,"high":400,"change":1,"change_pct":0.5,"timestamp":%q}]}`, symbol, price, wire(at))
}

// moving is minutes of a pair, each with a close of its own.
func moving(kind, symbol string, price float64, opens ...time.Time) string {
	var data []string
	for i, at := range opens {
		data = append(data, fmt.Sprintf(`{"symbol":%q,"open":1,"high":1000,"low":1,"close":%v,"trades":2,"volume":3,"vwap":2,`+
			`"interval_begin":%q,"interval":1,"timestamp":%q}`, symbol, price+float64(i), wire(at), wire(at.Add(time.Minute))))
	}
	return fmt.Sprintf(`{"channel":"ohlc","type":%q,"timestamp":%q,"data":[%s]}`, kind, wire(time.Now()), strings.Join(data, ","))
}

// serve answers a request.
func (e *exchange) serve(s *socket, text []byte) {
	var r struct {
		Method string `json:"method"`
		ID     int64  `json:"req_id"`
		Params struct {
			Channel  string   `json:"channel"`
			Symbol   []string `json:"symbol"`
			Interval *int     `json:"interval"`
		} `json:"params"`
	}
	if err := json.Unmarshal(text, &r); err != nil {
		e.tb.Errorf("a request that cannot be read: %s", text)
	}
	now := wire(time.Now())
	if r.Method == methodPing {
		s.send(fmt.Sprintf(`{"method":"pong","req_id":%d,"time_in":%q,"time_out":%q}`, r.ID, now, now))
		return
	}
	if r.Method != methodSubscribe || r.Params.Channel == channelMinutes && (r.Params.Interval == nil || *r.Params.Interval != 1) {
		e.tb.Errorf("a request that is not served: %s", text)
	}
	for _, symbol := range r.Params.Symbol {
		e.mu.Lock()
		refused, begins := slices.Contains(e.unstreamed, symbol), e.begins
		e.mu.Unlock()
		if refused {
			s.send(fmt.Sprintf(`{"error":"Currency pair not supported %s","method":"subscribe","req_id":%d,"success":false,"symbol":%q,"time_in":%q,"time_out":%q}`,
				symbol, r.ID, symbol, now, now))
			continue
		}
		s.send(fmt.Sprintf(`{"method":"subscribe","req_id":%d,"result":{"channel":%q,"snapshot":true,"symbol":%q},"success":true,"time_in":%q,"time_out":%q}`,
			r.ID, r.Params.Channel, symbol, now, now))
		if r.Params.Channel == channelMinutes && begins != nil {
			s.send(begins(symbol))
		}
		s.mu.Lock()
		s.subs = append(s.subs, r.Params.Channel+" "+symbol)
		s.mu.Unlock()
	}
}

// socket waits for the n-th connection to be subscribed to so much.
func (e *exchange) socket(t *testing.T, n, subscriptions int) *socket {
	t.Helper()
	var found *socket
	eventually(t, fmt.Sprintf("connection %d", n), func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		if len(e.sockets) <= n {
			return false
		}
		found = e.sockets[n]
		return len(found.subscribed()) >= subscriptions
	})
	return found
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !so() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// started is a source that asks the exchange, with manners that a test can wait for.
func (e *exchange) started(t *testing.T, change ...func(*source)) *source {
	t.Helper()
	server := httptest.NewServer(e)
	s := newSource()
	m := &s.manners
	m.sendEvery, m.lookEvery, m.deadAfter = time.Millisecond, 10*time.Millisecond, time.Minute
	m.backoff, m.maxBackoff, m.silence, m.maxSilence = time.Millisecond, 10*time.Millisecond, time.Hour, time.Hour
	for _, f := range change {
		f(s)
	}
	err := s.Initialize(t.Context(), sdk.Config{Name: "kraken-source", Values: map[string]any{
		"url": server.URL, "stream_url": "ws" + strings.TrimPrefix(server.URL, "http") + "/v2", "calls_per_minute": 10000,
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		server.CloseClientConnections()
		server.Close()
	})
	return s
}

var (
	bitcoin = sdk.Asset{ID: "bitcoin", Symbol: "btc"}
	ether   = sdk.Asset{ID: "ethereum", Symbol: "eth"}
	doge    = sdk.Asset{ID: "dogecoin", Symbol: "doge"}
	solana  = sdk.Asset{Symbol: "sol"}
	nobody  = sdk.Asset{ID: "no-such-coin", Symbol: "nosuch"}
)
