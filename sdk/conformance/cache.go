package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/service-islands/islands/sdk"
)

func cacheChecks() []Check {
	return []Check{
		{
			Name: "cache/order", Role: sdk.RoleCache, run: on(cacheOrder),
			Rule: "Lookup returns one result per key, in the order of the keys; a miss is not an error; of a miss Entry holds the key alone and Tier is empty",
		},
		{
			Name: "cache/fidelity", Role: sdk.RoleCache, run: on(cacheFidelity),
			Rule: "Entry is a remembered value: Value is opaque to the cache; StoredAt, FreshUntil and StaleUntil come back as they were given",
		},
		{
			Name: "cache/bounds", Role: sdk.RoleCache, run: on(cacheBounds), Waits: true,
			Rule: "A value is fresh until FreshUntil and may be served, marked stale, until StaleUntil; then it is gone from every tier",
		},
		{
			Name: "cache/too-late", Role: sdk.RoleCache, run: on(cacheTooLate),
			Rule: "Fill leaves out entries past StaleUntil and returns how many were taken",
		},
		{
			Name: "cache/invalidate", Role: sdk.RoleCache, run: on(cacheInvalidate),
			Rule: "Invalidate forgets every key that equals a pattern or matches it as a glob (* any run, ? any one character) and returns how many keys were forgotten",
		},
		{
			Name: "cache/invalidation-wins", Role: sdk.RoleCache, run: on(cacheInvalidationWins),
			Rule: "a value whose load began before an invalidation of its key is refused, so that the invalidation wins",
		},
		{
			Name: "cache/version-zero", Role: sdk.RoleCache, run: on(cacheVersionZero),
			Rule: "Version 0 fills unconditionally",
		},
		{
			Name: "cache/refill", Role: sdk.RoleCache, run: on(cacheRefill),
			Rule: "Fill remembers entries in every tier: the value that was filled last is the one that is found",
		},
		{
			Name: "cache/tiers", Role: sdk.RoleCache, run: on(cacheTiers),
			Rule: "SetTier takes a tier (\"l1\" or \"l2\") out or back in; NotFound when there is no such tier",
		},
		{
			Name: "cache/concurrent", Role: sdk.RoleCache, run: on(cacheConcurrent),
			Rule: "All methods may be called concurrently",
		},
	}
}

// entry makes an entry that is fresh for a minute.
func entry(key, value string) sdk.Entry {
	now := time.Now().UTC()
	return sdk.Entry{Key: key, Value: []byte(value), StoredAt: now, FreshUntil: now.Add(time.Minute), StaleUntil: now.Add(time.Hour)}
}

// fill hands entries to the cache and wants all of them taken.
func fill(ctx context.Context, cache sdk.Cache, entries ...sdk.Entry) error {
	taken, err := cache.Fill(ctx, entries)
	if err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	if taken != len(entries) {
		return fmt.Errorf("fill took %d of %d entries", taken, len(entries))
	}
	return nil
}

// look asks for one key.
func look(ctx context.Context, cache sdk.Cache, key string) (sdk.Lookup, error) {
	found, err := cache.Lookup(ctx, []string{key})
	if err != nil {
		return sdk.Lookup{}, fmt.Errorf("lookup: %w", err)
	}
	if len(found) != 1 {
		return sdk.Lookup{}, fmt.Errorf("%d results for one key", len(found))
	}
	return found[0], nil
}

// wantFound looks a key up and wants it found with a value, or not found when value is nil.
func wantFound(ctx context.Context, cache sdk.Cache, key string, value []byte) error {
	got, err := look(ctx, cache, key)
	switch {
	case err != nil:
		return err
	case value == nil && got.Found:
		return fmt.Errorf("key %q is found with %.40q", key, got.Entry.Value)
	case value != nil && !got.Found:
		return fmt.Errorf("key %q is not found", key)
	case !bytes.Equal(got.Entry.Value, value):
		return fmt.Errorf("key %q holds %.40q, want %.40q", key, got.Entry.Value, value)
	}
	return nil
}

func cacheOrder(ctx context.Context, b *bench, cache sdk.Cache) error {
	one, two, miss := b.name("one"), b.name("two"), b.name("miss")
	if err := fill(ctx, cache, entry(one, "1"), entry(two, "2")); err != nil {
		return err
	}
	keys := []string{two, miss, one, miss, two}
	want := []string{"2", "", "1", "", "2"}
	found, err := cache.Lookup(ctx, keys)
	if err != nil {
		return fmt.Errorf("lookup with misses: %w", err)
	}
	if len(found) != len(keys) {
		return fmt.Errorf("%d results for %d keys", len(found), len(keys))
	}
	for i, l := range found {
		if l.Entry.Key != keys[i] || string(l.Entry.Value) != want[i] || l.Found != (want[i] != "") {
			return fmt.Errorf("result %d of %q: %+v", i, keys[i], l)
		}
		if l.Found != (l.Tier == "l1" || l.Tier == "l2") || (!l.Found && l.Tier != "") {
			return fmt.Errorf("result %d: found %v in the tier %q", i, l.Found, l.Tier)
		}
		if e := l.Entry; !l.Found && (e.Value != nil || !e.StoredAt.IsZero() || !e.FreshUntil.IsZero() || !e.StaleUntil.IsZero() || e.Version != 0) {
			return fmt.Errorf("a miss holds more than its key: %+v", e)
		}
	}
	if found, err = cache.Lookup(ctx, nil); err != nil {
		return fmt.Errorf("lookup of no key: %w", err)
	}
	if len(found) > 0 {
		return fmt.Errorf("%d results for no key", len(found))
	}
	return nil
}

