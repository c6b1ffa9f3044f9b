package main

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
)

func TestQuotes(t *testing.T) {
	e := newExchange(t)
	s := e.started(t)
	s.now = func() time.Time { return time.Date(2026, 11, 25, 15, 30, 0, 0, time.UTC) }
	got, err := s.Quotes(t.Context(), sdk.QuotesRequest{Assets: []sdk.Asset{bitcoin, ether, doge, solana, nobody}, VsCurrency: "usd"})
	if err != nil {
		t.Fatal(err)
	}
	quote := func(a sdk.Asset, price, high, low, base, vwap float64) sdk.Quote {
		return sdk.Quote{
			ID: a.ID, Symbol: a.Symbol, VsCurrency: "usd", Source: "kraken-source", AsOf: s.now(),
			Price: sdk.Known(price), High24h: sdk.Known(high), Low24h: sdk.Known(low), Volume24h: sdk.Known(base * vwap),
		}
	}
	// Solana was not traded in the last 24 hours.
	want := []sdk.Quote{
		quote(bitcoin, 87250.1, 87933.3, 85420.1, 2467.30021877, 86801.20377),
		quote(ether, 2934.01, 2961, 2840.55, 31544.92337005, 2908.00319),
		quote(doge, 0.1521, 0.1539, 0.14744, 66010231.10330500, 0.1509920),
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if calls := e.called("Ticker"); len(calls) != 1 || calls[0] != "pair=ETHUSD%2CSOLUSD%2CXBTUSD%2CXDGUSD" {
		t.Errorf("asked %q", calls)
	}
	for currency, want := range map[string]error{"eur": nil, "btc": nil, "xxx": sdk.Unsupported} {
		if _, err := s.Quotes(t.Context(), sdk.QuotesRequest{Assets: []sdk.Asset{ether}, VsCurrency: currency}); !errors.Is(err, want) {
			t.Errorf("in %s: %v, want %v", currency, err, want)
		}
	}
}

// TestPairThatHasGone asks for the list again when a name in it is unknown by now.
func TestPairThatHasGone(t *testing.T) {
	e := newExchange(t)
	s := e.started(t)
	e.answer("Ticker", says(`{"error":["EQuery:Unknown asset pair"]}`))
	s.now = func() time.Time { return time.Now().Add(time.Duration(len(e.called("Ticker"))) * 2 * listPause) }
	_, err := s.Quotes(t.Context(), sdk.QuotesRequest{Assets: []sdk.Asset{bitcoin}, VsCurrency: "usd"})
	if !errors.Is(err, sdk.NotFound) || len(e.called("AssetPairs")) != 2 || len(e.called("Ticker")) != 2 {
		t.Errorf("%v; asked for %v and %v", err, e.called("AssetPairs"), e.called("Ticker"))
	}
	if health := s.Health(t.Context()); health.Status != sdk.StatusOK {
		t.Errorf("a pair that is unknown makes it %+v", health)
	}
}

func TestCatalogue(t *testing.T) {
	s := newExchange(t).started(t)
	got, err := s.Catalogue(t.Context(), sdk.CatalogueRequest{})
	want := []sdk.Asset{{Symbol: "btc"}, {Symbol: "doge"}, {Symbol: "eth"}, {Symbol: "sol"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

// TestWords gives an answer in each of Kraken's words.
func TestWords(t *testing.T) {
	now := time.Unix(1795564800, 0)
	for _, tc := range []struct {
		words    string
		kind     sdk.Kind
		after    time.Duration
		degraded bool
	}{
		{"EAPI:Rate limit exceeded", sdk.RateLimited, limitedFor, true},
		{"EGeneral:Too many requests", sdk.RateLimited, limitedFor, true},
		{"EService: Throttled: 1795564830", sdk.RateLimited, 30 * time.Second, true},
		{"EService:Throttled: soon", sdk.RateLimited, limitedFor, true},
		{"EGeneral:Temporary lockout", sdk.RateLimited, lockedFor, true},
		{"EService:Unavailable", sdk.Unavailable, 0, true},
		{"EService:Busy", sdk.Unavailable, 0, true},
		{"EGeneral:Internal error", sdk.Unavailable, 0, true},
		{"EGeneral:Permission denied", sdk.PermissionDenied, 0, true},
		{"EGeneral:Unknown method", sdk.BadUpstream, 0, true},
		{"EQuery:Unknown asset pair", sdk.NotFound, 0, false},
		{"EGeneral:Invalid arguments:interval", sdk.InvalidArgument, 0, false},
		{strings.Repeat("E\xff", 300), sdk.BadUpstream, 0, true},
	} {
		t.Run(tc.words[:min(len(tc.words), 30)], func(t *testing.T) {
			e := newExchange(t)
			s := e.started(t)
			s.now = func() time.Time { return now }
			e.answer("OHLC", says(fmt.Sprintf(`{"error":[%q]}`, tc.words)))
			if !strings.ContainsRune(tc.words, 0xfffd) && strings.Contains(tc.words, "\xff") {
				e.answer("OHLC", says(`{"error":["`+tc.words+`"]}`))
			}
			_, err := s.Candles(t.Context(), sdk.CandlesRequest{Asset: bitcoin, VsCurrency: "usd", Interval: sdk.Interval1h, Limit: 3})
			if !errors.Is(err, tc.kind) || sdk.RetryAfter(err) != tc.after || len(err.Error()) > 300 {
				t.Errorf("%v (%v, after %v), want %v after %v", err, sdk.KindOf(err), sdk.RetryAfter(err), tc.kind, tc.after)
			}
			if health := s.Health(t.Context()); (health.Status == sdk.StatusDegraded) != tc.degraded {
				t.Errorf("it is %+v", health)
			}
		})
	}
}

// TestLimited falls silent for longer each time, and is well again once a call gets through.
func TestLimited(t *testing.T) {
	e := newExchange(t)
	s := e.started(t)
	if _, err := s.listing(t.Context(), listAge, 0); err != nil {
		t.Fatal(err)
	}
	e.answer("Ticker", says(`{"error":["EAPI:Rate limit exceeded"]}`))
	request := sdk.QuotesRequest{Assets: []sdk.Asset{bitcoin}, VsCurrency: "usd"}
	_, err := s.Quotes(t.Context(), request)
	if !errors.Is(err, sdk.RateLimited) || sdk.RetryAfter(err) != limitedFor {
		t.Fatal(err)
	}
	if _, err := s.Quotes(t.Context(), request); !errors.Is(err, sdk.RateLimited) || len(e.called("Ticker")) != 1 {
		t.Errorf("%v; asked %d times", err, len(e.called("Ticker")))
	}
	limited := &sdk.Error{Kind: sdk.RateLimited, Message: "again"}
	for _, want := range []time.Duration{20 * time.Second, 40 * time.Second, 80 * time.Second, 160 * time.Second, mostLimited, mostLimited} {
		if got := s.trouble.begins(limited); got != want {
			t.Errorf("silent for %s, want %s", got, want)
		}
	}
	s.trouble.over()
	if got := s.trouble.begins(limited); got != limitedFor {
		t.Errorf("silent for %s after a success", got)
	}
}

// TestBusy tries again as often as it may, and no oftener.
func TestBusy(t *testing.T) {
	for retries, want := range map[int]error{0: sdk.Unavailable, 1: nil} {
		e := newExchange(t)
		s := e.started(t)
		e.answer("Ticker", func(w http.ResponseWriter, r *http.Request) {
			if len(e.called("Ticker")) == 1 {
				says(`{"error":["EService:Busy"]}`)(w, r)
				return
			}
			says(recorded(t, "ticker.json"))(w, r)
		})
		_, err := s.Quotes(t.Context(), sdk.QuotesRequest{Assets: []sdk.Asset{bitcoin}, VsCurrency: "usd", Retries: retries})
		if !errors.Is(err, want) || len(e.called("Ticker")) != retries+1 {
			t.Errorf("%d retries: %v after %d calls", retries, err, len(e.called("Ticker")))
		}
	}
}

// TestNonsense gets answers that are no answers.
func TestNonsense(t *testing.T) {
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		want   sdk.Kind
	}{
		"a page":             {says("<html>"), sdk.BadUpstream},
		"another form":       {says(`{"message":"ok","result":[[{"a":"b"}],"c",null]}`), sdk.BadUpstream},
		"no result":          {says(`{"error":[]}`), sdk.BadUpstream},
		"a list":             {says(`{"error":[],"result":[1,2]}`), sdk.BadUpstream},
		"another pair":       {says(`{"error":[],"result":{"XETHZUSD":[],"last":1}}`), sdk.BadUpstream},
		"no candle":          {says(`{"error":[],"result":{"XXBTZUSD":[],"last":1}}`), sdk.NotFound},
		"half a candle":      {says(`{"error":[],"result":{"XXBTZUSD":[[1795564800,"1","1"]],"last":1}}`), sdk.BadUpstream},
		"a price below zero": {says(`{"error":[],"result":{"XXBTZUSD":[[1795564800,"-1","1","1","1","1","1",1]],"last":1}}`), sdk.BadUpstream},
		"not found":          {refuses(http.StatusNotFound), sdk.BadUpstream},
		"the firewall":       {refuses(http.StatusForbidden), sdk.PermissionDenied},
		"too many":           {refuses(http.StatusTooManyRequests), sdk.RateLimited},
		"down":               {refuses(520), sdk.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			e := newExchange(t)
			s := e.started(t)
			e.answer("OHLC", tc.answer)
			_, err := s.Candles(t.Context(), sdk.CandlesRequest{Asset: bitcoin, VsCurrency: "usd", Interval: sdk.Interval1h, Limit: 3})
			if !errors.Is(err, tc.want) {
				t.Errorf("%v (%v), want %v", err, sdk.KindOf(err), tc.want)
			}
		})
	}
}

func TestRecordedCandles(t *testing.T) {
	e := newExchange(t)
	s := e.started(t)
	e.answer("OHLC", says(recorded(t, "ohlc.json")))
	candle := func(at int64, o, h, l, c, v float64, closed bool) sdk.Candle {
		return sdk.Candle{
			OpenTime: time.Unix(at, 0).UTC(), Open: sdk.Known(o), High: sdk.Known(h), Low: sdk.Known(l), Close: sdk.Known(c), Volume: sdk.Known(v), Closed: closed,
		}
	}
	for interval, tc := range map[sdk.Interval]struct {
		limit int
		query string
		want  []sdk.Candle
	}{
		sdk.Interval4h: {3, "interval=240", []sdk.Candle{
			candle(1795579200, 86401.9, 87100, 86380, 87050.5, 402.30021877, true),
			candle(1795593600, 87050.5, 87050.5, 87050.5, 87050.5, 0, true),
			candle(1795608000, 87050.5, 87800, 86990, 87250.1, 291.7011034, false),
		}},
		// Three of four hours each, from noon: the first one is complete, the second has begun.
		sdk.Interval12h: {10, "interval=240", []sdk.Candle{
			candle(1795564800, 86520.2, 87100, 86110, 87050.5, 310.51820113+402.30021877, true),
			candle(1795608000, 87050.5, 87800, 86990, 87250.1, 291.7011034, false),
		}},
	} {
		t.Run(string(interval), func(t *testing.T) {
			got, err := s.Candles(t.Context(), sdk.CandlesRequest{Asset: bitcoin, VsCurrency: "usd", Interval: interval, Limit: tc.limit})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.Items, tc.want) {
				t.Errorf("got %+v\nwant %+v", got.Items, tc.want)
			}
			calls := e.called("OHLC")
			if last := calls[len(calls)-1]; !strings.Contains(last, tc.query) || !strings.Contains(last, "pair=XBTUSD") {
				t.Errorf("asked %q", last)
			}
		})
	}
}

// TestLongRuns asks for more candles than there are, of every interval.
func TestLongRuns(t *testing.T) {
	s := newExchange(t).started(t)
	for interval, most := range map[sdk.Interval]int{sdk.Interval1m: 720, sdk.Interval1d: 720, sdk.Interval12h: 239, sdk.Interval1w: 102} {
		got, err := s.Candles(t.Context(), sdk.CandlesRequest{Asset: bitcoin, VsCurrency: "usd", Interval: interval, Limit: 1000})
		if n := len(got.Items); err != nil || n < most || n > most+1 {
			t.Errorf("%s: %d candles, %v; want %d", interval, n, err, most)
			continue
		}
		if first := got.Items[0].OpenTime; first.Sub(monday)%interval.Duration() != 0 {
			t.Errorf("%s begins at %s", interval, first)
		}
		whole := got.Items[1]
		if want := 21.6 * float64(recipes[interval].parts); whole.Volume.Or(0) < want-1e-6 || whole.Volume.Or(0) > want+1e-6 || !whole.Closed {
			t.Errorf("%s: %+v, want a volume of %v", interval, whole, want)
		}
	}
}

func TestSettingsThatCannotBeMeant(t *testing.T) {
	for name, tc := range map[string]struct {
		values  map[string]any
		setting string
	}{
		"no scheme":  {map[string]any{"url": "api.kraken.com"}, "url"},
		"no stream":  {map[string]any{"stream_url": "https://ws.kraken.com/v2"}, "stream_url"},
		"no budget":  {map[string]any{"calls_per_minute": 5}, "calls_per_minute"},
		"no timeout": {map[string]any{"timeout": "0s"}, "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			err := newSource().Initialize(t.Context(), sdk.Config{Name: "kraken-source", Values: tc.values})
			var wrong *sdk.Error
			if !errors.As(err, &wrong) || wrong.Kind != sdk.InvalidArgument || wrong.Setting != tc.setting {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestListIsSharedAndKept has many callers at once, then a Kraken that does not answer any more.
func TestListIsSharedAndKept(t *testing.T) {
	e := newExchange(t)
	s := e.started(t)
	errs := make(chan error, 20)
	for range cap(errs) {
		go func() {
			_, err := s.Catalogue(t.Context(), sdk.CatalogueRequest{})
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := len(e.called("AssetPairs")); n != 1 {
		t.Errorf("asked %d times", n)
	}
	e.answer("AssetPairs", refuses(http.StatusInternalServerError))
	s.now = func() time.Time { return time.Now().Add(2 * listAge) }
	if got, err := s.Catalogue(t.Context(), sdk.CatalogueRequest{}); err != nil || len(got) != 4 {
		t.Errorf("%v, %v", got, err)
	}
}
