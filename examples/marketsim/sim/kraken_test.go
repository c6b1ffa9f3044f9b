package sim_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/service-islands/islands/examples/marketsim/sim"
)

// candle is one row of Kraken's candles.
type candle struct {
	at               int64
	o, h, l, c, vwap float64
	volume           float64
	trades           int64
}

// ohlc reads candles.
func (b *bench) ohlc(query string) (rows []candle, last int64) {
	b.t.Helper()
	var reply struct {
		Error  []string
		Result map[string]json.RawMessage
	}
	b.read(west+"/OHLC?"+query, &reply)
	if len(reply.Error) > 0 {
		b.t.Fatalf("%s: %q", query, reply.Error)
	}
	for key, text := range reply.Result {
		if key == "last" {
			if err := json.Unmarshal(text, &last); err != nil {
				b.t.Fatal(err)
			}
			continue
		}
		var list [][8]any
		if err := json.Unmarshal(text, &list); err != nil {
			b.t.Fatalf("%s: %v in %.200s", query, err, text)
		}
		for _, r := range list {
			text := func(i int) float64 { return number(b.t, r[i].(string)) }
			rows = append(rows, candle{int64(r[0].(float64)), text(1), text(2), text(3), text(4), text(5), text(6), int64(r[7].(float64))})
		}
	}
	return rows, last
}

func TestKrakenNamesPairsAsItDoes(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	var reply struct {
		Result map[string]struct{ Altname, Wsname, Base, Quote, Status string }
	}
	b.read(west+"/AssetPairs", &reply)
	for key, want := range map[string][4]string{
		"XXBTZUSD": {"XBTUSD", "XBT/USD", "XXBT", "ZUSD"},
		"XXBTZEUR": {"XBTEUR", "XBT/EUR", "XXBT", "ZEUR"},
		"XBTUSDT":  {"XBTUSDT", "XBT/USDT", "XXBT", "USDT"},
		"XETHZUSD": {"ETHUSD", "ETH/USD", "XETH", "ZUSD"},
		"XDGUSD":   {"XDGUSD", "XDG/USD", "XXDG", "ZUSD"},
		"SOLUSD":   {"SOLUSD", "SOL/USD", "SOL", "ZUSD"},
		"USDTZUSD": {"USDTUSD", "USDT/USD", "USDT", "ZUSD"},
	} {
		p := reply.Result[key]
		if got := [4]string{p.Altname, p.Wsname, p.Base, p.Quote}; got != want || p.Status != "online" {
			t.Errorf("%s: %q %s, want %q", key, got, p.Status, want)
		}
	}
	if len(reply.Result) < 40 {
		t.Errorf("%d pairs", len(reply.Result))
	}
	// An answer has the key, whatever was asked for.
	for _, name := range []string{"XBTUSD", "XXBTZUSD"} {
		if body := b.get(west + "/Ticker?pair=" + name).body; !strings.HasPrefix(body, `{"error":[],"result":{"XXBTZUSD":{"a":["`) {
			t.Errorf("%s: %.100s", name, body)
		}
	}
}

func TestKrakenTellsErrorsInWords(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	for path, want := range map[string]string{
		"/Ticker?pair=NOPE":                  "EQuery:Unknown asset pair",
		"/Ticker?pair=XBTUSD,NOPE":           "EQuery:Unknown asset pair",
		"/OHLC":                              "EGeneral:Invalid arguments",
		"/OHLC?pair=NOPE":                    "EQuery:Unknown asset pair",
		"/OHLC?pair=XBTUSD&interval=2":       "EGeneral:Invalid arguments:interval",
		"/OHLC?pair=XBTUSD&since=yesterday":  "EGeneral:Invalid arguments:since",
		"/Nothing":                           "EGeneral:Unknown method",
		"/OHLC?pair=XBTUSD&interval=nothing": "EGeneral:Invalid arguments:interval",
	} {
		if a := b.get(west + path); a.status != http.StatusOK || a.body != `{"error":["`+want+`"]}` {
			t.Errorf("%s: %d %s, want %s", path, a.status, a.body, want)
		}
	}
}