func cacheFidelity(ctx context.Context, b *bench, cache sdk.Cache) error {
	binary := make([]byte, 1<<20)
	for i := range binary {
		binary[i] = byte(i * 7)
	}
	for name, value := range map[string][]byte{"empty": {}, "text": []byte("{\"a\":1}\r\n"), "binary": binary} {
		e := entry(b.name("ключ "+name), string(value))
		if err := fill(ctx, cache, e); err != nil {
			return fmt.Errorf("a value that is %s: %w", name, err)
		}
		got, err := look(ctx, cache, e.Key)
		if err != nil {
			return err
		}
		if !got.Found || !bytes.Equal(got.Entry.Value, value) {
			return fmt.Errorf("a value that is %s: found %v with %d bytes, filled were %d", name, got.Found, len(got.Entry.Value), len(value))
		}
		for what, times := range map[string][2]time.Time{
			"StoredAt": {got.Entry.StoredAt, e.StoredAt}, "FreshUntil": {got.Entry.FreshUntil, e.FreshUntil}, "StaleUntil": {got.Entry.StaleUntil, e.StaleUntil},
		} {
			if d := times[0].Sub(times[1]).Abs(); d >= time.Millisecond {
				return fmt.Errorf("%s is %v, filled was %v", what, times[0], times[1])
			}
		}
	}
	return nil
}

func cacheBounds(ctx context.Context, b *bench, cache sdk.Cache) error {
	now := time.Now().UTC()
	e := sdk.Entry{
		Key: b.name("bounds"), Value: []byte("v"), StoredAt: now,
		FreshUntil: now.Add(200 * time.Millisecond), StaleUntil: now.Add(600 * time.Millisecond),
	}
	if err := fill(ctx, cache, e); err != nil {
		return err
	}
	// On a busy machine the moment may have passed; then there is nothing to say.
	if err := wantFound(ctx, cache, e.Key, e.Value); err != nil && time.Now().Before(e.FreshUntil) {
		return fmt.Errorf("while fresh: %w", err)
	}
	if err := pause(ctx, e.FreshUntil.Add(10*time.Millisecond)); err != nil {
		return err
	}
	got, err := look(ctx, cache, e.Key)
	if err != nil {
		return err
	}
	if !got.Found && time.Now().Before(e.StaleUntil) {
		return errors.New("gone although it may be served stale")
	}
	if err := pause(ctx, e.StaleUntil.Add(10*time.Millisecond)); err != nil {
		return err
	}
	if err := wantFound(ctx, cache, e.Key, nil); err != nil {
		return fmt.Errorf("past StaleUntil: %w", err)
	}
	return nil
}

func cacheTooLate(ctx context.Context, b *bench, cache sdk.Cache) error {
	now := time.Now().UTC()
	late := sdk.Entry{
		Key: b.name("late"), Value: []byte("v"), StoredAt: now.Add(-time.Hour), FreshUntil: now.Add(-time.Minute), StaleUntil: now.Add(-time.Second),
	}
	taken, err := cache.Fill(ctx, []sdk.Entry{late, entry(b.name("in-time"), "v")})
	if err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	if taken != 1 {
		return fmt.Errorf("fill took %d of an entry past StaleUntil and one in time", taken)
	}
	if err := wantFound(ctx, cache, late.Key, nil); err != nil {
		return err
	}
	return wantFound(ctx, cache, b.name("in-time"), []byte("v"))
}

// forgotten invalidates and wants as many keys forgotten, and exactly those of the keys that are still there.
func forgotten(ctx context.Context, cache sdk.Cache, patterns []string, n int, left, all []string) error {
	got, err := cache.Invalidate(ctx, patterns)
	if err != nil {
		return fmt.Errorf("invalidate %q: %w", patterns, err)
	}
	if got != n {
		return fmt.Errorf("invalidate %q forgot %d keys, want %d", patterns, got, n)
	}
	results, err := cache.Lookup(ctx, all)
	if err != nil {
		return fmt.Errorf("lookup: %w", err)
	}
	for _, l := range results {
		if want := slices.Contains(left, l.Entry.Key); l.Found != want {
			return fmt.Errorf("after Invalidate %q the key %q is found: %v", patterns, l.Entry.Key, l.Found)
		}
	}
	return nil
}

