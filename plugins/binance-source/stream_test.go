package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
)

func TestStream(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		st := w.stream("btc", "nope", "sol")
		time.Sleep(5500 * time.Millisecond)
		if n := len(st.of("btc")); n != 5 || len(st.of("sol")) != 5 || len(st.of("nope")) != 0 {
			t.Errorf("%d quotes in 5 s: %+v", n, st.quotes)
		}
		want := sdk.Quote{
			ID: "btc-id", Symbol: "btc", VsCurrency: "usd", Source: "binance", Note: inTether,
			Price: sdk.Known(100), Change24h: sdk.Known(25), High24h: sdk.Known(120), Low24h: sdk.Known(75.5),
			Volume24h: sdk.Known(2472261593.1982179), AsOf: time.Date(2000, 1, 1, 0, 0, 5, 0, time.UTC),
		}
		if got := st.of("btc")[4]; got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		sockets := w.venue.all()
		if len(sockets) != 1 || !slices.Equal(sockets[0].streams(), []string{"btcusdt@miniTicker", "solusdt@miniTicker"}) {
			t.Errorf("%d connections, streams %v", len(sockets), sockets[0].streams())
		}
		if n := w.count("stream_connections"); n != 1 {
			t.Errorf("%v connections", n)
		}
		if n := w.count("stream_frames_total"); n != 10 {
			t.Errorf("%v frames", n)
		}
		if age := w.count("stream_last_frame_age_seconds"); age != 0.5 {
			t.Errorf("the newest ticker is %v s old", age)
		}
		h := w.source.Health(t.Context())
		part, ok := h.Part("stream")
		if !ok || h.Status != sdk.StatusOK || part.Details["symbols"] != 2 || part.Details["connections"] != 1 {
			t.Errorf("health is %+v", h)
		}
		if err := st.end(); !errors.Is(err, sdk.Canceled) && !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
		synctest.Wait()
		if _, ok := w.source.Health(t.Context()).Part("stream"); ok || w.count("stream_connections") != 0 || len(w.venue.open()) != 0 {
			t.Error("something is left of the stream")
		}
	})
}

func TestStreamsThatCannotBegin(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		for name, tc := range map[string]struct {
			currency string
			assets   []sdk.Asset
			kind     sdk.Kind
		}{
			"no assets":   {"usd", nil, sdk.InvalidArgument},
			"currency":    {"xyz", []sdk.Asset{{Symbol: "btc"}}, sdk.Unsupported},
			"none listed": {"usd", []sdk.Asset{{Symbol: "nope"}, {Symbol: ""}}, sdk.NotFound},
		} {
			err := w.source.Stream(t.Context(), sdk.StreamRequest{Assets: tc.assets, VsCurrency: tc.currency}, nil)
			if err == nil || sdk.KindOf(err) != tc.kind {
				t.Errorf("%s: %v", name, err)
			}
		}
		if w.venue.tries() != 0 {
			t.Errorf("%d handshakes for nothing", w.venue.tries())
		}
		w.source.list = newDirectory()
		w.exchange.answer(pathInfo, fail(500, ""))
		if err := <-w.stream("btc").done; !errors.Is(err, sdk.Unavailable) {
			t.Errorf("without a list of pairs: %v", err)
		}
		w.exchange.answer(pathInfo, nil)
		if err := newSource().Stream(t.Context(), sdk.StreamRequest{}, nil); !errors.Is(err, sdk.Unavailable) {
			t.Errorf("before Initialize: %v", err)
		}
	})
}

func TestTwoAssetsOfOneSymbolBothGetItsQuotes(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		var ids []string
		err := w.source.Stream(t.Context(), sdk.StreamRequest{VsCurrency: "usd", Assets: []sdk.Asset{
			{ID: "one", Symbol: "btc"}, {ID: "two", Symbol: "btc"},
		}}, func(batch sdk.QuoteBatch) error {
			for _, q := range batch.Quotes {
				ids = append(ids, q.ID)
			}
			if len(ids) < 2 {
				return nil
			}
			return sdk.Conflict
		})
		if !errors.Is(err, sdk.Conflict) || !slices.Equal(ids, []string{"one", "two"}) {
			t.Errorf("got %v, %v", ids, err)
		}
	})
}

