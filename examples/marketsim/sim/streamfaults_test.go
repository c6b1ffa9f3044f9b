package sim_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/service-islands/islands/examples/marketsim/sim"
)

const bitcoin = "/stream?streams=btcusdt@miniTicker"

func TestRefusedUpgrades(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		fault  sim.Fault
		status int
		retry  string
	}{
		{"429", sim.Fault{Service: "binance", Kind: sim.KindStreamRefuse, Status: 429, RetryAfter: "7", Count: 1}, 429, "7"},
		{"403", sim.Fault{Service: "*", Kind: sim.KindStreamRefuse, Status: 403, Count: 1}, 403, ""},
		{"451", sim.Fault{Service: "binance", Kind: sim.KindStreamRefuse, Status: 451, Route: "/stream", Count: 1}, 451, ""},
		{"a ban", sim.Fault{Service: "binance", Kind: sim.KindBan, RetryAfter: "30", Count: 1}, 418, "30"},
		{"any error", sim.Fault{Service: "binance", Kind: sim.KindStatus, Status: 503, Count: 1}, 503, ""},
		{"garbage", sim.Fault{Service: "binance", Kind: sim.KindGarbage, Count: 1}, 200, ""},
	} {
		float(t, sim.StreamOptions{}, func(p *pond) {
			p.inject(c.fault)
			conn, status, retry, err := p.attempt(bitcoin, websocket.DialOptions{})
			if err == nil {
				_ = conn.CloseNow()
				p.Fatalf("%s: connected", c.name)
			}
			if status != c.status || retry != c.retry {
				p.Errorf("%s: %d, Retry-After %q", c.name, status, retry)
			}
			p.connect(bitcoin).next()
			if n := p.sim.Requests()["binance WS /stream"]; n != 2 {
				p.Errorf("%s: counted %d", c.name, n)
			}
		})
	}
}

func TestRefusalsAreForUpgradesOnly(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	b.inject(`{"service":"*","kind":"stream_refuse","status":429}`)
	for _, path := range []string{klines, markets, mood} {
		if a := b.get(path); a.status != http.StatusOK {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	b.clear()
	b.inject(`[{"service":"binance","kind":"truncate"},{"service":"binance","kind":"limit","limit":1},` +
		`{"service":"binance","kind":"status","status":500,"route":"/api"}]`)
	conn := b.stream("/binance" + bitcoin)
	if _, _, err := conn.Read(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSilentStreams(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{}, func(p *pond) {
		l := p.connect("/stream?streams=btcusdt@miniTicker/ethusdt@miniTicker")
		l.next()
		l.next()
		p.inject(sim.Fault{Service: "binance", Kind: sim.KindStreamSilence, Stream: "btcusdt@"})
		for range 3 {
			if name, _ := p.event(l.next()); name != "ethusdt@miniTicker" {
				p.Errorf("got %s", name)
			}
		}
		if reply := l.ask(`{"method":"UNSUBSCRIBE","params":["ethusdt@miniTicker"],"id":1}`); reply != `{"result":null,"id":1}` {
			p.Errorf("got %s", reply)
		}
		p.inject(sim.Fault{Service: "binance", Kind: sim.KindStreamSilence})
		l.send(`{"method":"LIST_SUBSCRIPTIONS","id":1}`)
		timer := time.AfterFunc(5*time.Minute, p.sim.Clear)
		defer timer.Stop()
		before := p.age()
		if name, _ := p.event(l.next()); name != "btcusdt@miniTicker" || p.age()-before < 5*time.Minute {
			p.Errorf("got %s after %v", name, p.age()-before)
		}
		if len(l.pings) != 15 {
			p.Errorf("%d pings in five silent minutes", len(l.pings))
		}
	})
}

func TestSilenceSticksToItsConnections(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{}, func(p *pond) {
		p.inject(sim.Fault{Service: "binance", Kind: sim.KindStreamSilence, Count: 1})
		first := p.connect(bitcoin)
		second := p.connect(bitcoin)
		second.next()
		if frames := first.until(10 * time.Second); len(frames) > 0 {
			p.Errorf("got %q", frames)
		}
		synctest.Wait()
		if faults := p.sim.Faults(); len(faults) > 0 {
			p.Errorf("left over: %+v", faults)
		}
	})
}

func TestNoPing(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{}, func(p *pond) {
		p.inject(sim.Fault{Service: "binance", Kind: sim.KindStreamNoPing})
		l := p.connect("/stream")
		var reader sync.WaitGroup
		reader.Go(func() { l.until(10 * time.Minute) })
		ctx, cancel := context.WithTimeout(p.Context(), time.Minute)
		defer cancel()
		if err := l.Ping(ctx); err == nil {
			p.Error("a ping was answered")
		}
		reader.Wait()
		if len(l.pings) > 0 {
			p.Errorf("got pings %q", l.pings)
		}
		p.reasons(map[string]int64{"client": 1, "pong": 0})
	})
}

func TestCutStreams(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault sim.Fault
		code  websocket.StatusCode
		after time.Duration
	}{
		{"reset", sim.Fault{Service: "binance", Kind: sim.KindStreamCut}, -1, 0},
		{"code", sim.Fault{Service: "*", Kind: sim.KindStreamCut, Code: 1008}, 1008, 0},
		{"later", sim.Fault{Service: "binance", Kind: sim.KindStreamCut, Code: 4000, AfterMS: 2500}, 4000, 2500 * time.Millisecond},
	} {
		float(t, sim.StreamOptions{}, func(p *pond) {
			one, other := p.connect(bitcoin), p.connect("/ws/btcusdt@miniTicker")
			c.fault.Route = "/stream"
			p.inject(c.fault)
			if code, frames := one.ended(); code != c.code || p.age() != c.after || len(frames) != int(c.after/time.Second) {
				p.Errorf("%s: %d after %v", c.name, code, p.age())
			}
			other.next()
			// Who comes back is cut again until the fault is cleared.
			before := p.age()
			if code, _ := p.connect(bitcoin).ended(); code != c.code || p.age()-before != c.after {
				p.Errorf("%s again: %d after %v", c.name, code, p.age()-before)
			}
			if faults := p.sim.Faults(); len(faults) != 1 || faults[0].Hits != 2 {
				p.Errorf("%s: %+v", c.name, faults)
			}
			p.sim.Clear()
			p.connect(bitcoin).next()
			p.reasons(map[string]int64{"cut": 2})
		})
	}
}

func TestCutOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	first := b.stream("/binance" + bitcoin)
	b.inject(`{"service":"binance","kind":"stream_cut","count":1}`)
	for {
		_, _, err := first.Read(t.Context())
		if err == nil {
			continue
		}
		if websocket.CloseStatus(err) != -1 {
			t.Errorf("got %v", err)
		}
		break
	}
	second := b.stream("/binance" + bitcoin)
	if _, _, err := second.Read(t.Context()); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{}, func(p *pond) {
		l := p.connect(bitcoin)
		l.next()
		p.inject(sim.Fault{Service: "binance", Kind: sim.KindStreamShutdown, AfterMS: 3500, Count: 1})
		if frame := l.next(); frame != `{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1773489601000}}` {
			p.Errorf("got %s", frame)
		}
		fresh := p.connect(bitcoin)
		var reader sync.WaitGroup
		reader.Go(func() {
			if frames := fresh.until(10 * time.Second); len(frames) < 9 || strings.Contains(strings.Join(frames, ""), "Shutdown") {
				p.Errorf("the new connection got %q", frames)
			}
		})
		if code, frames := l.ended(); code != websocket.StatusGoingAway || len(frames) != 3 || p.age() != 4500*time.Millisecond {
			p.Errorf("after %v: %d %q", p.age(), code, frames)
		}
		reader.Wait()
		p.reasons(map[string]int64{"shutdown": 1, "client": 1})
	})
}

func TestScaledLife(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{}, func(p *pond) {
		p.inject(sim.Fault{Service: "binance", Kind: sim.KindStreamLife, AfterMS: 10_000})
		code, frames := p.connect(bitcoin).ended()
		at := slices.IndexFunc(frames, func(f string) bool { return strings.Contains(f, "serverShutdown") })
		if code != websocket.StatusGoingAway || p.age() != 10*time.Second || at != 7 {
			p.Errorf("after %v: %d %q", p.age(), code, frames)
		}
	})
}

func TestFasterTicks(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{}, func(p *pond) {
		l := p.connect("/stream?streams=btcusdt@miniTicker/btcusdt@kline_1m")
		p.inject(sim.Fault{Service: "binance", Kind: sim.KindStreamInterval, StreamIntervalMS: 100})
		counts := map[string]int{}
		last := time.Duration(0)
		for range 300 {
			name, e := p.event(l.next())
			counts[name]++
			if e.sinceNoon() < last {
				p.Errorf("%s at %v, after one at %v", name, e.sinceNoon(), last)
			}
			last = e.sinceNoon()
		}
		if counts["btcusdt@miniTicker"] != 200 || counts["btcusdt@kline_1m"] != 100 || p.age() != 20*time.Second {
			p.Errorf("%v in %v", counts, p.age())
		}
	})
}

