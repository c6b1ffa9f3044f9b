package islandtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/conformance"
)

// faulty builds the program that has flaws and returns its path under a name that asks for one. What it needs is in the
// folder.
func buildFaulty(t *testing.T) func(kind, flaw string) string {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "faulty")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", program, "./testdata/faulty")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return func(kind, flaw string) string {
		path := filepath.Join(dir, kind+"--"+strings.ReplaceAll(flaw, " ", "_"))
		if err := os.Link(program, path); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
		return path
	}
}

// shortDir is a folder for sockets, whose path is short enough for them.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "it") //nolint:usetesting // t.TempDir is too long for a socket's path.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// optionsFor are what it takes to verify a faulty program of a kind.
func optionsFor(t *testing.T, kind, path string) conformance.Options {
	t.Helper()
	upstream := NewUpstream(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") }))
	opts := conformance.Options{
		Path: path, RunDir: shortDir(t), Settings: map[string]any{"must": "x", "url": upstream.URL}, Grace: 10 * time.Second,
	}
	if kind == "source" {
		opts.Upstreams, opts.Intervals = []string{"url"}, []sdk.Interval{sdk.Interval1d, sdk.Interval1m}
	}
	if kind == "source" || kind == "raw" {
		opts.Assets, opts.Unknown = []sdk.Asset{{ID: "bitcoin", Symbol: "btc"}, {Symbol: "eth"}}, sdk.Asset{ID: "none", Symbol: "none"}
	}
	return opts
}

// roughFlaws lists the flaws that only a program can have, with the checks that have to notice.
func roughFlaws() []struct{ subject, flaw, checks string } {
	return []struct{ subject, flaw, checks string }{
		{"store", "two faces", "process/parity"},
		{"store", "hides a setting", "process/parity"},
		{"store", "undocumented", "manifest/settings"},
		{"store", "a default that does not decode", "manifest/settings"},
		{"store", "a secret by default", "manifest/settings"},
		{"store", "a version of one number", "manifest/names"},
		{"store", "the wrong layer", "manifest/layer"},
		{"store", "says nothing", "process/bare"},
		{"store", "runs alone", "process/bare"},
		{"store", "outlives its host", "process/lifeline"},
		{"store", "slow to stop", "process/shutdown"},
		{"store", "fails to stop", "process/shutdown life/shutdown-twice"},
		{"store", "exits crooked", "process/shutdown"},
		{"store", "dies in shutdown", "process/shutdown"},
		{"store", "dies of signals", "process/signals"},
		{"source", "dies of nonsense", "process/bad-requests"},
		{"source", "panics at nonsense", "process/bad-requests"},
		{"source", "panics aside", "process/bad-requests"},
		{"store", "dies of a bad setting", "process/big-messages settings/unknown"},
		{"store", "logs secrets", "settings/secret"},
		{"store", "prints secrets", "settings/secret"},
		{"store", "slow to leave", "process/cancelled"},
		{"source", "busy", "process/cancelled"},
		{"source", "deaf", "process/cancelled"},
		{"source", "stays for its upstream", "faults/silence"},
		{"store", "leaks memory", "load/memory"},
		{"source", "leaks with calls", "process/left-behind"},
		{"store", "leaks threads", "process/left-behind"},
		{"source", "stays unseen", "process/cancelled"},
		{"source", "queues for ever", "load/stream"},

		// What the kit's server keeps from happening in Go.
		{"raw", "dies of an early call", "process/uninitialized"},
		{"raw", "hangs in an early call", "process/uninitialized"},
		{"raw", "well before its start", "process/uninitialized"},
		{"raw", "dies of a second start", "process/initialize-twice"},
		{"raw", "hangs in a second start", "process/initialize-twice"},
		{"raw", "ill after a second start", "process/initialize-twice"},
		{"raw", "takes any settings", "process/settings"},
		{"raw", "misnames bad settings", "process/settings"},
		{"raw", "dies of settings", "process/settings"},
		{"raw", "reads anything", "process/bad-messages"},
		{"raw", "dies of bytes", "process/bad-messages"},
		{"raw", "ponders over bytes", "process/bad-messages"},
		{"raw", "waits for the last call", "load/in-flight"},
		{"raw", "dies of a call at its end", "load/in-flight"},
	}
}

// unseen lists, with the reason, the checks that a flaw of a component fails in its own process and not in another.
var unseen = map[string]string{
	"life/goroutines":                      "counts the goroutines of its own process; process/left-behind is for others",
	"life/after-shutdown":                  "the SDK makes an error of the panic",
	"life/cancelled":                       "the caller's side of the call returns; process/cancelled looks at the other",
	"store/ended":                          "the call never leaves the caller",
	"watch/emit-fails":                     "emit is on the caller's side",
	"channel/emit-fails":                   "emit is on the caller's side",
	"stream/emit-fails":                    "emit is on the caller's side",
	"watch/ends":                           "the caller's side of the stream ends",
	"reports/request-untouched":            "the request is a copy",
	"reports/listed":                       "the host asks the manifest for them",
	"health/parts":                         "the wire has no other values than those that are allowed",
	"source that kindless: faults/silence": "the caller's side of the call ends with its own kind",
	"source that deaf: faults/silence":     "the caller's side of the call returns; process/cancelled looks at the other",
}

func TestProgramsWithoutAFlawPass(t *testing.T) {
	path := buildFaulty(t)
	for _, kind := range []string{"source", "memory", "store", "reporter"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			report, err := conformance.Verify(t.Context(), optionsFor(t, kind, path(kind, "")))
			if err != nil || report.Verdict != conformance.Passed {
				t.Errorf("%s, %d passed, %v", report.Verdict, report.Passed, err)
			}
			for _, c := range report.Checks {
				if c.Verdict != conformance.Passed {
					t.Errorf("%s %s: %s", c.Name, c.Verdict, c.Seen)
				}
			}
		})
	}
}

