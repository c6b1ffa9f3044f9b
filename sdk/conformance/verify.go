package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// Options say which program to verify, and with what.
type Options struct {
	// Path of the program.
	Path string
	// RunDir is an existing folder for sockets, at most 57 bytes long and private to the user.
	RunDir string
	// Settings that make the island work; those it leaves out take their defaults.
	Settings map[string]any
	// Upstreams name the settings that hold the URLs of the island's upstreams: a server that can be broken is put in
	// front of each.
	Upstreams []string
	// Env is what the island's environment has beyond what every island's has.
	Env map[string]string
	// Assets that a source's upstream knows.
	Assets []sdk.Asset
	// Unknown is an asset that it does not; a name that is nobody's when empty.
	Unknown sdk.Asset
	// VsCurrency that a source offers, "usd" when empty, and Intervals, "1d" when empty.
	VsCurrency string
	Intervals  []sdk.Interval
	// Only leaves out the checks for whose names it is false; nil takes all.
	Only func(name string) bool
	// Grace is how long the island may take to shut down and exit; 10 s when zero.
	Grace time.Duration
	// Measure adds figures to the report: what calls take, and memory.
	Measure bool
	// Began is called with the name of each check as it begins, Ended with its result; nil for nobody. They are called one at
	// a time.
	Began func(name string)
	Ended func(Result)
}

// Verdict is what became of a check, or of all.
type Verdict string

// The verdicts there are.
const (
	Passed  Verdict = "passed"
	Failed  Verdict = "failed"
	Skipped Verdict = "skipped" // of a check: it needs what was not given, cannot see its subject, or the time was up
	Partial Verdict = "partial" // of all: none failed, some were skipped
)

// Result is what became of one check.
type Result struct {
	// Name of the check, such as "quotes/answer", and its Verdict.
	Name    string  `json:"name"`
	Verdict Verdict `json:"verdict"`
	// Seconds that it took.
	Seconds float64 `json:"seconds"`
	// Rule is the sentence of the contract.
	Rule string `json:"rule"`
	// Seen is why it failed or was not tried; empty when it passed.
	Seen string `json:"seen,omitempty"`
}

// Report is what came out.
type Report struct {
	// Binary is the program's path, SHA256 its checksum in hex.
	Binary string `json:"binary"`
	SHA256 string `json:"sha256"`
	// Name, Version and Roles are those of its manifest.
	Name    string     `json:"name"`
	Version string     `json:"version"`
	Roles   []sdk.Role `json:"roles"`
	// Verdict on all of it, and how many checks Passed, Failed and were Skipped.
	Verdict Verdict `json:"verdict"`
	Passed  int     `json:"passed"`
	Failed  int     `json:"failed"`
	Skipped int     `json:"skipped"`
	// Seconds that all of it took.
	Seconds float64 `json:"seconds"`
	// Checks in the order of the contract; those that were not asked for are left out.
	Checks []Result `json:"checks"`
	// Figures of each method, and Memory, where they were asked for (Options.Measure) and can be seen.
	Figures []Figures `json:"figures,omitempty"`
	Memory  *Memory   `json:"memory,omitempty"`
	// Notes say what could not be measured, and why.
	Notes []string `json:"notes,omitempty"`
}

// ErrNotStarted is wrapped by the error of Verify for a program that cannot be started or initialized: there is nothing to
// check then.
var ErrNotStarted = errors.New("the island cannot be started")

