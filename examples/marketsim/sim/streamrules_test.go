package sim_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/service-islands/islands/examples/marketsim/sim"
)

func TestRequestsOfClients(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{Messages: -1}, func(p *pond) {
		l := p.connect("/stream")
		for _, c := range []struct{ request, reply string }{
			{`{"method":"SUBSCRIBE","params":["ethusdt@miniTicker","btcusdt@miniTicker"],"id":1}`, `{"result":null,"id":1}`},
			{`{"method":"SUBSCRIBE","params":["btcusdt@miniTicker"],"id":"again"}`, `{"result":null,"id":"again"}`},
			{`{"method":"LIST_SUBSCRIPTIONS","id":3}`, `{"result":["btcusdt@miniTicker","ethusdt@miniTicker"],"id":3}`},
			{`{"method":"UNSUBSCRIBE","params":["ethusdt@miniTicker","never@miniTicker"],"id":null}`, `{"result":null,"id":null}`},
			{`{"method":"LIST_SUBSCRIPTIONS","params":[],"id":-4}`, `{"result":["btcusdt@miniTicker"],"id":-4}`},
			{`{"method":"GET_PROPERTY","params":["combined"],"id":5}`, `{"result":true,"id":5}`},
			{`{"method":"SET_PROPERTY","params":["combined",false],"id":6}`, `{"result":null,"id":6}`},
			{`{"method":"GET_PROPERTY","params":["combined"],"id":7}`, `{"result":false,"id":7}`},
			{`{"method":"GET_PROPERTY","params":["colour"],"id":8}`, `{"code":0,"msg":"Unknown property","id":8}`},
			{`{"method":"SET_PROPERTY","params":["combined","yes"],"id":9}`, `{"code":1,"msg":"Invalid value type: expected Boolean"}`},
			{`{"method":"SET_PROPERTY","id":9}`, `{"code":2,"msg":"Invalid request: property name must be a string"}`},
			{`{"method": "SUBSCRIBE_ALL", "id":9}`, "{\"code\":2,\"msg\":\"Invalid request: unknown variant `SUBSCRIBE_ALL`, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY` at line 1 column 26\"}"},
			{`{"params":["btcusdt@miniTicker"],"id":1}`, "{\"code\":2,\"msg\":\"Invalid request: missing field `method` at line 1 column 40\"}"},
			{`{"method":"LIST_SUBSCRIPTIONS","params":["x"],"id":3}`, `{"code":2,"msg":"Invalid request: too many parameters"}`},
			{`{"method":"LIST_SUBSCRIPTIONS"}`, `{"code":2,"msg":"Invalid request: request ID must be an unsigned integer"}`},
			{`{"method":"LIST_SUBSCRIPTIONS","id":1.5}`, `{"code":2,"msg":"Invalid request: request ID must be an unsigned integer"}`},
			{`{"method":"SUBSCRIBE","params":[7],"id":1}`, `{"code":2,"msg":"Invalid request: stream name must be a string"}`},
			{`{"method":"SUBSCRIBE","params":"btcusdt@miniTicker","id":1}`, `{"code":2,"msg":"Invalid request: params must be an array"}`},
			{`{"method":"SUBSCRIBE","id":1}`, `{"code":2,"msg":"Invalid request: no stream was named"}`},
			{`[1]`, `{"code":2,"msg":"Invalid request: expected an object"}`},
			{"{\n  nonsense", `{"code":3,"msg":"Invalid JSON: expected value at line 2 column 3"}`},
			{``, `{"code":3,"msg":"Invalid JSON: expected value at line 1 column 0"}`},
		} {
			if reply := l.ask(c.request); reply != c.reply {
				p.Errorf("%s\ngot  %s\nwant %s", c.request, reply, c.reply)
			}
		}
		if frame := l.next(); !strings.HasPrefix(frame, `{"e":"24hrMiniTicker","E":1773489601000,"s":"BTCUSDT"`) {
			p.Errorf("got %s", frame)
		}
		counts := p.sim.Requests()
		for name, want := range map[string]int64{
			"binance WS /stream": 1, "binance WS SUBSCRIBE": 5, "binance WS UNSUBSCRIBE": 1, "binance WS LIST_SUBSCRIPTIONS": 5,
			"binance WS SET_PROPERTY": 3, "binance WS GET_PROPERTY": 3, "binance WS (unknown)": 5,
		} {
			if counts[name] != want {
				p.Errorf("%s: %d, want %d", name, counts[name], want)
			}
		}
		status := p.sim.Streams()
		if status.Open != 1 || status.Opened != 1 || status.Connections[0].Path != "/stream" || status.Connections[0].Frames != 1 ||
			!slices.Equal(status.Connections[0].Streams, []string{"btcusdt@miniTicker"}) {
			p.Errorf("got %+v", status)
		}
	})
}

