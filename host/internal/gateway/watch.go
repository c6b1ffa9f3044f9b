package gateway

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// watch sees to it that no connection of a server takes longer than it may. fasthttp can do that with deadlines, three of
// them per request; a stamp per step and one look at all connections now and then cost a tenth of that. Nothing is cut
// before its time, and nothing later than two looks after it. When there is little room left for new connections, those that
// do nothing have less time.
//
// fasthttp reports a connection as new when it is accepted, as active when the first byte of a request has arrived, which
// is before its header is read, and as idle when the answer has been handed to the kernel or waits for that of a
// pipelined request. The two steps between, the handler and the writing, are told by the handler itself.
type watch struct {
	limits limits
	// pressed is whether there is little room for more connections; nil for never.
	pressed func() bool
	// clock is the time of the last look, as a stamp without a phase. It counts looks, so that it never runs ahead of the
	// real time: after a pause in which nobody looked, no connection seems older than it was seen to be.
	clock atomic.Uint64
	conns sync.Map // of net.Conn → *watched

	stop, stopped chan struct{} // nil before start
}

// watched is a connection that is open.
type watched struct {
	conn net.Conn
	at   atomic.Uint64 // the stamp of the step it is at
}

// phase is the step that a connection is at.
type phase uint64

// The phases. A connection leaves refused and cut only by being closed.
const (
	opened  phase = iota // accepted; nothing has arrived yet
	reading              // a request is arriving
	working              // the handler runs, within a time of its own, or streams its answer
	writing              // the answer is on its way
	idle                 // the client may ask again
	refused              // the request took too long to arrive; the client is told
	cut                  // closed here
)

// A stamp is a phase and when it began, in milliseconds of the watch's clock.
const phaseBits = 3

func stampOf(p phase, at uint64) uint64 { return at | uint64(p) }

func phaseOf(stamp uint64) phase { return phase(stamp & (1<<phaseBits - 1)) }

func timeOf(stamp uint64) uint64 { return stamp &^ (1<<phaseBits - 1) }

// ticks are a duration in the unit of stamps.
func ticks(d time.Duration) uint64 { return uint64(max(0, d).Milliseconds()) << phaseBits }

func newWatch(l limits) *watch { return &watch{limits: l} }

// start begins to look, in a goroutine that end waits for.
func (w *watch) start() {
	w.stop, w.stopped = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(w.stopped)
		ticker := time.NewTicker(w.limits.look)
		defer ticker.Stop()
		for {
			select {
			case <-w.stop:
				return
			case <-ticker.C:
				w.look(w.clock.Load() + ticks(w.limits.look))
			}
		}
	}()
}

// end stops looking. It may be called once after start.
func (w *watch) end() {
	close(w.stop)
	<-w.stopped
}

// track follows a connection. It is fasthttp's ConnState callback.
func (w *watch) track(conn net.Conn, state fasthttp.ConnState) {
	switch state {
	case fasthttp.StateNew:
		c := &watched{conn: conn}
		c.at.Store(stampOf(opened, w.clock.Load()))
		w.conns.Store(conn, c)
	case fasthttp.StateActive:
		c := w.find(conn)
		if c == nil {
			return
		}
		switch stamp := c.at.Load(); phaseOf(stamp) {
		case opened: // The first request has to arrive within the time that began with the connection.
			c.at.CompareAndSwap(stamp, stampOf(reading, timeOf(stamp)))
		case refused, cut:
		case reading, working, writing, idle:
			c.at.Store(stampOf(reading, w.clock.Load()))
		}
	case fasthttp.StateIdle:
		w.step(conn, idle)
	case fasthttp.StateClosed, fasthttp.StateHijacked:
		w.conns.Delete(conn)
	}
}

// find returns an open connection, nil for one that the listener did not accept.
func (w *watch) find(conn net.Conn) *watched {
	if c, ok := w.conns.Load(conn); ok {
		return c.(*watched)
	}
	return nil
}

// step notes that a connection enters a phase. It reports false when its time was up in the phase before.
func (w *watch) step(conn net.Conn, p phase) bool {
	c := w.find(conn)
	if c == nil {
		return true
	}
	before := phaseOf(c.at.Swap(stampOf(p, w.clock.Load())))
	return before != refused && before != cut
}

// longAgo is a deadline that is over.
var longAgo = time.Unix(1, 0)

// look ends what has taken too long. Whether a connection has gone on meanwhile is decided by its stamp: who changes it
// first has it.
func (w *watch) look(now uint64) {
	w.clock.Store(now)
	late := func(stamp uint64, limit time.Duration) bool {
		// A stamp is as old as the look before it, at most.
		return now-timeOf(stamp) >= ticks(limit+w.limits.look)
	}
	silence, rest := w.limits.read, w.limits.idle
	if w.pressed != nil && w.pressed() {
		silence, rest = min(silence, w.limits.hurry), min(rest, w.limits.hurry)
	}
	w.conns.Range(func(_, value any) bool {
		c := value.(*watched)
		stamp := c.at.Load()
		switch phaseOf(stamp) {
		case opened, reading:
			limit := w.limits.read
			if phaseOf(stamp) == opened {
				limit = silence
			}
			if late(stamp, limit) && c.at.CompareAndSwap(stamp, stampOf(refused, now)) {
				// The server sees a read that timed out, and says so to the client.
				_ = c.conn.SetReadDeadline(longAgo) // It fails only for a connection that is closed.
			}
		case writing, refused:
			if late(stamp, w.limits.write) {
				c.cut(stamp)
			}
		case idle:
			if late(stamp, rest) {
				c.cut(stamp)
			}
		case working, cut:
		}
		return true
	})
}

// cut closes a connection unless it has gone on since it had that stamp.
func (c *watched) cut(stamp uint64) {
	if c.at.CompareAndSwap(stamp, stampOf(cut, timeOf(stamp))) {
		_ = c.conn.Close() // It is given up; its own goroutine sees the end.
	}
}

// closeAll closes every connection that is open.
func (w *watch) closeAll() {
	w.conns.Range(func(_, value any) bool {
		_ = value.(*watched).conn.Close() // As above.
		return true
	})
}
