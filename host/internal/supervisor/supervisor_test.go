package supervisor

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

func TestMain(m *testing.M) {
	if os.Getenv("SERVICE_ISLANDS_ISLAND") != "" { // Started by process.Launch.
		serveMood()
		return
	}
	goleak.VerifyTestMain(m)
}

func TestOrderOfStartAndStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{
			{Name: "report", Layer: sdk.LayerBusinessLogic},
			{Name: "store", Layer: sdk.LayerInfrastructure},
			{Name: "source", Layer: sdk.LayerExternalServices},
			{Name: "cache", Layer: sdk.LayerInfrastructure},
		}, func(f *fakeFarm, o *Options) {
			f.roles["store"] = []sdk.Role{sdk.RoleStore}
			o.Islands = append(o.Islands, Spec{Name: "spare", Layer: sdk.LayerInfrastructure})
			f.onLaunch = func(_ int, p *fakeProcess, _ process.LaunchOptions) error {
				if p.name == "store" {
					time.Sleep(time.Second) // Those of one layer do not wait for each other; the next layer does.
				}
				return nil
			}
		})
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := b.farm.happened()
		slices.Sort(got[:3]) // The store is slow, so all else of these two comes first, in any order.
		want := []string{
			"initialize cache", "launch cache", "launch store", "initialize store", "launch source", "initialize source",
			"launch report", "initialize report", "stop report", "stop source", "stop cache", "stop store",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("what happened (-want +got):\n%s", diff)
		}
		b.state("spare", StateDisabled)
		b.state("cache", StateStopped)
		if err := b.Stop(t.Context()); err != nil {
			t.Errorf("a second stop: %v", err)
		}
		if err := b.Start(t.Context()); !errors.Is(err, sdk.Conflict) {
			t.Errorf("a start after the stop: %v, want a conflict", err)
		}
		if err := b.Restart(t.Context(), "cache"); !errors.Is(err, sdk.Unavailable) {
			t.Errorf("a restart after the stop: %v, want unavailable", err)
		}
	})
}

func TestStopBeforeStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood"}}, nil)
		if err := b.Reset(t.Context(), "mood"); !errors.Is(err, sdk.Unavailable) {
			t.Errorf("a reset before the start: %v, want unavailable", err)
		}
		if err := b.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		b.state("mood", StateStopped)
		if err := b.Start(t.Context()); !errors.Is(err, sdk.Conflict) {
			t.Errorf("a start after the stop: %v, want a conflict", err)
		}
	})
}

func TestStandIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood"}}, func(_ *fakeFarm, o *Options) {
			o.Islands = append(o.Islands, Spec{Name: "spare"})
		}).started()
		island, err := b.Island("mood")
		if err != nil || island != process.Island(b.farm.latest("mood")) {
			t.Errorf("the stand-in is %v, %v", island, err)
		}
		for _, name := range []string{"spare", "nobody"} {
			if _, err := b.Island(name); !errors.Is(err, sdk.NotFound) {
				t.Errorf("island %q: %v, want not found", name, err)
			}
		}
		if err := b.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := b.Island("mood"); !errors.Is(err, sdk.Unavailable) {
			t.Errorf("a stopped island: %v, want unavailable", err)
		}
	})
}

func TestNewRefusesNamesThatAreNotUnique(t *testing.T) {
	t.Parallel()
	for _, specs := range [][]Spec{{{Name: "a"}, {Name: "a"}}, {{Name: ""}}} {
		if _, err := New(Options{Islands: specs}); !errors.Is(err, sdk.InvalidArgument) {
			t.Errorf("%v: %v, want an invalid argument", specs, err)
		}
	}
}

