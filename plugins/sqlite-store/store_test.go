package main

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/service-islands/islands/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

func quote(symbol string, asOf time.Time, price float64) sdk.Quote {
	return sdk.Quote{ID: "the-" + symbol, Symbol: symbol, VsCurrency: "usd", Source: "one", AsOf: asOf, Price: sdk.Known(price)}
}

func save(t *testing.T, s *store, quotes ...sdk.Quote) {
	t.Helper()
	if err := s.SaveQuotes(t.Context(), quotes); err != nil {
		t.Fatal(err)
	}
}

// history walks all pages.
func history(t *testing.T, s *store, req sdk.HistoryRequest) []sdk.Quote {
	t.Helper()
	var all []sdk.Quote
	for {
		page, err := s.History(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Quotes) > req.Limit {
			t.Fatalf("%d quotes in a page of %d", len(page.Quotes), req.Limit)
		}
		all = append(all, page.Quotes...)
		if page.Next == "" {
			return all
		}
		req.Cursor = page.Next
	}
}

func everything(symbol string) sdk.HistoryRequest {
	return sdk.HistoryRequest{Symbol: symbol, VsCurrency: "usd", Limit: 1000}
}

var midnight = noon.Truncate(24 * time.Hour)

func candle(day int, price float64, closed bool) sdk.Candle {
	return sdk.Candle{OpenTime: midnight.AddDate(0, 0, day-10000), Close: sdk.Known(price), Closed: closed}
}

func daily(source string, asOf time.Time, items ...sdk.Candle) sdk.Candles {
	return sdk.Candles{
		ID: "bitcoin", Symbol: "btc", VsCurrency: "usd", Source: source, Interval: sdk.Interval1d, AsOf: asOf, Items: items,
	}
}

func days(limit int) sdk.CandlesRequest {
	return sdk.CandlesRequest{
		Asset: sdk.Asset{ID: "bitcoin", Symbol: "btc"}, VsCurrency: "usd", Interval: sdk.Interval1d, Limit: limit,
	}
}

func entry(key, value string) sdk.Entry {
	return sdk.Entry{
		Key: key, Value: []byte(value), StoredAt: noon, FreshUntil: noon.Add(time.Minute), StaleUntil: noon.Add(time.Hour),
	}
}

func remember(t *testing.T, s *store, entries ...sdk.Entry) {
	t.Helper()
	if err := s.Remember(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
}

// recall returns what is kept, in the order of the keys.
func recall(t *testing.T, s *store, keys ...string) []sdk.Entry {
	t.Helper()
	got, err := s.Recall(t.Context(), keys)
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]int{}
	for i, key := range keys {
		places[key] = i
	}
	slices.SortFunc(got, func(a, b sdk.Entry) int { return places[a.Key] - places[b.Key] })
	return got
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
			q := quote("btc", noon, 1)
			change(&q)
			return s.SaveQuotes(ctx, []sdk.Quote{q})
		}
	}
	for _, test := range []struct {
		name string
		call func(context.Context) error
	}{
		{"history: a cut cursor", ask(func(r *sdk.HistoryRequest) { r.Cursor = page.Next[:len(page.Next)-4] })},
		{"history: another cursor", ask(func(r *sdk.HistoryRequest) { r.Cursor = "A" + page.Next[1:] })},
		{"history: a cursor of another symbol", ask(func(r *sdk.HistoryRequest) { r.Symbol, r.Cursor = "eth", page.Next })},
		{"quote: a time too far", saveOne(func(q *sdk.Quote) { q.AsOf = noon.AddDate(300, 0, 0) })},
		{"quote: a zero byte", saveOne(func(q *sdk.Quote) { q.Symbol = "b\x00c" })},
		{"quote: no text", saveOne(func(q *sdk.Quote) { q.ID = "\xff" })},
		{"quote: too long", saveOne(func(q *sdk.Quote) { q.Source = strings.Repeat("x", 257) })},
		{"remember: a key too long", func(ctx context.Context) error {
			return s.Remember(ctx, []sdk.Entry{entry(strings.Repeat("x", 1025), "v")})
		}},
		{"recall: a zero byte", func(ctx context.Context) error { _, err := s.Recall(ctx, []string{"a\x00"}); return err }},
		{"forget: a zero byte", func(ctx context.Context) error { _, err := s.Forget(ctx, []string{"a\x00*"}); return err }},
	} {
		t.Run(test.name, func(t *testing.T) { wantKind(t, test.call(t.Context()), sdk.InvalidArgument) })
	}
}

