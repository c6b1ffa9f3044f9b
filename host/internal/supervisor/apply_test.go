package supervisor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

func TestApply(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "stays"}, {Name: "changes"}, {Name: "goes"}, {Name: "rests"}, {Name: "rules"}}, func(f *fakeFarm, _ *Options) {
			f.layers["comes"], f.roles["comes"] = sdk.LayerExternalServices, []sdk.Role{sdk.RoleQuotes}
		}).started()
		stays, changes := b.farm.latest("stays"), b.farm.latest("changes")
		specs := b.specs()
		specs[1].Settings = map[string]any{"url": "another"}
		specs[3].Enabled = false
		specs[4].Restart.MaxCrashes, specs[4].Restart.ProbeEvery = 1, time.Hour
		comes := specs[0]
		comes.Name, comes.Kind = "comes", "comes"
		specs = append(slices.Delete(specs, 2, 3), comes)
		stop := b.answers("changes")

		moved := false
		applied, err := b.Apply(t.Context(), specs, func() {
			moved = true
			for _, name := range []string{"stays", "changes", "goes", "rests", "comes"} {
				if _, err := b.Island(name); err != nil {
					t.Errorf("while all move: %v", err)
				}
			}
			if b.farm.latest("changes") == changes || changes.stopped != 0 {
				t.Error("the old one was stopped before all had moved")
			}
		})
		want := Applied{
			Added: []string{"comes"}, Replaced: []string{"changes"}, Updated: []string{"rules"},
			Removed: []string{"goes", "rests"}, Unchanged: []string{"stays"},
		}
		if diff := cmp.Diff(want, applied); diff != "" || err != nil || !moved {
			t.Errorf("moved %v, %v, applied (-want +got):\n%s", moved, err, diff)
		}
		if stop() == 0 {
			t.Error("nothing was asked")
		}
		if b.farm.latest("stays") != stays || changes.stopped != 1 || b.farm.latest("goes").stopped != 1 || b.farm.latest("rests").stopped != 1 {
			t.Error("not the right ones were stopped")
		}
		if _, err := b.Island("goes"); !errors.Is(err, sdk.NotFound) {
			t.Errorf("an island that was removed: %v", err)
		}
		b.state("rests", StateDisabled)
		b.state("comes", StateRunning)
		b.farm.latest("rules").die(1, "")
		b.state("rules", StateCrashLoop)

		// And back again: what was there before has its history, and its numbers go on.
		b.farm.latest("changes").die(1, "")
		b.state("changes", StateRunning)
		specs = b.specs()
		for i := range specs {
			specs[i].Enabled = true
		}
		if _, err := b.Apply(t.Context(), specs, func() {}); err != nil {
			t.Fatal(err)
		}
		if status := b.state("rests", StateRunning); status.Generation != 2 || status.Restarts != 0 {
			t.Errorf("the status is %+v", status)
		}
		if crashes, err := b.Crashes("changes"); err != nil || len(crashes) != 1 {
			t.Errorf("the crashes are %v, %v", crashes, err)
		}
		if b.farm.latest("stays") != stays {
			t.Error("an island that did not change was replaced")
		}
		b.state("rules", StateRunning) // It is given another try.
	})
}

// specs returns what the islands are right now.
func (b *bench) specs() []Spec {
	var specs []Spec
	for _, k := range b.roster.Load().keepers {
		specs = append(specs, *k.spec.Load())
	}
	return specs
}

func TestAnApplyThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		broken    string
		stopFirst []string
	}{
		{"a changed one", "second", nil},
		{"an added one", "comes", nil},
		{"one that stops first", "second", []string{"second"}},
		{"one that stops first after another", "second", []string{"first", "second"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, []Spec{{Name: "goes"}, {Name: "first"}, {Name: "second"}}, func(f *fakeFarm, _ *Options) {
					f.layers["comes"] = sdk.LayerExternalServices
					f.onLaunch = func(_ int, p *fakeProcess, _ process.LaunchOptions) error {
						p.manifest.StopFirst = slices.Contains(test.stopFirst, p.name)
						p.initialize = func(_ context.Context, cfg sdk.Config) error {
							if _, changed := cfg.Values["new"]; changed && p.name == test.broken {
								return sdk.Errorf(sdk.InvalidArgument, "it is broken")
							}
							return nil
						}
						return nil
					}
				}).started()
				before := b.specs()
				specs := b.specs()[1:]
				comes := specs[0]
				comes.Name, comes.Kind = "comes", "comes"
				specs = append(specs, comes)
				for i := range specs {
					specs[i].Settings = map[string]any{"new": true}
				}
				_, err := b.Apply(t.Context(), specs, func() { t.Error("all moved") })
				if !errors.Is(err, sdk.InvalidArgument) {
					t.Errorf("apply: %v, want an invalid argument", err)
				}
				mustContain(t, err, "it is broken", test.broken)
				synctest.Wait()
				for _, spec := range b.specs() {
					if spec.Settings != nil {
						t.Errorf("%s has the settings %v", spec.Name, spec.Settings)
					}
				}
				if len(b.specs()) != len(before) {
					t.Errorf("the islands are %+v", b.Status())
				}
				for _, name := range []string{"goes", "first", "second"} {
					status := b.state(name, StateRunning)
					if status.PID != b.farm.latest(name).pid && !b.farm.launched[name][0].process() {
						t.Errorf("%s is %+v", name, status)
					}
					if len(test.stopFirst) == 0 && status.Generation != 1 {
						t.Errorf("%s was replaced: %+v", name, status)
					}
				}
				running := 0
				for _, all := range b.farm.launched {
					for _, p := range all {
						if p.process() {
							running++
						}
					}
				}
				if running != 3 {
					t.Errorf("%d processes run, want 3", running)
				}
			})
		})
	}
}

func TestAnotherFileIsReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "mood")
		write := func(text string) {
			t.Helper()
			if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		write("one")
		b := newBench(t, []Spec{{Name: "mood", Path: path}}, func(_ *fakeFarm, o *Options) { o.Seal = process.Seal }).started()
		apply := func() Applied {
			t.Helper()
			applied, err := b.Apply(t.Context(), b.specs(), func() {})
			if err != nil {
				t.Fatal(err)
			}
			return applied
		}
		if applied := apply(); len(applied.Unchanged) != 1 || b.farm.starts("mood") != 1 {
			t.Errorf("applied %+v", applied)
		}
		write("two")
		if applied := apply(); len(applied.Replaced) != 1 || b.farm.starts("mood") != 2 {
			t.Errorf("applied %+v", applied)
		}
		// A checksum that the file does not have.
		specs := b.specs()
		specs[0].SHA256 = "0000"
		if _, err := b.Apply(t.Context(), specs, func() {}); !errors.Is(err, process.ErrChecksum) || !errors.Is(err, sdk.InvalidArgument) {
			t.Errorf("apply: %v, want another checksum", err)
		}
		if err := b.Swap(t.Context(), "mood", "", "0000"); !errors.Is(err, process.ErrChecksum) {
			t.Errorf("swap: %v, want another checksum", err)
		}
		if b.farm.starts("mood") != 2 {
			t.Errorf("it was started %d times", b.farm.starts("mood"))
		}
	})
}

func TestChangesAndTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood"}}, func(f *fakeFarm, _ *Options) {
			f.onLaunch = func(n int, p *fakeProcess, _ process.LaunchOptions) error {
				if n > 1 {
					p.initialize = func(ctx context.Context, _ sdk.Config) error {
						<-ctx.Done()
						return ctx.Err()
					}
				}
				return nil
			}
		})
		if err := b.Swap(t.Context(), "mood", "", ""); !errors.Is(err, sdk.Unavailable) {
			t.Errorf("a swap before the start: %v", err)
		}
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.Swap(t.Context(), "nobody", "", ""); !errors.Is(err, sdk.NotFound) {
			t.Errorf("a swap of nobody: %v", err)
		}
		// One that is given up.
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		if err := b.Swap(short, "mood", "", ""); err == nil {
			t.Error("a swap that was given up succeeded")
		}
		cancel()
		first := make(chan error, 1)
		go func() { first <- b.Swap(t.Context(), "mood", "", "") }()
		time.Sleep(time.Second)
		second := make(chan error, 1)
		go func() { second <- b.Swap(t.Context(), "mood", "", "") }()
		time.Sleep(time.Second)
		if err := b.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		for i, swap := range []chan error{first, second} {
			if err := <-swap; err == nil {
				t.Errorf("swap %d succeeded at the end", i)
			}
		}
		if _, err := b.Apply(t.Context(), nil, func() {}); !errors.Is(err, sdk.Unavailable) {
			t.Errorf("an apply after the end: %v", err)
		}
		for _, p := range b.farm.launched["mood"] {
			if p.process() {
				t.Errorf("process %d is left", p.pid)
			}
		}
	})
}

