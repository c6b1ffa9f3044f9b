package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/sdk"
)

func coordinatorChecks() []Check {
	return []Check{
		{
			Name: "lease/conflict", Role: sdk.RoleCoordinator, run: on(leaseConflict),
			Rule: "Acquire takes or renews a lease. Conflict when another owner holds it, with RetryAfter",
		},
		{
			Name: "lease/fencing", Role: sdk.RoleCoordinator, run: on(leaseFencing),
			Rule: "The fencing token rises with every change of owner and is the same for a renewal",
		},
		{
			Name: "lease/expiry", Role: sdk.RoleCoordinator, run: on(leaseExpiry), Waits: true,
			Rule: "Lease is held until ExpiresAt",
		},
		{
			Name: "lease/release", Role: sdk.RoleCoordinator, run: on(leaseRelease),
			Rule: "Release gives a lease back; it is not an error when it is no longer held",
		},
		{
			Name: "lease/one-winner", Role: sdk.RoleCoordinator, run: on(leaseOneWinner),
			Rule: "Acquire: Conflict when another owner holds it; all methods may be called concurrently",
		},
		{
			Name: "channel/replay", Role: sdk.RoleCoordinator, run: on(channelReplay),
			Rule: "Subscribe calls emit with every message after the id (empty: from now on; \"0\": all that is kept) until the context ends or emit fails",
		},
		{
			Name: "channel/live", Role: sdk.RoleCoordinator, run: on(channelLive),
			Rule: "Subscribe: an empty id means from now on; the messages come in the order in which they were published",
		},
		{
			Name: "channel/fencing", Role: sdk.RoleCoordinator, run: on(channelFencing),
			Rule: "Publish: Conflict when Token is not zero and older than the newest token seen on the channel",
		},
		{
			Name: "channel/emit-fails", Role: sdk.RoleCoordinator, run: on(channelEmitFails),
			Rule: "Subscribe calls emit until the context ends or emit fails, and returns why",
		},
		{
			Name: "budget/limit", Role: sdk.RoleCoordinator, run: on(budgetLimit),
			Rule: "Take asks and records n units of a shared budget in one atomic step. RateLimited with RetryAfter when they are not to be had",
		},
		{
			Name: "budget/concurrent", Role: sdk.RoleCoordinator, run: on(budgetConcurrent),
			Rule: "Take asks and records n units of a shared budget in one atomic step",
		},
		{
			Name: "budget/window", Role: sdk.RoleCoordinator, run: on(budgetWindow), Waits: true,
			Rule: "BudgetRequest asks for N of Limit units per Window; RetryAfter says when to come back",
		},
	}
}

func (b *bench) lease(owner string, ttl time.Duration) sdk.LeaseRequest {
	return sdk.LeaseRequest{Name: b.name("lease"), Owner: owner, TTL: ttl}
}

func leaseConflict(ctx context.Context, b *bench, c sdk.Coordinator) error {
	before := time.Now()
	lease, err := c.Acquire(ctx, b.lease("a", time.Minute))
	if err != nil {
		return fmt.Errorf("acquire: %w", err)
	}
	if lease.Token == 0 {
		return errors.New("the fencing token is 0, which means none")
	}
	if left := lease.ExpiresAt.Sub(before); left < 50*time.Second || left > 70*time.Second {
		return fmt.Errorf("a lease of a minute expires in %v", left)
	}
	_, err = c.Acquire(ctx, b.lease("b", time.Minute))
	if kindErr := wantKind("Acquire of a held lease", err, sdk.Conflict); kindErr != nil {
		return kindErr
	}
	if after := sdk.RetryAfter(err); after <= 0 || after > time.Minute {
		return fmt.Errorf("retryAfter of the conflict is %v", after)
	}
	return nil
}

func leaseFencing(ctx context.Context, b *bench, c sdk.Coordinator) error {
	var last uint64
	for _, owner := range []string{"a", "b", "a"} {
		lease, err := c.Acquire(ctx, b.lease(owner, time.Minute))
		if err != nil {
			return fmt.Errorf("acquire: %w", err)
		}
		if lease.Token <= last {
			return fmt.Errorf("the token went from %d to %d when the lease changed its owner", last, lease.Token)
		}
		renewed, err := c.Acquire(ctx, b.lease(owner, 2*time.Minute))
		if err != nil {
			return fmt.Errorf("renewal: %w", err)
		}
		if renewed.Token != lease.Token || !renewed.ExpiresAt.After(lease.ExpiresAt) {
			return fmt.Errorf("renewed from %+v to %+v", lease, renewed)
		}
		last = lease.Token
		if err := c.Release(ctx, b.lease(owner, 0)); err != nil {
			return fmt.Errorf("release: %w", err)
		}
	}
	return nil
}