func TestDuplicateFrames(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{}, func(p *pond) {
		p.inject(sim.Fault{Service: "binance", Kind: sim.KindStreamDuplicate, Stream: "btcusdt@mini", Count: 2})
		l := p.connect("/stream?streams=btcusdt@miniTicker/ethusdt@miniTicker")
		var times []time.Duration
		var names []string
		var frames []string
		for range 8 {
			frames = append(frames, l.next())
			name, e := p.event(frames[len(frames)-1])
			names = append(names, name[:3])
			times = append(times, e.sinceNoon())
		}
		if got := strings.Join(names, " "); got != "btc btc eth btc btc eth btc eth" || frames[0] != frames[1] {
			p.Errorf("got %s at %v", got, times)
		}
		if len(p.sim.Faults()) > 0 {
			p.Errorf("left over: %+v", p.sim.Faults())
		}
	})
}

func TestLateFrames(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{}, func(p *pond) {
		p.inject(sim.Fault{Service: "binance", Kind: sim.KindStreamLate, LateMS: 3000})
		l := p.connect(bitcoin)
		pair, _ := p.sim.Market().Pair("BTCUSDT")
		for i := range 6 {
			_, e := p.event(l.next())
			want := time.Duration(1+i/2) * time.Second
			if i%2 == 1 {
				want -= 3 * time.Second
			}
			if e.sinceNoon() != want {
				p.Errorf("frame %d is of %v, want %v", i, e.sinceNoon(), want)
			}
			if price := pair.Price(time.UnixMilli(e.At)); !strings.HasPrefix(e.Close, fixed(price)) {
				p.Errorf("frame %d says %s, the price was %s", i, e.Close, fixed(price))
			}
		}
	})
}

func TestStreamFaultsThatAreRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	for _, c := range []struct{ fault, message string }{
		{`{"service":"coingecko","kind":"stream_cut"}`, `kind \"stream_cut\" is for binance and kraken only`},
		{`{"service":"binance","kind":"stream_fire"}`, `kind \"stream_fire\" is unknown`},
		{`{"service":"binance","kind":"stream_refuse"}`, "status is 0: want 400 to 599"},
		{`{"service":"binance","kind":"stream_cut","code":1006}`, "code is 1006: want one"},
		{`{"service":"binance","kind":"stream_cut","code":5000}`, "code is 5000: want one"},
		{`{"service":"binance","kind":"stream_cut","after_ms":-1}`, "after_ms is -1: want 0 to 86400000"},
		{`{"service":"binance","kind":"stream_cut","stream":"btcusdt@"}`, `stream means nothing for kind \"stream_cut\"`},
		{`{"service":"binance","kind":"stream_shutdown","code":1001}`, `code means nothing for kind \"stream_shutdown\"`},
		{`{"service":"binance","kind":"stream_life"}`, "after_ms is 0: want 1 to 86400000"},
		{`{"service":"binance","kind":"stream_interval","stream_interval_ms":9}`, "stream_interval_ms is 9: want 10 to 600000"},
		{`{"service":"binance","kind":"stream_late","late_ms":86400001}`, "late_ms is 86400001"},
		{`{"service":"binance","kind":"stream_silence","late_ms":5}`, `late_ms means nothing for kind \"stream_silence\"`},
		{`{"service":"binance","kind":"stream_silence","stream":"` + strings.Repeat("x", 300) + `"}`, "want the beginning of a name"},
		{`{"service":"binance","kind":"reset","after_ms":5}`, `after_ms means nothing for kind \"reset\"`},
		{`{"service":"binance","kind":"stream_no_ping","stream_interval_ms":100}`, "stream_interval_ms means nothing"},
	} {
		a, err := b.try(http.MethodPost, "/_sim/faults", c.fault)
		if err != nil || a.status != http.StatusBadRequest || !strings.Contains(a.body, c.message) {
			t.Errorf("%.80s: %d %s %v, want %s", c.fault, a.status, a.body, err, c.message)
		}
	}
	b.inject(`{"service":"binance","route":"/stream","kind":"stream_cut","count":2,"code":1001,"after_ms":5}`)
	want := `[{"service":"binance","route":"/stream","kind":"stream_cut","count":2,"code":1001,"after_ms":5,"hits":0}]` + "\n"
	if a := b.get("/_sim/faults"); a.body != want {
		t.Errorf("got  %swant %s", a.body, want)
	}
}