// Verify holds a program to every check that is meant for it. The error says why that could not be done; what the checks
// have found is in the report. When the context ends before all were tried, what has been found by then is returned with its
// error, and the rest is skipped: a check that is cut short says nothing about the island.
func Verify(ctx context.Context, opts Options) (Report, error) {
	began := time.Now()
	image, err := process.Seal(opts.Path, "")
	if err != nil {
		return Report{}, fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	defer image.Close()
	binary := &Binary{Path: opts.Path, Image: image, RunDir: opts.RunDir, Env: opts.Env, Grace: opts.Grace}
	subject, end, err := opts.subject(ctx, binary)
	if err != nil {
		return Report{}, err
	}
	defer end()
	m := subject.Manifest
	report := Report{Binary: opts.Path, SHA256: image.SHA256(), Name: m.Name, Version: m.Version, Roles: m.Roles}
	v := &verification{Options: opts, subject: subject}
	report.Checks = v.all(ctx)
	report.count()
	if opts.Measure && !v.cut.Load() && len(subject.Missing) == 0 {
		report.Figures, report.Memory, report.Notes = subject.measure(ctx)
	}
	report.Seconds = time.Since(began).Seconds()
	if v.cut.Load() {
		return report, over(ctx)
	}
	return report, nil
}

// over returns why there is no time left, nil while there is. A deadline crosses the wire, and an island that is a moment
// ahead of this process ends a call with it before it has passed here.
func over(ctx context.Context) error {
	if deadline, bounded := ctx.Deadline(); bounded && time.Until(deadline) < 50*time.Millisecond {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// count sums up what became of the checks.
func (r *Report) count() {
	for _, c := range r.Checks {
		switch c.Verdict {
		case Passed:
			r.Passed++
		case Failed:
			r.Failed++
		default:
			r.Skipped++
		}
	}
	switch {
	case r.Failed > 0:
		r.Verdict = Failed
	case r.Skipped > 0:
		r.Verdict = Partial
	default:
		r.Verdict = Passed
	}
}

// subject makes a subject of the options: it starts the island once to see that there is something to check, and the
// servers in front of its upstreams.
func (o Options) subject(ctx context.Context, binary *Binary) (s Subject, end func(), err error) {
	manifest, err := process.Describe(ctx, o.Path, "")
	if err != nil {
		return s, nil, fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	values := maps.Clone(o.Settings)
	if values == nil {
		values = map[string]any{}
	}
	var proxies []*proxy
	end = func() {
		for _, p := range proxies {
			p.close()
		}
	}
	for _, name := range o.Upstreams {
		upstream, err := upstreamOf(manifest, values, name)
		if err != nil {
			end()
			return s, nil, err
		}
		p, err := startProxy(ctx, upstream)
		if err != nil {
			end()
			return s, nil, fmt.Errorf("%w: the setting %s: %w", ErrNotStarted, name, err)
		}
		proxies = append(proxies, p)
		values[name] = p.url
	}
	s = Subject{
		Manifest: manifest, Roles: manifest.Roles, Binary: binary, New: binary.reach,
		Settings: func() map[string]any { return maps.Clone(values) },
		Assets:   o.Assets, Unknown: o.Unknown, VsCurrency: o.VsCurrency, Intervals: o.Intervals,
		ReportRequests: requestsFor(manifest), Patience: 10 * time.Second,
	}
	if s.Unknown == (sdk.Asset{}) {
		s.Unknown = sdk.Asset{ID: "no-such-coin-to-verify", Symbol: "nosuchcoin"}
	}
	if len(proxies) > 0 {
		s.Break = func(fault Fault) func() {
			var mends []func()
			for _, p := range proxies {
				mends = append(mends, p.Break(fault))
			}
			return func() {
				for _, mend := range mends {
					mend()
				}
			}
		}
		s.Held = func() int {
			n := 0
			for _, p := range proxies {
				n += p.Held()
			}
			return n
		}
	}
	s.complete()
	for _, setting := range manifest.Settings {
		if _, given := values[setting.Name]; setting.Required && !given {
			s.Missing = append(s.Missing, setting.Name)
		}
	}
	if err := s.tryStart(ctx); err != nil {
		end()
		return s, nil, err
	}
	return s, end, nil
}

// upstreamOf returns the URL that a setting holds.
func upstreamOf(manifest sdk.Manifest, values map[string]any, name string) (string, error) {
	setting, known := manifest.Setting(name)
	if !known {
		return "", fmt.Errorf("%w: %s has no setting %q that could hold the URL of its upstream", ErrNotStarted, manifest.Name, name)
	}
	if given, ok := values[name].(string); ok {
		return given, nil
	}
	return setting.Default, nil
}

// tryStart starts the island, and initializes it unless settings are missing.
func (s Subject) tryStart(ctx context.Context) error {
	p, err := s.Binary.launch(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	defer p.Kill()
	if len(s.Missing) > 0 {
		return nil
	}
	b := &bench{Subject: s}
	ctx, cancel := context.WithTimeout(ctx, checkBound)
	defer cancel()
	if err := p.Island().Initialize(ctx, b.config(b.settings())); err != nil {
		return fmt.Errorf("%w with the settings that were given: %w", ErrNotStarted, err)
	}
	return nil
}

// verification is a subject that is being checked.
type verification struct {
	Options
	subject Subject
	mu      sync.Mutex
	// cut is set when the context ends before all checks were tried.
	cut atomic.Bool
}

// all tries every check and returns what became of them.
func (v *verification) all(ctx context.Context) []Result {
	var results []Result
	checks := v.subject.Checks()
	if v.Only != nil {
		checks = slices.DeleteFunc(checks, func(c Check) bool { return !v.Only(c.Name) })
	}
	waited := sync.OnceValue(func() map[string]Result { return v.wait(ctx, checks) })
	for _, c := range checks {
		if c.Waits && c.Lacks(v.subject) == "" {
			results = append(results, waited()[c.Name])
		} else {
			results = append(results, v.try(ctx, c))
		}
	}
	return results
}

// wait tries the checks that wait, all at once.
func (v *verification) wait(ctx context.Context, checks []Check) map[string]Result {
	results := map[string]Result{}
	var (
		mu      sync.Mutex
		waiting sync.WaitGroup
	)
	for _, c := range checks {
		if !c.Waits || c.Lacks(v.subject) != "" {
			continue
		}
		waiting.Go(func() {
			r := v.try(ctx, c)
			mu.Lock()
			defer mu.Unlock()
			results[c.Name] = r
		})
	}
	waiting.Wait()
	return results
}

// try tries one check.
func (v *verification) try(ctx context.Context, c Check) Result {
	result := Result{Name: c.Name, Rule: c.Rule, Verdict: Passed}
	if lack := c.Lacks(v.subject); lack != "" {
		result.Verdict, result.Seen = Skipped, "needs "+lack
	} else if over(ctx) == nil {
		v.tell(func() {
			if v.Began != nil {
				v.Began(c.Name)
			}
		})
		start := time.Now()
		err := c.Run(ctx, v.subject)
		result.Seconds = time.Since(start).Seconds()
		var unseen unseenError
		switch {
		case errors.As(err, &unseen):
			result.Verdict, result.Seen = Skipped, unseen.Error()
		case err != nil:
			result.Verdict, result.Seen = Failed, strings.TrimSpace(err.Error())
		}
	}
	if why := over(ctx); why != nil && result.Verdict != Skipped {
		// What it has seen may be the work of the context: calls that end with it, and waits that it has cut short.
		v.cut.Store(true)
		result.Verdict, result.Seen = Skipped, "not tried: interrupted"
		if errors.Is(why, context.DeadlineExceeded) {
			result.Seen = "not tried: the time was up"
		}
	}
	v.tell(func() {
		if v.Ended != nil {
			v.Ended(result)
		}
	})
	return result
}

// tell calls back, one at a time.
func (v *verification) tell(call func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	call()
}
