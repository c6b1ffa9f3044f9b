package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/islandtest"
)

// coins answers every path as CoinGecko does, for one coin in one currency.
func coins(w http.ResponseWriter, r *http.Request) {
	query, now := r.URL.Query(), time.Now()
	path := strings.TrimPrefix(r.URL.Path, "/api/v3")
	if vs := query.Get("vs_currency"); vs != "" && vs != "usd" {
		status(http.StatusBadRequest, `{"error":"invalid vs_currency"}`)(w, r)
		return
	}
	switch path {
	case "/coins/markets":
		asked := strings.Split(query.Get("ids")+","+query.Get("symbols"), ",")
		if (query.Has("ids") || query.Has("symbols")) && !strings.Contains(" "+strings.Join(asked, " ")+" ", " bitcoin ") {
			_, _ = io.WriteString(w, "[]")
			return
		}
		_, _ = io.WriteString(w, "["+bitcoin+"]")
	case "/coins/list":
		_, _ = io.WriteString(w, `[{"id":"bitcoin","symbol":"btc","name":"Bitcoin"},{"id":"batcat","symbol":"btc","name":"batcat"}]`)
	case "/coins/bitcoin/market_chart":
		var at []time.Time
		var prices []float64
		step := 24 * time.Hour
		if days, err := strconv.Atoi(query.Get("days")); err == nil && days <= 90 {
			step = time.Hour
		}
		for t := now.Truncate(step).Add(-40 * step); t.Before(now); t = t.Add(step) {
			at, prices = append(at, t), append(prices, 77_000+float64(t.Unix()%1000))
		}
		_, _ = io.WriteString(w, chartOf(append(at, now), append(prices, 77_671)))
	case "/coins/bitcoin/ohlc":
		step := 30 * time.Minute
		if query.Get("days") != "1" {
			step = 4 * time.Hour
		}
		var rows []string
		for t := now.Truncate(step).Add(-40 * step); t.Before(now); t = t.Add(step) {
			rows = append(rows, fmt.Sprintf("[%d,10,12,9,11]", t.UnixMilli()))
		}
		_, _ = io.WriteString(w, "["+strings.Join(rows, ",")+"]")
	case "/global":
		_, _ = fmt.Fprintf(w, `{"data":{"active_cryptocurrencies":18000,"markets":1200,"total_market_cap":{"usd":2.5e12},
			"total_volume":{"usd":9e10},"market_cap_percentage":{"btc":57.1,"eth":11.5},
			"market_cap_change_percentage_24h_usd":-1.2,"updated_at":%d}}`, now.Unix())
	default:
		status(http.StatusNotFound, `{"error":"coin not found"}`)(w, r)
	}
}

func TestConformance(t *testing.T) {
	upstream := islandtest.NewUpstream(t, http.HandlerFunc(coins))
	islandtest.Run(t, islandtest.Subject{
		Manifest: manifest(),
		New:      func(testing.TB) sdk.IslandComponent { return newSource() },
		Settings: func(testing.TB) map[string]any {
			return map[string]any{"url": upstream.URL + "/api/v3", "calls_per_minute": float64(100_000)}
		},
		Assets:    []sdk.Asset{{ID: "bitcoin", Symbol: "btc"}},
		Unknown:   sdk.Asset{ID: "no-such-coin", Symbol: "nosuch"},
		Intervals: []sdk.Interval{sdk.Interval1d, sdk.Interval1h, sdk.Interval4h, sdk.Interval30m},
		Break:     upstream.Break,
	})
}
