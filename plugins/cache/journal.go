package main

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/sdk"
)

const (
	// keptRecords and keptPatterns bound what the journal remembers. A fill whose load began before that is refused.
	keptRecords  = 1024
	keptPatterns = 16384
	// openFor is how long an invalidation that another host has begun holds fills back when its end is never heard.
	openFor = 30 * time.Second
)

// journal knows which invalidations there were, decides which fills come too late, and tells the watchers.
type journal struct {
	epoch string
	now   func() time.Time
	// drop forgets keys in L1. It is called under the write lock.
	drop func(patterns []string) int

	// current is the version. It only changes under mu.
	current atomic.Uint64

	mu sync.RWMutex
	// floor is the oldest version whose invalidations since are all known.
	floor   uint64
	records []record
	kept    int
	// exact holds the version at which a key was last invalidated by name.
	exact map[string]uint64
	// open holds the invalidations that have begun and not ended.
	open     map[string]opened
	watchers map[*watcher]struct{}
	shared   bool
}

// record is one invalidation.
type record struct {
	version uint64
	keys    []string
	globs   []string
}

// opened is an invalidation that is under way until it is closed or its time is over.
type opened struct {
	keys  map[string]struct{}
	globs []string
	until time.Time
}

func newJournal(epoch string, shared bool, now func() time.Time, drop func([]string) int) *journal {
	j := &journal{
		epoch: epoch, shared: shared, now: now, drop: drop,
		exact: map[string]uint64{}, open: map[string]opened{}, watchers: map[*watcher]struct{}{},
	}
	j.floor = max(1, uint64(max(0, now().UnixMicro())))
	j.current.Store(j.floor)
	return j
}

// version is what a load that begins now hands to Fill.
func (j *journal) version() uint64 { return j.current.Load() }

// admit calls put for every index whose key is not invalidated since its version. No invalidation comes in between.
func (j *journal) admit(n int, keyAndVersion func(int) (string, uint64), put func(int)) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	for i := range n {
		if key, version := keyAndVersion(i); j.admits(key, version) {
			put(i)
		}
	}
}

// admits decides about one key, under the lock.
func (j *journal) admits(key string, version uint64) bool {
	if version == 0 {
		return true
	}
	if version < j.floor || version > j.current.Load() || j.exact[key] > version {
		return false
	}
	for i := len(j.records) - 1; i >= 0 && j.records[i].version > version; i-- {
		if matchesAny(j.records[i].globs, key) {
			return false
		}
	}
	for _, o := range j.open {
		if _, named := o.keys[key]; (named || matchesAny(o.globs, key)) && j.now().Before(o.until) {
			return false
		}
	}
	return true
}

func matchesAny(globs []string, key string) bool {
	for _, g := range globs {
		if matches(g, key) {
			return true
		}
	}
	return false
}

// begin holds back fills of what the patterns name until end is called with the same id.
func (j *journal) begin(id string, patterns []string) {
	now := j.now()
	o := opened{keys: map[string]struct{}{}, until: now.Add(openFor)}
	for _, p := range patterns {
		if isGlob(p) {
			o.globs = append(o.globs, p)
		} else {
			o.keys[p] = struct{}{}
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for other, o := range j.open {
		if !now.Before(o.until) {
			delete(j.open, other)
		}
	}
	// Beyond the bound it is the end that counts: what is filled until then is dropped by it.
	if len(j.open) < keptRecords {
		j.open[id] = o
	}
}

// end records an invalidation, drops it from L1, tells the watchers, and returns how many keys L1 held. The id is that
// of begin; it need not be open.
func (j *journal) end(id string, patterns []string) int {
	r := record{}
	for _, p := range patterns {
		if isGlob(p) {
			r.globs = append(r.globs, p)
		} else {
			r.keys = append(r.keys, p)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.open, id)
	r.version = j.current.Add(1)
	for _, key := range r.keys {
		j.exact[key] = r.version
	}
	j.records = append(j.records, r)
	j.kept += len(patterns)
	for len(j.records) > keptRecords || j.kept > keptPatterns {
		j.forgetOldest()
	}
	dropped := j.drop(patterns)
	j.tell(sdk.CacheEvent{
		Type: sdk.CacheInvalidated, Epoch: j.epoch, Version: r.version, Patterns: patterns, Shared: j.shared,
	})
	return dropped
}

// forgetOldest gives up the oldest record: what began before it can no longer be judged.
func (j *journal) forgetOldest() {
	r := j.records[0]
	j.records[0] = record{}
	j.records = j.records[1:]
	j.kept -= len(r.keys) + len(r.globs)
	j.floor = r.version
	for _, key := range r.keys {
		if j.exact[key] == r.version {
			delete(j.exact, key)
		}
	}
}

// flush refuses every load that began before and tells the watchers that anything may have changed.
func (j *journal) flush() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.floor = j.current.Add(1)
	j.records, j.kept = nil, 0
	clear(j.exact)
	j.tell(sdk.CacheEvent{Type: sdk.CacheFlushed, Epoch: j.epoch, Version: j.floor, Shared: j.shared})
}

// tell hands an event to every watcher, under the write lock.
func (j *journal) tell(event sdk.CacheEvent) {
	for w := range j.watchers {
		w.offer(event)
	}
}
