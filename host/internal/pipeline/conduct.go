package pipeline

import (
	"context"
	"time"

	"github.com/service-islands/islands/sdk"
)

// conduct is the one goroutine that decides who speaks to the sources, makes ticks and delivers them.
func (f *Feed) conduct(ctx context.Context) {
	defer f.leave(ctx)
	f.began = f.r.opts.Now()
	pulse := time.NewTicker(max(min(f.opts.Retry, f.opts.Grace, f.opts.LeaseTTL)/10, time.Millisecond))
	defer pulse.Stop()
	for ctx.Err() == nil {
		f.safely("tend the feed", func() { f.tend(ctx) })
		f.safely("leave symbols out", func() { f.prune(ctx) })
		var ready <-chan struct{}
		if f.mayTick() {
			ready = f.desk.ready
		}
		messages, ended := f.log.channels()
		select {
		case <-ctx.Done():
		case <-ready:
			f.safely("make a tick", func() { f.tick(ctx) })
		case msg := <-messages:
			f.safely("read the log", func() { f.readMessage(ctx, msg) })
		case err := <-ended:
			f.logEnded(ctx, err)
		case answer := <-f.lease.answers:
			f.safely("take the lease", func() { f.answered(ctx, answer) })
		case <-pulse.C:
		case <-f.replanned:
			f.safely("take over other sources", func() { f.reopenDesk(ctx) })
		}
	}
}

// leave gives the lease back, so that another host need not wait for its end.
func (f *Feed) leave(ctx context.Context) {
	f.closeDesk()
	f.log.stop()
	if f.lease.asking {
		<-f.lease.answers // It ends with the context.
	}
	if !f.lease.asked {
		return
	}
	island, err := f.r.opts.Island(f.plan.Load().coordinator)
	if err != nil {
		return // The lease ends by itself.
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.opts.CallTimeout)
	defer cancel()
	if err := island.Release(ctx, sdk.LeaseRequest{Name: feedLease, Owner: f.opts.Owner}); err != nil {
		f.logger.Debug("the lease was not given back and ends by itself", "error", err)
	}
}

// coordinated reports whether this host goes by the log with others, and whether that is known yet.
func (f *Feed) coordinated() (yes, known bool) {
	if f.plan.Load().coordinator == "" || f.r.cache() == "" {
		return false, true
	}
	return f.r.Shared()
}

// tend does what is due.
func (f *Feed) tend(ctx context.Context) {
	now := f.r.opts.Now()
	together, known := f.coordinated()
	switch {
	case together:
		f.tendLog(ctx, now)
		f.tendLease(ctx, now)
	case known:
		f.log.stop()
		f.resign()
		if f.lone == nil {
			f.goAlone(ctx, "")
		}
	case f.lone == nil && now.Sub(f.began) >= f.opts.Grace:
		f.goAlone(ctx, "the cache has not said whether others share it")
	}
	switch {
	case f.lone != nil:
		f.counts.plays(FeedSolo, f.lone.reason)
	case f.lease.phase == leading:
		f.counts.plays(FeedLeading, "")
	case f.joined:
		f.counts.plays(FeedFollowing, "")
	}
}

// tendLog keeps the log being read.
func (f *Feed) tendLog(ctx context.Context, now time.Time) {
	l := f.log
	switch {
	case l.sub == nil && !now.Before(l.retryAt):
		f.readLog(ctx, false)
	case l.sub == nil:
	case !l.trouble.IsZero() && now.Sub(l.opened) >= f.opts.CallTimeout:
		l.trouble = time.Time{}
	case f.lease.phase == idle && now.Sub(l.heard) >= f.opts.LeaseTTL:
		f.readLog(ctx, true) // A leader is never silent that long. The log may have begun anew, with smaller ids.
	}
	if f.lone == nil && !f.joined {
		f.join(ctx)
	}
}

