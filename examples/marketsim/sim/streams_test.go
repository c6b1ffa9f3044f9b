package sim_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/examples/marketsim/sim"
)

func TestCombinedStreams(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{}, func(p *pond) {
		l := p.connect("/stream?streams=btcusdt@miniTicker/ethusdt@kline_1m/solusdt@kline_1s")
		var got []string
		for _, frame := range l.until(4500 * time.Millisecond) {
			name, e := p.event(frame)
			got = append(got, name+" "+e.Kind+" "+e.sinceNoon().String())
		}
		want := []string{
			"btcusdt@miniTicker 24hrMiniTicker 1s", "solusdt@kline_1s kline 1s",
			"btcusdt@miniTicker 24hrMiniTicker 2s", "solusdt@kline_1s kline 2s", "ethusdt@kline_1m kline 2s",
			"btcusdt@miniTicker 24hrMiniTicker 3s", "solusdt@kline_1s kline 3s",
			"btcusdt@miniTicker 24hrMiniTicker 4s", "solusdt@kline_1s kline 4s", "ethusdt@kline_1m kline 4s",
		}
		if !slices.Equal(got, want) {
			p.Errorf("got  %q\nwant %q", got, want)
		}
		if n := p.sim.Requests()["binance WS /stream"]; n != 1 {
			p.Errorf("counted %d connects", n)
		}
	})
}

func TestRawStreams(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{}, func(p *pond) {
		frame := p.connect("/ws/btcusdt@miniTicker").next()
		if !strings.HasPrefix(frame, `{"e":"24hrMiniTicker","E":1773489601000,"s":"BTCUSDT","c":"`) {
			p.Errorf("got %s", frame)
		}
		frame = p.connect("/ws/btcusdt@kline_1h").next()
		if !strings.HasPrefix(frame, `{"e":"kline","E":1773489602000,"s":"BTCUSDT","k":{"t":1773489600000,"T":1773493199999,"s":"BTCUSDT","i":"1h","f":`) ||
			!strings.Contains(frame, `,"x":false,"q":"`) || !strings.HasSuffix(frame, `,"B":"0"}}`) {
			p.Errorf("got %s", frame)
		}
		// Two connections get the same bytes, whenever they came.
		l := p.connect("/ws/btcusdt@miniTicker")
		time.Sleep(300 * time.Millisecond)
		other := p.connect("/ws/btcusdt@miniTicker")
		if a, b := l.next(), other.next(); a != b {
			p.Errorf("%s\n%s", a, b)
		}
		if n := p.sim.Requests()["binance WS /ws"]; n != 4 {
			p.Errorf("counted %d connects", n)
		}
	})
}

func TestCandlesClose(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{}, func(p *pond) {
		l := p.connect("/stream?streams=btcusdt@kline_1m")
		closed := 0
		for _, frame := range l.until(3*time.Minute + time.Second) {
			_, e := p.event(frame)
			if at := e.sinceNoon(); e.Candle.Closed != (at%time.Minute == 0) || e.Candle.Close-e.Candle.Open != 59_999 {
				p.Errorf("at %v: %s", at, frame)
			}
			if !e.Candle.Closed {
				continue
			}
			closed++
			if want := noon.Add(time.Duration(closed-1) * time.Minute).UnixMilli(); e.Candle.Open != want {
				p.Errorf("candle %d begins at %d, want %d", closed, e.Candle.Open, want)
			}
		}
		if closed != 3 {
			p.Errorf("%d candles closed", closed)
		}
	})
}

// A clock that leaps or stands still belongs to tests that hold it in their hands.
func TestLeapsOfTheClock(t *testing.T) {
	t.Parallel()
	o := unlimited()
	o.Streams.Interval = 20 * time.Millisecond
	b := newBench(t, o)
	conn := b.stream("/binance/ws/btcusdt@kline_1m")
	read := func() (e event) {
		t.Helper()
		_, text, err := conn.Read(t.Context())
		if err != nil || json.Unmarshal(text, &e) != nil {
			t.Fatalf("%v in %s", err, text)
		}
		return e
	}
	// It stands still: the same frame over and over.
	if a, b := read(), read(); a != b {
		t.Errorf("got %+v and %+v", a, b)
	}
	b.clock.advance(3 * time.Minute)
	var closed []int64
	var e event
	for e = read(); e.At < start.Add(3*time.Minute).Truncate(time.Second).UnixMilli() || e.Candle.Closed; e = read() {
		if e.Candle.Closed {
			closed = append(closed, e.Candle.Open)
		}
	}
	minute := start.Truncate(time.Minute).UnixMilli()
	if want := []int64{minute, minute + 60_000, minute + 120_000}; !slices.Equal(closed, want) || e.Candle.Open != minute+180_000 {
		t.Errorf("got %v and then %d, want %v", closed, e.Candle.Open, want)
	}
}

