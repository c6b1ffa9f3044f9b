package pipeline

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/service-islands/islands/sdk"
)

// feedChannel is the coordinator's channel in which the ticks of all hosts are.
const feedChannel = "feed"

// follower reads the log. It knows what the log says, and whether that is all it says.
type follower struct {
	sub *subscription // nil while the log is not read
	// board is what the log has said up to the last record that could be followed.
	board board
	// sure is whether no tick lies between the board and the last message that was read.
	sure bool
	// token is the newest that was seen up to here in the log: what has an older one was written by an overthrown leader.
	token uint64
	// past are epochs that ended. They are not gone back to when the log is read once more.
	past []string
	// last is the message that led to the board, prev the id of the one before it, and read that of the one that was read
	// last. Who reads on begins after prev: that last comes again shows that nothing is missing.
	prev string
	last sdk.Message
	read string
	// expect is whether last has to come first.
	expect bool
	// hole is the id of the message that made the log be read from its start, so that it does so once.
	hole string

	opened, heard, retryAt time.Time
	pause                  time.Duration
	// trouble is since when the log cannot be read; zero while it can.
	trouble time.Time
	// complained is whether an unreadable record was logged.
	complained bool
}

// subscription is one reading of the log.
type subscription struct {
	messages chan sdk.Message
	ended    chan error
	close    context.CancelFunc
}

// messages returns the channels to read from, nil ones while nothing is read.
func (l *follower) channels() (messages <-chan sdk.Message, ended <-chan error) {
	if l.sub == nil {
		return nil, nil
	}
	return l.sub.messages, l.sub.ended
}

