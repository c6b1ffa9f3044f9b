package hub

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRequestsAreBounded(t *testing.T) {
	cases := map[string]struct {
		send string
		n    int
		code int
	}{
		"no JSON":          {`subscribe btc`, 1, CloseBadRequest},
		"no object":        {`[1,2]`, 1, CloseBadRequest},
		"two":              {`{"action":"subscribe","channels":["global"]} {}`, 1, CloseBadRequest},
		"a bracket more":   {`{"action":"subscribe","channels":["global"]}]`, 1, CloseBadRequest},
		"a brace more":     {`{"action":"subscribe","channels":["global"]}}`, 1, CloseBadRequest},
		"another action":   {`{"action":"buy","channels":["global"]}`, 1, CloseBadRequest},
		"no channels":      {`{"action":"subscribe"}`, 1, CloseBadRequest},
		"an object for id": {`{"action":"subscribe","channels":["global"],"id":{"a":1}}`, 1, CloseBadRequest},
		"a flood":          {`{"action":"subscribe","channels":["global"]}`, 200_000, CloseLimit},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := startHub(t, Options{Symbols: []string{"btc"}})
				l := listen(t, h, WebSocket, roomy, Start{})
				for range tc.n {
					l.ask(tc.send)
				}
				got := l.messages()
				if last := got[len(got)-1]; last.Code != tc.code {
					t.Errorf("ended with %v", describe(got))
				}
				if before := got[len(got)-2]; before.Type != typeError && tc.n == 1 {
					t.Errorf("not told why: %v", describe(got))
				}
				if len(got) > 60 {
					t.Errorf("%d messages in answer", len(got))
				}
			})
		})
	}
}

func TestPendingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHub(t, Options{Symbols: []string{"btc"}, MaxPending: 64 << 10})
		f := newFeed("a")
		publish(h, f.whole(), f.tick("btc=1"+strings.Repeat("0", 4000)))
		f.last["btc"] = 0
		l := listen(t, h, WebSocket, 5000, Start{})
		for range 100 {
			l.ask(`{"action":"subscribe","channels":["ticker:btc"]}`)
			time.Sleep(100 * time.Millisecond)
		}
		l.client.mu.Lock()
		pending, closing := l.client.pending, l.client.closing
		l.client.mu.Unlock()
		if !closing || pending > 80<<10 {
			t.Errorf("%d bytes wait for a client that reads nothing; sent away: %t", pending, closing)
		}
	})
}

func TestLimits(t *testing.T) {
	h := startHub(t, Options{MaxConnections: 3, MaxPerAddress: 2})
	listen(t, h, WebSocket, roomy, Start{})
	second := listen(t, h, WebSocket, roomy, Start{})
	if _, err := h.Join(newPipe(roomy), WebSocket, loopback, Start{}); err == nil {
		t.Error("a third client of one address was let in")
	}
	other := loopback.Next()
	if err := h.Full(other); err != nil {
		t.Errorf("another address: %v", err)
	}
	third, err := h.Join(newPipe(roomy), WebSocket, other, Start{})
	if err != nil {
		t.Fatalf("another address: %v", err)
	}
	defer third.Leave()
	if err := h.Full(other.Next()); err == nil {
		t.Error("a fourth client was let in")
	}
	second.client.Leave()
	second.client.Leave()
	if err := h.Full(loopback); err != nil {
		t.Errorf("after one has left: %v", err)
	}
	if s := h.Stats(); s.Clients != 2 || s.Connected != 3 || s.Refused != 2 {
		t.Errorf("counted %+v", s)
	}
}

// TestWhoIsSentAwayDoesNotStay lets a client that is sent away while much waits for it read so slowly that every write is
// in time: it is cut off all the same.
func TestWhoIsSentAwayDoesNotStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHub(t, Options{
			Symbols: []string{"btc"}, SlowTimeout: 5 * time.Second, WriteTimeout: 4 * time.Second, PongTimeout: time.Hour,
			MessagesPerSecond: 1000,
		})
		f := newFeed("a")
		publish(h, f.whole())
		for range 50 {
			publish(h, f.tick("btc="+strings.Repeat("1", 9_000)))
		}
		l := listen(t, h, WebSocket, 10_000, Start{Channels: []string{Global}})
		l.ask(`{"action":"subscribe","channels":["ticker:btc"],"since":{"ticker:btc":{"epoch":"a","seq":1}}}`)
		l.ask(`{"action":"buy"}`)
		gone := func() bool {
			halved, closed := l.pipe.ended()
			return halved || closed
		}
		began := time.Now()
		for time.Since(began) < time.Minute && !gone() {
			time.Sleep(250 * time.Millisecond)
			l.pipe.readSome(5_000)
		}
		if stayed := time.Since(began); stayed > 7*time.Second {
			t.Errorf("stayed for %v", stayed)
		}
	})
}

// TestComingAndGoing lets 1,000 clients come and go in every way: what is left of them is what there was.
func TestComingAndGoing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHub(t, Options{Symbols: []string{"btc", "eth"}})
		f := newFeed("a")
		publish(h, f.whole(), f.tick("btc=1", "eth=1"))
		from := loopback
		sets := [][]string{nil, {"ticker:btc"}, {"ticker:btc", Islands}, {AllTickers, Global}}
		for round := range 10 {
			var all []*Client
			for i := range 100 {
				from = from.Next()
				room := roomy
				if i%7 == 0 {
					room = 300 // It lags from the start.
				}
				c, err := h.Join(newPipe(room), Encoding(i%int(encodings)), from, Start{Channels: sets[i%len(sets)]})
				if err != nil {
					t.Fatal(err)
				}
				if i%5 == 0 {
					c.Receive([]byte(`{"action":"subscribe","channels":["ticker:eth"]}`))
				}
				all = append(all, c)
			}
			publish(h, f.tick("btc=2", "global=3"), f.tick("eth=4"))
			h.PublishIslands(time.Now(), []Item{{Key: "cache", JSON: []byte("1")}})
			for i, c := range all {
				if i%3 == 0 {
					c.Close(CloseLimit, "enough")
				}
				if i%2 == round%2 {
					c.Leave()
				}
			}
			publish(h, f.tick("btc=5"))
			for _, c := range all {
				c.Leave()
				c.Receive([]byte(`{"action":"subscribe","channels":["global"]}`))
				c.Pong(nil)
			}
		}
		synctest.Wait()
		if s := h.Stats(); s.Clients != 0 || s.Groups != 0 || s.Lagging != 0 || s.EventStreams != 0 || s.Connected != 1000 || s.Channels != 5 {
			t.Errorf("left behind %+v", s)
		}
		if len(h.clients) != 0 || len(h.groups) != 0 || len(h.addresses) != 0 || len(h.byName) != len(h.channels) {
			t.Errorf("%d clients, %d groups and %d addresses are left", len(h.clients), len(h.groups), len(h.addresses))
		}
		if h.kept > h.opts.History {
			t.Errorf("the history holds %d bytes", h.kept)
		}
		for _, c := range h.members[:cap(h.members)] {
			if c != nil {
				t.Fatal("the flush loop still holds a client")
			}
		}
		for _, g := range h.flushing[:cap(h.flushing)] {
			if g != nil {
				t.Fatal("the flush loop still holds a group")
			}
		}
	})
}