// What the contract leaves open: which of two rows stays that differ in nothing they are known by.
func TestTheLaterSaveWins(t *testing.T) {
	s := opened(t)
	s.now = func() time.Time { return noon }
	save(t, s, quote("btc", noon, 1))
	save(t, s, quote("btc", noon, 2))
	same(t, history(t, s, everything("btc")), []sdk.Quote{quote("btc", noon, 2)})
	remember(t, s, entry("k", "old"))
	remember(t, s, entry("k", "new"))
	remember(t, s, entry("one batch", "old"), entry("one batch", "new"))
	same(t, recall(t, s, "k", "one batch"), []sdk.Entry{entry("k", "new"), entry("one batch", "new")})
}

// What the contract leaves open: whose candles answer where an id is missing or newest ones are of the same time.
func TestWhoseCandlesAnswer(t *testing.T) {
	named := daily("one", noon, candle(1, 1, true))
	nameless := named
	nameless.ID = ""
	later := daily("two", noon.Add(time.Minute), candle(1, 2, true))
	bySymbol := days(10)
	bySymbol.Asset.ID = ""
	for _, test := range []struct {
		name string
		save []sdk.Candles
		req  sdk.CandlesRequest
		want sdk.Candles // no source: not found
	}{
		{"by symbol, saved with an id", []sdk.Candles{named}, bySymbol, named},
		{"by id, saved without one", []sdk.Candles{nameless}, days(10), sdk.Candles{}},
		{
			"of equal newest the source that was asked last",
			[]sdk.Candles{later, named, daily("three", noon, candle(1, 3, true))},
			days(10),
			later,
		},
		{
			"the time of the series is that of its latest batch",
			[]sdk.Candles{daily("one", noon.Add(time.Minute), candle(1, 1, true)), named},
			days(10),
			daily("one", noon.Add(time.Minute), candle(1, 1, true)),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := opened(t)
			for range 2 { // The second time, after all was saved again.
				if err := s.SaveCandles(t.Context(), test.save); err != nil {
					t.Fatal(err)
				}
				got, err := s.StoredCandles(t.Context(), test.req)
				switch {
				case test.want.Source == "":
					wantKind(t, err, sdk.NotFound)
				case err != nil:
					t.Fatal(err)
				default:
					same(t, got, test.want)
				}
			}
		})
	}
}

func TestPastStaleUntil(t *testing.T) {
	s := opened(t)
	remember(t, s, entry("k", "v"), entry("kept", "v"))
	for _, test := range []struct {
		name string
		now  time.Time
		want int
	}{
		{"fresh", noon, 1},
		{"stale", noon.Add(2 * time.Minute), 1},
		{"just before", noon.Add(time.Hour - 1), 1},
		{"at the end", noon.Add(time.Hour), 0},
		{"past it", noon.Add(2 * time.Hour), 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.now = func() time.Time { return test.now }
			if got := recall(t, s, "k"); len(got) != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
	if n, err := s.Forget(t.Context(), []string{"k"}); err != nil || n != 0 {
		t.Errorf("forgot %d, %v; an entry past its time is none", n, err)
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
	for range 3 { // What is there already is not written again.
		save(t, s, quote("btc", noon, 1), quote("btc", noon.Add(1), 1))
	}
	_, err := s.StoredCandles(t.Context(), days(1))
	wantKind(t, err, sdk.NotFound)
	for _, test := range []struct {
		name   string
		labels map[string]string
		want   float64
	}{
		{"db_rows_written_total", nil, 2},
		{"db_operations_total", map[string]string{"operation": "save_quotes", "outcome": "ok"}, 3},
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
	total, idle := value(t, s, "db_pool_connections", nil), value(t, s, "db_pool_idle", nil)
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

func FuzzParseCursor(f *testing.F) {
	f.Add("", "btc", "usd")
	f.Add(place{asOf: noon.UnixNano(), id: 7}.cursor("btc", "usd"), "btc", "usd")
	f.Fuzz(func(t *testing.T, cursor, symbol, vsCurrency string) {
		p, err := parseCursor(cursor, symbol, vsCurrency)
		if err == nil && p.cursor(symbol, vsCurrency) != cursor {
			t.Errorf("%q is read as %v, which is written %q", cursor, p, p.cursor(symbol, vsCurrency))
		}
	})
}
