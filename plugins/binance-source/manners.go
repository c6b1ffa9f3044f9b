package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/upstream"
)

// manners are the bounds that streams keep to.
type manners struct {
	// perConnection is the most streams that Binance allows one connection, of which perURL are named in its address,
	// because an address has bounds of its own, and the others in requests of perRequest each.
	perConnection, perURL, perRequest int
	// sendEvery is the least time between two messages of ours. Binance cuts a connection that sends more than five in a
	// second, and the answers to its pings count, which are not ours to delay.
	sendEvery time.Duration
	// connectBurst and connectEvery keep new connections below 300 in any five minutes, those of other programs behind
	// the same address included: 60 at once and 150 in the five minutes after.
	connectBurst int
	connectEvery time.Duration
	// handshake, replyWithin and pongWithin bound the wait for an answer.
	handshake, replyWithin, pongWithin time.Duration
	// pingAfter is how long nothing at all was heard before a ping asks whether the peer is still there.
	pingAfter time.Duration
	// silence is how long no ticker may come, or no candle where they are asked for, before another connection is tried,
	// and maxSilence is what that grows to while pairs are merely quiet.
	silence, maxSilence time.Duration
	// rotateAfter is the age at which a connection is replaced, give or take rotateSpread.
	rotateAfter, rotateSpread time.Duration
	// backoff and maxBackoff bound the wait before another try, which grows while connections live for less than steady:
	// ten seconds each are a tenth of the budget.
	backoff, maxBackoff, steady time.Duration
	// minInterval and heartbeat are those of the batches.
	minInterval, heartbeat time.Duration
	// downAfter and quietAfter are when broken connections and missing frames show in the health.
	downAfter, quietAfter time.Duration
}

// goodManners are those that Binance asks for.
func goodManners() manners {
	return manners{
		perConnection: 1024, perURL: 100, perRequest: 100,
		sendEvery: 300 * time.Millisecond, connectBurst: 60, connectEvery: 2 * time.Second,
		handshake: 10 * time.Second, replyWithin: 10 * time.Second, pongWithin: 5 * time.Second, pingAfter: 5 * time.Second,
		// A pair that is traded brings a ticker each second and a candle every other: ten and five that are missing in a
		// row are no accident, and a report or a watcher hardly notices ten seconds.
		silence: 10 * time.Second, maxSilence: 2 * time.Minute,
		// Binance closes after 24 hours.
		rotateAfter: 23 * time.Hour, rotateSpread: 30 * time.Minute,
		backoff: 500 * time.Millisecond, maxBackoff: 30 * time.Second, steady: 10 * time.Second,
		minInterval: 100 * time.Millisecond,
		downAfter:   15 * time.Second, quietAfter: time.Minute,
	}
}

// delay is how long to wait before another try after so many that failed: anything up to a bound that doubles, so that
// clients that were cut together do not return together.
func (m manners) delay(failures int) time.Duration {
	return rand.N(min(m.maxBackoff, m.backoff<<min(failures, 16)))
}

// age is how old a connection may become.
func (m manners) age() time.Duration {
	return m.rotateAfter - m.rotateSpread + rand.N(2*m.rotateSpread+1)
}

// newConnectLimit returns the budget of new connections.
func newConnectLimit(m manners) *rate.Limiter {
	return rate.NewLimiter(rate.Every(m.connectEvery), m.connectBurst)
}

// exile is a time during which nothing may be connected.
type exile struct {
	mu     sync.Mutex
	until  time.Time
	kind   sdk.Kind
	reason string
}

// begin starts an exile, unless one holds that is longer.
func (e *exile) begin(until time.Time, kind sdk.Kind, reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if until.After(e.until) {
		e.until, e.kind, e.reason = until, kind, reason
	}
}

// refusal is the error of a connection that is not tried, nil when it may be.
func (e *exile) refusal(now time.Time) *sdk.Error {
	e.mu.Lock()
	defer e.mu.Unlock()
	left := e.until.Sub(now)
	if left <= 0 {
		return nil
	}
	return &sdk.Error{
		Kind: e.kind, RetryAfter: left,
		Message: fmt.Sprintf("no connection for another %s: %s", left.Round(time.Second), e.reason),
	}
}

// aboutAddress reports whether a refusal is meant for all that comes from this address, streams and calls alike.
func aboutAddress(status int) bool {
	return status == http.StatusTeapot || status == http.StatusForbidden || status == http.StatusUnavailableForLegalReasons
}

