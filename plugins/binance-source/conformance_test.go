package main

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/islandtest"
)

// klines answers with as many candles as were asked for, the newest of which is open.
func klines(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	interval := sdk.Interval(query.Get("interval"))
	if strings.HasPrefix(query.Get("symbol"), "NOSUCH") {
		fail(http.StatusBadRequest, `{"code":-1121,"msg":"Invalid symbol."}`)(w, r)
		return
	}
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil || !interval.Valid() {
		fail(http.StatusBadRequest, `{"code":-1120,"msg":"Invalid interval."}`)(w, r)
		return
	}
	monday := time.Date(1970, time.January, 5, 0, 0, 0, 0, time.UTC)
	newest := time.Now().UTC()
	newest = newest.Add(-(newest.Sub(monday) % interval.Duration()))
	var rows []string
	for i := limit - 1; i >= 0; i-- {
		opens := newest.Add(-time.Duration(i) * interval.Duration())
		rows = append(rows, fmt.Sprintf(`[%d,"2.0","4.0","0.5","3.0","21.6",%d,"131.01",617,"12.2","74.4","0"]`,
			opens.UnixMilli(), opens.Add(interval.Duration()).UnixMilli()-1))
	}
	_, _ = io.WriteString(w, "["+strings.Join(rows, ",")+"]")
}

func TestConformance(t *testing.T) {
	v := newVenue()
	v.tick, v.minute = 20*time.Millisecond, 100*time.Millisecond
	e := &exchange{now: noon, answers: map[string]http.HandlerFunc{pathKlines: klines, pathStream: v.ServeHTTP}}
	upstream := islandtest.NewUpstream(t, e)
	islandtest.Run(t, islandtest.Subject{
		Manifest: manifest(),
		New:      func(testing.TB) sdk.IslandComponent { return newSource() },
		Settings: func(testing.TB) map[string]any {
			return map[string]any{"url": upstream.URL, "stream_url": "ws" + strings.TrimPrefix(upstream.URL, "http")}
		},
		Assets:    []sdk.Asset{{ID: "bitcoin", Symbol: "btc"}, {ID: "ethereum", Symbol: "eth"}, {Symbol: "sol"}},
		Unknown:   sdk.Asset{ID: "no-such-coin", Symbol: "nosuch"},
		Intervals: sdk.Intervals(),
		Break:     upstream.Break,
	})
	charted := slices.ContainsFunc(v.all(), func(s *socket) bool { return len(s.symbols(candleStream)) > 0 })
	if !charted || len(v.faults) > 0 {
		t.Errorf("%d connections to the streams, with candles: %v; faults: %v", len(v.all()), charted, v.faults)
	}
}