// A check that a program without the flaw fails too would notice nothing.
func TestARawProgramFailsNothingForWantOfTheKit(t *testing.T) {
	path := buildFaulty(t)
	opts := optionsFor(t, "raw", path("raw", ""))
	opts.Only = func(name string) bool {
		return slices.ContainsFunc(roughFlaws(), func(f struct{ subject, flaw, checks string }) bool {
			return f.subject == "raw" && slices.Contains(strings.Fields(f.checks), name)
		})
	}
	report, err := conformance.Verify(t.Context(), opts)
	if err != nil || report.Verdict != conformance.Passed || report.Passed != 5 {
		t.Errorf("%s, %d passed, %v: %+v", report.Verdict, report.Passed, err, report.Checks)
	}
}

// unfailed lists, with the reason, the checks that no program can fail.
var unfailed = map[string]string{
	"manifest/complete": "looks at a component in Go; what a program describes is complete, or process/parity notices",
}

// Every check that programs are held to is there for a reason: a program that fails it.
func TestEveryCheckHasAProgramThatFailsIt(t *testing.T) {
	failed := map[string]bool{}
	for _, f := range slices.Concat(roughFlaws(), flaws()) {
		for _, check := range strings.Fields(f.checks) {
			failed[check] = failed[check] || unseen[check] == "" && unseen[f.subject+" that "+f.flaw+": "+check] == ""
		}
	}
	for _, c := range conformance.All() {
		switch reasoned := unseen[c.Name] != "" || unfailed[c.Name] != ""; {
		case !failed[c.Name] && !reasoned:
			t.Errorf("no program fails %s, and nothing says why", c.Name)
		case failed[c.Name] && reasoned:
			t.Errorf("a program fails %s, and there is a reason why none can", c.Name)
		}
		delete(failed, c.Name)
	}
	for name := range failed {
		t.Errorf("programs are to fail %s, which is no check", name)
	}
}

// An exception that nothing needs any more hides the next flaw of its name.
func TestEveryExceptionIsOfACheckAndAFlaw(t *testing.T) {
	stale := maps.Clone(unseen)
	for _, f := range slices.Concat(roughFlaws(), flaws()) {
		for _, check := range strings.Fields(f.checks) {
			if !slices.ContainsFunc(conformance.All(), func(c conformance.Check) bool { return c.Name == check }) {
				t.Errorf("%s that %s: there is no check %q", f.subject, f.flaw, check)
			}
			delete(stale, check)
			delete(stale, f.subject+" that "+f.flaw+": "+check)
		}
	}
	for name := range stale {
		t.Errorf("%q is in unseen, and no flaw is to be noticed by it", name)
	}
}