func TestWhatIsDropped(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		w.venue.set(func(v *venue) { v.tick = 0 })
		st := w.stream("btc", "eth")
		synctest.Wait()
		s := w.venue.all()[0]
		noon := time.Date(2026, 5, 18, 12, 0, 0, 0, time.UTC)
		for _, text := range []string{
			tickerFrame("BTCUSDT", noon, 1),
			tickerFrame("BTCUSDT", noon, 2),                   // duplicate
			tickerFrame("BTCUSDT", noon.Add(-time.Second), 3), // late
			tickerFrame("ETHUSDT", noon, 0),                   // dead
			tickerFrame("SOLUSDT", noon, 1),                   // unknown
			frameOfKline, `{"result":null,"id":99}`,           // unknown; the second leaves room for a third
			`{"result":null,"id":98}`,                          // unknown
			`{"stream":"btcusdt@miniTicker","data":{"e":`, "x", // malformed
		} {
			s.send(text)
		}
		time.Sleep(time.Millisecond)
		s.send(tickerFrame("BTCUSDT", noon.Add(time.Second), 4))
		s.send(tickerFrame("BTCUSDT", noon.Add(2*time.Second), 5)) // supersedes the one before
		time.Sleep(time.Second)
		for reason, want := range map[string]float64{
			"duplicate": 1, "late": 1, "dead": 1, "unknown": 3, "malformed": 2, "superseded": 1,
		} {
			if got := w.count("stream_dropped_total", "reason", reason); got != want {
				t.Errorf("%v %s, want %v", got, reason, want)
			}
		}
		got := st.of("btc")
		if len(got) != 2 || got[0].Price != sdk.Known(1) || got[1].Price != sdk.Known(5) || len(st.of("eth")) != 0 {
			t.Errorf("got %+v", st.quotes)
		}
		// What is too large to be a ticker ends the connection, which is mended.
		s.send(`"` + strings.Repeat("x", maxFrame) + `"`)
		time.Sleep(2 * time.Second)
		if len(w.venue.all()) != 2 || len(w.venue.open()) != 1 {
			t.Errorf("%d connections, %d open", len(w.venue.all()), len(w.venue.open()))
		}
	})
}

func TestASlowReceiverGetsTheNewestAndCostsNoConnection(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		st := w.stream("btc")
		time.Sleep(2500 * time.Millisecond)
		goOn := st.pause()
		time.Sleep(5 * time.Minute)
		before := len(st.of("btc"))
		goOn()
		synctest.Wait()
		got := st.of("btc")
		if len(got) != before+1 || time.Since(got[before].AsOf) > time.Second {
			t.Errorf("%d quotes after the pause, the last one of %s", len(got)-before, got[len(got)-1].AsOf)
		}
		if len(w.venue.all()) != 1 || w.count("stream_dropped_total", "reason", "superseded") < 290 {
			t.Errorf("%d connections, %v superseded", len(w.venue.all()), w.count("stream_dropped_total", "reason", "superseded"))
		}
	})
}

func TestManyStreamsAreSplitAndSubscribedInTime(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		w.source.manners.perConnection, w.source.manners.perURL, w.source.manners.perRequest = 12, 2, 1
		symbols := w.list(30)
		st := w.stream(symbols...)
		time.Sleep(20 * time.Second)
		var names []string
		for _, s := range w.venue.all() {
			if n := len(s.streams()); n > 12 {
				t.Errorf("%d streams on one connection", n)
			}
			names = append(names, s.streams()...)
		}
		slices.Sort(names)
		if len(w.venue.all()) != 3 || len(slices.Compact(names)) != 30 {
			t.Errorf("%d connections, streams %v", len(w.venue.all()), names)
		}
		for _, symbol := range symbols {
			if n := len(st.of(symbol)); n < 15 {
				t.Errorf("%d quotes of %s", n, symbol)
			}
		}
	})
}

func TestARequestThatIsRefusedEndsTheStream(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		w.source.manners.perURL = 1
		w.venue.reply = func(int64) string { return frameOfComplaint }
		if err := <-w.stream("btc", "eth").done; !errors.Is(err, sdk.BadUpstream) || !strings.Contains(err.Error(), "unknown variant") {
			t.Errorf("got %v", err)
		}
		// One that is not answered is tried again.
		w.venue.set(func(v *venue) { v.reply = func(int64) string { return "" } })
		st := w.stream("btc", "eth")
		time.Sleep(15 * time.Second)
		w.venue.set(func(v *venue) { v.reply = func(int64) string { return `{"result":null,"id":1}` } })
		time.Sleep(15 * time.Second)
		if got := st.of("eth"); len(got) == 0 || time.Since(got[len(got)-1].AsOf) > time.Second || len(w.venue.open()) != 1 {
			t.Errorf("%d quotes, %d connections", len(got), len(w.venue.open()))
		}
	})
}