func leaseExpiry(ctx context.Context, b *bench, c sdk.Coordinator) error {
	lease, err := c.Acquire(ctx, b.lease("a", 300*time.Millisecond))
	if err != nil {
		return fmt.Errorf("acquire: %w", err)
	}
	_, err = c.Acquire(ctx, b.lease("b", time.Minute))
	if time.Now().Before(lease.ExpiresAt) {
		if err := wantKind("Acquire before the lease expired", err, sdk.Conflict); err != nil {
			return err
		}
	}
	if err := pause(ctx, lease.ExpiresAt.Add(20*time.Millisecond)); err != nil {
		return err
	}
	next, err := c.Acquire(ctx, b.lease("b", time.Minute))
	if err != nil {
		return fmt.Errorf("acquire after the lease expired: %w", err)
	}
	if next.Token <= lease.Token {
		return fmt.Errorf("the token went from %d to %d when the lease changed its owner", lease.Token, next.Token)
	}
	return nil
}

func leaseRelease(ctx context.Context, b *bench, c sdk.Coordinator) error {
	if err := c.Release(ctx, b.lease("a", 0)); err != nil {
		return fmt.Errorf("release of what was never held: %w", err)
	}
	if _, err := c.Acquire(ctx, b.lease("a", time.Minute)); err != nil {
		return fmt.Errorf("acquire: %w", err)
	}
	if err := c.Release(ctx, b.lease("b", 0)); err != nil {
		return fmt.Errorf("release by another: %w", err)
	}
	if err := wantKind("Acquire after another released", second(c.Acquire(ctx, b.lease("b", time.Minute))), sdk.Conflict); err != nil {
		return err
	}
	for range 2 {
		if err := c.Release(ctx, b.lease("a", 0)); err != nil {
			return fmt.Errorf("release: %w", err)
		}
	}
	if _, err := c.Acquire(ctx, b.lease("b", time.Minute)); err != nil {
		return fmt.Errorf("acquire of a released lease: %w", err)
	}
	return nil
}

func leaseOneWinner(ctx context.Context, b *bench, c sdk.Coordinator) error {
	var winners atomic.Int64
	err := together(func(i int) error {
		_, err := c.Acquire(ctx, b.lease(fmt.Sprint("owner-", i), time.Minute))
		if err == nil {
			winners.Add(1)
			return nil
		}
		return wantKind("Acquire", err, sdk.Conflict)
	})
	if n := winners.Load(); err == nil && n != 1 {
		err = fmt.Errorf("%d of %d owners hold the lease", n, callers)
	}
	return err
}

