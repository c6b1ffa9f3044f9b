package streams

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/service-islands/islands/examples/marketsim/sim/internal/binance"
	"github.com/service-islands/islands/examples/marketsim/sim/internal/upstream"
)

// Options are the rules of the exchange. Zero stands for the default, and a negative number, where that makes sense,
// for no limit.
type Options struct {
	// Interval is the pace of the streams, default 1 s; that of candles other than 1s is twice as long.
	Interval time.Duration
	// Ping is how often the server pings, default 20 s, and Pong how long it waits for the answer, default 1 minute.
	Ping, Pong time.Duration
	// Life is how long a connection may stay open, default 24 h. Notice is how long before that a serverShutdown frame
	// comes, default 10 minutes, and at most a quarter of the life.
	Life, Notice time.Duration
	// Write is how long a frame may take on its way to a client that does not read, default 5 s.
	Write time.Duration
	// Messages is how many pings, pongs and requests a client may send within a second, default 5.
	Messages int
	// Connects is how often an address may connect in five minutes of the clock, default 300.
	Connects int
}

func (o Options) withDefaults() Options {
	o.Interval = cmp.Or(max(o.Interval, 0), time.Second)
	o.Ping = cmp.Or(max(o.Ping, 0), 20*time.Second)
	o.Pong = cmp.Or(max(o.Pong, 0), time.Minute)
	o.Life = cmp.Or(max(o.Life, 0), 24*time.Hour)
	o.Notice = cmp.Or(max(o.Notice, 0), 10*time.Minute)
	o.Write = cmp.Or(max(o.Write, 0), 5*time.Second)
	o.Messages = cmp.Or(o.Messages, 5)
	o.Connects = cmp.Or(o.Connects, 300)
	return o
}

// Faults say how connections misbehave.
type Faults interface {
	// Changed is closed when a connection should look at its weather again.
	Changed() <-chan struct{}
	// Weather is what is in force for a connection.
	Weather(connection int64, path string) Weather
	// Frame is what happens to one frame of a stream; to an answer or a notice when the stream is "".
	Frame(connection int64, path, stream string) Treatment
	// Gone says that a connection has ended.
	Gone(connection int64)
}

// Weather is what is in force for a connection. The zero value is fair.
type Weather struct {
	// Mute holds back pings and pongs.
	Mute bool
	// Interval and Life replace those of the options when they are not 0.
	Interval, Life time.Duration
	// Cut, when not nil, ends the connection.
	Cut *Cut
}

// Cut is an end that was ordered.
type Cut struct {
	At time.Time
	// Code is that of the close frame; 0 resets the connection without one.
	Code int
	// Shutdown sends a serverShutdown frame at once.
	Shutdown bool
}

// Treatment is what happens to a frame.
type Treatment struct {
	// Silent keeps it back.
	Silent bool
	// Twice sends it twice.
	Twice bool
	// Late, when not 0, sends after it the one of that long before.
	Late time.Duration
}

// Hub holds the open connections.
type Hub struct {
	options Options
	now     func() time.Time
	find    func(name string) binance.Stream
	count   func(method string)
	faults  Faults
	callers *upstream.Table[connects]

	mu     sync.Mutex
	closed bool
	next   int64
	open   map[int64]*connection
	ends   map[string]int64
	wg     sync.WaitGroup

	frameMu sync.Mutex
	frames  map[string]tick
}

// tick remembers the last frames of a stream.
type tick struct {
	since, at time.Time
	list      []json.RawMessage
}

// connects counts what an address has attempted in the five minutes from start on.
type connects struct {
	start time.Time
	used  int
}

// New returns a hub. Now is the simulation's clock, find the streams and count is told the method of every request.
func New(o Options, now func() time.Time, find func(name string) binance.Stream, faults Faults, count func(method string)) *Hub {
	return &Hub{
		options: o.withDefaults(),
		now:     now,
		find:    find,
		count:   count,
		faults:  faults,
		callers: upstream.NewTable[connects](upstream.Callers),
		open:    map[int64]*connection{},
		ends:    map[string]int64{},
		frames:  map[string]tick{},
	}
}

const (
	// maxConnections bounds what is open at once.
	maxConnections = 1024
	// connectWindow is the time in which connects are counted.
	connectWindow = 5 * time.Minute
)

// Admit charges an address for one attempt to connect and says whether it was within the limit.
func (h *Hub) Admit(caller string) bool {
	if h.options.Connects < 0 {
		return true
	}
	start := h.now().Truncate(connectWindow)
	used := 0
	h.callers.With(caller, func(c *connects) {
		if !c.start.Equal(start) {
			*c = connects{start: start}
		}
		c.used++
		used = c.used
	})
	return used <= h.options.Connects
}