// retryAfter reads the Retry-After header, in seconds or as a date; zero when there is none that can be read.
func retryAfter(header http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(header.Get("Retry-After"))
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Duration(min(max(seconds, 1), int64(maxExile/time.Second))) * time.Second
	}
	if date, err := http.ParseTime(text); err == nil {
		return min(max(date.Sub(now), time.Second), maxExile)
	}
	return 0
}

const (
	// maxExile bounds what a Retry-After can ask for. The longest ban known is three days.
	maxExile = 7 * 24 * time.Hour
	// maxFrame bounds a message in bytes. A ticker has 250, a candle 400.
	maxFrame = 64 << 10
	// mostRefusal is how much of a refusal's body is read.
	mostRefusal = 1 << 10
)

// onRefusal notes a refusal that holds for calls and streams alike.
func (s *source) onRefusal(status int, header http.Header, err error, now time.Time) {
	if !aboutAddress(status) {
		return
	}
	until := now.Add(max(sdk.RetryAfter(err), retryAfter(header, now)))
	s.exile.begin(until, sdk.KindOf(err), err.Error())
}

// target is the address of a combined stream.
func (s *source) target(names []string) string {
	escaped := make([]string, len(names))
	for i, name := range names {
		symbol, rest, _ := strings.Cut(name, "@")
		escaped[i] = url.QueryEscape(symbol) + "@" + rest
	}
	return s.streamURL + "/stream?streams=" + strings.Join(escaped, "/")
}

// dial opens a connection within the budget, unless none may be opened. Its errors are RateLimited and PermissionDenied
// with RetryAfter for what Binance refuses, BadUpstream for what it does not understand, and Unavailable for the rest.
func (s *source) dial(ctx context.Context, target string, heard func()) (*websocket.Conn, error) {
	if refusal := s.exile.refusal(s.now()); refusal != nil {
		return nil, refusal
	}
	if err := s.connects.Wait(ctx); err != nil {
		return nil, sdk.Errorf(sdk.Unavailable, "waiting for the budget of connections: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.manners.handshake)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, target, &websocket.DialOptions{ //nolint:bodyclose // Dial replaces the body by what it has read of it.
		HTTPClient:     s.sockets,
		HTTPHeader:     http.Header{"User-Agent": {upstream.DefaultUserAgent}},
		OnPingReceived: func(context.Context, []byte) bool { heard(); return true },
		OnPongReceived: func(context.Context, []byte) { heard() },
	})
	if err != nil {
		return nil, s.handshakeFault(resp, err)
	}
	conn.SetReadLimit(maxFrame)
	return conn, nil
}

// handshakeFault says why a connection could not be opened, and falls silent where that is asked for.
func (s *source) handshakeFault(resp *http.Response, err error) error {
	if resp == nil || resp.StatusCode == http.StatusSwitchingProtocols {
		// The address, which a *url.Error holds, names every symbol.
		if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return sdk.Errorf(sdk.Unavailable, "connect to the streams: %w", err)
	}
	now := s.now()
	switch status := resp.StatusCode; {
	case status == http.StatusTooManyRequests:
		left := retryAfter(resp.Header, now)
		if left == 0 {
			left = refusedFor + rand.N(refusedFor/4)
		}
		const reason = "too many connections (429)"
		s.exile.begin(now.Add(left), sdk.RateLimited, reason)
		return &sdk.Error{Kind: sdk.RateLimited, RetryAfter: left, Message: "connect to the streams: " + reason}
	case aboutAddress(status):
		return s.banished(resp, now)
	case status >= 500 || status == http.StatusRequestTimeout:
		return sdk.Errorf(sdk.Unavailable, "connect to the streams: status %d", status)
	default:
		return sdk.Errorf(sdk.BadUpstream, "connect to the streams: status %d", status)
	}
}

// banished is the error of a handshake whose refusal holds for every call as well.
func (s *source) banished(resp *http.Response, now time.Time) error {
	status := resp.StatusCode
	body, _ := io.ReadAll(io.LimitReader(resp.Body, mostRefusal)) // It is in memory already; without it the status says enough.
	err := classify(status, resp.Header, body, now)
	if status == http.StatusUnavailableForLegalReasons {
		s.restricted.Store(true)
	}
	s.onRefusal(status, resp.Header, err, now)
	left := max(sdk.RetryAfter(err), retryAfter(resp.Header, now))
	s.client.Silence(now.Add(left), sdk.KindOf(err), err.Error())
	return &sdk.Error{Kind: sdk.KindOf(err), RetryAfter: left, Message: "connect to the streams: " + err.Error()}
}
