package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/sdk"
)

// infoFor is how long an answer of Redis about itself is used again.
const infoFor = time.Second

// stats is what the cache counts.
type stats struct {
	operations, l1Hits, l1Misses, l2Hits, l2Misses atomic.Uint64
	promotions, fallbacks, invalidations, remote   atomic.Uint64
	refusedOld, refusedExpired, refusedLarge       atomic.Uint64
	l2Errors, l2Exchanges                          atomic.Uint64
	l2Nanoseconds                                  atomic.Int64

	// mu lets one caller at a time ask Redis about itself.
	mu      sync.Mutex
	info    serverInfo
	known   bool
	askedAt time.Time
}

// latency is the average time of an exchange with Redis in seconds, 0 before the first.
func (s *stats) latency() float64 {
	n := s.l2Exchanges.Load()
	if n == 0 {
		return 0
	}
	return time.Duration(s.l2Nanoseconds.Load()).Seconds() / float64(n)
}

// rate is the part of hits in all look-ups, 0 before the first.
func rate(hits, misses uint64) float64 {
	if hits+misses == 0 {
		return 0
	}
	return float64(hits) / float64(hits+misses)
}

// serverInfo returns what Redis says about itself, at most a second old, and false when it is away.
func (c *cache) serverInfo(ctx context.Context) (serverInfo, bool) {
	s := &c.stats
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.askedAt) >= infoFor {
		s.known = false
		if _, broken := c.l2gate.state(); !broken {
			info, err := c.l2.info(ctx)
			s.info, s.known = info, err == nil
		}
		s.askedAt = now
	}
	return s.info, s.known
}

// Health implements sdk.IslandComponent. It asks nobody.
func (c *cache) Health(context.Context) sdk.Health {
	if c.running() != nil {
		return sdk.Failed("the cache is not running")
	}
	hits, misses := c.stats.l1Hits.Load(), c.stats.l1Misses.Load()
	off, broken := c.l1gate.state()
	l1 := tierPart("l1", off, broken, map[string]any{
		"entries": c.l1.count(), "hits": hits, "misses": misses, "hit_rate": rate(hits, misses),
	})
	if c.l2 == nil {
		l2 := sdk.Part{Name: "l2", Details: map[string]any{"state": "not configured", "configured": false}}
		return overall(l1, l2, false)
	}
	hits, misses = c.stats.l2Hits.Load(), c.stats.l2Misses.Load()
	off, broken = c.l2gate.state()
	l2 := tierPart("l2", off, broken, map[string]any{
		"configured": true, "hits": hits, "misses": misses, "hit_rate": rate(hits, misses),
		"latency_avg_ms": c.stats.latency() * 1000, "subscribed": c.link.session.Load() != 0,
	})
	return overall(l1, l2, true)
}

// tierPart describes a tier.
func tierPart(name string, off, broken bool, details map[string]any) sdk.Part {
	part := sdk.Part{Name: name, Details: details}
	details["state"] = "in use"
	switch {
	case off:
		part.Status, part.Reason, details["state"] = sdk.StatusDegraded, "taken out by an operator", "off"
	case broken && name == "l1":
		part.Status, part.Reason, details["state"] = sdk.StatusDegraded, "memory does not answer", "down"
	case broken:
		part.Status, part.Reason, details["state"] = sdk.StatusDegraded, "Redis does not answer", "down"
	}
	return part
}

// overall is failed when no tier is left.
func overall(l1, l2 sdk.Part, configured bool) sdk.Health {
	switch {
	case l1.Status != sdk.StatusOK && (!configured || l2.Status != sdk.StatusOK):
		return sdk.Failed("no tier of the cache is in use", l1, l2)
	case l1.Status != sdk.StatusOK:
		return sdk.Degraded("l1: "+l1.Reason, l1, l2)
	case l2.Status != sdk.StatusOK:
		return sdk.Degraded("l2: "+l2.Reason, l1, l2)
	default:
		return sdk.Healthy(l1, l2)
	}
}

