package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a composition of islands in this process, each of which can be broken.
type world struct {
	mu     sync.Mutex
	down   map[string]bool
	cache  *fakeCache
	store  *fakeStore
	gecko  *fakeSource
	binan  *fakeSource
	report *fakeReporter
}

func newWorld() *world {
	return &world{
		down: map[string]bool{}, cache: newFakeCache(), store: newFakeStore(),
		gecko: newFakeSource("gecko"), binan: newFakeSource("binance"), report: &fakeReporter{},
	}
}

func (w *world) island(name string) (process.Island, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down[name] {
		return nil, &sdk.Error{Kind: sdk.Unavailable, Message: name + " does not run", RetryAfter: time.Second}
	}
	switch name {
	case "cache":
		return w.cache, nil
	case "store":
		return w.store, nil
	case "gecko":
		return w.gecko, nil
	case "binance":
		return w.binan, nil
	case "reporter":
		return w.report, nil
	default:
		return nil, sdk.NotFound
	}
}

func (w *world) set(name string, up bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down[name] = !up
}

func (w *world) requests(change ...func(*Options)) *Requests {
	day := 24 * time.Hour
	both := []string{"gecko", "binance"}
	opts := Options{
		Island: w.island, Cache: "cache", Store: "store",
		Quotes:    Line{Sources: both, Strategy: Strategy{TTL: 30 * time.Second, StaleFor: day}},
		Candles:   Line{Sources: []string{"binance", "gecko"}, Strategy: Strategy{TTL: 3 * time.Hour, StaleFor: day}},
		Global:    Line{Sources: []string{"gecko"}, Strategy: Strategy{TTL: 5 * time.Minute, StaleFor: day}},
		Catalogue: Line{Sources: both, Strategy: Strategy{TTL: day, StaleFor: day}},
		Reports: []Report{{
			Name: "crypto-report", Island: "reporter", KeyPrefix: "crypto_report", Warm: []string{"btc"},
			Strategy: Strategy{TTL: time.Hour, StaleFor: day},
			Needs:    sdk.Needs{Quote: true, Global: true, Sentiment: true, DailyCandles: 400, CrossCheck: true},
		}},
		Encode: Encoders{
			Quote: func(q sdk.Quote, stale bool) Representation {
				return NewRepresentation("json", "application/json", fmt.Appendf(nil, `{"price":%s,"source":%q,"stale":%t}`, q.Price, q.Source, stale))
			},
			Global: func(g sdk.Global, stale bool) Representation {
				return NewRepresentation("json", "application/json", fmt.Appendf(nil, `{"market_cap":%s,"stale":%t}`, g.MarketCap, stale))
			},
		},
	}
	for _, f := range change {
		f(&opts)
	}
	return New(opts)
}

// running returns a pipeline whose invalidation stream stands, and a function that ends it.
func running(w *world, change ...func(*Options)) (*Requests, func()) {
	r := w.requests(change...)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Run(ctx)
	}()
	synctest.Wait()
	return r, func() {
		cancel()
		<-ended
		r.Close()
	}
}

func body(t *testing.T, a Answer, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	rep, ok := a.Representation("json")
	if !ok {
		t.Fatal("no json")
	}
	return string(rep.Body)
}

func TestColdRequestsShareOneFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.gecko.delay, w.binan.delay = 50*time.Millisecond, 50*time.Millisecond
		r, end := running(w)
		defer end()
		bodies := make([]string, 1000)
		var wait sync.WaitGroup
		for i := range bodies {
			wait.Go(func() {
				a, err := r.Report(t.Context(), "crypto-report", "btc", "usd")
				bodies[i] = body(t, a, err)
			})
		}
		wait.Wait()
		for _, b := range bodies[1:] {
			if b != bodies[0] {
				t.Fatalf("two bodies: %s and %s", bodies[0], b)
			}
		}
		for name, want := range map[string]int64{"catalogue": 1, "quotes": 1, "global": 1} {
			if got := w.gecko.count(name); got != want {
				t.Errorf("gecko %s: %d calls, want %d", name, got, want)
			}
		}
		if got := w.binan.count("candles"); got != 1 {
			t.Errorf("binance candles: %d calls", got)
		}
		if got := w.binan.count("quotes"); got != 1 { // the cross-check
			t.Errorf("binance quotes: %d calls", got)
		}
		if got := w.report.calls.Load(); got != 1 {
			t.Errorf("reports made: %d", got)
		}
		synctest.Wait()
		if _, ok := w.cache.entries["crypto_report_btc"]; !ok {
			t.Error("the cache does not hold crypto_report_btc")
		}
		if _, ok := w.store.entries["crypto_report_btc"]; !ok {
			t.Error("the store does not hold crypto_report_btc")
		}
		if len(w.store.quotes) == 0 || len(w.store.candles) == 0 {
			t.Error("the store has no history")
		}
	})
}

func TestWarmRequestAsksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, end := running(w)
		defer end()
		a, err := r.Report(t.Context(), "crypto-report", "btc", "usd")
		first := body(t, a, err)
		synctest.Wait()
		lookups := w.cache.lookups.Load()
		a, err = r.Report(t.Context(), "crypto-report", "btc", "usd")
		if got := body(t, a, err); got != first || a.Tier != TierNear {
			t.Errorf("%s from %s", got, a.Tier)
		}
		if got := w.cache.lookups.Load(); got != lookups {
			t.Errorf("a warm request made %d calls to the cache", got-lookups)
		}
	})
}

func TestTiers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, end := running(w)
		steps := []struct {
			name   string
			before func()
			want   Tier
		}{
			{"nobody knows it", func() {}, TierMiss},
			{"the near cache knows it", func() {}, TierNear},
			{"only the cache knows it", func() { r.near.invalidate([]string{"btc_current_price"}) }, "l1"},
			{"only the store knows it", func() {
				time.Sleep(time.Millisecond)
				delete(w.cache.entries, "btc_current_price")
				r.near = newNear(100, 1<<20, time.Now)
			}, TierStore},
			{"it went stale a moment ago", func() { time.Sleep(31 * time.Second) }, TierStale},
			{"it was refreshed meanwhile", func() { synctest.Wait() }, TierNear},
			{"it went stale long ago", func() { time.Sleep(2 * time.Minute) }, TierMiss},
		}
		defer end()
		for _, s := range steps {
			s.before()
			a, err := r.Quote(t.Context(), "btc", "usd", "")
			if body(t, a, err); a.Tier != s.want {
				t.Errorf("%s: from %s, want %s", s.name, a.Tier, s.want)
			}
			synctest.Wait()
		}
	})
}

// TestASourceAlone asks a source that is not in line: by its name it answers, otherwise it plays no part.
func TestASourceAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		alone := func(o *Options) {
			o.Quotes.Sources, o.Candles.Sources, o.Catalogue.Sources = []string{"gecko"}, nil, []string{"gecko"}
		}
		r, end := running(w, alone)
		defer end()
		if r.HasSource("binance") {
			t.Error("a source that nobody named answers by its name")
		}
		reconfigured(r, func(o *Options) {
			alone(o)
			o.Alone = []string{"binance"}
		})
		a, err := r.Quote(t.Context(), "btc", "usd", "binance")
		if got := body(t, a, err); !strings.Contains(got, `"source":"binance"`) || !r.HasSource("binance") {
			t.Errorf("by its name: %s", got)
		}
		w.gecko.fail.Store(&sdk.Error{Kind: sdk.Unavailable})
		calls := w.binan.total.Load()
		if _, err := r.Quote(t.Context(), "eth", "usd", ""); !errors.Is(err, sdk.Unavailable) {
			t.Errorf("while the line is down: %v", err)
		}
		if w.binan.total.Load() != calls {
			t.Error("a source that is not in line was asked by itself")
		}
		if r.Stats().Sources.Available {
			t.Error("a source that is not in line makes up for those that are")
		}
		a, err = r.Quote(t.Context(), "btc", "eur", "binance")
		if body(t, a, err); r.Stats().Sources.Available {
			t.Error("a source that is not in line says that those that are work again")
		}
	})
}

func TestFallbackAndStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, end := running(w)
		defer end()
		w.gecko.fail.Store(&sdk.Error{Kind: sdk.RateLimited, RetryAfter: 60 * time.Second})
		a, err := r.Quote(t.Context(), "btc", "usd", "")
		if got := body(t, a, err); !strings.Contains(got, `"source":"binance"`) {
			t.Errorf("fallback: %s", got)
		}
		calls := w.gecko.total.Load()
		time.Sleep(31 * time.Second)
		w.binan.fail.Store(&sdk.Error{Kind: sdk.Unavailable})
		_, _ = r.Quote(t.Context(), "btc", "usd", "") // stale, refreshing
		time.Sleep(2 * time.Minute)
		a, err = r.Quote(t.Context(), "btc", "usd", "")
		if got := body(t, a, err); !a.Stale || !strings.Contains(got, `"stale":true`) {
			t.Errorf("both sources down: %s, stale %t", got, a.Stale)
		}
		if r.Stats().Sources.Available {
			t.Error("the pipeline takes the sources for available")
		}
		_, err = r.Quote(t.Context(), "eth", "usd", "")
		if !errors.Is(err, sdk.Unavailable) || sdk.RetryAfter(err) <= 0 {
			t.Errorf("nothing remembered: %v, retry after %v", err, sdk.RetryAfter(err))
		}
		if calls == 0 {
			t.Error("the first source was never asked")
		}
		w.gecko.fail.Store(nil)
		w.binan.fail.Store(nil)
		time.Sleep(2 * time.Minute)
		a, err = r.Quote(t.Context(), "btc", "usd", "")
		if got := body(t, a, err); a.Stale || !r.Stats().Sources.Available {
			t.Errorf("after healing: %s, stale %t", got, a.Stale)
		}
	})
}

func TestReportSaysWhatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, end := running(w)
		defer end()
		w.gecko.fail.Store(&sdk.Error{Kind: sdk.Unavailable})
		_, err := r.Report(t.Context(), "crypto-report", "btc", "usd")
		if err != nil {
			t.Fatal(err)
		}
		req := w.report.last()
		if req.Quote == nil || req.Quote.Source != "binance" || req.Candles == nil || req.Global != nil || req.Sentiment != nil {
			t.Errorf("request %+v", req)
		}
		text := strings.Join(req.Warnings, "\n")
		if !strings.Contains(text, "No global: the sources failed") || strings.Contains(text, "sentiment") {
			t.Errorf("warnings: %s", text)
		}
		w.gecko.fail.Store(nil)
		time.Sleep(3 * time.Minute) // a poor report is kept for a minute only
		if _, err = r.Report(t.Context(), "crypto-report", "btc", "usd"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // that was the poor one, refreshed meanwhile
		if req := w.report.last(); req.Global == nil {
			t.Error("the report stayed poor")
		}
	})
}

func TestInvalidationWinsOverALoadUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, end := running(w)
		defer end()
		if _, err := r.Quote(t.Context(), "eth", "usd", ""); err != nil { // the catalogue
			t.Fatal(err)
		}
		w.gecko.delay = time.Second
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = r.Quote(t.Context(), "btc", "usd", "")
		}()
		time.Sleep(500 * time.Millisecond)
		if _, err := r.Invalidate(t.Context(), []string{"btc_*"}); err != nil {
			t.Fatal(err)
		}
		<-done
		synctest.Wait()
		if r.near.get([]byte("btc_current_price")) != nil {
			t.Error("the near cache kept what was invalidated during its load")
		}
		if _, ok := w.cache.entries["btc_current_price"]; ok {
			t.Error("the cache kept what was invalidated during its load")
		}
		if _, ok := w.store.entries["btc_current_price"]; ok {
			t.Error("the store kept what was invalidated during its load")
		}
	})
}

func TestSuspectEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.cache.shared.Store(true)
		r, end := running(w)
		defer end()
		get := func(name string, wantTier Tier, wantStale bool) {
			t.Helper()
			a, err := r.Quote(t.Context(), "btc", "usd", "")
			if body(t, a, err); a.Tier != wantTier || a.Stale != wantStale {
				t.Errorf("%s: from %s, stale %t", name, a.Tier, a.Stale)
			}
			synctest.Wait()
		}
		get("cold", TierMiss, false)
		w.cache.breakStreams()
		synctest.Wait()
		get("stream down, the cache answers", TierNear, false)
		w.set("cache", false)
		w.cache.breakStreams()
		time.Sleep(time.Second)
		get("stream down, the cache does not answer", TierStale, true)
		w.cache.epoch.Add(1)
		w.cache.clear()
		w.store.clear()
		w.set("cache", true)
		time.Sleep(2 * time.Second)
		calls := w.gecko.count("quotes")
		get("back with another epoch, nobody confirms", TierMiss, false)
		if got := w.gecko.count("quotes"); got != calls+1 {
			t.Errorf("%d loads", got-calls)
		}
		get("and warm again", TierNear, false)
	})
}

func TestLastCopySurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.cache.shared.Store(true)
		r, end := running(w)
		defer end()
		a, err := r.Quote(t.Context(), "btc", "usd", "")
		body(t, a, err)
		synctest.Wait()
		w.cache.epoch.Add(1)
		w.cache.clear()
		w.store.clear()
		w.gecko.fail.Store(&sdk.Error{Kind: sdk.Unavailable})
		w.binan.fail.Store(&sdk.Error{Kind: sdk.Unavailable})
		w.cache.breakStreams()
		time.Sleep(time.Second)
		a, err = r.Quote(t.Context(), "btc", "usd", "")
		if body(t, a, err); !a.Stale {
			t.Error("the last copy was not served as stale")
		}
	})
}

func TestReportWaitsForAReporterThatIsRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, end := running(w)
		defer end()
		w.set("reporter", false)
		time.AfterFunc(300*time.Millisecond, func() { w.set("reporter", true) })
		began := time.Now()
		_, err := r.Report(t.Context(), "crypto-report", "btc", "usd")
		if took := time.Since(began); err != nil || took < 300*time.Millisecond || took > 400*time.Millisecond {
			t.Errorf("%v after %v", err, took)
		}
		w.set("reporter", false)
		began = time.Now()
		_, err = r.Report(t.Context(), "crypto-report", "eth", "usd")
		if took := time.Since(began); !errors.Is(err, sdk.Unavailable) || sdk.RetryAfter(err) <= 0 || took > 1100*time.Millisecond {
			t.Errorf("a reporter that stays away: %v after %v", err, took)
		}
	})
}

func TestEveryIslandMayBeDown(t *testing.T) {
	for _, name := range []string{"cache", "store", "gecko", "binance", "reporter"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				r, end := running(w)
				defer end()
				for range 3 {
					_, err := r.Report(t.Context(), "crypto-report", "btc", "usd")
					if err != nil {
						t.Fatal(err)
					}
					w.set(name, false)
					if name == "cache" {
						w.cache.breakStreams()
					}
					time.Sleep(20 * time.Minute)
				}
				time.Sleep(2 * time.Hour)
				a, err := r.Report(t.Context(), "crypto-report", "btc", "usd")
				if err != nil {
					t.Fatalf("without %s: %v", name, err)
				}
				if name == "reporter" && !a.Stale {
					t.Error("without the reporter the report is not marked stale")
				}
			})
		})
	}
}

func BenchmarkWarmReport(b *testing.B) {
	w := newWorld()
	r := w.requests(func(o *Options) { o.Cache, o.Store = "", "" })
	defer r.Close()
	if _, err := r.Report(b.Context(), "crypto-report", "btc", "usd"); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Report(b.Context(), "crypto-report", "btc", "usd"); err != nil {
			b.Fatal(err)
		}
	}
}
