package hub

import (
	"errors"
	"net/netip"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/service-islands/islands/host/internal/gateway/rfc6455"
)

// Close codes of the live feed, beside those of RFC 6455. From 4000 on a client should come back, from 4500 on it should
// not.
const (
	CloseShutdown   = 4001 // the host shuts down
	CloseSlow       = 4008 // the client does not keep up, or does not answer pings
	CloseBadRequest = 4501 // the client sends what cannot be meant
	CloseLimit      = 4503 // the client takes more than it may
)

// Conn is a connection to a client. Write and TryWrite are never called at once.
type Conn interface {
	// TryWrite writes as much as can be taken without waiting, which may be nothing. An error is the connection's end.
	TryWrite(b []byte) (int, error)
	Write(b []byte) (int, error)
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
	// CloseWrite ends this side of the connection and leaves the other to the client.
	CloseWrite() error
	Close() error
}

// Client is a connection that listens to the feed.
type Client struct {
	hub      *Hub
	conn     Conn
	encoding Encoding
	from     netip.Addr
	id       string

	// Guarded by the hub's lock.
	group *group
	index int // in the group's members

	mu sync.Mutex
	// cursor is the position up to which everything has been handed over.
	cursor uint64
	// head has to be written before queue: what is left of a frame that is partly on the wire.
	head    []byte
	queue   []piece
	pending int // bytes in the queue, but for replays

	draining bool // a goroutine waits for the socket
	closing  bool // the last frame is in the queue or on the wire
	ended    bool // nothing can be written any more
	// Times in nanoseconds of Unix.
	lagging  int64 // since when a goroutine has been draining
	written  int64 // when something was last handed over
	nextPing int64
	pinged   int64 // when a ping that is not yet answered was sent; 0 for none

	explicit bool // the client has named channels, which replaced the defaults
	inbox    bucket
}

// piece is something that waits to be written: frames that belong together.
type piece struct {
	text []byte
	// replay is whether it is of the history and therefore takes no memory of its own.
	replay bool
}

// Start is what a client begins with.
type Start struct {
	// Channels to subscribe to; the defaults when there are none.
	Channels []string
	// Cursor of an event stream that was cut off.
	Cursor string
}

// Join lets a client in and greets it. It returns the error of Full when there is no room. Whoever calls it reads from the
// connection, tells Receive, Pong, Ponged and Closed, and calls Leave in the end.
func (h *Hub) Join(conn Conn, e Encoding, from netip.Addr, start Start) (*Client, error) {
	c := &Client{hub: h, conn: conn, encoding: e, from: from}
	now := time.Now()
	c.inbox = newBucket(h.opts.MessagesPerSecond, now)
	names := start.Channels
	if c.explicit = len(names) > 0; !c.explicit {
		names = defaults()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	h.mu.Lock()
	if err := h.full(from); err != nil {
		h.mu.Unlock()
		h.refused(err, from)
		return nil, err
	}
	h.opened++
	c.id = strconv.FormatUint(h.opened, 36) + "-" + h.local.epoch[:12]
	h.clients[c] = struct{}{}
	h.addresses[from]++
	channels := make([]*channel, 0, len(names))
	for _, name := range names {
		if ch := h.byName[name]; ch != nil && len(channels) < h.opts.MaxSubscriptions {
			channels = append(channels, ch)
		}
	}
	channels = sorted(channels)
	greeting := []piece{{text: h.welcome(c, channels, now).whole(e)}}
	greeting = append(greeting, h.resume(e, channels, start.Cursor)...)
	c.cursor = h.pos
	h.join(c, channels)
	h.mu.Unlock()
	c.send(greeting...)
	c.ping(now) // The first pong shows that somebody reads.
	return c, nil
}

// Leave ends a client whose connection is no longer read. The connection is closed.
func (c *Client) Leave() {
	c.mu.Lock()
	c.end()
	c.mu.Unlock()
	h := c.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, there := h.clients[c]; !there {
		return
	}
	h.part(c)
	delete(h.clients, c)
	if h.addresses[c.from]--; h.addresses[c.from] <= 0 {
		delete(h.addresses, c.from)
	}
	if h.draining && len(h.clients) == 0 {
		close(h.gone)
	}
}

// end closes the connection. The client's lock is held.
func (c *Client) end() {
	if c.ended {
		return
	}
	c.ended, c.closing = true, true
	c.head, c.queue, c.pending = nil, nil, 0
	_ = c.conn.Close() // Whoever reads from it sees the end and calls Leave.
}

// cut ends a client at once.
func (c *Client) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end()
}