func TestKrakenCandles(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	for _, interval := range []string{"1", "60", "1440", "10080"} {
		rows, last := b.ohlc("pair=ETHUSD&interval=" + interval)
		n := len(rows)
		if n > 720 || interval != "10080" && n != 720 || last != rows[n-2].at {
			t.Fatalf("%s: %d candles, last %d", interval, n, last)
		}
		length := rows[1].at - rows[0].at
		if newest := rows[n-1].at; newest > start.Unix() || newest+length <= start.Unix() {
			t.Errorf("%s: the last candle opens at %d", interval, newest)
		}
		for i, r := range rows {
			if i > 0 && r.at-rows[i-1].at != length || r.h < max(r.o, r.c) || r.l > min(r.o, r.c) || r.volume <= 0 || r.trades <= 0 {
				t.Fatalf("%s: candle %d: %+v", interval, i, r)
			}
		}
	}
	days, _ := b.ohlc("pair=ETHUSD&interval=1440")
	hours, _ := b.ohlc("pair=ETHUSD&interval=60")
	// A day is what its hours add up to.
	var volume, high float64
	day := days[len(days)-2]
	for _, h := range hours {
		if h.at >= day.at && h.at < day.at+86400 {
			volume, high = volume+h.volume, max(high, h.h)
		}
	}
	if volume/day.volume > 1.000001 || volume/day.volume < 0.999999 || high != day.h {
		t.Errorf("a day %+v, its hours %v and %v", day, volume, high)
	}
	some, _ := b.ohlc("pair=ETHUSD&interval=60&since=" + jsonNumber(hours[715].at))
	if len(some) != 4 || some[0] != hours[716] {
		t.Errorf("since %d: %v", hours[715].at, some)
	}
}

func jsonNumber(n int64) string {
	text, _ := json.Marshal(n)
	return string(text)
}

// TestKrakenCounter rises with calls and falls with time; candles have one for each pair.
func TestKrakenCounter(t *testing.T) {
	t.Parallel()
	o := unlimited()
	o.KrakenCounter = 5
	b := newBench(t, o)
	refused := func(path string) bool {
		t.Helper()
		a := b.get(west + path)
		if a.status != http.StatusOK {
			t.Errorf("%s: %d", path, a.status)
		}
		return a.body == `{"error":["EAPI:Rate limit exceeded"]}`
	}
	for i := range 7 {
		if got := refused("/Ticker?pair=XBTUSD"); got != (i >= 5) {
			t.Errorf("call %d: refused %v", i, got)
		}
	}
	if refused("/OHLC?pair=XBTUSD") || refused("/OHLC?pair=ETHUSD") {
		t.Error("candles are refused")
	}
	b.clock.advance(3 * time.Second)
	if refused("/Time") || !refused("/Time") {
		t.Error("three seconds are worth one call after seven of five")
	}
	b.clear()
	if refused("/Time") {
		t.Error("refused after clearing")
	}
}

func TestKrakenFaults(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	for _, tc := range []struct {
		fault  string
		status int
		body   string
	}{
		{`{"service":"kraken","kind":"error","words":"EService:Busy","count":1}`, 200, `{"error":["EService:Busy"]}`},
		{`{"service":"kraken","kind":"status","status":429,"count":1}`, 429, `{"error":["EGeneral:Too many requests"]}`},
		{`{"service":"kraken","kind":"status","status":429,"body":"text","count":1}`, 429, `error code: 1015`},
		{`{"service":"kraken","kind":"status","status":500,"count":1}`, 500, `{"error":["EService:Unavailable"]}`},
		{`{"service":"kraken","kind":"status","status":520,"body":"html","count":1}`, 520, "<!DOCTYPE html>"},
		{`{"service":"kraken","kind":"garbage","body":"json","count":1}`, 200, `{"message":"ok"`},
		{`{"service":"kraken","kind":"truncate","count":1}`, 200, `{"error":[],"res`},
	} {
		b.inject(tc.fault)
		if a := b.get(west + "/Time"); a.status != tc.status || !strings.HasPrefix(a.body, tc.body) {
			t.Errorf("%s: %d %s", tc.fault, a.status, a.body)
		}
	}
	b.inject(`{"service":"kraken","kind":"limit","limit":2}`)
	for i := range 3 {
		if a := b.get(west + "/Time"); strings.Contains(a.body, "EAPI:Rate limit exceeded") != (i == 2) {
			t.Errorf("call %d: %s", i, a.body)
		}
	}
	for _, fault := range []string{
		`{"service":"kraken","kind":"ban"}`, `{"service":"kraken","kind":"error"}`, `{"service":"binance","kind":"error","words":"x"}`,
		`{"service":"kraken","kind":"stream_shutdown"}`, `{"service":"kraken","kind":"status","status":429,"words":"x"}`,
		`{"service":"fng","kind":"stream_cut"}`,
	} {
		if a, err := b.try(http.MethodPost, "/_sim/faults", fault); err != nil || a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s %v", fault, a.status, a.body, err)
		}
	}
}

