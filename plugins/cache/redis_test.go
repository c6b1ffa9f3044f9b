package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/islandtest/servers"
)

func TestPromotion(t *testing.T) {
	t.Parallel()
	_, hosts := onRedis(t, 2)
	a, b := hosts[0], hosts[1]
	a.fill(t, entry("crypto_report_btc", "report"))
	a.want(t, "crypto_report_btc", "l1=report")
	eventually(t, "the notice of the fill", func() bool { return b.stats.remote.Load() == 1 })
	b.want(t, "crypto_report_btc", "l2=report")
	b.want(t, "crypto_report_btc", "l1=report")
	if n := b.metric(t, "cache_promotions_total", nil); n != 1 {
		t.Errorf("%v promotions, want 1", n)
	}
	found := b.lookup(t, "crypto_report_btc").Entry
	if want := a.lookup(t, "crypto_report_btc").Entry; !found.FreshUntil.Equal(want.FreshUntil) ||
		!found.StaleUntil.Equal(want.StaleUntil) || !found.StoredAt.Equal(want.StoredAt) {
		t.Errorf("the promoted entry is %+v, want %+v", found, want)
	}
}

func TestTTLInBothTiers(t *testing.T) {
	t.Parallel()
	now := newClock()
	server := servers.Redis(t)
	c := newCache()
	c.now = now.Now
	h := openWith(t, c, values{"redis_url": server.URL(), "l2_timeout": patient})
	h.awaitL2(t)
	for name, kept := range map[string]time.Duration{"real_time": 30 * time.Second, "medium_term": time.Hour} {
		e := entry(name, "v")
		e.StaleUntil = now.Now().Add(kept)
		h.fill(t, e)
		ttl, err := h.l2.client.PTTL(t.Context(), "islands:value:"+name).Result()
		if err != nil || ttl > kept || ttl < kept-5*time.Second {
			t.Errorf("%s: Redis keeps it %v (%v), want %v", name, ttl, err, kept)
		}
	}
	now.advance(30*time.Second - time.Millisecond)
	h.want(t, "real_time", "l1=v")
	now.advance(time.Millisecond)
	// Redis, whose clock stands still, still has it.
	h.want(t, "real_time", "")
	h.want(t, "medium_term", "l1=v")
}

func TestHostsSeeEachOthersInvalidations(t *testing.T) {
	t.Parallel()
	_, hosts := onRedis(t, 2)
	a, b := hosts[0], hosts[1]
	keys := []string{"crypto_report_btc", "crypto_report_eth", "rsi_analysis_btc", "a[b]", "a*b", `a\b`, "aéb", "^-x"}
	remember := func() {
		for _, key := range keys {
			a.fill(t, entry(key, "v"))
			eventually(t, "promotion", func() bool { return b.answer(t, key) == "l1=v" })
		}
	}
	for _, test := range []struct {
		pattern string
		gone    string
	}{
		{"crypto_report_btc", "crypto_report_btc"},
		{"crypto_report_*", "crypto_report_btc crypto_report_eth"},
		{"a[b]", "a[b]"},
		{"a?b", `a*b a\b aéb`},
		{`a\*`, `a\b`},
		{"^-?", "^-x"},
		{"*", strings.Join(keys, " ")},
	} {
		remember()
		e := b.watch(t)
		gone := map[string]bool{}
		for key := range strings.FieldsSeq(test.gone) {
			gone[key] = true
		}
		before := b.lookup(t, "other").Version
		a.invalidate(t, len(gone), test.pattern)
		eventually(t, "the event", func() bool { return e.invalidated(test.pattern) })
		for _, key := range keys {
			for _, h := range []host{a, b} {
				if there := h.answer(t, key) != ""; there == gone[key] {
					t.Errorf("after an invalidation of %q, is %q there? %v", test.pattern, key, there)
				}
			}
		}
		old := entry(strings.Fields(test.gone)[0], "old")
		old.Version = before
		if b.fill(t, old) != 0 {
			t.Errorf("a load that began before another host invalidated %q was taken", test.pattern)
		}
	}
	if hello := b.watch(t).all()[0]; !hello.Shared {
		t.Error("an L2 that others may change is not shared")
	}
}

func TestAnInvalidationLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	server, hosts := onRedis(t, 1)
	h := hosts[0]
	other := open(t, values{"redis_url": server.URL(), "l2_timeout": patient, "namespace": "i*lands:"})
	other.awaitL2(t)
	h.fill(t, entry("k", "v"))
	other.fill(t, entry("k", "v"))
	if _, err := h.Acquire(t.Context(), sdk.LeaseRequest{Name: "poll", Owner: "h", TTL: time.Minute}); err != nil {
		t.Fatal(err)
	}
	other.invalidate(t, 1, "*")
	h.want(t, "k", "l1=v")
	h.invalidate(t, 1, "*")
	if _, err := h.Acquire(t.Context(), sdk.LeaseRequest{Name: "poll", Owner: "x", TTL: time.Minute}); !errors.Is(err, sdk.Conflict) {
		t.Errorf("the lease went with the values: %v", err)
	}
}

