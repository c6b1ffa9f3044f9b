package streams

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/service-islands/islands/examples/marketsim/sim/internal/binance"
)

// connection is one client.
type connection struct {
	hub *Hub
	wire
	subscriptions

	pings    sync.WaitGroup
	pinged   int64
	answered atomic.Int64

	arrivals []time.Time // Of the last second's messages; the reader's own.
}

// ending is why a connection ends, and how: by a close frame, or without one when the code is 0.
type ending struct {
	label, text string
	code        websocket.StatusCode
}

func (e *ending) Error() string { return "the connection ends: " + e.label }

var (
	endClient   = &ending{label: "client"}
	endSlow     = &ending{label: "slow"}
	endClosed   = &ending{"closed", "going away", websocket.StatusGoingAway}
	endAge      = &ending{"age", "connection is too old", websocket.StatusGoingAway}
	endPong     = &ending{"pong", "Pong timeout", websocket.StatusPolicyViolation}
	endMessages = &ending{"messages", "Too many requests", websocket.StatusPolicyViolation}
	endStreams  = &ending{"streams", "Too many streams", websocket.StatusPolicyViolation}
)

// reason is why a connection ended.
func reason(ctx context.Context) *ending {
	var e *ending
	if errors.As(context.Cause(ctx), &e) {
		return e
	}
	return endClient
}

// closeGrace is how long a client has to take part in the end of its connection.
const closeGrace = time.Second

// read serves the client's messages until the connection ends.
func (c *connection) read(ctx context.Context) {
	for {
		_, text, err := c.socket.Read(ctx)
		if errors.Is(err, net.ErrClosed) {
			// Nothing but a ping or pong that could not be written closes the socket without giving a reason first.
			c.finish(endSlow)
			return
		}
		if err != nil {
			c.finish(endClient)
			return
		}
		if !c.arrive() {
			return
		}
		reply, method, full := c.request(text)
		if method != "" {
			c.hub.count(method)
		}
		select {
		case c.nudge <- struct{}{}:
		default:
		}
		if full {
			c.finish(endStreams)
			return
		}
		if !c.hub.faults.Frame(c.id, c.path, "").Silent {
			c.write(ctx, reply)
		}
	}
}

// arrive counts a message and ends a connection that sends too many.
func (c *connection) arrive() bool {
	limit := c.hub.options.Messages
	if limit < 0 {
		return true
	}
	now := time.Now()
	for len(c.arrivals) > 0 && now.Sub(c.arrivals[0]) >= time.Second {
		c.arrivals = c.arrivals[1:]
	}
	if len(c.arrivals) >= limit {
		c.finish(endMessages)
		return false
	}
	c.arrivals = append(c.arrivals, now)
	return true
}

// run keeps the agenda of the connection and closes it when it has ended.
func (c *connection) run(ctx context.Context) {
	defer c.pings.Wait()
	defer c.close(ctx)
	var a agenda
	a.ping = time.Now().Add(c.hub.options.Ping)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		changed := c.hub.faults.Changed()
		weather := c.hub.faults.Weather(c.id, c.path)
		c.weather.Store(&weather)
		a.plan(c, &weather)
		timer.Reset(time.Until(a.next()))
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-c.nudge:
		case <-timer.C:
			c.work(ctx, &a)
		}
	}
}

// work does what is due.
func (c *connection) work(ctx context.Context, a *agenda) {
	now := time.Now()
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	writes := context.WithoutCancel(ctx)
	if due(a.notice) {
		a.noticed = a.end
		if !c.hub.faults.Frame(c.id, c.path, "").Silent {
			c.write(writes, c.wrap("!serverShutdown", []byte(
				`{"e":"serverShutdown","E":`+strconv.FormatInt(c.hub.now().UnixMilli(), 10)+`}`)))
		}
	}
	if due(a.end) {
		c.finish(a.ending)
		return
	}
	if due(a.ping) {
		a.ping = now.Add(c.hub.options.Ping)
		if !c.weather.Load().Mute {
			c.ping(ctx)
		}
	}
	for _, b := range []*beat{&a.fast, &a.slow} {
		if !due(b.due) {
			continue
		}
		b.due = time.Time{}
		if since, at, ok := b.strike(c.hub.now()); ok {
			c.tick(ctx, b, since, at)
		}
	}
}

// tick sends the frames of every stream that has this pace.
func (c *connection) tick(ctx context.Context, b *beat, since, at time.Time) {
	writes := context.WithoutCancel(ctx)
	for _, s := range c.list(b.isSlow) {
		list, err := c.hub.tick(s, since, at)
		if err != nil {
			// A number without a JSON form is a mistake of this program, which the client is shown.
			list = []json.RawMessage{json.RawMessage(strconv.Quote(err.Error()))}
		}
		for _, data := range list {
			if ctx.Err() != nil {
				return
			}
			c.frame(writes, s, data, since, at)
		}
	}
}

// frame sends one frame, and what the faults make of it.
func (c *connection) frame(ctx context.Context, s binance.Stream, data []byte, since, at time.Time) {
	treatment := c.hub.faults.Frame(c.id, c.path, s.Name)
	if treatment.Silent {
		return
	}
	send := func(data []byte) {
		c.sent.Add(1)
		c.write(ctx, c.wrap(s.Name, data))
	}
	send(data)
	if treatment.Twice {
		send(data)
	}
	if treatment.Late == 0 {
		return
	}
	// Older frames bypass what is kept for the others. One that has no JSON form was not sent in its time either.
	list, err := s.Frames(since.Add(-treatment.Late), at.Add(-treatment.Late))
	if err != nil {
		return
	}
	for _, data := range list {
		send(data)
	}
}

// wrap puts the name of the stream around a frame where the client has asked for it.
func (c *connection) wrap(name string, data []byte) []byte {
	if !c.isCombined() {
		return data
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"stream":%s,"data":%s}`, quote(name), data)
	return b.Bytes()
}

// ping sends a ping and has somebody wait for the pong.
func (c *connection) ping(ctx context.Context) {
	c.pinged++
	n := c.pinged
	c.pings.Go(func() {
		// The end of the connection must not cancel a ping on its way, which would close the socket without a close frame.
		// A closed socket ends the waiting.
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.hub.options.Pong)
		defer cancel()
		err := c.socket.Ping(limited)
		if err == nil {
			for last := c.answered.Load(); last < n && !c.answered.CompareAndSwap(last, n); {
				last = c.answered.Load()
			}
			return
		}
		switch {
		case ctx.Err() != nil:
		case limited.Err() == nil && errors.Is(err, context.DeadlineExceeded):
			// The library's own deadline, which is for writing.
			c.finish(endSlow)
		case limited.Err() != nil && c.answered.Load() < n:
			c.finish(endPong)
		}
	})
}

// tap keeps the connection of a call that is upgraded.
type tap struct {
	http.ResponseWriter
	conn net.Conn
}

// Hijack takes the connection over from the server.
func (t *tap) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffer, err := http.NewResponseController(t.ResponseWriter).Hijack()
	t.conn = conn
	return conn, buffer, err
}
