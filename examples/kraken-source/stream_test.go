package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
)

// receiver is a Stream under way.
type receiver struct {
	t    *testing.T
	stop context.CancelFunc
	done chan error

	mu      sync.Mutex
	quotes  []sdk.Quote
	candles []sdk.Candles
	seq     uint64
}

// listen opens a stream in US dollars, with candles.
func listen(t *testing.T, s *source, assets ...sdk.Asset) *receiver {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r := &receiver{t: t, stop: stop, done: make(chan error, 1)}
	go func() {
		r.done <- s.Stream(ctx, sdk.StreamRequest{Assets: assets, VsCurrency: "usd", Candles: true}, func(batch sdk.QuoteBatch) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.seq++; batch.Seq != r.seq {
				t.Errorf("batch %d has the number %d", r.seq, batch.Seq)
			}
			r.quotes, r.candles = append(r.quotes, batch.Quotes...), append(r.candles, batch.Candles...)
			return nil
		})
	}()
	t.Cleanup(stop)
	return r
}

// prices are those that came of an asset.
func (r *receiver) prices(symbol string) (out []float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.quotes {
		if q.Symbol == symbol {
			out = append(out, q.Price.Or(0))
		}
	}
	return out
}

// minutes are the candles that came of an asset, by minutes after began, with their closes.
func (r *receiver) minutes(symbol string) (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, run := range r.candles {
		for _, c := range run.Items {
			if run.Symbol == symbol {
				out = append(out, fmt.Sprintf("%d:%s", c.OpenTime.Sub(began)/time.Minute, c.Close))
			}
			if !c.Closed || run.Interval != sdk.Interval1m || run.VsCurrency != "usd" {
				r.t.Errorf("%+v of %+v", c, run)
			}
		}
	}
	return out
}

// ends waits for the stream to end.
func (r *receiver) ends() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		return err
	case <-time.After(patience):
		r.t.Fatalf("the stream goes on after %s", patience)
		return nil
	}
}

