package main

import (
	"bytes"
	"context"
	"log/slog"

	"github.com/service-islands/islands/sdk"
)

// Lookup implements sdk.Cache. The values it returns are shared and must not be changed.
func (c *cache) Lookup(ctx context.Context, keys []string) ([]sdk.Lookup, error) {
	if err := c.running(); err != nil {
		return nil, err
	}
	for _, key := range keys {
		if err := checkKey("key", key); err != nil {
			return nil, err
		}
	}
	c.stats.operations.Add(1)
	// All of this is read before any tier is: what changes afterwards makes a promotion or a load void.
	version, session := c.journal.version(), c.link.session.Load()
	useL1, useL2 := c.l1gate.inUse(), c.l2 != nil && c.l2gate.inUse()

	found := make([]sdk.Lookup, len(keys))
	var unsettled []int
	var doubtful map[int]*remembered
	for i, key := range keys {
		found[i] = sdk.Lookup{Entry: sdk.Entry{Key: key}, Version: version}
		if useL1 {
			r := c.l1.get(key)
			if r != nil && (!useL2 || (session != 0 && r.session.Load() == session)) {
				c.hit(&found[i], "l1", r.entry)
				continue
			}
			if r != nil {
				if doubtful == nil {
					doubtful = map[int]*remembered{}
				}
				doubtful[i] = r
			}
		}
		unsettled = append(unsettled, i)
	}
	if !useL1 || (len(unsettled) > 0 && c.l2 != nil && !useL2) {
		c.stats.fallbacks.Add(1)
	}
	if len(unsettled) == 0 {
		return found, nil
	}
	if !useL2 {
		c.missL1(useL1, len(unsettled))
		return found, nil
	}
	return found, c.lookupShared(ctx, found, unsettled, doubtful, useL1, session)
}

// lookupShared answers from L2 what L1 left open, and promotes it. What L1 has but cannot vouch for is doubtful: L2
// confirms it, replaces it or has it dropped; it is served as it is when L2 does not answer.
func (c *cache) lookupShared(
	ctx context.Context, found []sdk.Lookup, unsettled []int, doubtful map[int]*remembered, useL1 bool, session uint64,
) error {
	keys := make([]string, len(unsettled))
	for n, i := range unsettled {
		keys[n] = found[i].Entry.Key
	}
	entries, err := c.l2.get(ctx, keys)
	if err != nil {
		if why := gone(ctx); why != nil {
			return sdk.Errorf(sdk.KindOf(why), "look up: %w", why)
		}
		c.stats.fallbacks.Add(1)
		c.logger.LogAttrs(ctx, slog.LevelDebug, "look-up in L2", slog.Any("error", err))
		for i, r := range doubtful {
			c.hit(&found[i], "l1", r.entry)
		}
		c.missL1(useL1, len(unsettled)-len(doubtful))
		return nil
	}
	var promoted, ahead []sdk.Entry
	for n, i := range unsettled {
		e, r := entries[n], doubtful[i]
		if e.Key != "" && c.debts.owes(e.Key) {
			e = sdk.Entry{}
		}
		switch {
		case e.Key == "" && r != nil:
			// Another host has invalidated it while the link was down, or Redis has lost it: nobody can tell.
			c.l1.forget(r)
			fallthrough
		case e.Key == "":
			c.missL1(useL1, 1)
			c.stats.l2Misses.Add(1)
		case r != nil && r.entry.StoredAt.After(e.StoredAt):
			// It was loaded while L2 was away, and is the newer one.
			c.hit(&found[i], "l1", r.entry)
			ahead = append(ahead, r.entry)
		default:
			c.missL1(useL1, 1)
			c.hit(&found[i], "l2", e)
			promoted = append(promoted, e)
		}
	}
	version := found[unsettled[0]].Version
	if useL1 && len(promoted) > 0 {
		c.promote(promoted, version, session)
	}
	if len(ahead) > 0 {
		for n := range ahead {
			ahead[n].Version = version
		}
		c.fill(ctx, ahead)
	}
	return nil
}

// hit completes a look-up. The entry's version becomes that of the look-up, which the cache vouches for.
func (c *cache) hit(found *sdk.Lookup, tier string, entry sdk.Entry) {
	entry.Version = found.Version
	found.Found, found.Tier, found.Entry = true, tier, entry
	if tier == "l1" {
		c.stats.l1Hits.Add(1)
	} else {
		c.stats.l2Hits.Add(1)
	}
}

// missL1 counts misses of L1, unless it was not asked.
func (c *cache) missL1(asked bool, n int) {
	if asked {
		c.stats.l1Misses.Add(uint64(n))
	}
}

// promote remembers in L1 what L2 held, unless it was invalidated since the look-up began.
func (c *cache) promote(entries []sdk.Entry, version, session uint64) {
	c.journal.admit(len(entries), func(i int) (string, uint64) { return entries[i].Key, version }, func(i int) {
		if c.l1.put(entries[i], session) {
			c.stats.promotions.Add(1)
		}
	})
	c.l1.settle()
}

