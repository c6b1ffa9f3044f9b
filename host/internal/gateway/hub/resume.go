package hub

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// welcome is the first message to a client. The hub's lock is held.
func (h *Hub) welcome(c *Client, channels []*channel, at time.Time) *frame {
	type limits struct {
		Subscriptions     int `json:"max_subscriptions"`
		MessagesPerSecond int `json:"messages_per_second"`
		MessageBytes      int `json:"max_message_bytes"`
		PendingBytes      int `json:"max_pending_bytes"`
	}
	data := struct {
		ID         string   `json:"connection_id"`
		Heartbeat  int64    `json:"heartbeat_interval_ms"`
		Limits     limits   `json:"limits"`
		Channels   []string `json:"channels"`
		Subscribed []string `json:"subscribed"`
	}{
		c.id, h.opts.Heartbeat.Milliseconds(),
		limits{h.opts.MaxSubscriptions, h.opts.MessagesPerSecond, h.opts.MaxMessage, h.opts.MaxPending},
		namesOf(h.channels), namesOf(channels),
	}
	return plainMessage(typeWelcome, data, at)
}

func namesOf(channels []*channel) []string {
	names := make([]string, len(channels))
	for i, ch := range channels {
		names[i] = ch.name
	}
	return names
}

// resume returns what a client of some channels begins with: what came after a cursor, or the latest values. The hub's lock
// is held.
func (h *Hub) resume(e Encoding, channels []*channel, cursor string) []piece {
	if cursor == "" {
		return h.stream(e, present(channels), h.cursor())
	}
	at, ok := parseCursor(cursor)
	var updates []*update
	var others []*channel
	for _, ch := range channels {
		place := at.feed
		if ch.line == &h.local {
			place = at.local
		}
		if missed, whole := ch.afterEvent(place.epoch, place.n); ok && whole {
			updates = append(updates, missed...)
		} else {
			others = append(others, ch)
		}
	}
	h.counts.recovered.Add(uint64(len(channels) - len(others)))
	h.counts.unrecovered.Add(uint64(len(others)))
	if len(updates) == 0 {
		return h.stream(e, present(others), h.cursor())
	}
	// The replay comes last, because it brings cursors: whoever is cut off before it has the one it came with.
	return append(h.stream(e, present(others), ""), h.replay(e, updates)...)
}

// present are the snapshots of some channels.
func present(channels []*channel) []*frame {
	frames := make([]*frame, len(channels))
	for i, ch := range channels {
		frames[i] = ch.present()
	}
	return frames
}

// replay returns updates of the history in the order in which they came. The hub's lock is held.
func (h *Hub) replay(e Encoding, updates []*update) []piece {
	slices.SortStableFunc(updates, func(a, b *update) int { return cmp.Compare(a.pos, b.pos) })
	out := make([]piece, len(updates))
	for i, u := range updates {
		out[i] = piece{text: u.frame().form(e), replay: true}
		if e != EventStream {
			continue
		}
		out[i].text = append([]byte(nil), out[i].text...)
		switch {
		case i == len(updates)-1:
			out[i].text = appendCursor(out[i].text, h.cursor()) // Who has this has everything.
		case updates[i+1].pos != u.pos:
			out[i].text = appendCursor(out[i].text, h.events[u.pos-h.events[0].pos].cursor)
		}
		out[i].text = append(out[i].text, '\n')
	}
	return out
}

// location is a place in a line.
type location struct {
	epoch string
	n     uint64
}

// cursorAt is where an event stream stands.
type cursorAt struct{ feed, local location }

// parseCursor reads a cursor of Hub.cursor. A client may send anything.
func parseCursor(text string) (cursorAt, bool) {
	feed, local, both := strings.Cut(text, "~")
	at := cursorAt{}
	var okFeed, okLocal bool
	at.feed, okFeed = parseLocation(feed)
	at.local, okLocal = parseLocation(local)
	return at, both && okFeed && okLocal
}

func parseLocation(text string) (location, bool) {
	i := strings.LastIndexByte(text, '.')
	if i < 0 {
		return location{}, false
	}
	n, err := strconv.ParseUint(text[i+1:], 10, 64)
	return location{text[:i], n}, err == nil
}
