package conformance

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/service-islands/islands/sdk"
)

// prompt is how soon a call must return once its context has ended.
const prompt = 250 * time.Millisecond

// callers is how many call at once where a check is about concurrency.
const callers = 100

// wantKind returns an error unless err is of one of the kinds.
func wantKind(what string, err error, kinds ...sdk.Kind) error {
	if err == nil {
		return fmt.Errorf("%s: no error, want one of kind %v", what, kinds)
	}
	if kind := sdk.KindOf(err); !slices.Contains(kinds, kind) {
		return fmt.Errorf("%s: error of kind %q, want one of %v: %w", what, kind.String(), kinds, err)
	}
	return nil
}

// within runs a call in a goroutine of its own and returns an error when it takes longer. A call that never returns
// keeps its goroutine.
func within(limit time.Duration, what string, call func()) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- fmt.Errorf("%s: panic: %v\n%s", what, r, debug.Stack())
			}
		}()
		call()
		done <- nil
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("%s: no return within %v", what, limit)
	}
}

// promptly wants a call to return at once. A busy machine may delay one; an island that waits delays each.
func promptly(what string, call func()) (err error) {
	for range 3 {
		if err = within(prompt, what, call); err == nil {
			return nil
		}
	}
	return err
}

// together runs a call as often as there are callers, all at once, and returns the first few errors.
func together(call func(i int) error) error {
	results := make(chan error, callers)
	start := make(chan struct{})
	for i := range callers {
		go func() {
			defer func() {
				if r := recover(); r != nil {
					results <- fmt.Errorf("panic: %v\n%s", r, debug.Stack())
				}
			}()
			<-start
			results <- call(i)
		}()
	}
	close(start)
	var errs []error
	for range callers {
		if err := <-results; err != nil && len(errs) < 3 {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// eventually asks again and again until the answer is nil, for at most limit, and returns the last answer.
func eventually(ctx context.Context, limit time.Duration, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("still after %v: %w", limit, err)
		}
	}
}

// pause waits until an instant.
func pause(ctx context.Context, until time.Time) error {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// roleCall is a call of a role that is quick and harmless.
type roleCall struct {
	role sdk.Role
	name string
	call func(ctx context.Context) error
}

// roleCalls lists one call or more of each role that the subject has.
func (b *bench) roleCalls(island sdk.IslandComponent) []roleCall {
	var calls []roleCall
	has := sdk.Manifest{Roles: b.Roles}
	add := func(role sdk.Role, name string, call func(ctx context.Context) error) {
		if has.Has(role) {
			calls = append(calls, roleCall{role, name, call})
		}
	}
	calls = append(calls, b.sourceCalls(island, has)...)
	if cache, ok := island.(sdk.Cache); ok {
		key := b.name("touch")
		now := time.Now()
		entry := sdk.Entry{Key: key, Value: []byte("v"), StoredAt: now, FreshUntil: now.Add(time.Minute), StaleUntil: now.Add(time.Hour)}
		add(sdk.RoleCache, "Lookup", func(ctx context.Context) error { return second(cache.Lookup(ctx, []string{key})) })
		add(sdk.RoleCache, "Fill", func(ctx context.Context) error { return second(cache.Fill(ctx, []sdk.Entry{entry})) })
		add(sdk.RoleCache, "Invalidate", func(ctx context.Context) error { return second(cache.Invalidate(ctx, []string{key})) })
	}
	if coordinator, ok := island.(sdk.Coordinator); ok {
		lease := sdk.LeaseRequest{Name: b.name("touch"), Owner: "toucher", TTL: time.Minute}
		add(sdk.RoleCoordinator, "Acquire", func(ctx context.Context) error { return second(coordinator.Acquire(ctx, lease)) })
		add(sdk.RoleCoordinator, "Release", func(ctx context.Context) error { return coordinator.Release(ctx, lease) })
		add(sdk.RoleCoordinator, "Publish", func(ctx context.Context) error {
			return second(coordinator.Publish(ctx, sdk.Message{Channel: b.name("touch"), Payload: []byte("m")}))
		})
		add(sdk.RoleCoordinator, "Take", func(ctx context.Context) error {
			return coordinator.Take(ctx, sdk.BudgetRequest{Name: b.name("touch"), N: 1, Limit: 1000, Window: time.Minute})
		})
	}
	if store, ok := island.(sdk.Store); ok {
		quote := b.quote("touch", time.Now().UTC().Truncate(time.Second))
		add(sdk.RoleStore, "SaveQuotes", func(ctx context.Context) error { return store.SaveQuotes(ctx, []sdk.Quote{quote}) })
		add(sdk.RoleStore, "History", func(ctx context.Context) error {
			return second(store.History(ctx, sdk.HistoryRequest{
				Symbol: quote.Symbol, VsCurrency: quote.VsCurrency, From: quote.AsOf, To: quote.AsOf.Add(time.Hour), Limit: 10,
			}))
		})
		add(sdk.RoleStore, "Recall", func(ctx context.Context) error { return second(store.Recall(ctx, []string{b.name("touch")})) })
	}
	if reporter, ok := island.(sdk.Reporter); ok {
		for _, req := range b.ReportRequests {
			add(sdk.RoleReporter, "Report "+req.Report, func(ctx context.Context) error { return second(reporter.Report(ctx, req)) })
		}
	}
	return calls
}

// sourceCalls lists the calls of a source's roles.
func (b *bench) sourceCalls(island sdk.IslandComponent, has sdk.Manifest) []roleCall {
	var calls []roleCall
	if source, ok := island.(sdk.QuoteSource); ok && has.Has(sdk.RoleQuotes) && len(b.Assets) > 0 {
		calls = append(calls, roleCall{sdk.RoleQuotes, "Quotes", func(ctx context.Context) error {
			return second(source.Quotes(ctx, sdk.QuotesRequest{Assets: b.Assets, VsCurrency: b.VsCurrency}))
		}})
	}
	if source, ok := island.(sdk.CandleSource); ok && has.Has(sdk.RoleCandles) && len(b.Assets) > 0 {
		calls = append(calls, roleCall{sdk.RoleCandles, "Candles", func(ctx context.Context) error {
			return second(source.Candles(ctx, b.candlesRequest(b.Intervals[0], 5)))
		}})
	}
	if source, ok := island.(sdk.GlobalSource); ok && has.Has(sdk.RoleGlobal) {
		calls = append(calls, roleCall{sdk.RoleGlobal, "Global", func(ctx context.Context) error {
			return second(source.Global(ctx, sdk.GlobalRequest{VsCurrency: b.VsCurrency}))
		}})
	}
	if source, ok := island.(sdk.SentimentSource); ok && has.Has(sdk.RoleSentiment) {
		calls = append(calls, roleCall{sdk.RoleSentiment, "Sentiment", func(ctx context.Context) error {
			return second(source.Sentiment(ctx, sdk.SentimentRequest{}))
		}})
	}
	if source, ok := island.(sdk.CatalogueSource); ok && has.Has(sdk.RoleCatalogue) {
		calls = append(calls, roleCall{sdk.RoleCatalogue, "Catalogue", func(ctx context.Context) error {
			return second(source.Catalogue(ctx, sdk.CatalogueRequest{}))
		}})
	}
	return calls
}

// second drops the result of a call.
func second[T any](_ T, err error) error { return err }
