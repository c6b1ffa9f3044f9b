package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
)

func TestLifecycle(t *testing.T) {
	t.Parallel()
	c := newCache()
	ctx := t.Context()
	if h := c.Health(ctx); h.Status != sdk.StatusFailed {
		t.Errorf("health before Initialize: %v", h)
	}
	if _, err := c.Metrics(ctx); err != nil {
		t.Error(err)
	}
	calls := map[string]func() error{
		"lookup":     func() error { _, err := c.Lookup(ctx, []string{"k"}); return err },
		"fill":       func() error { _, err := c.Fill(ctx, []sdk.Entry{entry("k", "v")}); return err },
		"invalidate": func() error { _, err := c.Invalidate(ctx, []string{"k"}); return err },
		"watch":      func() error { return c.Watch(ctx, func(sdk.CacheEvent) error { return nil }) },
		"tier":       func() error { return c.SetTier(ctx, "l1", false) },
		"acquire":    func() error { _, err := c.Acquire(ctx, sdk.LeaseRequest{Name: "n", Owner: "o", TTL: 1e9}); return err },
		"publish":    func() error { _, err := c.Publish(ctx, sdk.Message{Channel: "c"}); return err },
		"take":       func() error { return c.Take(ctx, sdk.BudgetRequest{Name: "n", N: 1, Limit: 1, Window: 1e9}) },
	}
	refuse := func(when string) {
		for name, call := range calls {
			if err := call(); !errors.Is(err, sdk.Unavailable) {
				t.Errorf("%s %s: got %v, want unavailable", name, when, err)
			}
		}
	}
	refuse("before Initialize")
	h := openWith(t, c, nil)
	if err := c.Initialize(ctx, sdk.Config{}); err == nil {
		t.Error("initialized twice")
	}
	h.fill(t, entry("k", "v"))
	watched := make(chan error, 1)
	hello := make(chan struct{})
	go func() {
		watched <- c.Watch(ctx, func(sdk.CacheEvent) error { close(hello); return nil })
	}()
	<-hello
	for range 2 {
		if err := c.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	}
	if err := <-watched; !errors.Is(err, sdk.Unavailable) {
		t.Errorf("watch ended with %v, want unavailable", err)
	}
	refuse("after Shutdown")

	early := newCache()
	for range 2 {
		if err := early.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	}
	if err := early.Initialize(ctx, sdk.Config{}); !errors.Is(err, sdk.Unavailable) {
		t.Errorf("initialize after shutdown: %v", err)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		setting string
		value   any
	}{
		"little memory":      {"max_memory", "1KB"},
		"no entries":         {"max_entries", 0},
		"no value":           {"max_value", "0B"},
		"no namespace":       {"namespace", ""},
		"braces":             {"namespace", "a{b}"},
		"long namespace":     {"namespace", strings.Repeat("n", 65)},
		"short timeout":      {"l2_timeout", "1ms"},
		"long timeout":       {"l2_timeout", "1m"},
		"no scheme":          {"redis_url", "localhost:6379"},
		"wrong scheme":       {"redis_url", "http://user:hunter2@localhost"},
		"no host":            {"redis_url", "redis://"},
		"wrong database":     {"redis_url", "redis://:hunter2@localhost/hunter2"},
		"not a URL":          {"redis_url", "redis://:hunter2%zz@localhost"},
		"wrong port":         {"redis_url", "redis://:hunter2@localhost:hunter2"},
		"unknown parameters": {"redis_url", "redis://:hunter2@localhost?hunter2=1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := newCache().Initialize(t.Context(), sdk.Config{Values: values{test.setting: test.value}})
			var e *sdk.Error
			if !errors.As(err, &e) || e.Kind != sdk.InvalidArgument || e.Setting != test.setting {
				t.Fatalf("got %#v, want an invalid argument of %s", err, test.setting)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, e), "hunter2") {
				t.Errorf("the error %q holds the secret", err)
			}
		})
	}
}

func TestManifest(t *testing.T) {
	t.Parallel()
	m := manifest().Complete(newCache())
	if len(m.Roles) != 2 || !m.Has(sdk.RoleCache) || !m.Has(sdk.RoleCoordinator) || m.Layer != sdk.LayerInfrastructure {
		t.Errorf("got %+v", m)
	}
	if s, ok := m.Setting("redis_url"); !ok || !s.Secret || s.Required {
		t.Errorf("redis_url is %+v", s)
	}
}

