package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/latest"
)

// The streams of a pair, after its symbol.
const (
	tickerStream = "@miniTicker"
	candleStream = "@kline_1m"
)

// pairState is one symbol of a feed.
type pairState struct {
	assets []sdk.Asset
	// at is the time of the last ticker, in milliseconds.
	at int64
	// minute is when the last candle that has closed opened.
	minute time.Time
}

// feed is one Stream under way.
type feed struct {
	source   *source
	manners  manners
	currency string
	note     string
	candles  bool
	queue    *latest.Queue
	began    time.Time
	lines    []*line
	// work are the goroutines of the feed.
	work sync.WaitGroup

	mu       sync.Mutex
	pairs    map[string]*pairState
	sessions map[*session]struct{}
	// heard is when the last ticker came, of any symbol; the zero time until then.
	heard time.Time
}

// Stream pushes the quotes of every asset that is traded, as its tickers come, and its minutes as they close, if they are
// asked for. It ends with an error when the currency is not offered (Unsupported), none of the assets is traded (NotFound),
// or Binance refuses the connection (RateLimited, PermissionDenied, BadUpstream); a connection that breaks is mended.
// Quotes and candles of one asset never go back in time.
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
	defer f.work.Wait()
	defer cancel(nil) // The last to be deferred, so the first to happen.
	for _, l := range f.lines {
		f.work.Go(func() { l.run(ctx) })
	}
	return f.queue.Run(ctx, emit, latest.Options{MinInterval: f.manners.minInterval, Heartbeat: f.manners.heartbeat})
}

// errShutdown is why a stream ends with its island.
func errShutdown() error { return sdk.Errorf(sdk.Unavailable, "the island shuts down") }

// newFeed finds out what there is to stream.
func (s *source) newFeed(ctx context.Context, req sdk.StreamRequest) (*feed, error) {
	list, err := s.listing(ctx, listAge, 0)
	if err != nil {
		return nil, err
	}
	against, note := quoteAsset(req.VsCurrency)
	if !list.quotes[against] {
		return nil, sdk.Errorf(sdk.Unsupported, "nothing is traded against %q", req.VsCurrency)
	}
	f := &feed{
		source: s, manners: s.manners, currency: req.VsCurrency, note: note, candles: req.Candles, queue: latest.New(),
		began: time.Now(), pairs: map[string]*pairState{}, sessions: map[*session]struct{}{},
	}
	for _, a := range req.Assets {
		symbol, ok := list.symbols[pair{strings.ToUpper(a.Symbol), against}]
		if !ok {
			continue
		}
		p := f.pairs[symbol]
		if p == nil {
			p = &pairState{}
			f.pairs[symbol] = p
		}
		p.assets = append(p.assets, a)
	}
	if len(f.pairs) == 0 {
		return nil, sdk.Errorf(sdk.NotFound, "none of %d assets is traded against %q", len(req.Assets), req.VsCurrency)
	}
	kinds := []string{tickerStream}
	if f.candles {
		kinds = append(kinds, candleStream)
	}
	// All streams of a pair share a connection, which therefore holds the fewer pairs the more they have.
	for part := range slices.Chunk(slices.Sorted(maps.Keys(f.pairs)), s.manners.perConnection/len(kinds)) {
		var names []string
		for _, kind := range kinds {
			for _, symbol := range part {
				names = append(names, strings.ToLower(symbol)+kind)
			}
		}
		f.lines = append(f.lines, &line{feed: f, names: names, patience: s.manners.silence})
	}
	return f, nil
}

// receive takes a message of a session. What is of no use is counted.
func (f *feed) receive(s *session, text []byte) {
	stats := f.source.streamed
	stats.frames.Add(1)
	got := decodeFrame(text)
	switch got.kind {
	case frameTicker:
		f.apply(s, got.mini)
	case frameCandle:
		f.chart(s, got.bar)
	case frameShutdown:
		s.leaves()
	case frameReply:
		select {
		case s.replies <- got:
		default:
			stats.drop(dropUnknown) // An answer that nobody waits for.
		}
	case frameUnknown:
		stats.drop(dropUnknown)
	default:
		stats.drop(dropMalformed)
	}
}

// apply puts the quotes of a ticker, unless it is one that is known already: while a connection takes over from another,
// both bring the same.
func (f *feed) apply(s *session, t miniTicker) {
	stats := f.source.streamed
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pairs[t.symbol]
	if p == nil {
		stats.drop(dropUnknown)
		return
	}
	s.ticked()
	f.heard = time.Now()
	switch {
	case t.at < p.at:
		stats.drop(dropLate)
		return
	case t.at == p.at:
		stats.drop(dropDuplicate)
		return
	}
	p.at = t.at
	if t.price.Or(0) == 0 {
		stats.drop(dropDead) // Not traded in 24 hours: zeros that mean nothing.
		return
	}
	for _, a := range p.assets {
		if f.queue.Put(t.quote(a, f.currency, f.note, f.source.name)) {
			stats.drop(dropSuperseded)
		}
	}
}

// chart puts a candle that has closed, unless it is one that is known already. One that is open proves that its stream
// delivers, and is of no other use.
func (f *feed) chart(s *session, b bar) {
	stats := f.source.streamed
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pairs[b.symbol]
	if p == nil || !f.candles {
		stats.drop(dropUnknown)
		return
	}
	s.charted()
	switch order := b.opens.Compare(p.minute); {
	case !b.closed:
		return
	case order < 0:
		stats.drop(dropLate)
		return
	case order == 0:
		stats.drop(dropDuplicate)
		return
	}
	p.minute = b.opens
	if b.close.Or(0) == 0 {
		stats.drop(dropDead)
		return
	}
	stats.candles.Add(1)
	for _, a := range p.assets {
		superseded := f.queue.PutCandles(b.series(a, f.currency, f.note, f.source.name))
		stats.dropped[dropSuperseded].Add(int64(superseded))
	}
}

// open adds a connection.
func (f *feed) open(s *session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sessions[s] = struct{}{}
}

// closed removes a connection.
func (f *feed) closed(s *session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.sessions, s)
}

// connections is how many connections are open.
func (f *feed) connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.sessions)
}

// takes notes that a line has a connection.
func (f *feed) takes(l *line, s *session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l.current, l.trouble = s, nil
}

// blame notes why a line could not connect.
func (f *feed) blame(l *line, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l.trouble = err
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
	s.end()
	select {
	case <-s.gone:
		return nil
	case <-ctx.Done():
		return sdk.Errorf(sdk.KindOf(ctx.Err()), "a stream does not end, its receiver is busy: %w", ctx.Err())
	}
}

// end cancels every feed.
func (s *streams) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cancel := range s.feeds {
		cancel(errShutdown())
	}
	if !s.closed && len(s.feeds) == 0 {
		close(s.gone)
	}
	s.closed = true
}
