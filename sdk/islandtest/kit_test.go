package islandtest

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/conformance"
	"github.com/service-islands/islands/sdk/islandtest/internal/reference"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(settling{m}) }

// settling waits, after the tests, for the calls of islands whose flaw is to leave slowly.
type settling struct{ *testing.M }

func (s settling) Run() int {
	status := s.M.Run()
	reference.Settle()
	return status
}

// subjects returns one subject per kind of island, each with a flaw, or with none.
func subjects(t *testing.T, flaw string) map[string]Subject {
	t.Helper()
	upstream := NewUpstream(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") }))
	leak := make(chan struct{})
	t.Cleanup(func() { close(leak) })
	values := func(testing.TB) map[string]any { return map[string]any{"must": "x", "url": upstream.URL} }
	all := map[string]Subject{}
	for _, kind := range []string{"source", "memory", "store", "reporter"} {
		s := Subject{
			Manifest: reference.Manifest(kind), Settings: values,
			New: func(testing.TB) sdk.IslandComponent { return reference.New(kind, flaw, leak) },
		}
		switch kind {
		case "source":
			s.Assets, s.Unknown = []sdk.Asset{{ID: "bitcoin", Symbol: "btc"}, {Symbol: "eth"}}, sdk.Asset{ID: "none", Symbol: "none"}
			s.Intervals, s.Break = []sdk.Interval{sdk.Interval1d, sdk.Interval1m}, upstream.Break
		case "memory":
			s.heartbeat = reference.Beat
		case "reporter":
			s.ReportRequests = []sdk.ReportRequest{reference.Request(), reference.Request()}
		}
		all[kind] = s
	}
	return all
}

func TestIslandsThatKeepTheContractPass(t *testing.T) {
	for name, s := range subjects(t, "") {
		t.Run(name, func(t *testing.T) { Run(t, s) })
	}
}

// flaws lists, for every flaw, the checks that have to notice it.
func flaws() []struct{ subject, flaw, checks string } {
	return []struct{ subject, flaw, checks string }{
		{"store", "lenient", "settings/unknown settings/mistyped settings/required"},
		{"store", "tells secrets", "settings/secret"},
		{"store", "refuses defaults", "settings/default"},
		{"store", "panics in shutdown", "life/shutdown-before-initialize life/shutdown-twice"},
		{"store", "dies with its start", "life/context-of-initialize"},
		{"store", "panics after shutdown", "life/after-shutdown"},
		{"memory", "leaks", "life/goroutines"},
		{"source", "leaks", "life/goroutines"},
		{"memory", "one at a time", "life/concurrent cache/concurrent"},
		{"store", "one at a time", "life/concurrent store/concurrent"},
		{"store", "slow to leave", "life/cancelled"},
		{"store", "grumbles", "health/ok"},
		{"store", "odd parts", "health/parts"},
		{"store", "slow health", "health/prompt"},
		{"store", "odd names", "metrics/names"},
		{"store", "odd values", "metrics/values"},
		{"store", "falling counters", "metrics/counters"},

		{"source", "impatient", "faults/rate-limited"},
		{"source", "kindless", "faults/rate-limited faults/server-error faults/garbage faults/gone faults/silence"},
		{"source", "deaf", "faults/silence"},
		{"source", "always well", "faults/health"},
		{"source", "sulks", "faults/recovery"},
		{"source", "shouts", "quotes/answer catalogue/assets stream/batches"},
		{"source", "repeats itself", "catalogue/assets"},
		{"source", "below zero", "quotes/units candles/figures global/figures sentiment/range"},
		{"source", "guesses", "quotes/unknown candles/unknown"},
		{"source", "any currency", "quotes/currency candles/currency global/currency"},
		{"source", "invents", "quotes/empty"},
		{"source", "small", "quotes/many"},
		{"source", "backwards", "candles/answer"},
		{"source", "no limit", "candles/limit"},
		{"source", "any interval", "candles/interval"},
		{"source", "holes", "stream/batches"},
		{"source", "talks unasked", "stream/batches"},
		{"source", "streams the open", "stream/candles"},
		{"source", "streams crooked", "stream/candles"},
		{"source", "streams blanks", "stream/candles"},
		{"source", "streams strangers", "stream/candles"},
		{"source", "streams odd intervals", "stream/candles"},
		{"source", "streams again", "stream/candles"},
		{"source", "streams nothing", "stream/candles"},
		{"source", "streams pieces", "stream/candles"},
		{"source", "goes on", "stream/emit-fails"},

		{"memory", "sorts", "cache/order"},
		{"memory", "cuts", "cache/fidelity"},
		{"memory", "for ever", "cache/bounds lease/expiry budget/window"},
		{"memory", "takes the late", "cache/too-late"},
		{"memory", "no globs", "cache/invalidate"},
		{"memory", "forgets races", "cache/invalidation-wins"},
		{"memory", "always asks", "cache/version-zero"},
		{"memory", "first wins", "cache/refill"},
		{"memory", "any tier", "cache/tiers"},
		{"memory", "rude", "watch/hello"},
		{"memory", "holes", "watch/invalidated"},
		{"memory", "mute", "watch/heartbeat"},
		{"memory", "goes on", "watch/emit-fails channel/emit-fails"},
		{"memory", "leaves without a word", "watch/ends"},
		{"memory", "generous", "lease/conflict lease/one-winner budget/limit budget/concurrent"},
		{"memory", "one token", "lease/fencing"},
		{"memory", "any may release", "lease/release"},
		{"memory", "backwards", "channel/replay"},
		{"memory", "replays always", "channel/live"},
		{"memory", "no fence", "channel/fencing"},

		{"store", "forgets figures", "history/fidelity stored-candles/fidelity entries/fidelity"},
		{"store", "appends", "history/idempotent"},
		{"store", "inclusive", "history/range"},
		{"store", "loses some", "history/pages"},
		{"store", "any cursor", "history/cursor"},
		{"store", "insists", "store/nothing"},
		{"store", "oldest", "stored-candles/newest"},
		{"store", "last wins", "stored-candles/closed-wins stored-candles/sent-again entries/newest-wins"},
		{"store", "mixes", "stored-candles/sources"},
		{"store", "namesakes", "stored-candles/apart"},
		{"store", "none is fine", "stored-candles/none"},
		{"store", "for ever", "entries/stale"},
		{"store", "no globs", "entries/forget entries/globs"},
		{"store", "an SQL's glob", "entries/forget entries/globs"},
		{"store", "takes anything", "store/refusals"},
		{"store", "half a batch", "store/refusals"},
		{"store", "works for nobody", "store/ended"},
		{"store", "small", "stored-candles/many entries/many"},
		{"store", "no end", "history/range"},

		{"reporter", "changes its mind", "reports/listed"},
		{"reporter", "half done", "reports/formats"},
		{"reporter", "tells the time", "reports/pure reports/concurrent"},
		{"reporter", "scribbles", "reports/request-untouched"},
		{"reporter", "any report", "reports/unknown"},
		{"reporter", "careless", "reports/too-little"},
	}
}

// manifests lists manifests that break the contract, with the check that has to notice.
func manifests() map[string]func(*Subject) {
	return map[string]func(*Subject){
		"manifest/names":    func(s *Subject) { s.Manifest.Version = "one" },
		"manifest/layer":    func(s *Subject) { s.Manifest.Layer = sdk.LayerBusinessLogic },
		"manifest/settings": func(s *Subject) { s.Manifest.Settings[0].Default, s.Manifest.Settings[0].Type = "x", sdk.IntSetting },
		"manifest/complete": func(s *Subject) { s.New = func(testing.TB) sdk.IslandComponent { return reference.New("", "", nil) } },
	}
}

// missed runs one check directly on a subject and reports when it passes.
func missed(t *testing.T, s Subject, what, name string) {
	t.Helper()
	s.patience = 300 * time.Millisecond
	if err := s.complete(t); err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	i := slices.IndexFunc(conformance.All(), func(c conformance.Check) bool { return c.Name == name })
	if i < 0 {
		t.Errorf("there is no check %q", name)
	} else if err := s.perform(t, modes()[0], conformance.All()[i]); err == nil {
		t.Errorf("%s: %s passes", what, name)
	}
}

func TestEveryFlawIsNoticed(t *testing.T) {
	noticed := map[string]bool{}
	var later []func()
	try := func(s Subject, what, name string) {
		noticed[name] = true
		if name == "life/goroutines" { // It counts those of everybody.
			missed(t, s, what, name)
			return
		}
		later = append(later, func() { missed(t, s, what, name) })
	}
	for _, f := range flaws() {
		for _, name := range strings.Fields(f.checks) {
			try(subjects(t, f.flaw)[f.subject], f.subject+" that "+f.flaw, name)
		}
	}
	for name, spoil := range manifests() {
		s := subjects(t, "")["store"]
		spoil(&s)
		try(s, "a spoilt manifest", name)
	}
	// All at once: most of it is waiting for what does not come.
	var tries sync.WaitGroup
	for _, run := range later {
		tries.Go(run)
	}
	tries.Wait()
	for _, c := range conformance.All() {
		if !noticed[c.Name] && !strings.HasPrefix(c.Name, "process/") && !strings.HasPrefix(c.Name, "load/") {
			t.Errorf("nothing shows that the check %s can fail", c.Name)
		}
		if c.Rule == "" {
			t.Errorf("the check %s has no rule", c.Name)
		}
	}
}

func TestSubjectsThatLackWhatTheirRolesNeedAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(map[string]Subject) Subject{
		"no New":     func(all map[string]Subject) Subject { s := all["store"]; s.New = nil; return s },
		"no assets":  func(all map[string]Subject) Subject { s := all["source"]; s.Assets = nil; return s },
		"no unknown": func(all map[string]Subject) Subject { s := all["source"]; s.Unknown = sdk.Asset{}; return s },
		"no request": func(all map[string]Subject) Subject { s := all["reporter"]; s.ReportRequests = nil; return s },
	} {
		s := spoil(subjects(t, ""))
		if err := s.complete(t); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
