package upstream

import (
	"sync"
	"time"
)

// Table maps callers to what is remembered of them, and forgets the oldest caller rather than grow beyond its bound.
// It is safe for concurrent use.
type Table[V any] struct {
	mu    sync.Mutex
	bound int
	rows  map[string]*V
	order []string
}

// NewTable returns a table of at most bound callers.
func NewTable[V any](bound int) *Table[V] {
	return &Table[V]{bound: max(1, bound), rows: map[string]*V{}}
}

// With calls f with the caller's row, a zero one when there was none, under the table's lock.
func (t *Table[V]) With(caller string, f func(*V)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	row := t.rows[caller]
	if row == nil {
		if len(t.rows) >= t.bound {
			delete(t.rows, t.order[0])
			t.order = t.order[1:]
		}
		row = new(V)
		t.rows[caller] = row
		t.order = append(t.order, caller)
	}
	f(row)
}

// Len is the number of callers remembered.
func (t *Table[V]) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.rows)
}

// Clear forgets everybody.
func (t *Table[V]) Clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.rows)
	t.order = nil
}

// Callers is how many addresses or keys a service remembers.
const Callers = 4096

// Minute counts what was spent in the running minute of the clock.
type Minute struct {
	start time.Time
	used  int
}

// Spend adds a cost and returns the sum of the minute and what is left of it.
func (m *Minute) Spend(cost int, now time.Time) (used int, left time.Duration) {
	start := now.Truncate(time.Minute)
	if !m.start.Equal(start) {
		m.start, m.used = start, 0
	}
	m.used += cost
	return m.used, start.Add(time.Minute).Sub(now)
}
