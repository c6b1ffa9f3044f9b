package pipeline

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// feedSource is a source that streams what it is told to, and answers polls with the newest.
type feedSource struct {
	*fakeSource
	mu      sync.Mutex
	newest  map[string]sdk.Quote
	streams map[chan sdk.QuoteBatch]context.CancelCauseFunc
	opened  int
	asked   []sdk.StreamRequest
	refuse  error // what the next stream ends with at once
	mute    bool  // no heartbeats
	panics  bool
}

func newFeedSource(name string) *feedSource {
	return &feedSource{
		fakeSource: newFakeSource(name), newest: map[string]sdk.Quote{}, streams: map[chan sdk.QuoteBatch]context.CancelCauseFunc{},
	}
}

// know makes quotes what a poll brings.
func (s *feedSource) know(quotes ...sdk.Quote) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range quotes {
		s.newest[q.Symbol] = q
	}
}

// push sends quotes to whoever listens.
func (s *feedSource) push(quotes ...sdk.Quote) { s.send(sdk.QuoteBatch{Quotes: quotes}) }

// send sends a batch; a Seq of 0 becomes the next one.
func (s *feedSource) send(batch sdk.QuoteBatch) {
	s.know(batch.Quotes...)
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch := range s.streams {
		ch <- batch
	}
}

// end breaks every stream.
func (s *feedSource) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cancel := range s.streams {
		cancel(err)
	}
}

// set changes how the source behaves.
func (s *feedSource) set(change func(s *feedSource)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *feedSource) standing() (standing, opened int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams), s.opened
}

func (s *feedSource) Quotes(ctx context.Context, req sdk.QuotesRequest) ([]sdk.Quote, error) {
	if err := s.called(ctx, "quotes"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.panics {
		panic("a poll that panics")
	}
	var out []sdk.Quote
	for _, a := range req.Assets {
		if q, ok := s.newest[a.Symbol]; ok {
			out = append(out, q)
		}
	}
	return out, nil
}

func (s *feedSource) Stream(ctx context.Context, req sdk.StreamRequest, emit func(sdk.QuoteBatch) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	batches := make(chan sdk.QuoteBatch, 1000)
	s.mu.Lock()
	s.opened++
	s.asked = append(s.asked, req)
	refuse, panics := s.refuse, s.panics
	if refuse == nil && !panics {
		s.streams[batches] = cancel
	}
	s.mu.Unlock()
	if panics {
		panic("a stream that panics")
	}
	if refuse != nil {
		return refuse
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.streams, batches)
	}()
	beat := time.NewTicker(5 * time.Second)
	defer beat.Stop()
	var seq uint64
	for {
		var b sdk.QuoteBatch
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case b = <-batches:
		case <-beat.C:
			s.mu.Lock()
			mute := s.mute
			s.mu.Unlock()
			if mute {
				continue
			}
		}
		if b.Seq == 0 {
			b.Seq = seq + 1
		}
		seq = b.Seq
		if err := emit(b); err != nil {
			return err
		}
	}
}

func (s *feedSource) Global(ctx context.Context, req sdk.GlobalRequest) (sdk.Global, error) {
	g, err := s.fakeSource.Global(ctx, req)
	g.AsOf = time.Now().UTC()
	return g, err
}

// receiver is whoever gets a host's ticks. It holds them against the rules that every receiver may count on.
type receiver struct {
	mu     sync.Mutex
	ticks  []Tick
	board  board
	newest map[string]time.Time
	used   map[string]uint64 // epoch → N of its last tick
	faults []string
	hook   func(Tick)
}

func newReceiver() *receiver {
	return &receiver{newest: map[string]time.Time{}, used: map[string]uint64{}}
}

func (v *receiver) deliver(t Tick) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ticks = append(v.ticks, t)
	fault := func(text string) { v.faults = append(v.faults, text+" in "+t.Epoch) }
	if used := v.used[t.Epoch]; used > t.N || (used == t.N && !t.Whole) {
		fault("a tick that was there already")
	}
	if !t.Whole && (t.Epoch != v.board.epoch || t.N != v.board.n+1) {
		fault("a hole")
	}
	if !t.Whole && len(t.Quotes) > 0 && t.QuotesSeq != v.board.quotesSeq+1 {
		fault("a hole in the channel of all quotes")
	}
	for _, q := range t.Quotes {
		if !t.Whole && q.Seq != v.board.quotes[q.Quote.Symbol].Seq+1 {
			fault("a hole in the channel of " + q.Quote.Symbol)
		}
		if q.Quote.AsOf.Before(v.newest[q.Quote.Symbol]) {
			fault(q.Quote.Symbol + " went back in time")
		}
		v.newest[q.Quote.Symbol] = q.Quote.AsOf
	}
	v.used[t.Epoch] = t.N
	v.board.apply(t)
	if v.hook != nil {
		v.hook(t)
	}
}

