package pipeline

import (
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// entry is an answer in the near cache. It never changes once it is there, but for the marks of its use.
type entry struct {
	key        string
	noun       any              // the decoded value
	reps       []Representation // as clients get it while fresh
	storedAt   time.Time
	freshUntil time.Time
	staleUntil time.Time
	// err makes a negative entry: the remembered failure, until freshUntil.
	err  error
	size int // bytes it takes

	// confirmed is the generation of the invalidation stream under which the entry is known to be true.
	confirmed atomic.Uint64
	// retryAt is when a load that failed may be tried again, in Unix nanoseconds.
	retryAt atomic.Int64
	// used is when the entry was last asked for, in coarse Unix seconds, for eviction.
	used  atomic.Int64
	stale staleForms
	parts parts
}

// negative makes the entry of a remembered failure.
func negative(key string, err error, storedAt, until time.Time) *entry {
	return &entry{key: key, err: err, storedAt: storedAt, freshUntil: until, staleUntil: until, size: len(key) + entryOverhead}
}

// staleForms are the representations of an entry that is served stale, made once when first needed.
type staleForms struct {
	once sync.Once
	reps []Representation
}

// near is the host's own cache of encoded answers: a sharded map of immutable entries, bounded in number and bytes.
type near struct {
	shards     [nearShards]nearShard
	maxEntries int
	maxBytes   int64
	now        func() time.Time

	// generation rises when the truth of all entries comes into doubt; doubt is whether it is in doubt right now.
	generation atomic.Uint64
	doubt      atomic.Bool

	journal journal

	hits, misses, evictions atomic.Uint64
	bytes                   atomic.Int64
}

const nearShards = 64

type nearShard struct {
	mu      sync.RWMutex
	entries map[string]*entry
	_       [40]byte // keeps neighbouring locks off one cache line
}

func newNear(maxEntries int, maxBytes int64, now func() time.Time) *near {
	n := &near{maxEntries: maxEntries, maxBytes: maxBytes, now: now}
	n.generation.Store(1)
	for i := range n.shards {
		n.shards[i].entries = make(map[string]*entry)
	}
	return n
}

// shard picks a key's shard by FNV-1a, which needs no allocation for a key in bytes.
func (n *near) shard(key []byte) *nearShard {
	h := uint32(2166136261)
	for _, c := range key {
		h = (h ^ uint32(c)) * 16777619
	}
	return &n.shards[h%nearShards]
}

// get returns the entry of a key, whatever its state.
func (n *near) get(key []byte) *entry {
	s := n.shard(key)
	s.mu.RLock()
	e := s.entries[string(key)]
	s.mu.RUnlock()
	return e
}

// trusted reports whether an entry is known to be true, by the invalidation stream.
func (n *near) trusted(e *entry) bool {
	return !n.doubt.Load() && e.confirmed.Load() == n.generation.Load()
}

// moment is where the invalidation stream stood as a load began.
type moment struct {
	version    uint64 // of the journal
	generation uint64
}

// moment returns where the invalidation stream stands.
func (n *near) moment() moment {
	return moment{version: n.journal.now(), generation: n.generation.Load()}
}

// put keeps an entry unless its key was invalidated since the load began. If the stream broke since then, the entry is
// as doubtful as all others. It makes room in the entry's shard.
func (n *near) put(e *entry, began moment) {
	e.confirmed.Store(began.generation)
	e.used.Store(n.now().Unix())
	if int64(e.size) > n.maxBytes/nearShards {
		return
	}
	s := n.shard([]byte(e.key))
	s.mu.Lock()
	defer s.mu.Unlock()
	// Under the shard's lock: an invalidation that is noted after this look removes the entry when it gets the lock.
	if n.journal.touchedSince(began.version, e.key) {
		return
	}
	if old := s.entries[e.key]; old != nil {
		n.bytes.Add(-int64(old.size))
	}
	s.entries[e.key] = e
	n.bytes.Add(int64(e.size))
	for len(s.entries) > max(1, n.maxEntries/nearShards) || n.bytes.Load() > n.maxBytes {
		if !n.evict(s, e) {
			return
		}
	}
}

// entryOverhead estimates what an entry takes besides its bytes.
const entryOverhead = 512

// evict drops the least recently used of a few entries of a shard, sparing one; the caller holds the lock. Go walks a map
// from a random place, which makes a fair sample.
func (n *near) evict(s *nearShard, spare *entry) bool {
	const sample = 8
	var victim *entry
	seen := 0
	for _, e := range s.entries {
		if e == spare {
			continue
		}
		if victim == nil || e.used.Load() < victim.used.Load() {
			victim = e
		}
		if seen++; seen == sample {
			break
		}
	}
	if victim == nil {
		return false
	}
	delete(s.entries, victim.key)
	n.bytes.Add(-int64(victim.size))
	n.evictions.Add(1)
	return true
}

// invalidate forgets every key that equals a pattern or matches it as a glob, and refuses fills whose load began before.
func (n *near) invalidate(patterns []string) {
	n.journal.note(patterns, n.now())
	for _, pattern := range patterns {
		if !isGlob(pattern) {
			s := n.shard([]byte(pattern))
			s.mu.Lock()
			n.remove(s, pattern)
			s.mu.Unlock()
			continue
		}
		for i := range n.shards {
			s := &n.shards[i]
			s.mu.Lock()
			for key := range s.entries {
				if matches(pattern, key) {
					n.remove(s, key)
				}
			}
			s.mu.Unlock()
		}
	}
}

// remove drops a key from a shard whose lock the caller holds.
func (n *near) remove(s *nearShard, key string) {
	if e, ok := s.entries[key]; ok {
		delete(s.entries, key)
		n.bytes.Add(-int64(e.size))
	}
}

// len returns how many entries there are.
func (n *near) len() int {
	total := 0
	for i := range n.shards {
		s := &n.shards[i]
		s.mu.RLock()
		total += len(s.entries)
		s.mu.RUnlock()
	}
	return total
}

// suspect brings every entry into doubt: nobody tells of invalidations any more.
func (n *near) suspect() { n.doubt.Store(true) }

// trust ends the doubt for what is put from now on. What was there before stays to be confirmed one by one.
func (n *near) trust() {
	n.generation.Add(1)
	n.doubt.Store(false)
}

// journal remembers recent invalidations, so that a value whose load began before one of them is not kept after it.
type journal struct {
	mu      sync.Mutex
	version uint64
	recent  [journalSize]note // by version modulo journalSize
}

// note is one invalidation.
type note struct {
	patterns []string
	at       time.Time
}

// touches reports whether the invalidation concerns a key.
func (n note) touches(key string) bool {
	for _, pattern := range n.patterns {
		if pattern == key || (isGlob(pattern) && matches(pattern, key)) {
			return true
		}
	}
	return false
}

// journalSize bounds how far back the journal remembers. A load that began earlier than that is taken as touched.
const journalSize = 1024

// now returns the version a load begins with.
func (j *journal) now() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.version
}

