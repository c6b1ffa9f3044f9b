package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/service-islands/islands/sdk"
)

func entryChecks() []Check {
	return []Check{
		{
			Name: "entries/fidelity", Role: sdk.RoleStore, run: on(entriesFidelity),
			Rule: "Recall returns the entries of those keys that are kept; Value is opaque, an empty one is a value, and times come back as they were given",
		},
		{
			Name: "entries/many", Role: sdk.RoleStore, run: on(entriesMany),
			Rule: "Remember keeps entries by key; Recall returns the entries of those keys that are kept",
		},
		{
			Name: "entries/newest-wins", Role: sdk.RoleStore, run: on(entriesNewestWins),
			Rule: "Remember keeps entries by key, the newest StoredAt winning. Version is not used",
		},
		{
			Name: "entries/stale", Role: sdk.RoleStore, run: on(entriesStale), Waits: true,
			Rule: "Recall returns the entries of those keys that are kept. Those past StaleUntil are left out",
		},
		{
			Name: "entries/forget", Role: sdk.RoleStore, run: on(entriesForget),
			Rule: "Forget drops every entry whose key equals a pattern or matches it as a glob (* any run, ? any one character) and returns how many",
		},
		{
			Name: "entries/globs", Role: sdk.RoleStore, run: on(entriesGlobs),
			Rule: "a glob: * any run, ? any one character, and nothing else is special",
		},
	}
}

// recall asks for keys and returns what is kept, by key.
func recall(ctx context.Context, store sdk.Store, keys ...string) (map[string]sdk.Entry, error) {
	entries, err := store.Recall(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("recall: %w", err)
	}
	kept := map[string]sdk.Entry{}
	for _, e := range entries {
		if _, twice := kept[e.Key]; twice {
			return nil, fmt.Errorf("recall returns the key %q twice", e.Key)
		}
		kept[e.Key] = e
	}
	return kept, nil
}

func entriesFidelity(ctx context.Context, b *bench, store sdk.Store) error {
	text, binary, empty, far := entry(b.name("text"), "1"), entry(b.name("binary"), "\x00\xff\x00"), entry(b.name("empty"), ""), entry(b.name("far"), "v")
	far.StaleUntil = far.StaleUntil.AddDate(200, 0, 0)
	entries := []sdk.Entry{text, binary, empty, far}
	if err := store.Remember(ctx, entries); err != nil {
		return fmt.Errorf("remember: %w", err)
	}
	if err := store.Remember(ctx, []sdk.Entry{text, text}); err != nil {
		return fmt.Errorf("remember the same again: %w", err)
	}
	kept, err := recall(ctx, store, text.Key, binary.Key, text.Key, b.name("none"), empty.Key, far.Key)
	if err != nil {
		return err
	}
	if len(kept) != len(entries) {
		return fmt.Errorf("%d of %d entries are kept: %+v", len(kept), len(entries), kept)
	}
	for _, want := range entries {
		got := kept[want.Key]
		if !bytes.Equal(got.Value, want.Value) || !got.StoredAt.Equal(want.StoredAt) ||
			!got.FreshUntil.Equal(want.FreshUntil) || !got.StaleUntil.Equal(want.StaleUntil) {
			return fmt.Errorf("remembered\n%+v, kept\n%+v", want, got)
		}
	}
	// Further than a count of nanoseconds reaches: kept, whatever becomes of the time itself.
	text.StoredAt, text.StaleUntil = text.StoredAt.Add(1), text.StaleUntil.AddDate(2000, 0, 0)
	if err := store.Remember(ctx, []sdk.Entry{text}); err != nil {
		return fmt.Errorf("remember for 2000 years: %w", err)
	}
	if kept, err = recall(ctx, store, text.Key); err != nil || len(kept) != 1 {
		return errors.Join(fmt.Errorf("an entry that may be served for 2000 years is not kept"), err)
	}
	return nil
}

func entriesMany(ctx context.Context, b *bench, store sdk.Store) error {
	const n = 2000
	keys, entries := make([]string, n), make([]sdk.Entry, n)
	for i := range n {
		keys[i] = b.name(fmt.Sprint("many-", i))
		entries[i] = entry(keys[i], keys[i])
	}
	if err := store.Remember(ctx, entries); err != nil {
		return fmt.Errorf("remember %d entries: %w", n, err)
	}
	kept, err := recall(ctx, store, keys...)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if got, ok := kept[key]; !ok || string(got.Value) != key {
			return fmt.Errorf("of %d entries %d are kept; %q holds %q", n, len(kept), key, got.Value)
		}
	}
	return nil
}

