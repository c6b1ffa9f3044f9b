package main

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/upstream"
)

const (
	// listAge is how old the list of pairs may grow.
	listAge = 6 * time.Hour
	// listPause is how long an old list is used before another try, after one that failed or to look for a new pair.
	listPause = time.Minute
	// weightList is what exchangeInfo weighs.
	weightList = 20
)

// pair names what is traded against what, in upper case.
type pair struct{ base, quote string }

// listing is what is traded: pair → symbol, such as BTC against USDT → BTCUSDT.
type listing struct {
	symbols map[pair]string
	quotes  map[string]bool
	at      time.Time
}

// directory keeps the listing. One caller at a time loads it.
type directory struct {
	loading chan struct{}

	mu      sync.Mutex
	list    *listing
	failed  time.Time
	failure error
}

// newDirectory returns a directory that knows nothing yet.
func newDirectory() *directory { return &directory{loading: make(chan struct{}, 1)} }

// current returns the listing if it is young enough, nil otherwise. One that could not be renewed a moment ago counts as
// young.
func (d *directory) current(now time.Time, age time.Duration) *listing {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.list == nil {
		return nil
	}
	if now.Sub(d.list.at) < age || (!d.failed.IsZero() && now.Sub(d.failed) < listPause) {
		return d.list
	}
	return nil
}

// failureSince returns the error of a load that failed after a point in time.
func (d *directory) failureSince(began time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.failed.After(began) {
		return nil
	}
	return d.failure
}

// store keeps what a load brought.
func (d *directory) store(list *listing, err error, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.failed, d.failure = now, err
		return
	}
	d.list, d.failed, d.failure = list, time.Time{}, nil
}

// listing returns what is traded, no older than age if Binance answers. Concurrent callers share one load, its failure
// included, unless it failed by the loader's own deadline.
func (s *source) listing(ctx context.Context, age time.Duration, retries int) (*listing, error) {
	began := s.now()
	if list := s.list.current(began, age); list != nil {
		return list, nil
	}
	select {
	case s.list.loading <- struct{}{}:
		defer func() { <-s.list.loading }()
	case <-ctx.Done():
		return nil, sdk.Errorf(sdk.KindOf(ctx.Err()), "waiting for the list of pairs: %w", ctx.Err())
	}
	if list := s.list.current(s.now(), age); list != nil {
		return list, nil
	}
	if err := s.list.failureSince(began); err != nil {
		return nil, err
	}
	list, err := s.load(ctx, retries)
	if errors.Is(err, sdk.Canceled) || errors.Is(err, sdk.DeadlineExceeded) {
		return nil, err
	}
	s.list.store(list, err, s.now())
	if err != nil {
		if old := s.list.current(s.now(), age); old != nil {
			return old, nil
		}
		return nil, err
	}
	return list, nil
}

// load asks for the list of pairs.
func (s *source) load(ctx context.Context, retries int) (*listing, error) {
	var reply exchangeInfo
	err := s.client.GetJSON(ctx, upstream.Request{
		Path: "/api/v3/exchangeInfo", Weight: weightList, Retries: retries,
		Query: url.Values{"showPermissionSets": {"false"}, "symbolStatus": {"TRADING"}},
	}, &reply)
	if err != nil {
		return nil, err
	}
	return reply.listing(s.now())
}

// exchangeInfo is the reply of /api/v3/exchangeInfo, as far as it matters.
type exchangeInfo struct {
	Symbols []struct {
		Symbol string `json:"symbol"`
		Status string `json:"status"`
		Base   string `json:"baseAsset"`
		Quote  string `json:"quoteAsset"`
	} `json:"symbols"`
}

// listing turns the reply into what is traded.
func (r exchangeInfo) listing(now time.Time) (*listing, error) {
	out := &listing{symbols: make(map[pair]string, len(r.Symbols)), quotes: map[string]bool{}, at: now}
	for _, row := range r.Symbols {
		if row.Status == "TRADING" && row.Symbol != "" && row.Base != "" && row.Quote != "" {
			out.symbols[pair{row.Base, row.Quote}] = row.Symbol
			out.quotes[row.Quote] = true
		}
	}
	if len(out.symbols) == 0 {
		return nil, sdk.Errorf(sdk.BadUpstream, "GET /api/v3/exchangeInfo: no pair is traded")
	}
	return out, nil
}

// Catalogue lists what is traded against USDT, by symbol. Binance has neither ids nor names, ranks and market caps.
func (s *source) Catalogue(ctx context.Context, req sdk.CatalogueRequest) ([]sdk.Asset, error) {
	list, err := s.listing(ctx, listAge, req.Retries)
	if err != nil {
		return nil, err
	}
	var out []sdk.Asset
	for p := range list.symbols {
		if p.quote == tether {
			out = append(out, sdk.Asset{Symbol: strings.ToLower(p.base)})
		}
	}
	slices.SortFunc(out, func(a, b sdk.Asset) int { return strings.Compare(a.Symbol, b.Symbol) })
	return out, nil
}