func TestHostsSeeEachOthersFills(t *testing.T) {
	t.Parallel()
	_, hosts := onRedis(t, 2)
	a, b := hosts[0], hosts[1]
	a.fill(t, entry("k", "old"))
	eventually(t, "promotion", func() bool { return b.answer(t, "k") == "l1=old" })
	ea, eb := a.watch(t), b.watch(t)
	a.fill(t, entry("k", "new"))
	eventually(t, "the other host's event", func() bool { return eb.invalidated("k") })
	b.want(t, "k", "l2=new")
	b.want(t, "k", "l1=new")
	if ea.invalidated("k") {
		t.Error("a fill told its own watchers")
	}

	var many []sdk.Entry
	for i := range noticeKeys + 1 {
		many = append(many, entry(fmt.Sprint("key ", i), "v"))
	}
	a.fill(t, many...)
	eventually(t, "the flush", func() bool { return eb.count(sdk.CacheFlushed) == 1 })
	eventually(t, "L1 to be checked", func() bool { return b.answer(t, "k") == "l1=new" })
}

// A load that began on one host before another host's invalidation must not survive it anywhere, however the two meet.
func TestAnInvalidationWinsOverALoadOnAnotherHost(t *testing.T) {
	t.Parallel()
	_, hosts := onRedis(t, 2)
	a, b := hosts[0], hosts[1]
	for i := range 150 {
		key := fmt.Sprint("key ", i)
		e := entry(key, "old")
		e.Version = a.lookup(t, key).Version
		var race sync.WaitGroup
		race.Go(func() {
			if _, err := a.Fill(t.Context(), []sdk.Entry{e}); err != nil {
				t.Error(err)
			}
		})
		race.Go(func() {
			pattern := key
			if i%2 == 0 {
				pattern = "ke? " + key[4:]
			}
			if _, err := b.Invalidate(t.Context(), []string{pattern}); err != nil {
				t.Error(err)
			}
		})
		race.Wait()
		for _, h := range hosts {
			eventually(t, "the old value's end", func() bool { return h.answer(t, key) == "" })
		}
		if n := a.l2.client.Exists(t.Context(), a.l2.valueKey(key)).Val(); n != 0 {
			t.Fatalf("round %d: Redis still has the old value", i)
		}
	}
}

// A value filled right after this host's own invalidation is not mistaken for an old one.
func TestFillAfterOwnInvalidation(t *testing.T) {
	t.Parallel()
	_, hosts := onRedis(t, 1)
	h := hosts[0]
	for i := range 100 {
		h.invalidate(t, min(i, 1), "k")
		e := entry("k", "v")
		e.Version = h.lookup(t, "k").Version
		if h.fill(t, e) != 1 {
			t.Fatal("refused")
		}
		if n := h.l2.client.Exists(t.Context(), h.l2.valueKey("k")).Val(); n != 1 {
			t.Fatal("not in Redis")
		}
	}
}

func TestL2ByAnOperator(t *testing.T) {
	t.Parallel()
	server, hosts := onRedis(t, 2)
	h := hosts[0]
	h.fill(t, entry("k", "v"), entry("gone", "v"))
	if err := h.SetTier(t.Context(), "l2", false); err != nil {
		t.Fatal(err)
	}
	h.want(t, "k", "l1=v")
	h.fill(t, entry("here", "v"))
	hosts[1].want(t, "here", "")
	// The tier is out, but the other hosts still have to be told.
	h.invalidate(t, 1, "gone")
	hosts[1].want(t, "gone", "")
	server.Restart()
	eventually(t, "the link", func() bool { return h.link.session.Load() > 1 })
	if h.l2gate.inUse() {
		t.Error("Redis' return overruled the operator")
	}
	if err := h.SetTier(t.Context(), "l2", true); err != nil {
		t.Fatal(err)
	}
	h.awaitL2(t)
	h.fill(t, entry("k", "again"))
	hosts[1].awaitL2(t)
	hosts[1].want(t, "k", "l2=again")
	if h.log.count("WARN "+l2Out) != 1 || h.log.count("INFO "+l2Back) != 1 {
		t.Errorf("logged %q", h.log.lines)
	}

	if err := hosts[1].SetTier(t.Context(), "l1", false); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		hosts[1].want(t, "k", "l2=again")
	}
	if n := hosts[1].fill(t, entry("k2", "v")); n != 1 {
		t.Errorf("%d taken by L2 alone", n)
	}
}