func (v *receiver) all() []Tick {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.ticks)
}

// price is what a receiver takes a symbol to be worth, and who said so.
func (v *receiver) price(symbol string) (price float64, source string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	q := v.board.quotes[symbol].Quote
	return q.Price.Or(0), q.Source
}

func (v *receiver) state() (epoch string, n uint64, asOf map[string]time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	asOf = map[string]time.Time{}
	for symbol, q := range v.board.quotes {
		asOf[symbol] = q.Quote.AsOf
	}
	return v.board.epoch, v.board.n, asOf
}

func (v *receiver) check(t *testing.T) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, f := range v.faults {
		t.Error(f)
	}
}

// feedWorld is a composition with a streaming source, a polled one, and perhaps other hosts.
type feedWorld struct {
	*world
	stream, polled *feedSource
	coordinator    process.Island
}

func newFeedWorld() *feedWorld {
	return &feedWorld{world: newWorld(), stream: newFeedSource("binance"), polled: newFeedSource("gecko")}
}

func (w *feedWorld) island(name string) (process.Island, error) {
	island, err := w.world.island(name)
	switch {
	case err == nil && name == "binance":
		return w.stream, nil
	case err == nil && name == "gecko":
		return w.polled, nil
	case errors.Is(err, sdk.NotFound) && name == "coordinator" && w.coordinator != nil:
		return w.coordinator, nil
	default:
		return island, err
	}
}

// fed is a feed that runs.
type fed struct {
	*feedWorld
	*receiver
	r    *Requests
	feed *Feed
	end  func()
}

// feeding starts a feed of two sources, the streaming one first.
func feeding(w *feedWorld, change ...func(*Options, *FeedOptions)) *fed {
	h := &fed{feedWorld: w, receiver: newReceiver()}
	opts := FeedOptions{
		Symbols: []string{"btc", "eth"}, Sources: []string{"binance", "gecko"},
		Streams: func(name string) bool { return name == "binance" }, Deliver: h.deliver,
	}
	r, end := running(w.world, func(o *Options) {
		o.Island = w.island
		o.Global.Sources = nil
		for _, f := range change {
			f(o, &opts)
		}
	})
	h.r, h.feed = r, NewFeed(r, opts)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.feed.Run(ctx)
	}()
	h.end = sync.OnceFunc(func() {
		cancel()
		<-ended
		end()
	})
	synctest.Wait()
	return h
}

// at is a quote as of some time before now.
func at(symbol string, price float64, ago time.Duration) sdk.Quote {
	return sdk.Quote{Symbol: symbol, VsCurrency: "usd", Price: sdk.Known(price), AsOf: time.Now().Add(-ago).UTC()}
}

// rich is a quote with all that an exchange does not know.
func rich(symbol string, price float64, ago time.Duration) sdk.Quote {
	q := at(symbol, price, ago)
	q.MarketCap, q.Change7d, q.Rank = sdk.Known(1e12), sdk.Known(7), 1
	q.Supply.Circulating = sdk.Known(19e6)
	q.ATH = sdk.Mark{Price: sdk.Known(2 * price), Date: q.AsOf, Change: sdk.Known(-50)}
	return q
}

// symbolsOf lists what is in a tick.
func symbolsOf(t Tick) []string {
	var out []string
	for _, q := range t.Quotes {
		out = append(out, q.Quote.Symbol)
	}
	return out
}

// quotesIn collects the quotes of ticks that are not whole, by symbol and time.
func quotesIn(ticks []Tick) map[seriesAt]float64 {
	out := map[seriesAt]float64{}
	for _, t := range ticks {
		for _, q := range t.Quotes {
			out[seriesAt{q.Quote.Symbol, q.Quote.AsOf.UnixNano()}] = q.Quote.Price.Or(0)
		}
	}
	return out
}

type seriesAt struct {
	symbol string
	asOf   int64
}

// kept returns what the store has.
func (s *fakeStore) kept() (map[seriesAt]float64, []sdk.Candles) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[seriesAt]float64{}
	for _, q := range s.quotes {
		out[seriesAt{q.Symbol, q.AsOf.UnixNano()}] = q.Price.Or(0)
	}
	return out, slices.Clone(s.candles)
}

// has returns the cache's entry of a key.
func (c *fakeCache) has(key string) (sdk.Entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := maps.Clone(c.entries)[key]
	return e, ok
}
