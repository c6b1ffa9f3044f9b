package supervisor

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

func TestACrashIsMendedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told []Crash
		b := newBench(t, []Spec{{Name: "mood"}}, func(_ *fakeFarm, o *Options) {
			o.OnCrash = func(c Crash) { told = append(told, c) }
		}).started()
		time.Sleep(2 * time.Minute)
		first := b.farm.latest("mood")
		first.die(-1, "killed")
		status := b.state("mood", StateRunning)
		if status.Generation != 2 || status.Restarts != 1 || status.PID == first.pid || b.Generation("mood") != 2 {
			t.Errorf("the status is %+v", status)
		}
		want := Crash{
			ID: time.Now().UTC().Format(stampLayout), Island: "mood", At: time.Now(), Cause: CauseSignal, Version: "1.0.0", Generation: 1, PID: first.pid,
			Uptime: 2 * time.Minute, Code: -1, Signal: "killed", Stderr: "last words", Applied: &process.Applied{SHA256: "sum of mood"},
		}
		if diff := cmp.Diff(&want, status.LastCrash); diff != "" {
			t.Errorf("the crash (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]Crash{want}, told); diff != "" {
			t.Errorf("what was told (-want +got):\n%s", diff)
		}
		if island, err := b.Island("mood"); err != nil || island != process.Island(b.farm.latest("mood")) {
			t.Errorf("the stand-in is %v, %v", island, err)
		}
		const line = "[ERROR] Island crashed: island=mood layer=external_services cause=signal exit=-1 signal=killed uptime=2m0s restart_in=0s"
		if b.log.count(line) != 1 {
			t.Errorf("no line %q in:\n%s", line, b.log)
		}
	})
}

func TestCrashLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood"}}, nil).started()
		for range 4 {
			b.farm.latest("mood").die(2, "")
			time.Sleep(2 * time.Second) // Longer than the pauses of the first four.
			b.state("mood", StateRunning)
		}
		b.farm.latest("mood").die(2, "")
		b.state("mood", StateCrashLoop)
		if _, err := b.Island("mood"); !errors.Is(err, sdk.Unavailable) || sdk.RetryAfter(err) == 0 {
			t.Errorf("the stand-in of a crash loop: %v", err)
		}
		starts := b.farm.starts("mood")
		time.Sleep(4 * time.Minute)
		if got := b.farm.starts("mood"); got != starts {
			t.Errorf("it was started %d times in a crash loop", got-starts)
		}

		// The probe fails: one crash is enough.
		time.Sleep(61 * time.Second)
		b.state("mood", StateRunning)
		b.farm.latest("mood").die(2, "")
		b.state("mood", StateCrashLoop)

		// The next one proves itself, and all is forgiven.
		time.Sleep(5*time.Minute + time.Second)
		b.state("mood", StateRunning)
		time.Sleep(2 * time.Minute)
		b.farm.latest("mood").die(2, "")
		b.state("mood", StateRunning)
	})
}

func TestResetEndsACrashLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood", Restart: Restart{MaxCrashes: 1}}}, nil).started()
		b.farm.latest("mood").die(2, "")
		b.state("mood", StateCrashLoop)
		if err := b.Reset(t.Context(), "mood"); err != nil {
			t.Fatal(err)
		}
		b.state("mood", StateRunning)
		if err := b.Reset(t.Context(), "mood"); err != nil {
			t.Errorf("a reset of an island that runs: %v", err)
		}
		if b.farm.starts("mood") != 2 {
			t.Errorf("it was started %d times, want 2", b.farm.starts("mood"))
		}
		if err := b.Reset(t.Context(), "nobody"); !errors.Is(err, sdk.NotFound) {
			t.Errorf("a reset of nobody: %v", err)
		}
		if crashes, err := b.Crashes("mood"); err != nil || len(crashes) != 1 {
			t.Errorf("the crashes are %v, %v: a reset does not forget the reports", crashes, err)
		}
	})
}

func TestCrashesFarApartAreNoLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood"}}, nil).started()
		for range 20 {
			time.Sleep(3 * time.Minute)
			b.farm.latest("mood").die(1, "")
			b.state("mood", StateRunning)
		}
		if crashes, err := b.Crashes("mood"); err != nil || len(crashes) != keptCrashes || crashes[0].Generation != 20 {
			t.Errorf("%d crashes are kept, %v", len(crashes), err)
		}
	})
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	now := time.Now()
	policy := Spec{}.withDefaults().Restart
	policy.MaxCrashes = 1000
	longest := make([]time.Duration, 12)
	for range 300 {
		r := record{policy: policy}
		for i := range longest {
			longest[i] = max(longest[i], r.crashed(now, true, CauseExit))
		}
		r.healthy()
		if pause := r.crashed(now, true, CauseExit); pause != 0 {
			t.Fatalf("the first crash after a healthy time waits %v", pause)
		}
	}
	ceiling := policy.BackoffMin
	for i, pause := range longest[1:] {
		if pause > ceiling || pause < ceiling*4/5 {
			t.Errorf("the longest pause after crash %d is %v, want a little below %v", i+2, pause, ceiling)
		}
		ceiling = min(2*ceiling, policy.BackoffMax)
	}
	if longest[0] != 0 {
		t.Errorf("the first crash waits %v", longest[0])
	}
	r := record{policy: policy}
	if r.crashed(now, false, CauseStart); r.pauses != 1 {
		t.Error("a start that failed is retried without a pause")
	}
}

func TestAHangIsKilled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood"}}, nil).started()
		hung := b.farm.latest("mood")
		hung.frozen.Store(true)
		start := time.Now()
		<-hung.done
		if took := time.Since(start); took > 3*5*time.Second+3*time.Second {
			t.Errorf("the hang was noticed after %v", took)
		}
		status := b.state("mood", StateRunning)
		if status.LastCrash == nil || status.LastCrash.Cause != CauseHang || status.LastCrash.Stack != "SIGQUIT: quit" || status.Generation != 2 {
			t.Errorf("the status is %+v", status)
		}
		if b.log.count("Island missed a health deadline") != 3 || b.log.count("Island hangs and is killed") != 1 {
			t.Errorf("the log is:\n%s", b.log)
		}
	})
}

func TestAnIslandWithoutItsSocketIsReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood"}}, nil).started()
		torn := b.farm.latest("mood")
		torn.torn.Store(true)
		<-torn.done
		status := b.state("mood", StateRunning)
		if c := status.LastCrash; c == nil || c.Cause != CauseSocket || c.Generation != 1 || c.PID != torn.pid {
			t.Errorf("the crash is %+v", c)
		}
		if status.Generation != 2 || status.Restarts != 0 || torn.stopped != 1 || status.Applied.SHA256 != "sum of mood" {
			t.Errorf("stopped %d times, the status is %+v", torn.stopped, status)
		}
		if b.log.count("Socket of an island is gone, the island is replaced") != 1 {
			t.Errorf("the log is:\n%s", b.log)
		}
	})
}

// A process that ends takes its socket along, and is seen without it for a moment: that is a crash like any other, and no successor
// is begun beside it.
func TestASocketThatGoesWithItsProcessIsNoLoss(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood"}}, nil).started()
		p := b.farm.latest("mood")
		time.Sleep(5*time.Second - 100*time.Millisecond) // Until just before it is asked.
		p.torn.Store(true)
		time.Sleep(600 * time.Millisecond)
		p.die(-1, "killed")
		synctest.Wait()
		status := b.state("mood", StateRunning)
		if c := status.LastCrash; c == nil || c.Cause != CauseSignal {
			t.Errorf("the crash is %+v", c)
		}
		if n := b.log.count("Socket of an island is gone, the island is replaced"); n != 0 || status.Generation != 2 || status.Restarts != 1 {
			t.Errorf("%d sockets were lost, the status is %+v", n, status)
		}
	})
}

func TestOutOfMemoryIsNamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood"}}, nil).started()
		p := b.farm.latest("mood")
		p.end.Do(func() {
			p.exit = process.Exit{At: time.Now(), Code: 2, Stack: "fatal error: out of memory", OutOfMemory: true}
			close(p.done)
		})
		synctest.Wait()
		status := b.state("mood", StateRunning)
		if c := status.LastCrash; c == nil || c.Cause != CauseOutOfMemory || c.Stack != "fatal error: out of memory" {
			t.Errorf("the status is %+v", status)
		}
	})
}

