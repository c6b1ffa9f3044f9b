package supervisor

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// TestDebuggerThatNobodyKeeps is taken away: a held island is left alone as long as somebody says that they are there, and comes
// back as it was once nobody does.
func TestDebuggerThatNobodyKeeps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var launched []process.LaunchOptions
		confine, limits := &process.Confine{}, process.Limits{Memory: 1 << 30, Files: 100}
		b := newBench(t, []Spec{{Name: "mood", Path: "/bin/mood", Confine: confine, Limits: limits}}, func(f *fakeFarm, _ *Options) {
			f.onLaunch = func(_ int, _ *fakeProcess, opts process.LaunchOptions) error {
				launched = append(launched, opts)
				return nil
			}
		}).started()
		if err := b.Attach(t.Context(), "mood", []string{"dlv", "exec"}); err != nil {
			t.Fatal(err)
		}
		if got := launched[1]; !slices.Equal(got.Debugger, []string{"dlv", "exec"}) || got.Confine != nil || got.Limits != (process.Limits{Files: 100}) {
			t.Errorf("launched with %+v", got)
		}
		if err := b.Attach(t.Context(), "mood", []string{"dlv"}); !errors.Is(err, sdk.Conflict) {
			t.Errorf("a second debugger: %v", err)
		}
		held := b.farm.latest("mood")
		held.frozen.Store(true)
		for range 10 {
			time.Sleep(DebuggerLease / 2)
			if err := b.Keep("mood"); err != nil {
				t.Fatal(err)
			}
		}
		if b.farm.latest("mood") != held || b.Generation("mood") != 2 {
			t.Fatalf("generation %d runs, the island was held at a breakpoint", b.Generation("mood"))
		}
		held.frozen.Store(false)
		time.Sleep(DebuggerLease + detachTimeout)
		synctest.Wait()
		if got := launched[len(launched)-1]; len(got.Debugger) > 0 || got.Confine != confine || got.Limits != limits {
			t.Errorf("launched with %+v", got)
		}
		if status := b.Status()[0]; status.Generation != 3 || len(status.Debugger) > 0 || status.State != StateRunning {
			t.Errorf("%+v", status)
		}
		if err := b.Keep("mood"); !errors.Is(err, sdk.Conflict) {
			t.Errorf("keep what is away: %v", err)
		}
		if err := b.Detach(t.Context(), "mood"); !errors.Is(err, sdk.Conflict) {
			t.Errorf("detach what is away: %v", err)
		}
	})
}

// TestDebuggerOfALockedIsland is refused.
func TestDebuggerOfALockedIsland(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood", Path: "/bin/mood", SHA256: "5a"}}, nil).started()
		if err := b.Attach(t.Context(), "mood", []string{"dlv"}); !errors.Is(err, sdk.PermissionDenied) || b.Generation("mood") != 1 {
			t.Errorf("%v, generation %d", err, b.Generation("mood"))
		}
		if err := b.Attach(t.Context(), "moon", []string{"dlv"}); !errors.Is(err, sdk.NotFound) {
			t.Errorf("%v", err)
		}
	})
}

// TestApplyUnderADebugger takes the debugger away when the island is to be another, and leaves it otherwise.
func TestApplyUnderADebugger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		specs := []Spec{{Name: "mood", Layer: sdk.LayerExternalServices, Path: "/bin/mood", Enabled: true}}
		b := newBench(t, slices.Clone(specs), nil).started()
		if err := b.Attach(t.Context(), "mood", []string{"dlv"}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Apply(t.Context(), slices.Clone(specs), func() {}); err != nil || b.Generation("mood") != 2 {
			t.Fatalf("%v, generation %d", err, b.Generation("mood"))
		}
		specs[0].Env = map[string]string{"A": "b"}
		if _, err := b.Apply(t.Context(), specs, func() {}); err != nil || b.Generation("mood") != 3 || len(b.Status()[0].Debugger) > 0 {
			t.Fatalf("%v, generation %d, %v", err, b.Generation("mood"), b.Status()[0].Debugger)
		}
		time.Sleep(2 * DebuggerLease) // What is left of the lease does nothing.
		if b.Generation("mood") != 3 {
			t.Errorf("generation %d", b.Generation("mood"))
		}
	})
}