// Whatever is changed, crashes and hangs meanwhile: afterwards one process of each island runs, and none after the end.
func TestTurmoilOfChanges(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			chance := rand.New(rand.NewPCG(seed, 1))
			b := newBench(t, []Spec{{Name: "a"}, {Name: "b"}, {Name: "store"}}, func(f *fakeFarm, _ *Options) {
				f.onLaunch = func(n int, p *fakeProcess, _ process.LaunchOptions) error {
					p.manifest.StopFirst = p.name == "store"
					if n%5 == 3 {
						return sdk.Errorf(sdk.Unavailable, "a bad day")
					}
					p.initialize = func(context.Context, sdk.Config) error {
						time.Sleep(100 * time.Millisecond)
						if n%7 == 5 {
							return sdk.Errorf(sdk.Unavailable, "another bad day")
						}
						return nil
					}
					return nil
				}
			})
			if err := b.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			specs := b.specs()
			names := []string{"a", "b", "store"}
			var wishes sync.WaitGroup
			for i := range 40 {
				name := names[chance.IntN(3)]
				switch chance.IntN(6) {
				case 0:
					b.farm.latest(name).die(1, "")
				case 1:
					b.farm.latest(name).frozen.Store(true)
				case 2:
					b.farm.latest(name).torn.Store(true)
				case 3:
					wishes.Go(func() { _ = b.Swap(t.Context(), name, fmt.Sprint("/bin/", i), "") }) // May or may not succeed.
				case 4:
					wishes.Go(func() { _ = b.Restart(t.Context(), name) }) // As above.
				default:
					changed := slices.Clone(specs)
					which := chance.IntN(3)
					changed[which].Settings = map[string]any{"n": i}
					if chance.IntN(3) == 0 {
						changed[which].Enabled = false
					}
					wishes.Go(func() { _, _ = b.Apply(t.Context(), changed, func() {}) }) // As above.
				}
				time.Sleep(time.Duration(chance.Int64N(int64(3 * time.Second))))
			}
			wishes.Wait()
			time.Sleep(time.Hour)
			for range 30 { // What fails now and then succeeds in the end.
				if _, err := b.Apply(t.Context(), specs, func() {}); err == nil {
					break
				}
			}
			time.Sleep(time.Hour)
			for _, name := range names {
				status := b.state(name, StateRunning)
				for _, p := range b.farm.launched[name] {
					if p.process() != (p.pid == status.PID) {
						t.Errorf("seed %d: process %d of %s runs: %v, the island is %+v", seed, p.pid, name, p.process(), status)
					}
				}
			}
			if err := b.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			for _, name := range names {
				for _, p := range b.farm.launched[name] {
					if p.process() {
						t.Errorf("seed %d: process %d of %s is left", seed, p.pid, name)
					}
				}
			}
		})
	}
}

// Before the end, changes are refused and those under way given up, and the islands go on.
func TestChangesAreRefusedBeforeTheEnd(t *testing.T) {
	t.Parallel()
	for _, stopFirst := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, []Spec{{Name: "mood"}}, func(f *fakeFarm, _ *Options) {
				f.onLaunch = func(n int, p *fakeProcess, _ process.LaunchOptions) error {
					p.manifest.StopFirst = stopFirst
					if n == 2 {
						p.initialize = func(ctx context.Context, _ sdk.Config) error {
							<-ctx.Done()
							return ctx.Err()
						}
					}
					return nil
				}
			}).started()
			swapped := make(chan error)
			go func() { swapped <- b.Swap(t.Context(), "mood", "", "") }()
			time.Sleep(time.Second)
			began := time.Now()
			b.RefuseChanges()
			if err := <-swapped; err == nil {
				t.Error("a swap that was given up succeeded")
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("it was given up after %v", took)
			}
			for name, err := range map[string]error{
				"swap": b.Swap(t.Context(), "mood", "", ""), "restart": b.Restart(t.Context(), "mood"), "reset": b.Reset(t.Context(), "mood"),
			} {
				if !errors.Is(err, sdk.Unavailable) {
					t.Errorf("%s: %v, want unavailable", name, err)
				}
			}
			b.state("mood", StateRunning)
		})
	}
}

// Keepers of islands that are gone are let go.
func TestRemovedIslandsLeaveNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood"}, {Name: "rests"}}, nil).started()
		for i := range 20 {
			specs := b.specs()
			specs[1].Enabled = i%2 == 1
			if _, err := b.Apply(t.Context(), specs, func() {}); err != nil {
				t.Fatal(err)
			}
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.cancel) != 2 {
			t.Errorf("%d keepers are kept for 2 islands", len(b.cancel))
		}
	})
}