func TestRefusedHandshakes(t *testing.T) {
	ban := `{"code":-1003,"msg":"Way too much request weight used; IP banned until 946685400000."}` // Ten minutes into the bubble.
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		kind   sdk.Kind
		after  time.Duration
		calls  bool // whether REST calls go on
	}{
		"firewall":            {fail(403, "<html></html>"), sdk.PermissionDenied, time.Minute, false},
		"banned":              {fail(418, ban), sdk.RateLimited, 10 * time.Minute, false},
		"banned for longer":   {fail(418, ban, "Retry-After", "7200"), sdk.RateLimited, 2 * time.Hour, false},
		"banned, no end":      {fail(418, ""), sdk.RateLimited, 2 * time.Minute, false},
		"restricted":          {fail(451, `{"code":0,"msg":"Service unavailable from a restricted location."}`), sdk.PermissionDenied, time.Minute, false},
		"too many":            {fail(429, "", "Retry-After", "17"), sdk.RateLimited, 17 * time.Second, true},
		"too many, at a date": {fail(429, "", "Retry-After", "Sat, 01 Jan 2000 00:00:30 GMT"), sdk.RateLimited, 30 * time.Second, true},
		"too many, no end":    {fail(429, "Throttled"), sdk.RateLimited, time.Minute, true},
		"no such path":        {fail(404, ""), sdk.BadUpstream, 0, true},
		"led elsewhere":       {fail(302, "", "Location", "http://elsewhere/"), sdk.BadUpstream, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				t := w.T
				w.venue.refuse = tc.answer
				err := <-w.stream("btc").done
				if err == nil || sdk.KindOf(err) != tc.kind || sdk.RetryAfter(err) < tc.after || sdk.RetryAfter(err) > tc.after*5/4 {
					t.Fatalf("got %v (%s), RetryAfter %s; want %s", err, sdk.KindOf(err), sdk.RetryAfter(err), tc.after)
				}
				_, err = quotes(t, w.source, "usd", "btc")
				if tc.calls != (err == nil) || (err != nil && sdk.KindOf(err) != tc.kind) {
					t.Errorf("a call: %v", err)
				}
				if tc.after == 0 {
					return
				}
				if h := w.source.Health(t.Context()); h.Status != sdk.StatusDegraded || h.Reason == "" {
					t.Errorf("health is %+v", h)
				}
				time.Sleep(tc.after - time.Second)
				left := sdk.RetryAfter(<-w.stream("btc").done)
				if w.venue.tries() != 1 || left <= 0 {
					t.Errorf("%d handshakes before the time, %s left", w.venue.tries(), left)
				}
				time.Sleep(left)
				w.venue.set(func(v *venue) { v.refuse = nil })
				st := w.stream("btc")
				time.Sleep(2 * time.Second)
				if _, err := quotes(t, w.source, "usd", "btc"); err != nil || len(st.of("btc")) == 0 {
					t.Errorf("afterwards: %v, %d quotes", err, len(st.of("btc")))
				}
				if h := w.source.Health(t.Context()); h.Status != sdk.StatusOK {
					t.Errorf("health afterwards is %+v", h)
				}
			})
		})
	}
}

func TestABanOfCallsHoldsForStreams(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		if _, err := quotes(t, w.source, "usd", "btc"); err != nil {
			t.Fatal(err)
		}
		w.exchange.answer(pathTickers, fail(418, "", "Retry-After", "600"))
		if _, err := quotes(t, w.source, "usd", "btc"); !errors.Is(err, sdk.RateLimited) {
			t.Fatal(err)
		}
		if err := <-w.stream("btc").done; !errors.Is(err, sdk.RateLimited) || sdk.RetryAfter(err) != 10*time.Minute || w.venue.tries() != 0 {
			t.Errorf("got %v, RetryAfter %s, after %d handshakes", err, sdk.RetryAfter(err), w.venue.tries())
		}
	})
}

func TestShutdownEndsStreams(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		one, two := w.stream("btc"), w.stream("eth")
		time.Sleep(2 * time.Second)
		goOn := two.pause()
		time.Sleep(2 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.source.Shutdown(ctx); !errors.Is(err, sdk.DeadlineExceeded) {
			t.Errorf("with a receiver that does not return: %v", err)
		}
		if err := <-one.done; !errors.Is(err, sdk.Unavailable) {
			t.Errorf("the stream ended with %v", err)
		}
		goOn()
		for range 2 {
			if err := w.source.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if err := <-two.done; !errors.Is(err, sdk.Unavailable) {
			t.Errorf("the other ended with %v", err)
		}
		if err := <-w.stream("btc").done; !errors.Is(err, sdk.Unavailable) {
			t.Errorf("a stream after Shutdown: %v", err)
		}
	})
}
