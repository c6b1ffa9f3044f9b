package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/service-islands/islands/sdk"
)

// noon is the time of the tests' clock, with nanoseconds that must not be lost.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 123456789, time.UTC)

// exactly compares figures by their bits.
var exactly = cmp.Options{cmp.Comparer(func(a, b sdk.Number) bool {
	x, xKnown := a.Float64()
	y, yKnown := b.Float64()
	return xKnown == yKnown && math.Float64bits(x) == math.Float64bits(y)
})}

func same(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, exactly); diff != "" {
		t.Errorf("not what was saved (-want +got):\n%s", diff)
	}
}

func wantKind(t *testing.T, err error, want sdk.Kind) {
	t.Helper()
	if err == nil || !errors.Is(err, want) {
		t.Errorf("got error %v, want one of kind %q", err, want)
	}
}

func TestRefusals(t *testing.T) {
	s := opened(t)
	save(t, s, quote("btc", noon, 1), quote("btc", noon.Add(1), 2))
	first := everything("btc")
	first.Limit = 1
	page, err := s.History(t.Context(), first)
	if err != nil || page.Next == "" {
		t.Fatal(page, err)
	}
	ask := func(change func(*sdk.HistoryRequest)) func(context.Context) error {
		return func(ctx context.Context) error {
			req := first
			change(&req)
			_, err := s.History(ctx, req)
			return err
		}
	}
	saveOne := func(change func(*sdk.Quote)) func(context.Context) error {
		return func(ctx context.Context) error {
			q := quote("btc", noon.Add(time.Hour), 1)
			change(&q)
			return s.SaveQuotes(ctx, []sdk.Quote{quote("refused", noon, 1), q})
		}
	}
	saveSeries := func(change func(*sdk.Candles)) func(context.Context) error {
		return func(ctx context.Context) error {
			c := daily("one", noon, candle(0, 1, true))
			change(&c)
			return s.SaveCandles(ctx, []sdk.Candles{daily("refused", noon, candle(0, 1, true)), c})
		}
	}
	candles := func(change func(*sdk.CandlesRequest)) func(context.Context) error {
		return func(ctx context.Context) error {
			req := days(1)
			change(&req)
			_, err := s.StoredCandles(ctx, req)
			return err
		}
	}
	for _, test := range []struct {
		name string
		call func(context.Context) error
	}{
		{"history: limit 0", ask(func(r *sdk.HistoryRequest) { r.Limit = 0 })},
		{"history: limit 1001", ask(func(r *sdk.HistoryRequest) { r.Limit = 1001 })},
		{"history: no symbol", ask(func(r *sdk.HistoryRequest) { r.Symbol = "" })},
		{"history: no currency", ask(func(r *sdk.HistoryRequest) { r.VsCurrency = "" })},
		{"history: a word as cursor", ask(func(r *sdk.HistoryRequest) { r.Cursor = "next" })},
		{"history: a cut cursor", ask(func(r *sdk.HistoryRequest) { r.Cursor = page.Next[:len(page.Next)-4] })},
		{"history: a longer cursor", ask(func(r *sdk.HistoryRequest) { r.Cursor = page.Next + "AAAA" })},
		{"history: another cursor", ask(func(r *sdk.HistoryRequest) { r.Cursor = "A" + page.Next[1:] })},
		{"history: a cursor of another symbol", ask(func(r *sdk.HistoryRequest) { r.Symbol, r.Cursor = "eth", page.Next })},
		{"history: a huge cursor", ask(func(r *sdk.HistoryRequest) { r.Cursor = strings.Repeat("A", 1<<16) })},
		{"quote: no id and no symbol", saveOne(func(q *sdk.Quote) { q.ID, q.Symbol = "", "" })},
		{"quote: no currency", saveOne(func(q *sdk.Quote) { q.VsCurrency = "" })},
		{"quote: no source", saveOne(func(q *sdk.Quote) { q.Source = "" })},
		{"quote: no time", saveOne(func(q *sdk.Quote) { q.AsOf = time.Time{} })},
		{"quote: a time too far", saveOne(func(q *sdk.Quote) { q.AsOf = noon.AddDate(300, 0, 0) })},
		{"quote: a zero byte", saveOne(func(q *sdk.Quote) { q.Symbol = "b\x00c" })},
		{"quote: no text", saveOne(func(q *sdk.Quote) { q.ID = "\xff" })},
		{"quote: too long", saveOne(func(q *sdk.Quote) { q.Source = strings.Repeat("x", 257) })},
		{"candles: no id and no symbol", saveSeries(func(c *sdk.Candles) { c.ID, c.Symbol = "", "" })},
		{"candles: no such interval", saveSeries(func(c *sdk.Candles) { c.Interval = "2d" })},
		{"candles: no source", saveSeries(func(c *sdk.Candles) { c.Source = "" })},
		{"candles: no currency", saveSeries(func(c *sdk.Candles) { c.VsCurrency = "" })},
		{"candles: no open time", saveSeries(func(c *sdk.Candles) { c.Items = []sdk.Candle{{}} })},
		{"stored candles: limit 0", candles(func(r *sdk.CandlesRequest) { r.Limit = 0 })},
		{"stored candles: limit 1001", candles(func(r *sdk.CandlesRequest) { r.Limit = 1001 })},
		{"stored candles: no such interval", candles(func(r *sdk.CandlesRequest) { r.Interval = "" })},
		{"stored candles: no asset", candles(func(r *sdk.CandlesRequest) { r.Asset = sdk.Asset{} })},
		{"stored candles: no currency", candles(func(r *sdk.CandlesRequest) { r.VsCurrency = "" })},
		{"remember: no key", func(ctx context.Context) error {
			return s.Remember(ctx, []sdk.Entry{entry("refused", "v"), entry("", "v")})
		}},
		{"remember: a key too long", func(ctx context.Context) error {
			return s.Remember(ctx, []sdk.Entry{entry("refused", "v"), entry(strings.Repeat("x", 1025), "v")})
		}},
		{"recall: a zero byte", func(ctx context.Context) error { _, err := s.Recall(ctx, []string{"a\x00"}); return err }},
		{"forget: a zero byte", func(ctx context.Context) error { _, err := s.Forget(ctx, []string{"a\x00*"}); return err }},
	} {
		t.Run(test.name, func(t *testing.T) { wantKind(t, test.call(t.Context()), sdk.InvalidArgument) })
	}

	t.Run("nothing of a refused batch is kept", func(t *testing.T) {
		if got := history(t, s, everything("refused")); got != nil {
			t.Errorf("got %v", got)
		}
		if got, err := s.Recall(t.Context(), []string{"refused"}); err != nil || len(got) != 0 {
			t.Errorf("got %v, %v", got, err)
		}
		_, err := s.StoredCandles(t.Context(), days(1))
		wantKind(t, err, sdk.NotFound)
	})
}

