package pipeline

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"time"

	"github.com/service-islands/islands/sdk"
)

// feedLease is the lease whose holder speaks to the sources.
const feedLease = "feed"

// stateEvery is how many records lie between two that hold everything: the log keeps a multiple of that, so that whoever
// reads it finds one.
const stateEvery = 128

// phase is how far this host is on the way to lead.
type phase int

const (
	idle    phase = iota // another host leads, or nobody does
	marking              // the lease is held, and the log is read up to this host's marker
	leading
)

// tenure is this host's hold of the lease.
type tenure struct {
	phase phase
	token uint64
	until time.Time
	// nonce is that of the marker.
	nonce string
	// deadline is when the marker must have been read back.
	deadline time.Time
	// pending is what was published and not read back yet. Nothing is published meanwhile.
	pending *pending
	// published is when a record was last published, stated when a state was; records is how many came after that.
	published, stated time.Time
	records           int
	// wanted is whether another host asks for a state.
	wanted bool

	// answers brings what came of asking for the lease, one question at a time.
	answers chan leaseAnswer
	asking  bool
	asked   bool // ever
	askAt   time.Time
	// release has the lease given back before it is asked for again; spent is a token under which something may still
	// arrive, so that it is not led under.
	release bool
	spent   uint64
	// trouble is since when the coordinator fails this host; zero while it does not.
	trouble time.Time
}

// pending is a record on its way through the log.
type pending struct {
	id     string
	since  time.Time
	quotes []sdk.Quote
	global *sdk.Global
}

// leaseAnswer is what came of asking for the lease.
type leaseAnswer struct {
	lease sdk.Lease
	err   error
	asked time.Time
	// released is whether the lease was only given back.
	released bool
}

// readBack notes that a message was read, and reports whether it is the one that was pending.
func (t *tenure) readBack(id string) bool {
	if t.pending == nil || t.pending.id != id {
		return false
	}
	t.pending = nil
	return true
}

// leaseHolds reports whether the lease holds for a while yet, by this host's clock.
func (f *Feed) leaseHolds() bool {
	return f.r.opts.Now().Before(f.lease.until.Add(-f.opts.LeaseTTL / 10))
}

// publish writes a record into the log.
func (f *Feed) publish(ctx context.Context, rec record, token uint64) (id string, err error) {
	payload, err := rec.encode()
	if err != nil {
		return "", sdk.Errorf(sdk.Internal, "write a %s down: %w", rec.Kind, err)
	}
	island, err := f.r.opts.Island(f.plan.Load().coordinator)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, f.opts.CallTimeout)
	defer cancel()
	if token != 0 {
		ctx, cancel = context.WithTimeout(ctx, f.lease.until.Sub(f.r.opts.Now()))
		defer cancel()
	}
	id, err = island.Publish(ctx, sdk.Message{Channel: feedChannel, Token: token, Payload: payload})
	if err != nil {
		f.counts.publishFails.Add(1)
		return "", err
	}
	f.counts.published.Add(1)
	return id, nil
}

// askLease asks for the lease, or for its renewal, in the background, after giving it back if that is due. Without want
// that is all.
func (f *Feed) askLease(ctx context.Context, want bool) {
	l := &f.lease
	release := l.release
	l.asking, l.asked, l.release = true, true, false
	req := sdk.LeaseRequest{Name: feedLease, Owner: f.opts.Owner, TTL: f.opts.LeaseTTL}
	f.work.Go(func() {
		answer := leaseAnswer{err: sdk.Errorf(sdk.Internal, "asking for the lease panicked"), asked: f.r.opts.Now(), released: !want}
		f.safely("ask for the lease", func() {
			island, err := f.r.opts.Island(f.plan.Load().coordinator)
			if err != nil {
				answer.err = err
				return
			}
			if release {
				limited, cancel := context.WithTimeout(ctx, f.opts.CallTimeout)
				_ = island.Release(limited, req) // If it fails, the same token comes back, which is refused below.
				cancel()
			}
			if !want {
				return
			}
			limited, cancel := context.WithTimeout(ctx, f.opts.CallTimeout)
			defer cancel()
			answer.asked = f.r.opts.Now()
			answer.lease, answer.err = island.Acquire(limited, req)
		})
		l.answers <- answer
	})
}

// answered takes what came of asking for the lease.
func (f *Feed) answered(ctx context.Context, a leaseAnswer) {
	l, now := &f.lease, f.r.opts.Now()
	l.asking = false
	switch {
	case a.released:
	case a.err == nil && l.spent != 0 && a.lease.Token == l.spent:
		l.release, l.askAt = true, now.Add(jittered(f.opts.Retry))
	case a.err == nil:
		l.until, l.askAt = a.asked.Add(f.opts.LeaseTTL), a.asked.Add(f.opts.LeaseTTL/3)
		if l.phase != idle && a.lease.Token == l.token {
			if l.phase == leading {
				l.trouble = time.Time{}
			}
			return
		}
		if l.phase != idle { // It was lost and had again: somebody else may have led in between.
			f.resign()
		}
		f.mark(ctx, a.lease.Token)
	case errors.Is(a.err, sdk.Conflict):
		l.trouble = time.Time{}
		wait := f.opts.Retry
		if left := sdk.RetryAfter(a.err); left > 0 {
			wait = min(wait, left)
		}
		l.askAt = now.Add(wait + jittered(f.opts.Retry/10))
		f.overthrown()
		switch {
		case f.lone != nil && !f.lone.heard:
			f.knock(ctx)
		case !f.log.sure && f.log.sub != nil:
			f.offer(ctx, "", nil)
		}
	default:
		f.inTrouble("the lease cannot be asked for", a.err)
		l.askAt = now.Add(f.opts.Retry/2 + jittered(f.opts.Retry/2))
	}
}

