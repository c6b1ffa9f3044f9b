package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/islandtest"
)

// standIn answers like CoinGecko does for bitcoin in US dollars, or fails in the way that is set.
func standIn(t *testing.T, fault *atomic.Value) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch fault.Load() {
		case islandtest.FaultRateLimited:
			w.Header().Set("Retry-After", "7")
			status(http.StatusTooManyRequests, "Throttled")(w, r)
		case islandtest.FaultServerError:
			status(http.StatusInternalServerError, `{"status":500,"error":"Internal Server Error"}`)(w, r)
		case islandtest.FaultGarbage:
			body("<html>")(w, r)
		case islandtest.FaultGone:
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_ = conn.Close() // Nothing was written.
			}
		case islandtest.FaultSilence:
			<-r.Context().Done()
		default:
			wellKnown(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func wellKnown(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if vs := q.Get("vs_currency"); vs != "" && vs != "usd" {
		status(http.StatusBadRequest, `{"error":"invalid vs_currency"}`)(w, r)
		return
	}
	now := time.Now().UTC()
	switch path := r.URL.Path; {
	case path == "/coins/markets":
		rows := ""
		if ids := q.Get("ids"); ids == "" || strings.HasPrefix(ids, "bitcoin") {
			rows = bitcoin
		}
		_, _ = io.WriteString(w, "["+rows+"]")
	case path == "/coins/list":
		body(`[{"id":"bitcoin","symbol":"btc","name":"Bitcoin"}]`)(w, r)
	case path == "/global":
		body(`{"data":{"total_market_cap":{"usd":2.6e+12},"total_volume":{"usd":9.5e10},"market_cap_percentage":{"btc":57.9}}}`)(w, r)
	case strings.HasPrefix(path, "/coins/bitcoin/market_chart"):
		var at []time.Time
		var prices []float64
		for i := range 30 {
			at = append(at, now.Truncate(day).AddDate(0, 0, i-29))
			prices = append(prices, float64(100+i))
		}
		body(chartOf(append(at, now), append(prices, 130)))(w, r)
	case strings.HasPrefix(path, "/coins/bitcoin/ohlc"):
		end := now.Truncate(4 * time.Hour).Add(4 * time.Hour)
		_, _ = fmt.Fprintf(w, `[[%d,1,2,0.5,1.5],[%d,1.5,3,1,2]]`, end.Add(-4*time.Hour).UnixMilli(), end.UnixMilli())
	default:
		status(http.StatusNotFound, `{"error":"coin not found"}`)(w, r)
	}
}

func TestConformance(t *testing.T) {
	var fault atomic.Value
	fault.Store(islandtest.Fault(""))
	server := standIn(t, &fault)
	islandtest.Run(t, islandtest.Subject{
		Manifest: manifest(),
		New:      func(testing.TB) sdk.IslandComponent { return newSource() },
		Settings: func(testing.TB) map[string]any {
			return map[string]any{"url": server.URL, "calls_per_minute": 100000.0}
		},
		Assets:    []sdk.Asset{{ID: "bitcoin", Symbol: "btc"}},
		Unknown:   sdk.Asset{ID: "no-such-coin", Symbol: "nosuch"},
		Intervals: []sdk.Interval{sdk.Interval1d, sdk.Interval4h},
		Break: func(_ testing.TB, f islandtest.Fault) func() {
			fault.Store(f)
			return func() { fault.Store(islandtest.Fault("")) }
		},
	})
}
