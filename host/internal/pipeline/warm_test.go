package pipeline

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestWarmReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, end := running(w)
		defer end()
		warm := func(symbol, vsCurrency string) (Answer, bool) {
			return r.WarmReport("crypto-report", symbol, vsCurrency)
		}
		if _, ok := warm("btc", "usd"); ok {
			t.Error("answers what was never loaded")
		}
		for _, vsCurrency := range []string{"usd", "eur"} {
			cold, err := r.Report(t.Context(), "crypto-report", "btc", vsCurrency)
			want := body(t, cold, err)
			synctest.Wait()
			before := r.Stats()
			a, ok := warm("btc", vsCurrency)
			if !ok || a.Tier != TierNear || a.Stale || body(t, a, nil) != want {
				t.Fatalf("%s: %v, %+v", vsCurrency, ok, a)
			}
			if after := r.Stats(); after.NearHits != before.NearHits+1 || after.NearMisses != before.NearMisses || after.Loads != before.Loads {
				t.Errorf("%s: counted %+v, before %+v", vsCurrency, after, before)
			}
		}
		before := r.Stats()
		for _, symbol := range []string{"eth", "", "btc_eur", strings.Repeat("x", 300)} {
			if _, ok := warm(symbol, "chf"); ok {
				t.Errorf("answers for %q", symbol)
			}
		}
		if _, ok := r.WarmReport("weather-report", "btc", "usd"); ok {
			t.Error("answers a report that there is not")
		}
		if after := r.Stats(); after.NearHits != before.NearHits || after.NearMisses != before.NearMisses {
			t.Errorf("counted %+v, before %+v", after, before)
		}
		if n := testing.AllocsPerRun(100, func() { warm("btc", "eur") }); n > 0 {
			t.Errorf("%v allocations", n)
		}

		if _, err := r.Invalidate(t.Context(), []string{"crypto_report_btc_eur"}); err != nil {
			t.Fatal(err)
		}
		if _, ok := warm("btc", "eur"); ok {
			t.Error("answers what was invalidated")
		}
		r.near.shared.Store(true) // Other hosts may change what the cache holds.
		r.near.suspect()
		if _, ok := warm("btc", "usd"); ok {
			t.Error("answers what is in doubt")
		}
	})
}

func TestWarmReportIsFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, end := running(newWorld())
		defer end()
		a, err := r.Report(t.Context(), "crypto-report", "btc", "usd")
		body(t, a, err)
		synctest.Wait()
		time.Sleep(time.Until(a.FreshUntil()) - time.Nanosecond)
		if _, ok := r.WarmReport("crypto-report", "btc", "usd"); !ok {
			t.Error("does not answer in the last moment")
		}
		time.Sleep(time.Nanosecond)
		if _, ok := r.WarmReport("crypto-report", "btc", "usd"); ok {
			t.Error("answers with what is stale")
		}
	})
}
