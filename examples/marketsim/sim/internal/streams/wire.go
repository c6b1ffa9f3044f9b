package streams

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/service-islands/islands/examples/marketsim/sim/internal/upstream"
)

// wire is the connection of one client, whichever exchange it is to.
type wire struct {
	id      int64
	path    string
	address string
	opened  time.Time
	slow    time.Duration // How long a frame may take.
	socket  *websocket.Conn
	conn    net.Conn
	end     context.CancelCauseFunc
	nudge   chan struct{} // The subscriptions have changed.
	weather atomic.Pointer[Weather]
	sent    atomic.Int64
}

// finish ends the connection, unless something else has ended it already. What is being written has the grace to finish.
func (w *wire) finish(e *ending) {
	w.end(e)
	// A connection that cannot have a deadline is closed already.
	_ = w.conn.SetDeadline(time.Now().Add(closeGrace))
}

// write sends a frame within the deadline, or ends the connection.
func (w *wire) write(ctx context.Context, text []byte) {
	slow := time.AfterFunc(w.slow, func() {
		w.end(endSlow)
		// What was written is lost on purpose.
		_ = w.conn.Close()
	})
	defer slow.Stop()
	if err := w.socket.Write(ctx, websocket.MessageText, text); err != nil {
		w.finish(endClient)
	}
}

// close ends the socket as the reason demands.
func (w *wire) close(ctx context.Context) {
	e := reason(ctx)
	if e.code != 0 {
		// The client may be gone, or not take part: the deadline ends that.
		_ = w.socket.Close(e.code, e.text)
		return
	}
	if tcp, ok := w.conn.(*net.TCPConn); ok && e.label == labelCut {
		// Without lingering, closing sends a reset. If it cannot be set, the close below still cuts the client off.
		_ = tcp.SetLinger(0)
	}
	// There is nobody left who could be told of an error.
	_ = w.socket.CloseNow()
}

// own is the wire of a client.
func (w *wire) own() *wire { return w }

// client is somebody on a roster.
type client interface {
	own() *wire
	// names lists the streams that it has subscribed to.
	names() []string
}

// roster holds the open connections to one exchange.
type roster struct {
	faults Faults
	first  int64 // All ids are above.

	mu     sync.Mutex
	closed bool
	next   int64
	open   map[int64]client
	ends   map[string]int64
	wg     sync.WaitGroup
}

func newRoster(faults Faults, first int64) *roster {
	return &roster{faults: faults, first: first, next: first, open: map[int64]client{}, ends: map[string]int64{}}
}

// enter takes a client in and gives it an id, unless there are too many.
func (r *roster) enter(c client) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || len(r.open) >= maxConnections {
		return false
	}
	r.next++
	c.own().id = r.next
	c.own().weather.Store(&Weather{})
	r.open[r.next] = c
	r.wg.Add(1)
	return true
}

func (r *roster) leave(ctx context.Context, c client) {
	defer r.wg.Done()
	id := c.own().id
	r.mu.Lock()
	delete(r.open, id)
	r.ends[reason(ctx).label]++
	r.mu.Unlock()
	r.faults.Gone(id)
}

// Close ends all connections and waits until they are gone, a second or two when a client does not take part. It is
// safe to call twice; a connection that is attempted later is dropped.
func (r *roster) Close() {
	r.mu.Lock()
	r.closed = true
	for _, c := range r.open {
		c.own().finish(endClosed)
	}
	r.mu.Unlock()
	r.wg.Wait()
}

// Status lists the open connections in the order of their opening.
func (r *roster) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	status := Status{Open: len(r.open), Opened: r.next - r.first, Closed: maps.Clone(r.ends), Connections: []Connection{}}
	for _, id := range slices.Sorted(maps.Keys(r.open)) {
		c := r.open[id]
		w := c.own()
		status.Connections = append(status.Connections, Connection{
			ID: id, Path: w.path, Address: w.address, AgeMS: time.Since(w.opened).Milliseconds(), Frames: w.sent.Load(), Streams: c.names(),
		})
	}
	return status
}

// attempts bounds how often an address may connect within a window of the clock.
type attempts struct {
	now     func() time.Time
	window  time.Duration
	most    int // A negative one is no limit.
	callers *upstream.Table[connects]
}

// connects counts what an address has attempted in the window from start on.
type connects struct {
	start time.Time
	used  int
}

func newAttempts(now func() time.Time, window time.Duration, most int) *attempts {
	return &attempts{now: now, window: window, most: most, callers: upstream.NewTable[connects](upstream.Callers)}
}

// Admit charges an address for one attempt to connect and says whether it was within the limit.
func (a *attempts) Admit(caller string) bool {
	if a.most < 0 {
		return true
	}
	start, used := a.now().Truncate(a.window), 0
	a.callers.With(caller, func(c *connects) {
		if !c.start.Equal(start) {
			*c = connects{start: start}
		}
		c.used++
		used = c.used
	})
	return used <= a.most
}

// Reset forgets the attempts to connect.
func (a *attempts) Reset() { a.callers.Clear() }
