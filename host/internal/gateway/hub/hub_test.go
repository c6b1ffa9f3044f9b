package hub

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// describe writes messages in short, such as "market_update ticker:* 3".
func describe(messages []received) []string {
	var out []string
	for _, m := range messages {
		switch {
		case m.Opcode == 0x8:
			out = append(out, fmt.Sprintf("close %d", m.Code))
		case m.Channel != "":
			out = append(out, fmt.Sprintf("%s %s %d %s", m.Type, m.Channel, m.Seq, m.Data))
		default:
			out = append(out, m.Type)
		}
	}
	return out
}

// want checks what a client got.
func (l *listener) want(expected ...string) {
	l.t.Helper()
	synctest.Wait()
	if got := describe(l.messages()); !slices.Equal(got, expected) {
		l.t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(expected, "\n  "))
	}
}

// publish hands ticks to the hub and waits until they are written, or wait for their clients.
func publish(h *Hub, ticks ...Tick) {
	for _, t := range ticks {
		h.Publish(t)
		time.Sleep(10 * time.Millisecond)
	}
	synctest.Wait()
}

const roomy = 1 << 20

func TestDefaultsStartAtOnce(t *testing.T) {
	for _, e := range []Encoding{WebSocket, DeflatedWebSocket, EventStream} {
		t.Run([]string{"websocket", "deflated", "event stream"}[e], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := startHub(t, Options{Symbols: []string{"btc", "eth"}})
				f := newFeed("a")
				publish(h, f.whole(), f.tick("btc=1", "eth=2", "global=7"))
				l := listen(t, h, e, roomy, Start{})
				l.want("welcome", `snapshot ticker:* 1 {"btc":1,"eth":2}`, "snapshot global 1 7")
				publish(h, f.tick("btc=3"), f.tick("global=8"), f.tick("btc=4", "eth=5", "global=9"))
				l.want(`market_update ticker:* 2 {"btc":3}`, "global_update global 2 8",
					`market_update ticker:* 3 {"btc":4,"eth":5}`, "global_update global 3 9")
			})
		})
	}
}

func TestSubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHub(t, Options{Symbols: []string{"btc", "eth"}, MaxSubscriptions: 3})
		f := newFeed("a")
		publish(h, f.whole(), f.tick("btc=1", "eth=2"))
		l := listen(t, h, WebSocket, roomy, Start{})
		l.messages()

		l.ask(`{"action":"subscribe","channels":["ticker:btc","ticker:nope"],"id":"x"}`)
		answered := l.messages()
		if id := answered[0].ID; id != "x" {
			t.Errorf("the answer has the id %v", id)
		}
		want := `{"ticker:btc":{"ok":true,"recovered":false,"epoch":"a","seq":1},"ticker:nope":{"ok":false,"error":"` + unknownChannel + `"}}`
		if got := string(answered[0].Data); got != want {
			t.Errorf("answered %s", got)
		}
		if got := describe(answered[1:]); !slices.Equal(got, []string{`snapshot ticker:btc 1 {"btc":1}`}) {
			t.Errorf("then got %v", got)
		}
		publish(h, f.tick("eth=3"), f.tick("btc=4"))
		l.want(`market_update ticker:btc 2 {"btc":4}`) // The first subscribe replaces the defaults.

		l.ask(`{"action":"subscribe","channels":["ticker:eth"]}`)
		l.want("subscribed", `snapshot ticker:eth 2 {"eth":3}`)
		l.ask(`{"action":"unsubscribe","channels":["ticker:btc"],"id":7}`)
		l.want("unsubscribed")
		publish(h, f.tick("btc=5", "eth=6"))
		l.want(`market_update ticker:eth 3 {"eth":6}`)

		l.ask(`{"action":"subscribe","channels":["ticker:btc","ticker:*","global"]}`)
		if got := string(l.messages()[0].Data); !strings.Contains(got, `"global":{"ok":false,"error":"a client has at most 3 channels"}`) {
			t.Errorf("beyond the bound: %s", got)
		}
	})
}

