package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
)

// start is the minute in which a bubble's time begins.
var start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// tickerPause is how long there may be no quote: a second from one ticker to the next, and its turn after a candle.
const tickerPause = 1100 * time.Millisecond

func TestStreamOfCandles(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		st := w.streamCandles("btc", "nope", "sol")
		time.Sleep(3*time.Minute + 500*time.Millisecond)
		for _, symbol := range []string{"btc", "sol"} {
			got := st.candles(symbol)
			if len(got) != 3 || len(st.of(symbol)) != 180 {
				t.Fatalf("%d candles and %d quotes of %s in three minutes", len(got), len(st.of(symbol)), symbol)
			}
			for i, c := range got {
				want := sdk.Candle{
					OpenTime: start.Add(time.Duration(i) * time.Minute), Open: sdk.Known(99), High: sdk.Known(120), Low: sdk.Known(75.5),
					Close: sdk.Known(100), Volume: sdk.Known(24.63625), Closed: true,
				}
				if c != want {
					t.Errorf("got  %+v\nwant %+v", c, want)
				}
			}
		}
		if asOf := st.runs["btc"][2].AsOf; !asOf.Equal(start.Add(3*time.Minute)) || asOf.Location() != time.UTC {
			t.Errorf("the third minute is as of %s", asOf)
		}
		sockets := w.venue.all()
		want := []string{"btcusdt@kline_1m", "btcusdt@miniTicker", "solusdt@kline_1m", "solusdt@miniTicker"}
		if len(sockets) != 1 || !slices.Equal(sockets[0].streams(), want) {
			t.Errorf("%d connections, streams %v", len(sockets), sockets[0].streams())
		}
		if n := w.count("stream_candles_total"); n != 6 {
			t.Errorf("%v candles", n)
		}
		// Those that are open come every two seconds and are no mistake.
		for _, reason := range dropNames {
			if n := w.count("stream_dropped_total", "reason", reason); n != 0 {
				t.Errorf("%v %s", n, reason)
			}
		}
		if n := w.count("stream_frames_total"); n != 2*(180+90+3) {
			t.Errorf("%v frames", n)
		}
		if part, _ := w.source.Health(t.Context()).Part("stream"); part.Status != sdk.StatusOK || part.Details["symbols"] != 2 {
			t.Errorf("health is %+v", part)
		}
	})
}

