package hub

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/service-islands/islands/host/internal/gateway/rfc6455"
)

// look is how often every client is looked at.
const look = time.Second

// sweepLoop sends pings and heartbeats, and sends away who does not keep up, until the hub is done.
func (h *Hub) sweepLoop() {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	var clients []*Client
	for {
		select {
		case <-h.done:
			return
		case <-ticker.C:
		}
		h.mu.Lock()
		for c := range h.clients {
			clients = append(clients, c)
		}
		h.mu.Unlock()
		now := time.Now()
		beat := plainMessage(typeHeartbeat, struct{}{}, now)
		for _, c := range clients {
			c.look(now, beat)
		}
		clear(clients)
		clients = clients[:0]
	}
}

// look does for a client what is due.
func (c *Client) look(now time.Time, beat *frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, at := &c.hub.opts, now.UnixNano()
	switch {
	case c.closing && c.draining && at-c.lagging >= int64(o.SlowTimeout):
		c.end() // It has been told, or will not hear it in time.
	case c.closing:
	case c.draining && at-c.lagging >= int64(o.SlowTimeout):
		c.shut(CloseSlow, "too slow", false)
	case c.draining: // A ping may wait behind what it has not taken yet.
	case c.pinged != 0 && at-c.pinged >= int64(o.PongTimeout):
		c.shut(CloseSlow, "no pong in time", false)
	default:
		if c.pinged == 0 && at >= c.nextPing {
			c.ping(now)
		}
		if at-c.written >= int64(o.Heartbeat) {
			c.send(piece{text: beat.whole(c.encoding)})
		}
	}
}

// pingFrame is a ping without a payload.
var pingFrame = rfc6455.AppendFrame(nil, rfc6455.Ping, nil)

// ping asks a WebSocket whether somebody reads. The client's lock is held.
func (c *Client) ping(now time.Time) {
	if c.encoding == EventStream || c.closing {
		return
	}
	c.pinged, c.nextPing = now.UnixNano(), now.Add(c.hub.opts.PingInterval).UnixNano()
	before := c.written
	c.send(piece{text: pingFrame})
	c.written = before // It is no message: those who cannot see pings wait for a heartbeat.
}

// Ponged notes that the client has answered a ping, or sent a pong of its own accord.
func (c *Client) Ponged() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pinged = 0
	if !c.closing {
		c.admit(time.Now())
	}
}

// Pong answers a ping of the client. It counts as a message.
func (c *Client) Pong(payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing && c.admit(time.Now()) {
		c.send(piece{text: rfc6455.AppendFrame(nil, rfc6455.Pong, payload)})
	}
}

// Reconnects are spread over at least leastSpread, and so that at most reconnectRate clients a second come back.
const (
	leastSpread   = 2 * time.Second
	mostSpread    = 30 * time.Second
	reconnectRate = 1000
	// afterShutdown is the least a client waits before it comes back.
	afterShutdown = 500 * time.Millisecond
	// farewellBatch clients are told at once, with a pause after each batch.
	farewellBatch = 500
	farewellPause = 10 * time.Millisecond
)

// farewell tells clients when to come back, each at another moment, and sends them away.
func (h *Hub) farewell(ctx context.Context, clients []*Client) {
	spread := min(max(leastSpread, time.Duration(len(clients))*time.Second/reconnectRate), mostSpread)
	now := time.Now()
	for i, c := range clients {
		after := afterShutdown + rand.N(spread)
		data := struct {
			After int64 `json:"reconnect_after_ms"`
		}{after.Milliseconds()}
		text := plainMessage(typeShutdown, data, now).whole(c.encoding)
		if c.encoding == EventStream {
			text = append(fmt.Appendf(nil, "retry: %d\n", after.Milliseconds()), text...)
		}
		c.mu.Lock()
		c.send(piece{text: text})
		c.shut(CloseShutdown, "the host shuts down", true)
		c.mu.Unlock()
		if i%farewellBatch != farewellBatch-1 {
			continue
		}
		select {
		case <-time.After(farewellPause):
		case <-ctx.Done():
			return
		}
	}
}
