package main

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
)

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

// list makes the exchange trade as many assets, and returns them.
func (w *world) list(n int) (symbols []string) {
	var rows []string
	for i := range n {
		symbol := string([]rune{'a' + rune(i/26), 'a' + rune(i%26)})
		rows, symbols = append(rows, row(strings.ToUpper(symbol), "USDT", "TRADING")), append(symbols, symbol)
	}
	w.exchange.answer(pathInfo, fail(200, `{"symbols":[`+strings.Join(rows, ",")+`]}`))
	return symbols
}

// stream is a Stream under way.
type stream struct {
	w      *world
	cancel context.CancelFunc
	done   chan error

	mu     sync.Mutex
	quotes []sdk.Quote
	at     []time.Time
	// runs are the candles of each symbol, batch by batch.
	runs map[string][]sdk.Candles
	seq  uint64
	// block makes the receiver wait.
	block chan struct{}
}

// stream opens a stream of assets in US dollars, and streamCandles one with their candles.
func (w *world) stream(symbols ...string) *stream { return w.open(sdk.StreamRequest{}, symbols) }

func (w *world) streamCandles(symbols ...string) *stream {
	return w.open(sdk.StreamRequest{Candles: true}, symbols)
}

func (w *world) open(req sdk.StreamRequest, symbols []string) *stream {
	ctx, cancel := context.WithCancel(w.Context())
	st := &stream{w: w, cancel: cancel, done: make(chan error, 1), runs: map[string][]sdk.Candles{}}
	req.VsCurrency = "usd"
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
	for _, run := range batch.Candles {
		if run.ID != run.Symbol+"-id" || run.VsCurrency != "usd" || run.Interval != sdk.Interval1m || run.Source != "binance" || run.Note != inTether {
			st.w.Errorf("candles of %+v", run)
		}
		st.runs[run.Symbol] = append(st.runs[run.Symbol], run)
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

// candles returns the candles of a symbol so far, which are closed and never go back in time.
func (st *stream) candles(symbol string) []sdk.Candle {
	st.mu.Lock()
	defer st.mu.Unlock()
	var out []sdk.Candle
	for _, run := range st.runs[symbol] {
		out = append(out, run.Items...)
	}
	for i, c := range out {
		if !c.Closed || (i > 0 && !c.OpenTime.After(out[i-1].OpenTime)) {
			st.w.Errorf("candle %d of %s: %+v, after %+v", i, symbol, c, out[:i])
		}
	}
	return out
}

// holes is how many minutes are missing between the candles of a symbol.
func (st *stream) holes(symbol string) (n int) {
	candles := st.candles(symbol)
	for i := 1; i < len(candles); i++ {
		n += int(candles[i].OpenTime.Sub(candles[i-1].OpenTime)/time.Minute) - 1
	}
	return n
}

// pause makes the receiver wait from its next batch on, until what is returned is called.
func (st *stream) pause() (goOn func()) {
	st.mu.Lock()
	defer st.mu.Unlock()
	release := make(chan struct{})
	st.block = release
	return func() {
		st.mu.Lock()
		st.block = nil
		st.mu.Unlock()
		close(release)
	}
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

// checkOverlaps reports a connection that was closed before the next one had brought a ticker.
func (w *world) checkOverlaps() {
	w.Helper()
	sockets := w.venue.all()
	for i := 1; i < len(sockets); i++ {
		old, next := sockets[i-1], sockets[i]
		old.mu.Lock()
		gone := old.gone
		old.mu.Unlock()
		next.mu.Lock()
		first := next.first
		next.mu.Unlock()
		if first.IsZero() || gone.Before(first) {
			w.Errorf("connection %d was closed at %s, the next one brought its first ticker at %s", i-1, gone, first)
		}
	}
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