func TestRemembersWithoutL2(t *testing.T) {
	t.Parallel()
	now := newClock()
	c := newCache()
	c.now = now.Now
	h := openWith(t, c, values{"max_value": "10B"})
	short := entry("short", "s")
	short.FreshUntil, short.StaleUntil = now.Now().Add(30*time.Second), now.Now().Add(time.Minute)
	past := entry("past", "p")
	past.StaleUntil = now.Now()
	if n := h.fill(t, entry("a", "1"), short, past, entry("large", "more than ten bytes")); n != 2 {
		t.Errorf("%d taken, want 2", n)
	}
	found, err := h.Lookup(t.Context(), []string{"none", "a", "short", "past", "large", "a"})
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, l := range found {
		got += fmt.Sprintf("%s:%v:%s:%s ", l.Entry.Key, l.Found, l.Entry.Value, l.Tier)
		if l.Version == 0 {
			t.Error("version 0 would fill unconditionally")
		}
	}
	want := "none:false:: a:true:1:l1 short:true:s:l1 past:false:: large:false:: a:true:1:l1 "
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !found[2].Entry.FreshUntil.Equal(short.FreshUntil) || !found[2].Entry.StoredAt.Equal(short.StoredAt) {
		t.Errorf("times were not kept: %+v", found[2].Entry)
	}
	now.advance(time.Minute)
	h.want(t, "short", "")
	h.want(t, "a", "l1=1")

	part, _ := h.Health(t.Context()).Part("l2")
	if h.Health(t.Context()).Status != sdk.StatusOK || part.Status != sdk.StatusOK || part.Details["state"] != "not configured" {
		t.Errorf("health without L2: %+v", h.Health(t.Context()))
	}
	l1 := map[string]string{"tier": "l1"}
	if hits, misses := h.metric(t, "cache_hits_total", l1), h.metric(t, "cache_misses_total", l1); hits != 4 || misses != 4 {
		t.Errorf("%v hits and %v misses, want 4 and 4", hits, misses)
	}
	if m, _ := h.Metrics(t.Context()); len(m) == 0 {
		t.Error("no metrics")
	} else if _, ok := m.Value("cache_l2_memory_usage_bytes", nil); ok {
		t.Error("memory of an L2 that is not configured")
	}
	for _, bad := range []string{"", strings.Repeat("k", maxKey+1), "\xff"} {
		if _, err := h.Lookup(t.Context(), []string{bad}); !errors.Is(err, sdk.InvalidArgument) {
			t.Errorf("look-up of %.10q: %v", bad, err)
		}
	}
}

// What a caller does to its buffer afterwards must not change what is remembered.
func TestFillKeepsItsOwnCopy(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	e := entry("k", "value")
	h.fill(t, e)
	copy(e.Value, "WRONG")
	h.want(t, "k", "l1=value")
}

func TestAnInvalidationDuringALoadWins(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	fillAt := func(version uint64, key string) int {
		e := entry(key, "loaded")
		e.Version = version
		return h.fill(t, e)
	}
	before := h.lookup(t, "crypto_report_btc").Version
	h.invalidate(t, 0, "crypto_report_btc")
	if fillAt(before, "crypto_report_btc") != 0 {
		t.Error("an old value was taken after an invalidation by key")
	}
	if fillAt(before, "crypto_report_eth") != 1 {
		t.Error("a value nobody invalidated was refused")
	}
	if fillAt(h.lookup(t, "crypto_report_btc").Version, "crypto_report_btc") != 1 {
		t.Error("a new value was refused")
	}
	before = h.lookup(t, "x").Version
	h.invalidate(t, 2, "crypto_?eport_*")
	if fillAt(before, "crypto_report_btc") != 0 {
		t.Error("an old value was taken after an invalidation by glob")
	}
	if fillAt(0, "crypto_report_btc") != 1 {
		t.Error("version 0 fills unconditionally")
	}
	if fillAt(before-1_000_000, "other") != 0 || fillAt(before+1_000_000, "other") != 0 {
		t.Error("a version of another life was taken")
	}
	for i := range keptRecords + 1 {
		h.invalidate(t, 0, fmt.Sprint("key ", i))
	}
	if fillAt(before, "other") != 0 {
		t.Error("a version older than the journal was taken")
	}
	if h.metric(t, "cache_refused_total", map[string]string{"reason": "invalidated"}) != 5 {
		t.Error("refusals are not counted")
	}
}

func TestInvalidateByGlobWithSpecialKeys(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	keys := []string{"a[b]", "a*b", `a\b`, "a?b", "aéb", "a b", "b"}
	for _, key := range keys {
		h.fill(t, entry(key, "v"))
	}
	h.invalidate(t, 1, "a[b]")
	h.invalidate(t, 5, "a?b")
	h.invalidate(t, 1, "*")
}

