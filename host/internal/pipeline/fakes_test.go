package pipeline

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// fakeSource answers every kind of question, after a delay, unless it is told to fail.
type fakeSource struct {
	process.Island
	name  string
	delay time.Duration
	extra int // assets in the catalogue beyond the usual
	fail  atomic.Pointer[sdk.Error]
	total atomic.Int64
	mu    sync.Mutex
	calls map[string]int64
}

func newFakeSource(name string) *fakeSource {
	return &fakeSource{name: name, calls: map[string]int64{}}
}

func (s *fakeSource) count(operation string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[operation]
}

func (s *fakeSource) called(ctx context.Context, operation string) error {
	s.total.Add(1)
	s.mu.Lock()
	s.calls[operation]++
	s.mu.Unlock()
	select {
	case <-time.After(s.delay):
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := s.fail.Load(); err != nil {
		return err
	}
	return nil
}

func (s *fakeSource) Quotes(ctx context.Context, req sdk.QuotesRequest) ([]sdk.Quote, error) {
	if err := s.called(ctx, "quotes"); err != nil {
		return nil, err
	}
	var out []sdk.Quote
	for _, a := range req.Assets {
		if s.name == "gecko" && a.Symbol == "onlybinance" {
			continue
		}
		// This one goes by symbols, and trades the largest asset of each alone.
		if s.name == "binance" && a.Symbol == a.ID {
			continue
		}
		out = append(out, sdk.Quote{
			ID: a.ID, Symbol: a.Symbol, VsCurrency: req.VsCurrency, Price: sdk.Known(100), Source: s.name, AsOf: time.Now(),
		})
	}
	return out, nil
}

func (s *fakeSource) Candles(ctx context.Context, req sdk.CandlesRequest) (sdk.Candles, error) {
	if err := s.called(ctx, "candles"); err != nil {
		return sdk.Candles{}, err
	}
	if s.name == "binance" && req.Asset.Symbol == req.Asset.ID {
		return sdk.Candles{}, sdk.NotFound
	}
	return sdk.Candles{
		Symbol: req.Asset.Symbol, Interval: req.Interval, VsCurrency: req.VsCurrency, Source: s.name,
		Items: []sdk.Candle{{OpenTime: time.Now().Truncate(req.Interval.Duration()), Close: sdk.Known(1)}},
	}, nil
}

func (s *fakeSource) Global(ctx context.Context, req sdk.GlobalRequest) (sdk.Global, error) {
	if err := s.called(ctx, "global"); err != nil {
		return sdk.Global{}, err
	}
	return sdk.Global{VsCurrency: req.VsCurrency, MarketCap: sdk.Known(1e12), Source: s.name}, nil
}

func (s *fakeSource) Catalogue(ctx context.Context, _ sdk.CatalogueRequest) ([]sdk.Asset, error) {
	if err := s.called(ctx, "catalogue"); err != nil {
		return nil, err
	}
	assets := []sdk.Asset{
		{ID: "universe", Symbol: "uni", MarketCap: sdk.Known(1)},
		{ID: "uniswap", Symbol: "uni", MarketCap: sdk.Known(5e9)},
		{ID: "bitcoin", Symbol: "btc", MarketCap: sdk.Known(1e12)},
		{ID: "ethereum", Symbol: "eth", MarketCap: sdk.Known(3e11)},
		{ID: "only", Symbol: "onlybinance"},
	}
	for i := range 50 {
		assets = append(assets, sdk.Asset{ID: fmt.Sprintf("the-coin-%d", i), Symbol: fmt.Sprintf("coin%d", i)})
	}
	for i := range s.extra {
		assets = append(assets, sdk.Asset{ID: fmt.Sprintf("filler-%d", i), Symbol: fmt.Sprintf("fill%d", i), Name: "A filler coin"})
	}
	return assets, nil
}

// fakeReporter makes a report that holds its request's symbol and time.
type fakeReporter struct {
	process.Island
	calls atomic.Int64
	mu    sync.Mutex
	req   sdk.ReportRequest
}

func (r *fakeReporter) last() sdk.ReportRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.req
}

func (r *fakeReporter) Report(_ context.Context, req sdk.ReportRequest) (sdk.Report, error) {
	r.calls.Add(1)
	r.mu.Lock()
	r.req = req
	r.mu.Unlock()
	text := fmt.Sprintf(`{"symbol":%q,"at":%d,"pad":%q}`, req.Asset.Symbol, req.Now.UnixNano(), strings.Repeat("x", 2000))
	return sdk.Report{Documents: []sdk.Document{{Format: "json", ContentType: "application/json", Body: []byte(text)}}}, nil
}