// readLog begins to read the log anew: where the last reading ended, or from the start.
func (f *Feed) readLog(ctx context.Context, fromStart bool) {
	l, now := f.log, f.r.opts.Now()
	l.stop()
	after := "0"
	if !fromStart && l.prev != "" {
		after, l.expect, l.token = l.prev, true, l.last.Token
	} else {
		l.lose()
		l.expect, l.sure, l.token = false, false, 0
	}
	ctx, cancel := context.WithCancel(ctx)
	sub := &subscription{messages: make(chan sdk.Message, 64), ended: make(chan error, 1), close: cancel}
	l.sub, l.opened, l.heard = sub, now, now
	f.work.Go(func() {
		err := error(sdk.Errorf(sdk.Internal, "reading the log panicked"))
		f.safely("read the log", func() {
			island, superseded, missing := f.r.hold(f.plan.Load().coordinator)
			if missing != nil {
				err = missing
				return
			}
			ctx, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			f.work.Go(func() {
				select {
				case <-superseded:
					cancel(errSuperseded)
				case <-ctx.Done():
				}
			})
			defer func() {
				if context.Cause(ctx) == errSuperseded { //nolint:errorlint // it is this very one
					err = errSuperseded
				}
			}()
			err = island.Subscribe(ctx, feedChannel, after, func(msg sdk.Message) error {
				select {
				case sub.messages <- msg:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		})
		sub.ended <- err
	})
}

// lose gives the place in the log up: what should have come after it did not, because the log began anew.
func (l *follower) lose() { l.prev, l.last, l.read = "", sdk.Message{}, "" }

// stop ends the reading.
func (l *follower) stop() {
	if l.sub != nil {
		l.sub.close()
		l.sub = nil
	}
}

// minLogPause is the first pause before the log is read again after the reading broke.
const minLogPause = 20 * time.Millisecond

// logEnded notes that the reading broke. In a new generation of the coordinator it is read on at once.
func (f *Feed) logEnded(ctx context.Context, err error) {
	l, now := f.log, f.r.opts.Now()
	if errors.Is(err, errSuperseded) {
		f.readLog(ctx, false)
		return
	}
	l.stop()
	if l.trouble.IsZero() {
		l.trouble = now
		f.logger.Debug("the log of the feed cannot be read", "reason", sdk.KindOf(orEnded(err)).String(), "error", err)
	}
	l.pause = min(max(2*l.pause, minLogPause), f.opts.Retry)
	l.retryAt = now.Add(jittered(l.pause))
}

// orEnded is the error of a stream, also of one that ended without saying why.
func orEnded(err error) error {
	if err == nil {
		return sdk.Errorf(sdk.Unavailable, "the stream ended")
	}
	return err
}

// readMessage takes one message of the log.
func (f *Feed) readMessage(ctx context.Context, msg sdk.Message) {
	l := f.log
	l.heard, l.trouble, l.pause = f.r.opts.Now(), time.Time{}, 0
	if l.expect {
		// A log that began anew may give the same id to something else.
		l.expect = false
		if msg.ID != l.last.ID || msg.Token != l.last.Token || !bytes.Equal(msg.Payload, l.last.Payload) {
			f.readLog(ctx, true)
			return
		}
		l.sure, l.read = true, msg.ID
		return
	}
	before := l.read
	l.read = msg.ID
	rec, err := decodeRecord(msg.Payload)
	if err == nil && (rec.Kind == recordOffer) != (msg.Token == 0) {
		err = sdk.Errorf(sdk.BadUpstream, "a record of kind %q under token %d", rec.Kind, msg.Token)
	}
	if err != nil {
		f.unreadable(err)
		return
	}
	if msg.Token != 0 {
		if msg.Token < l.token {
			f.counts.fenced.Add(1)
			return
		}
		l.token = msg.Token
		if f.lease.phase != idle && msg.Token > f.lease.token {
			f.overthrown()
		}
	}
	own := f.lease.readBack(msg.ID)
	switch rec.Kind {
	case recordMarker:
		if f.lease.phase == marking && rec.Nonce == f.lease.nonce {
			f.lead(ctx)
		}
	case recordOffer:
		f.heardOffer(rec)
	default:
		news, ok := f.log.place(rec)
		if !ok {
			f.hole(ctx, msg.ID)
			return
		}
		if l.sure && rec.Epoch == l.board.epoch && rec.N == l.board.n {
			l.prev, l.last = cmp.Or(before, "0"), msg
		}
		f.logMoved(ctx, news, own)
	}
}

// unreadable skips a record, which may have been a tick.
func (f *Feed) unreadable(err error) {
	f.counts.unreadable.Add(1)
	f.log.sure = false
	if !f.log.complained {
		f.log.complained = true
		f.logger.Error("a record in the log of the feed cannot be read and is skipped", "error", err)
	}
}

// maxPast bounds the epochs that are remembered as ended.
const maxPast = 64

// place finds a record's place in the sequence and takes it over if it follows. News is what is to be delivered, nil for
// nothing; ok is false when something before the record is missing.
func (l *follower) place(rec *record) (news *Tick, ok bool) {
	if rec.Epoch != l.board.epoch {
		if slices.Contains(l.past, rec.Epoch) {
			return nil, true
		}
		if rec.Kind != recordState {
			return nil, false
		}
		if l.board.epoch != "" {
			l.past = append(l.past, l.board.epoch)
			l.past = l.past[max(0, len(l.past)-maxPast):]
		}
		return l.follow(rec.tick()), true
	}
	switch {
	case rec.N < l.board.n:
		return nil, true
	case rec.N == l.board.n:
		l.sure = true
		return nil, true
	case rec.Kind == recordState, rec.Kind == recordTick && rec.N == l.board.n+1:
		return l.follow(rec.tick()), true
	default:
		return nil, false
	}
}

// follow takes over a tick that follows.
func (l *follower) follow(t Tick) *Tick {
	l.board.apply(t)
	l.sure = true
	return &t
}

// hole notes that ticks are missing before a message. They may be in the log all the same; if not, a state makes up for
// them, which is asked for.
func (f *Feed) hole(ctx context.Context, id string) {
	l := f.log
	missed := l.sure
	l.sure = false
	if missed {
		f.counts.holes.Add(1)
	}
	switch {
	case f.lease.phase == leading:
		f.abandon("ticks of its own are missing in the log")
	case f.lease.phase == idle && missed && id != l.hole:
		l.hole = id
		f.readLog(ctx, true)
	}
}

// logMoved delivers what the log has brought, unless this host has to wait or is on its own.
func (f *Feed) logMoved(ctx context.Context, news *Tick, own bool) {
	switch {
	case f.lone != nil && own && news != nil:
		f.lone = nil // It has been speaking to the sources all the time; now it does so for all.
		f.joined = true
		f.deliver(*news)
	case f.lone != nil:
		if f.lone.heard && f.log.sure && f.lease.phase == idle {
			f.rejoin(ctx)
		}
	case !f.joined:
		f.join(ctx)
	case news == nil:
	case news.Whole && len(f.ahead()) > 0:
		f.joined, f.heldSince = false, f.r.opts.Now()
		f.join(ctx)
	default:
		f.deliver(*news)
	}
}

// ahead lists what this host has delivered and the log does not know yet.
func (f *Feed) ahead() []sdk.Quote {
	var ahead []sdk.Quote
	now := f.r.opts.Now()
	for symbol, q := range f.newest {
		if q.AsOf.After(f.log.board.quotes[symbol].Quote.AsOf) && f.asked(symbol) && f.counts.fault(q, now) == nil {
			ahead = append(ahead, q)
		}
	}
	return ahead
}

// join begins to deliver what the log says. While this host has delivered newer quotes, it hands them to the leader and
// waits for them to come back: no price goes back in time, and a tick is the same on all hosts. After Hold it goes on
// without what would go back.
func (f *Feed) join(ctx context.Context) {
	if !f.log.sure || f.log.board.epoch == "" {
		return
	}
	now := f.r.opts.Now()
	if ahead := f.ahead(); len(ahead) > 0 && now.Sub(f.heldSince) < f.opts.Hold {
		switch {
		case f.lease.phase == leading:
			f.desk.giveBack(ahead, nil)
		case now.Sub(f.offered) >= f.opts.Retry:
			f.offered = now
			f.offer(ctx, "", ahead)
		}
		return
	}
	f.joined = true
	f.deliver(f.log.board.whole())
}

// offer writes quotes into the log for the leader. What does not arrive is offered again, or did not matter.
func (f *Feed) offer(ctx context.Context, nonce string, quotes []sdk.Quote) {
	_, err := f.publish(ctx, record{Kind: recordOffer, Nonce: nonce, At: f.r.opts.Now().UTC(), Quotes: offered(quotes)}, 0)
	if err != nil {
		f.logger.Debug("an offer did not reach the log of the feed", "error", err)
	}
}

// heardOffer takes what another host has delivered; an offer of nothing asks for a state. A host on its own finds its own
// knock.
func (f *Feed) heardOffer(rec *record) {
	switch {
	case f.lone != nil && rec.Nonce != "" && rec.Nonce == f.lone.nonce:
		f.lone.heard = true
	case f.lease.phase != leading:
	case len(rec.Quotes) == 0:
		f.lease.wanted = true
	default:
		quotes := slices.DeleteFunc(quotesOf(rec.Quotes), func(q sdk.Quote) bool { return !f.asked(q.Symbol) })
		f.desk.offer(quotes)
	}
}