// told is a frame of a channel.
type told struct {
	Channel, Type, Method, Error, Symbol string
	Success                              bool
	ReqID                                int64 `json:"req_id"`
	Result                               struct{ Channel, Symbol string }
	Data                                 []struct {
		Symbol       string
		Last, Close  float64
		Volume, VWAP float64
		Trades       int64
		Begins       time.Time `json:"interval_begin"`
		Timestamp    time.Time
		System       string
	}
}

// tell reads the next frame.
func (l *listener) tell() told {
	l.Helper()
	var f told
	text := l.next()
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		l.Fatalf("%v in %s", err, text)
	}
	return f
}

// tellUnless reads the next frame that is none of a channel.
func (l *listener) tellUnless(channel string) told {
	l.Helper()
	for {
		if f := l.tell(); f.Channel != channel {
			return f
		}
	}
}

func TestKrakenChannels(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{}, func(p *pond) {
		l := p.connect("/v2")
		if f := l.tell(); f.Channel != "status" || f.Data[0].System != "online" {
			p.Errorf("it begins with %+v", f)
		}
		l.send(`{"method":"subscribe","params":{"channel":"ticker","symbol":["BTC/USD","FOO/USD"],"event_trigger":"trades","snapshot":true},"req_id":7}`)
		if f := l.tell(); !f.Success || f.ReqID != 7 || f.Result.Symbol != "BTC/USD" || f.Result.Channel != "ticker" {
			p.Errorf("the answer is %+v", f)
		}
		if f := l.tell(); f.Type != "snapshot" || f.Data[0].Symbol != "BTC/USD" || !f.Data[0].Timestamp.Equal(noon.Add(p.age())) {
			p.Errorf("the snapshot is %+v", f)
		}
		if f := l.tell(); f.Success || f.Symbol != "FOO/USD" || f.Error != "Currency pair not supported FOO/USD" || f.ReqID != 7 {
			p.Errorf("the refusal is %+v", f)
		}
		first := l.tellUnless("heartbeat")
		if first.Type != "update" || first.Data[0].Last <= 0 || !first.Data[0].Timestamp.After(noon) {
			p.Errorf("the update is %+v", first)
		}
		l.send(`{"method":"ping","req_id":8}`)
		if f := l.tellUnless("ticker"); f.Method != "pong" || f.ReqID != 8 {
			p.Errorf("the answer to a ping is %+v", f)
		}
		for request, complaint := range map[string]string{
			`{"method":"subscribe","params":{"channel":"ticker","symbol":["BTC/USD"]}}`:            "Already subscribed to ticker BTC/USD",
			`{"method":"subscribe","params":{"channel":"ohlc","interval":2,"symbol":["BTC/USD"]}}`: "Ohlc interval not supported",
			`{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"]}}`:              "Channel not supported",
			`{"method":"subscribe","params":{"channel":"ticker"}}`:                                 "Symbol(s) not provided",
			`{"method":"add_order"}`: "Method not supported",
			`{"method":`:             "Malformed message",
			`{"method":"unsubscribe","params":{"channel":"ohlc","symbol":["BTC/USD"]}}`: "Subscription Not Found",
		} {
			l.send(request)
			if f := l.tellUnless("ticker"); f.Success || f.Error != complaint {
				p.Errorf("%s: %+v, want %q", request, f, complaint)
			}
		}
		l.send(`{"method":"unsubscribe","params":{"channel":"ticker","symbol":["BTC/USD"]},"req_id":9}`)
		if f := l.tellUnless("ticker"); !f.Success || f.ReqID != 9 {
			p.Errorf("the answer is %+v", f)
		}
		calls := p.sim.Requests()
		if calls["kraken WS /v2"] != 1 || calls["kraken WS subscribe"] != 5 || calls["kraken WS ping"] != 1 || calls["kraken WS (unknown)"] != 2 {
			p.Errorf("counted %v", calls)
		}
	})
}

