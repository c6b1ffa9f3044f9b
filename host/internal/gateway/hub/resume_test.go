package hub

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestAHoleIsNotRecovered has a channel's numbers skip while the feed's own go on: a cursor of before gets the latest.
func TestAHoleIsNotRecovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHub(t, Options{Symbols: []string{"btc", "eth"}})
		f := newFeed("a")
		start := Start{Channels: []string{AllTickers}}
		publish(h, f.whole(), f.tick("btc=1", "eth=1"))
		got := listen(t, h, EventStream, roomy, start).messages()
		before := got[len(got)-1].Cursor
		publish(h, f.tick("eth=2"))
		skipped := f.tick("btc=2")
		skipped.Quotes, skipped.QuotesSeq = nil, 0
		publish(h, skipped, f.tick("btc=3"))

		start.Cursor = before
		late := listen(t, h, EventStream, roomy, start)
		late.want("welcome", `snapshot ticker:* 4 {"btc":3,"eth":2}`)
		publish(h, f.tick("btc=4"))
		got = late.messages()
		publish(h, f.tick("btc=5"))
		start.Cursor = got[len(got)-1].Cursor
		listen(t, h, EventStream, roomy, start).want("welcome", `market_update ticker:* 6 {"btc":5}`)
	})
}

// TestACutReplayLosesNoSnapshot cuts an event stream that came from another host after each event of its replay.
func TestACutReplayLosesNoSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHub(t, Options{Symbols: []string{"btc"}})
		f := newFeed("a")
		publish(h, f.whole(), f.tick("btc=1"))
		h.PublishIslands(time.Now(), []Item{{Key: "cache", JSON: []byte("0")}})
		publish(h, f.tick("btc=2"), f.tick("btc=3"))
		start := Start{Channels: []string{AllTickers, Islands}, Cursor: "a.1~ANOTHERHOST.7"}
		got := listen(t, h, EventStream, roomy, start).messages()
		const want = `welcome, snapshot islands 1 {"cache":0}, market_update ticker:* 2 {"btc":2}, market_update ticker:* 3 {"btc":3}`
		if all := strings.Join(describe(got), ", "); all != want {
			t.Fatalf("got %s", all)
		}
		seen := false
		for _, m := range got {
			if seen = seen || m.Channel == Islands; m.Cursor != "" && !seen {
				t.Errorf("the cursor %s comes before the snapshot that it stands for", m.Cursor)
			}
		}
	})
}

// TestALaggingClientMaySubscribe sees to it that what a client missed is not put together again because it asks for more.
func TestALaggingClientMaySubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHub(t, Options{Symbols: []string{"btc", "eth"}})
		f := newFeed("a")
		publish(h, f.whole())
		l := listen(t, h, WebSocket, 2000, Start{})
		for range 40 {
			tick := f.tick("btc=1")
			tick.Quotes[0].JSON = []byte(`"` + strings.Repeat("1", 50_000) + `"`)
			publish(h, tick)
		}
		l.ask(`{"action":"subscribe","channels":["ticker:btc"],"id":1}`)
		l.client.mu.Lock()
		pending := l.client.pending
		l.client.mu.Unlock()
		if s := h.Stats(); s.Lagging != 1 || s.Slow != 0 || pending > 200_000 {
			t.Errorf("%d bytes wait for a client that asks for a channel; %d lag, %d were sent away", pending, s.Lagging, s.Slow)
		}
	})
}

// TestASteadyClientIsNotSlow reads a large snapshot steadily, for longer than a client may take nothing.
func TestASteadyClientIsNotSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHub(t, Options{Symbols: []string{"btc"}, WriteTimeout: 3 * time.Second, SlowTimeout: time.Hour})
		f := newFeed("a")
		tick := f.tick("btc=1")
		tick.Quotes[0].JSON = []byte(`"` + strings.Repeat("1", 100_000) + `"`)
		tick.Whole = true
		publish(h, tick)
		l := listen(t, h, WebSocket, 2000, Start{Channels: []string{"ticker:btc"}})
		var got []received
		for range 60 {
			got = append(got, l.messages()...)
			time.Sleep(500 * time.Millisecond) // 2,000 bytes each time: a stride takes four of them.
		}
		if s := h.Stats(); s.Slow != 0 || s.Lagging != 0 || len(got) != 2 {
			t.Errorf("%d messages; %d lag, %d were sent away", len(got), s.Lagging, s.Slow)
		}
	})
}

// TestAFloodEnds sends more than is allowed for as long as it is let, at several paces.
func TestAFloodEnds(t *testing.T) {
	for name, pause := range map[string]time.Duration{
		"twice the rate": 50 * time.Millisecond, "nine times": 11 * time.Millisecond, "at once": time.Microsecond,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := startHub(t, Options{Symbols: []string{"btc"}})
				l := listen(t, h, WebSocket, roomy, Start{})
				told, code := 0, 0
				for range 400 {
					l.ask(`{"action":"subscribe","channels":["global"]}`)
					time.Sleep(pause)
				}
				for _, m := range l.messages() {
					if m.Type == typeError {
						told++
					}
					code = max(code, m.Code)
				}
				if told != 1 || code != CloseLimit {
					t.Errorf("told %d times, closed with %d", told, code)
				}
			})
		})
	}
}