func TestRecover(t *testing.T) {
	cases := map[string]struct {
		since     string
		recovered bool
		then      []string
	}{
		"the last one":   {`{"epoch":"a","seq":4}`, true, nil},
		"some missed":    {`{"epoch":"a","seq":2}`, true, []string{`market_update ticker:btc 3 {"btc":3}`, `market_update ticker:btc 4 {"btc":4}`}},
		"never had any":  {`{"epoch":"a","seq":0}`, true, []string{"market_update ticker:btc 1 {\"btc\":1}", "market_update ticker:btc 2 {\"btc\":2}", "market_update ticker:btc 3 {\"btc\":3}", "market_update ticker:btc 4 {\"btc\":4}"}},
		"another epoch":  {`{"epoch":"b","seq":3}`, false, []string{`snapshot ticker:btc 4 {"btc":4}`}},
		"of the future":  {`{"epoch":"a","seq":5}`, false, []string{`snapshot ticker:btc 4 {"btc":4}`}},
		"without a word": {``, false, []string{`snapshot ticker:btc 4 {"btc":4}`}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := startHub(t, Options{Symbols: []string{"btc"}})
				f := newFeed("a")
				publish(h, f.whole())
				for i := range 4 {
					publish(h, f.tick(fmt.Sprintf("btc=%d", i+1)))
				}
				l := listen(t, h, WebSocket, roomy, Start{})
				l.messages()
				since := ""
				if tc.since != "" {
					since = `,"since":{"ticker:btc":` + tc.since + `}`
				}
				l.ask(`{"action":"subscribe","channels":["ticker:btc"]` + since + `}`)
				got := l.messages()
				if want := fmt.Sprintf(`"recovered":%t`, tc.recovered); !strings.Contains(string(got[0].Data), want) {
					t.Errorf("answered %s, want %s", got[0].Data, want)
				}
				if rest := describe(got[1:]); !slices.Equal(rest, tc.then) {
					t.Errorf("then got %v, want %v", rest, tc.then)
				}
			})
		})
	}
}

func TestHistoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHub(t, Options{Symbols: []string{"btc"}, History: 20 * updateOverhead})
		f := newFeed("a")
		publish(h, f.whole())
		for i := range 100 {
			publish(h, f.tick(fmt.Sprintf("btc=%d", i)))
		}
		s := h.Stats()
		if s.HistoryBytes > 20*updateOverhead || s.HistoryEvents > 20 || s.HistoryEvents < 5 {
			t.Errorf("the history holds %d events of %d bytes", s.HistoryEvents, s.HistoryBytes)
		}
		l := listen(t, h, WebSocket, roomy, Start{})
		l.messages()
		l.ask(`{"action":"subscribe","channels":["ticker:btc"],"since":{"ticker:btc":{"epoch":"a","seq":10}}}`)
		l.want("subscribed", `snapshot ticker:btc 100 {"btc":99}`)
		l.ask(`{"action":"subscribe","channels":["ticker:btc"],"since":{"ticker:btc":{"epoch":"a","seq":98}}}`)
		l.want("subscribed", `market_update ticker:btc 99 {"btc":98}`, `market_update ticker:btc 100 {"btc":99}`)
	})
}

func TestEventStreamResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHub(t, Options{Symbols: []string{"btc", "eth"}})
		f := newFeed("a")
		publish(h, f.whole(), f.tick("btc=1", "eth=1", "global=1"))
		start := Start{Channels: []string{"ticker:btc", Global, Islands}}
		l := listen(t, h, EventStream, roomy, start)
		publish(h, f.tick("btc=2", "global=2"), f.tick("eth=2"))
		h.PublishIslands(time.Now(), []Item{{Key: "cache", JSON: []byte("0")}})
		synctest.Wait()
		time.Sleep(10 * time.Millisecond)
		got := l.messages()
		cursor := func(i int) string { return got[len(got)-i].Cursor }
		if cursor(3) != "" || cursor(2) == "" || cursor(1) == "" {
			t.Fatalf("the cursor comes with the last message of an event: %q, %q, %q", cursor(3), cursor(2), cursor(1))
		}

		publish(h, f.tick("btc=3", "global=3"))
		start.Cursor = cursor(2) // The update of the islands was missed, and what came after it.
		again := listen(t, h, EventStream, roomy, start)
		again.want("welcome", `islands_update islands 1 {"cache":0}`, "global_update global 3 3", `market_update ticker:btc 3 {"btc":3}`)

		start.Cursor = "b.3~nonsense"
		other := listen(t, h, EventStream, roomy, start)
		other.want("welcome", "snapshot global 3 3", `snapshot islands 1 {"cache":0}`, `snapshot ticker:btc 3 {"btc":3}`)
	})
}

func TestANewEpochReplacesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHub(t, Options{Symbols: []string{"btc", "eth"}})
		f := newFeed("a")
		publish(h, f.whole(), f.tick("btc=1", "eth=1"))
		l := listen(t, h, WebSocket, roomy, Start{Channels: []string{"ticker:*", "ticker:eth"}})
		l.messages()
		g := newFeed("b")
		g.tick("btc=5")
		publish(h, g.whole(), g.tick("btc=6"))
		l.want(`snapshot ticker:* 1 {"btc":5}`, "snapshot ticker:eth 0 {}", `market_update ticker:* 2 {"btc":6}`)
		l.ask(`{"action":"subscribe","channels":["ticker:btc"],"since":{"ticker:btc":{"epoch":"a","seq":1}}}`)
		l.want("subscribed", `snapshot ticker:btc 2 {"btc":6}`)
	})
}

func TestASlowClientGetsTheLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHub(t, Options{Symbols: []string{"btc", "eth"}})
		f := newFeed("a")
		publish(h, f.whole(), f.tick("btc=1", "eth=1"))
		slow := listen(t, h, WebSocket, 700, Start{Channels: []string{"ticker:*"}})
		quick := listen(t, h, WebSocket, roomy, Start{Channels: []string{"ticker:*"}})
		slow.messages()
		quick.messages()
		for i := range 50 {
			publish(h, f.tick(fmt.Sprintf("btc=%d", i)))
		}
		publish(h, f.tick("eth=9"))
		if got := quick.messages(); len(got) != 51 {
			t.Errorf("who keeps up got %d of 51", len(got))
		}
		if s := h.Stats(); s.Lagging != 1 {
			t.Errorf("%d clients lag", s.Lagging)
		}
		var got []received
		for range 10 {
			got = append(got, slow.messages()...)
			synctest.Wait()
		}
		last := got[len(got)-1]
		if len(got) > 12 || last.Seq != 52 || string(last.Data) != `{"btc":49,"eth":9}` {
			t.Errorf("who lags got %v", describe(got))
		}
		for i := 1; i < len(got); i++ {
			if got[i].Seq <= got[i-1].Seq {
				t.Errorf("the numbers %v do not rise", describe(got))
			}
		}
		publish(h, f.tick("eth=10"))
		slow.want(`market_update ticker:* 53 {"eth":10}`)
		if s := h.Stats(); s.Lagging != 0 || s.Conflated == 0 {
			t.Errorf("in step again, yet %d lag; %d conflated", s.Lagging, s.Conflated)
		}
	})
}

func TestWhoStaysSlowIsSentAway(t *testing.T) {
	cases := map[string]struct {
		opts Options
		// read is what the client takes each second.
		read int
		// within is when it must be gone.
		within time.Duration
	}{
		"takes nothing":    {Options{WriteTimeout: 3 * time.Second}, 0, 5 * time.Second},
		"takes too little": {Options{SlowTimeout: 5 * time.Second, WriteTimeout: 4 * time.Second}, 40, 12 * time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tc.opts.Symbols = []string{"btc"}
				tc.opts.PongTimeout = time.Hour
				h := startHub(t, tc.opts)
				f := newFeed("a")
				publish(h, f.whole(), f.tick("btc=1"))
				slow := listen(t, h, WebSocket, 600, Start{Channels: []string{"ticker:*"}})
				began := time.Now()
				for i := 0; time.Since(began) < tc.within; i++ {
					publish(h, f.tick(fmt.Sprintf("btc=%d", i)))
					time.Sleep(990 * time.Millisecond)
					slow.pipe.mu.Lock()
					taken := min(tc.read, len(slow.pipe.buffered))
					slow.pipe.buffered = slow.pipe.buffered[taken:]
					slow.pipe.changed()
					slow.pipe.mu.Unlock()
				}
				synctest.Wait()
				if halved, closed := slow.pipe.ended(); !halved && !closed {
					t.Errorf("still there after %v", tc.within)
				}
				if s := h.Stats(); s.Slow != 1 {
					t.Errorf("%d clients counted as slow", s.Slow)
				}
			})
		})
	}
}

func TestPingsAndHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHub(t, Options{Symbols: []string{"btc"}})
		dead := listen(t, h, WebSocket, roomy, Start{})
		lively := listen(t, h, WebSocket, roomy, Start{})
		stream := listen(t, h, EventStream, roomy, Start{})
		beats := 0
		for range 60 {
			time.Sleep(time.Second)
			lively.client.Ponged()
			for _, m := range lively.messages() {
				if m.Type == typeHeartbeat {
					beats++
				}
			}
		}
		synctest.Wait()
		got := describe(dead.messages())
		if halved, _ := dead.pipe.ended(); !halved || got[len(got)-1] != fmt.Sprintf("close %d", CloseSlow) {
			t.Errorf("who never answered got %v", got)
		}
		if halved, _ := lively.pipe.ended(); halved || beats < 3 || beats > 4 {
			t.Errorf("who answers was sent away (%t) and got %d heartbeats in a minute", halved, beats)
		}
		if got := describe(stream.messages()); len(got) < 6 || got[len(got)-1] != typeHeartbeat {
			t.Errorf("an event stream got %v", got)
		}
	})
}

func TestShutdownTellsEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Symbols: []string{"btc"}, MaxPerAddress: 2000})
		h.Start()
		var all []*listener
		for i := range 1200 {
			e := WebSocket
			if i%3 == 0 {
				e = EventStream
			}
			all = append(all, listen(t, h, e, roomy, Start{}))
		}
		stuck := listen(t, h, WebSocket, 10, Start{})
		for _, l := range all {
			go func() {
				for {
					l.pipe.mu.Lock()
					halved, change := l.pipe.halved || l.pipe.closed, l.pipe.change
					l.pipe.mu.Unlock()
					if halved {
						l.client.Leave()
						return
					}
					<-change
				}
			}()
		}
		go func() {
			for {
				stuck.pipe.mu.Lock()
				closed, change := stuck.pipe.closed, stuck.pipe.change
				stuck.pipe.mu.Unlock()
				if closed {
					stuck.client.Leave()
					return
				}
				<-change
			}
		}()
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		h.Shutdown(ctx)
		if took := time.Since(began); took > 4100*time.Millisecond {
			t.Errorf("took %v", took)
		}
		moments := map[int]int{}
		for _, l := range all {
			got := l.messages()
			last := len(got) - 1
			if l.client.encoding == WebSocket {
				if got[last].Code != CloseShutdown {
					t.Fatalf("ended with %v", describe(got))
				}
				last--
			}
			if got[last].Type != typeShutdown {
				t.Fatalf("not told: %v", describe(got))
			}
			moments[got[last].values(t)["reconnect_after_ms"]]++
		}
		if len(moments) < 500 {
			t.Errorf("%d clients come back at %d moments", len(all), len(moments))
		}
		if err := h.Full(loopback); err == nil {
			t.Error("a hub that is shut down lets clients in")
		}
	})
}

// TestAnUpdateIsEncodedOnce looks at where the bytes lie that clients are written.
func TestAnUpdateIsEncodedOnce(t *testing.T) {
	for _, e := range []Encoding{WebSocket, DeflatedWebSocket, EventStream} {
		t.Run([]string{"websocket", "deflated", "event stream"}[e], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := startHub(t, Options{Symbols: []string{"btc"}})
				f := newFeed("a")
				publish(h, f.whole())
				var all []*listener
				for range 50 {
					all = append(all, listen(t, h, e, roomy, Start{}))
				}
				publish(h, f.tick("btc=1"))
				for i, l := range all {
					if l.pipe.last != all[0].pipe.last {
						t.Fatalf("client %d got bytes of its own", i)
					}
				}
			})
		})
	}
}

func TestAFlushWaitsOnlyAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHub(t, Options{Symbols: []string{"btc"}, FlushPause: time.Second})
		f := newFeed("a")
		publish(h, f.whole())
		l := listen(t, h, WebSocket, roomy, Start{Channels: []string{"ticker:*"}})
		time.Sleep(2 * time.Second)
		l.messages()
		before := l.pipe.writes
		h.Publish(f.tick("btc=1"))
		synctest.Wait()
		if got := l.messages(); len(got) != 1 {
			t.Fatalf("an idle feed: %v", describe(got))
		}
		for i := range 5 {
			h.Publish(f.tick(fmt.Sprintf("btc=%d", i)))
		}
		synctest.Wait()
		if got := l.messages(); len(got) != 0 {
			t.Fatalf("before the pause is over: %v", describe(got))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := l.messages(); len(got) != 5 {
			t.Errorf("after the pause: %v", describe(got))
		}
		if writes := l.pipe.writes - before; writes != 2 {
			t.Errorf("%d writes for two flushes", writes)
		}
	})
}