// hand gives a client what a flush has for its group.
func (c *Client) hand(b *batch, now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closing || c.draining || c.cursor >= b.to:
		return // Whoever drains catches up by itself.
	case c.cursor < b.since || c.cursor >= b.first:
		c.send(c.missing(maxEvents)...)
		return
	}
	n, err := c.conn.TryWrite(b.text)
	if err != nil {
		c.end()
		return
	}
	c.written = now
	if n == len(b.text) {
		c.cursor = b.to
		c.hub.counts.delivered.Add(uint64(b.messages))
		return
	}
	// What is on the wire in part is finished, together with its event. The rest is left to catching up.
	if n > 0 {
		end := b.ends[sort.Search(len(b.ends), func(i int) bool { return b.ends[i].offset >= n })]
		c.head, c.cursor = append([]byte(nil), b.text[n:end.offset]...), end.pos
		c.hub.counts.delivered.Add(uint64(end.messages))
	}
	c.wait()
}

// send queues what is to be written and writes as much as the socket takes. The client's lock is held.
func (c *Client) send(pieces ...piece) {
	if c.closing {
		return
	}
	for _, p := range pieces {
		if len(p.text) == 0 {
			continue
		}
		if c.queue = append(c.queue, p); !p.replay {
			c.pending += len(p.text)
		}
	}
	c.pump()
	if c.pending > c.hub.opts.MaxPending {
		c.shut(CloseSlow, "too much waits to be read", false)
	}
}

// most is how many bytes are put together into one write.
const most = 64 << 10

// next takes what is to be written next off the queue.
func (c *Client) next() []byte {
	if len(c.head) > 0 {
		b := c.head
		c.head = nil
		return b
	}
	n, size := 0, 0
	for n < len(c.queue) && (n == 0 || size+len(c.queue[n].text) <= most) {
		size += len(c.queue[n].text)
		n++
	}
	if n == 0 {
		return nil
	}
	b := c.queue[0].text
	if n > 1 {
		b = make([]byte, 0, size)
		for _, p := range c.queue[:n] {
			b = append(b, p.text...)
		}
	}
	for _, p := range c.queue[:n] {
		if !p.replay {
			c.pending -= len(p.text)
		}
	}
	clear(c.queue[:n])
	if c.queue = c.queue[n:]; len(c.queue) == 0 {
		c.queue = nil // A client that keeps up keeps no queue.
	}
	return b
}

// pump writes what is queued as far as the socket takes it, and has somebody wait for it when there is more. The client's
// lock is held.
func (c *Client) pump() {
	for !c.draining && !c.ended {
		b := c.next()
		if len(b) == 0 {
			c.settle()
			return
		}
		n, err := c.conn.TryWrite(b)
		if err != nil {
			c.end()
			return
		}
		c.written = time.Now().UnixNano()
		if n < len(b) {
			c.head = append([]byte(nil), b[n:]...)
			c.wait()
		}
	}
}

// wait starts a goroutine that writes as the socket takes it. The client's lock is held.
func (c *Client) wait() {
	c.draining, c.lagging = true, time.Now().UnixNano()
	c.hub.counts.lagging.Add(1)
	c.hub.work.Go(c.drain)
}

// drain writes what waits until the client is in step.
func (c *Client) drain() {
	defer c.hub.counts.lagging.Add(-1)
	for {
		c.mu.Lock()
		if len(c.head) == 0 && len(c.queue) == 0 && !c.closing {
			for _, p := range c.missing(1) {
				c.queue = append(c.queue, p)
				c.pending += len(p.text)
			}
		}
		b := c.next()
		if c.ended || len(b) == 0 {
			c.draining = false
			if !c.ended {
				_ = c.conn.SetWriteDeadline(time.Time{}) // It fails only for a connection that is closed.
				if c.pinged != 0 {
					c.pinged = time.Now().UnixNano() // The ping may only now have left.
				}
				c.settle()
			}
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		err := c.write(b)
		c.mu.Lock()
		c.written = time.Now().UnixNano()
		if err != nil && !c.ended {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				c.hub.counts.slow.Add(1)
			}
			c.end()
		}
		c.mu.Unlock()
	}
}

// stride is how much of a write has to be taken within WriteTimeout, in bytes.
const stride = 8 << 10

