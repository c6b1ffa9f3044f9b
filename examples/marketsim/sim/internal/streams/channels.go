package streams

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"github.com/service-islands/islands/examples/marketsim/sim/internal/kraken"
)

// ChannelOptions are the rules of Kraken's channels. Zero stands for the default.
type ChannelOptions struct {
	// Interval is how often trades are looked at, default 1 s.
	Interval time.Duration
	// Heartbeat is how long a subscribed connection is quiet before it gets a heartbeat, default 1 s.
	Heartbeat time.Duration
	// Idle is how long a connection without a subscription stays open, default 1 minute.
	Idle time.Duration
	// Write is how long a frame may take on its way to a client that does not read, default 5 s.
	Write time.Duration
	// Messages is how many messages a client may send within a second, default 20; a negative one has no limit.
	Messages int
	// Connects is how often an address may connect in ten minutes of the clock, default 150; a negative one has no limit.
	Connects int
}

func (o ChannelOptions) withDefaults() ChannelOptions {
	o.Interval = cmp.Or(max(o.Interval, 0), time.Second)
	o.Heartbeat = cmp.Or(max(o.Heartbeat, 0), time.Second)
	o.Idle = cmp.Or(max(o.Idle, 0), time.Minute)
	o.Write = cmp.Or(max(o.Write, 0), 5*time.Second)
	o.Messages = cmp.Or(o.Messages, 20)
	o.Connects = cmp.Or(o.Connects, 150)
	return o
}

// FindChannel finds a channel of a pair, or says in Kraken's words what is wrong.
type FindChannel func(channel, symbol string, minutes int) (found kraken.Channel, complaint string)

// Channels holds the open connections to Kraken's WebSocket API.
type Channels struct {
	options ChannelOptions
	now     func() time.Time
	find    FindChannel
	count   func(method string)
	*roster
	*attempts
}

// firstChannel keeps the ids of these connections apart from those of a [Hub], because faults know both.
const firstChannel = 1 << 32

// channelWindow is the time in which connects are counted.
const channelWindow = 10 * time.Minute

// NewChannels returns a hub. Now is the simulation's clock, find the channels and count is told the method of every request.
func NewChannels(o ChannelOptions, now func() time.Time, find FindChannel, faults Faults, count func(method string)) *Channels {
	o = o.withDefaults()
	return &Channels{
		options: o, now: now, find: find, count: count,
		roster: newRoster(faults, firstChannel), attempts: newAttempts(now, channelWindow, o.Connects),
	}
}

// Serve upgrades the call and serves the connection until it ends.
func (h *Channels) Serve(w http.ResponseWriter, r *http.Request, path string) {
	ctx, end := context.WithCancelCause(context.WithoutCancel(r.Context()))
	defer end(nil)
	l := &listener{
		hub:        h,
		wire:       wire{path: path, address: r.RemoteAddr, opened: time.Now(), slow: h.options.Write, end: end, nudge: make(chan struct{}, 1)},
		subscribed: map[string]*told{},
	}
	tap := &tap{ResponseWriter: w}
	socket, err := websocket.Accept(tap, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // The exchange serves any page, and so may a simulation on a loopback address.
		OnPingReceived: func(context.Context, []byte) bool {
			weather := l.weather.Load()
			return weather == nil || !weather.Mute
		},
	})
	if err != nil {
		// The client has been answered what is wrong with its handshake.
		return
	}
	l.socket, l.conn = socket, tap.conn
	socket.SetReadLimit(maxRequest)
	if !h.enter(l) {
		// Nobody waits for this connection, and a refused client need not be told politely.
		_ = socket.CloseNow()
		return
	}
	defer h.leave(ctx, l)
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		l.run(ctx)
	}()
	l.read(context.WithoutCancel(ctx))
	<-ran
}

// wireTime is a time as the channels write it.
func wireTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// ask is a request: {"method":"subscribe","params":{"channel":"ticker","symbol":["BTC/USD"]},"req_id":1}.
type ask struct {
	Method string `json:"method"`
	Params struct {
		Channel  string          `json:"channel"`
		Symbol   []string        `json:"symbol"`
		Interval *int            `json:"interval"`
		Snapshot *bool           `json:"snapshot"`
		Trigger  json.RawMessage `json:"event_trigger"`
	} `json:"params"`
	ID *int64 `json:"req_id"`
}