func TestStreamsAgreeWithREST(t *testing.T) {
	t.Parallel()
	o := unlimited()
	o.Streams.Interval = 250 * time.Millisecond
	b := newBench(t, o)
	b.clock.advance(-start.Sub(start.Truncate(time.Second)))
	conn := b.stream("/binance/stream?streams=ethusdt@miniTicker/ethusdt@kline_5m/!miniTicker@arr")
	frames := map[string]json.RawMessage{}
	for len(frames) < 3 {
		_, text, err := conn.Read(t.Context())
		var m message
		if err != nil || json.Unmarshal(text, &m) != nil {
			t.Fatalf("%v in %s", err, text)
		}
		frames[m.Stream] = m.Data
	}
	decode := func(raw json.RawMessage, into any) {
		t.Helper()
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatalf("%v in %s", err, raw)
		}
	}
	var mini map[string]any
	decode(frames["ethusdt@miniTicker"], &mini)
	var day map[string]any
	b.read(spot+"/ticker/24hr?symbol=ETHUSDT", &day)
	for short, long := range map[string]string{
		"E": "closeTime", "c": "lastPrice", "o": "openPrice", "h": "highPrice", "l": "lowPrice", "v": "volume", "q": "quoteVolume",
	} {
		if mini[short] != day[long] {
			t.Errorf("%s is %v, %s is %v", short, mini[short], long, day[long])
		}
	}
	var kline struct {
		K map[string]any `json:"k"`
	}
	decode(frames["ethusdt@kline_5m"], &kline)
	var rows [][]any
	b.read(spot+"/klines?symbol=ETHUSDT&interval=5m&limit=1", &rows)
	for i, name := range []string{"t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q"} {
		if kline.K[name] != rows[0][i] {
			t.Errorf("%s is %v, the row has %v", name, kline.K[name], rows[0][i])
		}
	}
	var all []map[string]any
	decode(frames["!miniTicker@arr"], &all)
	for _, one := range all {
		if one["s"] == "ETHUSDT" && one["c"] == mini["c"] && one["q"] == mini["q"] {
			return
		}
	}
	t.Errorf("ETHUSDT is not among %d tickers, or has other figures", len(all))
}

func TestArrayHoldsOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{}, func(p *pond) {
		l := p.connect("/ws/!miniTicker@arr")
		pairs := p.sim.Market().Pairs()
		for range 3 {
			var list []event
			if frame := l.next(); json.Unmarshal([]byte(frame), &list) != nil {
				p.Fatalf("got %s", frame)
			}
			if len(list) < 20 || len(list) >= len(pairs) {
				p.Errorf("%d of %d changed", len(list), len(pairs))
			}
			at := time.UnixMilli(list[0].At)
			for _, pair := range pairs {
				changed := pair.Traded(at) && pair.Trades(at) != pair.Trades(at.Add(-time.Second))
				told := slices.ContainsFunc(list, func(e event) bool { return e.Symbol == pair.Symbol })
				if changed != told {
					p.Errorf("%s: changed %v, told %v", pair.Symbol, changed, told)
				}
			}
		}
	})
}

func TestNamesThatNobodySendsOn(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{}, func(p *pond) {
		l := p.connect("/stream?streams=BTCUSDT@miniTicker/btcusdt@MiniTicker/btcusdt@kline_1D/nopeusdt@miniTicker/" +
			"xmrusdt@miniTicker/xmrusdt@kline_1m/btcusdt/!ticker@arr")
		if reply := l.ask(`{"method":"SUBSCRIBE","params":["ETHUSDT@miniTicker"],"id":1}`); reply != `{"result":null,"id":1}` {
			p.Errorf("got %s", reply)
		}
		if frames := l.until(10 * time.Second); len(frames) > 0 {
			p.Errorf("got %s", frames)
		}
	})
}