// note records an invalidation.
func (j *journal) note(patterns []string, at time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.version++
	j.recent[j.version%journalSize] = note{patterns: patterns, at: at}
}

// touchedSince reports whether a key was invalidated after version.
func (j *journal) touchedSince(version uint64, key string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.version-version > journalSize {
		return true
	}
	for v := version + 1; v <= j.version; v++ {
		if j.recent[v%journalSize].touches(key) {
			return true
		}
	}
	return false
}

// touchedAfter reports whether a key is known to have been invalidated after a moment.
func (j *journal) touchedAfter(moment time.Time, key string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range j.recent {
		if n := &j.recent[i]; n.at.After(moment) && n.touches(key) {
			return true
		}
	}
	return false
}

// isGlob reports whether a pattern stands for more than itself.
func isGlob(pattern string) bool { return strings.ContainsAny(pattern, "*?") }

// matches reports whether a glob (* any run, ? any one character) matches a key. Other characters stand for themselves.
func matches(pattern, key string) bool {
	escaped := globEscaper.Replace(pattern)
	ok, err := path.Match(escaped, strings.ReplaceAll(key, "/", "\x00"))
	return err == nil && ok
}

// globEscaper takes away the meaning that path.Match gives to characters our globs do not have.
var globEscaper = strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, "/", "\x00")
