package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/latest"
)

// errQuiet is why a connection is replaced that brings heartbeats and no tickers.
var errQuiet = sdk.Errorf(sdk.Unavailable, "no ticker of any pair")

// enoughTickers is how many tickers of a connection show that the market is not quiet.
const enoughTickers = 30

// pairState is one pair of a feed.
type pairState struct {
	assets []sdk.Asset
	// at and price are those of the last ticker.
	at    time.Time
	price sdk.Number
	// running is the minute that still moves, and told is when the last one that has closed opened.
	running *minute
	told    time.Time
	// refused is true while Kraken does not stream its tickers.
	refused bool
}

// feed is one Stream under way.
type feed struct {
	source   *source
	manners  manners
	currency string
	candles  bool
	queue    *latest.Queue
	began    time.Time
	// symbols are all pairs, in order.
	symbols []string
	// patience is how long no ticker may come. It belongs to the goroutine that keeps the connection.
	patience time.Duration

	mu    sync.Mutex
	pairs map[string]*pairState
	// current is the connection that stands, nil while none does; down is since when, and why.
	current *session
	down    time.Time
	why     error
	// heard is when the last ticker came, of any pair; the zero time until then.
	heard time.Time
	// system is how the exchange is, in its own word; "" and "online" are well.
	system string
}

// Stream pushes the quotes of every asset that is traded, as its tickers come, and its minutes as they close, if they are
// asked for. It ends with an error when the currency is not offered (Unsupported), none of the assets is traded (NotFound),
// or Kraken refuses (RateLimited, PermissionDenied, BadUpstream); a connection that breaks is mended. Quotes and candles of
// one asset never go back in time.
func (s *source) Stream(ctx context.Context, req sdk.StreamRequest, emit func(sdk.QuoteBatch) error) error {
	if s.client == nil {
		return sdk.Errorf(sdk.Unavailable, "not initialized")
	}
	if len(req.Assets) == 0 {
		return sdk.Errorf(sdk.InvalidArgument, "a stream of no assets")
	}
	f, err := s.newFeed(ctx, req)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if !s.streams.enter(f, cancel) {
		return errShutdown()
	}
	defer s.streams.leave(f)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel(nil) // The last to be deferred, so the first to happen.
	work.Go(func() { f.run(ctx) })
	return f.queue.Run(ctx, emit, latest.Options{MinInterval: f.manners.minInterval, Heartbeat: f.manners.heartbeat})
}

// newFeed finds out what there is to stream.
func (s *source) newFeed(ctx context.Context, req sdk.StreamRequest) (*feed, error) {
	list, err := s.listing(ctx, listAge, 0)
	if err != nil {
		return nil, err
	}
	if !list.quotes[req.VsCurrency] {
		return nil, sdk.Errorf(sdk.Unsupported, "nothing is traded against %q", req.VsCurrency)
	}
	f := &feed{
		source: s, manners: s.manners, currency: req.VsCurrency, candles: req.Candles, queue: latest.New(), began: s.krakenNow(),
		patience: s.manners.silence, pairs: map[string]*pairState{}, down: time.Now(),
	}
	for _, a := range req.Assets {
		if p, ok := list.find(a.Symbol, req.VsCurrency); ok {
			state := f.pairs[p.symbol]
			if state == nil {
				state = &pairState{}
				f.pairs[p.symbol] = state
			}
			state.assets = append(state.assets, a)
		}
	}
	if len(f.pairs) == 0 {
		return nil, sdk.Errorf(sdk.NotFound, "none of %d assets is traded against %q", len(req.Assets), req.VsCurrency)
	}
	f.symbols = slices.Sorted(maps.Keys(f.pairs))
	return f, nil
}

