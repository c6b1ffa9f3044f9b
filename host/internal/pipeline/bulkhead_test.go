package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// hung is a source that answers nothing before it is released, whatever its caller's time.
type hung struct {
	*fakeSource
	released chan struct{}
	inside   atomic.Int64
}

func (h *hung) Quotes(ctx context.Context, req sdk.QuotesRequest) ([]sdk.Quote, error) {
	h.inside.Add(1)
	<-h.released
	return h.fakeSource.Quotes(ctx, req)
}

func TestAHungIslandKeepsNoMoreThanItsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		h := &hung{fakeSource: w.gecko, released: make(chan struct{})}
		r, end := running(w, func(o *Options) {
			o.MaxCalls = func(string) int { return 3 }
			island := o.Island
			o.Island = func(name string) (process.Island, error) {
				if name == "gecko" {
					return h, nil
				}
				return island(name)
			}
		})
		defer end()
		r.lobby.lag, r.lobby.places = nil, 256
		if _, err := r.Global(t.Context(), "usd"); err != nil {
			t.Fatal(err)
		}
		var wait sync.WaitGroup
		var answered, refused atomic.Int64
		for i := range 40 {
			wait.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				source := "gecko"
				if i%2 == 0 {
					source = "" // gecko, and then the next
				}
				_, err := r.Quote(ctx, fmt.Sprintf("coin%d", i), "usd", source)
				switch {
				case err == nil:
					answered.Add(1)
				case errors.Is(err, sdk.ResourceExhausted) && sdk.RetryAfter(err) > 0, errors.Is(err, sdk.Unavailable):
					refused.Add(1)
				default:
					t.Errorf("answered %v", err)
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if s := r.Behaviour("gecko"); s.UnderWay != 3 || s.Waiting != 37 || s.TurnedAway != 0 {
			t.Errorf("at first the island has %+v", s)
		}
		// It is not waited for in good hope any more.
		time.Sleep(2 * stuckAfter)
		began := time.Now()
		if _, err := r.Quote(t.Context(), "btc", "usd", "gecko"); !errors.Is(err, sdk.ResourceExhausted) || sdk.RetryAfter(err) == 0 {
			t.Errorf("asked alone it gives %v", err)
		}
		if a, err := r.Quote(t.Context(), "eth", "usd", ""); err != nil || a.Noun().(sdk.Quote).Source != "binance" {
			t.Errorf("the next in line is not asked: %v", err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("that took %v", took)
		}
		if _, err := r.Candles(t.Context(), "btc", "usd", sdk.Interval1h, 10); err != nil {
			t.Errorf("another island is shut out: %v", err)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if h.inside.Load() != 3 {
			t.Errorf("%d calls were made to the hung island", h.inside.Load())
		}
		// What the host does by itself has a room of its own.
		routine, cancel := context.WithTimeout(process.Routine(t.Context()), time.Second)
		island, err := r.opts.Island("gecko")
		if err == nil {
			_, err = island.Global(routine, sdk.GlobalRequest{VsCurrency: "usd"})
		}
		if cancel(); err != nil {
			t.Errorf("the feed is shut out: %v", err)
		}
		close(h.released)
		wait.Wait()
		synctest.Wait()
		if answered.Load() < 17 || answered.Load()+refused.Load() != 40 {
			t.Errorf("%d answered, %d refused", answered.Load(), refused.Load())
		}
		if s := r.Behaviour("gecko"); s.UnderWay != 0 || s.Waiting != 0 {
			t.Errorf("in the end the island has %+v", s)
		}
	})
}

// hasty notes how much time its callers have.
type hasty struct {
	*fakeSource
	left []time.Duration
}

func (h *hasty) Quotes(ctx context.Context, req sdk.QuotesRequest) ([]sdk.Quote, error) {
	deadline, _ := ctx.Deadline()
	h.left = append(h.left, time.Until(deadline))
	return h.fakeSource.Quotes(ctx, req)
}

func TestTimeIsKeptForTheWayBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		h := &hasty{fakeSource: w.gecko}
		r, end := running(w, func(o *Options) {
			o.LastSourceTimeout = time.Hour
			o.RequestTimeout = 10 * time.Second
			island := o.Island
			o.Island = func(name string) (process.Island, error) {
				if name == "gecko" {
					return h, nil
				}
				return island(name)
			}
		})
		defer end()
		if _, err := r.Quote(t.Context(), "btc", "usd", "gecko"); err != nil {
			t.Fatal(err)
		}
		if len(h.left) != 1 || h.left[0] != 10*time.Second-maxWayBack {
			t.Errorf("the source has %v", h.left)
		}
		// A source that takes eight seconds is not asked for what has to be there in half a second.
		src := r.sources.of("gecko")
		src.usual.Store(0)
		src.took(8 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		err := r.sources.walk(ctx, []string{"gecko"}, noRetries, func(context.Context, attempt) error {
			t.Error("it is asked")
			return errEnough
		})
		if !errors.Is(err, context.DeadlineExceeded) || src.isFailing() {
			t.Errorf("the walk ends with %v", err)
		}
	})
}