func TestEveryFlawOfAProgramIsNoticed(t *testing.T) {
	path := buildFaulty(t)
	var rows []string
	var mu sync.Mutex
	var work sync.WaitGroup
	slots := make(chan struct{}, 4) // Most of it is waiting for processes.
	for _, f := range slices.Concat(roughFlaws(), flaws()) {
		name := f.subject + " that " + f.flaw
		var wanted []string
		for _, check := range strings.Fields(f.checks) {
			if unseen[check] == "" && unseen[name+": "+check] == "" {
				wanted = append(wanted, check)
			}
		}
		if len(wanted) == 0 {
			continue
		}
		opts := optionsFor(t, f.subject, path(f.subject, f.flaw))
		if f.subject == "raw" || f.flaw == "slow to stop" || f.flaw == "runs alone" || f.flaw == "outlives its host" {
			opts.Grace = time.Second
		}
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			if noticed(t, name, opts, wanted) {
				mu.Lock()
				defer mu.Unlock()
				rows = append(rows, fmt.Sprintf("%-40s %s", name, strings.Join(wanted, " ")))
			}
		})
	}
	work.Wait()
	if len(rows) < 25 {
		t.Errorf("only %d flaws are noticed", len(rows))
	}
	slices.Sort(rows)
	t.Logf("%d flaws, each with the checks that notice it:\n%s", len(rows), strings.Join(rows, "\n"))
}

// noticed reports whether each of the checks fails a program, and complains when not.
func noticed(t *testing.T, name string, opts conformance.Options, checks []string) bool {
	t.Helper()
	opts.Only = func(check string) bool { return slices.Contains(checks, check) }
	report, err := conformance.Verify(t.Context(), opts)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return false
	}
	if len(report.Checks) != len(checks) {
		t.Errorf("%s: %d checks were tried", name, len(report.Checks))
	}
	for _, c := range report.Checks {
		if c.Verdict != conformance.Failed {
			t.Errorf("%s: %s: %s %s", name, c.Name, c.Verdict, c.Seen)
		}
	}
	return report.Failed == len(checks)
}

func TestAProgramThatCannotBeStartedIsNotVerified(t *testing.T) {
	path := buildFaulty(t)
	opts := optionsFor(t, "store", path("store", "prints first"))
	if _, err := conformance.Verify(t.Context(), opts); !errors.Is(err, conformance.ErrNotStarted) || !strings.Contains(err.Error(), "process.Serve") {
		t.Error(err)
	}
	opts = optionsFor(t, "store", path("store", ""))
	opts.Settings["no_such_setting"] = true
	if _, err := conformance.Verify(t.Context(), opts); !errors.Is(err, conformance.ErrNotStarted) || !strings.Contains(err.Error(), "no_such_setting") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := conformance.Verify(ctx, optionsFor(t, "store", path("store", ""))); err == nil {
		t.Error("verified in no time")
	}
}

func TestWhatIsNotGivenIsSkippedWithTheWayToGiveIt(t *testing.T) {
	path := buildFaulty(t)
	opts := optionsFor(t, "source", path("source", ""))
	opts.Assets, opts.Upstreams = nil, nil
	delete(opts.Settings, "must")
	for round, want := range []string{"--set must=VALUE", "--asset ID:SYMBOL", "--upstream SETTING"} {
		switch round {
		case 1:
			opts.Settings["must"] = "x"
			opts.Only = func(name string) bool { return name == "quotes/answer" }
		case 2:
			opts.Assets = []sdk.Asset{{Symbol: "btc"}}
			opts.Only = func(name string) bool { return name == "faults/garbage" }
		}
		report, err := conformance.Verify(t.Context(), opts)
		if err != nil || report.Verdict != conformance.Partial || report.Failed > 0 {
			t.Fatalf("%v, %s, %d failed", err, report.Verdict, report.Failed)
		}
		if !slices.ContainsFunc(report.Checks, func(r conformance.Result) bool {
			return r.Verdict == conformance.Skipped && strings.Contains(r.Seen, want)
		}) {
			t.Errorf("nothing says %q", want)
		}
	}
}

