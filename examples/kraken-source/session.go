package main

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"github.com/service-islands/islands/sdk"
)

// session is one connection that is subscribed to all pairs of a feed. Two goroutines belong to it: one reads, one asks for
// what is wanted and sees that the peer is still there.
type session struct {
	feed  *feed
	conn  *websocket.Conn
	began time.Time
	send  *rate.Limiter
	// replies brings the answers to subscriptions.
	replies chan reply
	// heardAt and tickedAt are when anything was heard, and when a ticker of any pair came, in nanoseconds after began.
	heardAt, tickedAt atomic.Int64
	// tickers is how many came that were no part of a snapshot.
	tickers atomic.Int64
	ids     int64
}

// session keeps one connection from its beginning to its end, and returns why it ended. Stood is called once it is
// subscribed.
func (f *feed) session(ctx context.Context, stood func(*session)) error {
	conn, err := f.source.dial(ctx)
	if err != nil {
		return err
	}
	s := &session{
		feed: f, conn: conn, began: time.Now(), send: rate.NewLimiter(rate.Every(f.manners.sendEvery), 1),
		replies: make(chan reply, 4*f.manners.perRequest),
	}
	ctx, end := context.WithCancelCause(ctx)
	var reading sync.WaitGroup
	reading.Go(func() { end(s.read(ctx)) })
	end(s.keep(ctx, stood))
	_ = conn.CloseNow() // It is over, however it closes.
	reading.Wait()
	return context.Cause(ctx)
}

func (s *session) since(at *atomic.Int64) time.Duration {
	return time.Since(s.began) - time.Duration(at.Load())
}

func (s *session) note(at *atomic.Int64) { at.Store(int64(time.Since(s.began))) }

// read hands on every message until the connection breaks or the context ends, and returns why.
func (s *session) read(ctx context.Context) error {
	var text bytes.Buffer
	for {
		_, r, err := s.conn.Reader(ctx)
		if err == nil {
			text.Reset()
			_, err = text.ReadFrom(r)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return sdk.Errorf(sdk.Unavailable, "read from the stream: %w", err)
		}
		s.note(&s.heardAt)
		s.receive(text.Bytes())
	}
}

// receive takes a message. What is of no use is counted.
func (s *session) receive(text []byte) {
	stats := &s.feed.source.streamed
	stats.frames.Add(1)
	got := decodeFrame(text)
	if !got.at.IsZero() {
		s.feed.source.streamed.skew.Store(int64(got.at.Sub(s.feed.source.now())))
	}
	switch got.kind {
	case frameTickers:
		s.note(&s.tickedAt)
		if !got.snapshot {
			s.tickers.Add(1)
		}
		s.feed.quote(got.tickers)
	case frameMinutes:
		s.feed.chart(got.minutes)
	case frameReply:
		select {
		case s.replies <- got.reply:
		default:
			stats.drop(dropUnknown) // An answer that nobody waits for.
		}
	case frameStatus:
		s.feed.exchangeIs(got.system)
	case framePong, frameHeartbeat:
	case frameUnknown:
		stats.drop(dropUnknown)
	default:
		stats.drop(dropMalformed)
	}
}

// keep subscribes and then looks after the connection until it is to be replaced, and returns why.
func (s *session) keep(ctx context.Context, stood func(*session)) error {
	f, m := s.feed, s.feed.manners
	channels := []string{channelTicker}
	if f.candles {
		channels = append(channels, channelMinutes)
	}
	for _, channel := range channels {
		for part := range slices.Chunk(f.symbols, m.perRequest) {
			if err := s.subscribe(ctx, channel, part); err != nil {
				return err
			}
		}
	}
	s.note(&s.tickedAt)
	stood(s)
	look := time.NewTicker(m.lookEvery)
	defer look.Stop()
	for pinged := time.Now(); ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-look.C:
		}
		if quiet := s.since(&s.heardAt); quiet > m.deadAfter {
			return sdk.Errorf(sdk.Unavailable, "nothing was heard for %s", m.deadAfter)
		}
		if s.since(&s.tickedAt) > f.patience {
			return errQuiet
		}
		f.closeMinutes(f.source.krakenNow().Add(-m.grace))
		if time.Since(pinged) >= m.pingEvery {
			pinged = time.Now()
			if err := s.request(ctx, map[string]any{"method": methodPing, "req_id": s.id()}); err != nil {
				return err
			}
		}
	}
}

// id is the next number of a request.
func (s *session) id() int64 {
	s.ids++
	return s.ids
}

// request sends one message within the budget.
func (s *session) request(ctx context.Context, message any) error {
	text, err := json.Marshal(message)
	if err != nil {
		return sdk.Errorf(sdk.Internal, "request: %w", err)
	}
	if err := s.send.Wait(ctx); err != nil {
		return sdk.Errorf(sdk.Unavailable, "request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.feed.manners.replyWithin)
	defer cancel()
	if err := s.conn.Write(ctx, websocket.MessageText, text); err != nil {
		return sdk.Errorf(sdk.Unavailable, "request: %w", err)
	}
	return nil
}

// subscribe asks for a channel of pairs and waits until each was granted or refused, one answer each.
func (s *session) subscribe(ctx context.Context, channel string, symbols []string) error {
	params := map[string]any{"channel": channel, "symbol": symbols, "snapshot": true}
	switch channel {
	case channelTicker:
		params["event_trigger"] = "trades"
	case channelMinutes:
		params["interval"] = 1
	}
	id := s.id()
	if err := s.request(ctx, map[string]any{"method": methodSubscribe, "params": params, "req_id": id}); err != nil {
		return err
	}
	timer := time.NewTimer(s.feed.manners.replyWithin)
	defer timer.Stop()
	missing := make(map[string]bool, len(symbols))
	for _, symbol := range symbols {
		missing[symbol] = true
	}
	for len(missing) > 0 {
		select {
		case r := <-s.replies:
			switch {
			case r.id != 0 && r.id != id:
			case !r.ok && r.symbol == "":
				// "Exceeded msg rate" passes, whatever else it is does not.
				if strings.Contains(r.complaint, "rate") {
					return sdk.Errorf(sdk.Unavailable, "subscribe to %s: %.120q", channel, r.complaint)
				}
				return sdk.Errorf(sdk.BadUpstream, "subscribe to %s: %.120q", channel, r.complaint)
			case !r.ok:
				s.feed.refuse(channel, r.symbol, r.complaint)
				delete(missing, r.symbol)
			default:
				delete(missing, r.symbol)
			}
		case <-timer.C:
			return sdk.Errorf(sdk.Unavailable, "subscribe to %s: %d of %d pairs without an answer within %s", channel, len(missing),
				len(symbols), s.feed.manners.replyWithin)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if s.feed.empty() {
		return sdk.Errorf(sdk.NotFound, "none of %d pairs can be streamed", len(s.feed.symbols))
	}
	return nil
}
