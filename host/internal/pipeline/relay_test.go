package pipeline

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// lineage hands out one island after the other, as a supervisor does that replaces it.
type lineage struct {
	mu         sync.Mutex
	island     process.Island
	superseded chan struct{}
	err        error
}

func newLineage(first process.Island) *lineage {
	return &lineage{island: first, superseded: make(chan struct{})}
}

func (l *lineage) hold() (process.Island, <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.island, l.superseded, l.err
}

// supersede puts another island in the place of the one that is handed out.
func (l *lineage) supersede(next process.Island, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.superseded
	l.island, l.superseded, l.err = next, make(chan struct{}), err
	close(before)
}

// holding hands out an island of that name by the lineage, and all others as before.
func holding(name string, l *lineage) func(*Options) {
	return func(o *Options) {
		o.Hold = func(asked string) (process.Island, <-chan struct{}, error) {
			if asked == name {
				return l.hold()
			}
			island, err := o.Island(asked)
			return island, nil, err
		}
	}
}

func TestAStreamIsHandedOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFeedWorld()
		next := newFeedSource("binance")
		sources := newLineage(w.stream)
		h := feeding(w, func(o *Options, _ *FeedOptions) { holding("binance", sources)(o) })
		defer h.end()
		w.stream.push(at("btc", 1, 0), at("eth", 10, 0))
		time.Sleep(time.Second)

		sources.supersede(next, nil)
		synctest.Wait()
		if was, _ := w.stream.standing(); was != 1 {
			t.Fatal("the former stream was closed before the next one said anything")
		}
		time.Sleep(time.Millisecond)
		w.stream.push(at("btc", 2, 0)) // Nothing of what it still says is lost.
		time.Sleep(time.Second)
		if price, _ := h.price("btc"); price != 2 {
			t.Errorf("btc is %v", price)
		}
		again := at("btc", 2, time.Second) // What both have heard of is told once.
		next.push(again, at("eth", 11, 0))
		synctest.Wait()
		if was, _ := w.stream.standing(); was != 0 {
			t.Error("the former stream still stands")
		}
		time.Sleep(time.Second)
		next.push(at("btc", 3, 0))
		time.Sleep(time.Second)
		if price, _ := h.price("btc"); price != 3 {
			t.Errorf("btc is %v", price)
		}
		if _, opened := w.stream.standing(); opened != 1 {
			t.Errorf("the former stream was opened %d times", opened)
		}
		if figures := h.feed.Stats(); figures.Sources[0].Breaks != 0 {
			t.Errorf("%d streams broke", figures.Sources[0].Breaks)
		}
		h.check(t)
	})
}

func TestASuccessorThatIsNotHeard(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		next func() (process.Island, error)
	}{
		{"does not run", func() (process.Island, error) { return nil, sdk.Errorf(sdk.Unavailable, "it does not run") }},
		{"refuses", func() (process.Island, error) {
			next := newFeedSource("binance")
			next.refuse = sdk.Errorf(sdk.RateLimited, "too many streams")
			return next, nil
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newFeedWorld()
				sources := newLineage(w.stream)
				h := feeding(w, func(o *Options, _ *FeedOptions) { holding("binance", sources)(o) })
				defer h.end()
				w.stream.push(at("btc", 1, 0))
				sources.supersede(test.next())
				time.Sleep(time.Second)
				w.stream.push(at("btc", 2, 0))
				time.Sleep(time.Second)
				if price, source := h.price("btc"); price != 2 || source != "binance" {
					t.Errorf("btc is %v by %s", price, source)
				}
				// Once the former ends, too, the stream is opened again as after any break.
				last := newFeedSource("binance")
				sources.supersede(last, nil)
				w.stream.end(sdk.Errorf(sdk.Unavailable, "the process was stopped"))
				time.Sleep(2 * time.Second)
				last.push(at("btc", 3, 0))
				time.Sleep(time.Second)
				if price, _ := h.price("btc"); price != 3 {
					t.Errorf("btc is %v", price)
				}
				h.check(t)
			})
		})
	}
}