func entriesNewestWins(ctx context.Context, b *bench, store sdk.Store) error {
	key := b.name("newest")
	for i, step := range []struct {
		value   string
		age     time.Duration
		version uint64
		want    string
	}{
		{"first", time.Minute, 9, "first"},
		{"older", time.Hour, 10, "first"},
		{"newer\x00", time.Second, 1, "newer\x00"},
		{"older", time.Minute, 99, "newer\x00"},
	} {
		e := entry(key, step.value)
		e.StoredAt, e.Version = e.StoredAt.Add(-step.age).Truncate(time.Millisecond), step.version
		if err := store.Remember(ctx, []sdk.Entry{e}); err != nil {
			return fmt.Errorf("remember: %w", err)
		}
		kept, err := recall(ctx, store, key, b.name("other"))
		if err != nil {
			return err
		}
		got, ok := kept[key]
		if !ok || len(kept) != 1 || string(got.Value) != step.want {
			return fmt.Errorf("step %d: kept is %+v, want the value %q", i+1, kept, step.want)
		}
		if step.value == step.want && (!got.StoredAt.Equal(e.StoredAt) || got.FreshUntil.Sub(e.FreshUntil).Abs() >= time.Millisecond) {
			return fmt.Errorf("step %d: remembered was %+v, kept is %+v", i+1, e, got)
		}
	}
	// And within one batch.
	last := entry(key, "newest")
	before, after := last, last
	before.Value, before.StoredAt = []byte("before"), last.StoredAt.Add(-time.Microsecond)
	after.Value, after.StoredAt = []byte("after"), last.StoredAt.Add(-time.Millisecond)
	if err := store.Remember(ctx, []sdk.Entry{before, last, after}); err != nil {
		return fmt.Errorf("remember: %w", err)
	}
	kept, err := recall(ctx, store, key)
	if err != nil {
		return err
	}
	if got := kept[key]; string(got.Value) != "newest" {
		return fmt.Errorf("of three of one key in a batch %q is kept, which is not the newest", got.Value)
	}
	return nil
}

func entriesStale(ctx context.Context, b *bench, store sdk.Store) error {
	gone, kept := entry(b.name("gone"), "v"), entry(b.name("kept"), "v")
	gone.StoredAt, gone.FreshUntil, gone.StaleUntil = gone.StoredAt.Add(-time.Hour), gone.StoredAt.Add(-time.Minute), gone.StoredAt.Add(-time.Second)
	soon := entry(b.name("soon"), "v")
	soon.FreshUntil, soon.StaleUntil = soon.StoredAt, soon.StoredAt.Add(300*time.Millisecond)
	kept.FreshUntil = kept.StoredAt.Add(-time.Second) // Stale, which is what a store's entries are for.
	if err := store.Remember(ctx, []sdk.Entry{gone, kept, soon}); err != nil {
		return fmt.Errorf("remember: %w", err)
	}
	if err := pause(ctx, soon.StaleUntil.Add(10*time.Millisecond)); err != nil {
		return err
	}
	got, err := recall(ctx, store, gone.Key, kept.Key, soon.Key)
	if err != nil {
		return err
	}
	if _, ok := got[kept.Key]; !ok || len(got) != 1 {
		return fmt.Errorf("of two entries past StaleUntil and a stale one there are %d: %+v", len(got), got)
	}
	return nil
}

// matches reports whether a key matches a glob, in the plainest words.
func matches(glob, key []rune) bool {
	switch {
	case len(glob) == 0:
		return len(key) == 0
	case glob[0] == '*':
		return matches(glob[1:], key) || (len(key) > 0 && matches(glob, key[1:]))
	default:
		return len(key) > 0 && (glob[0] == '?' || glob[0] == key[0]) && matches(glob[1:], key[1:])
	}
}

// forget drops what patterns match and wants exactly the keys of gone to be missing among all of them afterwards.
func forget(ctx context.Context, store sdk.Store, patterns, all, gone []string) error {
	n, err := store.Forget(ctx, patterns)
	if err != nil {
		return fmt.Errorf("forget %q: %w", patterns, err)
	}
	kept, err := recall(ctx, store, all...)
	if err != nil {
		return err
	}
	for _, key := range all {
		if _, ok := kept[key]; ok == slices.Contains(gone, key) {
			return fmt.Errorf("after Forget %q the key %q is kept: %v", patterns, key, ok)
		}
	}
	if n != len(gone) {
		return fmt.Errorf("forget %q dropped %d, want %d", patterns, n, len(gone))
	}
	return nil
}