func TestTwoAssetsOfOneSymbolBothGetItsCandles(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		var ids []string
		err := w.source.Stream(t.Context(), sdk.StreamRequest{VsCurrency: "usd", Candles: true, Assets: []sdk.Asset{
			{ID: "one", Symbol: "btc"}, {ID: "two", Symbol: "btc"},
		}}, func(batch sdk.QuoteBatch) error {
			for _, run := range batch.Candles {
				ids = append(ids, run.ID)
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

func TestWhichCandlesAreDropped(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		w.venue.set(func(v *venue) { v.tick = 0 })
		st, quotesOnly := w.streamCandles("btc", "eth"), w.stream("sol")
		synctest.Wait()
		opens := start.Add(time.Hour)
		minute := func(symbol string, n int, closed bool, price float64) string {
			at := opens.Add(time.Duration(n) * time.Minute)
			return candleFrame(symbol, at.Add(time.Minute), at, closed, price)
		}
		for _, s := range w.venue.all() {
			if len(s.streams()) == 1 {
				s.send(minute("SOLUSDT", 0, true, 1)) // Unknown: only its quotes are asked for.
				continue
			}
			for _, text := range []string{
				minute("BTCUSDT", 0, false, 1),                               // open
				minute("BTCUSDT", 0, true, 1), minute("BTCUSDT", 0, true, 2), // the second is a duplicate
				minute("BTCUSDT", -1, true, 3),                                            // late
				minute("BTCUSDT", -1, false, 3),                                           // open, whenever it was
				minute("ETHUSDT", 0, true, 0),                                             // dead
				minute("SOLUSDT", 0, true, 1),                                             // unknown
				strings.Replace(minute("BTCUSDT", 1, true, 4), `"i":"1m"`, `"i":"5m"`, 1), // unknown
				strings.Replace(minute("BTCUSDT", 1, true, 4), `"x":true`, `"x":1`, 1),    // malformed
				minute("BTCUSDT", 2, true, 5),
			} {
				s.send(text)
			}
		}
		time.Sleep(time.Second)
		for reason, want := range map[string]float64{
			"duplicate": 1, "late": 1, "dead": 1, "unknown": 3, "malformed": 1, "superseded": 0,
		} {
			if got := w.count("stream_dropped_total", "reason", reason); got != want {
				t.Errorf("%v %s, want %v", got, reason, want)
			}
		}
		got := st.candles("btc")
		if len(got) != 2 || got[0].Close != sdk.Known(1) || got[1].Close != sdk.Known(5) || len(st.candles("eth"))+len(quotesOnly.runs) != 0 {
			t.Errorf("got %+v, %+v", st.runs, quotesOnly.runs)
		}
	})
}

func TestEachMinuteComesOnceWhileConnectionsTakeOver(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		st := w.streamCandles("btc", "sol")
		// A little before each minute ends the server says that it will go, so that two connections bring its end.
		const minutes = 20
		for n := range minutes {
			time.Sleep(time.Until(start.Add(time.Duration(n)*time.Minute + 59*time.Second + 500*time.Millisecond)))
			for _, s := range w.venue.open() {
				s.send(frameOfShutdown)
			}
		}
		time.Sleep(10 * time.Second)
		for _, symbol := range []string{"btc", "sol"} {
			if n := len(st.candles(symbol)); n != minutes || st.holes(symbol) != 0 {
				t.Errorf("%d candles of %s in %d minutes, %d are missing", n, symbol, minutes, st.holes(symbol))
			}
		}
		if n := w.count("stream_candles_total"); n != 2*minutes {
			t.Errorf("%v candles", n)
		}
		w.checkOverlaps()
		if n := len(w.venue.all()); n != minutes+1 || len(w.venue.open()) != 1 {
			t.Errorf("%d connections, %d open", n, len(w.venue.open()))
		}
	})
}

func TestARotationWaitsForEveryKindOfStream(t *testing.T) {
	for _, kind := range []string{tickerStream, candleStream} {
		t.Run(kind, func(t *testing.T) {
			inWorld(t, func(w *world) {
				t := w.T
				st := w.streamCandles("btc")
				time.Sleep(2 * time.Minute)
				w.venue.set(func(v *venue) { v.hushed = kind })
				since, old := time.Now(), w.venue.open()[0]
				old.send(frameOfShutdown)
				time.Sleep(9 * time.Second)
				if n := len(w.venue.open()); n != 2 {
					t.Errorf("%d connections while the new one brings half of what the old one does", n)
				}
				time.Sleep(time.Minute)
				if open := w.venue.open(); !slices.Contains(open, old) {
					t.Error("the old connection was given up for one that brings half of it")
				}
				w.venue.set(func(v *venue) { v.hushed = "" })
				time.Sleep(time.Minute)
				if open := w.venue.open(); len(open) != 1 || open[0] == old {
					t.Errorf("%d connections once a new one brings everything", len(open))
				}
				if gap := st.gap("btc", since); gap > tickerPause || st.holes("btc") != 0 || len(st.candles("btc")) != 4 {
					t.Errorf("no quote for %s; candles: %+v", gap, st.candles("btc"))
				}
			})
		})
	}
}

