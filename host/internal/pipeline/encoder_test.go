package pipeline

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
)

// most is how many encoders there are.
func most() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// occupy keeps all encoders at work until it is released.
func occupy(t *testing.T, e *encoders) (release func()) {
	t.Helper()
	released := make(chan struct{})
	var busy sync.WaitGroup
	for range most() {
		begun := make(chan struct{})
		busy.Go(func() {
			if err := e.load(t.Context(), func() { close(begun); <-released }); err != nil {
				t.Error(err)
			}
		})
		<-begun
	}
	return sync.OnceFunc(func() { close(released); busy.Wait() })
}

func TestEncodersAreHalfOfTheProcessors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEncoders()
		defer e.close()
		var mu sync.Mutex
		var working, peak, done int
		work := func() {
			mu.Lock()
			working++
			peak = max(peak, working)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			working--
			done++
			mu.Unlock()
		}
		for i := range 3 * most() {
			wait := e.load
			if i%2 == 0 {
				wait = e.part
			}
			go func() {
				if err := wait(t.Context(), work); err != nil {
					t.Error(err)
				}
			}()
		}
		time.Sleep(10 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if peak != most() || done != 3*most() {
			t.Errorf("%d of %d done, %d at once, want %d", done, 3*most(), peak, most())
		}
	})
}

// However many stand in one line, the first of the other is next or the one after.
func TestTheLinesOfEncodersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEncoders()
		defer e.close()
		release := occupy(t, e)
		var mu sync.Mutex
		var order []string
		stand := func(name string, wait func(context.Context, func()) error) {
			go func() {
				err := wait(t.Context(), func() {
					mu.Lock()
					order = append(order, name)
					mu.Unlock()
					time.Sleep(time.Second)
				})
				if err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		for range 10 * most() {
			stand("load", e.load)
		}
		for range most() {
			stand("part", e.part)
		}
		release()
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if last := slices.Index(order, "part") + most(); len(order) != 11*most() || last > 3*most() {
			t.Errorf("the order was %v", order)
		}
	})
}

func TestWhoStandsInLineMayLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEncoders()
		defer e.close()
		defer occupy(t, e)()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for name, wait := range map[string]func(context.Context, func()) error{"load": e.load, "part": e.part} {
			if err := wait(ctx, func() { t.Errorf("%s: it was done all the same", name) }); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestAPanicOfAnEncoderIsTheCallers(t *testing.T) {
	e := newEncoders()
	defer e.close()
	for range most() + 1 { // The encoder lives on.
		func() {
			defer func() {
				if p, ok := recover().(string); !ok || !strings.HasPrefix(p, "a mistake\n") || !strings.Contains(p, "encoder_test.go") {
					t.Errorf("panicked with %v", p)
				}
			}()
			t.Error(e.load(t.Context(), func() { panic("a mistake") }))
		}()
	}
}

func TestWithoutEncodersTheCallerWorks(t *testing.T) {
	ended := newEncoders()
	ended.close()
	ended.close()
	for name, e := range map[string]*encoders{"none": nil, "ended": ended} {
		worked := 0
		work := func() { worked++ }
		if err := errors.Join(e.load(t.Context(), work), e.part(t.Context(), work)); err != nil || worked != 2 {
			t.Errorf("%s: %d of 2 were done, %v", name, worked, err)
		}
	}
}

func TestPartsAreMadeByEncoders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, end := running(w)
		defer end()
		a, err := r.Candles(t.Context(), "btc", "usd", sdk.Interval1d, 10)
		if err != nil {
			t.Fatal(err)
		}
		build := func(any) Representation { return Representation{Format: "x"} }
		if _, err := a.Part(t.Context(), 5, build); err != nil {
			t.Fatal(err)
		}
		release := occupy(t, r.encoders)
		defer release()
		if _, err := a.Part(t.Context(), 5, build); err != nil {
			t.Errorf("what is made already: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.Part(ctx, 3, build); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a part was made beside the encoders, or nobody looked at the time: %v", err)
		}
		release()
		if got, err := a.Part(t.Context(), 3, build); err != nil || got.Format != "x" {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// What a flight has loaded is put into words before it is written, and never under the lock that the feed needs.
func TestTheFeedWaitsForNoEncoder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := feeding(newFeedWorld(), func(_ *Options, f *FeedOptions) { f.Sources = f.Sources[:1] })
		defer h.end()
		q := question{key: "btc_current_price"}
		c := newClimb(h.r, h.r.routes.Load().kinds.quote, []question{q}, []*flight{h.r.takeOff(q.key)})
		c.askCache(t.Context())
		now := time.Now()
		c.steps[0].best = c.k.entry(q.key, at("btc", 90, time.Minute), now, now.Add(30*time.Second), now.Add(time.Hour))
		c.steps[0].tier, c.steps[0].writeCache = TierMiss, true
		release := occupy(t, h.r.encoders)
		defer release()
		written := make(chan struct{})
		go func() {
			defer close(written)
			c.remember(t.Context())
		}()
		synctest.Wait()
		h.stream.push(at("btc", 100, 0))
		synctest.Wait()
		if cached, _ := h.cache.has(q.key); !strings.Contains(string(cached.Value), `"price":100`) {
			t.Errorf("the cache holds %s", cached.Value)
		}
		release()
		<-written
		c.land(c.steps[0], outcome{err: errors.New("not asked for")})
	})
}

func TestAFlightWithoutTimeForAnEncoderIsTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, end := running(w)
		defer end()
		release := occupy(t, r.encoders)
		defer release()
		_, err := r.Quote(t.Context(), "btc", "usd", "")
		if sdk.KindOf(err) != sdk.Unavailable || sdk.RetryAfter(err) == 0 {
			t.Errorf("answered %v", err)
		}
	})
}
