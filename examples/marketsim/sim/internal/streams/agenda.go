package streams

import (
	"time"

	"github.com/coder/websocket"
)

// agenda is what a connection has to do next. Its times are the machine's; a zero one stands for never.
type agenda struct {
	ping, notice, end time.Time
	ending            *ending
	noticed           time.Time // The end that the client has been told of.
	fast, slow        beat
}

const (
	labelCut      = "cut"
	labelShutdown = "shutdown"
)

// plan brings the agenda up to date with the weather and the subscriptions.
func (a *agenda) plan(c *connection, w *Weather) {
	life := c.hub.options.Life
	if w.Life != 0 {
		life = w.Life
	}
	a.end, a.ending = c.opened.Add(life), endAge
	a.notice = a.end.Add(-min(c.hub.options.Notice, life/4))
	if cut := w.Cut; cut != nil && cut.At.Before(a.end) {
		a.end, a.notice = cut.At, time.Time{}
		a.ending = &ending{labelCut, "going away", websocket.StatusCode(cut.Code)}
		if cut.Shutdown {
			a.notice, a.ending.label = c.opened, labelShutdown
		}
	}
	if a.noticed.Equal(a.end) {
		a.notice = time.Time{}
	}
	interval := c.hub.options.Interval
	if w.Interval != 0 {
		interval = w.Interval
	}
	a.slow.isSlow = true
	a.fast.plan(c, interval)
	a.slow.plan(c, 2*interval)
}

// next is the earliest time.
func (a *agenda) next() time.Time {
	first := a.end
	for _, t := range []time.Time{a.ping, a.notice, a.fast.due, a.slow.due} {
		if !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	return first
}

// beat is the pace of some of the streams. Last and seen are times of the simulation: the last tick on the grid, and
// when it was struck.
type beat struct {
	isSlow     bool
	period     time.Duration
	due        time.Time
	last, seen time.Time
}

// plan sets when the next tick is due: at the next multiple of the period, or after a whole one when the clock stands
// still.
func (b *beat) plan(c *connection, period time.Duration) {
	if len(c.list(b.isSlow)) == 0 {
		*b = beat{isSlow: b.isSlow}
		return
	}
	if !b.due.IsZero() && b.period == period {
		return
	}
	now := c.hub.now()
	if b.last.IsZero() {
		b.last = now.Truncate(period)
	}
	b.period = period
	wait := now.Truncate(period).Add(period).Sub(now)
	if now.Equal(b.seen) {
		wait = period
	}
	b.due = time.Now().Add(wait)
}

// strike moves to the tick that holds now. It is false when now has not come to a new one, unless the clock stands still:
// then the same tick is struck again.
func (b *beat) strike(now time.Time) (since, at time.Time, ok bool) {
	at = now.Truncate(b.period)
	still := b.seen.IsZero() || now.Equal(b.seen)
	since = b.last
	if !at.After(since) {
		if !still || at.Before(since) {
			return since, at, false
		}
		since = at.Add(-b.period)
	}
	b.last, b.seen = at, now
	return since, at, true
}
