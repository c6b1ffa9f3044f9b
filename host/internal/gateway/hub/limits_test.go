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