func TestPingAndPong(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{}, func(p *pond) {
		l := p.connect("/stream?streams=nothing")
		var reader sync.WaitGroup
		reader.Go(func() { l.until(150 * time.Second) })
		deaf, _, _, err := p.attempt("/stream", websocket.DialOptions{
			OnPingReceived: func(context.Context, []byte) bool { return false },
		})
		if err != nil {
			p.Fatal(err)
		}
		silent := &listener{pond: p, Conn: deaf}
		if code, _ := silent.ended(); code != websocket.StatusPolicyViolation || p.age() != 80*time.Second {
			p.Errorf("without pongs: closed with %d after %v", code, p.age())
		}
		reader.Wait()
		if len(l.pings) != 7 {
			p.Errorf("pings %q in 150 seconds", l.pings)
		}
		p.reasons(map[string]int64{"pong": 1, "client": 1})
	})
}

func TestPongOfALaterPing(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{}, func(p *pond) {
		pings := 0
		conn, _, _, err := p.attempt("/stream", websocket.DialOptions{OnPingReceived: func(context.Context, []byte) bool {
			pings++
			return pings%3 == 0
		}})
		if err != nil {
			p.Fatal(err)
		}
		l := &listener{pond: p, Conn: conn}
		l.until(10*time.Minute - time.Second)
		p.reasons(map[string]int64{"pong": 0, "client": 1})
		if pings != 29 {
			p.Errorf("%d pings", pings)
		}
	})
}

func TestPingsThatNobodyReads(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{}, func(p *pond) {
		p.connect("/stream")
		time.Sleep(26 * time.Second)
		p.reasons(map[string]int64{"slow": 1})
	})
}

func TestFiveMessagesPerSecond(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{}, func(p *pond) {
		l := p.connect("/stream")
		for second := range 3 {
			for range 5 {
				if reply := l.ask(`{"method":"LIST_SUBSCRIPTIONS","id":1}`); reply != `{"result":[],"id":1}` {
					p.Errorf("second %d: %s", second, reply)
				}
			}
			time.Sleep(time.Second)
		}
		for n := range 6 {
			time.Sleep(150 * time.Millisecond)
			l.send(`{"method":"LIST_SUBSCRIPTIONS","id":` + strconv.Itoa(n) + `}`)
			if n < 5 {
				l.next()
			}
		}
		if code, _ := l.ended(); code != websocket.StatusPolicyViolation {
			p.Errorf("closed with %d", code)
		}
		p.reasons(map[string]int64{"messages": 1})

		// Pings count as well.
		l = p.connect("/stream")
		code := make(chan websocket.StatusCode)
		go func() {
			status, _ := l.ended()
			code <- status
		}()
		for n := range 6 {
			if err := l.Ping(p.Context()); (err != nil) != (n == 5) {
				p.Errorf("ping %d: %v", n, err)
			}
		}
		if got := <-code; got != websocket.StatusPolicyViolation {
			p.Errorf("closed with %d", got)
		}
		p.reasons(map[string]int64{"messages": 2})
	})
}

func TestThousandAndTwentyFourStreams(t *testing.T) {
	t.Parallel()
	names := make([]string, 1025)
	for i := range names {
		names[i] = "coin" + strconv.Itoa(i) + "usdt@miniTicker"
	}
	float(t, sim.StreamOptions{}, func(p *pond) {
		l := p.connect("/stream?streams=" + strings.Join(names[:1024], "/"))
		if reply := l.ask(`{"method":"SUBSCRIBE","params":["` + names[3] + `"],"id":1}`); reply != `{"result":null,"id":1}` {
			p.Errorf("got %s", reply)
		}
		l.send(`{"method":"SUBSCRIBE","params":["` + names[1024] + `"],"id":2}`)
		if code, frames := l.ended(); code != websocket.StatusPolicyViolation || len(frames) > 0 {
			p.Errorf("closed with %d after %q", code, frames)
		}
		if code, _ := p.connect("/stream?streams=" + strings.Join(names, "/")).ended(); code != websocket.StatusPolicyViolation {
			p.Errorf("closed with %d", code)
		}
		p.reasons(map[string]int64{"streams": 2})
	})
}