func TestNothingToDoIsNoError(t *testing.T) {
	s := opened(t)
	if err := errors.Join(s.SaveQuotes(t.Context(), nil), s.SaveCandles(t.Context(), nil),
		s.SaveCandles(t.Context(), []sdk.Candles{daily("one", noon)}), s.Remember(t.Context(), nil)); err != nil {
		t.Error(err)
	}
	if got, err := s.Recall(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := s.Forget(t.Context(), nil); err != nil || got != 0 {
		t.Errorf("got %v, %v", got, err)
	}
	_, err := s.StoredCandles(t.Context(), days(1))
	wantKind(t, err, sdk.NotFound)
}

func TestManyWritersAtOnce(t *testing.T) {
	s := opened(t)
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := range 8 {
				var quotes []sdk.Quote
				var series []sdk.Candles
				var entries []sdk.Entry
				for j := range 10 {
					// The same rows for all, in different orders, which is what locks each other out where it can.
					k := (j*3 + w*7) % 10
					quotes = append(quotes, quote("btc", noon.Add(time.Duration(i*10+k)*time.Second), float64(k)))
					series = append(series, daily(fmt.Sprint("source-", k), noon, candle(i, float64(k), true)))
					entries = append(entries, entry(fmt.Sprint("key-", k), "v"))
				}
				_, forgot := s.Forget(t.Context(), []string{"key-1", "key-5*"})
				if err := errors.Join(s.SaveQuotes(t.Context(), quotes), s.SaveCandles(t.Context(), series),
					s.Remember(t.Context(), entries), forgot); err != nil {
					t.Error(err)
				}
				if _, err := s.History(t.Context(), everything("btc")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	if got := len(history(t, s, everything("btc"))); got != 80 {
		t.Errorf("%d quotes, want 80", got)
	}
	found, err := s.StoredCandles(t.Context(), days(1000))
	if err != nil || len(found.Items) != 8 {
		t.Errorf("%d candles, %v; want 8", len(found.Items), err)
	}
}

func TestEndedContexts(t *testing.T) {
	s := opened(t)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for _, test := range []struct {
		name string
		ctx  context.Context
		want sdk.Kind
	}{
		{"canceled", canceled, sdk.Canceled},
		{"too late", late, sdk.DeadlineExceeded},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := s.History(test.ctx, everything("btc"))
			wantKind(t, err, test.want)
			_, err = s.StoredCandles(test.ctx, days(1))
			wantKind(t, err, test.want)
			_, err = s.Recall(test.ctx, []string{"k"})
			wantKind(t, err, test.want)
			_, err = s.Forget(test.ctx, []string{"k"})
			wantKind(t, err, test.want)
			wantKind(t, s.SaveQuotes(test.ctx, []sdk.Quote{quote("btc", noon, 1)}), test.want)
			wantKind(t, s.SaveCandles(test.ctx, []sdk.Candles{daily("one", noon, candle(0, 1, true))}), test.want)
			wantKind(t, s.Remember(test.ctx, []sdk.Entry{entry("k", "v")}), test.want)
		})
	}
	if got := history(t, s, everything("btc")); got != nil {
		t.Errorf("a call that failed saved %v", got)
	}
	if health := s.Health(t.Context()); health.Status != sdk.StatusOK {
		t.Errorf("callers that went away make the store %v", health)
	}
}

func TestACallThatIsCutIsUndone(t *testing.T) {
	s := opened(t)
	var quotes []sdk.Quote
	for i := range 20000 {
		quotes = append(quotes, quote("btc", noon.Add(time.Duration(i)), float64(i)))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := s.SaveQuotes(ctx, quotes)
	if err == nil {
		t.Fatal("20,000 quotes were saved within 15 ms")
	}
	wantKind(t, err, sdk.DeadlineExceeded)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the call went on for %v", took)
	}
	if got := history(t, s, everything("btc")); got != nil {
		t.Errorf("%d quotes of a cut call are kept", len(got))
	}
	save(t, s, quotes[0])
}

func TestBeforeAndAfter(t *testing.T) {
	s := newStore()
	wantKind(t, s.SaveQuotes(t.Context(), nil), sdk.Unavailable)
	if health := s.Health(t.Context()); health.Status != sdk.StatusFailed {
		t.Errorf("a store that was never opened is %v", health)
	}
	if _, err := s.Metrics(t.Context()); err != nil {
		t.Error(err)
	}
	if err := errors.Join(s.Shutdown(t.Context()), s.Shutdown(t.Context())); err != nil {
		t.Error(err)
	}

	s = opened(t)
	if health := s.Health(t.Context()); health.Status != sdk.StatusOK {
		t.Errorf("an open store is %v", health)
	}
	if err := s.Initialize(t.Context(), sdk.Config{Values: values(t)}); err == nil {
		t.Error("a store can be initialized twice")
	}
	save(t, s, quote("btc", noon, 1))
	if err := errors.Join(s.Shutdown(t.Context()), s.Shutdown(t.Context())); err != nil {
		t.Error(err)
	}
	_, err := s.History(t.Context(), everything("btc"))
	wantKind(t, err, sdk.Unavailable)
	if health := s.Health(t.Context()); health.Status != sdk.StatusFailed {
		t.Errorf("a closed store is %v", health)
	}
}

func TestMetrics(t *testing.T) {
	s := opened(t)
	save(t, s, quote("btc", noon, 1), quote("btc", noon.Add(1), 1))
	_, err := s.StoredCandles(t.Context(), days(1))
	wantKind(t, err, sdk.NotFound)
	for _, test := range []struct {
		name   string
		labels map[string]string
		want   float64
	}{
		{"db_rows_written_total", nil, 2},
		{"db_operations_total", map[string]string{"operation": "save_quotes", "outcome": "ok"}, 1},
		{"db_operations_total", map[string]string{"operation": "stored_candles", "outcome": "not_found"}, 1},
		{"db_pool_in_use", nil, 0},
	} {
		if got := value(t, s, test.name, test.labels); got != test.want {
			t.Errorf("%s%v is %v, want %v", test.name, test.labels, got, test.want)
		}
	}
	for _, name := range []string{"db_pool_waits_total", "db_pool_wait_seconds_total"} {
		if got := value(t, s, name, nil); got < 0 {
			t.Errorf("%s is %v", name, got)
		}
	}
	total, idle := value(t, s, "db_pool_total", nil), value(t, s, "db_pool_idle", nil)
	if total < 1 || idle != total {
		t.Errorf("%v connections, %v of them idle", total, idle)
	}
	part, ok := s.Health(t.Context()).Part("database")
	if !ok || part.Details["mode"] == nil || part.Details["pool_total"] == nil {
		t.Errorf("health shows %v", part)
	}
}

func value(t *testing.T, s *store, name string, labels map[string]string) float64 {
	t.Helper()
	metrics, err := s.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, ok := metrics.Value(name, labels)
	if !ok {
		t.Errorf("no metric %s%v", name, labels)
	}
	return got
}
