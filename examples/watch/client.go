package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

const (
	firstBackoff     = 500 * time.Millisecond // at most this long before the first attempt, twice as long before each next,
	longestBackoff   = 30 * time.Second       // and never longer than this.
	longestWait      = 10 * time.Minute       // however long the host asks to stay away.
	settled          = 10 * time.Second       // a connection that stood this long begins the backoff anew.
	handshakeTimeout = 10 * time.Second
	farewell         = time.Second      // to close in order when the program ends.
	usualHeartbeat   = 15 * time.Second // until welcome tells.
	longestHeartbeat = 5 * time.Minute
	missedHeartbeats = 3       // without any frame: the connection is dead.
	largestMessage   = 8 << 20 // bytes; a snapshot of every symbol is below one MiB.
)

// errOutput ends the program: there is nobody left to show anything to.
var errOutput = errors.New("write the output")

// errSilent ends a connection on which nothing is heard.
var errSilent = errors.New("silent")

// link is how the connection is.
type link struct {
	up     bool
	reason string    // why it is down.
	retry  time.Time // when it is tried again.
}

// client keeps a connection to a feed: it reconnects until the feed says that it should not.
type client struct {
	url  string
	http *http.Client

	// The callbacks are called one at a time, none after run returned.
	opened  func() [][]byte                                      // the connection stands; returns what to send.
	receive func(m message, raw []byte, arrived time.Time) error // raw may not be kept. An error gives the connection up.
	changed func(link)                                           // on every change.

	welcomed bool // a feed was met at the address before.
}

// ending is how a connection ended.
type ending struct {
	err   error
	final bool          // trying again is of no use.
	stood time.Duration // from the handshake on.
	back  time.Time     // when the host wants to be asked again; zero when it did not say.
}

// run returns nil when the context ends, and otherwise why there will be no feed.
func (c *client) run(ctx context.Context) error {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		end := c.connection(ctx)
		if end.final {
			return end.err
		}
		if end.stood >= settled {
			attempt = 0
		}
		if ctx.Err() == nil {
			c.pause(ctx, end, attempt)
		}
	}
	return nil
}

// pause waits until it is time for another attempt.
func (c *client) pause(ctx context.Context, end ending, attempt int) {
	wait := backoff(attempt)
	if !end.back.IsZero() {
		wait = min(max(time.Until(end.back), 0), longestWait)
	}
	c.changed(link{reason: end.err.Error(), retry: time.Now().Add(wait)})
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}

// backoff returns a random time up to a bound that doubles with each attempt, so that clients who lost the same host do
// not return together.
func backoff(attempt int) time.Duration {
	bound := longestBackoff
	if attempt < 6 {
		bound = min(bound, firstBackoff<<attempt)
	}
	return rand.N(bound)
}

