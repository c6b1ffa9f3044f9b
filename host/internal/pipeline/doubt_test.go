package pipeline

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
)

// Where no other host can change what the cache holds, its crash puts nothing into doubt.
func TestUnsharedCacheMayCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, end := running(w)
		defer end()
		a, err := r.Quote(t.Context(), "btc", "usd", "")
		body(t, a, err)
		w.set("cache", false)
		w.cache.epoch.Add(1)
		w.cache.breakStreams()
		for range 5 {
			time.Sleep(time.Second)
			a, err = r.Quote(t.Context(), "btc", "usd", "")
			if body(t, a, err); a.Tier != TierNear || a.Stale {
				t.Errorf("from %s, stale %t", a.Tier, a.Stale)
			}
		}
	})
}

// What another host has invalidated while this one was away must not come back from its own store.
func TestStoreIsNotBelievedAgainstASharedCache(t *testing.T) {
	for _, sourcesUp := range []bool{true, false} {
		t.Run(fmt.Sprintf("sources up %t", sourcesUp), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.cache.shared.Store(true)
				first, end := running(w)
				a, err := first.Quote(t.Context(), "btc", "usd", "")
				body(t, a, err)
				synctest.Wait()
				end()
				w.cache.clear() // the other host's invalidation, unheard here
				if !sourcesUp {
					w.gecko.fail.Store(&sdk.Error{Kind: sdk.Unavailable})
					w.binan.fail.Store(&sdk.Error{Kind: sdk.Unavailable})
				}
				time.Sleep(time.Second)
				again, end := running(w)
				defer end()
				a, err = again.Quote(t.Context(), "btc", "usd", "")
				body(t, a, err)
				if want := map[bool]Tier{true: TierMiss, false: TierStale}[sourcesUp]; a.Tier != want {
					t.Errorf("from %s, want %s", a.Tier, want)
				}
				synctest.Wait()
				if _, ok := w.cache.entries["btc_current_price"]; ok != sourcesUp {
					t.Errorf("the cache holds the value: %t", ok)
				}
			})
		})
	}
}

// A cache that is not shared leaves the store believed: nobody else could have invalidated.
func TestStoreIsBelievedWithoutASharedCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		first, end := running(w)
		a, err := first.Quote(t.Context(), "btc", "usd", "")
		body(t, a, err)
		synctest.Wait()
		end()
		w.cache.clear()
		again, end := running(w)
		defer end()
		a, err = again.Quote(t.Context(), "btc", "usd", "")
		if body(t, a, err); a.Tier != TierStore {
			t.Errorf("from %s", a.Tier)
		}
	})
}

// The real catalogue has 17,000 assets: it must fit, or every cold request decodes it.
func TestNearCacheHoldsALargeCatalogue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.gecko.extra = 20_000
		r, end := running(w, func(o *Options) { o.MaxBytes, o.MaxEntries = 64<<20, 10_000 })
		defer end()
		a, err := r.Quote(t.Context(), "btc", "usd", "")
		body(t, a, err)
		synctest.Wait()
		before := w.cache.lookups.Load()
		for i := range 20 {
			if _, err := r.Report(t.Context(), "crypto-report", fmt.Sprintf("nope%d", i), "usd"); !errors.Is(err, sdk.NotFound) {
				t.Fatal(err)
			}
		}
		if got := w.cache.lookups.Load() - before; got != 0 {
			t.Errorf("%d calls to the cache for unknown symbols", got)
		}
	})
}

func TestUnknownSymbolsDropNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, end := running(w, func(o *Options) { o.MaxEntries = 300 })
		defer end()
		for i := range 50 {
			a, err := r.Quote(t.Context(), fmt.Sprintf("coin%d", i), "usd", "")
			body(t, a, err)
		}
		w.gecko.fail.Store(&sdk.Error{Kind: sdk.Unavailable})
		began := r.near.moment()
		for i := range 5000 {
			r.near.put(negative(fmt.Sprintf("nobody%d", i), sdk.NotFound, time.Now(), time.Now().Add(time.Minute)), began)
		}
		for i := range 50 {
			if r.near.get(fmt.Appendf(nil, "coin%d_current_price", i)) == nil {
				t.Errorf("coin%d was dropped for a remembered failure", i)
			}
		}
		if got := r.near.count.Load(); got > 300 {
			t.Errorf("%d entries", got)
		}
	})
}