// inTrouble notes that the coordinator fails this host.
func (f *Feed) inTrouble(what string, err error) {
	if f.lease.trouble.IsZero() {
		f.lease.trouble = f.r.opts.Now()
		f.logger.Debug(what, "reason", sdk.KindOf(err).String(), "error", err)
	}
}

// mark begins to lead: a marker under the new token shuts every older leader out, and once this host has read the log up
// to it, it knows all they wrote.
func (f *Feed) mark(ctx context.Context, token uint64) {
	l, now := &f.lease, f.r.opts.Now()
	l.token, l.nonce = token, rand.Text()
	if _, err := f.publish(ctx, record{Kind: recordMarker, Nonce: l.nonce, At: now.UTC()}, token); err != nil {
		f.inTrouble("a marker did not reach the log of the feed", err)
		l.release, l.spent, l.askAt = true, token, now.Add(f.opts.Retry/2+jittered(f.opts.Retry/2))
		return
	}
	l.phase, l.deadline = marking, now.Add(f.opts.Grace)
	f.readLog(ctx, false)
}

// lead begins to speak to the sources for all hosts. If the log was read without a hole, the epoch goes on, else a new
// one begins with all that is known.
func (f *Feed) lead(ctx context.Context) {
	l := &f.lease
	l.phase, l.trouble, l.pending = leading, time.Time{}, nil
	f.counts.takeovers.Add(1)
	known := f.known()
	if f.desk == nil {
		f.desk = f.openDesk(ctx, known, nil)
	}
	board := &f.log.board
	goesOn := f.log.sure && board.epoch != "" && f.lone == nil
	for symbol := range board.quotes {
		goesOn = goesOn && f.asked(symbol)
	}
	f.logger.Info("this host leads the feed", "epoch_goes_on", goesOn)
	if goesOn {
		f.desk.giveBack(f.ahead(), nil)
		f.write(ctx, recordState, board.whole(), nil, nil)
		return
	}
	t, quotes, global := f.beginEpoch(ctx, known)
	f.write(ctx, recordState, t, quotes, global)
}

// known is the newest of every symbol asked for, of what was delivered and what the log says.
func (f *Feed) known() map[string]sdk.Quote {
	known := make(map[string]sdk.Quote)
	newer(known, quotesOf(f.log.board.whole().Quotes)...)
	for _, q := range f.newest {
		newer(known, q)
	}
	maps.DeleteFunc(known, func(symbol string, _ sdk.Quote) bool { return !f.asked(symbol) })
	return known
}

// beginEpoch makes the first tick of a new epoch, of what is known and what waits, which it returns too.
func (f *Feed) beginEpoch(ctx context.Context, known map[string]sdk.Quote) (t Tick, waited []sdk.Quote, waitedGlobal *sdk.Global) {
	began, version := f.r.near.moment(), f.r.watched.version.Load()
	waited, waitedGlobal = f.desk.collect(maxInRecord)
	newer(known, waited...)
	global := f.global
	for _, g := range []*sdk.Global{f.log.board.global, waitedGlobal} {
		if g != nil && (global == nil || g.AsOf.After(global.AsOf)) {
			global = g
		}
	}
	t = newEpoch(known, global, f.r.opts.Now().UTC())
	f.remember(ctx, waited, t.At, began, version)
	f.r.ledger.add(waited)
	return t, waited, waitedGlobal
}

// write publishes a record under the lease. Quotes and global are what waits again if it fails.
func (f *Feed) write(ctx context.Context, kind string, t Tick, quotes []sdk.Quote, global *sdk.Global) {
	l := &f.lease
	l.pending = &pending{quotes: quotes, global: global}
	id, err := f.publish(ctx, recordOf(kind, t), l.token)
	now := f.r.opts.Now()
	switch {
	case err == nil:
		l.pending.id, l.pending.since, l.published = id, now, now
		if l.records++; kind == recordState {
			l.records, l.stated, l.wanted = 0, now, false
		}
	case errors.Is(err, sdk.Conflict):
		f.overthrown()
	default:
		f.inTrouble("a tick did not reach the log of the feed", err)
		f.abandon("a record may or may not have reached the log")
	}
}

// abandon gives the lease up because it is not known what became of a record. A new token shuts out what arrives late.
func (f *Feed) abandon(why string) {
	l := &f.lease
	f.logger.Debug("this host leaves the lead, to take it up under a new token", "reason", why)
	l.release, l.spent, l.askAt = true, l.token, f.r.opts.Now()
	if l.trouble.IsZero() {
		l.trouble = l.askAt
	}
	f.resign()
}

// resign ends a term. What was not seen in the log waits again.
func (f *Feed) resign() {
	l := &f.lease
	if p := l.pending; p != nil && f.desk != nil {
		f.desk.giveBack(p.quotes, p.global)
	}
	l.phase, l.pending = idle, nil
}

// overthrown ends a term because another host leads, which speaks to the sources now.
func (f *Feed) overthrown() {
	if f.lease.phase != idle {
		f.logger.Info("another host leads the feed")
		f.resign()
	}
	if f.lone == nil && f.desk != nil {
		f.closeDesk()
	}
}

func (f *Feed) closeDesk() {
	if f.desk != nil {
		f.desk.stop()
		f.desk = nil
	}
}
