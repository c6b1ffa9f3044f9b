package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/islandtest/servers"
)

// coordinators runs a test on the coordinator of a single host, and on two that share a Redis.
func coordinators(t *testing.T, test func(t agreement)) {
	t.Helper()
	t.Parallel()
	t.Run("single", func(t *testing.T) {
		t.Parallel()
		h := open(t, nil)
		test(agreement{T: t, one: h, two: h})
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		_, hosts := onRedis(t, 2)
		test(agreement{T: t, one: hosts[0], two: hosts[1]})
	})
}

// agreement is a test with two that have to agree.
type agreement struct {
	*testing.T
	one, two sdk.Coordinator
}

func TestLeases(t *testing.T) {
	coordinators(t, func(t agreement) {
		one, two := t.one, t.two
		ctx := t.Context()
		mine := sdk.LeaseRequest{Name: "poll", Owner: "one", TTL: time.Minute}
		yours := sdk.LeaseRequest{Name: "poll", Owner: "two", TTL: 50 * time.Millisecond}
		acquire := func(c sdk.Coordinator, req sdk.LeaseRequest) sdk.Lease {
			t.Helper()
			lease, err := c.Acquire(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			if left := time.Until(lease.ExpiresAt); left > req.TTL || left < req.TTL-5*time.Second {
				t.Errorf("%v are left of a lease of %v", left, req.TTL)
			}
			return lease
		}
		first := acquire(one, mine)
		if renewed := acquire(two, mine); renewed.Token != first.Token || first.Token == 0 {
			t.Errorf("a renewal has the token %d, want %d", renewed.Token, first.Token)
		}
		_, err := two.Acquire(ctx, yours)
		if wait := sdk.RetryAfter(err); !errors.Is(err, sdk.Conflict) || wait <= 0 || wait > time.Minute {
			t.Errorf("a held lease: %v, retry after %v", err, wait)
		}
		if err := two.Release(ctx, yours); err != nil {
			t.Error(err)
		}
		if _, err := two.Acquire(ctx, yours); !errors.Is(err, sdk.Conflict) {
			t.Errorf("somebody else released it: %v", err)
		}
		for range 2 {
			if err := one.Release(ctx, mine); err != nil {
				t.Error(err)
			}
		}
		second := acquire(two, yours)
		if second.Token <= first.Token {
			t.Errorf("token %d after %d", second.Token, first.Token)
		}
		// The second owner dies: its lease runs out.
		var third sdk.Lease
		eventually(t.T, "the takeover", func() bool {
			var err error
			third, err = one.Acquire(ctx, mine)
			return err == nil
		})
		if third.Token <= second.Token {
			t.Errorf("token %d after %d", third.Token, second.Token)
		}
		for name, bad := range map[string]sdk.LeaseRequest{
			"no name": {Owner: "o", TTL: time.Second}, "no owner": {Name: "n", TTL: time.Second}, "no TTL": {Name: "n", Owner: "o"},
			"long name": {Name: strings.Repeat("n", maxName+1), Owner: "o", TTL: time.Second},
		} {
			if _, err := one.Acquire(ctx, bad); !errors.Is(err, sdk.InvalidArgument) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestOneOwnerAtATime(t *testing.T) {
	coordinators(t, func(t agreement) {
		one, two := t.one, t.two
		var mu sync.Mutex
		var owners []string
		var race sync.WaitGroup
		for i := range 20 {
			race.Go(func() {
				owner := fmt.Sprint("owner ", i)
				c := []sdk.Coordinator{one, two}[i%2]
				_, err := c.Acquire(t.Context(), sdk.LeaseRequest{Name: "poll", Owner: owner, TTL: time.Minute})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					owners = append(owners, owner)
				} else if !errors.Is(err, sdk.Conflict) {
					t.Error(err)
				}
			})
		}
		race.Wait()
		if len(owners) != 1 {
			t.Errorf("owners %q", owners)
		}
	})
}

func TestFencedPublishing(t *testing.T) {
	coordinators(t, func(t agreement) {
		one, two := t.one, t.two
		ctx := t.Context()
		old, err := one.Acquire(ctx, sdk.LeaseRequest{Name: "poll", Owner: "one", TTL: 20 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		publish := func(c sdk.Coordinator, token uint64) error {
			_, err := c.Publish(ctx, sdk.Message{Channel: "ticks", Token: token, Payload: []byte("p")})
			return err
		}
		if err := publish(one, old.Token); err != nil {
			t.Error(err)
		}
		var taken sdk.Lease
		eventually(t.T, "the takeover", func() bool {
			taken, err = two.Acquire(ctx, sdk.LeaseRequest{Name: "poll", Owner: "two", TTL: time.Minute})
			return err == nil
		})
		// Until the new owner speaks, nobody knows of it.
		for _, step := range []struct {
			c     sdk.Coordinator
			token uint64
			want  error
		}{
			{one, old.Token, nil},
			{two, taken.Token, nil},
			{one, old.Token, sdk.Conflict},
			{one, 0, nil},
			{two, taken.Token, nil},
			{two, 1<<63 + 1, nil},
			{one, 1 << 63, sdk.Conflict},
		} {
			if err := publish(step.c, step.token); !errors.Is(err, step.want) {
				t.Errorf("token %d: got %v, want %v", step.token, err, step.want)
			}
		}
	})
}

func TestSubscribe(t *testing.T) {
	coordinators(t, func(t agreement) {
		one, two := t.one, t.two
		ctx := t.Context()
		var ids []string
		publish := func(n int) {
			t.Helper()
			for range n {
				id, err := one.Publish(ctx, sdk.Message{Channel: "ticks", Token: 7, Payload: fmt.Appendf(nil, "\x00message %d", len(ids))})
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, id)
			}
		}
		publish(3)
		// subscribe returns what came when, and the function that ends it.
		subscribe := func(after string) (func() []sdk.Message, func() error) {
			var mu sync.Mutex
			var got []sdk.Message
			ctx, cancel := context.WithCancel(ctx)
			ended := make(chan error, 1)
			go func() {
				ended <- two.Subscribe(ctx, "ticks", after, func(msg sdk.Message) error {
					mu.Lock()
					defer mu.Unlock()
					got = append(got, msg)
					return nil
				})
			}()
			return func() []sdk.Message {
					mu.Lock()
					defer mu.Unlock()
					return slices.Clone(got)
				}, func() error {
					cancel()
					return <-ended
				}
		}
		all, endAll := subscribe("0")
		rest, endRest := subscribe(ids[1])
		eventually(t.T, "the replay", func() bool { return len(all()) == 3 && len(rest()) == 1 })
		now, endNow := subscribe("")
		// From now on begins when the subscription stands, which only a message shows.
		eventually(t.T, "a message", func() bool {
			publish(1)
			time.Sleep(5 * time.Millisecond)
			return len(now()) > 0
		})
		publish(5)
		eventually(t.T, "every message", func() bool { return len(all()) == len(ids) && len(rest()) == len(ids)-2 })
		eventually(t.T, "the last message", func() bool { got := now(); return got[len(got)-1].ID == ids[len(ids)-1] })
		for i, msg := range all() {
			if msg.ID != ids[i] || msg.Channel != "ticks" || msg.Token != 7 || string(msg.Payload) != fmt.Sprintf("\x00message %d", i) {
				t.Errorf("message %d is %+v", i, msg)
			}
		}
		if got := now(); len(got) > len(ids)-3 {
			t.Error("from now on means without what was")
		}
		start := time.Now()
		for _, end := range []func() error{endAll, endRest, endNow} {
			if err := end(); !errors.Is(err, sdk.Canceled) {
				t.Errorf("ended with %v", err)
			}
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("the end took %v", took)
		}
		failure := errors.New("the reader is gone")
		if err := two.Subscribe(ctx, "ticks", "0", func(sdk.Message) error { return failure }); !errors.Is(err, failure) {
			t.Errorf("got %v", err)
		}
		if err := two.Subscribe(ctx, "ticks", "yesterday", nil); !errors.Is(err, sdk.InvalidArgument) {
			t.Errorf("got %v", err)
		}
	})
}

func TestAChannelIsCapped(t *testing.T) {
	coordinators(t, func(t agreement) {
		one, two := t.one, t.two
		for i := range 3 * keptMessages {
			if _, err := one.Publish(t.Context(), sdk.Message{Channel: "ticks", Payload: fmt.Append(nil, i)}); err != nil {
				t.Fatal(err)
			}
		}
		n, done := 0, errors.New("done")
		err := two.Subscribe(t.Context(), "ticks", "0", func(msg sdk.Message) error {
			n++
			if string(msg.Payload) == fmt.Sprint(3*keptMessages-1) {
				return done
			}
			return nil
		})
		if !errors.Is(err, done) || n < keptMessages || n > keptMessages+200 {
			t.Errorf("%d messages kept, %v", n, err)
		}
	})
}

func TestSubscriptionsEndWithTheIsland(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]values{"single": nil, "redis": {"redis_url": servers.Redis(t).URL(), "l2_timeout": patient}} {
		c := newCache()
		h := openWith(t, c, set)
		ended := make(chan error, 1)
		got := make(chan struct{})
		if _, err := h.Publish(t.Context(), sdk.Message{Channel: "c"}); err != nil {
			t.Fatal(err)
		}
		go func() {
			ended <- c.Subscribe(t.Context(), "c", "0", func(sdk.Message) error { close(got); return nil })
		}()
		<-got
		if err := c.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, sdk.Unavailable) {
			t.Errorf("%s: ended with %v, want unavailable", name, err)
		}
	}
}

func TestSubscriptionNoticesThatRedisIsGone(t *testing.T) {
	t.Parallel()
	server, hosts := onRedisWithin(t, 1, "250ms")
	eventually(t, "a message", func() bool {
		_, err := hosts[0].Publish(t.Context(), sdk.Message{Channel: "c"})
		return err == nil
	})
	start := time.Now()
	err := hosts[0].Subscribe(t.Context(), "c", "0", func(sdk.Message) error { server.Pause(); return nil })
	if !errors.Is(err, sdk.Unavailable) || time.Since(start) > 5*time.Second {
		t.Errorf("paused: %v after %v", err, time.Since(start))
	}
	server.Resume()
	err = hosts[0].Subscribe(t.Context(), "c", "0", func(sdk.Message) error { server.Stop(); return nil })
	if !errors.Is(err, sdk.Unavailable) {
		t.Errorf("stopped: %v", err)
	}
}

func TestBudget(t *testing.T) {
	coordinators(t, func(t agreement) {
		one, two := t.one, t.two
		ctx := t.Context()
		const window = time.Second
		var name string
		take := func(c sdk.Coordinator, n int) error {
			return c.Take(ctx, sdk.BudgetRequest{Name: name, N: n, Limit: 10, Window: window})
		}
		// A busy machine may take longer than the window to spend a budget, which says nothing of the budget.
		var began time.Time
		var err error
		for tries := 0; tries == 0 || err == nil && tries < 20 && time.Since(began) >= window; tries++ {
			name, began = fmt.Sprint("binance", tries), time.Now()
			for _, n := range []int{4, 5, 1} {
				if err := take([]sdk.Coordinator{one, two}[n%2], n); err != nil {
					t.Fatal(err)
				}
			}
			err = take(two, 1)
		}
		wait := sdk.RetryAfter(err)
		if !errors.Is(err, sdk.RateLimited) || wait <= 0 || wait > window+2*window/windowParts {
			t.Fatalf("got %v, retry after %v", err, wait)
		}
		if err := one.Take(ctx, sdk.BudgetRequest{Name: "coingecko", N: 1, Limit: 10, Window: window}); err != nil {
			t.Errorf("another budget: %v", err)
		}
		time.Sleep(wait)
		if time.Since(began) < window {
			t.Errorf("sent back within the window, after %v", time.Since(began))
		}
		if err := take(one, 1); err != nil {
			t.Errorf("after the wait: %v", err)
		}
		for _, bad := range []sdk.BudgetRequest{
			{Name: "n", N: 0, Limit: 1, Window: window},
			{Name: "n", N: 2, Limit: 1, Window: window},
			{Name: "n", N: 1, Limit: 1},
			{N: 1, Limit: 1, Window: window},
		} {
			if err := one.Take(ctx, bad); !errors.Is(err, sdk.InvalidArgument) {
				t.Errorf("%+v: %v", bad, err)
			}
		}
	})
}

// However the calls fall, no window holds more than the limit.
func TestABudgetHoldsInEveryWindow(t *testing.T) {
	t.Parallel()
	now := newClock()
	a := newLocalAccord(now.Now, nil)
	var taken []time.Time
	for i := range 5000 {
		if a.Take(t.Context(), sdk.BudgetRequest{Name: "n", N: 1, Limit: 50, Window: time.Second}) == nil {
			taken = append(taken, now.Now())
		}
		now.advance(time.Duration(i%7) * time.Millisecond)
	}
	for i := 50; i < len(taken); i++ {
		if span := taken[i].Sub(taken[i-50]); span < time.Second {
			t.Fatalf("51 within %v", span)
		}
	}
	if spent := len(taken); spent < 600 {
		t.Errorf("%d were had in 15 seconds at 50 a second", spent)
	}
}

func TestConcurrentBudget(t *testing.T) {
	coordinators(t, func(t agreement) {
		one, two := t.one, t.two
		var mu sync.Mutex
		var race sync.WaitGroup
		had := 0
		for i := range 40 {
			race.Go(func() {
				c := []sdk.Coordinator{one, two}[i%2]
				if c.Take(t.Context(), sdk.BudgetRequest{Name: "n", N: 2, Limit: 31, Window: time.Hour}) == nil {
					mu.Lock()
					defer mu.Unlock()
					had += 2
				}
			})
		}
		race.Wait()
		if had != 30 {
			t.Errorf("%d units were had of 31, by twos", had)
		}
	})
}

func TestTheSingleHostsAccordsAreBounded(t *testing.T) {
	t.Parallel()
	now := newClock()
	a := newLocalAccord(now.Now, nil)
	lease := func(i int) error {
		_, err := a.Acquire(t.Context(), sdk.LeaseRequest{Name: fmt.Sprint(i), Owner: "o", TTL: time.Minute})
		return err
	}
	budget := func(i int) error {
		return a.Take(t.Context(), sdk.BudgetRequest{Name: fmt.Sprint(i), N: 1, Limit: 1, Window: time.Minute})
	}
	channel := func(i int) error {
		_, err := a.Publish(t.Context(), sdk.Message{Channel: fmt.Sprint(i)})
		return err
	}
	for name, more := range map[string]func(int) error{"leases": lease, "budgets": budget, "channels": channel} {
		for i := range maxAccords {
			if err := more(i); err != nil {
				t.Fatal(err)
			}
		}
		if err := more(maxAccords); !errors.Is(err, sdk.ResourceExhausted) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	now.advance(2 * time.Minute)
	if err := errors.Join(lease(maxAccords), budget(maxAccords)); err != nil {
		t.Errorf("what has run out still takes room: %v", err)
	}
}