// write writes all of b, as long as the client takes some of it now and then.
func (c *Client) write(b []byte) error {
	for len(b) > 0 {
		part := b[:min(len(b), stride)]
		if err := c.conn.SetWriteDeadline(time.Now().Add(c.hub.opts.WriteTimeout)); err != nil {
			return err
		}
		if _, err := c.conn.Write(part); err != nil {
			return err
		}
		b = b[len(part):]
	}
	return nil
}

// settle is called when nothing waits any more: a client that was sent away gets the end of the stream, and some time to
// answer. The client's lock is held.
func (c *Client) settle() {
	if c.closing && !c.ended {
		_ = c.conn.CloseWrite()                               // Whoever reads from it closes it in the end.
		_ = c.conn.SetReadDeadline(time.Now().Add(lingering)) // As above.
	}
}

// missing returns what brings the client up to date: exactly what it lacks where that is a number of events at most that
// are still there, else the latest value of everything that has changed. The client's lock is held.
func (c *Client) missing(events uint64) []piece {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	return c.missingLocked(events)
}

// missingLocked is missing under the hub's lock.
func (c *Client) missingLocked(events uint64) []piece {
	h, from, g := c.hub, c.cursor, c.group
	if g == nil || from >= h.pos {
		return nil
	}
	c.cursor = h.pos
	if text, n, ok := h.exactly(g, from, events); ok {
		h.counts.delivered.Add(uint64(n))
		return []piece{{text: text}}
	}
	var frames []*frame
	for _, ch := range g.channels {
		if f := ch.latest(from); f != nil {
			frames = append(frames, f)
		}
	}
	if len(frames) > 0 {
		h.counts.conflated.Add(1)
	}
	h.counts.delivered.Add(uint64(len(frames)))
	return h.stream(c.encoding, frames, h.cursor())
}

// exactly returns what came for a group after a position, event by event, and how many messages that is. It reports false
// when that are more events than are asked for, more bytes than are put together into one write, or more than the history
// holds.
func (h *Hub) exactly(g *group, from, events uint64) (text []byte, messages int, ok bool) {
	if h.pos-from > events || len(h.events) == 0 || from+1 < h.events[0].pos {
		return nil, 0, false
	}
	for _, e := range h.events[from+1-h.events[0].pos:] {
		if updates := g.of(e, nil); len(updates) > 0 {
			text = g.appendEvent(text, e, updates)
			messages += len(updates)
		}
		if len(text) > most && h.pos > from+1 {
			return nil, 0, false
		}
	}
	return text, messages, true
}

// patience is how many events a client may be behind and still get each of them: one that lags gets the latest instead.
func (c *Client) patience() uint64 {
	if c.draining {
		return 1
	}
	return maxEvents
}

// stream puts messages on a wire. The last one carries an event stream's cursor, if there is one. The hub's lock is held.
func (h *Hub) stream(e Encoding, frames []*frame, cursor string) []piece {
	out := make([]piece, len(frames))
	for i, f := range frames {
		if e == EventStream && i == len(frames)-1 && cursor != "" {
			text := appendCursor(append([]byte(nil), f.form(e)...), cursor)
			text = append(text, '\n')
			out[i].text = text
			continue
		}
		out[i].text = f.whole(e)
	}
	return out
}

// Close sends a client away with a close code.
func (c *Client) Close(code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut(code, reason, false)
}

// Closed answers a client that closes with a code of its own.
func (c *Client) Closed(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		c.bid(code, "", false)
	}
}

// shut sends a client away. What waits for it is given up, but for what is on the wire in part, unless it is to be
// finished. The client's lock is held.
func (c *Client) shut(code int, reason string, finish bool) {
	if c.closing {
		return
	}
	if code == CloseSlow {
		c.hub.counts.slow.Add(1)
	}
	if code != CloseShutdown {
		c.hub.tell("client of the live feed sent away", "client", c.id, "address", c.from.String(), "code", code, "reason", reason)
	}
	c.bid(code, reason, finish)
}

// bid ends what a client is sent, with a close frame where its encoding has one. The client's lock is held.
func (c *Client) bid(code int, reason string, finish bool) {
	c.closing = true
	if !finish {
		c.queue, c.pending = nil, 0
	}
	if c.encoding != EventStream {
		c.queue = append(c.queue, piece{text: rfc6455.AppendClose(nil, code, reason), replay: true})
	}
	c.pump()
}
