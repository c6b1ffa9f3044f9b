package pipeline

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
)

// TestOneSourceIsToldOfOnce has the first source come and go with every request, the second answering for it.
func TestOneSourceIsToldOfOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		w := newWorld()
		r, end := running(w, func(o *Options) { o.Logger = hclog.New(&hclog.LoggerOptions{Output: &log}) })
		defer end()
		for i := range 20 {
			w.gecko.fail.Store(nil)
			if i%2 == 0 {
				w.gecko.fail.Store(&sdk.Error{Kind: sdk.Unavailable})
			}
			if _, err := r.Quote(t.Context(), fmt.Sprintf("coin%d", i), "usd", "coingecko"); err != nil {
				_, _ = r.Quote(t.Context(), fmt.Sprintf("coin%d", i), "usd", "")
			}
			time.Sleep(time.Second)
		}
		time.Sleep(steadyAfter)
		synctest.Wait()
		if n := strings.Count(log.String(), "[WARN]  source failed, asking the next: island=gecko"); n != 1 {
			t.Errorf("told %d times: %s", n, log.String())
		}
		for _, s := range r.Sources() {
			if s.Name == "gecko" && s.Mode.Changes == 0 {
				t.Errorf("no change is counted: %+v", s)
			}
		}
		if strings.Contains(log.String(), "External APIs unavailable") {
			t.Error("all are taken for unavailable")
		}
	})
}

// TestAMemoryComesBackUnasked has nobody ask the store and the cache: they are found to be well again.
func TestAMemoryComesBackUnasked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := feeding(newFeedWorld())
		defer h.end()
		h.set("cache", false)
		h.set("store", false)
		_, _ = h.r.Quote(t.Context(), "btc", "usd", "")
		synctest.Wait()
		if s := h.r.Stats(); s.CacheAvailable || s.StoreAvailable {
			t.Fatalf("both are gone: %+v", s)
		}
		h.set("cache", true)
		h.set("store", true)
		time.Sleep(maxLedgerPause + maxLedgerPause/2 + probePace + steadyAfter)
		synctest.Wait()
		if s := h.r.Stats(); !s.CacheAvailable || !s.StoreAvailable || s.Store.Changes != 2 {
			t.Errorf("both are back: %+v", s)
		}
	})
}

func TestBatchesOfCandlesAreBounded(t *testing.T) {
	series := func(symbol string, n int) sdk.Candles {
		return sdk.Candles{Symbol: symbol, Items: make([]sdk.Candle, n)}
	}
	tests := []struct {
		name   string
		series []sdk.Candles
		want   string
	}{
		{"none", nil, ""},
		{"empty ones", []sdk.Candles{series("a", 0)}, ""},
		{"small ones together", []sdk.Candles{series("a", 200), series("b", 300)}, "a200 b300;"},
		{"one too many", []sdk.Candles{series("a", 200), series("b", 301)}, "a200;b301;"},
		{"a long one", []sdk.Candles{series("a", 1001), series("b", 2)}, "a500;a500;a1 b2;"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			for _, batch := range candleBatches(test.series) {
				var parts []string
				for _, s := range batch {
					parts = append(parts, fmt.Sprint(s.Symbol, len(s.Items)))
				}
				got += strings.Join(parts, " ") + ";"
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
