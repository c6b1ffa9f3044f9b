package upstream

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"

	"github.com/service-islands/islands/sdk"
)

const (
	// maxRetries is how often a call may be tried again: after 1 s, 2 s and 4 s.
	maxRetries = 3
	// maxDelay bounds the wait for another try of a call that has no deadline.
	maxDelay = 30 * time.Second
	// guessedSilence is how long a 429 without Retry-After stops the client, plus up to a quarter.
	guessedSilence = 60 * time.Second
	// maxSilence bounds what a Retry-After can ask for. The longest known is a ban of three days.
	maxSilence = 7 * 24 * time.Hour
)

// call is one GetJSON on its way through its attempts.
type call struct {
	client *Client
	req    Request
	target string
	// label is what errors and logs call it, such as "GET /coins".
	label    string
	attempts int
	// retryable and delay describe the attempt that failed last: whether and when another makes sense.
	retryable bool
	delay     time.Duration
}

// run tries until the call succeeds, fails for good, or has no time or retries left.
func (c *call) run(ctx context.Context, v any) error {
	policy := retrypolicy.NewBuilder[any]().
		WithMaxRetries(min(max(c.req.Retries, 0), maxRetries)).
		HandleIf(func(_ any, err error) bool { return err != nil && c.retryable }).
		AbortIf(func(any, error) bool { return c.delay > maxDelay || !fits(ctx, time.Now(), c.delay) }).
		WithDelayFunc(func(failsafe.ExecutionAttempt[any]) time.Duration { return c.delay }).
		ReturnLastFailure().
		OnRetryScheduled(func(e failsafe.ExecutionScheduledEvent[any]) { c.backingOff(ctx, e.LastError()) }).
		Build()
	err := failsafe.With[any](policy).WithContext(ctx).Run(func() error { return c.attempt(ctx, v) })
	if err == nil {
		return nil
	}
	var known *sdk.Error
	if errors.As(err, &known) {
		return err
	}
	// Only the context ends a call between two attempts.
	return sdk.Errorf(sdk.KindOf(err), "%s: %w", c.label, err)
}

// backingOff notes that another attempt will follow.
func (c *call) backingOff(ctx context.Context, err error) {
	c.client.stats.retried()
	c.client.opts.Logger.WarnContext(ctx, "backing off before another try", slog.String("call", c.label),
		slog.Int("attempt", c.attempts), slog.Duration("delay", c.delay), slog.Any("error", err))
}

// attempt sends the call once.
func (c *call) attempt(ctx context.Context, v any) error {
	client := c.client
	c.attempts++
	c.retryable, c.delay = false, 0
	if client.closed.Load() {
		return sdk.Errorf(sdk.Unavailable, "%s: the client is closed", c.label)
	}
	if err := client.gate.enter(ctx, c); err != nil {
		return c.refused(err)
	}
	start := time.Now()
	got, err := client.exchange(ctx, c.target)
	var fault *sdk.Error
	switch {
	case err != nil:
		fault, c.retryable = c.transportFault(ctx, err)
		c.delay = backoff(c.attempts)
	case got.status/100 != 2:
		fault = c.statusFault(ctx, got)
	default:
		if err := decode(got.body, v); err != nil {
			// The cause is quoted, not wrapped: its own kind would answer errors.Is.
			fault = sdk.Errorf(sdk.BadUpstream, "%s: %s", c.label, client.clean(err.Error()))
		}
	}
	if fault == nil {
		client.gate.unsilence(c)
		client.stats.succeeded(time.Since(start))
		return nil
	}
	client.stats.failed(time.Since(start), fault.Kind)
	return fault
}

// refused turns the gate's answer into the call's error.
func (c *call) refused(err error) error {
	var r *refusal
	if !errors.As(err, &r) {
		return sdk.Errorf(sdk.KindOf(err), "%s: %w", c.label, err)
	}
	c.client.stats.refused(r.by)
	return &sdk.Error{
		Kind: sdk.KindOf(err), RetryAfter: sdk.RetryAfter(err), Message: c.label + ": " + r.Error(), Err: r.err,
	}
}

// statusFault reads an error reply: what it means, whether to try again and when, and whether to fall silent.
func (c *call) statusFault(ctx context.Context, got reply) *sdk.Error {
	client := c.client
	now := time.Now()
	fault, reason := c.classify(got)
	told := fault.RetryAfter
	switch fault.Kind {
	case sdk.RateLimited, sdk.Unavailable, sdk.PermissionDenied:
		told = max(told, retryAfter(got.header, now))
	default:
		// A Retry-After beside "there is no such coin" is no reason to stop asking for others.
	}
	if told > 0 {
		told = min(max(told, time.Second), maxSilence)
	}
	limited := got.status == http.StatusTooManyRequests || fault.Kind == sdk.RateLimited
	// A ban is not something to try again.
	c.retryable = got.status == http.StatusTooManyRequests || got.status >= 500
	c.delay = max(backoff(c.attempts), told)
	quiet := silence{until: now.Add(told), kind: fault.Kind, reason: reason}
	if limited {
		client.stats.sawLimit(now)
		if told == 0 {
			told = guessedSilence + rand.N(guessedSilence/4)
			quiet = silence{until: now.Add(told), kind: fault.Kind, reason: reason, by: c}
		}
		client.opts.Logger.WarnContext(ctx, strconv.Itoa(got.status)+" from the upstream", slog.String("call", c.label),
			slog.Int("status", got.status), slog.Int("attempt", c.attempts), slog.Duration("retry_after", told))
	}
	if told > 0 {
		client.gate.silence(quiet)
		fault.RetryAfter = told
	}
	return fault
}

// backoff is how long to wait after an attempt: 1 s, 2 s, 4 s, give or take a twentieth, so that all three and their
// attempts fit into eight seconds.
func backoff(attempt int) time.Duration {
	d := time.Second << min(max(attempt-1, 0), maxRetries-1)
	return d - d/20 + rand.N(d/10)
}

// retryAfter reads the Retry-After header, in seconds or as a date; zero when there is none that can be read.
func retryAfter(header http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(header.Get("Retry-After"))
	if text == "" {
		return 0
	}
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		// Bounded before the multiplication, which could overflow.
		seconds = min(max(seconds, 1), int64(maxSilence/time.Second))
		return time.Duration(seconds) * time.Second
	}
	date, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(date.Sub(now), time.Second), maxSilence)
}