// Metrics implements sdk.IslandComponent. Redis is asked at most once a second; while it is away there is no sample of
// what only it knows.
func (c *cache) Metrics(ctx context.Context) (sdk.Metrics, error) {
	if !c.ready.Load() {
		return nil, nil
	}
	s := &c.stats
	entries, size, evicted := c.l1.usage()
	sample := func(value float64, labels ...string) sdk.Sample {
		l := map[string]string{}
		for i := 0; i+1 < len(labels); i += 2 {
			l[labels[i]] = labels[i+1]
		}
		return sdk.Sample{Labels: l, Value: value}
	}
	tiers := func(l1, l2 float64) []sdk.Sample {
		samples := []sdk.Sample{sample(l1, "tier", "l1")}
		if c.l2 != nil {
			samples = append(samples, sample(l2, "tier", "l2"))
		}
		return samples
	}
	count := func(a *atomic.Uint64) float64 { return float64(a.Load()) }
	inUse := func(g *gate) float64 {
		if g.inUse() {
			return 1
		}
		return 0
	}
	m := sdk.Metrics{
		{
			Name: "cache_entries", Type: sdk.GaugeType, Help: "Entries that the tier holds.",
			Samples: []sdk.Sample{sample(float64(entries), "tier", "l1")},
		},
		{
			Name: "cache_bytes", Type: sdk.GaugeType, Unit: "bytes", Help: "Bytes that the tier's entries cost.",
			Samples: []sdk.Sample{sample(float64(size), "tier", "l1")},
		},
		{
			Name: "cache_hits_total", Type: sdk.CounterType, Help: "Keys found in the tier.",
			Samples: tiers(count(&s.l1Hits), count(&s.l2Hits)),
		},
		{
			Name: "cache_misses_total", Type: sdk.CounterType, Help: "Keys asked of the tier and not found.",
			Samples: tiers(count(&s.l1Misses), count(&s.l2Misses)),
		},
		{
			Name: "cache_tier_in_use", Type: sdk.GaugeType, Help: "1 while the tier is in use, 0 while it is out.",
			Samples: tiers(inUse(c.l1gate), inUse(c.l2gate)),
		},
		{
			Name: "cache_refused_total", Type: sdk.CounterType, Help: "Entries that a fill left out, by reason.",
			Samples: []sdk.Sample{
				sample(count(&s.refusedOld), "reason", "invalidated"),
				sample(count(&s.refusedExpired), "reason", "expired"),
				sample(count(&s.refusedLarge), "reason", "too_large"),
			},
		},
		sdk.Counter("cache_evictions_total", "Entries that L1 gave up for want of room.", float64(evicted)),
		sdk.Counter("cache_promotions_total", "Entries of L2 that were put into L1.", count(&s.promotions)),
		sdk.Counter("cache_fallbacks_total", "Operations that went on without a configured tier.", count(&s.fallbacks)),
		sdk.Counter("cache_operations_total", "Look-ups, fills and invalidations.", count(&s.operations)),
		sdk.Counter("cache_invalidations_total", "Patterns invalidated by this host.", count(&s.invalidations)),
		sdk.Gauge("cache_version", "", "Version of the cache: rises with every invalidation and flush.", float64(c.journal.version())),
	}
	if c.l2 == nil {
		return m, nil
	}
	m = append(m,
		sdk.Counter("cache_notices_total", "Notices heard from other hosts.", count(&s.remote)),
		sdk.Counter("cache_l2_errors_total", "Exchanges with Redis that failed.", count(&s.l2Errors)),
		sdk.Gauge("cache_l2_latency_avg_seconds", "seconds", "Average time of an exchange with Redis.", s.latency()),
	)
	if info, known := c.serverInfo(ctx); known {
		m = append(m,
			sdk.Gauge("cache_l2_memory_usage_bytes", "bytes", "used_memory, as Redis' INFO has it.", info.usedMemory),
			sdk.Gauge("cache_l2_connections", "", "connected_clients, as Redis' INFO has it.", info.clients),
		)
	}
	return m, nil
}