func TestPermanentFailuresFailTheStart(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		launch func(p *fakeProcess) error
		want   []string
	}{
		{"checksum", func(*fakeProcess) error {
			return sdk.Errorf(sdk.InvalidArgument, "the checksum is not that of islands.hcl")
		}, []string{`island "mood"`, "checksum"}},
		{"settings", func(p *fakeProcess) error {
			p.initialize = func(context.Context, sdk.Config) error {
				return &sdk.Error{Kind: sdk.InvalidArgument, Setting: "url", Message: `setting "url": is required`}
			}
			return nil
		}, []string{`island "mood"`, `setting "url"`}},
		{"newer protocol", func(p *fakeProcess) error {
			p.manifest.Protocol.Major = sdk.ProtocolMajor + 1
			return nil
		}, []string{"upgrade the host"}},
		{"older protocol", func(p *fakeProcess) error {
			p.manifest.Protocol.Major = sdk.ProtocolMajor - 1
			return nil
		}, []string{"upgrade the island"}},
		{"another island", func(p *fakeProcess) error {
			p.manifest.Name = "weather"
			return nil
		}, []string{`"weather"`, `"mood"`}},
		{"another layer", func(p *fakeProcess) error {
			p.manifest.Layer = sdk.LayerBusinessLogic
			return nil
		}, []string{"business_logic", "external_services"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, []Spec{{Name: "cache", Layer: sdk.LayerInfrastructure}, {Name: "mood"}, {Name: "late", Layer: sdk.LayerBusinessLogic}},
					func(f *fakeFarm, _ *Options) {
						f.onLaunch = func(_ int, p *fakeProcess, _ process.LaunchOptions) error {
							if p.name != "mood" {
								return nil
							}
							return test.launch(p)
						}
					})
				err := b.Start(t.Context())
				if !errors.Is(err, sdk.InvalidArgument) {
					t.Errorf("start: %v, want an invalid argument", err)
				}
				mustContain(t, err, test.want...)
				if b.farm.starts("mood") != 1 || b.farm.starts("late") != 0 {
					t.Errorf("mood was started %d times and late %d times, want 1 and 0", b.farm.starts("mood"), b.farm.starts("late"))
				}
				for _, name := range []string{"cache", "mood", "late"} {
					if status := b.state(name, StateStopped); status.PID != 0 {
						t.Errorf("%s has the process %d", name, status.PID)
					}
				}
			})
		})
	}
}

func TestSetupReachesTheIsland(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		settings := map[string]any{"url": "https://example.com", "key": "s3cret"}
		var got sdk.Config
		var launched process.LaunchOptions
		newBench(t, []Spec{{
			Name: "mood-eu", Kind: "mood", Path: "/bin/mood", SHA256: "abc", Env: map[string]string{"A": "b"}, Settings: settings,
		}}, func(f *fakeFarm, o *Options) {
			o.RunDir = "/run"
			f.onLaunch = func(_ int, p *fakeProcess, opts process.LaunchOptions) error {
				launched = opts
				p.manifest.Name, p.manifest.Settings = "mood", []sdk.Setting{{Name: "key", Secret: true}}
				p.initialize = func(_ context.Context, cfg sdk.Config) error {
					got = cfg
					return nil
				}
				return nil
			}
		}).started()
		if got.Name != "mood-eu" || !cmp.Equal(got.Values, settings) || got.Logger == nil {
			t.Errorf("Initialize was given %+v", got)
		}
		if launched.Path != "/bin/mood" || launched.SHA256 != "abc" || launched.RunDir != "/run" || launched.Env["A"] != "b" ||
			launched.StartTimeout != 10*time.Second || launched.Observer == nil || launched.Logger == nil {
			t.Errorf("Launch was given %+v", launched)
		}
		if got := launched.Redact("with a s3cret"); got != "with a [redacted]" {
			t.Errorf("Redact leaves %q", got)
		}
	})
}

func TestATransientFailureAtStartHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood"}, {Name: "report", Layer: sdk.LayerBusinessLogic}}, func(f *fakeFarm, _ *Options) {
			f.onLaunch = func(n int, p *fakeProcess, _ process.LaunchOptions) error {
				switch {
				case p.name != "mood":
				case n == 1:
					return sdk.Errorf(sdk.Unavailable, "the process ended before it answered")
				case n == 2:
					p.initialize = func(context.Context, sdk.Config) error {
						p.die(3, "")
						return sdk.Unavailable
					}
				}
				return nil
			}
		})
		start := time.Now()
		b.started()
		if took := time.Since(start); took > time.Millisecond {
			t.Errorf("the start took %v", took)
		}
		b.state("report", StateRunning)
		time.Sleep(time.Second)
		status := b.state("mood", StateRunning)
		if status.Restarts != 0 || status.Generation != 1 || status.LastError != "" {
			t.Errorf("the status is %+v", status)
		}
		crashes, err := b.Crashes("mood")
		if err != nil || len(crashes) != 2 {
			t.Fatalf("crashes: %v, %v", crashes, err)
		}
		if c := crashes[0]; c.Cause != CauseStart || c.Code != 3 || c.Stderr != "last words" || c.PID == 0 || c.Version != "1.0.0" {
			t.Errorf("the second crash is %+v", c)
		}
		if c := crashes[1]; c.Cause != CauseStart || c.Code != -1 || c.PID != 0 {
			t.Errorf("the first crash is %+v", c)
		}
	})
}

func TestStartIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood"}}, func(f *fakeFarm, _ *Options) {
			f.onLaunch = func(_ int, p *fakeProcess, _ process.LaunchOptions) error {
				p.initialize = func(ctx context.Context, _ sdk.Config) error {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		if err := b.Start(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("start: %v, want a deadline", err)
		}
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("the start took %v", took)
		}
		b.state("mood", StateStopped)
	})
}

func TestStopDuringStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood"}}, func(f *fakeFarm, _ *Options) {
			f.onLaunch = func(_ int, p *fakeProcess, _ process.LaunchOptions) error {
				p.initialize = func(ctx context.Context, _ sdk.Config) error {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			}
		})
		started := make(chan error)
		go func() { started <- b.Start(t.Context()) }()
		time.Sleep(time.Second)
		if err := b.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-started; !errors.Is(err, sdk.Canceled) {
			t.Errorf("start: %v, want canceled", err)
		}
	})
}

func TestStopWaitsForCallsInFlightButNotForStreams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood"}}, nil)
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		var calls sync.WaitGroup
		for range 10 {
			calls.Go(func() {
				island, err := b.Island("mood")
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := island.Quotes(t.Context(), sdk.QuotesRequest{}); err != nil {
					t.Errorf("a call in flight failed: %v", err)
				}
			})
		}
		calls.Go(func() {
			if err := b.farm.latest("mood").Watch(t.Context(), nil); !errors.Is(err, sdk.Unavailable) {
				t.Errorf("the stream ended with %v, want unavailable", err)
			}
		})
		synctest.Wait()
		start := time.Now()
		if err := b.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		calls.Wait()
		if took := time.Since(start); took != time.Second {
			t.Errorf("the stop took %v, want the second that the calls took", took)
		}
	})
}

func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		prepare func(b *bench)
		timeout time.Duration
		within  time.Duration
		want    string
	}{
		{"a call that never ends", func(b *bench) {
			_, _ = b.farm.latest("mood").observer.Begin(b.t.Context(), "mood", "quotes") // And never ends.
		}, time.Minute, 5 * time.Second, ""},
		{"a frozen island", func(b *bench) { b.farm.latest("mood").frozen.Store(true) }, time.Minute, 5 * time.Second, "deadline"},
		{"little time", func(b *bench) {
			_, _ = b.farm.latest("mood").observer.Begin(b.t.Context(), "mood", "quotes") // And never ends.
			b.farm.latest("mood").frozen.Store(true)
		}, time.Second, time.Second, "deadline"},
		{"a process that cannot be killed", func(b *bench) {
			b.farm.latest("mood").unkillable = true
			b.t.Cleanup(func() { close(b.farm.rest) })
		}, time.Minute, 15 * time.Second, "cannot be killed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, []Spec{{Name: "mood"}}, nil)
				if err := b.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				test.prepare(b)
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), test.timeout)
				defer cancel()
				err := b.Stop(ctx)
				if took := time.Since(start); took > test.within {
					t.Errorf("the stop took %v, want at most %v", took, test.within)
				}
				if test.want == "" && err != nil {
					t.Error(err)
				}
				if test.want != "" {
					mustContain(t, err, test.want, `island "mood"`)
				}
				if again := b.Stop(t.Context()); !errors.Is(again, err) {
					t.Errorf("a second stop says %v, the first %v", again, err)
				}
			})
		})
	}
}

func TestChangesAreDeliveredInOrderAndMergedForTheSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var seen []IslandStatus
		gate := make(chan struct{})
		b := newBench(t, []Spec{{Name: "mood", Restart: Restart{MaxCrashes: 1000}}}, func(_ *fakeFarm, o *Options) {
			o.OnChange = func(status IslandStatus) {
				<-gate
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, status)
			}
		}).started()
		for range 100 {
			b.farm.latest("mood").die(1, "")
			time.Sleep(time.Minute)
		}
		b.state("mood", StateRunning)
		close(gate)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(seen) > pendingPerIsland+1 {
			t.Errorf("%d changes were kept for a slow receiver", len(seen))
		}
		if seen[0].Generation != 1 || seen[0].State != StateRunning {
			t.Errorf("the first change is %+v", seen[0])
		}
		if last := seen[len(seen)-1]; last.Generation != 101 || last.State != StateRunning || last.Restarts != 100 {
			t.Errorf("the last change is %+v", last)
		}
	})
}
