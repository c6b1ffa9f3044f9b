package upstream

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/service-islands/islands/sdk"
)

// patience is how long a call waits for its share of the budget. The host has other sources to ask.
const patience = 2 * time.Second

// silence is a time during which nothing is sent.
type silence struct {
	until  time.Time
	kind   sdk.Kind
	reason string
	// by is the call that met a 429 without Retry-After and may go on trying; nil for a silence that was asked for.
	by *call
}

// gate lets calls through one by one: within the budget, and not while silenced.
type gate struct {
	perMinute int
	limiter   *rate.Limiter // nil without a limit

	mu     sync.Mutex
	silent silence
}

// newGate returns a gate for the budget.
func newGate(limit Limit) *gate {
	g := &gate{perMinute: limit.PerMinute}
	if limit.PerMinute <= 0 {
		return g
	}
	burst := limit.Burst
	if burst <= 0 {
		burst = (limit.PerMinute*6 + 9) / 10
	}
	burst = min(burst, limit.PerMinute)
	// A burst that leaves nothing to refill with would stop the source for good; it then gets the slowest refill.
	refill := max(float64(limit.PerMinute-burst), 1)
	g.limiter = rate.NewLimiter(rate.Limit(refill/time.Minute.Seconds()), burst)
	return g
}

// enter takes a call's weight from the budget and returns when the call may be sent.
func (g *gate) enter(ctx context.Context, c *call) error {
	reservation, wait, err := g.reserve(ctx, c)
	if err != nil || wait <= 0 {
		return err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		reservation.Cancel()
		return ctx.Err()
	}
	// Another call may have been told to stop meanwhile.
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refusal(c, time.Now())
}

// reserve asks for the budget and records the weight in one step, and says how long the call must wait for it.
func (g *gate) reserve(ctx context.Context, c *call) (*rate.Reservation, time.Duration, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if err := g.refusal(c, now); err != nil {
		return nil, 0, err
	}
	if g.limiter == nil {
		return nil, 0, nil
	}
	weight := max(c.req.Weight, 1)
	r := g.limiter.ReserveN(now, weight)
	if !r.OK() {
		return nil, 0, &refusal{by: "limiter", err: sdk.Errorf(sdk.Internal,
			"a call of weight %d can never fit into a budget of %d at once", weight, g.limiter.Burst())}
	}
	wait := r.DelayFrom(now)
	if wait <= patience && fits(ctx, now, wait) {
		return r, wait, nil
	}
	r.CancelAt(now)
	return nil, 0, &refusal{by: "limiter", err: &sdk.Error{
		Kind: sdk.RateLimited, RetryAfter: wait,
		Message: fmt.Sprintf("the budget of %d per minute is used up, next in %s", g.perMinute, wait.Round(time.Millisecond)),
	}}
}

// refusal is the error of a call that meets a silence, nil when there is none. The lock is held.
func (g *gate) refusal(c *call, now time.Time) error {
	left := g.silent.until.Sub(now)
	if left <= 0 || (g.silent.by != nil && g.silent.by == c) {
		return nil
	}
	return &refusal{by: "silence", err: &sdk.Error{
		Kind: g.silent.kind, RetryAfter: left,
		Message: fmt.Sprintf("silent for another %s: %s", left.Round(time.Millisecond), g.silent.reason),
	}}
}

// silence stops the calls, unless they are stopped for longer already. What was told outweighs what was guessed.
func (g *gate) silence(s silence) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.until.After(g.silent.until) || (g.silent.by != nil && s.by == nil) {
		g.silent = s
	}
}

// unsilence ends the silence that a call's own guess began.
func (g *gate) unsilence(c *call) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.silent.by == c {
		g.silent = silence{}
	}
}

// state returns the silence, or a zero one when there is none, and the tokens left, -1 without a limit.
func (g *gate) state(now time.Time) (silence, float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.silent
	if !now.Before(s.until) {
		s = silence{}
	}
	if g.limiter == nil {
		return s, -1
	}
	return s, max(g.limiter.TokensAt(now), 0)
}

// fits reports whether a wait ends before the context's deadline does.
func fits(ctx context.Context, now time.Time, wait time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return !ok || now.Add(wait).Before(deadline)
}

// refusal is the error of a call that was never sent.
type refusal struct {
	by  string // "limiter" or "silence"
	err error
}

// Error returns the reason.
func (r *refusal) Error() string { return r.err.Error() }

// Unwrap returns the reason as an sdk.Error.
func (r *refusal) Unwrap() error { return r.err }
