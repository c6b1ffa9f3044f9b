package pipeline

import (
	"maps"
	"sync"
	"time"
)

// live is what the feed has written to the near cache and the cache last, so that a request whose load took longer does
// not write an older quote over it.
type live struct {
	// writing keeps the two apart: requests share it while they look and write, the feed has it alone.
	writing sync.RWMutex

	mu     sync.Mutex
	newest map[string]liveQuote // by cache key
}

// liveQuote is how far the feed has come with one key.
type liveQuote struct{ asOf, freshUntil time.Time }

// maxLive is how many keys are noted before those are forgotten that are no longer fresh.
const maxLive = 10_000

// advance notes an entry that the feed has written.
func (l *live) advance(e *entry, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.newest == nil {
		l.newest = make(map[string]liveQuote)
	}
	if len(l.newest) >= maxLive {
		maps.DeleteFunc(l.newest, func(_ string, q liveQuote) bool { return !now.Before(q.freshUntil) })
	}
	if !e.asOf.Before(l.newest[e.key].asOf) {
		l.newest[e.key] = liveQuote{e.asOf, e.freshUntil}
	}
}

// overtook reports whether the feed has written a newer quote that is still fresh.
func (l *live) overtook(e *entry, now time.Time) bool {
	if e.asOf.IsZero() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	newest, ok := l.newest[e.key]
	return ok && e.asOf.Before(newest.asOf) && now.Before(newest.freshUntil)
}