// Reset forgets the attempts to connect.
func (h *Hub) Reset() { h.callers.Clear() }

// Serve upgrades the call and serves the connection until it ends. Path is "/stream" or "/ws", and the names are what
// it is subscribed to from the beginning.
func (h *Hub) Serve(w http.ResponseWriter, r *http.Request, path string, names []string) {
	ctx, end := context.WithCancelCause(context.WithoutCancel(r.Context()))
	defer end(nil)
	c := &connection{
		hub: h, path: path, address: r.RemoteAddr, opened: time.Now(), end: end, nudge: make(chan struct{}, 1),
		subscriptions: subscriptions{find: h.find, combined: path == "/stream"},
	}
	tap := &tap{ResponseWriter: w}
	socket, err := websocket.Accept(tap, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // The exchange serves any page, and so may a simulation on a loopback address.
		OnPingReceived: func(context.Context, []byte) bool {
			return c.arrive() && !c.weather.Load().Mute
		},
		OnPongReceived: func(context.Context, []byte) { c.arrive() },
	})
	if err != nil {
		// The client has been answered what is wrong with its handshake.
		return
	}
	c.socket, c.conn = socket, tap.conn
	socket.SetReadLimit(maxRequest)
	full := !c.subscribe(names)
	if !h.enter(c) {
		// Nobody waits for this connection, and a refused client need not be told politely.
		_ = socket.CloseNow()
		return
	}
	defer h.leave(ctx, c)
	if full {
		c.finish(endStreams)
	}
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		c.run(ctx)
	}()
	c.read(context.WithoutCancel(ctx))
	<-ran
}

func (h *Hub) enter(c *connection) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.open) >= maxConnections {
		return false
	}
	h.next++
	c.id = h.next
	c.weather.Store(&Weather{})
	h.open[c.id] = c
	h.wg.Add(1)
	return true
}

func (h *Hub) leave(ctx context.Context, c *connection) {
	defer h.wg.Done()
	h.mu.Lock()
	delete(h.open, c.id)
	h.ends[reason(ctx).label]++
	h.mu.Unlock()
	h.faults.Gone(c.id)
}

// Close ends all connections and waits until they are gone, a second or two when a client does not take part. It is
// safe to call twice; a connection that is attempted later is dropped.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	for _, c := range h.open {
		c.finish(endClosed)
	}
	h.mu.Unlock()
	h.wg.Wait()
}

// tick returns a stream's frames. Those of the last tick are kept, since other connections ask for the same.
func (h *Hub) tick(s binance.Stream, since, at time.Time) ([]json.RawMessage, error) {
	h.frameMu.Lock()
	defer h.frameMu.Unlock()
	if last, ok := h.frames[s.Name]; ok && last.since.Equal(since) && last.at.Equal(at) {
		return last.list, nil
	}
	list, err := s.Frames(since, at)
	if err != nil || list == nil {
		return nil, err
	}
	if len(h.frames) >= 2*maxStreams {
		clear(h.frames)
	}
	h.frames[s.Name] = tick{since, at, list}
	return list, nil
}

// Status is the state of all streams, in the shape of `GET /_sim/streams`.
type Status struct {
	// Open is how many connections are open, and Opened how many ever were.
	Open   int   `json:"open"`
	Opened int64 `json:"opened"`
	// Closed counts the ended ones by their reason: "client" (it went), "pong", "messages", "streams", "slow", "age",
	// "cut", "shutdown" and "closed" (with the server).
	Closed      map[string]int64 `json:"closed"`
	Connections []Connection     `json:"connections"`
}

// Connection is an open connection.
type Connection struct {
	ID      int64  `json:"id"`
	Path    string `json:"path"`
	Address string `json:"address"`
	// AgeMS is for how many milliseconds it has been open.
	AgeMS int64 `json:"age_ms"`
	// Frames is how many data frames were sent to it.
	Frames  int64    `json:"frames"`
	Streams []string `json:"streams"`
}

// Status lists the open connections in the order of their opening.
func (h *Hub) Status() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	status := Status{Open: len(h.open), Opened: h.next, Closed: maps.Clone(h.ends), Connections: []Connection{}}
	for _, id := range slices.Sorted(maps.Keys(h.open)) {
		c := h.open[id]
		status.Connections = append(status.Connections, Connection{
			ID: id, Path: c.path, Address: c.address, AgeMS: time.Since(c.opened).Milliseconds(),
			Frames: c.sent.Load(), Streams: c.names(),
		})
	}
	return status
}
