package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
)

// midnight is 00:00 UTC, some days after 16 May 2026.
func midnight(days int) time.Time { return time.Date(2026, 5, 16+days, 0, 0, 0, 0, time.UTC) }

// chartOf writes a reply of /market_chart; a negative price is written as null.
func chartOf(at []time.Time, prices []float64) string {
	pairs := make([]string, len(at))
	for i := range at {
		price := fmt.Sprint(prices[i])
		if prices[i] < 0 {
			price = "null"
		}
		pairs[i] = fmt.Sprintf("[%d,%s]", at[i].UnixMilli(), price)
	}
	list := "[" + strings.Join(pairs, ",") + "]"
	return fmt.Sprintf(`{"prices":%s,"market_caps":%s,"total_volumes":%s}`, list, list, list)
}

// show writes candles so that tables can hold them: "16T00=5" is an open candle, "16T00=5c" a closed one.
func show(items []sdk.Candle) string {
	var out []string
	for _, c := range items {
		text := c.OpenTime.UTC().Format("02T15:04") + "=" + c.Close.String()
		if c.Closed {
			text += "c"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func TestDailyCloses(t *testing.T) {
	now := noon // 18 May
	for name, tc := range map[string]struct {
		at     []time.Time
		prices []float64
		want   string
	}{
		"a price at midnight closes the day before": {
			[]time.Time{midnight(0), midnight(1), midnight(2), now},
			[]float64{10, 11, 12, 13},
			"15T00:00=10c 16T00:00=11c 17T00:00=12c 18T00:00=13",
		},
		"jitter around midnight": {
			[]time.Time{midnight(0).Add(4 * time.Second), midnight(1).Add(-3 * time.Second), midnight(2).Add(time.Minute), now},
			[]float64{10, 11, 12, 13},
			"15T00:00=10c 16T00:00=11c 17T00:00=12c 18T00:00=13",
		},
		"the last two out of order": {
			[]time.Time{midnight(1), now, midnight(2)},
			[]float64{11, 13, 12},
			"16T00:00=11c 17T00:00=12c 18T00:00=13",
		},
		"doubles: the nearest to midnight counts": {
			[]time.Time{midnight(1), midnight(1).Add(time.Second), midnight(2), midnight(2), now},
			[]float64{11, 99, 12, 12, 13},
			"16T00:00=11c 17T00:00=12c 18T00:00=13",
		},
		"the newest price just after midnight is a close as well": {
			[]time.Time{midnight(1), midnight(2).Add(20 * time.Second)},
			[]float64{11, 12},
			"16T00:00=11c 17T00:00=12c 18T00:00=12",
		},
		"the newest price just before midnight is not": {
			[]time.Time{midnight(1), midnight(2).Add(-20 * time.Second)},
			[]float64{11, 12},
			"16T00:00=11c 17T00:00=12",
		},
		"two prices just before midnight": {
			[]time.Time{midnight(1), midnight(2).Add(-30 * time.Second), midnight(2).Add(-20 * time.Second)},
			[]float64{11, 12, 13},
			"16T00:00=11c 17T00:00=13",
		},
		"the first price of a coin that was listed in the morning closes nothing": {
			[]time.Time{midnight(0).Add(9 * time.Hour), midnight(1), midnight(2), now},
			[]float64{10, 11, 12, 13},
			"16T00:00=11c 17T00:00=12c 18T00:00=13",
		},
		"nor does one of the evening, nor one of more than an hour past midnight": {
			[]time.Time{midnight(0).Add(22 * time.Hour), midnight(2).Add(61 * time.Minute), now},
			[]float64{10, 12, 13},
			"18T00:00=13",
		},
		"an hour off is near enough": {
			[]time.Time{midnight(0).Add(time.Hour), midnight(1).Add(-time.Hour), now},
			[]float64{10, 11, 13},
			"15T00:00=10c 16T00:00=11c 18T00:00=13",
		},
		"nulls are left out": {
			[]time.Time{midnight(0), midnight(1), now},
			[]float64{10, -1, 13},
			"15T00:00=10c 18T00:00=13",
		},
		"the current price alone": {[]time.Time{now}, []float64{13}, "18T00:00=13"},
	} {
		t.Run(name, func(t *testing.T) {
			s, g := serve(t, now, body(chartOf(tc.at, tc.prices)))
			got, err := s.Candles(t.Context(), sdk.CandlesRequest{
				Asset: sdk.Asset{ID: "bitcoin", Symbol: "btc"}, VsCurrency: "usd", Interval: sdk.Interval1d, Limit: 365,
			})
			if err != nil {
				t.Fatal(err)
			}
			if show(got.Items) != tc.want {
				t.Errorf("got  %s\nwant %s", show(got.Items), tc.want)
			}
			for _, c := range got.Items {
				if c.Open.IsKnown() || c.High.IsKnown() || c.Low.IsKnown() || c.Volume.IsKnown() {
					t.Errorf("%+v: only the close can be known", c)
				}
			}
			if got.ID != "bitcoin" || got.Symbol != "btc" || got.VsCurrency != "usd" || got.Source != "gecko" ||
				got.Interval != sdk.Interval1d || !strings.Contains(got.Note, "closes only") {
				t.Errorf("got %+v", got)
			}
			if r := g.requests()[0]; r.URL.Path != "/api/v3/coins/bitcoin/market_chart" || g.query(0).Get("days") != "365" {
				t.Errorf("asked for %s", r.URL)
			}
		})
	}
}

func TestDays(t *testing.T) {
	chart := chartOf([]time.Time{midnight(1), midnight(2), noon}, []float64{1, 2, 3})
	bars := `[[1779105600000,1,2,0.5,1.5]]`
	for name, tc := range map[string]struct {
		interval sdk.Interval
		limit    int
		plan     string
		days     string
		note     string
	}{
		"few days still ask for more than 90": {sdk.Interval1d, 30, "auto", "91", ""},
		"a year":                              {sdk.Interval1d, 364, "auto", "365", ""},
		"beyond the wall":                     {sdk.Interval1d, 400, "auto", "365", "365 days at most"},
		"pro has no wall":                     {sdk.Interval1d, 400, "pro", "401", ""},
		"hours":                               {sdk.Interval1h, 24, "auto", "2", ""},
		"many hours":                          {sdk.Interval1h, 1000, "auto", "43", ""},
		"half hours":                          {sdk.Interval30m, 48, "auto", "1", "without volumes"},
		"too many half hours":                 {sdk.Interval30m, 100, "auto", "1", "the past 48 candles at most"},
		"4h, a week":                          {sdk.Interval4h, 41, "auto", "7", ""},
		"4h, two weeks":                       {sdk.Interval4h, 42, "auto", "14", ""},
		"4h, a month":                         {sdk.Interval4h, 180, "auto", "30", ""},
		"4h, more than there is":              {sdk.Interval4h, 500, "auto", "30", "the past 180 candles at most"},
	} {
		t.Run(name, func(t *testing.T) {
			s, g := serve(t, noon, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/ohlc") {
					body(bars)(w, r)
					return
				}
				body(chart)(w, r)
			}, "plan", tc.plan)
			got, err := s.Candles(t.Context(), sdk.CandlesRequest{
				Asset: sdk.Asset{ID: "bitcoin", Symbol: "btc"}, VsCurrency: "usd", Interval: tc.interval, Limit: tc.limit,
			})
			if err != nil {
				t.Fatal(err)
			}
			if g.query(0).Get("days") != tc.days || !strings.Contains(got.Note, tc.note) {
				t.Errorf("asked for %s days, note %q; want %s and %q", g.query(0).Get("days"), got.Note, tc.days, tc.note)
			}
			if tc.note == "" && strings.Contains(got.Note, "at most") {
				t.Errorf("note %q though nothing is missing", got.Note)
			}
		})
	}
}

func TestHourlyCloses(t *testing.T) {
	at := func(h, m int) time.Time { return time.Date(2026, 5, 18, h, m, 0, 0, time.UTC) }
	for name, tc := range map[string]struct {
		at     []time.Time
		prices []float64
		want   string
	}{
		"jitter, the last two out of order": {
			[]time.Time{at(8, 4), at(9, 6), at(10, 2), at(11, 40), at(11, 3)},
			[]float64{8, 9, 10, 12, 11},
			"18T09:00=10c 18T10:00=11c 18T11:00=12",
		},
		"what lies between two hours closes neither": {
			[]time.Time{at(8, 29), at(9, 10), at(9, 49), at(11, 40)},
			[]float64{8, 9, 10, 12},
			"18T08:00=9c 18T11:00=12",
		},
		"ten minutes off are near enough": {
			[]time.Time{at(8, 50), at(10, 11), at(11, 40)},
			[]float64{9, 10, 12},
			"18T08:00=9c 18T11:00=12",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := serve(t, at(11, 40), body(chartOf(tc.at, tc.prices)))
			got, err := s.Candles(t.Context(), sdk.CandlesRequest{
				Asset: sdk.Asset{ID: "bitcoin"}, VsCurrency: "usd", Interval: sdk.Interval1h, Limit: 3,
			})
			if err != nil || show(got.Items) != tc.want {
				t.Errorf("got %s, %v; want %s", show(got.Items), err, tc.want)
			}
		})
	}
}