func TestHalfAConnectionIsReplaced(t *testing.T) {
	t.Run("candles without tickers", func(t *testing.T) {
		inWorld(t, func(w *world) {
			t := w.T
			st := w.streamCandles("btc")
			time.Sleep(2 * time.Minute)
			since, half := time.Now(), w.venue.open()[0]
			half.hush(tickerStream)
			time.Sleep(30 * time.Second)
			if gap := st.gap("btc", since); gap > 12*time.Second {
				t.Errorf("no quote for %s", gap)
			}
			if open := w.venue.open(); len(open) != 1 || open[0] == half || w.count("stream_reconnects_total") != 1 {
				t.Errorf("%d connections, %v reconnects", len(open), w.count("stream_reconnects_total"))
			}
		})
	})
	t.Run("tickers without candles", func(t *testing.T) {
		inWorld(t, func(w *world) {
			t := w.T
			st := w.streamCandles("btc")
			time.Sleep(2*time.Minute + 10*time.Second)
			since, half := time.Now(), w.venue.open()[0]
			half.hush(candleStream)
			time.Sleep(5 * time.Minute)
			if gap := st.gap("btc", since); gap > tickerPause || len(st.candles("btc")) != 7 || st.holes("btc") != 0 {
				t.Errorf("no quote for %s; candles: %+v", gap, st.candles("btc"))
			}
			if open := w.venue.open(); len(open) != 1 || open[0] == half || w.count("stream_reconnects_total") != 1 {
				t.Errorf("%d connections, %v reconnects", len(open), w.count("stream_reconnects_total"))
			}
		})
	})
	t.Run("tickers, where no candles are owed", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.stream("btc")
			time.Sleep(10 * time.Minute)
			if n := len(w.venue.all()); n != 1 {
				w.Errorf("%d connections: a stream of quotes owes no candles", n)
			}
		})
	})
}

func TestCandlesThatNeverComeCostFewConnections(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		w.venue.hushed = candleStream
		st := w.streamCandles("btc")
		time.Sleep(time.Minute)
		since := time.Now()
		time.Sleep(2 * time.Hour)
		// One each two minutes in the long run.
		if n := len(w.venue.all()); n > 70 {
			t.Errorf("%d connections in two hours", n)
		}
		if gap := st.gap("btc", since); gap > tickerPause {
			t.Errorf("no quote for %s", gap)
		}
		if h := w.source.Health(t.Context()); h.Status != sdk.StatusOK {
			t.Errorf("health is %+v", h)
		}
	})
}

func TestASlowReceiverGetsEveryMinuteOfTwoHours(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		st := w.streamCandles("btc")
		time.Sleep(90 * time.Second)
		goOn := st.pause()
		time.Sleep(5 * time.Minute)
		goOn()
		synctest.Wait()
		if runs := st.runs["btc"]; len(runs) != 2 || len(runs[1].Items) != 5 || st.holes("btc") != 0 {
			t.Errorf("got %+v", runs)
		}
		if n := len(st.of("btc")); n > 93 {
			t.Errorf("%d quotes", n)
		}
		quotes := w.count("stream_dropped_total", "reason", "superseded")
		goOn = st.pause()
		time.Sleep(3 * time.Hour)
		goOn()
		synctest.Wait()
		last := st.runs["btc"][2]
		if n := len(last.Items); n != 120 || last.Items[n-1].OpenTime.Before(time.Now().Add(-2*time.Minute)) || st.holes("btc") != 60 {
			t.Errorf("%d candles after the pause, %d are missing", n, st.holes("btc"))
		}
		// One quote a second but the last, and the minutes of an hour.
		if n := w.count("stream_dropped_total", "reason", "superseded") - quotes; n < 3*3600+60-10 || n > 3*3600+60 {
			t.Errorf("%v superseded", n)
		}
	})
}

func TestThePairsOfAConnectionAreFewerWithCandles(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		w.source.manners.perConnection, w.source.manners.perURL, w.source.manners.perRequest = 13, 2, 3
		symbols := w.list(30)
		st := w.streamCandles(symbols...)
		time.Sleep(2*time.Minute + 20*time.Second)
		sockets := w.venue.all()
		for _, s := range sockets {
			names := s.streams()
			if len(names) != 12 {
				t.Errorf("%d streams on one connection", len(names))
			}
			for i := 0; i+1 < len(names); i += 2 {
				if symbol, _, _ := strings.Cut(names[i], "@"); names[i] != symbol+candleStream || names[i+1] != symbol+tickerStream {
					t.Errorf("streams %v and %v next to each other", names[i], names[i+1])
				}
			}
		}
		if len(sockets) != 5 {
			t.Errorf("%d connections", len(sockets))
		}
		for _, symbol := range symbols {
			if len(st.of(symbol)) < 120 || len(st.candles(symbol)) != 2 {
				t.Errorf("%d quotes and %d candles of %s", len(st.of(symbol)), len(st.candles(symbol)), symbol)
			}
		}
	})
}