func entriesForget(ctx context.Context, b *bench, store sdk.Store) error {
	p := b.name("")
	named := func(ends []string) []string {
		names := make([]string, len(ends))
		for i, end := range ends {
			names[i] = p + end
		}
		return names
	}
	ends := []string{
		"btc", "btc_eur", "bxc", "eth", "100%", "100x", "a_b", "axb", "a*b", "a?b", "a[b]c", "abc", `a\b`, `a\\b`, "Ü", "line\nbreak", "BTC",
	}
	all := named(ends)
	for what, test := range map[string]struct{ patterns, gone []string }{
		"a key":                            {[]string{"btc"}, []string{"btc"}},
		"several keys, one twice":          {[]string{"btc", "eth", "btc", "none"}, []string{"btc", "eth"}},
		"none":                             {[]string{"none", "none*", ""}, nil},
		"a prefix":                         {[]string{"btc*"}, []string{"btc", "btc_eur"}},
		"one character":                    {[]string{"b?c"}, []string{"btc", "bxc"}},
		"one character of two bytes":       {[]string{"?"}, []string{"Ü"}},
		"in the midst":                     {[]string{"b*r"}, []string{"btc_eur"}},
		"a key and a glob that matches it": {[]string{"btc", "bt*"}, []string{"btc", "btc_eur"}},
		"two globs that meet":              {[]string{"bt*", "*tc"}, []string{"btc", "btc_eur"}},
		"everything":                       {[]string{"*"}, ends},
		"a percent sign is itself":         {[]string{"100%"}, []string{"100%"}},
		"a percent sign in a glob":         {[]string{"?00%"}, []string{"100%"}},
		"an underscore is itself":          {[]string{"a_b"}, []string{"a_b"}},
		"an underscore in a glob":          {[]string{"*a_b*"}, []string{"a_b"}},
		"a star matches a star too":        {[]string{"a*b"}, []string{"a_b", "axb", "a*b", "a?b", `a\b`, `a\\b`}},
		"a question mark too":              {[]string{"a?b"}, []string{"a_b", "axb", "a*b", "a?b", `a\b`}},
		"a bracket is itself":              {[]string{"a[b]c"}, []string{"a[b]c"}},
		"a bracket in a glob":              {[]string{"a[b]?"}, []string{"a[b]c"}},
		"an unclosed bracket in a glob":    {[]string{"a[*"}, []string{"a[b]c"}},
		"a backslash is itself":            {[]string{`a\b`}, []string{`a\b`}},
		"a backslash in a glob":            {[]string{`?\b`}, []string{`a\b`}},
		"a backslash before a star":        {[]string{`a\*`}, []string{`a\b`, `a\\b`}},
		"over a line break":                {[]string{"line*"}, []string{"line\nbreak"}},
		"case counts":                      {[]string{"BT*"}, []string{"BTC"}},
	} {
		var entries []sdk.Entry
		for _, key := range all {
			entries = append(entries, entry(key, "v"))
		}
		if err := store.Remember(ctx, entries); err != nil {
			return fmt.Errorf("remember: %w", err)
		}
		if err := forget(ctx, store, named(test.patterns), all, named(test.gone)); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	for _, patterns := range [][]string{nil, {""}} { // An empty pattern is the glob of the empty key alone.
		if n, err := store.Forget(ctx, patterns); n != 0 || err != nil {
			return errors.Join(fmt.Errorf("forget %q dropped %d", patterns, n), err)
		}
	}
	return nil
}

func entriesGlobs(ctx context.Context, b *bench, store sdk.Store) error {
	p := b.name("")
	random := rand.New(rand.NewPCG(1, 2)) // The same every time, so that a failure can be had again.
	text := func(letters string) string {
		runes := []rune(letters)
		out := make([]rune, 1+random.IntN(4))
		for i := range out {
			out[i] = runes[random.IntN(len(runes))]
		}
		return p + string(out)
	}
	for range 5 {
		var left []string
		var entries []sdk.Entry
		for range 60 {
			if key := text(`aB%_\[]^-*?ü`); !slices.Contains(left, key) {
				left, entries = append(left, key), append(entries, entry(key, "v"))
			}
		}
		if err := store.Remember(ctx, entries); err != nil {
			return fmt.Errorf("remember: %w", err)
		}
		for range 12 {
			glob := text(`a%_\[]^-**??ü`)
			var gone, kept []string
			for _, key := range left {
				if matches([]rune(glob), []rune(key)) {
					gone = append(gone, key)
				} else {
					kept = append(kept, key)
				}
			}
			if err := forget(ctx, store, []string{glob}, left, gone); err != nil {
				return err
			}
			left = kept
		}
		if err := forget(ctx, store, []string{p + "*"}, left, left); err != nil {
			return err
		}
	}
	return nil
}
