package sim

import (
	"net/http"
	"strings"
	"time"

	"github.com/service-islands/islands/examples/marketsim/sim/internal/streams"
	"github.com/service-islands/islands/examples/marketsim/sim/internal/upstream"
)

// StreamOptions are the rules of Binance's streams. Zero stands for the default, and a negative number of messages or
// connects for no limit.
type StreamOptions struct {
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

// StreamStatus is the state of Binance's streams, in the shape of `GET /_sim/streams`.
type StreamStatus = streams.Status

// StreamConnection is an open connection of a [StreamStatus].
type StreamConnection = streams.Connection

// ChannelOptions are the rules of Kraken's channels. Zero stands for the default, and a negative number of messages or connects
// for no limit.
type ChannelOptions struct {
	// Interval is how often trades are looked at, default 1 s.
	Interval time.Duration
	// Heartbeat is how long a subscribed connection is quiet before it gets a heartbeat, default 1 s.
	Heartbeat time.Duration
	// Idle is how long a connection without a subscription stays open, default 1 minute.
	Idle time.Duration
	// Write is how long a frame may take on its way to a client that does not read, default 5 s.
	Write time.Duration
	// Messages is how many messages a client may send within a second, default 20.
	Messages int
	// Connects is how often an address may connect in ten minutes of the clock, default 150.
	Connects int
}

// Channels tells the same as [Server.Streams] of the connections to Kraken.
func (s *Server) Channels() StreamStatus { return s.channels.Status() }

// krakenRoute is the route of Kraken's channels.
const krakenRoute = "/v2"

// Streams tells which connections are open, to what they are subscribed, and why the others have ended.
func (s *Server) Streams() StreamStatus { return s.streams.Status() }

// streamRoute is the route of the streams that a call is for: "/stream" or "/ws", "/v2" of Kraken, and "" for none.
func streamRoute(service, path string) string {
	switch {
	case service == serviceKraken && path == krakenRoute:
		return path
	case service != serviceBinance:
	case path == "/stream", path == "/ws":
		return path
	case strings.HasPrefix(path, "/ws/"):
		return "/ws"
	}
	return ""
}

// streamNames are the streams that the address of a call asks for.
func streamNames(r *upstream.Request, route string) []string {
	list := r.Query.Get("streams")
	if route == "/ws" {
		list = strings.TrimPrefix(r.Path, route)
	}
	return strings.FieldsFunc(list, func(c rune) bool { return c == '/' })
}

// streamRefusal answers an upgrade beyond the limit of connects.
func streamRefusal() *upstream.Reply {
	reply := upstream.JSON(http.StatusTooManyRequests, upstream.Object{
		{Name: "code", Value: -1003}, {Name: "msg", Value: "Too many connection attempts from this address."},
	})
	return &reply
}