// Fill implements sdk.Cache. Values beyond max_value are left out.
func (c *cache) Fill(ctx context.Context, entries []sdk.Entry) (int, error) {
	if err := c.running(); err != nil {
		return 0, err
	}
	for _, e := range entries {
		if err := checkKey("key", e.Key); err != nil {
			return 0, err
		}
	}
	c.stats.operations.Add(1)
	now := c.now()
	fitting := make([]sdk.Entry, 0, len(entries))
	for _, e := range entries {
		switch {
		case !e.StaleUntil.After(now):
			c.stats.refusedExpired.Add(1)
		case len(e.Value) > int(c.set.MaxValue):
			c.stats.refusedLarge.Add(1)
		default:
			e.Value = bytes.Clone(e.Value)
			fitting = append(fitting, e)
		}
	}
	return c.fill(ctx, fitting), nil
}

// fill remembers entries that are known to fit and returns how many were taken.
func (c *cache) fill(ctx context.Context, entries []sdk.Entry) int {
	session := c.link.session.Load()
	useL1, useL2 := c.l1gate.inUse(), c.l2 != nil && c.l2gate.inUse()
	admitted := make([]sdk.Entry, 0, len(entries))
	held := make([]bool, 0, len(entries))
	c.journal.admit(len(entries), func(i int) (string, uint64) { return entries[i].Key, entries[i].Version }, func(i int) {
		admitted = append(admitted, entries[i])
		held = append(held, useL1 && c.l1.put(entries[i], session))
	})
	c.stats.refusedOld.Add(uint64(len(entries) - len(admitted)))
	if len(admitted) == 0 {
		return 0
	}
	c.l1.settle()
	inL1 := 0
	for _, in := range held {
		if in {
			inL1++
		}
	}
	if !useL2 {
		return inL1
	}
	if refused, ok := c.fillShared(ctx, admitted); ok {
		return len(admitted) - refused
	}
	return inL1
}

// fillShared remembers entries in L2, tells the other hosts, and takes back what turns out to have been invalidated
// meanwhile. It returns how many that were, and false when L2 did not take the entries.
func (c *cache) fillShared(ctx context.Context, entries []sdk.Entry) (refused int, ok bool) {
	changed := notice{Sender: c.journal.epoch, Kind: noticeChanged, Patterns: make([]string, len(entries))}
	for i, e := range entries {
		changed.Patterns[i] = e.Key
	}
	generation, err := c.l2.set(ctx, entries, changed.encode())
	if err != nil {
		if gone(ctx) == nil {
			c.stats.fallbacks.Add(1)
			c.logger.LogAttrs(ctx, slog.LevelDebug, "fill of L2", slog.Any("error", err))
		}
		return 0, false
	}
	caughtUp := c.caughtUp(ctx, generation)
	valid := make(map[int]bool, len(entries))
	c.journal.admit(len(entries), func(i int) (string, uint64) { return entries[i].Key, entries[i].Version },
		func(i int) { valid[i] = true })
	var late []string
	for i, e := range entries {
		if !valid[i] || (!caughtUp && e.Version != 0) {
			late = append(late, e.Key)
		}
	}
	if len(late) == 0 {
		return 0, true
	}
	c.stats.refusedOld.Add(uint64(len(late)))
	if _, err := c.l2.unlink(context.WithoutCancel(ctx), late); err != nil {
		c.debts.add(late)
	}
	c.l1.drop(late)
	return len(late), true
}

// caughtUp waits until every invalidation up to a generation has been heard, and reports whether it was in time.
func (c *cache) caughtUp(ctx context.Context, generation uint64) bool {
	if c.link.session.Load() == 0 {
		return c.link.heard.at() >= generation
	}
	ctx, cancel := context.WithTimeout(ctx, c.l2.timeout)
	defer cancel()
	return c.link.heard.reached(ctx, generation)
}

// Invalidate implements sdk.Cache. What L2 cannot be told now it is told when it answers again, and not asked for until
// then; the error is Unavailable, because other hosts may serve what they have until then.
func (c *cache) Invalidate(ctx context.Context, patterns []string) (int, error) {
	if err := c.running(); err != nil {
		return 0, err
	}
	for _, p := range patterns {
		if err := checkKey("pattern", p); err != nil {
			return 0, err
		}
	}
	c.stats.operations.Add(1)
	total := 0
	var failure error
	for start := 0; start < len(patterns); start += noticeKeys {
		n, err := c.invalidate(ctx, patterns[start:min(start+noticeKeys, len(patterns))])
		total += n
		if err != nil {
			failure = err
		}
	}
	return total, failure
}

func (c *cache) invalidate(ctx context.Context, patterns []string) (int, error) {
	patterns = append([]string(nil), patterns...)
	c.stats.invalidations.Add(uint64(len(patterns)))
	if c.l2 == nil {
		return c.journal.end("", patterns), nil
	}
	id := c.nextID()
	c.journal.begin(id, patterns)
	var inL2 int
	var err error
	if _, broken := c.l2gate.state(); broken {
		err = sdk.Unavailable
	} else {
		inL2, err = c.forgetShared(ctx, patterns)
	}
	if err != nil {
		c.debts.add(patterns)
		err = sdk.Errorf(sdk.Unavailable, "invalidated here; L2 cannot be reached and follows when it answers: %w", err)
	}
	return max(c.journal.end(id, patterns), inL2), err
}