// TestKrakenMinutes follow each other without a flag, and each ends as REST says.
func TestKrakenMinutes(t *testing.T) {
	t.Parallel()
	float(t, sim.StreamOptions{}, func(p *pond) {
		l := p.connect("/v2")
		l.tell()
		l.send(`{"method":"subscribe","params":{"channel":"ohlc","interval":1,"symbol":["BTC/USD"]}}`)
		l.tell()
		snapshot := l.tell()
		if snapshot.Type != "snapshot" || len(snapshot.Data) < 2 || !snapshot.Data[len(snapshot.Data)-1].Begins.Before(noon.Add(time.Second)) {
			p.Errorf("the snapshot is %+v", snapshot)
		}
		closes := map[int64]float64{}
		var last time.Time
		for p.age() < 3*time.Minute+5*time.Second {
			for _, c := range l.tellUnless("heartbeat").Data {
				if c.Begins.Before(last) {
					p.Errorf("%s after %s", c.Begins, last)
				}
				last, closes[c.Begins.Unix()] = c.Begins, c.Close
			}
		}
		response, err := p.client.Get("http://sim" + west + "/OHLC?pair=XBTUSD&interval=1")
		if err != nil {
			p.Fatal(err)
		}
		defer response.Body.Close()
		var reply struct {
			Result map[string]json.RawMessage
		}
		if err := json.NewDecoder(response.Body).Decode(&reply); err != nil {
			p.Fatal(err)
		}
		var rows [][8]any
		if err := json.Unmarshal(reply.Result["XXBTZUSD"], &rows); err != nil {
			p.Fatal(err)
		}
		compared := 0
		for _, row := range rows[:len(rows)-1] {
			at := int64(row[0].(float64))
			if got, ok := closes[at]; ok && at >= noon.Unix() {
				compared++
				if want := number(p, row[4].(string)); got != want {
					p.Errorf("the minute of %d ended at %v, and at %v by REST", at, got, want)
				}
			}
		}
		if compared != 3 {
			p.Errorf("%d minutes", compared)
		}
	})
}