// run keeps a connection until the context ends or Kraken refuses.
func (f *feed) run(ctx context.Context) {
	log := f.source.logger
	for failures := 0; ; {
		stood := false
		began := time.Now()
		err := f.session(ctx, func(s *session) { stood = true; f.stands(s) })
		f.falls(err)
		if ctx.Err() != nil {
			return
		}
		quiet := errors.Is(err, errQuiet)
		switch {
		case quiet:
			// Each doubt costs a connection, so the next one comes later, until tickers have come.
			f.patience = min(2*f.patience, f.manners.maxSilence)
		case final(err):
			f.queue.Fail(err)
			return
		}
		if stood {
			f.source.streamed.reconnects.Add(1)
		}
		if failures++; stood && time.Since(began) >= f.manners.steady {
			failures = 0
		}
		log.Warn("replacing the connection of the stream", slog.Any("error", err), slog.Bool("stood", stood), slog.Int("attempt", failures))
		timer := time.NewTimer(f.manners.delay(failures))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// final reports whether another try would come to the same.
func final(err error) bool {
	switch sdk.KindOf(err) {
	case sdk.RateLimited, sdk.PermissionDenied, sdk.BadUpstream, sdk.NotFound:
		return true
	default:
		return false
	}
}

// stands notes that a connection is subscribed.
func (f *feed) stands(s *session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.current, f.why = s, nil
}

// falls notes that no connection stands any more. What a minute that still moved came to is unknown then.
func (f *feed) falls(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.current != nil {
		if f.current.tickers.Load() >= enoughTickers {
			f.patience = f.manners.silence
		}
		f.down = time.Now()
	}
	f.current, f.why = nil, err
	for _, p := range f.pairs {
		p.running, p.refused = nil, false
	}
}

// exchangeIs notes how the exchange is.
func (f *feed) exchangeIs(system string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.system != system && system != "online" {
		f.source.logger.Warn("the exchange is not online", slog.String("system", system))
	}
	f.system = system
}

// refuse notes that Kraken does not stream a pair.
func (f *feed) refuse(channel, symbol, complaint string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.pairs[symbol]; p != nil && channel == channelTicker {
		p.refused = true
	}
	f.source.streamed.drop(dropRefused)
	f.source.logger.Warn("a pair is not streamed", slog.String("channel", channel), slog.String("pair", symbol), slog.String("why", complaint))
}

// empty reports whether no pair is streamed at all.
func (f *feed) empty() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.pairs {
		if !p.refused {
			return false
		}
	}
	return true
}

// quote puts the quotes of tickers, unless they are known already.
func (f *feed) quote(list []ticker) {
	stats := &f.source.streamed
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range list {
		p := f.pairs[t.symbol]
		if p == nil {
			stats.drop(dropUnknown)
			continue
		}
		f.heard = time.Now()
		if t.at.IsZero() {
			t.at = f.source.krakenNow()
		}
		switch {
		case t.at.Before(p.at):
			stats.drop(dropLate)
			continue
		case t.at.Equal(p.at) && t.price == p.price:
			stats.drop(dropDuplicate)
			continue
		}
		p.at, p.price = t.at, t.price
		if t.price.Or(0) == 0 {
			stats.drop(dropDead) // Not traded in 24 hours: zeros that mean nothing.
			continue
		}
		for _, a := range p.assets {
			if f.queue.Put(t.quote(a, f.currency, f.source.name)) {
				stats.drop(dropSuperseded)
			}
		}
	}
}

// chart takes minutes, oldest first. One that begins later than the running one closes it.
func (f *feed) chart(list []minute) {
	stats := &f.source.streamed
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range list {
		p := f.pairs[m.symbol]
		switch {
		case p == nil || !f.candles:
			stats.drop(dropUnknown)
		case !m.opens.After(p.told), p.running != nil && m.opens.Before(p.running.opens):
			stats.drop(dropLate)
		case !m.opens.Add(time.Minute).After(f.began):
			p.told = m.opens // It closed before anybody listened.
		default:
			if p.running != nil && m.opens.After(p.running.opens) {
				f.closes(p)
			}
			p.running = &m
		}
	}
}

// closeMinutes closes the minutes that had ended at a time.
func (f *feed) closeMinutes(at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.pairs {
		if p.running != nil && !p.running.opens.Add(time.Minute).After(at) {
			f.closes(p)
		}
	}
}

// closes puts the running minute of a pair. The lock is held.
func (f *feed) closes(p *pairState) {
	m := p.running
	p.running, p.told = nil, m.opens
	stats := &f.source.streamed
	if m.close.Or(0) == 0 {
		stats.drop(dropDead)
		return
	}
	stats.candles.Add(1)
	for _, a := range p.assets {
		superseded := f.queue.PutCandles(m.series(a, f.currency, f.source.name, f.source.krakenNow()))
		stats.dropped[dropSuperseded].Add(int64(superseded))
	}
}

// streams are the feeds under way. Shutdown ends them.
type streams struct {
	mu     sync.Mutex
	closed bool
	feeds  map[*feed]context.CancelCauseFunc
	// gone is closed when there are none and none can come.
	gone chan struct{}
}

// newStreams returns streams without a feed.
func newStreams() *streams {
	return &streams{feeds: map[*feed]context.CancelCauseFunc{}, gone: make(chan struct{})}
}

// errShutdown is why a stream ends with its island.
func errShutdown() error { return sdk.Errorf(sdk.Unavailable, "the island shuts down") }

// enter adds a feed and reports whether it may begin.
func (s *streams) enter(f *feed, cancel context.CancelCauseFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.feeds[f] = cancel
	return true
}

// leave removes a feed.
func (s *streams) leave(f *feed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.feeds, f)
	if s.closed && len(s.feeds) == 0 {
		close(s.gone)
	}
}

// list returns the feeds under way.
func (s *streams) list() []*feed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.feeds))
}

// shutdown ends every feed, lets no other begin, and waits for them as long as the context allows.
func (s *streams) shutdown(ctx context.Context) error {
	s.mu.Lock()
	for _, cancel := range s.feeds {
		cancel(errShutdown())
	}
	if !s.closed && len(s.feeds) == 0 {
		close(s.gone)
	}
	s.closed = true
	s.mu.Unlock()
	select {
	case <-s.gone:
		return nil
	case <-ctx.Done():
		return sdk.Errorf(sdk.KindOf(ctx.Err()), "a stream does not end, its receiver is busy: %w", ctx.Err())
	}
}
