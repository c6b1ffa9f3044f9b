package supervisor

import (
	"math/rand/v2"
	"time"
)

// record is what the restart policy remembers of an island.
type record struct {
	policy Restart
	// crashes within the window, oldest first, at most MaxCrashes.
	crashes []time.Time
	// failures and pauses since the island was last healthy.
	failures int
	pauses   int
	// open is whether the breaker is open: the next start is a probe.
	open bool
}

// crashed notes a crash and returns how long to wait before the next start. An island that ran and then crashed for the
// first time is started again at once, because whoever waits for it should not have to wait longer than it takes. One that
// runs out of memory more than once waits for the longer half of the longest pause, because it would soon be there again.
func (r *record) crashed(at time.Time, ran bool, cause Cause) time.Duration {
	recent := r.crashes[:0]
	for _, crash := range r.crashes {
		if at.Sub(crash) < r.policy.Window {
			recent = append(recent, crash)
		}
	}
	recent = append(recent, at)
	r.crashes = recent[max(0, len(recent)-r.policy.MaxCrashes):]
	r.failures++
	switch {
	case r.open || len(r.crashes) >= r.policy.MaxCrashes:
		r.open = true
		return r.policy.ProbeEvery
	case ran && r.failures == 1:
		return 0
	case cause == CauseOutOfMemory:
		return r.policy.BackoffMax/2 + rand.N(r.policy.BackoffMax/2+1)
	default:
		ceiling := r.policy.BackoffMin
		for range r.pauses {
			ceiling = min(2*ceiling, r.policy.BackoffMax)
		}
		r.pauses = min(r.pauses+1, 32)
		return rand.N(ceiling + 1)
	}
}

// healthy forgives: the next crash is the first again. The window still counts, unless a probe has just proven itself.
func (r *record) healthy() {
	r.failures, r.pauses = 0, 0
	if r.open {
		r.forget()
	}
}

// forget starts with a clean record.
func (r *record) forget() { *r = record{policy: r.policy} }
