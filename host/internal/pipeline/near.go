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
	// asOf is when the upstream last changed a quote; zero for what is no quote.
	asOf time.Time
	// err makes a negative entry: the remembered failure, until freshUntil.
	err  error
	size int // bytes it takes

	// confirmed is the generation of the invalidation stream under which the entry is known to be true.
	confirmed atomic.Uint64
	// retryAt is when a load that failed may be tried again, in Unix nanoseconds.
	retryAt atomic.Int64
	// used is when the entry was last asked for, in coarse Unix seconds, for eviction.
	used atomic.Int64
	// encoders bound what is made of the entry later, in its place where there are none.
	encoders *encoders
	stale    staleForms
	parts    parts
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
	// shared is whether other hosts may change what the cache holds: until the cache has said no, they may. Where they
	// cannot, every invalidation comes by this process and nothing is ever in doubt.
	shared atomic.Bool
	// trustedSince is when the stream last began to stand, in Unix nanoseconds: what is older may have been invalidated
	// unheard.
	trustedSince atomic.Int64

	journal journal

	hits, misses, evictions atomic.Uint64
	bytes, count, failures  atomic.Int64
	hand                    atomic.Uint32 // the shard in which to make room next
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
	n.shared.Store(true)
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
// as doubtful as all others. It makes room for it. It returns what holds now: the entry, or a fresh quote that was there
// and is newer, because the feed brought it. That one is beyond doubt then, whatever became of the stream: nothing newer was
// to be had.
func (n *near) put(e *entry, began moment) *entry {
	now := n.now()
	e.confirmed.Store(began.generation)
	e.used.Store(now.Unix())
	s := n.shard([]byte(e.key))
	s.mu.Lock()
	if there := s.entries[e.key]; there != nil && there.outdates(e) && now.Before(there.freshUntil) {
		there.confirmed.Store(began.generation)
		s.mu.Unlock()
		return there
	}
	n.remove(s, e.key)
	// Under the shard's lock: an invalidation that is noted after this look removes the entry when it gets the lock.
	if int64(e.size) <= n.maxBytes/maxShare && !n.journal.touchedSince(began.version, e.key) {
		s.entries[e.key] = e
		n.account(e, 1)
	}
	s.mu.Unlock()
	for range 2 * nearShards {
		crowded := n.failures.Load() > int64(n.maxEntries/maxFailureShare)
		if !crowded && n.count.Load() <= int64(n.maxEntries) && n.bytes.Load() <= n.maxBytes {
			break
		}
		n.evict(&n.shards[n.hand.Add(1)%nearShards], e, crowded)
	}
	return e
}

// outdates reports whether an entry is a quote that says more of the present than another entry of its key.
func (e *entry) outdates(other *entry) bool {
	return !e.asOf.IsZero() && (other.err != nil || (!other.asOf.IsZero() && other.asOf.Before(e.asOf)))
}

// account counts an entry in (1) or out (-1).
func (n *near) account(e *entry, sign int64) {
	n.bytes.Add(sign * int64(e.size))
	n.count.Add(sign)
	if e.err != nil {
		n.failures.Add(sign)
	}
}

const (
	// entryOverhead estimates what an entry takes besides its bytes.
	entryOverhead = 512
	// maxShare is the part of the whole that one entry may take, as a divisor: the catalogue is by far the largest.
	maxShare = 2
	// maxFailureShare is the part of the entries that may be remembered failures, as a divisor: what does not exist must
	// not push out what does.
	maxFailureShare = 4
	// evictionSample is how many entries are looked at for one to drop.
	evictionSample = 8
)

// forgive drops every remembered failure: what nobody could answer, others may.
func (n *near) forgive() {
	for i := range n.shards {
		s := &n.shards[i]
		s.mu.Lock()
		for key, e := range s.entries {
			if e.err != nil {
				n.remove(s, key)
			}
		}
		s.mu.Unlock()
	}
}

// evict drops one of a few entries of a shard, sparing one: a remembered failure before an answer, then the least
// recently used; only failures on demand. Go walks a map from a random place, which makes a fair sample.
func (n *near) evict(s *nearShard, spare *entry, onlyFailures bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var victim *entry
	seen := 0
	for _, e := range s.entries {
		if e != spare && (e.err != nil || !onlyFailures) && (victim == nil || e.before(victim)) {
			victim = e
		}
		if seen++; seen == evictionSample {
			break
		}
	}
	if victim != nil {
		n.remove(s, victim.key)
		n.evictions.Add(1)
	}
}

// before reports whether an entry is to be dropped before another.
func (e *entry) before(other *entry) bool {
	if (e.err != nil) != (other.err != nil) {
		return e.err != nil
	}
	return e.used.Load() < other.used.Load()
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
		n.account(e, -1)
	}
}

// suspect brings every entry into doubt: nobody tells of other hosts' invalidations any more.
func (n *near) suspect() {
	if n.shared.Load() {
		n.doubt.Store(true)
	}
}

// trust ends the doubt for what is put from now on. What was there before stays to be confirmed one by one.
func (n *near) trust(shared bool) {
	n.shared.Store(shared)
	if shared {
		n.generation.Add(1)
		n.trustedSince.Store(n.now().UnixNano())
	}
	n.doubt.Store(false)
}

// heard reports whether an invalidation of a value stored at a moment would have been heard here.
func (n *near) heard(storedAt time.Time) bool {
	return !n.shared.Load() || (!n.doubt.Load() && storedAt.UnixNano() > n.trustedSince.Load())
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
