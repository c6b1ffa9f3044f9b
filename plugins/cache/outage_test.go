package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/islandtest/servers"
)

func TestRedisKilledAndRestarted(t *testing.T) {
	t.Parallel()
	server, hosts := onRedis(t, 2)
	h := hosts[0]
	e := h.watch(t)
	h.fill(t, entry("k", "v"), entry("other", "v"))
	server.Stop()
	eventually(t, "the end of L2", func() bool { return !h.l2gate.inUse() })
	h.want(t, "k", "l1=v")
	h.want(t, "missing", "")
	if n := h.fill(t, entry("new", "v")); n != 1 {
		t.Errorf("%d taken while L2 is away, want 1", n)
	}
	h.want(t, "new", "l1=v")
	if n, err := h.Invalidate(t.Context(), []string{"other"}); n != 1 || !errors.Is(err, sdk.Unavailable) {
		t.Errorf("invalidation while L2 is away: %d, %v", n, err)
	}
	h.want(t, "other", "")
	health := h.Health(t.Context())
	part, _ := health.Part("l2")
	if health.Status != sdk.StatusDegraded || part.Status != sdk.StatusDegraded || strings.Contains(part.Reason, "127.") {
		t.Errorf("health while L2 is away: %+v", health)
	}
	m, err := h.Metrics(t.Context())
	if _, ok := m.Value("cache_l2_memory_usage_bytes", nil); ok || err != nil {
		t.Errorf("memory of a Redis that is away: %v, %v", m, err)
	}
	if _, err := h.Acquire(t.Context(), sdk.LeaseRequest{Name: "n", Owner: "o", TTL: time.Minute}); !errors.Is(err, sdk.Unavailable) {
		t.Errorf("lease without Redis: %v", err)
	}

	server.Restart()
	h.awaitL2(t)
	hosts[1].awaitL2(t)
	eventually(t, "the flush", func() bool { return e.count(sdk.CacheFlushed) >= 1 })
	if h.Health(t.Context()).Status != sdk.StatusOK {
		t.Errorf("health afterwards: %+v", h.Health(t.Context()))
	}
	h.fill(t, entry("k", "after"))
	hosts[1].want(t, "k", "l2=after")
	if h.log.count("WARN L2 cache disabled, using L1 + database") != 1 || h.log.count("INFO L2 cache enabled") != 1 {
		t.Errorf("logged %q", h.log.lines)
	}
}

// A Redis that is frozen answers nobody, but its connections stand: only time tells.
func TestRedisPausedUnderLoad(t *testing.T) {
	t.Parallel()
	server, hosts := onRedisWithin(t, 2, "250ms")
	h := hosts[0]
	eventually(t, "k1 in Redis", func() bool {
		h.fill(t, entry("k1", "v"))
		return h.l2.client.Exists(t.Context(), "islands:value:k1").Val() == 1
	})
	e := hosts[1].watch(t)
	server.Pause()
	slowest := time.Duration(0)
	for rounds, deadline := 0, time.Now().Add(2*time.Second); rounds < 10 || time.Now().Before(deadline); rounds++ {
		start := time.Now()
		h.want(t, "k1", "l1=v")
		h.want(t, "missing", "")
		h.fill(t, entry("k2", "v"))
		slowest = max(slowest, time.Since(start))
		time.Sleep(10 * time.Millisecond)
	}
	if slowest > 2*time.Second {
		t.Errorf("the slowest round took %v", slowest)
	}
	if h.l2gate.inUse() {
		t.Error("L2 is still in use")
	}
	// The other host asks nothing, and has to notice by itself.
	start := time.Now()
	eventually(t, "the idle host to notice", func() bool { return !hosts[1].l2gate.inUse() })
	if waited := time.Since(start); waited > 7*time.Second {
		t.Errorf("noticed after %v", waited)
	}
	server.Resume()
	h.awaitL2(t)
	hosts[1].awaitL2(t)
	eventually(t, "the flush", func() bool { return e.count(sdk.CacheFlushed) >= 1 })
	eventually(t, "k1 from L2", func() bool { return hosts[1].answer(t, "k1") == "l2=v" })
}

func TestRedisAwayAtTheStart(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t, servers.RedisPassword("hunter2"))
	server.Stop()
	h := open(t, values{"redis_url": server.URL(), "l2_timeout": patient})
	h.fill(t, entry("k", "v"))
	h.want(t, "k", "l1=v")
	if h.Health(t.Context()).Status != sdk.StatusDegraded || h.log.count("WARN "+l2Out) != 1 {
		t.Errorf("health %+v, log %q", h.Health(t.Context()), h.log.lines)
	}
	server.Restart()
	h.awaitL2(t)
	h.fill(t, entry("k", "v"))
	if h.l2.client.Exists(t.Context(), "islands:value:k").Val() != 1 {
		t.Error("not in Redis")
	}
	if strings.Contains(h.log.everything(), "hunter2") {
		t.Error("the log holds the password")
	}
}

func TestNoSecretIsShown(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t, servers.RedisPassword("right"))
	h := open(t, values{"redis_url": "redis://someone:hunter2@" + server.Addr()})
	_, err := h.Acquire(t.Context(), sdk.LeaseRequest{Name: "n", Owner: "o", TTL: time.Minute})
	if !errors.Is(err, sdk.Unavailable) {
		t.Errorf("with a wrong password: %v", err)
	}
	_, invalid := h.Invalidate(t.Context(), []string{"k"})
	m, _ := h.Metrics(t.Context())
	if text := fmt.Sprint(err, invalid, h.Health(t.Context()), m, h.log.everything()); strings.Contains(text, "hunter2") {
		t.Errorf("the password is in %s", text)
	}
}

