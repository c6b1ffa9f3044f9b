package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
)

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

// matches is what a glob means, in the plainest words.
func matches(glob, key []rune) bool {
	switch {
	case len(glob) == 0:
		return len(key) == 0
	case glob[0] == '*':
		return matches(glob[1:], key) || len(key) > 0 && matches(glob, key[1:])
	default:
		return len(key) > 0 && (glob[0] == '?' || glob[0] == key[0]) && matches(glob[1:], key[1:])
	}
}

func TestForgetIsTheGlobOfTheContract(t *testing.T) {
	s := opened(t)
	s.now = func() time.Time { return noon }
	random := rand.New(rand.NewPCG(1, 2))
	text := func(letters string, most int) string {
		runes := []rune(letters)
		out := make([]rune, 1+random.IntN(most))
		for i := range out {
			out[i] = runes[random.IntN(len(runes))]
		}
		return string(out)
	}
	for range 150 {
		var entries []sdk.Entry
		for range 12 {
			if e := entry(text(`aB%_\[]^-*?ü`, 5), "v"); !slices.ContainsFunc(entries, func(o sdk.Entry) bool { return o.Key == e.Key }) {
				entries = append(entries, e)
			}
		}
		remember(t, s, entries...)
		pattern := text(`a%_\[]^-**??ü`, 5)
		want := 0
		for _, e := range entries {
			if matches([]rune(pattern), []rune(e.Key)) {
				want++
			}
		}
		if got, err := s.Forget(t.Context(), []string{pattern}); err != nil || got != want {
			t.Errorf("%q forgot %d, %v; want %d", pattern, got, err, want)
		}
		if _, err := s.Forget(t.Context(), []string{"*"}); err != nil {
			t.Fatal(err)
		}
	}
}
