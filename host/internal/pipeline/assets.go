package pipeline

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/service-islands/islands/sdk"
)

// assets are what the symbols of a feed stand for. Until the catalogue is to be had, a symbol stands for itself.
type assets struct {
	f *Feed
	// warned holds the symbols that were complained about.
	warned map[string]bool

	mu  sync.Mutex
	set *assetSet
	// of is the plan whose symbols were looked up last.
	of *feedPlan
	// changed is closed and replaced when the set changes.
	changed chan struct{}
}

// assetSet is one state of what is asked for. It is immutable.
type assetSet struct {
	asked    []sdk.Asset // as sources are asked
	resolved []resolved
	bySymbol map[string]int
	byID     map[string]int
}

func newAssets(f *Feed) *assets {
	return &assets{f: f, warned: make(map[string]bool), set: &assetSet{}, changed: make(chan struct{})}
}

// now returns what is asked for, and a channel that is closed when that changes.
func (a *assets) now() (*assetSet, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.set, a.changed
}

// Pauses between looks into the catalogue: while something is not resolved yet, and to learn of changes.
const (
	minResolve = time.Second
	maxResolve = time.Minute
	reResolve  = 10 * time.Minute
)

// keep looks the symbols up until the context ends.
func (a *assets) keep(ctx context.Context) {
	pause := minResolve
	for ctx.Err() == nil {
		settled, plan := false, a.f.plan.Load()
		a.f.safely("resolve symbols", func() { settled = a.resolve(ctx) })
		wait := reResolve
		if !settled {
			wait, pause = pause, min(2*pause, maxResolve)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		case <-plan.replaced:
			pause = minResolve
		}
	}
}

// lookedUp reports whether the symbols of a plan have been looked up.
func (a *assets) lookedUp(plan *feedPlan) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.of == plan
}

// resolve looks every symbol up, and reports whether the catalogue answered for all of them.
func (a *assets) resolve(ctx context.Context) (settled bool) {
	plan := a.f.plan.Load()
	ctx, cancel := context.WithTimeout(ctx, a.f.r.opts.RequestTimeout)
	defer cancel()
	set := &assetSet{bySymbol: make(map[string]int), byID: make(map[string]int)}
	settled = true
	for _, symbol := range plan.symbols {
		asset, err := a.f.r.resolve(ctx, symbol)
		var unknown *Unknown
		switch {
		case errors.As(err, &unknown):
			a.leaveOut(symbol, "the catalogue holds no such asset")
			continue
		case err != nil: // nobody could be asked in time
			asset = resolved{Asset: sdk.Asset{Symbol: symbol}, poor: true}
		case asset.shadowed:
			a.leaveOut(symbol, "it is the id of an asset whose symbol "+asset.Symbol+" means a larger one")
			continue
		}
		settled = settled && !asset.poor
		set.add(asset)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.of = plan
	same := func(x, y sdk.Asset) bool { return x.ID == y.ID && x.Symbol == y.Symbol }
	if slices.EqualFunc(set.asked, a.set.asked, same) {
		return settled
	}
	a.set = set
	close(a.changed)
	a.changed = make(chan struct{})
	return settled
}

// leaveOut complains about a symbol, once.
func (a *assets) leaveOut(symbol, why string) {
	if !a.warned[symbol] {
		a.warned[symbol] = true
		a.f.logger.Warn("a symbol of the feed is left out", "symbol", symbol, "reason", why)
	}
}

func (s *assetSet) add(asset resolved) {
	if _, ok := s.bySymbol[asset.Symbol]; ok {
		return // asked for by symbol and by id
	}
	s.bySymbol[asset.Symbol] = len(s.asked)
	if asset.ID != "" {
		s.byID[asset.ID] = len(s.asked)
	}
	s.asked = append(s.asked, asset.forSource())
	s.resolved = append(s.resolved, asset)
}

// find is the asset that a source means by an id and a symbol.
func (s *assetSet) find(id, symbol string) (resolved, bool) {
	if i, ok := s.byID[id]; ok && id != "" {
		return s.resolved[i], true
	}
	i, ok := s.bySymbol[symbol]
	if !ok || (id != "" && s.resolved[i].ID != "") {
		return resolved{}, false
	}
	return s.resolved[i], true
}

// has reports whether a symbol is asked for.
func (s *assetSet) has(symbol string) bool {
	_, ok := s.bySymbol[symbol]
	return ok
}