// TestDebuggerThatCannotBeTakenAway is taken away once that works: until then nothing confines the island.
func TestDebuggerThatCannotBeTakenAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood", Path: "/bin/mood"}}, func(f *fakeFarm, _ *Options) {
			f.onLaunch = func(n int, _ *fakeProcess, _ process.LaunchOptions) error {
				if n == 3 {
					return sdk.Errorf(sdk.Unavailable, "no memory just now")
				}
				return nil
			}
		}).started()
		if err := b.Attach(t.Context(), "mood", []string{"dlv"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(DebuggerLease + time.Second)
		synctest.Wait()
		if len(b.Status()[0].Debugger) == 0 || b.log.count("Island cannot be taken from its debugger") != 1 {
			t.Fatalf("%+v", b.Status()[0])
		}
		time.Sleep(firstRetry)
		synctest.Wait()
		if status := b.state("mood", StateRunning); len(status.Debugger) > 0 || b.farm.starts("mood") != 4 {
			t.Errorf("%+v after %d starts", status, b.farm.starts("mood"))
		}
		time.Sleep(time.Hour)
		if b.farm.starts("mood") != 4 {
			t.Errorf("%d starts", b.farm.starts("mood"))
		}
	})
}

// TestLeaseOfAnotherDebugger ends nothing: a timer that waits for its turn finds the next debugger, or hears of a Keep.
func TestLeaseOfAnotherDebugger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood", Path: "/bin/mood"}}, nil).started()
		if err := b.Attach(t.Context(), "mood", []string{"dlv"}); err != nil {
			t.Fatal(err)
		}
		b.changing <- struct{}{} // Another change takes its time.
		time.Sleep(DebuggerLease + time.Second)
		if err := b.Keep("mood"); err != nil {
			t.Fatal(err)
		}
		<-b.changing
		synctest.Wait()
		if b.Generation("mood") != 2 {
			t.Fatalf("generation %d: it was kept", b.Generation("mood"))
		}

		b.changing <- struct{}{}
		again := make(chan error, 2)
		go func() { again <- b.Detach(t.Context(), "mood") }()
		synctest.Wait()
		go func() { again <- b.Attach(t.Context(), "mood", []string{"gdb"}) }()
		time.Sleep(DebuggerLease + time.Second) // The timer is the third to wait.
		<-b.changing
		for range 2 {
			if err := <-again; err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(DebuggerLease / 2)
		synctest.Wait()
		if status := b.Status()[0]; !slices.Equal(status.Debugger, []string{"gdb"}) || status.Generation != 4 {
			t.Errorf("%+v", status)
		}
	})
}

// TestSwapUnderADebugger is refused: it would start a second debugger, and the binary would be lost with the first.
func TestSwapUnderADebugger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood", Path: "/bin/mood"}}, nil).started()
		if err := b.Attach(t.Context(), "mood", []string{"dlv"}); err != nil {
			t.Fatal(err)
		}
		err := b.Swap(t.Context(), "mood", "/bin/other", "")
		if !errors.Is(err, sdk.Conflict) || b.Generation("mood") != 2 {
			t.Errorf("%v, generation %d", err, b.Generation("mood"))
		}
		mustContain(t, err, "mood", "dlv", "islands attach")
		if err := b.Detach(t.Context(), "mood"); err != nil {
			t.Fatal(err)
		}
		if err := b.Swap(t.Context(), "mood", "/bin/other", ""); err != nil || b.Status()[0].Path != "/bin/other" {
			t.Errorf("%v, %+v", err, b.Status()[0])
		}
	})
}

// TestApplyOfRulesUnderADebugger leaves the debugger, and lets the rules hold during and after it.
func TestApplyOfRulesUnderADebugger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		specs := []Spec{{Name: "mood", Layer: sdk.LayerExternalServices, Path: "/bin/mood", Enabled: true}}
		b := newBench(t, slices.Clone(specs), nil).started()
		if err := b.Attach(t.Context(), "mood", []string{"dlv"}); err != nil {
			t.Fatal(err)
		}
		specs[0].Restart.MaxCrashes, specs[0].Health.Misses = 9, 7
		applied, err := b.Apply(t.Context(), slices.Clone(specs), func() {})
		if err != nil || !slices.Equal(applied.Updated, []string{"mood"}) {
			t.Fatalf("%v, %+v", err, applied)
		}
		ruled := func(when string) {
			t.Helper()
			if spec := b.roster.Load().byName["mood"].spec.Load(); spec.Restart.MaxCrashes != 9 || spec.Health.Misses != 7 {
				t.Errorf("%s: %+v, %+v", when, spec.Restart, spec.Health)
			}
		}
		ruled("under the debugger")
		if b.Generation("mood") != 2 || len(b.Status()[0].Debugger) == 0 {
			t.Errorf("%+v", b.Status()[0])
		}
		if applied, err = b.Apply(t.Context(), slices.Clone(specs), func() {}); err != nil || !slices.Equal(applied.Unchanged, []string{"mood"}) {
			t.Errorf("%v, %+v", err, applied)
		}
		if err := b.Detach(t.Context(), "mood"); err != nil {
			t.Fatal(err)
		}
		ruled("afterwards")
		if status := b.Status()[0]; status.Generation != 3 || len(status.Debugger) > 0 {
			t.Errorf("%+v", status)
		}
	})
}
