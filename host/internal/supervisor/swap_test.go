package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// answers calls an island again and again, by whatever generation runs, until stop is called, which returns how many calls
// were answered. A call that is not answered fails the test.
func (b *bench) answers(name string) (stop func() int) {
	ctx, cancel := context.WithCancel(b.t.Context())
	var asking sync.WaitGroup
	answered := 0
	asking.Go(func() {
		for first := true; first || ctx.Err() == nil; first = false { // Once at least, however soon it is stopped.
			island, err := b.Island(name)
			if err != nil {
				b.t.Errorf("nobody answers for %q: %v", name, err)
				return
			}
			if _, err := island.Quotes(context.WithoutCancel(ctx), sdk.QuotesRequest{}); err != nil {
				b.t.Errorf("a call to %q failed: %v", name, err)
			}
			answered++
		}
	})
	synctest.Wait() // The first call is under way.
	return func() int {
		cancel()
		asking.Wait()
		return answered
	}
}

func TestSwap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var paths []string
		b := newBench(t, []Spec{{Name: "mood", Path: "/bin/mood"}}, func(f *fakeFarm, _ *Options) {
			f.onLaunch = func(_ int, _ *fakeProcess, opts process.LaunchOptions) error {
				paths = append(paths, opts.Path)
				return nil
			}
		}).started()
		first := b.farm.latest("mood")
		_, superseded, err := b.Hold("mood")
		if err != nil {
			t.Fatal(err)
		}
		stop := b.answers("mood")
		streamed := make(chan error)
		streaming, cut := context.WithCancel(t.Context())
		defer cut()
		go func() { streamed <- first.Watch(streaming, nil) }()
		time.Sleep(500 * time.Millisecond)

		swapped := make(chan error)
		go func() { swapped <- b.Swap(t.Context(), "mood", "/bin/mood-2", "") }()
		select {
		case <-superseded:
		case <-time.After(time.Minute):
			t.Fatal("who holds a stream never learns of the successor")
		}
		status := b.state("mood", StateRunning)
		if status.Generation != 2 || status.Path != "/bin/mood-2" || !status.Overridden || status.Restarts != 0 {
			t.Errorf("the status is %+v", status)
		}
		if first.stopped != 0 {
			t.Error("the old one was stopped before those who hold streams had moved")
		}
		cut()
		if err := <-streamed; !errors.Is(err, context.Canceled) {
			t.Errorf("the stream was cut: %v", err)
		}
		if err := <-swapped; err != nil {
			t.Fatal(err)
		}
		if first.stopped != 1 {
			t.Errorf("the old one was stopped %d times", first.stopped)
		}
		if n := stop(); n == 0 {
			t.Error("nothing was asked")
		}
		if crashes, err := b.Crashes("mood"); err != nil || len(crashes) > 0 {
			t.Errorf("the crashes are %+v, %v", crashes, err)
		}
		// A crash brings back what was swapped in, and a reload what is configured.
		b.farm.latest("mood").die(1, "")
		b.state("mood", StateRunning)
		specs := []Spec{*b.roster.Load().keepers[0].spec.Load()}
		specs[0].Path, specs[0].overridden = "/bin/mood", false
		applied, err := b.Apply(t.Context(), specs, func() {})
		if err != nil || !slices.Equal(applied.Replaced, []string{"mood"}) {
			t.Errorf("applied %+v, %v", applied, err)
		}
		if status := b.state("mood", StateRunning); status.Path != "/bin/mood" || status.Overridden {
			t.Errorf("the status is %+v", status)
		}
		if diff := cmp.Diff([]string{"/bin/mood", "/bin/mood-2", "/bin/mood-2", "/bin/mood"}, paths); diff != "" {
			t.Errorf("started (-want +got):\n%s", diff)
		}
	})
}

func TestASwapThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(p *fakeProcess) error
		kind   sdk.Kind
		want   string
	}{
		{"does not start", func(*fakeProcess) error { return sdk.Errorf(sdk.Unavailable, "it ended") }, sdk.Unavailable, "it ended"},
		{"older protocol", func(p *fakeProcess) error {
			p.manifest.Protocol.Major = sdk.ProtocolMajor - 1
			return nil
		}, sdk.InvalidArgument, "upgrade the island"},
		{"another island", func(p *fakeProcess) error {
			p.manifest.Name = "weather"
			return nil
		}, sdk.InvalidArgument, `"weather"`},
		{"lost a role", func(p *fakeProcess) error {
			p.manifest.Roles = []sdk.Role{sdk.RoleSentiment}
			return nil
		}, sdk.InvalidArgument, `"quotes"`},
		{"settings", func(p *fakeProcess) error {
			p.initialize = func(context.Context, sdk.Config) error { return sdk.Errorf(sdk.InvalidArgument, "no such setting") }
			return nil
		}, sdk.InvalidArgument, "no such setting"},
		{"never ready", func(p *fakeProcess) error {
			p.initialize = func(ctx context.Context, _ sdk.Config) error {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}, sdk.DeadlineExceeded, "deadline"},
		{"unwell", func(p *fakeProcess) error {
			failed := sdk.Failed("no upstream")
			p.health.Store(&failed)
			return nil
		}, sdk.Unavailable, "no upstream"},
		{"silent", func(p *fakeProcess) error {
			p.frozen.Store(true)
			return nil
		}, sdk.Unavailable, "does not answer"},
		{"dies", func(p *fakeProcess) error {
			p.initialize = func(context.Context, sdk.Config) error {
				p.die(2, "")
				return sdk.Errorf(sdk.Unavailable, "the transport is closing")
			}
			return nil
		}, sdk.Unavailable, "closing"},
	}
	for _, stopFirst := range []bool{false, true} {
		for _, test := range tests {
			t.Run(fmt.Sprintf("%s/stop first %v", test.name, stopFirst), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					broken := true
					b := newBench(t, []Spec{{Name: "mood", Path: "/bin/mood", Roles: []sdk.Role{sdk.RoleQuotes}}}, func(f *fakeFarm, _ *Options) {
						f.onLaunch = func(n int, p *fakeProcess, _ process.LaunchOptions) error {
							p.manifest.StopFirst, p.manifest.Roles = stopFirst, []sdk.Role{sdk.RoleQuotes, sdk.RoleStream}
							if n == 2 && broken {
								return test.change(p)
							}
							return nil
						}
					}).started()
					first := b.farm.latest("mood")
					stop := func() int { return 1 }
					if !stopFirst {
						stop = b.answers("mood")
					}
					err := b.Swap(t.Context(), "mood", "/bin/other", "")
					if err == nil || sdk.KindOf(err) != test.kind {
						t.Errorf("swap: %v, want %v", err, test.kind)
					}
					mustContain(t, err, `island "mood"`, test.want)
					if stop() == 0 {
						t.Error("nothing was asked")
					}
					status := b.state("mood", StateRunning)
					if status.Path != "/bin/mood" || status.Overridden {
						t.Errorf("the status is %+v", status)
					}
					if !stopFirst && (status.PID != first.pid || status.Generation != 1) {
						t.Errorf("the old one does not run any more: %+v", status)
					}
					if crashes, err := b.Crashes("mood"); err != nil || len(crashes) > 0 {
						t.Errorf("the crashes are %+v, %v", crashes, err)
					}
					for _, p := range b.farm.launched["mood"] {
						if p.pid != status.PID && (stopFirst || p != first) && p.process() {
							t.Errorf("process %d is left", p.pid)
						}
					}
					broken = false
					if err := b.Swap(t.Context(), "mood", "/bin/other", ""); err != nil {
						t.Error(err)
					}
					if status := b.state("mood", StateRunning); status.Path != "/bin/other" {
						t.Errorf("the status is %+v", status)
					}
				})
			})
		}
	}
}

// process reports whether the process runs. One that was refused at its launch never did.
func (p *fakeProcess) process() bool {
	select {
	case <-p.done:
		return false
	default:
		return p.handedOut
	}
}

func TestAnIslandThatMustStopFirstIsNeverThereTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "store"}}, func(f *fakeFarm, _ *Options) {
			f.onLaunch = func(_ int, p *fakeProcess, _ process.LaunchOptions) error {
				p.manifest.StopFirst = true
				p.initialize = func(context.Context, sdk.Config) error {
					for _, other := range f.launched["store"] {
						if other != p && other.process() {
							t.Errorf("process %d is initialized while %d runs", p.pid, other.pid)
						}
					}
					return nil
				}
				return nil
			}
		}).started()
		for range 3 {
			if err := b.Swap(t.Context(), "store", "", ""); err != nil {
				t.Fatal(err)
			}
		}
		if status := b.state("store", StateRunning); status.Generation != 4 || !status.StopFirst {
			t.Errorf("the status is %+v", status)
		}
	})
}

func TestTheOldOneCrashesDuringASwap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood"}}, func(f *fakeFarm, _ *Options) {
			f.onLaunch = func(n int, p *fakeProcess, _ process.LaunchOptions) error {
				if n == 2 {
					p.initialize = func(context.Context, sdk.Config) error {
						time.Sleep(5 * time.Second)
						return nil
					}
				}
				return nil
			}
		}).started()
		swapped := make(chan error)
		go func() { swapped <- b.Swap(t.Context(), "mood", "/bin/2", "") }()
		time.Sleep(time.Second)
		b.farm.latest("mood").farm.launched["mood"][0].die(1, "")
		b.state("mood", StateRunning)
		if err := <-swapped; err != nil {
			t.Fatal(err)
		}
		if status := b.state("mood", StateRunning); status.Path != "/bin/2" || status.LastCrash == nil {
			t.Errorf("the status is %+v", status)
		}
	})
}
