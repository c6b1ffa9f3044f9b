package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
)

// minute is one row of klines that opens so many minutes after noon.
func minute(n int, price string) string {
	opens := noon.Truncate(time.Minute).Add(time.Duration(n) * time.Minute)
	return fmt.Sprintf(`[%d,"1.00000000","4.00000000","0.50000000",%q,"21.63272000",%d,"1313200.01",617,"12.2","745719.4","0"]`,
		opens.UnixMilli(), price, opens.Add(time.Minute).UnixMilli()-1)
}

func TestCandles(t *testing.T) {
	s, e := serve(t)
	e.answer(pathKlines, fail(200, "["+strings.Join([]string{
		minute(0, "3.5"), minute(-2, "2.5"), minute(-1, "9"), minute(-1, "3"), minute(-3, "0.00000000"),
	}, ",")+"]"))
	got, err := s.Candles(t.Context(), sdk.CandlesRequest{
		Asset: sdk.Asset{ID: "bitcoin", Symbol: "btc"}, VsCurrency: "usd", Interval: sdk.Interval1m, Limit: 500,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != "bitcoin" || got.Symbol != "btc" || got.VsCurrency != "usd" || got.Source != "binance" || got.Note != inTether ||
		got.Interval != sdk.Interval1m || !got.AsOf.Equal(noon) || len(got.Items) != 3 {
		t.Fatalf("got %+v", got)
	}
	start := noon.Truncate(time.Minute)
	for i, want := range []sdk.Candle{
		{OpenTime: start.Add(-2 * time.Minute), Close: sdk.Known(2.5), Closed: true},
		{OpenTime: start.Add(-time.Minute), Close: sdk.Known(3), Closed: true},
		{OpenTime: start, Close: sdk.Known(3.5), Closed: false},
	} {
		want.Open, want.High, want.Low, want.Volume = sdk.Known(1), sdk.Known(4), sdk.Known(0.5), sdk.Known(21.63272)
		if got.Items[i] != want {
			t.Errorf("candle %d: got %+v, want %+v", i, got.Items[i], want)
		}
	}
	asked, err := url.Parse(e.asked[0])
	if err != nil {
		t.Fatal(err)
	}
	if q := asked.Query(); q.Get("symbol") != "BTCUSDT" || q.Get("interval") != "1m" || q.Get("limit") != "500" || len(e.asked) != 1 {
		t.Errorf("asked %v", e.asked)
	}
}

func TestCandlesOfEveryInterval(t *testing.T) {
	s, e := serve(t)
	e.answer(pathKlines, fail(200, "["+minute(0, "1")+"]"))
	for _, interval := range sdk.Intervals() {
		if _, err := s.Candles(t.Context(), sdk.CandlesRequest{
			Asset: sdk.Asset{Symbol: "btc"}, VsCurrency: "usd", Interval: interval, Limit: 1,
		}); err != nil {
			t.Errorf("%s: %v", interval, err)
		}
	}
}

func TestCandleRequests(t *testing.T) {
	rows := "[" + minute(0, "1") + "]"
	for name, tc := range map[string]struct {
		symbol, vs string
		interval   sdk.Interval
		limit      int
		rows       string
		kind       sdk.Kind // Internal for none
		asks       string
	}{
		"euro":             {"btc", "eur", sdk.Interval1d, 10, rows, sdk.Internal, "BTCEUR"},
		"tether":           {"btc", "usdt", sdk.Interval1d, 10, rows, sdk.Internal, "BTCUSDT"},
		"no such pair":     {"eth", "eur", sdk.Interval1d, 10, rows, sdk.Unsupported, ""},
		"no such currency": {"btc", "xyz", sdk.Interval1d, 10, rows, sdk.Unsupported, ""},
		"split elsewhere":  {"b", "tcusdt", sdk.Interval1d, 10, rows, sdk.Unsupported, ""},
		"interval":         {"btc", "usd", "1M", 10, rows, sdk.Unsupported, ""},
		"limit":            {"btc", "usd", sdk.Interval1d, 1001, rows, sdk.InvalidArgument, ""},
		"no limit":         {"btc", "usd", sdk.Interval1d, 0, rows, sdk.InvalidArgument, ""},
		"odd symbol":       {"b/t", "usd", sdk.Interval1d, 10, rows, sdk.NotFound, ""},
		"no symbol":        {"", "usd", sdk.Interval1d, 10, rows, sdk.NotFound, ""},
		"never traded":     {"btc", "usd", sdk.Interval1d, 10, "[]", sdk.NotFound, "BTCUSDT"},
		"dead":             {"btc", "usd", sdk.Interval1d, 10, "[" + minute(0, "0.00000000") + "]", sdk.NotFound, "BTCUSDT"},
	} {
		t.Run(name, func(t *testing.T) {
			s, e := serve(t)
			e.answer(pathKlines, fail(200, tc.rows))
			got, err := s.Candles(t.Context(), sdk.CandlesRequest{
				Asset: sdk.Asset{Symbol: tc.symbol}, VsCurrency: tc.vs, Interval: tc.interval, Limit: tc.limit,
			})
			if (tc.kind == sdk.Internal) != (err == nil) || (err != nil && !errors.Is(err, tc.kind)) {
				t.Errorf("got %+v, %v", got, err)
			}
			if n := e.count(pathKlines); (tc.asks != "") != (n == 1) || !strings.Contains(strings.Join(e.asked, " "), tc.asks) {
				t.Errorf("asked %v, want %q", e.asked, tc.asks)
			}
		})
	}
}

func TestANoteSaysThatAPairIsNoLongerTraded(t *testing.T) {
	for name, tc := range map[string]struct {
		vs, row, note string
	}{
		"traded":           {"usd", minute(0, "1"), inTether},
		"halted for a day": {"usd", minute(-24*60, "1"), inTether},
		"delisted":         {"usd", minute(-8*24*60, "1"), inTether + "; not traded since 2026-05-10"},
		"delisted in usdt": {"usdt", minute(-8*24*60, "1"), "not traded since 2026-05-10"},
	} {
		t.Run(name, func(t *testing.T) {
			s, e := serve(t)
			e.answer(pathKlines, fail(200, "["+tc.row+"]"))
			got, err := s.Candles(t.Context(), sdk.CandlesRequest{
				Asset: sdk.Asset{Symbol: "btc"}, VsCurrency: tc.vs, Interval: sdk.Interval1m, Limit: 10,
			})
			if err != nil || got.Note != tc.note {
				t.Errorf("note %q, %v; want %q", got.Note, err, tc.note)
			}
		})
	}
}

func FuzzKlines(f *testing.F) {
	f.Add([]byte("[" + minute(0, "1") + "," + minute(-1, "2") + "]"))
	f.Add([]byte(`[[1,"1","1","1","1","1",2],[1,"1","1","1","1","1",2]]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var rows []kline
		if json.Unmarshal(text, &rows) != nil {
			return
		}
		items := candlesOf(rows, noon)
		for i, c := range items {
			if !c.Close.IsKnown() || c.Close.Or(0) <= 0 || (i > 0 && !c.OpenTime.After(items[i-1].OpenTime)) {
				t.Fatalf("candle %d of %+v is out of place", i, items)
			}
		}
	})
}
