package islandtest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/conformance"
	"github.com/service-islands/islands/sdk/process"
)

// Subject is an island to be checked, and what the checks have to know about it.
type Subject struct {
	// Manifest as it is handed to process.Serve.
	Manifest sdk.Manifest
	// New returns a fresh component that was not initialized. It and Settings may be called concurrently.
	New func(tb testing.TB) sdk.IslandComponent
	// Settings returns values that make an island work in this test, anew for each island; nil when the defaults do.
	// Budgets of upstream calls should be wide enough for a hundred callers at once.
	Settings func(tb testing.TB) map[string]any

	// Assets that a source's upstream knows; at least one for quotes, candles and streams.
	Assets []sdk.Asset
	// Unknown is an asset that a source's upstream does not know.
	Unknown sdk.Asset
	// VsCurrency that a source offers; "usd" when empty.
	VsCurrency string
	// UnsupportedCurrency that a source does not offer; "xxx" when empty.
	UnsupportedCurrency string
	// Intervals that a source of candles offers; Interval1d when nil.
	Intervals []sdk.Interval
	// Break makes the upstream of every island that is made from now on, or was made before, fail in one way until mend
	// is called. Nil leaves out the checks that need it.
	Break func(tb testing.TB, fault Fault) (mend func())

	// ReportRequests that a reporter can serve, at least one per report it lists.
	ReportRequests []sdk.ReportRequest

	// patience is how long a check waits for what has to come; 5 s when zero.
	patience time.Duration
	// heartbeat is how often a cache's stream beats; sdk.WatchHeartbeat when zero.
	heartbeat time.Duration
}

// Fault is a way in which an upstream fails.
type Fault = conformance.Fault

// The faults that Subject.Break is asked for.
const (
	FaultRateLimited = conformance.FaultRateLimited
	FaultServerError = conformance.FaultServerError
	FaultGarbage     = conformance.FaultGarbage
	FaultGone        = conformance.FaultGone
	FaultSilence     = conformance.FaultSilence
)

// Run holds a subject to every check that is meant for it, directly and over gRPC, each as a subtest.
func Run(t *testing.T, s Subject) {
	t.Helper()
	if err := s.complete(t); err != nil {
		t.Fatal(err)
	}
	checks := s.checks(t)
	waited := sync.OnceValue(func() map[string]error { return s.wait(t, checks) })
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			for _, c := range checks {
				t.Run(c.Name, func(t *testing.T) {
					var err error
					if c.Waits {
						err = waited()[m.name+"/"+c.Name]
					} else {
						err = s.perform(t, m, c)
					}
					if err != nil {
						t.Errorf("%v\nthe contract: %s", err, c.Rule)
					}
				})
			}
		})
	}
}

// wait runs the checks that wait, in every mode, all at once, and returns their errors by mode and name.
func (s Subject) wait(tb testing.TB, checks []conformance.Check) map[string]error {
	tb.Helper()
	var (
		mu      sync.Mutex
		waiting sync.WaitGroup
	)
	errs := map[string]error{}
	for _, m := range modes() {
		for _, c := range checks {
			if !c.Waits {
				continue
			}
			waiting.Go(func() {
				err := s.perform(tb, m, c)
				mu.Lock()
				defer mu.Unlock()
				errs[m.name+"/"+c.Name] = err
			})
		}
	}
	waiting.Wait()
	return errs
}

// complete fills in the defaults and reports what the subject lacks.
func (s *Subject) complete(tb testing.TB) error {
	tb.Helper()
	if s.New == nil {
		return fmt.Errorf("the subject has no New")
	}
	if s.Settings == nil {
		s.Settings = func(testing.TB) map[string]any { return nil }
	}
	if s.VsCurrency == "" {
		s.VsCurrency = "usd"
	}
	if s.UnsupportedCurrency == "" {
		s.UnsupportedCurrency = "xxx"
	}
	if s.patience == 0 {
		s.patience = 5 * time.Second
	}
	if s.heartbeat == 0 {
		s.heartbeat = sdk.WatchHeartbeat
	}
	if s.Intervals == nil {
		s.Intervals = []sdk.Interval{sdk.Interval1d}
	}
	for _, role := range s.roles(tb) {
		switch role {
		case sdk.RoleQuotes, sdk.RoleCandles, sdk.RoleStream:
			if len(s.Assets) == 0 || s.Unknown == (sdk.Asset{}) {
				return fmt.Errorf("the role %s needs Subject.Assets and Subject.Unknown", role)
			}
		case sdk.RoleReporter:
			if len(s.ReportRequests) == 0 {
				return fmt.Errorf("the role %s needs Subject.ReportRequests", role)
			}
		default:
		}
	}
	return nil
}

// roles are those of the component.
func (s *Subject) roles(tb testing.TB) []sdk.Role {
	tb.Helper()
	return sdk.RolesOf(s.New(tb))
}

// checks lists those that are meant for the subject and possible.
func (s Subject) checks(tb testing.TB) []conformance.Check {
	tb.Helper()
	subject := s.conformance(tb, modes()[0])
	var out []conformance.Check
	for _, c := range subject.Checks() {
		if c.Lacks(subject) == "" {
			out = append(out, c)
		}
	}
	return out
}

// conformance is the subject as the checks know it, reached in one mode.
func (s Subject) conformance(tb testing.TB, m mode) conformance.Subject {
	tb.Helper()
	out := conformance.Subject{
		Manifest: s.Manifest, Roles: s.roles(tb), Assets: s.Assets, Unknown: s.Unknown, VsCurrency: s.VsCurrency,
		UnsupportedCurrency: s.UnsupportedCurrency, Intervals: s.Intervals, ReportRequests: s.ReportRequests,
		Patience: s.patience, Heartbeat: s.heartbeat,
		Settings:  func() map[string]any { return s.Settings(tb) },
		Component: func() sdk.IslandComponent { return s.New(tb) },
		Leaks: func() func() error {
			before := goleak.IgnoreCurrent()
			return func() error { return goleak.Find(before) }
		},
		New: func(context.Context) (sdk.IslandComponent, func(context.Context), error) {
			component := s.New(tb)
			island, end, err := m.reach(s.Manifest, component)
			return island, func(ctx context.Context) {
				_ = component.Shutdown(ctx) // Checked by the checks of its life.
				end()
			}, err
		},
	}
	if s.Break != nil {
		out.Break = func(fault Fault) func() { return s.Break(tb, fault) }
	}
	return out
}

// mode is a way to reach a component.
type mode struct {
	name string
	// reach returns the component as its caller sees it, and what ends that view.
	reach func(sdk.Manifest, sdk.IslandComponent) (sdk.IslandComponent, func(), error)
}

func modes() []mode {
	return []mode{
		{"direct", func(_ sdk.Manifest, island sdk.IslandComponent) (sdk.IslandComponent, func(), error) {
			return island, func() {}, nil
		}},
		{"grpc", func(manifest sdk.Manifest, island sdk.IslandComponent) (sdk.IslandComponent, func(), error) {
			return process.Loopback(manifest, island)
		}},
	}
}

// perform runs one check.
func (s Subject) perform(tb testing.TB, m mode, c conformance.Check) error {
	tb.Helper()
	return c.Run(tb.Context(), s.conformance(tb, m))
}