// tendLease asks for the lease when that is due, keeps the promises of a leader, and gives up on a coordinator that is
// away for too long.
func (f *Feed) tendLease(ctx context.Context, now time.Time) {
	l := &f.lease
	switch {
	case l.phase == marking && now.After(l.deadline):
		f.log.lose()
		f.abandon("its marker was not seen in the log")
	case l.phase != leading:
	case l.pending != nil && now.Sub(l.pending.since) >= f.opts.Grace:
		f.log.lose()
		f.abandon("its record was not seen in the log")
	case l.pending != nil || !f.leaseHolds():
	case l.wanted && now.Sub(l.stated) >= f.opts.Retry:
		f.write(ctx, recordState, f.log.board.whole(), nil, nil)
	case now.Sub(l.published) >= f.opts.LeaseTTL/3:
		f.write(ctx, recordBeat, Tick{Epoch: f.log.board.epoch, N: f.log.board.n, At: now.UTC()}, nil, nil)
	}
	if !l.asking && !now.Before(l.askAt) {
		// Who cannot read the log cannot lead, and does not keep others from it.
		able := l.phase != idle || (f.log.sub != nil && f.log.trouble.IsZero())
		if able || l.release {
			f.askLease(ctx, able)
		}
	}
	if f.lone == nil && (f.away(now, l.trouble) || f.away(now, f.log.trouble)) {
		if l.phase != idle {
			f.abandon("the coordinator is away")
		}
		f.goAlone(ctx, "the coordinator is away")
	}
}

func (f *Feed) away(now, since time.Time) bool {
	return !since.IsZero() && now.Sub(since) >= f.opts.Grace
}

// solo is the feed of a host that goes on alone: its own epoch, its own sources, no log.
type solo struct {
	board  board
	reason string
	// nonce is that of this host's knock at the log; heard is whether it was read there, so that whatever is read next was
	// written by a leader who lives.
	nonce   string
	knocked time.Time
	heard   bool
}

// goAlone begins to speak to the sources for this host alone.
func (f *Feed) goAlone(ctx context.Context, reason string) {
	if reason != "" {
		f.counts.soloSpells.Add(1)
		f.logger.Warn("this host feeds itself", "reason", reason)
	}
	known := f.known()
	if f.desk == nil {
		f.desk = f.openDesk(ctx, known, nil)
	}
	t, _, _ := f.beginEpoch(ctx, known)
	f.log.lose() // Whoever comes back is given everything.
	f.lone, f.joined = &solo{reason: reason}, false
	f.lone.board.apply(t)
	f.deliver(t)
}

// knock writes to the log that this host would come back.
func (f *Feed) knock(ctx context.Context) {
	if now := f.r.opts.Now(); f.log.sub != nil && now.Sub(f.lone.knocked) >= f.opts.Retry {
		f.lone.knocked, f.lone.nonce = now, f.opts.Owner+now.Format(".150405.000")
		f.offer(ctx, f.lone.nonce, nil)
	}
}

// rejoin goes by the log again: another host speaks to the sources.
func (f *Feed) rejoin(ctx context.Context) {
	f.logger.Info("this host follows the feed of another again")
	f.lone = nil
	f.closeDesk()
	f.joined, f.heldSince, f.offered = false, f.r.opts.Now(), time.Time{}
	f.join(ctx)
}

// mayTick reports whether what waits may be published now.
func (f *Feed) mayTick() bool {
	if f.desk == nil || f.lease.pending != nil {
		return false
	}
	return f.lone != nil || (f.lease.phase == leading && f.leaseHolds())
}

// maxInTick bounds the quotes of one tick; more make another.
const maxInTick = 250

// tick takes what waits and publishes it: the cache first, then the store's queue, then whoever listens.
func (f *Feed) tick(ctx context.Context) {
	board := &f.log.board
	if f.lone != nil {
		board = &f.lone.board
	} else if f.lease.records >= stateEvery {
		f.write(ctx, recordState, board.whole(), nil, nil)
		f.desk.signal() // Something waits still.
		return
	}
	began, version := f.r.near.moment(), f.r.watched.version.Load()
	quotes, global := f.desk.collect(maxInTick)
	t, news := board.next(quotes, global, f.r.opts.Now().UTC())
	if !news {
		return
	}
	quotes = quotesOf(t.Quotes)
	f.remember(ctx, quotes, t.At, began, version)
	f.r.ledger.add(quotes)
	if f.lone != nil {
		board.apply(t)
		f.deliver(t)
		return
	}
	f.write(ctx, recordTick, t, quotes, t.Global)
}
