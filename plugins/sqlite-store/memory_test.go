package main

import (
	"slices"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
)

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

func TestStoredCandles(t *testing.T) {
	full := sdk.Candle{
		OpenTime: midnight, Open: sdk.Known(0.1 + 0.2), High: sdk.Known(1e300), Low: sdk.Known(5e-324), Close: sdk.Known(1), Closed: true,
	}
	with := func(c sdk.Candles, change func(*sdk.Candles)) sdk.Candles {
		change(&c)
		return c
	}
	ask := func(change func(*sdk.CandlesRequest)) sdk.CandlesRequest {
		req := days(1000)
		change(&req)
		return req
	}
	noted := with(daily("one", noon, full), func(c *sdk.Candles) { c.Note = "in USDT" })
	bySymbol := with(daily("one", noon, candle(1, 1, true)), func(c *sdk.Candles) { c.ID = "" })
	named := with(daily("one", noon, candle(1, 1, true)), func(c *sdk.Candles) { c.ID, c.Symbol = "btc", "other" })
	later := noon.Add(time.Minute)
	for _, test := range []struct {
		name string
		save []sdk.Candles
		req  sdk.CandlesRequest
		want sdk.Candles // no source: not found
	}{
		{"as they were saved", []sdk.Candles{noted}, days(10), noted},
		{
			"oldest first, the newest of them",
			[]sdk.Candles{daily("one", noon, candle(3, 3, true), candle(1, 1, true), candle(2, 2, true))},
			days(2),
			daily("one", noon, candle(2, 2, true), candle(3, 3, true)),
		},
		{
			"the same twice in one batch",
			[]sdk.Candles{daily("one", noon, candle(1, 1, true), candle(1, 1, true)), daily("one", noon, candle(1, 1, true))},
			days(10),
			daily("one", noon, candle(1, 1, true)),
		},
		{
			"a closed one replaces an open one",
			[]sdk.Candles{daily("one", noon, candle(1, 1, false)), daily("one", later, candle(1, 2, true))},
			days(10),
			daily("one", later, candle(1, 2, true)),
		},
		{
			"an open one never replaces a closed one",
			[]sdk.Candles{daily("one", noon, candle(1, 2, true)), daily("one", later, candle(1, 1, false))},
			days(10),
			daily("one", later, candle(1, 2, true)),
		},
		{
			"an open one does not replace a closed one of its own batch",
			[]sdk.Candles{daily("one", noon, candle(1, 2, true), candle(1, 1, false))},
			days(10),
			daily("one", noon, candle(1, 2, true)),
		},
		{
			"an open one that was asked later replaces an open one",
			[]sdk.Candles{daily("one", noon, candle(1, 1, false)), daily("one", later, candle(1, 2, false))},
			days(10),
			daily("one", later, candle(1, 2, false)),
		},
		{
			"an open one that arrives late changes nothing",
			[]sdk.Candles{daily("one", later, candle(1, 2, false)), daily("one", noon, candle(1, 1, false))},
			days(10),
			daily("one", later, candle(1, 2, false)),
		},
		{
			"a closed one that was asked before the open one",
			[]sdk.Candles{daily("one", later, candle(1, 2, false)), daily("one", noon, candle(1, 1, true))},
			days(10),
			daily("one", later, candle(1, 1, true)),
		},
		{
			"the source with the newest alone",
			[]sdk.Candles{
				daily("one", later, candle(1, 1, true), candle(2, 1, true)), daily("two", noon, candle(3, 2, true)),
			},
			days(10),
			daily("two", noon, candle(3, 2, true)),
		},
		{
			"of equal newest the source that was asked last",
			[]sdk.Candles{
				daily("two", later, candle(1, 2, true)), daily("one", noon, candle(1, 1, true)), daily("three", noon, candle(1, 3, true)),
			},
			days(10),
			daily("two", later, candle(1, 2, true)),
		},
		{"by symbol without an id", []sdk.Candles{bySymbol}, ask(func(r *sdk.CandlesRequest) { r.Asset.ID = "" }), bySymbol},
		{"by symbol, saved with an id", []sdk.Candles{noted}, ask(func(r *sdk.CandlesRequest) { r.Asset.ID = "" }), noted},
		{"by id, saved without one", []sdk.Candles{bySymbol}, days(10), sdk.Candles{}},
		{"an id that is another's symbol", []sdk.Candles{named}, ask(func(r *sdk.CandlesRequest) { r.Asset.ID = "" }), sdk.Candles{}},
		{"another currency", []sdk.Candles{noted}, ask(func(r *sdk.CandlesRequest) { r.VsCurrency = "eur" }), sdk.Candles{}},
		{"another interval", []sdk.Candles{noted}, ask(func(r *sdk.CandlesRequest) { r.Interval = sdk.Interval1m }), sdk.Candles{}},
		{"another asset", []sdk.Candles{noted}, ask(func(r *sdk.CandlesRequest) { r.Asset.ID = "ethereum" }), sdk.Candles{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := opened(t)
			check := func() {
				t.Helper()
				got, err := s.StoredCandles(t.Context(), test.req)
				if test.want.Source == "" {
					wantKind(t, err, sdk.NotFound)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				same(t, got, test.want)
			}
			for _, c := range test.save {
				if err := s.SaveCandles(t.Context(), []sdk.Candles{c}); err != nil {
					t.Fatal(err)
				}
			}
			check()
			// Once more as one batch: whatever came before, the outcome is the same.
			if err := s.SaveCandles(t.Context(), test.save); err != nil {
				t.Fatal(err)
			}
			check()
		})
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

func TestRememberAndRecall(t *testing.T) {
	s := opened(t)
	s.now = func() time.Time { return noon }
	binary := entry("binary", "\x00\xff\x00")
	endless := entry("endless", "v")
	endless.StaleUntil = time.Unix(0, 1<<63-1).UTC()
	remember(t, s, entry("a", "1"), entry("b", "2"), binary, endless)
	remember(t, s, entry("a", "1"), entry("a", "1"))
	same(t, recall(t, s, "a", "a", "none", "binary", "endless"), []sdk.Entry{entry("a", "1"), binary, endless})

	t.Run("an empty value is a value", func(t *testing.T) {
		remember(t, s, sdk.Entry{Key: "empty", StoredAt: noon, StaleUntil: noon.Add(1)})
		if got := recall(t, s, "empty"); len(got) != 1 || len(got[0].Value) != 0 {
			t.Errorf("got %v", got)
		}
	})
	t.Run("far away is not past", func(t *testing.T) {
		remember(t, s, sdk.Entry{Key: "far", StoredAt: noon, StaleUntil: noon.AddDate(2000, 0, 0)})
		if got := recall(t, s, "far"); len(got) != 1 {
			t.Errorf("got %v", got)
		}
	})
	t.Run("many keys", func(t *testing.T) {
		keys := make([]string, 2000)
		entries := make([]sdk.Entry, len(keys))
		for i := range keys {
			keys[i] = "many-" + time.Duration(i).String()
			entries[i] = entry(keys[i], keys[i])
		}
		remember(t, s, entries...)
		same(t, recall(t, s, keys...), entries)
	})
}

func TestTheNewestStoredAtWins(t *testing.T) {
	at := func(value string, stored time.Duration) sdk.Entry {
		e := entry("k", value)
		e.StoredAt = e.StoredAt.Add(stored)
		return e
	}
	for _, test := range []struct {
		name  string
		saved [][]sdk.Entry
		want  string
	}{
		{"the newer comes later", [][]sdk.Entry{{at("old", 0)}, {at("new", 1)}}, "new"},
		{"the newer came before", [][]sdk.Entry{{at("new", 1)}, {at("old", 0)}}, "new"},
		{"as new: the later", [][]sdk.Entry{{at("old", 0)}, {at("new", 0)}}, "new"},
		{"in one batch", [][]sdk.Entry{{at("old", 0), at("new", 2), at("older", 1)}}, "new"},
		{"in one batch, as new", [][]sdk.Entry{{at("old", 0), at("new", 0)}}, "new"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := opened(t)
			s.now = func() time.Time { return noon }
			for _, batch := range test.saved {
				remember(t, s, batch...)
			}
			if got := recall(t, s, "k"); len(got) != 1 || string(got[0].Value) != test.want {
				t.Errorf("got %v, want %s", got, test.want)
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

func TestForget(t *testing.T) {
	keys := []string{
		"btc", "btc_eur", "bxc", "eth", "100%", "100x", "a_b", "axb", "a*b", "a?b", "a[b]c", "abc", `a\b`, `a\\b`, "Ü", "line\nbreak", "BTC",
	}
	for _, test := range []struct {
		name     string
		patterns []string
		want     []string
	}{
		{"a key", []string{"btc"}, []string{"btc"}},
		{"several keys, one twice", []string{"btc", "eth", "btc", "none"}, []string{"btc", "eth"}},
		{"none", []string{"none", "none*"}, nil},
		{"a prefix", []string{"btc*"}, []string{"btc", "btc_eur"}},
		{"one character", []string{"b?c"}, []string{"btc", "bxc"}},
		{"one character of two bytes", []string{"?"}, []string{"Ü"}},
		{"in the midst", []string{"b*r"}, []string{"btc_eur"}},
		{"a key and a glob that matches it", []string{"btc", "bt*"}, []string{"btc", "btc_eur"}},
		{"two globs that meet", []string{"bt*", "*tc"}, []string{"btc", "btc_eur"}},
		{"everything", []string{"*"}, keys},
		{"a percent sign is itself", []string{"100%"}, []string{"100%"}},
		{"a percent sign in a glob", []string{"?00%"}, []string{"100%"}},
		{"an underscore is itself", []string{"a_b"}, []string{"a_b"}},
		{"an underscore in a glob", []string{"*a_b*"}, []string{"a_b"}},
		{"a star matches a star too", []string{"a*b"}, []string{"a_b", "axb", "a*b", "a?b", `a\b`, `a\\b`}},
		{"a question mark too", []string{"a?b"}, []string{"a_b", "axb", "a*b", "a?b", `a\b`}},
		{"a bracket is itself", []string{"a[b]c"}, []string{"a[b]c"}},
		{"a bracket in a glob", []string{"a[b]?"}, []string{"a[b]c"}},
		{"an unclosed bracket in a glob", []string{"a[*"}, []string{"a[b]c"}},
		{"a backslash is itself", []string{`a\b`}, []string{`a\b`}},
		{"a backslash in a glob", []string{`?\b`}, []string{`a\b`}},
		{"a backslash before a star", []string{`a\*`}, []string{`a\b`, `a\\b`}},
		{"over a line break", []string{"line*"}, []string{"line\nbreak"}},
		{"case counts", []string{"BT*"}, []string{"BTC"}},
		{"an empty pattern", []string{""}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := opened(t)
			s.now = func() time.Time { return noon }
			entries := make([]sdk.Entry, len(keys))
			for i, key := range keys {
				entries[i] = entry(key, "v")
			}
			remember(t, s, entries...)
			n, err := s.Forget(t.Context(), test.patterns)
			if err != nil || n != len(test.want) {
				t.Errorf("forgot %d, %v; want %d", n, err, len(test.want))
			}
			left := recall(t, s, keys...)
			if len(left) != len(keys)-len(test.want) {
				t.Errorf("%d are left, want %d", len(left), len(keys)-len(test.want))
			}
			for _, e := range left {
				if slices.Contains(test.want, e.Key) {
					t.Errorf("%q is still there", e.Key)
				}
			}
		})
	}
}