// connection connects and reads until the connection ends.
func (c *client) connection(ctx context.Context) ending {
	silence := missedHeartbeats * usualHeartbeat
	var alarm *time.Timer // ends what is silent.
	dialing, stop := context.WithTimeout(ctx, handshakeTimeout)
	conn, response, err := websocket.Dial(dialing, c.url, &websocket.DialOptions{ //nolint:bodyclose // Replaced by the library.
		HTTPClient:     c.http,
		OnPingReceived: func(context.Context, []byte) bool { alarm.Reset(silence); return true },
	})
	stop()
	if err != nil {
		return c.refused(response, err)
	}
	conn.SetReadLimit(largestMessage)
	stands := time.Now()

	// Reading outlives the context a little, to close in order.
	reading, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	alarm = time.AfterFunc(silence, func() { cancel(errSilent) })
	defer alarm.Stop()
	defer context.AfterFunc(ctx, func() {
		defer time.AfterFunc(farewell, func() { cancel(nil) }).Stop()
		_ = conn.Close(websocket.StatusNormalClosure, "") // The end either way.
	})()

	// Nobody waits for the requests to be taken: the host may have much to say first.
	c.changed(link{up: true})
	asked := make(chan struct{})
	go func(frames [][]byte) {
		defer close(asked)
		for _, frame := range frames {
			if err := conn.Write(reading, websocket.MessageText, frame); err != nil {
				cancel(fmt.Errorf("subscribe: %w", err))
				return
			}
		}
	}(c.opened())
	defer func() {
		_ = conn.CloseNow() // Closed in order already, or beyond that.
		<-asked
	}()

	var end ending
	for end.err == nil {
		alarm.Reset(silence)
		_, raw, err := conn.Read(reading)
		alarm.Stop() // What is done with a message may take its time.
		arrived := time.Now()
		if err != nil {
			end.err, end.final = lost(reading, err, silence), final(err)
			break
		}
		var m message
		if err := json.Unmarshal(raw, &m); err != nil {
			end.err = fmt.Errorf("a message that cannot be read: %w", err)
			break
		}
		if err := c.receive(m, raw, arrived); err != nil {
			end.err, end.final = err, errors.Is(err, errOutput)
			break
		}
		switch m.Type {
		case "welcome":
			c.welcomed = true
			silence = missedHeartbeats * heartbeat(m)
		case "shutdown":
			end.back = back(m, arrived)
		}
	}
	end.stood = time.Since(stands)
	return end
}

// heartbeat returns how often a living connection shows itself.
func heartbeat(m message) time.Duration {
	var welcome struct {
		Interval float64 `json:"heartbeat_interval_ms"`
	}
	if err := m.decode(&welcome); err != nil || welcome.Interval < 1 {
		return usualHeartbeat
	}
	return milliseconds(welcome.Interval, longestHeartbeat)
}

// back returns when a host that shuts down wants to be asked again; zero when it does not say.
func back(m message, arrived time.Time) time.Time {
	var shutdown struct {
		After *float64 `json:"reconnect_after_ms"`
	}
	if err := m.decode(&shutdown); err != nil || shutdown.After == nil {
		return time.Time{}
	}
	return arrived.Add(milliseconds(*shutdown.After, longestWait))
}

// milliseconds returns the time, at most longest.
func milliseconds(ms float64, longest time.Duration) time.Duration {
	return time.Duration(min(ms, float64(longest.Milliseconds())) * float64(time.Millisecond))
}

// refused tells why there is no connection. An address at which there never was a feed will have none later.
func (c *client) refused(response *http.Response, err error) ending {
	if errors.Is(err, context.DeadlineExceeded) {
		return ending{err: fmt.Errorf("no answer within %v", handshakeTimeout)}
	}
	if response == nil || response.StatusCode == http.StatusSwitchingProtocols {
		return ending{err: err}
	}
	end := ending{err: fmt.Errorf("the answer is %s", printable(response.Status))}
	switch status := response.StatusCode; status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		end.back = retryAfter(response.Header.Get("Retry-After"), time.Now())
	case http.StatusRequestTimeout, http.StatusTooEarly:
	default:
		end.final = status < 500 && !c.welcomed
	}
	return end
}

// retryAfter reads the header, which holds seconds or a date; zero when neither.
func retryAfter(header string, now time.Time) time.Time {
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return now.Add(time.Duration(seconds) * time.Second)
	}
	date, _ := http.ParseTime(header) // Zero, as nothing is.
	return date
}

// lost tells why the connection ended.
func lost(reading context.Context, err error, silence time.Duration) error {
	var closed websocket.CloseError
	switch cause := context.Cause(reading); {
	case errors.As(err, &closed):
		return fmt.Errorf("closed with %d %s", closed.Code, printable(closed.Reason))
	case errors.Is(cause, errSilent):
		return fmt.Errorf("nothing heard for %v", silence)
	case cause != nil:
		return cause
	}
	return err
}

// final reports whether the feed closed with a code that tells not to come back.
func final(err error) bool {
	code := websocket.CloseStatus(err)
	return code >= 4500 && code < 5000
}
