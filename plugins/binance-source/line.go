package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/service-islands/islands/sdk"
)

// enoughFrames is how many frames of each kind without a pause show that pairs are not quiet.
const enoughFrames = 60

// sameTime is how far apart two connections may bring the same frame.
const sameTime = time.Second

// line keeps one connection for up to 1024 streams, and mends and replaces it.
type line struct {
	feed  *feed
	names []string
	// failures counts the connections in a row that could not be opened or did not last.
	failures int
	// patience is how long no ticker may come, or no candle where they are asked for.
	patience time.Duration

	// Of the feed's lock: the connection that delivers, or did last, and why another could not be opened.
	current *session
	trouble error
}

// reason is why a connection is replaced.
type reason string

const (
	reasonBroken   reason = "broken"
	reasonSilent   reason = "silent"
	reasonAge      reason = "age"
	reasonShutdown reason = "server shutdown"
)

// planned reports whether the replacement is part of the order of things.
func (r reason) planned() bool { return r == reasonAge || r == reasonShutdown }

// run keeps a connection delivering until the context ends or the feed has failed.
func (l *line) run(ctx context.Context) {
	var current *session
	var why reason
	for ctx.Err() == nil {
		next := l.replace(ctx, current, why)
		if next == nil {
			return
		}
		if old := current; old != nil && old != next {
			// From here on the new one delivers what the old one does.
			l.feed.work.Go(old.retire)
		}
		current = next
		l.feed.takes(l, current)
		why = l.watch(ctx, current)
		if ctx.Err() != nil {
			return
		}
		l.note(why, current)
	}
}

// watch returns why a session has to be replaced.
func (l *line) watch(ctx context.Context, s *session) reason {
	age := time.NewTimer(time.Until(s.expires))
	defer age.Stop()
	silence := time.NewTimer(l.patience)
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return reasonBroken
		case <-s.done:
			return reasonBroken
		case <-s.leaving:
			return reasonShutdown
		case <-age.C:
			return reasonAge
		case <-silence.C:
			if s.frames() >= enoughFrames {
				l.patience = l.feed.manners.silence
			}
			left := l.patience - s.silent()
			if left <= 0 {
				return reasonSilent
			}
			silence.Reset(left)
		}
	}
}

// note counts and logs a replacement that is about to be made.
func (l *line) note(why reason, s *session) {
	log, stats := l.feed.source.logger, l.feed.source.streamed
	lived := time.Since(s.began)
	// Whatever ends connections soon must not make this a loop without a pause.
	if l.failures++; lived >= l.feed.manners.steady && s.tickers.count.Load() > 0 {
		l.failures = 0
	}
	attrs := []any{slog.String("why", string(why)), slog.Duration("lived", lived.Round(time.Millisecond))}
	if why.planned() {
		stats.rotations.Add(1)
		log.Info("replacing a connection of the stream", attrs...)
		return
	}
	stats.reconnects.Add(1)
	if why == reasonBroken {
		attrs = append(attrs, slog.Any("error", s.cause))
	}
	log.Warn("replacing a connection of the stream", attrs...)
}

// replace opens a connection that can take the place of the old one, which goes on delivering meanwhile if it can; nil
// when the context ended or the feed has failed. It is the old one when that was silent and has come back.
func (l *line) replace(ctx context.Context, old *session, why reason) *session {
	for {
		if !l.pause(ctx, old, l.delay(old)) {
			return nil
		}
		next, err := l.feed.connect(ctx, l.names)
		if err == nil {
			if err = l.prove(ctx, old, next, why); err == nil {
				return next
			}
			l.feed.work.Go(next.retire)
		}
		if ctx.Err() != nil {
			return nil
		}
		l.failures++
		l.feed.blame(l, err)
		l.feed.source.logger.Warn("a connection of the stream could not be opened", slog.Any("error", err),
			slog.Int("attempt", l.failures))
		if why == reasonSilent && !old.ended() && old.silent() < l.patience {
			return old
		}
		if !final(err) {
			continue
		}
		if l.feed.connections() == 0 {
			l.feed.queue.Fail(err)
			return nil
		}
		if !l.pause(ctx, old, sdk.RetryAfter(err)) {
			return nil
		}
	}
}

// final reports whether another try would come to the same.
func final(err error) bool {
	switch sdk.KindOf(err) {
	case sdk.RateLimited, sdk.PermissionDenied, sdk.BadUpstream:
		return true
	default:
		return false
	}
}

// delay is how long to wait before the next try: not at all for the first connection, and for the successor of one that
// still delivers.
func (l *line) delay(old *session) time.Duration {
	if l.failures == 0 && (old == nil || !old.ended()) {
		return 0
	}
	return l.feed.manners.delay(l.failures)
}

// pause waits, no longer than until the old connection has broken, and reports whether the context still holds.
func (l *line) pause(ctx context.Context, old *session, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	var broken <-chan struct{}
	if old != nil && !old.ended() {
		broken = old.done
	}
	select {
	case <-timer.C:
	case <-broken:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// prove waits until the next connection is as good as the old one. It is at once where there is none, when it delivers,
// and when neither has delivered for as long as patience lasts.
func (l *line) prove(ctx context.Context, old, next *session, why reason) error {
	if old == nil || old.ended() {
		return nil
	}
	timer := time.NewTimer(l.patience)
	defer timer.Stop()
	select {
	case <-next.delivering:
		if why == reasonSilent && l.pause(ctx, old, sameTime) && !old.ended() && old.silent() < l.patience {
			l.quiet()
		}
		return nil
	case <-next.done:
		return next.cause
	case <-old.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
	}
	if old.silent() < l.patience {
		return sdk.Errorf(sdk.Unavailable, "a new connection does not bring what the old one does")
	}
	l.quiet()
	return nil
}

// quiet notes that it is the pairs that are quiet and not the connection, because two connections were silent together
// or spoke together. Each doubt costs a connection, so the next one comes later.
func (l *line) quiet() { l.patience = min(2*l.patience, l.feed.manners.maxSilence) }