func TestMetricsAgreeWithRedis(t *testing.T) {
	t.Parallel()
	_, hosts := onRedis(t, 1)
	h := hosts[0]
	h.fill(t, entry("k", "v"))
	h.want(t, "k", "l1=v")
	h.want(t, "none", "")
	eventually(t, "the same used_memory", func() bool {
		h.stats.mu.Lock()
		h.stats.askedAt = time.Time{}
		h.stats.mu.Unlock()
		said := h.metric(t, "cache_l2_memory_usage_bytes", nil)
		info, err := h.l2.client.Info(t.Context(), "memory").Result()
		if err != nil {
			t.Fatal(err)
		}
		own, err := infoField(info, "used_memory")
		// Two questions never meet the same instant; asking itself moves the figure by the size of a buffer.
		return err == nil && said > 0 && said/own > 0.9 && said/own < 1.1
	})
	if n := h.metric(t, "cache_l2_connections", nil); n < 2 {
		t.Errorf("%v connections", n)
	}
	if latency := h.metric(t, "cache_l2_latency_avg_seconds", nil); latency <= 0 || latency > 1 {
		t.Errorf("latency %v", latency)
	}
	for name, want := range map[string]float64{
		"cache_operations_total": 3, "cache_promotions_total": 0, "cache_fallbacks_total": 0, "cache_evictions_total": 0,
	} {
		if got := h.metric(t, name, nil); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if n := h.metric(t, "cache_misses_total", map[string]string{"tier": "l2"}); n != 1 {
		t.Errorf("%v misses of L2, want 1", n)
	}
}

func TestForeignValuesAreMisses(t *testing.T) {
	t.Parallel()
	_, hosts := onRedis(t, 1)
	h := hosts[0]
	for i, value := range []string{"", "x", strings.Repeat("x", 100), "\x01short"} {
		key := fmt.Sprint("foreign ", i)
		if err := h.l2.client.Set(t.Context(), h.l2.valueKey(key), value, time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		h.want(t, key, "")
	}
	if err := h.l2.client.LPush(t.Context(), h.l2.valueKey("list"), 1).Err(); err != nil {
		t.Fatal(err)
	}
	h.want(t, "list", "")
	e := h.watch(t)
	if err := h.l2.client.Publish(t.Context(), h.l2.channel(), "nonsense").Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the flush", func() bool { return e.count(sdk.CacheFlushed) == 1 })
}

func TestLargeBatches(t *testing.T) {
	t.Parallel()
	_, hosts := onRedis(t, 2)
	var entries []sdk.Entry
	var keys []string
	for i := range 2*keysPerCommand + 7 {
		keys = append(keys, fmt.Sprint("key ", i))
		entries = append(entries, entry(keys[i], keys[i]))
	}
	if n := hosts[0].fill(t, entries...); n != len(entries) {
		t.Errorf("%d taken", n)
	}
	for _, tier := range []string{"l2", "l1"} {
		var found []sdk.Lookup
		eventually(t, "all in "+tier, func() bool {
			var err error
			if found, err = hosts[1].Lookup(t.Context(), keys); err != nil {
				t.Fatal(err)
			}
			return found[len(found)-1].Tier == tier
		})
		for i, l := range found {
			if l.Tier != tier || string(l.Entry.Value) != keys[i] {
				t.Fatalf("%d: got %+v, want it from %s", i, l, tier)
			}
		}
	}
	hosts[1].invalidate(t, len(keys), keys...)
	eventually(t, "the other host has heard of it", func() bool {
		found, err := hosts[0].Lookup(t.Context(), keys[:1])
		return err == nil && !found[0].Found
	})
	if size := hosts[0].l2.client.Keys(t.Context(), "islands:value:*").Val(); len(size) != 0 {
		t.Errorf("%d keys left", len(size))
	}
}

func TestOptionsTakeTLSAndDatabases(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]redis.Options{
		"redis://localhost":               {Addr: "localhost:6379"},
		"redis://:pw@example.com:7000/3":  {Addr: "example.com:7000", Password: "pw", DB: 3},
		"rediss://me:pw@example.com:7000": {Addr: "example.com:7000", Username: "me", Password: "pw"},
	} {
		got, err := redisOptions(sdk.Secret(url), time.Second)
		if err != nil || got.Addr != want.Addr || got.Password != want.Password || got.DB != want.DB || got.Username != want.Username {
			t.Errorf("%s: got %+v, %v", url, got, err)
		}
		if tls := got.TLSConfig != nil; tls != strings.HasPrefix(url, "rediss") {
			t.Errorf("%s: TLS is %v", url, tls)
		}
	}
}
