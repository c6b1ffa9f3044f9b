package streams

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/service-islands/islands/examples/marketsim/sim/internal/binance"
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
	*roster
	*attempts

	frameMu sync.Mutex
	frames  map[string]tick
}

// tick remembers the last frames of a stream.
type tick struct {
	since, at time.Time
	list      []json.RawMessage
}

// New returns a hub. Now is the simulation's clock, find the streams and count is told the method of every request.
func New(o Options, now func() time.Time, find func(name string) binance.Stream, faults Faults, count func(method string)) *Hub {
	o = o.withDefaults()
	return &Hub{
		options: o, now: now, find: find, count: count, frames: map[string]tick{},
		roster: newRoster(faults, 0), attempts: newAttempts(now, connectWindow, o.Connects),
	}
}

const (
	// maxConnections bounds what is open at once.
	maxConnections = 1024
	// connectWindow is the time in which connects are counted.
	connectWindow = 5 * time.Minute
)

// Serve upgrades the call and serves the connection until it ends. Path is "/stream" or "/ws", and the names are what
// it is subscribed to from the beginning.
func (h *Hub) Serve(w http.ResponseWriter, r *http.Request, path string, names []string) {
	ctx, end := context.WithCancelCause(context.WithoutCancel(r.Context()))
	defer end(nil)
	c := &connection{
		hub:           h,
		wire:          wire{path: path, address: r.RemoteAddr, opened: time.Now(), slow: h.options.Write, end: end, nudge: make(chan struct{}, 1)},
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
