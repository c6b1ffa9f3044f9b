package pipeline

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/service-islands/islands/sdk"
)

// admission decides which batches of cold work run, wait or are shed, before anything is asked for them. Answers from
// the near cache never come by here.
//
// As many as there are places run. As many again wait, the newest first in line: under a flood, those who have waited
// long have mostly gone, and a first-come queue would spend every place on them. Nobody waits longer than a quarter of the
// time they have, so that enough is left for the work itself. When the queue is full, the one that has waited longest is
// shed. Refreshes of what is served stale go before all others, since they keep warm answers warm.
type admission struct {
	now func() time.Time

	mu        sync.Mutex
	free      int
	max       int
	refreshes []*ticket
	cold      []*ticket // the newest last
	// drain is the mean time between two places that became free while somebody waited; 0 while unknown.
	drain    time.Duration
	lastFree time.Time

	admitted, queued, shed uint64
}

// ticket is one batch that waits. Admitted is closed when it may run, and shed when it may not.
type ticket struct {
	admitted, shed chan struct{}
}

func newAdmission(places int, now func() time.Time) *admission {
	return &admission{now: now, free: places, max: places}
}

// waitShare is the part of its time, as a divisor, that cold work waits at most.
const waitShare = 4

// join takes a place or one in the queue. The ticket is nil when there was a place at once. An error says when to come
// back.
func (a *admission) join(refresh bool) (*ticket, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.free > 0 {
		a.free--
		a.admitted++
		return nil, nil //nolint:nilnil // no ticket is needed
	}
	t := &ticket{admitted: make(chan struct{}), shed: make(chan struct{})}
	if refresh {
		if len(a.refreshes) >= a.max {
			a.shed++
			return nil, a.busy()
		}
		a.refreshes = append(a.refreshes, t)
		a.queued++
		return t, nil
	}
	if len(a.cold) >= a.max {
		close(a.cold[0].shed)
		a.cold = append(a.cold[:0], a.cold[1:]...)
		a.shed++
	}
	a.cold = append(a.cold, t)
	a.queued++
	return t, nil
}

// wait returns nil once a ticket may run, or why it may not, which is known before the patience runs out.
func (a *admission) wait(ctx context.Context, t *ticket, patience time.Duration) error {
	due := time.NewTimer(patience)
	defer due.Stop()
	select {
	case <-t.admitted:
		return nil
	case <-t.shed:
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.busy()
	case <-due.C:
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-t.admitted: // just now
		return nil
	case <-t.shed:
		return a.busy()
	default:
	}
	a.cold, a.refreshes = without(a.cold, t), without(a.refreshes, t)
	a.shed++
	return a.busy()
}

func without(tickets []*ticket, t *ticket) []*ticket {
	for i, other := range tickets {
		if other == t {
			return append(tickets[:i], tickets[i+1:]...)
		}
	}
	return tickets
}

// leave gives a place back, to whoever is first in line.
func (a *admission) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	var next *ticket
	switch {
	case len(a.refreshes) > 0:
		next, a.refreshes = a.refreshes[0], a.refreshes[1:]
	case len(a.cold) > 0:
		next, a.cold = a.cold[len(a.cold)-1], a.cold[:len(a.cold)-1]
	default:
		a.free++
		a.lastFree = time.Time{}
		return
	}
	a.admitted++
	close(next.admitted)
	if !a.lastFree.IsZero() {
		if gap := now.Sub(a.lastFree); a.drain == 0 {
			a.drain = gap
		} else {
			a.drain += (gap - a.drain) / 8
		}
	}
	a.lastFree = now
}

// Bounds on when a client that was shed is told to come back.
const (
	minBusyRetry = time.Second
	maxBusyRetry = 30 * time.Second
)

// busy is the error for work that is shed; the caller holds the lock. Its RetryAfter is the time in which the queue drains
// at its present rate, give or take a half, so that those who were shed together do not come back together.
func (a *admission) busy() error {
	drained := min(max(time.Duration(len(a.cold)+len(a.refreshes)+1)*a.drain, minBusyRetry), maxBusyRetry)
	jittered := drained/2 + rand.N(drained)
	return &sdk.Error{
		Kind: sdk.ResourceExhausted, Message: "too many cold requests at once", RetryAfter: min(max(jittered, minBusyRetry), maxBusyRetry),
	}
}