// fakeCache is a cache of one tier that keeps the contract.
type fakeCache struct {
	process.Island
	lookups  atomic.Int64
	epoch    atomic.Int64
	shared   atomic.Bool
	mu       sync.Mutex
	entries  map[string]sdk.Entry
	journal  journal
	watchers map[chan sdk.CacheEvent]context.CancelFunc
}

func newFakeCache() *fakeCache {
	return &fakeCache{entries: map[string]sdk.Entry{}, watchers: map[chan sdk.CacheEvent]context.CancelFunc{}}
}

func (c *fakeCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
}

func (c *fakeCache) breakStreams() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cancel := range c.watchers {
		cancel()
	}
}

// watching returns how many watch.
func (c *fakeCache) watching() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.watchers)
}

func (c *fakeCache) Lookup(_ context.Context, keys []string) ([]sdk.Lookup, error) {
	c.lookups.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]sdk.Lookup, len(keys))
	for i, key := range keys {
		e, ok := c.entries[key]
		ok = ok && time.Now().Before(e.StaleUntil)
		out[i] = sdk.Lookup{Found: ok, Entry: e, Tier: "l1", Version: c.journal.version + 1}
	}
	return out, nil
}

func (c *fakeCache) Fill(_ context.Context, entries []sdk.Entry) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := 0
	for _, e := range entries {
		if e.Version == 0 || !c.journal.touchedSince(e.Version-1, e.Key) {
			c.entries[e.Key] = e
			taken++
		}
	}
	return taken, nil
}

func (c *fakeCache) Invalidate(_ context.Context, patterns []string) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.journal.note(patterns, time.Now())
	forgotten := 0
	maps.DeleteFunc(c.entries, func(key string, _ sdk.Entry) bool {
		for _, p := range patterns {
			if p == key || matches(p, key) {
				forgotten++
				return true
			}
		}
		return false
	})
	for ch := range c.watchers {
		ch <- sdk.CacheEvent{
			Type: sdk.CacheInvalidated, Epoch: c.epochName(), Version: c.journal.version + 1, Patterns: patterns, Shared: c.shared.Load(),
		}
	}
	return forgotten, nil
}

func (c *fakeCache) epochName() string { return fmt.Sprint("epoch ", c.epoch.Load()) }

func (c *fakeCache) Watch(ctx context.Context, emit func(sdk.CacheEvent) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := make(chan sdk.CacheEvent, 100)
	c.mu.Lock()
	c.watchers[events] = cancel
	hello := sdk.CacheEvent{Type: sdk.CacheHello, Epoch: c.epochName(), Version: c.journal.version + 1, Shared: c.shared.Load()}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watchers, events)
	}()
	if err := emit(hello); err != nil {
		return err
	}
	beat := time.NewTicker(sdk.WatchHeartbeat)
	defer beat.Stop()
	for {
		var e sdk.CacheEvent
		select {
		case <-ctx.Done():
			return sdk.Unavailable
		case e = <-events:
		case <-beat.C:
			c.mu.Lock()
			e = sdk.CacheEvent{Type: sdk.CacheHeartbeat, Epoch: c.epochName(), Version: c.journal.version + 1, Shared: c.shared.Load()}
			c.mu.Unlock()
		}
		if err := emit(e); err != nil {
			return err
		}
	}
}

// fakeStore is a store in memory.
type fakeStore struct {
	process.Island
	mu      sync.Mutex
	entries map[string]sdk.Entry
	quotes  []sdk.Quote
	candles []sdk.Candles
}

func (s *fakeStore) Health(context.Context) sdk.Health { return sdk.Healthy() }

func (c *fakeCache) Health(context.Context) sdk.Health { return sdk.Healthy() }

func newFakeStore() *fakeStore { return &fakeStore{entries: map[string]sdk.Entry{}} }

func (s *fakeStore) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.entries)
}

func (s *fakeStore) SaveQuotes(_ context.Context, quotes []sdk.Quote) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quotes = append(s.quotes, quotes...)
	return nil
}

func (s *fakeStore) SaveCandles(_ context.Context, series []sdk.Candles) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.candles = append(s.candles, series...)
	return nil
}

func (s *fakeStore) Remember(_ context.Context, entries []sdk.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		s.entries[e.Key] = e
	}
	return nil
}

func (s *fakeStore) Recall(_ context.Context, keys []string) ([]sdk.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []sdk.Entry
	for _, key := range keys {
		if e, ok := s.entries[key]; ok && time.Now().Before(e.StaleUntil) {
			out = append(out, e)
		}
	}
	return out, nil
}

func (s *fakeStore) Forget(_ context.Context, patterns []string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.entries)
	maps.DeleteFunc(s.entries, func(key string, _ sdk.Entry) bool {
		for _, p := range patterns {
			if p == key || matches(p, key) {
				return true
			}
		}
		return false
	})
	return n - len(s.entries), nil
}