func TestThreeHundredConnects(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{}, func(p *pond) {
		for n := range 303 {
			conn, status, _, err := p.attempt("/stream", websocket.DialOptions{})
			if (err == nil) != (n < 300) || n >= 300 && status != http.StatusTooManyRequests {
				p.Fatalf("connect %d: %d %v", n+1, status, err)
			}
			if err == nil {
				_ = conn.CloseNow()
			}
		}
		time.Sleep(5 * time.Minute)
		p.connect("/stream")
		if n := p.sim.Requests()["binance WS /stream"]; n != 304 {
			p.Errorf("counted %d", n)
		}
	})
}

func TestTwentyFourHours(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{Ping: time.Hour, Pong: 2 * time.Hour}, func(p *pond) {
		var readers sync.WaitGroup
		for path, want := range map[string]string{
			"/stream": `{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1773575400000}}`,
			"/ws":     `{"e":"serverShutdown","E":1773575400000}`,
		} {
			l := p.connect(path)
			readers.Go(func() {
				_, frame, err := l.Read(p.Context())
				if string(frame) != want || err != nil || p.age() != 24*time.Hour-10*time.Minute {
					p.Errorf("after %v: %s %v, want %s", p.age(), frame, err, want)
				}
				if code, frames := l.ended(); code != websocket.StatusGoingAway || len(frames) > 0 || p.age() != 24*time.Hour {
					p.Errorf("after %v: %d %q", p.age(), code, frames)
				}
			})
		}
		readers.Wait()
		p.reasons(map[string]int64{"age": 2})
	})
}

func TestSlowReaderIsCut(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{}, func(p *pond) {
		// What is written into a pipe waits for a reader.
		p.connect("/stream?streams=btcusdt@miniTicker")
		time.Sleep(6*time.Second - time.Millisecond)
		p.reasons(map[string]int64{"slow": 0})
		time.Sleep(time.Millisecond)
		p.reasons(map[string]int64{"slow": 1})
	})
}

func TestCloseEndsStreams(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{}, func(p *pond) {
		l := p.connect("/stream?streams=btcusdt@miniTicker")
		p.connect("/stream?streams=btcusdt@miniTicker") // Never reads.
		code := make(chan websocket.StatusCode)
		go func() {
			status, _ := l.ended()
			code <- status
		}()
		time.Sleep(1500 * time.Millisecond)
		before := p.age()
		p.sim.Close()
		if took := p.age() - before; took > 2*time.Second {
			p.Errorf("closing took %v", took)
		}
		if got := <-code; got != websocket.StatusGoingAway {
			p.Errorf("closed with %d", got)
		}
		p.reasons(map[string]int64{"closed": 2})
		if conn, _, _, err := p.attempt("/stream", websocket.DialOptions{}); err == nil {
			if _, _, err := conn.Read(p.Context()); err == nil || errors.Is(err, context.Canceled) {
				p.Errorf("a closed simulation streams: %v", err)
			}
		}
	})
}

func TestUpgradesThatAreNone(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	for path, want := range map[string]int{"/binance/stream": http.StatusUpgradeRequired, "/binance/ws/btcusdt@miniTicker": http.StatusUpgradeRequired, "/binance/streams": http.StatusNotFound, "/fng/stream": http.StatusNotFound} {
		if a := b.get(path); a.status != want {
			t.Errorf("%s: %d, want %d", path, a.status, want)
		}
	}
	var status sim.StreamStatus
	a := b.read("/_sim/streams", &status)
	if want := `{"open":0,"opened":0,"closed":{},"connections":[]}` + "\n"; a.body != want {
		t.Errorf("got %s", a.body)
	}
	if a, err := b.try(http.MethodPost, "/_sim/streams", ""); err != nil || a.status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d %v", a.status, err)
	}
}
