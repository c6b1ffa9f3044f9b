package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/service-islands/islands/sdk"
)

const (
	// listAge is how old the list of pairs may grow.
	listAge = 6 * time.Hour
	// listPause is how long an old list is used before another try, after one that failed or to look for a new pair.
	listPause = time.Minute
)

// market names what is traded against what, in lower case and in everybody's words.
type market struct{ base, quote string }

// pair is what Kraken calls a market.
type pair struct {
	key    string // in answers, such as "XXBTZUSD"
	name   string // in calls, such as "XBTUSD"
	symbol string // in the WebSocket API, such as "BTC/USD"
}

// listing is what is traded.
type listing struct {
	pairs  map[market]pair
	quotes map[string]bool
	at     time.Time
}

// codes are the assets that Kraken calls otherwise, and what the second version of its WebSocket API calls them.
var codes = map[string]string{"XBT": "BTC", "XDG": "DOGE"}

// code is everybody's name for an asset, in upper case.
func code(krakens string) string {
	if known, ok := codes[krakens]; ok {
		return known
	}
	return krakens
}

// pairRow is one pair in the answer of AssetPairs, as far as it matters.
type pairRow struct {
	Name   string `json:"altname"`
	Slash  string `json:"wsname"`
	Status string `json:"status"`
}

// newListing turns the answer of AssetPairs into what is traded. A pair that can only be cancelled in is left out, and so is
// one without a name of two parts: a dark pool.
func newListing(rows map[string]pairRow, now time.Time) (*listing, error) {
	out := &listing{pairs: make(map[market]pair, len(rows)), quotes: map[string]bool{}, at: now}
	for key, row := range rows {
		base, quote, ok := strings.Cut(row.Slash, "/")
		if !ok || base == "" || quote == "" || row.Name == "" || row.Status == "cancel_only" || row.Status == "delisted" {
			continue
		}
		base, quote = code(base), code(quote)
		m := market{strings.ToLower(base), strings.ToLower(quote)}
		if known, twice := out.pairs[m]; twice && known.key < key {
			continue // Whichever comes first in the answer, it is the same one each time.
		}
		out.pairs[m] = pair{key: key, name: row.Name, symbol: base + "/" + quote}
		out.quotes[m.quote] = true
	}
	if len(out.pairs) == 0 {
		return nil, sdk.Errorf(sdk.BadUpstream, "GET /0/public/AssetPairs: no pair is traded")
	}
	return out, nil
}

// find returns the pair of an asset.
func (l *listing) find(symbol, quote string) (pair, bool) {
	p, ok := l.pairs[market{strings.ToLower(symbol), quote}]
	return p, ok
}

// directory keeps the listing. One caller at a time loads it.
type directory struct {
	loading chan struct{}

	mu      sync.Mutex
	list    *listing
	tried   time.Time // when a load failed
	failure error
}

// newDirectory returns a directory that knows nothing yet.
func newDirectory() *directory { return &directory{loading: make(chan struct{}, 1)} }

// young returns the listing if it is young enough, nil otherwise. One that could not be renewed a moment ago counts as young.
func (d *directory) young(now time.Time, age time.Duration) *listing {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.list == nil || now.Sub(d.list.at) >= age && (d.tried.IsZero() || now.Sub(d.tried) >= listPause) {
		return nil
	}
	return d.list
}

// failedSince returns the error of a load that failed after a point in time.
func (d *directory) failedSince(began time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tried.After(began) {
		return d.failure
	}
	return nil
}

// keep keeps what a load brought, and returns what is known now.
func (d *directory) keep(list *listing, err error, now time.Time) (*listing, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		d.list, d.tried, d.failure = list, time.Time{}, nil
		return list, nil
	}
	d.tried, d.failure = now, err
	if d.list != nil {
		return d.list, nil
	}
	return nil, err
}

// listing returns what is traded, no older than age if Kraken answers. Concurrent callers share one load, its failure
// included, unless it failed by the loader's own deadline.
func (s *source) listing(ctx context.Context, age time.Duration, retries int) (*listing, error) {
	began := s.now()
	if list := s.list.young(began, age); list != nil {
		return list, nil
	}
	select {
	case s.list.loading <- struct{}{}:
		defer func() { <-s.list.loading }()
	case <-ctx.Done():
		return nil, sdk.Errorf(sdk.KindOf(ctx.Err()), "waiting for the list of pairs: %w", ctx.Err())
	}
	if list := s.list.young(s.now(), age); list != nil {
		return list, nil
	}
	if err := s.list.failedSince(began); err != nil {
		return nil, err
	}
	var rows map[string]pairRow
	var list *listing
	err := s.ask(ctx, "AssetPairs", nil, retries, &rows)
	if err == nil {
		list, err = newListing(rows, s.now())
	}
	if errors.Is(err, sdk.Canceled) || errors.Is(err, sdk.DeadlineExceeded) {
		return nil, err
	}
	return s.list.keep(list, err, s.now())
}

// Catalogue lists what is traded against the US dollar, by symbol. Kraken has neither ids nor names, ranks and market caps.
func (s *source) Catalogue(ctx context.Context, req sdk.CatalogueRequest) ([]sdk.Asset, error) {
	list, err := s.listing(ctx, listAge, req.Retries)
	if err != nil {
		return nil, err
	}
	var out []sdk.Asset
	for m := range list.pairs {
		if m.quote == "usd" {
			out = append(out, sdk.Asset{Symbol: m.base})
		}
	}
	slices.SortFunc(out, func(a, b sdk.Asset) int { return strings.Compare(a.Symbol, b.Symbol) })
	return out, nil
}
