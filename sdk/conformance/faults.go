package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/service-islands/islands/sdk"
)

// breakable leaves out what has no upstream: only sources have one.
func breakable(s Subject) bool {
	return s.Break != nil || slices.ContainsFunc(s.Roles, func(r sdk.Role) bool { return layerOf[r] == sdk.LayerExternalServices })
}

// upstream says what it takes to break the upstream.
func upstream(s Subject) string {
	if s.Break == nil {
		return "the setting that holds the upstream's URL, so that it can be broken: --upstream SETTING"
	}
	return ""
}

func faultChecks() []Check {
	return []Check{
		{
			Name: "faults/rate-limited", calls: true, meant: breakable, needs: upstream, run: faultKind(FaultRateLimited, sdk.RateLimited),
			Rule: "Errors carry a Kind: RateLimited with RetryAfter",
		},
		{
			Name: "faults/server-error", calls: true, meant: breakable, needs: upstream, run: faultKind(FaultServerError, sdk.Unavailable, sdk.BadUpstream),
			Rule: "Errors carry a Kind: Unavailable when the upstream refuses to work",
		},
		{
			Name: "faults/garbage", calls: true, meant: breakable, needs: upstream, run: faultKind(FaultGarbage, sdk.BadUpstream),
			Rule: "Errors carry a Kind: BadUpstream for nonsense",
		},
		{
			Name: "faults/gone", calls: true, meant: breakable, needs: upstream, run: faultKind(FaultGone, sdk.Unavailable, sdk.BadUpstream),
			Rule: "Errors carry a Kind: Unavailable when the upstream cannot be reached",
		},
		{
			Name: "faults/silence", calls: true, meant: breakable, needs: upstream, run: faultSilence,
			Rule: "The context of each call covers that call: it ends a call that waits for the upstream",
		},
		{
			Name: "faults/health", calls: true, meant: breakable, needs: upstream, run: faultHealth,
			Rule: "An upstream that is down makes a source degraded, which never restarts it",
		},
		{
			Name: "faults/recovery", calls: true, meant: breakable, needs: upstream, run: faultRecovery,
			Rule: "A source fetches what it is asked for and remembers nothing beyond the politeness it owes its upstream",
		},
	}
}

// faultKind breaks the upstream and wants every call of every role to fail with one of the kinds.
func faultKind(fault Fault, kinds ...sdk.Kind) func(context.Context, *bench) error {
	return func(ctx context.Context, b *bench) error {
		for i, n := 0, 1; i < n; i++ {
			// A fresh island for each call: a source may go silent after the first refusal.
			island, err := b.open(ctx)
			if err != nil {
				return err
			}
			calls := b.roleCalls(island)
			if n = len(calls); i >= n {
				return nil
			}
			c := calls[i]
			mend := b.Break(fault)
			err = c.call(ctx)
			mend()
			if err := wantKind(fmt.Sprintf("%s while the upstream is broken (%s)", c.name, fault), err, kinds...); err != nil {
				return err
			}
			if fault == FaultRateLimited && sdk.RetryAfter(err) <= 0 {
				return fmt.Errorf("%s: the upstream said Retry-After, the error does not: %w", c.name, err)
			}
		}
		return nil
	}
}

func faultSilence(ctx context.Context, b *bench) error {
	island, err := b.open(ctx)
	if err != nil {
		return err
	}
	mend := b.Break(FaultSilence)
	defer mend()
	const deadline = 100 * time.Millisecond
	for _, c := range b.roleCalls(island) {
		var took time.Duration
		for range 3 { // A busy machine may delay one; an island that waits delays each.
			callCtx, cancel := context.WithTimeout(ctx, deadline)
			start := time.Now()
			err := c.call(callCtx)
			took = time.Since(start)
			cancel()
			if err := wantKind(c.name+" while the upstream is silent", err, sdk.DeadlineExceeded, sdk.Unavailable); err != nil {
				return err
			}
			if took <= deadline+prompt {
				break
			}
		}
		if took > deadline+prompt {
			return fmt.Errorf("%s with a deadline of %v returned after %v", c.name, deadline, took)
		}
		if err := b.letGo(ctx, c, deadline); err != nil {
			return err
		}
	}
	return nil
}

// letGo wants a call whose deadline has passed to let go of the silent upstream. What a caller sees of an island in another
// process is its own side of the call; the upstream sees the other.
func (b *bench) letGo(ctx context.Context, c roleCall, deadline time.Duration) (err error) {
	if b.Held == nil {
		return nil
	}
	for range 3 { // A busy machine may delay one; an island that stays is there each time.
		callCtx, cancel := context.WithTimeout(ctx, deadline)
		_ = c.call(callCtx)
		cancel()
		err = eventually(ctx, prompt, func() error {
			if n := b.Held(); n > 0 {
				return fmt.Errorf("%d requests wait for the upstream", n)
			}
			return nil
		})
		if err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s, whose caller has gone: %w", c.name, err)
}

func faultHealth(ctx context.Context, b *bench) error {
	for _, fault := range []Fault{FaultServerError, FaultGone, FaultGarbage, FaultRateLimited} {
		island, err := b.open(ctx)
		if err != nil {
			return err
		}
		mend := b.Break(fault)
		for range 5 {
			for _, c := range b.roleCalls(island) {
				if err := c.call(ctx); err == nil {
					mend()
					return fmt.Errorf("%s answers while the upstream is broken (%s)", c.name, fault)
				}
			}
		}
		health := island.Health(ctx)
		mend()
		if health.Status != sdk.StatusDegraded || health.Reason == "" {
			return fmt.Errorf("health while the upstream is broken (%s): %s, reason %q", fault, health.Status, health.Reason)
		}
	}
	return nil
}

func faultRecovery(ctx context.Context, b *bench) error {
	island, err := b.open(ctx)
	if err != nil {
		return err
	}
	calls := b.roleCalls(island)
	mend := b.Break(FaultServerError)
	for _, c := range calls {
		if err := c.call(ctx); err == nil {
			mend()
			return fmt.Errorf("%s answers while the upstream is broken", c.name)
		}
	}
	mend()
	var errs []error
	for _, c := range calls {
		if err := c.call(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s once the upstream is mended: %w", c.name, err))
		}
	}
	errs = append(errs, eventually(ctx, b.Patience, func() error {
		if health := island.Health(ctx); health.Status != sdk.StatusOK {
			return fmt.Errorf("health once the upstream is mended: %s, reason %q", health.Status, health.Reason)
		}
		return nil
	}))
	return errors.Join(errs...)
}