func cacheInvalidate(ctx context.Context, b *bench, cache sdk.Cache) error {
	p := b.name("")
	all := []string{p + "a", p + "ab", p + "abc", p + "b", p + "b[c]", p + "x*y", p + "xzy"}
	for _, key := range all {
		if err := fill(ctx, cache, entry(key, key)); err != nil {
			return err
		}
	}
	for _, step := range []struct {
		patterns []string
		n        int
		left     []string
	}{
		{[]string{p + "none", p + "none*"}, 0, all},
		{[]string{p + "a"}, 1, all[1:]},
		{[]string{p + "a?"}, 1, all[2:]},
		{[]string{p + "b[c]"}, 1, []string{all[2], all[3], all[5], all[6]}},
		{[]string{p + "a*", p + "abc"}, 1, []string{all[3], all[5], all[6]}},
		{[]string{p + "x*y"}, 2, []string{all[3]}},
		{[]string{p + "*"}, 1, nil},
	} {
		if err := forgotten(ctx, cache, step.patterns, step.n, step.left, all); err != nil {
			return err
		}
	}
	return nil
}

func cacheInvalidationWins(ctx context.Context, b *bench, cache sdk.Cache) error {
	key, other := b.name("raced"), b.name("unconcerned")
	for what, pattern := range map[string]string{"its key": key, "a glob": b.name("ra?ed*")} {
		before, err := look(ctx, cache, key)
		if err != nil {
			return err
		}
		if before.Version == 0 {
			return errors.New("version is 0, which would fill unconditionally")
		}
		if _, err := cache.Invalidate(ctx, []string{pattern}); err != nil {
			return fmt.Errorf("invalidate: %w", err)
		}
		raced, unconcerned := entry(key, "old"), entry(other, "other")
		raced.Version, unconcerned.Version = before.Version, before.Version
		taken, err := cache.Fill(ctx, []sdk.Entry{raced, unconcerned})
		if err != nil {
			return fmt.Errorf("fill: %w", err)
		}
		if taken != 1 {
			return fmt.Errorf("after an invalidation of %s Fill took %d of the raced entry and another", what, taken)
		}
		if err := wantFound(ctx, cache, key, nil); err != nil {
			return fmt.Errorf("a load that began before an invalidation of %s: %w", what, err)
		}
		after, err := look(ctx, cache, key)
		if err != nil {
			return err
		}
		if after.Version <= before.Version {
			return fmt.Errorf("an invalidation of %s moved the version from %d to %d", what, before.Version, after.Version)
		}
		again := entry(key, "new")
		again.Version = after.Version
		if err := fill(ctx, cache, again); err != nil {
			return fmt.Errorf("a load that began after the invalidation: %w", err)
		}
	}
	return nil
}

func cacheVersionZero(ctx context.Context, b *bench, cache sdk.Cache) error {
	key := b.name("zero")
	if _, err := cache.Invalidate(ctx, []string{key}); err != nil {
		return fmt.Errorf("invalidate: %w", err)
	}
	if err := fill(ctx, cache, entry(key, "v")); err != nil {
		return err
	}
	return wantFound(ctx, cache, key, []byte("v"))
}

func cacheRefill(ctx context.Context, b *bench, cache sdk.Cache) error {
	key := b.name("refill")
	for _, value := range []string{"first", "second, which is longer", "3"} {
		if err := fill(ctx, cache, entry(key, value)); err != nil {
			return err
		}
		if err := wantFound(ctx, cache, key, []byte(value)); err != nil {
			return err
		}
	}
	return nil
}

func cacheTiers(ctx context.Context, b *bench, cache sdk.Cache) error {
	for _, enabled := range []bool{false, true} {
		for _, tier := range []string{"l9", ""} {
			if err := wantKind(fmt.Sprintf("SetTier %q", tier), cache.SetTier(ctx, tier, enabled), sdk.NotFound); err != nil {
				return err
			}
		}
	}
	key := b.name("tiers")
	for _, enabled := range []bool{false, false, true, true} {
		if err := cache.SetTier(ctx, "l1", enabled); err != nil {
			return fmt.Errorf("setTier l1 %v: %w", enabled, err)
		}
		if _, err := cache.Fill(ctx, []sdk.Entry{entry(key, "v")}); err != nil {
			return fmt.Errorf("fill with l1 %v: %w", enabled, err)
		}
		got, err := look(ctx, cache, key)
		if err != nil {
			return fmt.Errorf("with l1 %v: %w", enabled, err)
		}
		if !enabled && got.Tier == "l1" {
			return errors.New("found in l1, which was taken out")
		}
		if enabled && (!got.Found || got.Tier != "l1") {
			return fmt.Errorf("with l1 back in: found %v in the tier %q", got.Found, got.Tier)
		}
	}
	return nil
}

func cacheConcurrent(ctx context.Context, b *bench, cache sdk.Cache) error {
	return together(func(i int) error {
		key := b.name(fmt.Sprintf("concurrent-%d", i%10))
		switch i % 4 {
		case 0:
			return second(cache.Fill(ctx, []sdk.Entry{entry(key, key)}))
		case 1:
			return second(cache.Invalidate(ctx, []string{key}))
		default:
			got, err := look(ctx, cache, key)
			if err == nil && got.Found && string(got.Entry.Value) != key {
				err = fmt.Errorf("key %q holds %q", key, got.Entry.Value)
			}
			return err
		}
	})
}