// TestAsOf sees that candles out of CoinGecko's cache do not look as if they were of now.
func TestAsOf(t *testing.T) {
	bars := func(closes ...time.Time) string {
		var rows []string
		for _, at := range closes {
			rows = append(rows, fmt.Sprintf("[%d,1,2,0.5,1.5]", at.UnixMilli()))
		}
		return "[" + strings.Join(rows, ",") + "]"
	}
	early := noon.Add(-7 * time.Hour)
	for name, tc := range map[string]struct {
		interval sdk.Interval
		reply    string
		want     time.Time
	}{
		"as fresh as can be":      {sdk.Interval1d, chartOf([]time.Time{midnight(2), noon}, []float64{1, 2}), noon},
		"cached":                  {sdk.Interval1d, chartOf([]time.Time{midnight(2), early}, []float64{1, 2}), early},
		"cached, hourly":          {sdk.Interval1h, chartOf([]time.Time{early.Add(-time.Hour), early}, []float64{1, 2}), early},
		"out of order":            {sdk.Interval1d, chartOf([]time.Time{early, midnight(2)}, []float64{2, 1}), early},
		"the newest one is null":  {sdk.Interval1d, chartOf([]time.Time{midnight(2), early}, []float64{1, -1}), midnight(2)},
		"ahead of this clock":     {sdk.Interval1d, chartOf([]time.Time{midnight(2), noon.Add(time.Minute)}, []float64{1, 2}), noon},
		"an open candle":          {sdk.Interval4h, bars(noon, noon.Add(4*time.Hour)), noon},
		"cached, no open candle":  {sdk.Interval30m, bars(early.Add(-30*time.Minute), early), early},
		"candles in mixed orders": {sdk.Interval30m, bars(early, early.Add(-30*time.Minute)), early},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := serve(t, noon, body(tc.reply))
			got, err := s.Candles(t.Context(), sdk.CandlesRequest{
				Asset: sdk.Asset{ID: "bitcoin"}, VsCurrency: "usd", Interval: tc.interval, Limit: 1,
			})
			if err != nil || !got.AsOf.Equal(tc.want) || got.AsOf.Location() != time.UTC {
				t.Errorf("as of %s, %v; want %s", got.AsOf, err, tc.want)
			}
		})
	}
}

