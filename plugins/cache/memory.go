package main

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/karlseguin/ccache/v3"

	"github.com/service-islands/islands/sdk"
)

const (
	// entryOverhead is what an entry costs in bytes beyond its key and value: ccache's item, its list and its map.
	entryOverhead = 256
	// canaryKey is what the probe of L1 remembers. Keys of callers are never empty, so it cannot be one of theirs.
	canaryKey = ""
)

// remembered is an entry in L1. All but the session is immutable.
type remembered struct {
	entry  sdk.Entry
	weight int64
	// session of the link in which the entry was last known to be what L2 holds, 0 for none.
	session atomic.Uint64
}

// Size is the entry's weight, for ccache.
func (r *remembered) Size() int64 { return r.weight }

// bytes is what the entry costs.
func (r *remembered) bytes() int64 { return sizeOf(r.entry) }

func sizeOf(e sdk.Entry) int64 { return int64(len(e.Key)) + int64(len(e.Value)) + entryOverhead }

// memory is L1. Its methods may be called concurrently and after stop, when it is empty.
type memory struct {
	maxBytes  int64
	minWeight int64
	now       func() time.Time
	evicted   atomic.Int64

	// mu keeps callers away from a ccache that is stopped, on which they would block for ever.
	mu    sync.RWMutex
	cache *ccache.Cache[*remembered]
}

func newMemory(maxBytes int64, maxEntries int, now func() time.Time) *memory {
	m := &memory{maxBytes: maxBytes, minWeight: (maxBytes + int64(maxEntries) - 1) / int64(maxEntries), now: now}
	m.cache = m.open()
	return m
}

// open makes an empty ccache. Its buffers are short because what waits in them is not yet weighed.
func (m *memory) open() *ccache.Cache[*remembered] {
	return ccache.New(ccache.Configure[*remembered]().MaxSize(m.maxBytes).Buckets(64).PercentToPrune(5).
		PromoteBuffer(64).DeleteBuffer(256))
}

// get returns what is remembered under a key and still within StaleUntil, or nil.
func (m *memory) get(key string) *remembered {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.cache == nil {
		return nil
	}
	item := m.cache.Get(key)
	if item == nil || !item.Value().entry.StaleUntil.After(m.now()) {
		return nil
	}
	return item.Value()
}

// put remembers an entry. It is false for one that alone is too large.
func (m *memory) put(entry sdk.Entry, session uint64) bool {
	r := &remembered{entry: entry, weight: max(sizeOf(entry), m.minWeight)}
	r.session.Store(session)
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.cache == nil || r.weight > m.maxBytes {
		return false
	}
	m.cache.Set(entry.Key, r, entry.StaleUntil.Sub(m.now()))
	return true
}

// settle waits until what was put is weighed and what is too much is evicted.
func (m *memory) settle() {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.cache != nil {
		m.cache.SyncUpdates()
	}
}

// forget drops one remembered entry, unless another has taken its place.
func (m *memory) forget(r *remembered) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.cache == nil {
		return
	}
	if item := m.cache.GetWithoutPromote(r.entry.Key); item != nil && item.Value() == r {
		m.cache.Delete(r.entry.Key)
	}
}

// drop forgets every key that one of the patterns names and returns how many there were.
func (m *memory) drop(patterns []string) int {
	var globs []string
	dropped := 0
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.cache == nil {
		return 0
	}
	for _, p := range patterns {
		switch {
		case isGlob(p):
			globs = append(globs, p)
		case m.cache.Delete(p):
			dropped++
		}
	}
	if len(globs) == 0 {
		return dropped
	}
	return dropped + m.dropWhere(func(key string, _ *remembered) bool {
		for _, g := range globs {
			if matches(g, key) {
				return true
			}
		}
		return false
	})
}

// dropWhere forgets what meets a condition. The read lock is held. It collects first and deletes afterwards, because
// ccache's DeleteFunc can block for ever against its own eviction.
func (m *memory) dropWhere(condition func(string, *remembered) bool) int {
	var keys []string
	m.cache.ForEachFunc(func(key string, item *ccache.Item[*remembered]) bool {
		if condition(key, item.Value()) {
			keys = append(keys, key)
		}
		return true
	})
	dropped := 0
	for _, key := range keys {
		if m.cache.Delete(key) {
			dropped++
		}
	}
	return dropped
}

// sweep forgets what is past StaleUntil.
func (m *memory) sweep() {
	now := m.now()
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.cache != nil {
		m.dropWhere(func(_ string, r *remembered) bool { return !r.entry.StaleUntil.After(now) })
	}
}

// clear forgets everything.
func (m *memory) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cache == nil {
		return
	}
	m.evicted.Add(int64(m.cache.GetDropped()))
	m.cache.Stop()
	m.cache = m.open()
}

// stop forgets everything for good.
func (m *memory) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cache != nil {
		m.cache.Stop()
		m.cache = nil
	}
}

// probe remembers a canary and reports whether it is found again.
func (m *memory) probe() bool {
	now := m.now()
	canary := sdk.Entry{Key: canaryKey, StaleUntil: now.Add(time.Minute), StoredAt: now}
	if !m.put(canary, 0) {
		return false
	}
	r := m.get(canaryKey)
	m.drop([]string{canaryKey})
	return r != nil && r.entry.StoredAt.Equal(now)
}

// count returns the number of entries.
func (m *memory) count() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.cache == nil {
		return 0
	}
	return m.cache.ItemCount()
}

// usage returns the number of entries, the bytes they cost, and how many were evicted so far. It looks at every entry.
func (m *memory) usage() (entries int, bytes, evicted int64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.cache == nil {
		return 0, 0, m.evicted.Load()
	}
	m.cache.ForEachFunc(func(_ string, item *ccache.Item[*remembered]) bool {
		entries++
		bytes += item.Value().bytes()
		return true
	})
	return entries, bytes, m.evicted.Add(int64(m.cache.GetDropped()))
}
