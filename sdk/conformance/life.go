package conformance

import (
	"context"
	"errors"
	"fmt"

	"github.com/service-islands/islands/sdk"
)

func lifeChecks() []Check {
	return []Check{
		{
			Name: "life/shutdown-before-initialize", early: true, run: shutdownBeforeInitialize,
			Rule: "Shutdown is safe before Initialize and safe twice",
		},
		{
			Name: "life/shutdown-twice", run: shutdownTwice,
			Rule: "Shutdown is safe before Initialize and safe twice",
		},
		{
			Name: "life/context-of-initialize", calls: true, run: contextOfInitialize,
			Rule: "The context of each call covers that call alone: what an island starts in Initialize must outlive its context",
		},
		{
			Name: "life/after-shutdown", run: afterShutdown,
			Rule: "Shutdown releases what the island holds; a call that comes after it answers or fails, and does not panic or hang",
		},
		{
			Name: "life/goroutines", run: goroutines, meant: func(s Subject) bool { return s.Leaks != nil },
			Rule: "what an island starts in Initialize must end in Shutdown",
		},
		{
			Name: "life/concurrent", calls: true, run: concurrent,
			Rule: "Health and Metrics may be called at any time, concurrently with each other and with every role method",
		},
		{
			Name: "life/cancelled", calls: true, run: cancelled,
			Rule: "The context of each call covers that call alone: a call whose context has ended returns at once",
		},
	}
}

func shutdownBeforeInitialize(ctx context.Context, b *bench) error {
	island, err := b.fresh(ctx)
	if err != nil {
		return err
	}
	return b.shutdownNTimes(ctx, island, 2)
}

func shutdownTwice(ctx context.Context, b *bench) error {
	island, err := b.open(ctx)
	if err != nil {
		return err
	}
	return b.shutdownNTimes(ctx, island, 2)
}

func (b *bench) shutdownNTimes(ctx context.Context, island sdk.IslandComponent, n int) error {
	for i := range n {
		var err error
		hung := within(b.Patience, "Shutdown", func() { err = island.Shutdown(ctx) })
		if hung != nil {
			return hung
		}
		if err != nil {
			return fmt.Errorf("shutdown, call %d: %w", i+1, err)
		}
	}
	return nil
}

func contextOfInitialize(ctx context.Context, b *bench) error {
	cfg := b.config(b.settings())
	island, err := b.fresh(ctx)
	if err != nil {
		return err
	}
	initCtx, cancel := context.WithCancel(ctx)
	err = island.Initialize(initCtx, cfg)
	cancel()
	if err != nil {
		return fmt.Errorf("initialize: %w", err)
	}
	if health := island.Health(ctx); health.Status == sdk.StatusFailed {
		return fmt.Errorf("failed once the context of Initialize has ended: %+v", health)
	}
	for _, c := range b.roleCalls(island) {
		if err := c.call(ctx); err != nil {
			return fmt.Errorf("%s, once the context of Initialize has ended: %w", c.name, err)
		}
	}
	return nil
}

func afterShutdown(ctx context.Context, b *bench) error {
	island, err := b.open(ctx)
	if err != nil {
		return err
	}
	if err := island.Shutdown(ctx); err != nil {
		return fmt.Errorf("shutdown: %w", err)
	}
	for _, c := range b.roleCalls(island) {
		// Whether a late call still answers is the island's affair.
		if err := within(b.Patience, c.name+" after Shutdown", func() { _ = c.call(ctx) }); err != nil {
			return err
		}
	}
	return within(b.Patience, "Health and Metrics after Shutdown", func() {
		_ = island.Health(ctx)
		_, _ = island.Metrics(ctx)
	})
}

// goroutines compares what runs before an island's life with what runs after it.
func goroutines(ctx context.Context, b *bench) error {
	cfg := b.config(b.settings())
	left := b.Leaks()
	island, err := b.fresh(ctx)
	if err != nil {
		return err
	}
	if err := island.Initialize(ctx, cfg); err != nil {
		return fmt.Errorf("initialize: %w", err)
	}
	for _, c := range b.roleCalls(island) {
		if err := c.call(ctx); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	_ = island.Health(ctx)
	if err := island.Shutdown(ctx); err != nil {
		return fmt.Errorf("shutdown: %w", err)
	}
	b.close()
	if err := left(); err != nil {
		return fmt.Errorf("goroutines are left after Shutdown: %w", err)
	}
	return nil
}

func concurrent(ctx context.Context, b *bench) error {
	island, err := b.open(ctx)
	if err != nil {
		return err
	}
	calls := b.roleCalls(island)
	err = together(func(i int) error {
		if health := island.Health(ctx); health.Status == sdk.StatusFailed {
			return fmt.Errorf("health: %+v", health)
		}
		if len(calls) > 0 {
			c := calls[i%len(calls)]
			// A polite source may refuse some of a hundred calls at once.
			if err := c.call(ctx); err != nil && !errors.Is(err, sdk.RateLimited) {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
		_, err := island.Metrics(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("%d callers at once: %w", callers, err)
	}
	return nil
}

func cancelled(ctx context.Context, b *bench) error {
	island, err := b.open(ctx)
	if err != nil {
		return err
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	var errs []error
	for _, c := range b.roleCalls(island) {
		errs = append(errs, promptly(c.name+" with a cancelled context", func() { _ = c.call(ended) }))
	}
	errs = append(errs,
		promptly("Health with a cancelled context", func() { _ = island.Health(ended) }),
		promptly("Metrics with a cancelled context", func() { _, _ = island.Metrics(ended) }))
	return errors.Join(errs...)
}