func TestOHLC(t *testing.T) {
	now := time.Date(2026, 5, 18, 12, 10, 0, 0, time.UTC)
	stamp := func(h, m int) int64 { return time.Date(2026, 5, 18, h, m, 0, 0, time.UTC).UnixMilli() }
	s, _ := serve(t, now, body(fmt.Sprintf(`[[%d,1,4,0.5,2],[%d,3,3.5,2.5,3],[%d,2,3,1,3]]`, stamp(11, 30), stamp(12, 30), stamp(12, 0))))
	got, err := s.Candles(t.Context(), sdk.CandlesRequest{
		Asset: sdk.Asset{ID: "bitcoin"}, VsCurrency: "usd", Interval: sdk.Interval30m, Limit: 10,
	})
	if want := "18T11:00=2c 18T11:30=3c 18T12:00=3"; err != nil || show(got.Items) != want {
		t.Fatalf("got %s, %v; want %s: the stamp is the close time, the last one in the future", show(got.Items), err, want)
	}
	c := got.Items[0]
	if c.Open != sdk.Known(1) || c.High != sdk.Known(4) || c.Low != sdk.Known(0.5) || c.Volume.IsKnown() {
		t.Errorf("got %+v", c)
	}
}

func TestCandlesOfAnotherLengthAreRefused(t *testing.T) {
	s, _ := serve(t, noon, body(fmt.Sprintf(`[[%d,1,1,1,1],[%d,1,1,1,1]]`, midnight(-4).UnixMilli(), midnight(0).UnixMilli())))
	for _, interval := range []sdk.Interval{sdk.Interval30m, sdk.Interval4h} {
		_, err := s.Candles(t.Context(), sdk.CandlesRequest{
			Asset: sdk.Asset{ID: "bitcoin"}, VsCurrency: "usd", Interval: interval, Limit: 10,
		})
		if !errors.Is(err, sdk.BadUpstream) {
			t.Errorf("%s out of candles of four days: %v", interval, err)
		}
	}
}

