package hub

import (
	"runtime"
	"sort"
	"time"
)

// group are the clients with the same channels in the same encoding.
type group struct {
	key      string
	encoding Encoding
	channels []*channel
	members  []*Client
	// pos is the event up to which the group was last looked at, written the one up to which it was last written to.
	pos, written uint64
}

// has reports whether a channel is one of the group's.
func (g *group) has(ch *channel) bool {
	i := sort.Search(len(g.channels), func(i int) bool { return g.channels[i].id >= ch.id })
	return i < len(g.channels) && g.channels[i] == ch
}

// of returns the updates of an event that concern the group.
func (g *group) of(e *event, into []*update) []*update {
	for _, u := range e.updates {
		if g.has(u.channel) {
			into = append(into, u)
		}
	}
	return into
}

// share is an event and what of it concerns a group.
type share struct {
	event   *event
	updates []*update
}

// batch is what a flush writes to the members of a group that are in step.
type batch struct {
	shares []share
	// overtaken is whether more has come than the history holds.
	overtaken bool
	text      []byte
	// ends are where each event of it ends.
	ends []mark
	// Members whose position is within [since, first) are in step.
	since, first uint64
	to           uint64
	messages     int
}

// mark is where an event ends in a batch, and how many messages there are up to it.
type mark struct {
	offset   int
	pos      uint64
	messages int
}

// flushLoop writes to clients until the hub is done.
func (h *Hub) flushLoop() {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	var ended time.Time
	for {
		select {
		case <-h.wake:
		case <-h.done:
			return
		}
		if wait := h.opts.FlushPause - time.Since(ended); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-h.done:
				return
			}
		}
		h.flush()
		ended = time.Now()
	}
}

// Behind is how many events no flush has begun to hand over. A publisher that could go on faster than clients can be
// written to looks at it.
func (h *Hub) Behind() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return int(h.pos - h.flushed)
}

// yieldEvery is after how many clients a flush lets others run: a round over all may take longer than an answer over HTTP
// should wait on a machine with few processors.
const yieldEvery = 64

// flush hands what has come since the last flush to every client that keeps up.
func (h *Hub) flush() {
	h.mu.Lock()
	h.flushed = h.pos
	groups := h.flushing[:0]
	for _, g := range h.groups {
		if g.pos < h.pos {
			groups = append(groups, g)
		}
	}
	h.mu.Unlock()
	now := time.Now().UnixNano()
	for _, g := range groups {
		h.mu.Lock()
		b := h.behind(g)
		if len(b.shares) > 0 || b.overtaken {
			h.members = append(h.members[:0], g.members...)
		}
		h.mu.Unlock()
		if len(h.members) > 0 {
			h.encode(g, &b)
			for i, c := range h.members {
				c.hand(&b, now)
				if i%yieldEvery == yieldEvery-1 {
					runtime.Gosched()
				}
			}
			h.counts.flushes.Add(1)
		}
		clear(h.members)
		h.members = h.members[:0]
		clear(h.shares)
	}
	clear(groups)
	h.flushing = groups
}

// behind finds out what has come for a group since it was last looked at. The hub's lock is held.
func (h *Hub) behind(g *group) batch {
	from := g.pos
	b := batch{since: g.written, to: h.pos, shares: h.shares[:0]}
	g.pos = h.pos
	if len(h.events) == 0 || from+1 < h.events[0].pos {
		// More has come than the history holds: everybody in the group lags.
		g.written = h.pos
		b.overtaken, b.since, b.first = true, h.pos+1, h.pos+1
		return b
	}
	for _, e := range h.events[from+1-h.events[0].pos:] {
		if updates := g.of(e, nil); len(updates) > 0 {
			b.shares = append(b.shares, share{e, updates})
		}
	}
	if len(b.shares) > 0 {
		b.first, g.written = b.shares[0].event.pos, h.pos
		h.shares = b.shares
	}
	return b
}

// encode puts together what a flush writes to those of a group that are in step. Events do not change, so it takes no lock:
// making a message and compressing it keeps nobody from publishing.
func (h *Hub) encode(g *group, b *batch) {
	b.text, b.ends = h.text[:0], h.ends[:0]
	for _, s := range b.shares {
		b.text = g.appendEvent(b.text, s.event, s.updates)
		b.messages += len(s.updates)
		b.ends = append(b.ends, mark{len(b.text), s.event.pos, b.messages})
	}
	h.text, h.ends = b.text, b.ends
}

// appendEvent appends what an event brings the group. The last message of an event carries an event stream's cursor: whoever
// was cut off before it has not had the event.
func (g *group) appendEvent(b []byte, e *event, updates []*update) []byte {
	for i, u := range updates {
		b = append(b, u.frame().form(g.encoding)...)
		if g.encoding == EventStream {
			if i == len(updates)-1 {
				b = appendCursor(b, e.cursor)
			}
			b = append(b, '\n')
		}
	}
	return b
}

func appendCursor(b []byte, cursor string) []byte {
	return append(append(append(b, "id: "...), cursor...), '\n')
}

// join makes a client a member of the group of some channels, which are sorted. The hub's lock is held, and the client's.
func (h *Hub) join(c *Client, channels []*channel) {
	key := groupKey(channels, c.encoding)
	g := h.groups[key]
	if g == nil {
		g = &group{key: key, encoding: c.encoding, channels: channels, pos: h.pos, written: h.pos}
		h.groups[key] = g
	}
	if c.group == g {
		return
	}
	h.part(c)
	c.group, c.index = g, len(g.members)
	g.members = append(g.members, c)
}

// part takes a client out of its group. The hub's lock is held.
func (h *Hub) part(c *Client) {
	g := c.group
	if g == nil {
		return
	}
	last := g.members[len(g.members)-1]
	g.members[c.index], last.index = last, c.index
	g.members[len(g.members)-1] = nil
	g.members = g.members[:len(g.members)-1]
	if len(g.members) == 0 {
		delete(h.groups, g.key)
	}
	c.group = nil
}
