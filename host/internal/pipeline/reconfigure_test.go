package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// reconfigured replaces the routes of a pipeline by its present ones with a change.
func reconfigured(r *Requests, change func(o *Options)) <-chan struct{} {
	opts := r.routes.Load().Options
	change(&opts)
	return r.Reconfigure(opts)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestAFlightEndsByTheRoutesItBeganWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.gecko.delay = time.Second
		r, end := running(w)
		defer end()
		if _, err := r.Quote(t.Context(), "eth", "usd", ""); err != nil { // The catalogue is there.
			t.Fatal(err)
		}
		var first Answer
		var asking sync.WaitGroup
		asking.Go(func() {
			var err error
			if first, err = r.Quote(t.Context(), "btc", "usd", ""); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		settled := reconfigured(r, func(o *Options) {
			o.Quotes = Line{Sources: []string{"binance"}, Strategy: Strategy{TTL: 10 * time.Second}}
		})
		if isClosed(settled) {
			t.Error("nobody waits for the flight")
		}
		second, err := r.Quote(t.Context(), "uni", "usd", "")
		if err != nil || second.Noun().(sdk.Quote).Source != "binance" {
			t.Errorf("the next question is answered by %+v, %v", second.entry, err)
		}
		if fresh := second.FreshUntil().Sub(second.StoredAt()); fresh != 10*time.Second {
			t.Errorf("its answer is fresh for %v", fresh)
		}
		asking.Wait()
		if source := first.Noun().(sdk.Quote).Source; source != "gecko" {
			t.Errorf("the flight was answered by %s", source)
		}
		synctest.Wait()
		if !isClosed(settled) {
			t.Error("the flight has ended, and its routes are in use still")
		}
		if isClosed(r.Changed()) {
			t.Error("the routes are replaced already")
		}
		if settled := reconfigured(r, func(*Options) {}); !isClosed(settled) || isClosed(r.Changed()) {
			t.Error("the same routes again are a change")
		}
	})
}

func TestWhatAReloadKeepsAndForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, end := running(w)
		defer end()
		if _, err := r.Report(t.Context(), "crypto-report", "btc", "usd"); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Report(t.Context(), "brief", "btc", "usd"); !errors.Is(err, sdk.NotFound) {
			t.Errorf("a report that there is not: %v", err)
		}
		w.gecko.fail.Store(&sdk.Error{Kind: sdk.Unavailable})
		for i := range 5 {
			if _, err := r.Global(t.Context(), []string{"eur", "gbp", "chf", "jpy", "aud"}[i]); err == nil {
				t.Error("a source that fails answers")
			}
		}
		breaker := func() string {
			for _, s := range r.Sources() {
				if s.Name == "gecko" {
					return s.Breaker
				}
			}
			return "none"
		}
		if breaker() != "open" {
			t.Fatalf("the breaker is %s", breaker())
		}
		r.Quotes(t.Context(), []string{"onlybinance"}, "usd", "gecko") // A failure to remember.
		reconfigured(r, func(o *Options) {
			o.Reports = append(slices.Clone(o.Reports), Report{
				Name: "brief", Island: "reporter", KeyPrefix: "brief", Strategy: Strategy{TTL: time.Hour}, Needs: sdk.Needs{Quote: true},
			})
		})
		if breaker() != "open" {
			t.Errorf("the breaker is %s after a reload", breaker())
		}
		if a, err := r.Report(t.Context(), "crypto-report", "btc", "usd"); err != nil || a.Tier != TierNear {
			t.Errorf("a warm report is from %s, %v", a.Tier, err)
		}
		if _, ok := r.WarmReport("crypto-report", "btc", "usd"); !ok {
			t.Error("it is not warm any more")
		}
		if _, err := r.Report(t.Context(), "brief", "btc", "usd"); err != nil {
			t.Errorf("the new report: %v", err)
		}
		if failures := r.near.failures.Load(); failures != 0 {
			t.Errorf("%d failures are remembered still", failures)
		}

		without := func(o *Options) {
			o.Quotes.Sources, o.Candles.Sources, o.Catalogue.Sources = []string{"binance"}, []string{"binance"}, []string{"binance"}
			o.Global.Sources = nil
			o.Reports = o.Reports[1:]
		}
		reconfigured(r, without)
		if breaker() != "none" || r.HasSource("gecko") {
			t.Error("a source that is not asked any more is told of")
		}
		if _, ok := r.WarmReport("crypto-report", "btc", "usd"); ok {
			t.Error("a report that there is not any more is warm")
		}
		if _, err := r.Quote(t.Context(), "eth", "usd", "gecko"); !errors.Is(err, sdk.Unavailable) && !errors.Is(err, sdk.NotFound) {
			t.Errorf("asking a source by its name that is gone: %v", err)
		}
		w.gecko.fail.Store(nil)
		reconfigured(r, func(o *Options) { o.Global.Sources = []string{"gecko"} })
		if breaker() != "closed" {
			t.Errorf("the breaker of a source that came back is %s", breaker())
		}
		if _, err := r.Global(t.Context(), "eur"); err != nil {
			t.Errorf("what it could not say before: %v", err)
		}
	})
}

func TestAnotherCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.cache.shared.Store(true)
		other := newFakeCache()
		r, end := running(w, func(o *Options) {
			island := o.Island
			o.Island = func(name string) (process.Island, error) {
				if name == "other" {
					return other, nil
				}
				return island(name)
			}
		})
		defer end()
		ask := func() Answer {
			t.Helper()
			a, err := r.Quote(t.Context(), "btc", "usd", "")
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return a
		}
		ask()
		for _, name := range []string{"other", "", "other", "cache"} {
			settled := reconfigured(r, func(o *Options) { o.Cache = name })
			if a := ask(); a.Tier == TierMiss && name != "other" {
				t.Errorf("cache %q: the answer is lost", name)
			}
			synctest.Wait()
			time.Sleep(2 * time.Second)
			if !isClosed(settled) {
				t.Errorf("cache %q: the former routes are in use still", name)
			}
			want := map[string][2]int{"other": {0, 1}, "": {0, 0}, "cache": {1, 0}}[name]
			if got := [2]int{w.cache.watching(), other.watching()}; got != want {
				t.Errorf("cache %q: %v watch, want %v", name, got, want)
			}
			if ask().Stale || r.Stats().Suspect {
				t.Errorf("cache %q: all is in doubt", name)
			}
		}
	})
}

// TestReconfigureUnderLoad changes who answers all the time while many ask: nobody is failed, and who is not asked any more
// is not asked once what was under way has settled.
func TestReconfigureUnderLoad(t *testing.T) {
	w := newWorld()
	gone := map[string]*atomic.Bool{"gecko": {}, "binance": {}, "reporter": {}, "second": {}}
	second := &fakeReporter{}
	r := w.requests(func(o *Options) {
		island := o.Island
		o.MaxFlights = 10_000
		o.Island = func(name string) (process.Island, error) {
			if left := gone[name]; left != nil && left.Load() {
				t.Errorf("%s is asked, which is gone", name)
			}
			if name == "second" {
				return second, nil
			}
			return island(name)
		}
	})
	running, stop := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { r.Run(running) })
	defer func() {
		stop()
		watching.Wait()
		r.Close()
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var askers sync.WaitGroup
	var asked atomic.Int64
	over := make(chan struct{})
	for n := range 8 {
		askers.Go(func() {
			for i := 0; !isClosed(over); i++ {
				symbol := fmt.Sprintf("coin%d", (n*7+i)%50)
				var err error
				switch i % 4 {
				case 0:
					_, err = r.Report(ctx, "crypto-report", symbol, "usd")
				case 1:
					_, err = r.Quote(ctx, symbol, "usd", "")
				case 2:
					_, err = r.Invalidate(ctx, []string{"crypto_report_*", symbol + "_*"})
				case 3:
					_, err = r.Candles(ctx, symbol, "usd", sdk.Interval1d, 100)
				}
				if err != nil && !strings.Contains(err.Error(), "onlybinance") {
					t.Errorf("%s: %v", symbol, err)
				}
				asked.Add(1)
			}
		})
	}
	for i := range 60 {
		stays, goes := "gecko", "binance"
		makes, rests := "reporter", "second"
		if i%2 == 0 {
			stays, goes, makes, rests = goes, stays, rests, makes
		}
		gone[stays].Store(false)
		gone[makes].Store(false)
		settled := reconfigured(r, func(o *Options) {
			o.Quotes.Sources, o.Candles.Sources, o.Catalogue.Sources = []string{stays}, []string{stays}, []string{stays}
			o.Global.Sources = []string{stays}
			o.Quotes.Strategy.TTL = time.Duration(1+i%3) * time.Millisecond
			o.Reports = slices.Clone(o.Reports)
			o.Reports[0].Island = makes
		})
		select {
		case <-settled:
		case <-ctx.Done():
			t.Fatal("the former routes are in use for ever")
		}
		gone[goes].Store(true)
		gone[rests].Store(true)
		for before := asked.Load(); asked.Load() < before+20 && ctx.Err() == nil; {
			time.Sleep(time.Millisecond)
		}
	}
	close(over)
	askers.Wait()
	t.Logf("%d questions", asked.Load())
}