func TestCandleFaults(t *testing.T) {
	ask := func(r sdk.CandlesRequest) sdk.CandlesRequest {
		if r.Asset == (sdk.Asset{}) {
			r.Asset = sdk.Asset{ID: "bitcoin", Symbol: "btc"}
		}
		if r.Interval == "" {
			r.Interval = sdk.Interval1d
		}
		if r.Limit == 0 {
			r.Limit = 30
		}
		r.VsCurrency = "usd"
		return r
	}
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		req    sdk.CandlesRequest
		kind   sdk.Kind
	}{
		"interval":           {body("{}"), sdk.CandlesRequest{Interval: sdk.Interval5m}, sdk.Unsupported},
		"weeks":              {body("{}"), sdk.CandlesRequest{Interval: sdk.Interval1w}, sdk.Unsupported},
		"limit":              {body("{}"), sdk.CandlesRequest{Limit: 1001}, sdk.InvalidArgument},
		"dots":               {body("{}"), sdk.CandlesRequest{Asset: sdk.Asset{ID: ".."}}, sdk.NotFound},
		"unknown coin":       {status(404, `{"error":"coin not found"}`), sdk.CandlesRequest{}, sdk.NotFound},
		"unknown symbol":     {body("[]"), sdk.CandlesRequest{Asset: sdk.Asset{Symbol: "nope"}}, sdk.NotFound},
		"no prices":          {body(`{"prices":[]}`), sdk.CandlesRequest{}, sdk.NotFound},
		"days":               {status(400, `{"error":"Invalid days parameter"}`), sdk.CandlesRequest{}, sdk.InvalidArgument},
		"beyond the wall":    {status(401, `{"error":{"status":{"error_code":10012,"error_message":"time range"}}}`), sdk.CandlesRequest{}, sdk.Unsupported},
		"for subscribers":    {status(401, `{"status":{"error_code":10005,"error_message":"PRO"}}`), sdk.CandlesRequest{}, sdk.Unsupported},
		"currency":           {status(400, `{"error":"invalid vs_currency"}`), sdk.CandlesRequest{}, sdk.Unsupported},
		"short point":        {body(`{"prices":[[1]]}`), sdk.CandlesRequest{}, sdk.BadUpstream},
		"stamp out of range": {body(`{"prices":[[1e30,1]]}`), sdk.CandlesRequest{}, sdk.BadUpstream},
		"null stamp":         {body(`{"prices":[[null,1]]}`), sdk.CandlesRequest{}, sdk.BadUpstream},
		"short candle":       {body(`[[1,2,3]]`), sdk.CandlesRequest{Interval: sdk.Interval4h}, sdk.BadUpstream},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := serve(t, noon, tc.answer)
			_, err := s.Candles(t.Context(), ask(tc.req))
			if err == nil || sdk.KindOf(err) != tc.kind {
				t.Errorf("got %v, want %q", err, tc.kind)
			}
		})
	}
}

func TestCandlesBySymbol(t *testing.T) {
	s, g := serve(t, noon, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/coins/markets") {
			body("["+bitcoin+"]")(w, r)
			return
		}
		body(chartOf([]time.Time{noon}, []float64{5}))(w, r)
	})
	got, err := s.Candles(t.Context(), sdk.CandlesRequest{
		Asset: sdk.Asset{Symbol: "btc"}, VsCurrency: "usd", Interval: sdk.Interval1d, Limit: 1,
	})
	if err != nil || got.ID != "bitcoin" || !strings.Contains(got.Note, resolved) || len(g.requests()) != 2 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func FuzzChart(f *testing.F) {
	f.Add([]byte(chartOf([]time.Time{midnight(0), noon, midnight(1)}, []float64{1, -1, 3})))
	f.Add([]byte(`{"prices":[[1779105600000,1,2,0.5,1.5],[1779105600001,1,2,0.5,1.5]]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var chart struct {
			Prices []point `json:"prices"`
		}
		if json.Unmarshal(text, &chart) == nil {
			inOrder(t, closesOf(chart.Prices, day, noon).items, day)
			inOrder(t, closesOf(chart.Prices, time.Hour, noon).items, time.Hour)
		}
		var bars struct {
			Prices []bar `json:"prices"`
		}
		if json.Unmarshal(text, &bars) == nil {
			if out, err := candlesOf(bars.Prices, 4*time.Hour, noon); err == nil {
				inOrder(t, out.items, 4*time.Hour)
			}
		}
	})
}

// inOrder checks that candles rise, without doubles, aligned to their interval, and that none of the future is closed.
func inOrder(t *testing.T, items []sdk.Candle, interval time.Duration) {
	t.Helper()
	for i, c := range items {
		if !c.OpenTime.Equal(c.OpenTime.Truncate(interval)) || !c.Close.IsKnown() ||
			(c.Closed && c.OpenTime.Add(interval).After(noon)) || (i > 0 && !c.OpenTime.After(items[i-1].OpenTime)) {
			t.Fatalf("candle %d of %s is out of place", i, show(items))
		}
	}
}