func TestMissesMustBeInARow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood"}}, nil).started()
		p := b.farm.latest("mood")
		time.Sleep(time.Second)
		for range 5 {
			p.frozen.Store(true)
			time.Sleep(10 * time.Second) // Two misses.
			p.frozen.Store(false)
			time.Sleep(10 * time.Second)
		}
		if status := b.state("mood", StateRunning); status.Generation != 1 || status.LastCrash != nil {
			t.Errorf("the status is %+v", status)
		}
	})
}

func TestHealthIsToldOnceEachWay(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		roles   []sdk.Role
		failed  string
		unknown bool
	}{
		{"known", []sdk.Role{sdk.RoleQuotes}, "[ERROR] Island reports that it failed", false},
		{"unknown", nil, "[ERROR] Unknown component health check failed: mood", true},
		{"coordinator alone", []sdk.Role{sdk.RoleCoordinator}, "[ERROR] Unknown component health check failed: mood", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, []Spec{{Name: "mood"}}, func(f *fakeFarm, _ *Options) { f.roles["mood"] = test.roles }).started()
				p := b.farm.latest("mood")
				say := func(h sdk.Health) {
					p.health.Store(&h)
					time.Sleep(time.Minute)
				}
				say(sdk.Degraded("upstream is away"))
				say(sdk.Failed("no disk"))
				if got := b.state("mood", StateRunning).Health; got.Reason != "no disk" {
					t.Errorf("the health is %+v", got)
				}
				say(sdk.Healthy())
				for line, want := range map[string]int{
					test.failed: 1, "[WARN]  Island reports that it is degraded": 1, "[INFO]  Island reports that it is well again": 1,
				} {
					if got := b.log.count(line); got != want {
						t.Errorf("%d lines %q, want %d, in:\n%s", got, line, want, b.log)
					}
				}
				if status := b.state("mood", StateRunning); status.Generation != 1 {
					t.Error("bad health restarted the island")
				}
				p.die(1, "")
				b.state("mood", StateRunning)
				if got := b.log.count("Unknown component health check failed: mood"); (got == 2) != test.unknown {
					t.Errorf("%d lines about an unknown component", got)
				}
			})
		})
	}
}

func TestAnIslandInTwoMindsSaysSoOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood"}}, func(f *fakeFarm, _ *Options) { f.roles["mood"] = nil }).started()
		p := b.farm.latest("mood")
		say := func(h sdk.Health) {
			p.health.Store(&h)
			time.Sleep(7 * time.Second) // Asked every five, it is never well three times in a row.
		}
		for range 20 {
			say(sdk.Failed("no disk"))
			say(sdk.Healthy())
		}
		const line = "[ERROR] Unknown component health check failed: mood"
		if got := b.log.count(line); got != 1 || b.log.count("well again") != 0 {
			t.Errorf("it is told %d times:\n%s", got, b.log)
		}
		time.Sleep(time.Minute)
		if got := b.log.count("[INFO]  Island reports that it is well again"); got != 1 {
			t.Errorf("%d lines of the way back:\n%s", got, b.log)
		}
	})
}

func TestRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood"}}, nil).started()
		first := b.farm.latest("mood")
		called := make(chan error)
		go func() {
			_, err := first.Quotes(t.Context(), sdk.QuotesRequest{})
			called <- err
		}()
		synctest.Wait()
		restarted := make(chan error)
		go func() { restarted <- b.Restart(t.Context(), "mood") }()
		b.state("mood", StateRestarting)
		if err := <-called; err != nil {
			t.Errorf("a call in flight failed: %v", err)
		}
		if err := <-restarted; err != nil {
			t.Fatal(err)
		}
		if first.stopped != 1 {
			t.Errorf("it was stopped %d times", first.stopped)
		}
		if status := b.state("mood", StateRunning); status.Generation != 2 || status.LastCrash != nil {
			t.Errorf("the status is %+v", status)
		}
	})
}

func TestStopDuringRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood"}}, nil)
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.farm.latest("mood").frozen.Store(true)
		restarted := make(chan error)
		go func() { restarted <- b.Restart(t.Context(), "mood") }()
		synctest.Wait()
		if err := b.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-restarted; !errors.Is(err, sdk.Unavailable) {
			t.Errorf("the restart says %v, want unavailable", err)
		}
		if b.farm.starts("mood") != 1 {
			t.Error("it was started again while everything stopped")
		}
	})
}

func TestAConfigurationThatTurnsWrongWaitsForAnOperator(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wrong := true
		b := newBench(t, []Spec{{Name: "mood"}}, func(f *fakeFarm, _ *Options) {
			f.onLaunch = func(n int, _ *fakeProcess, _ process.LaunchOptions) error {
				if n > 1 && wrong {
					return sdk.Errorf(sdk.InvalidArgument, "the checksum is another")
				}
				return nil
			}
		}).started()
		b.farm.latest("mood").die(1, "")
		if status := b.state("mood", StateFailed); status.LastError != "the checksum is another" || status.PID != 0 {
			t.Errorf("the status is %+v", status)
		}
		time.Sleep(time.Hour)
		if b.farm.starts("mood") != 2 {
			t.Errorf("it was started %d times, want 2", b.farm.starts("mood"))
		}
		if err := b.Restart(t.Context(), "mood"); !errors.Is(err, sdk.InvalidArgument) {
			t.Errorf("a restart that cannot work says %v", err)
		}
		wrong = false
		if err := b.Restart(t.Context(), "mood"); err != nil {
			t.Error(err)
		}
		b.state("mood", StateRunning)
	})
}

func TestCommandsGiveUpWithTheirContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood"}}, func(f *fakeFarm, _ *Options) {
			f.onLaunch = func(n int, p *fakeProcess, _ process.LaunchOptions) error {
				if n == 2 {
					p.initialize = func(ctx context.Context, _ sdk.Config) error {
						<-ctx.Done()
						return ctx.Err()
					}
				}
				return nil
			}
		}).started()
		for range 2 { // The first waits for the new generation, the second for the keeper.
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := b.Restart(ctx, "mood"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("restart: %v, want a deadline", err)
			}
			cancel()
		}
		time.Sleep(time.Minute)
		b.state("mood", StateRunning)
	})
}

// Whatever happens, and in whatever order: one process at a time, none after the end, and an island that is left in
// peace runs again.
func TestTurmoil(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			chance := rand.New(rand.NewPCG(seed, 0))
			b := newBench(t, []Spec{{Name: "mood"}}, func(f *fakeFarm, _ *Options) {
				f.onLaunch = func(n int, p *fakeProcess, _ process.LaunchOptions) error {
					for _, old := range f.launched["mood"][:n-1] {
						select {
						case <-old.done:
						default:
							t.Errorf("seed %d: process %d still runs when %d starts", seed, old.pid, p.pid)
						}
					}
					if n%7 == 3 {
						p.die(0, "")
						return sdk.Errorf(sdk.Unavailable, "a bad day")
					}
					return nil
				}
			})
			if err := b.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			var wishes sync.WaitGroup
			for range 60 {
				p := b.farm.latest("mood")
				switch chance.IntN(5) {
				case 0:
					p.die(1, "")
				case 1:
					p.frozen.Store(true)
				case 2:
					wishes.Go(func() { _ = b.Restart(t.Context(), "mood") }) // May or may not succeed.
				case 3:
					wishes.Go(func() { _ = b.Reset(t.Context(), "mood") }) // As above.
				default:
					wishes.Go(func() {
						if island, err := b.Island("mood"); err == nil {
							_, _ = island.Quotes(t.Context(), sdk.QuotesRequest{}) // As above.
						}
					})
				}
				time.Sleep(time.Duration(chance.Int64N(int64(10 * time.Second))))
			}
			wishes.Wait()
			time.Sleep(time.Hour)
			b.state("mood", StateRunning)
			if err := b.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			for _, p := range b.farm.launched["mood"] {
				<-p.done
			}
			b.state("mood", StateStopped)
		})
	}
}