// awaits waits until a list ends with something.
func awaits[T comparable](t *testing.T, list func(string) []T, symbol string, last T) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got := list(symbol)
		if n := len(got); n > 0 && got[n-1] == last {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("of %s came %v, want %v last", symbol, got, last)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// brisk makes batches come at once.
func brisk(s *source) { s.manners.minInterval = 0 }

func TestTickers(t *testing.T) {
	e := newExchange(t)
	s := e.started(t, brisk)
	r := listen(t, s, bitcoin, doge, nobody)
	c := e.socket(t, 0, 4)
	if got := c.subscribed(); !slices.Equal(got, []string{"ticker BTC/USD", "ticker DOGE/USD", "ohlc BTC/USD", "ohlc DOGE/USD"}) {
		t.Errorf("subscribed to %q", got)
	}
	at := time.Now()
	c.send(tick("BTC/USD", 100, at))
	awaits(t, r.prices, "btc", 100)
	c.send(tick("BTC/USD", 100, at))                   // known
	c.send(tick("BTC/USD", 90, at.Add(-time.Second)))  // late
	c.send(tick("ETH/USD", 50, at))                    // of a pair that nobody asked for
	c.send(`{"channel":"ticker","type":"up`)           // malformed
	c.send(`{"channel":"trade","type":"update"}`)      // of another channel
	c.send(tick("DOGE/USD", 0, at))                    // dead
	c.send(tick("BTC/USD", 101, at.Add(time.Second)))  // news
	c.send(tick("DOGE/USD", 0.2, at.Add(time.Second))) // alive again
	awaits(t, r.prices, "doge", 0.2)
	awaits(t, r.prices, "btc", 101)
	if got := r.prices("btc"); !slices.Equal(got, []float64{100, 101}) {
		t.Errorf("of btc came %v", got)
	}
	r.mu.Lock()
	q := r.quotes[0]
	r.mu.Unlock()
	want := sdk.Quote{
		ID: "bitcoin", Symbol: "btc", VsCurrency: "usd", Source: "kraken-source", AsOf: at.UTC().Truncate(time.Microsecond),
		Price: sdk.Known(100), Change24h: sdk.Known(0.5), High24h: sdk.Known(400), Low24h: sdk.Known(1), Volume24h: sdk.Known(25),
	}
	if q != want {
		t.Errorf("got %+v\nwant %+v", q, want)
	}
	for why, n := range map[drop]int64{dropDuplicate: 1, dropLate: 1, dropUnknown: 2, dropMalformed: 1, dropDead: 1} {
		if got := s.streamed.dropped[why].Load(); got != n {
			t.Errorf("%d were dropped as %s, want %d", got, dropNames[why], n)
		}
	}
	health := s.Health(t.Context())
	if health.Status != sdk.StatusOK || len(health.Parts) != 2 || health.Parts[1].Details["symbols"] != 2 || health.Parts[1].Details["connections"] != 1 {
		t.Errorf("it is %+v", health)
	}
	r.stop()
	if err := r.ends(); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

// TestMinutesClose has minutes end by their successors, by the clock, and while no connection stands.
func TestMinutesClose(t *testing.T) {
	e := newExchange(t)
	minute := func(n int) time.Time { return began.Add(time.Duration(n) * time.Minute) }
	e.begins = func(symbol string) string {
		// The last one is open, the others are history.
		return moving("snapshot", symbol, 10, minute(-2), minute(-1), minute(0))
	}
	s := e.started(t, brisk)
	// Nobody's clock moves but by what is told.
	s.now = func() time.Time { return minute(0).Add(30 * time.Second) }
	r := listen(t, s, bitcoin)
	c := e.socket(t, 0, 2)
	c.send(moving("update", "BTC/USD", 20, minute(0)))
	c.send(moving("update", "BTC/USD", 21, minute(1))) // closes 0
	awaits(t, r.minutes, "btc", "0:20")
	c.send(moving("update", "BTC/USD", 99, minute(0)))            // late
	c.send(moving("update", "BTC/USD", 22, minute(1), minute(2))) // closes 1
	c.send(pong(minute(3)))                                       // Kraken's clock: the grace of 2 has not passed
	c.send(moving("update", "BTC/USD", 24, minute(2)))            // the last word about 2
	c.send(pong(minute(3).Add(s.manners.grace).Add(time.Second))) // now it has
	awaits(t, r.minutes, "btc", "2:24")
	c.send(moving("update", "BTC/USD", 98, minute(2))) // late
	c.send(moving("update", "BTC/USD", 25, minute(4))) // nobody traded in 3
	eventually(t, "4 runs", func() bool { return s.running("BTC/USD") != nil })
	e.mu.Lock()
	e.begins = func(symbol string) string {
		return moving("snapshot", symbol, 30, minute(2), minute(4), minute(5), minute(6))
	}
	e.mu.Unlock()
	c.cut()
	e.socket(t, 1, 2)
	// What was missed is in the snapshot: the rest of 4 and all of 5. Then 6 runs.
	awaits(t, r.minutes, "btc", "5:32")
	if got, want := r.minutes("btc"), []string{"0:20", "1:22", "2:24", "4:31", "5:32"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := s.streamed.reconnects.Load(); n != 1 {
		t.Errorf("%d connections were replaced", n)
	}
}

// pong tells Kraken's time.
func pong(at time.Time) string {
	return fmt.Sprintf(`{"method":"pong","req_id":99,"time_in":%q,"time_out":%q}`, wire(at), wire(at))
}

// running is the minute of a pair that still moves.
func (s *source) running(symbol string) *minute {
	feeds := s.streams.list()
	if len(feeds) == 0 {
		return nil
	}
	feeds[0].mu.Lock()
	defer feeds[0].mu.Unlock()
	return feeds[0].pairs[symbol].running
}

// TestDeadConnection replaces one from which nothing is heard, and keeps one that has heartbeats.
func TestDeadConnection(t *testing.T) {
	dead := func(s *source) { brisk(s); s.manners.deadAfter = 200 * time.Millisecond }
	t.Run("not a word", func(t *testing.T) {
		e := newExchange(t)
		listen(t, e.started(t, dead), bitcoin)
		e.socket(t, 2, 2)
	})
	t.Run("heartbeats", func(t *testing.T) {
		e := newExchange(t)
		e.beat = 5 * time.Millisecond
		s := e.started(t, dead, func(s *source) { s.manners.deadAfter = patience })
		r := listen(t, s, bitcoin)
		first := e.socket(t, 0, 2)
		before := s.streamed.frames.Load()
		eventually(t, "heartbeats", func() bool { return s.streamed.frames.Load() > before+50 })
		first.send(tick("BTC/USD", 7, time.Now()))
		awaits(t, r.prices, "btc", 7)
		if n := len(e.called("v2")); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// TestQuietMarket doubts a connection that brings heartbeats and no ticker, later each time.
func TestQuietMarket(t *testing.T) {
	e := newExchange(t)
	e.beat = 5 * time.Millisecond
	s := e.started(t, func(s *source) { s.manners.silence, s.manners.maxSilence = 50*time.Millisecond, time.Hour })
	r := listen(t, s, bitcoin)
	e.socket(t, 2, 2)
	r.stop()
	feeds := s.streams.list()
	_ = r.ends()
	for _, f := range feeds {
		if f.patience < 200*time.Millisecond {
			t.Errorf("after two doubts the next one comes after %s", f.patience)
		}
	}
}

// TestPairsThatAreNotStreamed goes on without some of them, and ends without any.
func TestPairsThatAreNotStreamed(t *testing.T) {
	e := newExchange(t)
	e.unstreamed = []string{"BTC/USD"}
	s := e.started(t, brisk)
	r := listen(t, s, bitcoin, doge)
	c := e.socket(t, 0, 2)
	c.send(tick("DOGE/USD", 0.3, time.Now()))
	awaits(t, r.prices, "doge", 0.3)
	if n := s.streamed.dropped[dropRefused].Load(); n != 2 { // the ticker and the minutes
		t.Errorf("%d were refused", n)
	}
	if err := listen(t, s, bitcoin).ends(); !errors.Is(err, sdk.NotFound) {
		t.Errorf("ended with %v", err)
	}
}

// TestStreamsThatCannotBe are refused at once, with a reason.
func TestStreamsThatCannotBe(t *testing.T) {
	s := newExchange(t).started(t)
	for name, tc := range map[string]struct {
		req  sdk.StreamRequest
		want sdk.Kind
	}{
		"of nothing":             {sdk.StreamRequest{VsCurrency: "usd"}, sdk.InvalidArgument},
		"of nothing that exists": {sdk.StreamRequest{VsCurrency: "usd", Assets: []sdk.Asset{nobody}}, sdk.NotFound},
		"in another currency":    {sdk.StreamRequest{VsCurrency: "xxx", Assets: []sdk.Asset{bitcoin}}, sdk.Unsupported},
	} {
		if err := s.Stream(t.Context(), tc.req, func(sdk.QuoteBatch) error { return nil }); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

// TestRefusedHandshakes end the stream where Kraken does not want it, and nobody comes back before time.
func TestRefusedHandshakes(t *testing.T) {
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		want   sdk.Kind
		after  time.Duration
	}{
		"too many connections": {refuses(http.StatusTooManyRequests), sdk.RateLimited, bannedFor},
		"for some seconds":     {refuses(http.StatusTooManyRequests, "Retry-After", "7"), sdk.RateLimited, 7 * time.Second},
		"the firewall":         {refuses(http.StatusForbidden), sdk.PermissionDenied, refusedFor},
		"another place":        {refuses(http.StatusNotFound), sdk.BadUpstream, 0},
	} {
		t.Run(name, func(t *testing.T) {
			e := newExchange(t)
			s := e.started(t)
			e.answer("v2", tc.answer)
			err := listen(t, s, bitcoin).ends()
			if after := sdk.RetryAfter(err); !errors.Is(err, tc.want) || after != tc.after {
				t.Errorf("%v after %s, want %v after %s", err, after, tc.want, tc.after)
			}
			if tc.after == 0 {
				return
			}
			if err := listen(t, s, bitcoin).ends(); !errors.Is(err, tc.want) || len(e.called("v2")) != 1 {
				t.Errorf("%v; %d attempts", err, len(e.called("v2")))
			}
			if health := s.Health(t.Context()); health.Status != sdk.StatusDegraded || health.Parts[1].Details["retry_after_seconds"] == nil {
				t.Errorf("it is %+v", health)
			}
		})
	}
}

// TestMended comes back from a Kraken that is down, and shows what is wrong meanwhile.
func TestMended(t *testing.T) {
	e := newExchange(t)
	s := e.started(t, brisk, func(s *source) { s.manners.downAfter = 0 })
	e.answer("v2", refuses(http.StatusBadGateway))
	r := listen(t, s, bitcoin)
	eventually(t, "degraded", func() bool {
		health := s.Health(t.Context())
		return health.Status == sdk.StatusDegraded && strings.Contains(health.Reason, "unavailable")
	})
	eventually(t, "several attempts", func() bool { return len(e.called("v2")) > 3 })
	e.answer("v2", nil)
	c := e.socket(t, 0, 2)
	c.send(`{"channel":"status","type":"update","data":[{"system":"maintenance"}]}`)
	eventually(t, "maintenance", func() bool { return strings.Contains(s.Health(t.Context()).Reason, "maintenance") })
	c.send(`{"channel":"status","type":"update","data":[{"system":"online"}]}`)
	c.send(tick("BTC/USD", 5, time.Now()))
	awaits(t, r.prices, "btc", 5)
	eventually(t, "well again", func() bool { return s.Health(t.Context()).Status == sdk.StatusOK })
}

// TestShutdownEndsStreams while they run, and lets no other begin.
func TestShutdownEndsStreams(t *testing.T) {
	e := newExchange(t)
	s := e.started(t)
	r := listen(t, s, bitcoin)
	e.socket(t, 0, 2)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := r.ends(); !errors.Is(err, sdk.Unavailable) {
		t.Errorf("ended with %v", err)
	}
	if err := listen(t, s, bitcoin).ends(); !errors.Is(err, sdk.Unavailable) {
		t.Errorf("another one ended with %v", err)
	}
}

// TestManyPairs asks in several requests.
func TestManyPairs(t *testing.T) {
	e := newExchange(t)
	var rows []string
	var assets []sdk.Asset
	for i := range 130 {
		symbol := fmt.Sprintf("c%d", i)
		rows = append(rows, fmt.Sprintf(`"%[1]sUSD":{"altname":"%[1]sUSD","wsname":"%[1]s/USD","status":"online"}`, strings.ToUpper(symbol)))
		assets = append(assets, sdk.Asset{Symbol: symbol})
	}
	e.answer("AssetPairs", says(`{"error":[],"result":{`+strings.Join(rows, ",")+`}}`))
	r := listen(t, e.started(t, brisk), assets...)
	c := e.socket(t, 0, 260)
	c.send(tick("C129/USD", 3, time.Now()))
	awaits(t, r.prices, "c129", 3)
}
