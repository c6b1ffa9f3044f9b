package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
)

func TestUnknownSymbolsReachNoSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, end := running(w)
		defer end()
		for i := range 1000 {
			_, err := r.Report(t.Context(), "crypto-report", fmt.Sprintf("nope%d", i), "usd")
			var unknown *Unknown
			if !errors.Is(err, sdk.NotFound) || !errors.As(err, &unknown) {
				t.Fatalf("%v", err)
			}
		}
		if got := w.gecko.total.Load() + w.binan.total.Load(); got != 1 {
			t.Errorf("%d calls to sources, want the one for the catalogue", got)
		}
		if got := r.Stats().NearEntries; got > 1001 {
			t.Errorf("%d entries", got)
		}
	})
}

func TestAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, end := running(w, func(o *Options) { o.MaxFlights = 4 })
		defer end()
		if _, err := r.Quote(t.Context(), "btc", "usd", ""); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // what was learned is written, and the places are free
		w.gecko.delay = 900 * time.Millisecond
		var refused, answered atomic.Int64
		var wait sync.WaitGroup
		for i := range 50 {
			wait.Go(func() {
				_, err := r.Quote(t.Context(), fmt.Sprintf("coin%d", i), "usd", "")
				switch {
				case err == nil:
					answered.Add(1)
				case errors.Is(err, sdk.ResourceExhausted) && sdk.RetryAfter(err) > 0:
					refused.Add(1)
				default:
					t.Errorf("%v", err)
				}
			})
		}
		wait.Wait()
		// Four at once, sixteen wait, of whom eight get in within a fifth of the time that a request has.
		if answered.Load() != 12 || refused.Load() != 38 {
			t.Errorf("%d answered, %d refused", answered.Load(), refused.Load())
		}
		if s := r.Stats().Lobby; s.Shed != 38 || s.Overdue != 8 || s.Waiting != 0 {
			t.Errorf("counted %+v", s)
		}
	})
}

func TestLeavingClientDoesNotEndTheFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.gecko.delay = time.Second
		r, end := running(w)
		defer end()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := r.Quote(ctx, "btc", "usd", ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		time.Sleep(3 * time.Second)
		a, err := r.Quote(t.Context(), "btc", "usd", "")
		body(t, a, err)
		if got := w.gecko.count("catalogue"); got != 1 {
			t.Errorf("%d loads of the catalogue", got)
		}
	})
}

func TestQuotesAreLoadedInOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, end := running(w)
		defer end()
		answers, errs := r.Quotes(t.Context(), []string{"btc", "nope", "eth", "onlybinance"}, "usd", "")
		for i, want := range []string{"gecko", "", "gecko", "binance"} {
			if want == "" {
				if !errors.Is(errs[i], sdk.NotFound) {
					t.Errorf("nope: %v", errs[i])
				}
				continue
			}
			if got := body(t, answers[i], errs[i]); !strings.Contains(got, want) {
				t.Errorf("%d: %s", i, got)
			}
		}
		if got := w.gecko.count("quotes"); got != 1 {
			t.Errorf("%d calls", got)
		}
	})
}

func TestAmbiguousSymbol(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, end := running(w)
		defer end()
		if _, err := r.Report(t.Context(), "crypto-report", "uni", "usd"); err != nil {
			t.Fatal(err)
		}
		req := w.report.last()
		if req.Asset.ID != "uniswap" || len(req.Ambiguous) != 1 || req.Ambiguous[0].ID != "universe" {
			t.Errorf("asset %+v, ambiguous %+v", req.Asset, req.Ambiguous)
		}
		assets, ambiguous, _, err := r.Symbols(t.Context(), "uni")
		if err != nil || !ambiguous["uni"] || assets[0].ID != "uniswap" || assets[1].ID != "universe" {
			t.Errorf("%+v, %v, %v", assets, ambiguous, err)
		}
	})
}

// An asset that is asked for by its id, and shares its symbol with a larger one, must not get the larger one's figures from
// a source that goes by symbols.
func TestShadowedAssetGetsItsOwnFigures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, end := running(w)
		defer end()
		if _, err := r.Report(t.Context(), "crypto-report", "universe", "usd"); err != nil {
			t.Fatal(err)
		}
		req := w.report.last()
		if req.Asset.ID != "universe" || req.Quote.ID != "universe" || req.Quote.Symbol != "uni" || req.Quote.Source != "gecko" {
			t.Errorf("asset %+v, quote %+v", req.Asset, req.Quote)
		}
		if req.Candles == nil || req.Candles.Source != "gecko" || req.Candles.Symbol != "uni" {
			t.Errorf("candles %+v", req.Candles)
		}
		if len(req.CrossCheck) > 0 {
			t.Errorf("cross-checked with another asset: %+v", req.CrossCheck)
		}
	})
}