func TestTiersByAnOperator(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	h.fill(t, entry("k", "v"))
	for range 2 {
		if err := h.SetTier(t.Context(), "l1", false); err != nil {
			t.Fatal(err)
		}
	}
	h.want(t, "k", "")
	if n := h.fill(t, entry("k", "v")); n != 0 {
		t.Errorf("%d taken without a tier", n)
	}
	if health := h.Health(t.Context()); health.Status != sdk.StatusFailed {
		t.Errorf("health without any tier: %+v", health)
	}
	// A healthy probe does not overrule the operator.
	h.probeL1(t.Context())
	h.want(t, "k", "")
	if err := h.SetTier(t.Context(), "l1", true); err != nil {
		t.Fatal(err)
	}
	h.want(t, "k", "")
	h.fill(t, entry("k", "v"))
	h.want(t, "k", "l1=v")
	if h.log.count("WARN L1 cache disabled, using L2 only") != 1 || h.log.count("INFO L1 cache enabled") != 1 {
		t.Errorf("logged %q", h.log.lines)
	}
	for _, tier := range []string{"l2", "l3", ""} {
		if err := h.SetTier(t.Context(), tier, false); !errors.Is(err, sdk.NotFound) {
			t.Errorf("tier %q: %v", tier, err)
		}
	}
}

func TestProbeTakesL1OutAndBackIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCache()
		var mu sync.Mutex
		broken := false
		c.probe = func(m *memory) bool {
			mu.Lock()
			defer mu.Unlock()
			return m.probe() && !broken
		}
		set := func(b bool) {
			mu.Lock()
			broken = b
			mu.Unlock()
			time.Sleep(3 * upkeepEvery)
		}
		h := openWith(t, c, nil)
		h.fill(t, entry("k", "v"))
		set(false)
		h.want(t, "k", "l1=v")
		set(true)
		h.want(t, "k", "")
		if h.log.count("WARN "+l1Out) != 1 {
			t.Errorf("logged %q", h.log.lines)
		}
		set(false)
		h.fill(t, entry("k", "v"))
		h.want(t, "k", "l1=v")
		if h.log.count("INFO "+l1Back) != 1 || len(h.log.lines) != 2 {
			t.Errorf("logged %q", h.log.lines)
		}
	})
}

func TestWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := open(t, nil)
		e := h.watch(t)
		h.fill(t, entry("a", "v"))
		h.invalidate(t, 1, "a", "b*")
		h.invalidate(t, 0, "c")
		time.Sleep(2*sdk.WatchHeartbeat + time.Millisecond)
		got := e.all()
		kinds := ""
		for _, event := range got {
			kinds += fmt.Sprint(event.Type, " ")
			if event.Epoch != got[0].Epoch || event.Epoch == "" || event.Shared {
				t.Errorf("got %+v", event)
			}
		}
		if kinds != "1 2 2 4 4 " {
			t.Fatalf("got the events %s", kinds)
		}
		v := got[0].Version
		if got[1].Version != v+1 || got[2].Version != v+2 || got[3].Version != v+2 || got[4].Version != v+2 {
			t.Errorf("versions of %+v", got)
		}
		if fmt.Sprint(got[1].Patterns) != "[a b*]" {
			t.Errorf("patterns are %q", got[1].Patterns)
		}
	})
}

func TestWatchEndsWithItsReason(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	failure := errors.New("the reader is gone")
	if err := h.Watch(t.Context(), func(sdk.CacheEvent) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := h.Watch(ctx, func(sdk.CacheEvent) error { cancel(); return nil }); !errors.Is(err, sdk.Canceled) {
		t.Errorf("got %v", err)
	}
	if n := len(h.journal.watchers); n != 0 {
		t.Errorf("%d watchers are left", n)
	}
}

func TestASlowWatcherGetsOneFlush(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	release := make(chan struct{})
	reading := make(chan struct{})
	var got []sdk.CacheEvent
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- h.Watch(ctx, func(event sdk.CacheEvent) error {
			if event.Type == sdk.CacheHello {
				close(reading)
				<-release
			}
			got = append(got, event)
			if event.Type == sdk.CacheFlushed {
				cancel()
			}
			return nil
		})
	}()
	<-reading
	const many = 10 * watcherQueue
	for i := range many {
		h.invalidate(t, 0, fmt.Sprint("key ", i))
	}
	close(release)
	if err := <-ended; !errors.Is(err, sdk.Canceled) {
		t.Fatal(err)
	}
	if len(got) != 2 || got[1].Type != sdk.CacheFlushed || got[1].Version != got[0].Version+many {
		t.Errorf("got %+v", got)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	h := open(t, values{"max_entries": 50})
	e := h.watch(t)
	var work sync.WaitGroup
	for worker := range 8 {
		work.Go(func() {
			for i := range 300 {
				key := fmt.Sprint("k", (worker+i)%100)
				l, err := h.Lookup(t.Context(), []string{key})
				if err != nil {
					t.Error(err)
					return
				}
				filled := entry(key, "v")
				filled.Version = l[0].Version
				if _, err := h.Fill(t.Context(), []sdk.Entry{filled}); err != nil {
					t.Error(err)
				}
				if i%10 == 0 {
					if _, err := h.Invalidate(t.Context(), []string{key, "k?"}); err != nil {
						t.Error(err)
					}
					h.Health(t.Context())
					if _, err := h.Metrics(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	work.Wait()
	eventually(t, "the last event", func() bool {
		all := e.all()
		return all[len(all)-1].Version == h.journal.version()
	})
}