func TestTheNearCacheStaysTrueWhenTheCacheIsReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.cache.shared.Store(true) // Otherwise nothing comes into doubt anyway.
		next := newFakeCache()
		next.shared.Store(true)
		next.epoch.Store(7)
		caches := newLineage(w.cache)
		r, end := running(w, holding("cache", caches), func(o *Options) {
			island := o.Island
			o.Island = func(name string) (process.Island, error) {
				if name == "cache" {
					c, _, err := caches.hold()
					return c, err
				}
				return island(name)
			}
		})
		defer end()
		quote := func() Tier {
			t.Helper()
			a, err := r.Quote(t.Context(), "btc", "usd", "")
			if err != nil {
				t.Fatal(err)
			}
			return a.Tier
		}
		quote()
		if tier := quote(); tier != TierNear {
			t.Fatalf("answered from %v", tier)
		}
		caches.supersede(next, nil)
		time.Sleep(2 * watchOverlap)
		if n := w.cache.watching() + next.watching(); n != 1 {
			t.Errorf("%d streams stand", n)
		}
		if tier := quote(); tier != TierNear {
			t.Errorf("after the swap it is answered from %v: it came into doubt", tier)
		}
		if breaks := r.Stats().StreamBreaks; breaks != 0 {
			t.Errorf("%d breaks", breaks)
		}
		// What the new one tells is heard.
		if _, err := next.Invalidate(t.Context(), []string{"*btc*"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if tier := quote(); tier == TierNear {
			t.Error("an invalidation was not heard")
		}
	})
}

func TestTheLogIsReadOnInTheNextGeneration(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFeedWorld()
		w.coordinator = newFakeCoordinator(newFakeRedis())
		coordinators := newLineage(w.coordinator)
		h := feeding(w, func(o *Options, f *FeedOptions) {
			f.Coordinator, f.Owner = "coordinator", "a"
			holding("coordinator", coordinators)(o)
		})
		defer h.end()
		for i := range 5 {
			w.stream.push(at("btc", float64(i), 0))
			time.Sleep(2 * time.Second)
		}
		epoch, n, _ := h.state()
		coordinators.supersede(w.coordinator, nil)
		for i := range 5 {
			w.stream.push(at("btc", float64(10+i), 0))
			time.Sleep(2 * time.Second)
		}
		if price, _ := h.price("btc"); price != 14 {
			t.Errorf("btc is %v", price)
		}
		after, m, _ := h.state()
		if after != epoch || m < n+5 {
			t.Errorf("%s %d became %s %d", epoch, n, after, m)
		}
		h.check(t)
	})
}

func TestRelayEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		islands := newLineage(w.gecko)
		r, end := running(w, holding("gecko", islands))
		defer end()
		ctx, cancel := context.WithCancel(t.Context())
		var open sync.WaitGroup
		relayed := make(chan error)
		go func() {
			relayed <- r.relay(ctx, "gecko", time.Hour, func(ctx context.Context, _ process.Island, heard func()) error {
				open.Add(1)
				defer open.Done()
				heard()
				<-ctx.Done()
				return context.Cause(ctx)
			})
		}()
		synctest.Wait()
		islands.supersede(w.gecko, nil)
		synctest.Wait()
		cancel()
		if err := <-relayed; !errors.Is(err, context.Canceled) && !errors.Is(err, errSuperseded) {
			t.Errorf("it ended with %v", err)
		}
		open.Wait()
	})
}

// slowSource answers quotes after a while, until it has ended: then nobody is there.
type slowSource struct {
	*fakeSource
	ended atomic.Bool
	asked atomic.Int64
}

func (s *slowSource) Quotes(ctx context.Context, req sdk.QuotesRequest) ([]sdk.Quote, error) {
	s.asked.Add(1)
	if s.ended.Load() {
		return nil, sdk.Errorf(sdk.Unavailable, "error reading from server: EOF")
	}
	time.Sleep(100 * time.Millisecond)
	return s.fakeSource.Quotes(ctx, req)
}

// Who waits for a place at an island while it is replaced asks the next generation.
func TestWhoWaitsForAPlaceAsksTheNextGeneration(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		first, next := &slowSource{fakeSource: w.gecko}, &slowSource{fakeSource: w.gecko}
		var current atomic.Pointer[slowSource]
		current.Store(first)
		r, end := running(w, func(o *Options) {
			island := o.Island
			o.MaxCalls = func(string) int { return 1 }
			o.Quotes.Sources = []string{"gecko"}
			o.Island = func(name string) (process.Island, error) {
				if name == "gecko" {
					return current.Load(), nil
				}
				return island(name)
			}
		})
		defer end()
		var all sync.WaitGroup
		for _, symbol := range []string{"btc", "eth", "sol", "ada", "xrp"} {
			all.Go(func() {
				if _, err := r.Quote(t.Context(), symbol, "usd", ""); sdk.KindOf(err) == sdk.Unavailable {
					t.Errorf("%s: %v", symbol, err)
				}
			})
			synctest.Wait()
		}
		current.Store(next)
		time.Sleep(110 * time.Millisecond) // The call under way has ended, and with it the process.
		first.ended.Store(true)
		all.Wait()
		if first.asked.Load() == 0 || next.asked.Load() == 0 {
			t.Errorf("the first was asked %d times and the next %d", first.asked.Load(), next.asked.Load())
		}
	})
}
