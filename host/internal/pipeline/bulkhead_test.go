package pipeline

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

func TestAHungIslandHoldsNoMoreThanItsPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := newFakeSource("gecko")
		hung.delay = time.Hour
		b := newBoundary(Options{MaxCalls: 2, Island: func(string) (process.Island, error) { return hung, nil }}.withDefaults())
		island, err := b.island("gecko")
		if err != nil {
			t.Fatal(err)
		}
		ask := func(ctx context.Context) <-chan error {
			out := make(chan error, 1)
			go func() {
				_, err := island.Quotes(ctx, sdk.QuotesRequest{Assets: []sdk.Asset{{Symbol: "btc"}}, VsCurrency: "usd"})
				out <- err
			}()
			synctest.Wait()
			return out
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		inside := []<-chan error{ask(ctx), ask(ctx)}
		waiting := []<-chan error{ask(ctx), ask(ctx)}
		if err := <-ask(ctx); !errors.Is(err, sdk.ResourceExhausted) || sdk.RetryAfter(err) == 0 {
			t.Errorf("one too many is not refused at once: %v", err)
		}
		// What the host asks for by itself has a room of its own.
		routine := ask(process.Routine(ctx))
		if calls := hung.total.Load(); calls != 3 {
			t.Errorf("%d calls are under way, not 3", calls)
		}
		for _, c := range append(inside, routine) {
			if err := <-c; !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		}
		for _, c := range waiting {
			if err := <-c; err == nil {
				t.Error("a call was answered by an island that hangs")
			}
		}
		hung.delay = 0
		if err := <-ask(t.Context()); err != nil {
			t.Errorf("the places were not given back: %v", err)
		}
	})
}

func TestAFullRoomSaysNothingOfTheSource(t *testing.T) {
	w := newWorld()
	r := w.requests(func(o *Options) { o.MaxCalls = 1 })
	defer r.Close()
	var leaves []func()
	leave, err := r.boundary.bulkheads.enter(t.Context(), "gecko")
	if err != nil {
		t.Fatal(err)
	}
	leaves = append(leaves, leave)
	r.boundary.bulkheads.rooms[roomKey{"gecko", false}].waiting.Store(1)
	for range 10 {
		err := r.sources.walk(t.Context(), []string{"gecko"}, noRetries, func(ctx context.Context, a attempt) error {
			_, err := a.island.Quotes(ctx, sdk.QuotesRequest{VsCurrency: "usd"})
			return err
		})
		if !errors.Is(err, sdk.ResourceExhausted) && !errors.Is(err, sdk.Unavailable) {
			t.Fatalf("%v", err)
		}
	}
	if s := r.Sources(); s[0].Failing || s[1].Failing {
		t.Errorf("a source that was not asked counts as failing: %+v", s)
	}
	for _, leave := range leaves {
		leave()
	}
}