// publish sends payloads to the check's channel and returns their ids.
func (b *bench) publish(ctx context.Context, c sdk.Coordinator, payloads ...string) ([]string, error) {
	var ids []string
	for _, payload := range payloads {
		id, err := c.Publish(ctx, sdk.Message{Channel: b.name("channel"), Payload: []byte(payload)})
		if err != nil {
			return nil, fmt.Errorf("publish: %w", err)
		}
		if id == "" || slices.Contains(ids, id) {
			return nil, fmt.Errorf("the id %q is empty or was given before", id)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// receive subscribes to the check's channel until n messages have come.
func (b *bench) receive(ctx context.Context, c sdk.Coordinator, after string, n int) ([]sdk.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, b.Patience)
	defer cancel()
	var got []sdk.Message
	err := c.Subscribe(ctx, b.name("channel"), after, func(m sdk.Message) error {
		if got = append(got, m); len(got) == n {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		return got, fmt.Errorf("subscribe after %q: %d of %d messages, then: %w", after, len(got), n, err)
	}
	return got, nil
}

func channelReplay(ctx context.Context, b *bench, c sdk.Coordinator) error {
	payloads := []string{"one", "", "three\x00", "four"}
	ids, err := b.publish(ctx, c, payloads...)
	if err != nil {
		return err
	}
	for skip, after := range []string{"0", ids[0], ids[1], ids[2]} {
		got, err := b.receive(ctx, c, after, len(payloads)-skip)
		if err != nil {
			return err
		}
		for i, m := range got {
			if m.ID != ids[skip+i] || string(m.Payload) != payloads[skip+i] || m.Channel != b.name("channel") || m.Token != 0 {
				return fmt.Errorf("after %q message %d is %+v; published was %q as %s", after, i, m, payloads[skip+i], ids[skip+i])
			}
		}
	}
	return nil
}

func channelLive(ctx context.Context, b *bench, c sdk.Coordinator) error {
	if _, err := b.publish(ctx, c, "before"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, b.Patience)
	defer cancel()
	got := make(chan string, 1000)
	ended := make(chan error, 1)
	go func() {
		ended <- c.Subscribe(ctx, b.name("channel"), "", func(m sdk.Message) error {
			select {
			case got <- string(m.Payload):
				return nil
			default:
				return errors.New("a thousand messages that nobody asked for")
			}
		})
	}()
	// When the subscription stands cannot be seen; so there is something new until something has come.
	sent := 0
	err := eventually(ctx, b.Patience, func() error {
		sent++
		if _, err := b.publish(ctx, c, fmt.Sprint(sent)); err != nil {
			return err
		}
		if len(got) == 0 {
			return errors.New("no message has come")
		}
		return nil
	})
	if err == nil {
		var first int
		if text := <-got; text == "before" {
			err = errors.New("a message came that was published before the subscription")
		} else if _, err = fmt.Sscan(text, &first); err == nil {
			for i := first + 1; i <= sent && err == nil; i++ {
				select {
				case text := <-got:
					if text != fmt.Sprint(i) {
						err = fmt.Errorf("message %q came in the place of %d", text, i)
					}
				case <-ctx.Done():
					err = fmt.Errorf("message %d has not come", i)
				}
			}
		}
	}
	cancel()
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case why := <-ended:
		return errors.Join(err, wantKind("Subscribe whose context was cancelled", why, sdk.Canceled, sdk.DeadlineExceeded))
	case <-timer.C:
		return errors.Join(err, errors.New("subscribe goes on a second after its context has ended"))
	}
}

func channelFencing(ctx context.Context, b *bench, c sdk.Coordinator) error {
	for _, step := range []struct {
		token uint64
		stale bool
	}{{7, false}, {6, true}, {7, false}, {0, false}, {9, false}, {7, true}, {8, true}, {9, false}} {
		_, err := c.Publish(ctx, sdk.Message{Channel: b.name("channel"), Token: step.token, Payload: []byte("m")})
		if step.stale {
			if err := wantKind(fmt.Sprintf("Publish with the token %d", step.token), err, sdk.Conflict); err != nil {
				return err
			}
		} else if err != nil {
			return fmt.Errorf("publish with the token %d: %w", step.token, err)
		}
	}
	got, err := b.receive(ctx, c, "0", 5)
	if err != nil {
		return err
	}
	for i, want := range []uint64{7, 7, 0, 9, 9} {
		if got[i].Token != want {
			return fmt.Errorf("message %d carries the token %d, want %d", i, got[i].Token, want)
		}
	}
	return nil
}

func channelEmitFails(ctx context.Context, b *bench, c sdk.Coordinator) error {
	if _, err := b.publish(ctx, c, "one", "two", "three"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, b.Patience)
	defer cancel()
	calls := 0
	err := c.Subscribe(ctx, b.name("channel"), "0", func(sdk.Message) error {
		calls++
		return errEnough
	})
	return emitFailed("Subscribe", err, calls)
}

func (b *bench) budget(n, limit int, window time.Duration) sdk.BudgetRequest {
	return sdk.BudgetRequest{Name: b.name("budget"), N: n, Limit: limit, Window: window}
}

func budgetLimit(ctx context.Context, b *bench, c sdk.Coordinator) error {
	for _, n := range []int{1, 3, 1} {
		if err := c.Take(ctx, b.budget(n, 5, time.Minute)); err != nil {
			return fmt.Errorf("take %d: %w", n, err)
		}
	}
	err := c.Take(ctx, b.budget(1, 5, time.Minute))
	if kindErr := wantKind("Take of a spent budget", err, sdk.RateLimited); kindErr != nil {
		return kindErr
	}
	if after := sdk.RetryAfter(err); after <= 0 || after > 70*time.Second {
		return fmt.Errorf("retryAfter is %v for a window of a minute", after)
	}
	other := b.budget(1, 5, time.Minute)
	other.Name += "-other"
	if err := c.Take(ctx, other); err != nil {
		return fmt.Errorf("another budget: %w", err)
	}
	return nil
}

func budgetConcurrent(ctx context.Context, b *bench, c sdk.Coordinator) error {
	var had atomic.Int64
	err := together(func(int) error {
		err := c.Take(ctx, b.budget(1, 10, time.Minute))
		if err == nil {
			had.Add(1)
			return nil
		}
		return wantKind("Take", err, sdk.RateLimited)
	})
	if n := had.Load(); err == nil && n != 10 {
		err = fmt.Errorf("%d callers had a unit of 10", n)
	}
	return err
}

func budgetWindow(ctx context.Context, b *bench, c sdk.Coordinator) error {
	const window = 400 * time.Millisecond
	if err := c.Take(ctx, b.budget(2, 2, window)); err != nil {
		return fmt.Errorf("take: %w", err)
	}
	start := time.Now()
	for {
		err := c.Take(ctx, b.budget(1, 2, window))
		if err == nil {
			return nil
		}
		if err := wantKind("Take", err, sdk.RateLimited); err != nil {
			return err
		}
		if time.Since(start) > 5*window {
			return fmt.Errorf("not to be had after five windows: %w", err)
		}
		if err := pause(ctx, time.Now().Add(max(sdk.RetryAfter(err), time.Millisecond))); err != nil {
			return err
		}
	}
}
