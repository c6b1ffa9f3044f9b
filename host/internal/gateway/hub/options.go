package hub

import (
	"time"

	"github.com/hashicorp/go-hclog"
)

// Options of a Hub. What is zero gets its default.
type Options struct {
	// Symbols of the feed, in lower case: each has a channel from the start. More come with the feed.
	Symbols []string
	// MaxConnections bounds the clients, 20,000; MaxPerAddress those of one IP address, 1,000.
	MaxConnections, MaxPerAddress int
	// MaxSubscriptions bounds the channels of one client; 128.
	MaxSubscriptions int
	// MessagesPerSecond bounds what a client may send, with a burst of twice as many; 10.
	MessagesPerSecond int
	// MaxMessage bounds a message of a client, in bytes; 4 KiB.
	MaxMessage int
	// MaxPending bounds what waits for one client, in bytes; 1 MiB. What is replayed to a client that returns does not
	// count: it is shared.
	MaxPending int
	// History bounds the updates kept for clients that return, in bytes; 16 MiB.
	History int
	// SlowTimeout is how long a client may lag; 30 s. WriteTimeout is how long it may take nothing at all; 10 s.
	SlowTimeout, WriteTimeout time.Duration
	// PingInterval is how often a WebSocket is asked for a pong, PongTimeout how long that may take; 25 s and 10 s. The
	// first ping follows the welcome.
	PingInterval, PongTimeout time.Duration
	// Heartbeat is how long nothing was sent before a heartbeat is; 15 s.
	Heartbeat time.Duration
	// FlushPause is the least time between the end of a flush and the next; 5 ms.
	FlushPause time.Duration
	Logger     hclog.Logger
}

// maxEvents bounds the events that are kept, whatever their size.
const maxEvents = 4096

// lingering is how long a client that was sent away has to close its end.
const lingering = 2 * time.Second

func (o Options) withDefaults() Options {
	number := func(n *int, def int) {
		if *n <= 0 {
			*n = def
		}
	}
	duration := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	number(&o.MaxConnections, 20_000)
	number(&o.MaxPerAddress, 1_000)
	number(&o.MaxSubscriptions, 128)
	number(&o.MessagesPerSecond, 10)
	number(&o.MaxMessage, 4<<10)
	number(&o.MaxPending, 1<<20)
	number(&o.History, 16<<20)
	duration(&o.SlowTimeout, 30*time.Second)
	duration(&o.WriteTimeout, 10*time.Second)
	duration(&o.PingInterval, 25*time.Second)
	duration(&o.PongTimeout, 10*time.Second)
	duration(&o.Heartbeat, 15*time.Second)
	duration(&o.FlushPause, 5*time.Millisecond)
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	return o
}
