package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/upstream"
)

// manners are the bounds that streams keep to.
type manners struct {
	// perRequest is how many pairs one request names, and sendEvery the least time between two messages of ours.
	perRequest int
	sendEvery  time.Duration
	// connectBurst and connectEvery keep new connections below 150 in any ten minutes.
	connectBurst int
	connectEvery time.Duration
	// handshake and replyWithin bound the wait for an answer.
	handshake, replyWithin time.Duration
	// deadAfter is how long nothing at all may be heard: there is a heartbeat each second.
	deadAfter time.Duration
	// pingEvery is how often a ping asks what time it is there.
	pingEvery time.Duration
	// silence is how long no ticker of any pair may come before another connection is tried, and maxSilence what that grows
	// to while it is the market that is quiet.
	silence, maxSilence time.Duration
	// lookEvery is how often all of that is looked at.
	lookEvery time.Duration
	// grace is how long after its end a minute may still change.
	grace time.Duration
	// backoff and maxBackoff bound the wait before another try, which grows while connections live for less than steady.
	backoff, maxBackoff, steady time.Duration
	// minInterval and heartbeat are those of the batches.
	minInterval, heartbeat time.Duration
	// downAfter and quietAfter are when a broken connection and missing tickers show in the health.
	downAfter, quietAfter time.Duration
}

// goodManners are those that Kraken asks for.
func goodManners() manners {
	return manners{
		perRequest: 100, sendEvery: 200 * time.Millisecond,
		// 20 at once and 120 in the ten minutes after.
		connectBurst: 20, connectEvery: 5 * time.Second,
		handshake: 10 * time.Second, replyWithin: 10 * time.Second,
		deadAfter: 10 * time.Second, pingEvery: 30 * time.Second,
		silence: 30 * time.Second, maxSilence: 8 * time.Minute,
		lookEvery: time.Second, grace: 3 * time.Second,
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

const (
	// bannedFor is how long an address stays refused that has connected too often, when the refusal does not say.
	bannedFor = 10 * time.Minute
	// maxExile bounds what a Retry-After can ask for.
	maxExile = 24 * time.Hour
	// maxFrame bounds a message in bytes. The snapshot of the minutes of a pair is the largest.
	maxFrame = 1 << 20
)

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

// dial opens a connection within the budget, unless none may be opened. Its errors are RateLimited and PermissionDenied with
// RetryAfter for what Kraken refuses, BadUpstream for what it does not understand, and Unavailable for the rest.
func (s *source) dial(ctx context.Context) (*websocket.Conn, error) {
	if refusal := s.exile.refusal(s.now()); refusal != nil {
		return nil, refusal
	}
	if err := s.connects.Wait(ctx); err != nil {
		return nil, sdk.Errorf(sdk.Unavailable, "waiting for the budget of connections: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.manners.handshake)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, s.streamURL, &websocket.DialOptions{ //nolint:bodyclose // Dial replaces the body by what it has read of it.
		HTTPClient: s.sockets, HTTPHeader: http.Header{"User-Agent": {upstream.DefaultUserAgent}},
	})
	if err != nil {
		return nil, s.refused(resp, err)
	}
	conn.SetReadLimit(maxFrame)
	return conn, nil
}

// refused says why a connection could not be opened, and stays away where that is asked for.
func (s *source) refused(resp *http.Response, err error) error {
	if resp == nil || resp.StatusCode == http.StatusSwitchingProtocols {
		if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
			err = wrapped.Err // Without the address.
		}
		return sdk.Errorf(sdk.Unavailable, "connect to the stream: %w", err)
	}
	now := s.now()
	left, reason := retryAfter(resp.Header, now), fmt.Sprintf("status %d", resp.StatusCode)
	var kind sdk.Kind
	switch status := resp.StatusCode; {
	case status == http.StatusTooManyRequests:
		kind, reason = sdk.RateLimited, "too many connections (429)"
		if left == 0 {
			left = bannedFor
		}
	case status == http.StatusForbidden || status == http.StatusUnavailableForLegalReasons:
		kind = sdk.PermissionDenied
		if left == 0 {
			left = refusedFor
		}
	case status >= 500 || status == http.StatusRequestTimeout:
		return sdk.Errorf(sdk.Unavailable, "connect to the stream: %s", reason)
	default:
		return sdk.Errorf(sdk.BadUpstream, "connect to the stream: %s", reason)
	}
	s.exile.begin(now.Add(left), kind, reason)
	return &sdk.Error{Kind: kind, RetryAfter: left, Message: "connect to the stream: " + reason}
}
