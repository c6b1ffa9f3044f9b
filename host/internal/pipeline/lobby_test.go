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

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
)

// entrance is a lobby whose visitors leave when they are told to.
type entrance struct {
	*lobby
	told    sync.Mutex
	in, out []string
	errs    []error
}

func newEntrance(places int) *entrance {
	opts := Options{MaxFlights: places, Now: time.Now, Logger: hclog.NewNullLogger(), RequestTimeout: 10 * time.Second}
	e := &entrance{lobby: newLobby(opts)}
	e.lag, e.places = nil, places
	return e
}

func (e *entrance) come(caller, name string) { e.comes(caller, name, false, true) }

func (e *entrance) comes(caller, name string, urgent, wanted bool) {
	e.enter(caller, urgent, func() bool { return wanted }, func() { e.in = append(e.in, name) }, func(err error) {
		e.told.Lock()
		defer e.told.Unlock()
		e.out, e.errs = append(e.out, name), append(e.errs, err)
	})
}

func TestWhoseTurnItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEntrance(1)
		e.come("ann", "a0")
		for i := range 3 {
			e.come("ann", fmt.Sprint("a", i+1))
		}
		e.come("bob", "b1")
		e.comes("ann", "fresh", true, true)
		for range 6 {
			e.leave()
		}
		if want := "a0 fresh a3 b1 a2 a1"; strings.Join(e.in, " ") != want {
			t.Errorf("let in are %v, want %s", e.in, want)
		}
		if s := e.status(); s.Running != 0 || s.Waiting != 0 || s.Served != 6 || len(e.queues) != 0 || len(e.turns) != 0 {
			t.Errorf("left is %+v", s)
		}
	})
}

func TestWhoFloodsTheLobbyWaitsBehindHimself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEntrance(2)
		for i := range 100_000 {
			e.come("mallory", fmt.Sprint("m", i))
			if i == 50_000 {
				e.come("ann", "ann")
			}
		}
		if s := e.status(); s.Waiting != 8 || s.Running != 2 || s.Shed != 100_001-10 {
			t.Fatalf("after the flood: %+v", s)
		}
		e.leave()
		e.leave()
		if !slices.Contains(e.in, "ann") || slices.Contains(e.out, "ann") {
			t.Errorf("let in are %v", e.in)
		}
		for _, err := range e.errs {
			if after := sdk.RetryAfter(err); !errors.Is(err, sdk.ResourceExhausted) || after < time.Second || after > time.Minute {
				t.Fatalf("refused with %v, to come back after %v", err, after)
			}
		}
		time.Sleep(time.Minute) // The patience of those who wait ends.
		synctest.Wait()
		if s := e.status(); s.Waiting != 0 || s.Overdue != 6 {
			t.Errorf("after their time: %+v", s)
		}
	})
}

func TestManyCallersShareTheSeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEntrance(4)
		for i := range 1000 {
			e.come(fmt.Sprint("caller ", i), "one")
		}
		if s := e.status(); s.Waiting != 16 || len(e.queues) != 16 || len(e.turns) != 16 {
			t.Errorf("%+v in %d queues", s, len(e.queues))
		}
		e.close()
		if s := e.status(); s.Waiting != 0 || len(e.queues) != 0 {
			t.Errorf("after the close: %+v", s)
		}
		if err := e.errs[len(e.errs)-1]; !errors.Is(err, sdk.Unavailable) {
			t.Errorf("refused with %v", err)
		}
		e.come("late", "late")
		if slices.Contains(e.in, "late") {
			t.Error("a closed lobby lets somebody in")
		}
	})
}

func TestWhatNobodyWaitsForIsNotBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEntrance(1)
		e.come("ann", "first")
		e.comes("ann", "wanted", false, true)
		e.comes("ann", "left", false, false)
		e.leave()
		if strings.Join(e.in, " ") != "first wanted" || !slices.Equal(e.out, []string{"left"}) || !errors.Is(e.errs[0], sdk.Canceled) {
			t.Errorf("let in are %v, turned away %v", e.in, e.out)
		}
		e.close() // Ends the timers.
	})
}

func TestRetryAfterFollowsThePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEntrance(1)
		slowest := func() (most time.Duration) {
			for _, err := range e.errs {
				most = max(most, sdk.RetryAfter(err))
			}
			return most
		}
		for i := range 10 {
			e.come("ann", fmt.Sprint(i))
		}
		if got := slowest(); got < time.Second || got > 2*maxTurnedAway {
			t.Errorf("at first: %v", got)
		}
		e.errs = nil
		for range 1000 { // A thousand are served in a second.
			e.leave()
			e.come("ann", "more")
		}
		for i := range 10 {
			e.come("ann", fmt.Sprint(i))
		}
		if got := slowest(); got > 2*minTurnedAway {
			t.Errorf("at a good pace one is to wait %v", got)
		}
		e.close()
	})
}

func TestColdWorkGetsFewerPlacesWhenProcessorsAreShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEntrance(64)
		var lag time.Duration
		e.lag = func() time.Duration { return lag }
		after := func(d time.Duration) int {
			for range 200 {
				time.Sleep(lookEvery)
				e.come("ann", "x")
				e.leave()
			}
			lag = d
			return e.status().Places
		}
		after(time.Second)
		if got := after((lagLow + lagHigh) / 2); got != fewestPlaces(64) {
			t.Errorf("%d places while nobody gets a processor", got)
		}
		if e.status(); e.pause != maxPause {
			t.Errorf("who is turned away is told so after %v", e.pause)
		}
		if got := after(0); got != fewestPlaces(64) {
			t.Errorf("%d places while it is neither good nor bad", got)
		}
		if got := after(0); got != 64 {
			t.Errorf("%d places after that", got)
		}
		if e.pause != 0 {
			t.Errorf("who is turned away is told so after %v though there are processors", e.pause)
		}
	})
	lag := schedulingLag()
	for range 2 {
		if got := lag(); got < 0 {
			t.Errorf("goroutines wait for %v", got)
		}
	}
}

func TestTheLobbyIsSafe(t *testing.T) {
	l := newLobby(Options{MaxFlights: 4, Now: time.Now, Logger: hclog.NewNullLogger(), RequestTimeout: 50 * time.Millisecond})
	var in, out atomic.Int64
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for range 1000 {
				l.enter(fmt.Sprint(i), i == 0, func() bool { return true }, func() {
					in.Add(1)
					wait.Go(func() { l.leave() })
				}, func(error) { out.Add(1) })
			}
		})
	}
	wait.Wait()
	l.close()
	// Who is turned away while processors are short is told so after a pause.
	for deadline := time.Now().Add(20 * time.Second); in.Load()+out.Load() < 8000 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if s := l.status(); in.Load()+out.Load() != 8000 || s.Running != 0 || s.Waiting != 0 {
		t.Errorf("%d were let in, %d turned away: %+v", in.Load(), out.Load(), s)
	}
}

func TestAFloodOfUnknownAndOfNewSymbols(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.gecko.extra = 20_000
		r, end := running(w, func(o *Options) { o.MaxFlights = 4; o.MaxEntries = 500 })
		defer end()
		if _, err := r.Quote(t.Context(), "btc", "usd", ""); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		calls := w.gecko.total.Load() + w.binan.total.Load()
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // Nobody of the flood waits.
		for i := range 100_000 {
			_, _ = r.Quote(ctx, fmt.Sprintf("nosuch%d", i), "usd", "")
		}
		if got := w.gecko.total.Load() + w.binan.total.Load(); got != calls {
			t.Errorf("unknown symbols cost %d calls", got-calls)
		}
		w.gecko.delay = time.Second
		for i := range 20_000 {
			_, _ = r.Quote(ctx, fmt.Sprintf("fill%d", i), "usd", "")
		}
		if s := r.Stats(); s.FlightsUnderWay > 4+16 || s.Lobby.Waiting > 16 || s.Lobby.Shed < 19_000 {
			t.Errorf("during the flood: %+v", s)
		}
		a, err := r.Quote(t.Context(), "btc", "usd", "")
		if body(t, a, err); a.Tier != TierNear {
			t.Errorf("the warm answer is from %s", a.Tier)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if s := r.Stats(); s.FlightsUnderWay != 0 || s.NearEntries > 500 {
			t.Errorf("after the flood: %+v", s)
		}
		// What nobody waited for was not asked for.
		if got := w.gecko.count("quotes"); got > 10 {
			t.Errorf("the flood cost %d calls", got)
		}
	})
}
