package main

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"github.com/service-islands/islands/sdk"
)

// pulse is the life of one kind of stream of a session.
type pulse struct {
	// count is how many frames came, and at when the last one did, in nanoseconds after the session began.
	count, at atomic.Int64
}

// session is one connection that brings tickers, and candles if they are asked for. Two goroutines belong to it: one
// reads, one asks whether the peer is still there.
type session struct {
	conn    *websocket.Conn
	manners manners
	began   time.Time
	// expires is when it is to be replaced.
	expires time.Time
	// send is the budget of outgoing messages.
	send *rate.Limiter
	// replies brings the answers to requests.
	replies chan frame
	// delivering is closed once every kind of stream has brought something, leaving when the server says that it will
	// close, done when reading ended.
	delivering, leaving, done chan struct{}
	delivered, leaves         func()
	// cause says why it ended, and endedAt when, once done is closed.
	cause   error
	endedAt time.Time
	// end ends it for a reason.
	end context.CancelCauseFunc
	// heardAt is when anything was heard, in nanoseconds after began.
	heardAt atomic.Int64
	// tickers and candles are what it brought. Candles are owed only if they were asked for.
	tickers, candles pulse
	owesCandles      bool
}

// connect opens a session for streams and returns it once all of them are subscribed. It ends with the context.
func (f *feed) connect(ctx context.Context, names []string) (*session, error) {
	s := &session{
		manners: f.manners, began: time.Now(), expires: time.Now().Add(f.manners.age()),
		send: rate.NewLimiter(rate.Every(f.manners.sendEvery), 1), owesCandles: f.candles,
		replies: make(chan frame, 1), delivering: make(chan struct{}), leaving: make(chan struct{}), done: make(chan struct{}),
	}
	s.delivered = sync.OnceFunc(func() { close(s.delivering) })
	s.leaves = sync.OnceFunc(func() { close(s.leaving) })
	inURL := min(len(names), f.manners.perURL)
	conn, err := f.source.dial(ctx, f.source.target(names[:inURL]), s.heard)
	if err != nil {
		return nil, err
	}
	s.conn = conn
	s.heard()
	s.tickers.at.Store(s.heardAt.Load())
	s.candles.at.Store(s.heardAt.Load())
	ctx, s.end = context.WithCancelCause(ctx)
	f.open(s)
	f.work.Go(func() {
		s.cause = s.read(ctx, f.receive)
		s.endedAt = time.Now()
		s.end(s.cause)
		f.closed(s)
		close(s.done)
	})
	f.work.Go(func() { s.keepAlive(ctx) })
	if err := s.subscribe(ctx, names[inURL:]); err != nil {
		s.end(err)
		<-s.done
		return nil, err
	}
	return s, nil
}

// heard notes a sign of life.
func (s *session) heard() { s.heardAt.Store(int64(time.Since(s.began))) }

// ticked notes a ticker, and charted a candle, open or closed.
func (s *session) ticked() { s.brings(&s.tickers) }

func (s *session) charted() { s.brings(&s.candles) }

// brings notes a frame of one kind.
func (s *session) brings(kind *pulse) {
	kind.count.Add(1)
	kind.at.Store(int64(time.Since(s.began)))
	if s.frames() > 0 {
		s.delivered()
	}
}

// frames is how many frames of each kind came at least.
func (s *session) frames() int64 {
	n := s.tickers.count.Load()
	if s.owesCandles {
		n = min(n, s.candles.count.Load())
	}
	return n
}

// unheard is how long nothing was heard.
func (s *session) unheard() time.Duration {
	return time.Since(s.began) - time.Duration(s.heardAt.Load())
}

// silent is how long no ticker came, or no candle where they are owed, whichever is longer: a connection of which one
// half has died does not deliver, however lively the other.
func (s *session) silent() time.Duration {
	at := s.tickers.at.Load()
	if s.owesCandles {
		at = min(at, s.candles.at.Load())
	}
	return time.Since(s.began) - time.Duration(at)
}

// ended reports whether the session is over.
func (s *session) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// read hands on every message until the connection breaks or the context ends, and returns why. The connection is closed
// then. Pings of the server are answered meanwhile, by the library.
func (s *session) read(ctx context.Context, receive func(*session, []byte)) error {
	defer func() { _ = s.conn.CloseNow() }() // It is over, however it closes.
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
			return sdk.Errorf(sdk.Unavailable, "read from the streams: %w", err)
		}
		s.heard()
		receive(s, text.Bytes())
	}
}

// keepAlive ends the session when the peer is gone without a word, which a connection alone would not notice.
func (s *session) keepAlive(ctx context.Context) {
	timer := time.NewTimer(s.manners.pingAfter)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if left := s.manners.pingAfter - s.unheard(); left > 0 {
			timer.Reset(left)
			continue
		}
		// Whatever is heard while the pong is awaited will do as well.
		if err := s.ping(ctx); err != nil && s.unheard() > s.manners.pongWithin {
			s.end(sdk.Errorf(sdk.Unavailable, "no answer to a ping within %s", s.manners.pongWithin))
			return
		}
		timer.Reset(s.manners.pingAfter)
	}
}

// ping asks whether the peer is there.
func (s *session) ping(ctx context.Context) error {
	if err := s.send.Wait(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.manners.pongWithin)
	defer cancel()
	return s.conn.Ping(ctx)
}

// subscribe asks for streams and waits until they are granted.
func (s *session) subscribe(ctx context.Context, names []string) error {
	id := int64(0)
	for part := range slices.Chunk(names, s.manners.perRequest) {
		id++
		if err := s.request(ctx, id, part); err != nil {
			return err
		}
	}
	return nil
}

// request sends one SUBSCRIBE and waits for its answer.
func (s *session) request(ctx context.Context, id int64, names []string) error {
	text, err := json.Marshal(map[string]any{"method": "SUBSCRIBE", "params": names, "id": id})
	if err != nil {
		return sdk.Errorf(sdk.Internal, "subscribe: %w", err)
	}
	if err := s.send.Wait(ctx); err != nil {
		return sdk.Errorf(sdk.Unavailable, "subscribe: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.manners.replyWithin)
	defer cancel()
	if err := s.conn.Write(ctx, websocket.MessageText, text); err != nil {
		return sdk.Errorf(sdk.Unavailable, "subscribe: %w", err)
	}
	for {
		select {
		case reply := <-s.replies:
			switch {
			case reply.refusal != nil:
				return sdk.Errorf(sdk.BadUpstream, "subscribe: %d %.200q", reply.refusal.Code, reply.refusal.Text)
			case reply.id == id:
				return nil
			}
		case <-s.done:
			return s.cause
		case <-ctx.Done():
			return sdk.Errorf(sdk.Unavailable, "subscribe: no answer within %s", s.manners.replyWithin)
		}
	}
}

// retire closes the connection in an orderly way, which takes a moment.
func (s *session) retire() {
	_ = s.conn.Close(websocket.StatusNormalClosure, "") // Whether the peer is as orderly does not matter.
}