// A report made with the second source in line is made again soon after the first is back.
func TestSecondBestIsNotKeptForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, end := running(w)
		defer end()
		if _, err := r.Report(t.Context(), "crypto-report", "eth", "usd"); err != nil { // the catalogue and the global figures
			t.Fatal(err)
		}
		w.gecko.fail.Store(&sdk.Error{Kind: sdk.Unavailable})
		a, err := r.Report(t.Context(), "crypto-report", "btc", "usd")
		if err != nil {
			t.Fatal(err)
		}
		if req := w.report.last(); req.Quote.Source != "binance" || req.Global == nil {
			t.Fatalf("quote from %s", req.Quote.Source)
		}
		if life := a.FreshUntil().Sub(a.StoredAt()); life > time.Minute {
			t.Errorf("fresh for %v", life)
		}
	})
}

func TestSilentSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.gecko.delay, w.binan.delay = time.Hour, time.Hour
		r, end := running(w)
		defer end()
		for range 3 {
			began := time.Now()
			_, err := r.Report(t.Context(), "crypto-report", "btc", "usd")
			if took := time.Since(began); !errors.Is(err, sdk.Unavailable) || sdk.RetryAfter(err) <= 0 || took > 10*time.Second {
				t.Errorf("%v, retry after %v, took %v", err, sdk.RetryAfter(err), took)
			}
			time.Sleep(40 * time.Second)
		}
	})
}

// A client that asks for several quotes at once, again and again, sees stale ones only while they are refreshed.
func TestQuotesAreRefreshedBehindTheScenes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, end := running(w)
		defer end()
		stale, misses := 0, 0
		for range 120 {
			answers, errs := r.Quotes(t.Context(), []string{"btc", "eth"}, "usd", "")
			for i := range answers {
				body(t, answers[i], errs[i])
				switch answers[i].Tier {
				case TierStale:
					stale++
				case TierMiss:
					misses++
				}
			}
			time.Sleep(5 * time.Second)
		}
		// Ten minutes of two quotes that are fresh for 30 s: loaded 20 times, each time seen stale once by the one who
		// has them refreshed.
		if misses > 2 || stale > 40 {
			t.Errorf("%d misses, %d stale", misses, stale)
		}
		if got := w.gecko.count("quotes"); got > 21 {
			t.Errorf("%d calls", got)
		}
	})
}

// In an outage the sources are not asked again by each request, whatever the cache does.
func TestFailuresAreRememberedWithoutTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.cache.shared.Store(true)
		r, end := running(w)
		defer end()
		w.set("cache", false)
		w.cache.breakStreams()
		w.gecko.fail.Store(&sdk.Error{Kind: sdk.Unavailable})
		w.binan.fail.Store(&sdk.Error{Kind: sdk.NotFound})
		for range 50 {
			if _, err := r.Quote(t.Context(), "btc", "usd", ""); !errors.Is(err, sdk.Unavailable) {
				t.Fatal(err)
			}
		}
		if got := w.binan.total.Load(); got > 3 {
			t.Errorf("%d calls to the source that does not know it", got)
		}
	})
}

func TestPartsAreMadeOnce(t *testing.T) {
	a := Answer{entry: &entry{noun: "noun"}}
	made := 0
	build := func(noun any) Representation {
		made++
		return NewRepresentation("json", "application/json", []byte(noun.(string)))
	}
	for range 3 {
		if got, err := a.Part(t.Context(), 30, build); err != nil || !strings.Contains(string(got.Body), "noun") {
			t.Error(got, err)
		}
	}
	for size := range 100 {
		if _, err := a.Part(t.Context(), size, build); err != nil {
			t.Error(err)
		}
	}
	if n := len(a.entry.parts.forms); made > 101 || n > maxParts {
		t.Errorf("made %d, kept %d", made, n)
	}
}

// Candles are fresh until the next one closes, however long their strategy is.
func TestCandlesEndWithTheirLastOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, end := running(w)
		defer end()
		for interval, most := range map[sdk.Interval]time.Duration{
			sdk.Interval1m: time.Minute, sdk.Interval1h: time.Hour, sdk.Interval1d: 3 * time.Hour,
		} {
			a, err := r.Candles(t.Context(), "btc", "usd", interval, 30)
			if err != nil {
				t.Fatal(err)
			}
			if life := a.FreshUntil().Sub(a.StoredAt()); life > most || life < most/2 {
				t.Errorf("%s: fresh for %v", interval, life)
			}
		}
		time.Sleep(24*time.Hour - 10*time.Second - time.Since(time.Now().Truncate(24*time.Hour)))
		a, err := r.Candles(t.Context(), "eth", "usd", sdk.Interval1d, 30)
		if err != nil {
			t.Fatal(err)
		}
		if life := a.FreshUntil().Sub(a.StoredAt()); life > 10*time.Second {
			t.Errorf("ten seconds before midnight: fresh for %v", life)
		}
	})
}