func TestFlushAllUnderLoad(t *testing.T) {
	t.Parallel()
	_, hosts := onRedis(t, 2)
	var load sync.WaitGroup
	var rounds atomic.Int64
	var over atomic.Bool
	for worker := range 4 {
		h := hosts[worker%2]
		load.Go(func() {
			for i := 0; !over.Load(); i++ {
				key := fmt.Sprint("k", i%50)
				found, err := h.Lookup(t.Context(), []string{key})
				if err != nil {
					t.Error(err)
					return
				}
				if !found[0].Found {
					e := entry(key, "v")
					e.Version = found[0].Version
					if _, err := h.Fill(t.Context(), []sdk.Entry{e}); err != nil {
						t.Error(err)
					}
				}
				if i%40 == 0 {
					if _, err := h.Invalidate(t.Context(), []string{key}); err != nil {
						t.Error(err)
					}
				}
				rounds.Add(1)
			}
		})
	}
	for range 10 {
		before := rounds.Load()
		if err := hosts[0].l2.client.FlushAll(t.Context()).Err(); err != nil {
			t.Error(err)
		}
		eventually(t, "more load", func() bool { return rounds.Load() > before+50 })
	}
	over.Store(true)
	load.Wait()
	for _, h := range hosts {
		if h.log.count("WARN "+l2Out) != 0 {
			t.Error("L2 was taken out")
		}
		h.fill(t, entry("last", "v"))
	}
	if hosts[0].l2.client.Exists(t.Context(), "islands:value:last").Val() != 1 {
		t.Error("fills do not reach Redis after FLUSHALL")
	}
}

// The wire between one host and Redis breaks; the other host goes on.
func TestAHostCutOffCatchesUp(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	wire := servers.Proxy(t, server.Addr())
	cut := open(t, values{"redis_url": "redis://" + wire.Addr(), "l2_timeout": patient})
	other := open(t, values{"redis_url": server.URL(), "l2_timeout": patient})
	cut.awaitL2(t)
	other.awaitL2(t)
	cut.fill(t, entry("invalidated there", "v"), entry("invalidated here", "v"), entry("same", "v"), entry("replaced", "old"))
	other.want(t, "invalidated here", "l2=v")

	wire.Cut()
	eventually(t, "the end of L2", func() bool { return !cut.l2gate.inUse() })
	other.invalidate(t, 1, "invalidated there")
	other.fill(t, entry("replaced", "new"))
	if _, err := cut.Invalidate(t.Context(), []string{"*d here"}); !errors.Is(err, sdk.Unavailable) {
		t.Errorf("invalidation in vain: %v", err)
	}
	cut.fill(t, entry("same", "newer"))
	// While it cannot know better, it serves what it has.
	cut.want(t, "invalidated there", "l1=v")
	cut.want(t, "replaced", "l1=old")

	e := cut.watch(t)
	wire.Heal()
	cut.awaitL2(t)
	eventually(t, "the flush", func() bool { return e.count(sdk.CacheFlushed) >= 1 })
	cut.want(t, "invalidated there", "")
	cut.want(t, "replaced", "l2=new")
	cut.want(t, "invalidated here", "")
	cut.want(t, "same", "l1=newer")
	eventually(t, "the other host to follow", func() bool {
		return other.answer(t, "invalidated here") == "" && strings.HasSuffix(other.answer(t, "same"), "newer")
	})
	if cut.debts.any.Load() {
		t.Error("something is still owed")
	}
}

func TestADroppedSubscriptionAloneIsNoOutage(t *testing.T) {
	t.Parallel()
	_, hosts := onRedis(t, 1)
	h := hosts[0]
	h.fill(t, entry("k", "v"))
	time.Sleep(linkSettled)
	e := h.watch(t)
	if err := h.l2.client.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the flush", func() bool { return e.count(sdk.CacheFlushed) == 1 })
	h.awaitL2(t)
	h.want(t, "k", "l2=v")
	h.want(t, "k", "l1=v")
	if h.log.count("WARN "+l2Out) != 0 {
		t.Errorf("logged %q", h.log.lines)
	}
}

func TestAFullRedisIsNoOutage(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t, servers.RedisArgs("--maxmemory", "3mb", "--maxmemory-policy", "noeviction"))
	h := open(t, values{"redis_url": server.URL(), "l2_timeout": patient})
	h.awaitL2(t)
	value := strings.Repeat("v", 100_000)
	for i := range 60 {
		h.fill(t, entry(fmt.Sprint("k", i), value))
	}
	h.want(t, "k59", "l1="+value)
	if h.log.count("WARN "+l2Out) != 0 {
		t.Errorf("logged %q", h.log.lines)
	}
}

func TestACanceledLookupIsNoOutage(t *testing.T) {
	t.Parallel()
	server, hosts := onRedis(t, 1)
	h := hosts[0]
	server.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for range 2 * tolerated {
		if _, err := h.Lookup(ctx, []string{"k"}); !errors.Is(err, sdk.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	}
	if h.failures.Load() != 0 {
		t.Error("callers that went away were taken for failures of Redis")
	}
	server.Resume()
}