func TestWhatIsCutShortBlamesNobody(t *testing.T) {
	path := buildFaulty(t)
	only := []string{"manifest/names", "manifest/layer", "settings/unknown", "process/big-messages", "process/bad-requests", "process/signals"}
	for why, seen := range map[error]string{context.Canceled: "not tried: interrupted", context.DeadlineExceeded: "not tried: the time was up"} {
		t.Run(why.Error(), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			if errors.Is(why, context.DeadlineExceeded) {
				ctx, cancel = context.WithTimeout(t.Context(), 8*time.Second)
			}
			defer cancel()
			opts := optionsFor(t, "store", path("store", ""))
			opts.Only = func(name string) bool { return slices.Contains(only, name) }
			opts.Began = func(name string) {
				if name != "process/big-messages" {
					return
				}
				if errors.Is(why, context.Canceled) {
					cancel()
				}
				<-ctx.Done()
			}
			report, err := conformance.Verify(ctx, opts)
			if !errors.Is(err, why) || report.Verdict != conformance.Partial || report.Failed > 0 || len(report.Checks) != len(only) {
				t.Errorf("%v, %s, %d failed, %d checks", err, report.Verdict, report.Failed, len(report.Checks))
			}
			for _, c := range report.Checks {
				early := strings.HasPrefix(c.Name, "manifest/") || strings.HasPrefix(c.Name, "settings/") || c.Name == "process/signals"
				switch {
				case early && c.Verdict == conformance.Passed:
				case !early && c.Verdict == conformance.Skipped && c.Seen == seen:
				default:
					t.Errorf("%s %s: %s", c.Name, c.Verdict, c.Seen)
				}
			}
		})
	}
}

func TestAMethodThatCannotBeMeasuredIsANote(t *testing.T) {
	path := buildFaulty(t)
	opts := optionsFor(t, "source", path("source", ""))
	opts.Settings["url"], opts.Upstreams, opts.Measure = "http://127.0.0.1:1", nil, true
	opts.Only = func(name string) bool { return strings.HasPrefix(name, "manifest/") }
	report, err := conformance.Verify(t.Context(), opts)
	if err != nil || report.Verdict != conformance.Passed || report.Passed != 3 {
		t.Errorf("%v, %s, %d passed", err, report.Verdict, report.Passed)
	}
	if !slices.ContainsFunc(report.Notes, func(note string) bool { return strings.HasPrefix(note, "Quotes was not measured: ") }) {
		t.Errorf("notes: %q", report.Notes)
	}
	if !slices.ContainsFunc(report.Figures, func(f conformance.Figures) bool { return f.Method == "Health" }) {
		t.Errorf("figures: %+v", report.Figures)
	}
}

func TestWhatCannotBeSeenHasNotPassed(t *testing.T) {
	path := buildFaulty(t)
	for _, c := range []struct {
		kind     string
		upstream bool
		want     conformance.Verdict
		seen     string
	}{
		{"store", false, conformance.Skipped, "has no upstream to watch"},
		{"source", false, conformance.Skipped, "its upstream is not watched: --upstream SETTING"},
		{"source", true, conformance.Passed, ""},
	} {
		opts := optionsFor(t, c.kind, path(c.kind, "shows no stacks"))
		if !c.upstream {
			opts.Upstreams = nil
		}
		opts.Only = func(name string) bool { return name == "process/cancelled" }
		report, err := conformance.Verify(t.Context(), opts)
		if err != nil || len(report.Checks) != 1 || report.Checks[0].Verdict != c.want || !strings.Contains(report.Checks[0].Seen, c.seen) {
			t.Errorf("%s, upstream %t: %v, %+v", c.kind, c.upstream, err, report.Checks)
		}
	}
}

func TestAnIslandWithoutASecretIsNotPraisedForHidingIt(t *testing.T) {
	path := buildFaulty(t)
	opts := optionsFor(t, "store", path("store", "nothing to hide"))
	opts.Only = func(name string) bool { return name == "settings/secret" || name == "settings/unknown" }
	report, err := conformance.Verify(t.Context(), opts)
	if err != nil || report.Passed != 1 || len(report.Checks) != 1 || report.Checks[0].Name != "settings/unknown" {
		t.Errorf("%v, %+v", err, report.Checks)
	}
}
