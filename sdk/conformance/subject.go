package conformance

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/service-islands/islands/sdk"
)

// Subject is an island to be checked, and what the checks have to know about it.
type Subject struct {
	// Manifest that the island is known by.
	Manifest sdk.Manifest
	// Roles that the island has. The manifest is not asked: it may be wrong.
	Roles []sdk.Role
	// New returns a fresh island that was not initialized, and what ends it. It and Settings may be called concurrently.
	New func(ctx context.Context) (island sdk.IslandComponent, end func(ctx context.Context), err error)
	// Settings returns values that make an island work, anew for each island; nil when the defaults do.
	Settings func() map[string]any

	// Assets that a source's upstream knows, and Unknown, one that it does not.
	Assets  []sdk.Asset
	Unknown sdk.Asset
	// VsCurrency that a source offers; "usd" when empty. UnsupportedCurrency is one it does not; "xxx" when empty.
	VsCurrency, UnsupportedCurrency string
	// Intervals that a source of candles offers; Interval1d when nil.
	Intervals []sdk.Interval
	// Break makes the upstream fail in one way until mend is called; nil when there is nothing that could be broken.
	Break func(fault Fault) (mend func())
	// Held is how many calls a broken upstream holds unanswered; nil when that cannot be seen.
	Held func() int
	// ReportRequests that a reporter can serve, at least one per report it lists.
	ReportRequests []sdk.ReportRequest

	// Missing are the required settings that Settings does not have: without them only what needs no initialized island is
	// possible.
	Missing []string

	// Component returns the component itself, for a subject in this process; nil for others.
	Component func() sdk.IslandComponent
	// Leaks begins to watch what is left behind in this process. The function it returns says what was; nil for others.
	Leaks func() (left func() error)
	// Binary is the program, for a subject that is one; nil for others.
	Binary *Binary

	// Patience is how long a check waits for what has to come; 5 s when zero.
	Patience time.Duration
	// Heartbeat is how often a cache's stream beats; sdk.WatchHeartbeat when zero.
	Heartbeat time.Duration
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

// Check is one sentence of the contract that can be tried.
type Check struct {
	// Name such as "cache/order".
	Name string
	// Rule is the sentence.
	Rule string
	// Role that an island must have for the check to be meant; empty for every island.
	Role sdk.Role
	// Waits marks a check that does little but wait for time to pass: those may all wait at once. It neither breaks the
	// upstream nor minds what the others do.
	Waits bool

	// calls marks a check that calls every role, and so needs what any of them does.
	calls bool
	// early checks need no island that was initialized.
	early bool
	// meant leaves the check out unless it holds; nil always holds.
	meant func(Subject) bool
	// needs says what the subject has to be given for the check to be possible, empty for nothing; nil needs nothing.
	needs func(Subject) string
	run   func(ctx context.Context, b *bench) error
}

// All lists every check there is.
func All() []Check {
	return slices.Concat(
		manifestChecks(), settingsChecks(), lifeChecks(), processChecks(), healthChecks(), metricsChecks(), loadChecks(), faultChecks(),
		quoteChecks(), candleChecks(), marketChecks(), streamChecks(),
		cacheChecks(), watchChecks(), coordinatorChecks(), historyChecks(), storeCandleChecks(), storeChecks(), entryChecks(), reporterChecks(),
	)
}

// Checks lists those that are meant for the subject, possible or not.
func (s Subject) Checks() []Check {
	var out []Check
	for _, c := range All() {
		if (c.Role == "" || slices.Contains(s.Roles, c.Role)) && (c.meant == nil || c.meant(s)) {
			out = append(out, c)
		}
	}
	return out
}

// Lacks says what the subject has to be given for the check to be possible, empty for nothing.
func (c Check) Lacks(s Subject) string {
	if len(s.Missing) > 0 && !c.early {
		return "a value for what is required: --set " + strings.Join(s.Missing, "=VALUE --set ") + "=VALUE"
	}
	for _, role := range s.Roles {
		if role != c.Role && !c.calls {
			continue
		}
		switch role {
		case sdk.RoleQuotes, sdk.RoleCandles, sdk.RoleStream:
			if len(s.Assets) == 0 {
				return "an asset that the upstream knows: --asset ID:SYMBOL"
			}
		case sdk.RoleReporter:
			if len(s.ReportRequests) == 0 {
				return "a request for a report"
			}
		default:
		}
	}
	if c.needs != nil {
		return c.needs(s)
	}
	return ""
}

// checkBound is the time that one check may take.
const checkBound = 60 * time.Second

// Run tries the check on the subject. A panic of an island in this process is an error, so that the checks that follow
// still run.
func (c Check) Run(ctx context.Context, s Subject) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	s.complete()
	ctx, cancel := context.WithTimeout(ctx, checkBound)
	defer cancel()
	b := &bench{Subject: s, tag: strings.ToLower(rand.Text())[:12]}
	defer b.close()
	return c.run(ctx, b)
}

// complete fills in the defaults.
func (s *Subject) complete() {
	if s.VsCurrency == "" {
		s.VsCurrency = "usd"
	}
	if s.UnsupportedCurrency == "" {
		s.UnsupportedCurrency = "xxx"
	}
	if s.Patience == 0 {
		s.Patience = 5 * time.Second
	}
	if s.Heartbeat == 0 {
		s.Heartbeat = sdk.WatchHeartbeat
	}
	if s.Intervals == nil {
		s.Intervals = []sdk.Interval{sdk.Interval1d}
	}
}

// bench is where a check works: the subject, and the islands that the check opened.
type bench struct {
	Subject
	// tag makes names unique among all checks that share a server.
	tag string

	mu      sync.Mutex
	closers []func()
}

// name returns a name that no other check uses, of lower-case letters, digits and dashes.
func (b *bench) name(what string) string { return "islandtest-" + b.tag + "-" + what }

// symbol returns an asset symbol that no other check uses.
func (b *bench) symbol(what string) string { return what + b.tag }

// settings are values that make an island work, for the caller to change.
func (b *bench) settings() map[string]any {
	values := map[string]any{}
	if b.Settings != nil {
		maps.Copy(values, b.Settings())
	}
	return values
}

// fresh returns an island that was not initialized.
func (b *bench) fresh(ctx context.Context) (sdk.IslandComponent, error) {
	island, end, err := b.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("reach the island: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closers = append(b.closers, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		end(ctx)
	})
	return island, nil
}

// open returns an island that was initialized with the subject's settings.
func (b *bench) open(ctx context.Context) (sdk.IslandComponent, error) {
	cfg := b.config(b.settings())
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
		role, ok := island.(R)
		if !ok {
			return fmt.Errorf("the island has not the methods of its role")
		}
		return run(ctx, b, role)
	}
}