func TestKrakenConnections(t *testing.T) {
	t.Parallel()
	subscribe := `{"method":"subscribe","params":{"channel":"ticker","symbol":["BTC/USD"]}}`
	subscribed := func(p *pond) *listener {
		l := p.connect("/v2")
		l.tell()
		l.send(subscribe)
		l.tell()
		l.tell()
		return l
	}
	ended := func(p *pond, why string) {
		time.Sleep(3 * time.Second)
		if got := p.sim.Channels().Closed[why]; got != 1 {
			p.Errorf("%d ended as %s: %v", got, why, p.sim.Channels())
		}
	}
	t.Run("idle", func(t *testing.T) {
		float(t, sim.StreamOptions{}, func(p *pond) {
			l := p.connect("/v2")
			code, _ := l.ended()
			if p.age() < time.Minute || p.age() > 62*time.Second || code != websocket.StatusNormalClosure {
				p.Errorf("ended after %s with %d", p.age(), code)
			}
			ended(p, "idle")
		})
	})
	t.Run("cut", func(t *testing.T) {
		float(t, sim.StreamOptions{}, func(p *pond) {
			l := subscribed(p)
			p.inject(sim.Fault{Service: "kraken", Kind: sim.KindStreamCut, Count: 1})
			l.ended()
			ended(p, "cut")
			subscribed(p)
			synctest.Wait() // It is on the list once all of the answer is sent.
			if s := p.sim.Channels(); s.Open != 1 || len(s.Connections[0].Streams) != 1 || s.Connections[0].Streams[0] != "ticker:BTC/USD" {
				p.Errorf("%+v", s)
			}
		})
	})
	t.Run("faults of another exchange", func(t *testing.T) {
		float(t, sim.StreamOptions{}, func(p *pond) {
			l := subscribed(p)
			p.inject(sim.Fault{Service: "binance", Kind: sim.KindStreamCut}, sim.Fault{Service: "binance", Kind: sim.KindStreamSilence})
			if f := l.tellUnless("heartbeat"); f.Channel != "ticker" {
				p.Errorf("%+v", f)
			}
		})
	})
	t.Run("silence", func(t *testing.T) {
		float(t, sim.StreamOptions{}, func(p *pond) {
			l := subscribed(p)
			p.inject(sim.Fault{Service: "kraken", Kind: sim.KindStreamSilence})
			time.Sleep(2 * time.Second)
			beats := 0
			for _, text := range l.until(10 * time.Second) {
				switch {
				case text == `{"channel":"heartbeat"}`:
					beats++
				case strings.Contains(text, "ticker") && beats > 2:
					p.Errorf("it speaks: %s", text)
				}
			}
			if beats < 7 {
				p.Errorf("%d heartbeats", beats)
			}
		})
	})
	t.Run("half open", func(t *testing.T) {
		float(t, sim.StreamOptions{}, func(p *pond) {
			l := subscribed(p)
			p.inject(sim.Fault{Service: "kraken", Kind: sim.KindStreamSilence}, sim.Fault{Service: "kraken", Kind: sim.KindStreamNoPing})
			if got := l.until(13 * time.Second); len(got) > 0 {
				p.Errorf("it speaks: %q", got)
			}
		})
	})
	t.Run("twice and late", func(t *testing.T) {
		float(t, sim.StreamOptions{}, func(p *pond) {
			l := subscribed(p)
			p.inject(sim.Fault{Service: "kraken", Kind: sim.KindStreamDuplicate, Count: 1}, sim.Fault{Service: "kraken", Kind: sim.KindStreamLate, Count: 1})
			a, b, c := l.tellUnless("heartbeat"), l.tell(), l.tell()
			if a.Data[0] != b.Data[0] || !c.Data[0].Timestamp.Before(a.Data[0].Timestamp) {
				p.Errorf("%+v\n%+v\n%+v", a, b, c)
			}
		})
	})
	t.Run("refused", func(t *testing.T) {
		float(t, sim.StreamOptions{}, func(p *pond) {
			p.inject(sim.Fault{Service: "kraken", Kind: sim.KindStreamRefuse, Status: 429, RetryAfter: "9", Count: 1})
			if _, status, retry, err := p.attempt("/v2", websocket.DialOptions{}); err == nil || status != 429 || retry != "9" {
				p.Errorf("%d %s %v", status, retry, err)
			}
			for i := range 152 {
				conn, status, _, err := p.attempt("/v2", websocket.DialOptions{})
				if (err == nil) != (i < 149) || err != nil && status != 429 { // The refused one counts.
					p.Fatalf("attempt %d: %d %v", i, status, err)
				}
				if err == nil {
					_ = conn.CloseNow()
				}
			}
		})
	})
	t.Run("too many messages", func(t *testing.T) {
		float(t, sim.StreamOptions{}, func(p *pond) {
			l := p.connect("/v2")
			l.tell()
			for i := range 21 {
				l.send(`{"method":"ping"}`)
				if f := l.tell(); (f.Method == "pong") != (i < 20) || i == 20 && f.Error != "Exceeded msg rate" {
					p.Errorf("%d: %+v", i, f)
				}
			}
		})
	})
}
