package hub

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzRequest sends a client's message to the hub, as often as it may. Whatever it is, every answer is JSON, the client
// keeps within its bounds, and it is either answered or told why it is sent away.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `[]`, `{"action":"subscribe","channels":["ticker:btc","ticker:*","global","islands"],"id":1}`,
		`{"action":"subscribe","channels":["ticker:btc"],"id":"x","since":{"ticker:btc":{"epoch":"a","seq":1}}}`,
		`{"action":"subscribe","channels":["ticker:btc"],"since":{"ticker:btc":{"epoch":"a","seq":18446744073709551615}}}`,
		`{"action":"unsubscribe","channels":["global","global","ticker:nope"],"id":null}`,
		`{"action":"subscribe","channels":["global"]} {}`, `{"action":"subscribe","channels":["global"]}]`,
		`{"action":"subscribe","channels":["` + strings.Repeat("é", 100) + `"],"id":"` + strings.Repeat("i", 70) + `"}`,
		`{"action":"subscribe","channels":["\u0000","\ud800","\""],"id":1e999}`, strings.Repeat("[", 5000),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		// What a frame holds is of that size and UTF-8 before it comes here.
		if len(text) > 4<<10 || !utf8.Valid(text) {
			return
		}
		h := New(Options{Symbols: []string{"btc", "eth"}, MaxSubscriptions: 2})
		feed := newFeed("a")
		h.Publish(feed.whole())
		for range 3 {
			h.Publish(feed.tick("btc=1", "eth=2", "global=3"))
		}
		l := listen(t, h, WebSocket, 1<<20, Start{})
		l.messages()
		for range 2 * h.opts.MessagesPerSecond {
			l.client.Receive(text)
		}
		got := l.messages() // It reads every message as JSON.
		if len(got) == 0 || len(l.rest) != 0 {
			t.Fatalf("%d answers and %d bytes more", len(got), len(l.rest))
		}
		switch first, last := got[0], got[len(got)-1]; {
		case first.Type == typeError:
			if len(got) != 2 || last.Code != CloseBadRequest {
				t.Errorf("answered with %v", describe(got))
			}
		case first.Type != typeSubscribed && first.Type != typeUnsubscribed:
			t.Errorf("answered with %v", describe(got))
		case last.Opcode == 0x8:
			t.Errorf("sent away after an answer: %v", describe(got))
		}
		for _, m := range got {
			if m.Type == typeSubscribed && !utf8.Valid(m.Data) {
				t.Errorf("answered with %q", m.Data)
			}
		}
		if n := len(l.client.group.channels); n > 2 {
			t.Errorf("has %d channels", n)
		}
		if l.client.pending != 0 || len(l.client.queue) != 0 {
			t.Errorf("%d bytes wait", l.client.pending)
		}
		l.client.Leave()
		if len(h.groups) != 0 || len(h.byName) != 5 {
			t.Errorf("%d groups and %d channels are left", len(h.groups), len(h.byName))
		}
	})
}

// FuzzCursor resumes an event stream anywhere: a channel goes on with what comes after the cursor, up to the end, or
// begins with a snapshot.
func FuzzCursor(f *testing.F) {
	for _, seed := range []string{"", "a.0~b.0", "a.2~.0", "a.3~x.1", "a.4~", "~", "a.18446744073709551615~b.1", "a.-1~b.1", "a.b.2~b.1", "a.2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		h := New(Options{Symbols: []string{"btc"}})
		h.local.epoch = "the islands' epoch"
		feed := newFeed("a")
		h.Publish(feed.whole())
		for range 3 {
			h.Publish(feed.tick("btc=1", "global=3"))
			h.PublishIslands(time.Now(), []Item{{Key: "cache", JSON: []byte("0")}})
		}
		if at, ok := parseCursor(h.cursor()); !ok || at.feed != (location{"a", 3}) || at.local != (location{"the islands' epoch", 3}) {
			t.Fatalf("the hub does not read its own cursor %q: %+v", h.cursor(), at)
		}
		l := listen(t, h, EventStream, 1<<20, Start{Channels: []string{"ticker:btc", Global, Islands}, Cursor: cursor})
		got := l.messages()
		if len(got) == 0 || got[0].Type != typeWelcome {
			t.Fatalf("began with %v", describe(got))
		}
		at := map[string][]uint64{}
		for _, m := range got[1:] {
			if !json.Valid(m.Data) {
				t.Errorf("data %q", m.Data)
			}
			if m.Type == typeSnapshot && len(at[m.Channel]) > 0 {
				t.Errorf("a snapshot after an update: %v", describe(got))
			}
			at[m.Channel] = append(at[m.Channel], m.Seq)
		}
		for channel, seqs := range at {
			for i, seq := range seqs {
				if seq != uint64(3-len(seqs)+1+i) {
					t.Errorf("%s came as %v", channel, seqs)
				}
			}
		}
		if len(got) > 1 && got[len(got)-1].Cursor != h.cursor() {
			// Channels that begin anew come last, and bring everybody to the end.
			t.Errorf("ends at %q, not at %q", got[len(got)-1].Cursor, h.cursor())
		}
		if len(got) == 1 && canonical(cursor) != h.cursor() {
			t.Errorf("after %q nothing came", cursor)
		}
	})
}

// canonical writes a cursor as the hub does, whose numbers have no zero in front.
func canonical(cursor string) string {
	at, ok := parseCursor(cursor)
	if !ok {
		return ""
	}
	h := New(Options{})
	h.feed, h.local = line{epoch: at.feed.epoch, n: at.feed.n}, line{epoch: at.local.epoch, n: at.local.n}
	return h.cursor()
}
