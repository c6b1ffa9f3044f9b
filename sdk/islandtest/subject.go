package islandtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
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
type Fault string

// The faults that Subject.Break is asked for.
const (
	FaultRateLimited Fault = "rate limited" // every call is answered 429 with "Retry-After: 7"
	FaultServerError Fault = "server error" // every call is answered 500
	FaultGarbage     Fault = "garbage"      // every call is answered 200 with a body that is not what the API speaks
	FaultGone        Fault = "gone"         // every connection is closed without an answer
	FaultSilence     Fault = "silence"      // no call is ever answered
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
				t.Run(c.name, func(t *testing.T) {
					var err error
					if c.waits {
						err = waited()[m.name+"/"+c.name]
					} else {
						err = s.perform(t, m, c)
					}
					if err != nil {
						t.Errorf("%v\nthe contract: %s", err, c.rule)
					}
				})
			}
		})
	}
}

// wait runs the checks that wait, in every mode, all at once, and returns their errors by mode and name.
func (s Subject) wait(tb testing.TB, checks []check) map[string]error {
	tb.Helper()
	var (
		mu      sync.Mutex
		waiting sync.WaitGroup
	)
	errs := map[string]error{}
	for _, m := range modes() {
		for _, c := range checks {
			if !c.waits {
				continue
			}
			waiting.Go(func() {
				err := s.perform(tb, m, c)
				mu.Lock()
				defer mu.Unlock()
				errs[m.name+"/"+c.name] = err
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

// check is one sentence of the contract that can be tried.
type check struct {
	name string
	// rule is the sentence.
	rule string
	// role that an island must have for the check to be meant; empty for every island.
	role sdk.Role
	// when leaves the check out unless it holds; nil always holds.
	when func(Subject) bool
	// waits marks a check that does little but wait for time to pass: those all wait at once. It must not break the
	// upstream, nor mind what the others do.
	waits bool
	run   func(ctx context.Context, b *bench) error
}

// allChecks lists every check there is.
func allChecks() []check {
	var all []check
	for _, part := range [][]check{
		manifestChecks(), settingsChecks(), lifeChecks(), healthChecks(), metricsChecks(), faultChecks(),
		quoteChecks(), candleChecks(), marketChecks(), streamChecks(),
		cacheChecks(), watchChecks(), coordinatorChecks(), historyChecks(), storeCandleChecks(), storeChecks(), entryChecks(), reporterChecks(),
	} {
		all = append(all, part...)
	}
	return all
}

// checks lists those that are meant for the subject. The subject's manifest is not asked: it may be wrong.
func (s Subject) checks(tb testing.TB) []check {
	tb.Helper()
	m := sdk.Manifest{Roles: s.roles(tb)}
	var out []check
	for _, c := range allChecks() {
		if (c.role == "" || m.Has(c.role)) && (c.when == nil || c.when(s)) {
			out = append(out, c)
		}
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

// checkBound is the time that one check may take.
const checkBound = 60 * time.Second

// perform runs one check. A panic of the island is an error, so that the checks that follow still run.
func (s Subject) perform(tb testing.TB, m mode, c check) (err error) {
	tb.Helper()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	ctx, cancel := context.WithTimeout(tb.Context(), checkBound)
	defer cancel()
	b := &bench{Subject: s, tb: tb, mode: m, tag: strings.ToLower(rand.Text())[:12]}
	defer b.close()
	return c.run(ctx, b)
}

// bench is where a check works: the subject, and the islands that the check opened.
type bench struct {
	Subject
	tb   testing.TB
	mode mode
	// tag makes names unique among all checks that share a server.
	tag string

	mu      sync.Mutex
	closers []func()
}

// name returns a name that no other check uses, of lower-case letters, digits and dashes.
func (b *bench) name(what string) string { return "islandtest-" + b.tag + "-" + what }

// symbol returns an asset symbol that no other check uses.
func (b *bench) symbol(what string) string { return what + b.tag }

// fresh returns an island that was not initialized.
func (b *bench) fresh(ctx context.Context) (sdk.IslandComponent, error) {
	component := b.New(b.tb)
	island, end, err := b.mode.reach(b.Manifest, component)
	if err != nil {
		return nil, fmt.Errorf("reach the island: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closers = append(b.closers, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = component.Shutdown(ctx) // Checked by the checks of its life.
		end()
	})
	return island, nil
}

// open returns an island that was initialized with the subject's settings.
func (b *bench) open(ctx context.Context) (sdk.IslandComponent, error) {
	cfg := b.config(b.Settings(b.tb))
	island, err := b.fresh(ctx)
	if err != nil {
		return nil, err
	}
	if err := island.Initialize(ctx, cfg); err != nil {
		return nil, fmt.Errorf("initialize with the subject's settings: %w", err)
	}
	return island, nil
}

// config is what the host would hand over.
func (b *bench) config(values map[string]any) sdk.Config {
	return sdk.Config{Name: b.Manifest.Name, Values: values, Logger: slog.New(slog.DiscardHandler)}
}

// close ends the islands that the check opened, the last one first.
func (b *bench) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.closers) > 0 {
		last := len(b.closers) - 1
		b.closers[last]()
		b.closers = b.closers[:last]
	}
}

// on makes a check of a function that wants one open island in a role.
func on[R any](run func(ctx context.Context, b *bench, island R) error) func(context.Context, *bench) error {
	return func(ctx context.Context, b *bench) error {
		island, err := b.open(ctx)
		if err != nil {
			return err
		}
		return run(ctx, b, island.(R))
	}
}
