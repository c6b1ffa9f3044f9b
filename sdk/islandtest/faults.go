package islandtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/service-islands/islands/sdk"
)

// breakable reports whether a subject's upstream can be made to fail.
func breakable(s Subject) bool { return s.Break != nil }

func faultChecks() []check {
	return []check{
		{
			name: "faults/rate-limited", when: breakable, run: faultKind(FaultRateLimited, sdk.RateLimited),
			rule: "Errors carry a Kind: RateLimited with RetryAfter",
		},
		{
			name: "faults/server-error", when: breakable, run: faultKind(FaultServerError, sdk.Unavailable, sdk.BadUpstream),
			rule: "Errors carry a Kind: Unavailable when the upstream refuses to work",
		},
		{
			name: "faults/garbage", when: breakable, run: faultKind(FaultGarbage, sdk.BadUpstream),
			rule: "Errors carry a Kind: BadUpstream for nonsense",
		},
		{
			name: "faults/gone", when: breakable, run: faultKind(FaultGone, sdk.Unavailable, sdk.BadUpstream),
			rule: "Errors carry a Kind: Unavailable when the upstream cannot be reached",
		},
		{
			name: "faults/silence", when: breakable, run: faultSilence,
			rule: "The context of each call covers that call: it ends a call that waits for the upstream",
		},
		{
			name: "faults/health", when: breakable, run: faultHealth,
			rule: "An upstream that is down makes a source degraded, which never restarts it",
		},
		{
			name: "faults/recovery", when: breakable, run: faultRecovery,
			rule: "A source fetches what it is asked for and remembers nothing beyond the politeness it owes its upstream",
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
			mend := b.Break(b.tb, fault)
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
	mend := b.Break(b.tb, FaultSilence)
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
	}
	return nil
}

func faultHealth(ctx context.Context, b *bench) error {
	for _, fault := range []Fault{FaultServerError, FaultGone, FaultGarbage, FaultRateLimited} {
		island, err := b.open(ctx)
		if err != nil {
			return err
		}
		mend := b.Break(b.tb, fault)
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
	mend := b.Break(b.tb, FaultServerError)
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
	errs = append(errs, eventually(ctx, b.patience, func() error {
		if health := island.Health(ctx); health.Status != sdk.StatusOK {
			return fmt.Errorf("health once the upstream is mended: %s, reason %q", health.Status, health.Reason)
		}
		return nil
	}))
	return errors.Join(errs...)
}
