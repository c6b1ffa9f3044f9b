package pipeline

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// gates stand before every island that the pipeline asks, for requests and for the feed alike: nothing that an island says
// gets past them unseen.
type gates struct {
	now    func() time.Time
	logger hclog.Logger

	// formats that each report is made in, by name.
	formats map[string][]string

	mu     sync.Mutex
	byName map[string]*gate
}

// gate stands before one island, across its generations.
type gate struct {
	*gates
	name    string
	dropped [faults]atomic.Uint64
	refused atomic.Uint64 // answers of which nothing was taken
	// told is when a fault was last logged, in Unix nanoseconds, and untold what was dropped since.
	told, untold [faults]atomic.Int64
}

// tellEvery is how often a fault of an island is logged at most.
const tellEvery = time.Minute

func newGates(opts Options) *gates {
	gs := &gates{now: opts.Now, logger: opts.Logger, byName: make(map[string]*gate)}
	gs.declare(opts.Reports)
	return gs
}

// of returns the gate of an island. Their names come from the configuration, so that there are few.
func (gs *gates) of(name string) *gate {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	g := gs.byName[name]
	if g == nil {
		g = &gate{gates: gs, name: name}
		gs.byName[name] = g
	}
	return g
}

// declare takes note of the formats that reports are made in.
func (gs *gates) declare(reports []Report) {
	formats := make(map[string][]string, len(reports))
	for _, report := range reports {
		formats[report.Name] = report.Formats
	}
	gs.mu.Lock()
	defer gs.mu.Unlock()
	gs.formats = formats
}

// formatsOf are the formats of a report, nil when they are not known.
func (gs *gates) formatsOf(report string) []string {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	return gs.formats[report]
}

// all lists the gates by name.
func (gs *gates) all() []*gate {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	out := make([]*gate, 0, len(gs.byName))
	for _, name := range slices.Sorted(maps.Keys(gs.byName)) {
		out = append(out, gs.byName[name])
	}
	return out
}

// before puts the gates before the islands of the options.
func (gs *gates) before(opts *Options) {
	if island := opts.Island; island != nil {
		opts.Island = func(name string) (process.Island, error) {
			behind, err := island(name)
			if err != nil {
				return nil, err
			}
			return gated{behind, gs.of(name)}, nil
		}
	}
	if hold := opts.Hold; hold != nil {
		opts.Hold = func(name string) (process.Island, <-chan struct{}, error) {
			behind, superseded, err := hold(name)
			if err != nil {
				return nil, nil, err
			}
			return gated{behind, gs.of(name)}, superseded, nil
		}
	}
}

// IslandStatus is how an island behaves, as the pipeline sees it.
type IslandStatus struct {
	Name string
	// Dropped counts what the island said and nobody believed, by reason, such as "future" or "not_asked"; reasons that
	// never came up are left out.
	Dropped map[string]uint64
	// Refused counts answers of which nothing was believed.
	Refused uint64
}

// Islands returns how each island that was asked behaves, by name.
func (r *Requests) Islands() []IslandStatus {
	all := r.gates.all()
	out := make([]IslandStatus, len(all))
	for i, g := range all {
		out[i] = g.status()
	}
	return out
}

// Behaviour returns how one island behaves.
func (r *Requests) Behaviour(name string) IslandStatus { return r.gates.of(name).status() }

func (g *gate) status() IslandStatus {
	s := IslandStatus{Name: g.name, Dropped: make(map[string]uint64), Refused: g.refused.Load()}
	for f := range g.dropped {
		if n := g.dropped[f].Load(); n > 0 {
			s.Dropped[fault(f).String()] = n
		}
	}
	return s
}

// judge counts and tells what a verdict dropped, and returns a BadUpstream error when nothing else came.
func (g *gate) judge(v *verdict, operation string) error {
	now := g.now().UnixNano()
	for f, n := range v.faults {
		if n == 0 {
			continue
		}
		g.dropped[f].Add(n)
		untold := g.untold[f].Add(int64(n))
		last := g.told[f].Load()
		if (last == 0 || now-last >= int64(tellEvery)) && g.told[f].CompareAndSwap(last, max(now, 1)) {
			g.untold[f].Add(-untold)
			g.logger.Warn("an island says what cannot be, which is dropped", "island", g.name, "operation", operation,
				"reason", fault(f).String(), "dropped", untold)
		}
	}
	if !v.worthless() {
		return nil
	}
	g.refused.Add(1)
	return sdk.Errorf(sdk.BadUpstream, "island %q answered %s with nothing that can be, mostly for the reason %s", g.name, operation, v.worst())
}

// gated is an island behind its gate. Two are equal when both island and gate are.
type gated struct {
	process.Island
	gate *gate
}

// Quotes implements sdk.QuoteSource.
func (i gated) Quotes(ctx context.Context, req sdk.QuotesRequest) ([]sdk.Quote, error) {
	quotes, err := i.Island.Quotes(ctx, req)
	if err != nil {
		return nil, err
	}
	var v verdict
	quotes = v.quotes(newAskedFor(req.Assets), req.VsCurrency, quotes, i.gate.now(), false)
	return quotes, i.gate.judge(&v, "quotes")
}

// Candles implements sdk.CandleSource.
func (i gated) Candles(ctx context.Context, req sdk.CandlesRequest) (sdk.Candles, error) {
	candles, err := i.Island.Candles(ctx, req)
	if err != nil {
		return sdk.Candles{}, err
	}
	var v verdict
	candles = v.candles(req, candles, i.gate.now())
	return candles, i.gate.judge(&v, "candles")
}

// Global implements sdk.GlobalSource.
func (i gated) Global(ctx context.Context, req sdk.GlobalRequest) (sdk.Global, error) {
	global, err := i.Island.Global(ctx, req)
	if err != nil {
		return sdk.Global{}, err
	}
	var v verdict
	global = v.global(req.VsCurrency, global, i.gate.now())
	return global, i.gate.judge(&v, "global")
}

// Sentiment implements sdk.SentimentSource.
func (i gated) Sentiment(ctx context.Context, req sdk.SentimentRequest) (sdk.Sentiment, error) {
	sentiment, err := i.Island.Sentiment(ctx, req)
	if err != nil {
		return sdk.Sentiment{}, err
	}
	var v verdict
	sentiment = v.sentiment(sentiment, i.gate.now())
	return sentiment, i.gate.judge(&v, "sentiment")
}

// Catalogue implements sdk.CatalogueSource.
func (i gated) Catalogue(ctx context.Context, req sdk.CatalogueRequest) ([]sdk.Asset, error) {
	assets, err := i.Island.Catalogue(ctx, req)
	if err != nil {
		return nil, err
	}
	var v verdict
	assets = v.catalogue(assets)
	return assets, i.gate.judge(&v, "catalogue")
}

// Stream implements sdk.StreamSource. A batch of which nothing is taken is a heartbeat: whoever says nothing that can be is
// silent, and the next in line speaks.
func (i gated) Stream(ctx context.Context, req sdk.StreamRequest, emit func(sdk.QuoteBatch) error) error {
	asked := newAskedFor(req.Assets)
	return i.Island.Stream(ctx, req, func(batch sdk.QuoteBatch) error {
		var v verdict
		batch = v.batch(asked, req.VsCurrency, batch, i.gate.now())
		_ = i.gate.judge(&v, "stream") // Counted.
		return emit(batch)
	})
}

// Lookup implements sdk.Cache.
func (i gated) Lookup(ctx context.Context, keys []string) ([]sdk.Lookup, error) {
	results, err := i.Island.Lookup(ctx, keys)
	if err != nil {
		return nil, err
	}
	var v verdict
	taken := v.lookups(keys, results, i.gate.now())
	if err := i.gate.judge(&v, "cache_lookup"); taken == nil {
		return nil, err
	}
	return taken, nil
}

// Recall implements sdk.Store.
func (i gated) Recall(ctx context.Context, keys []string) ([]sdk.Entry, error) {
	entries, err := i.Island.Recall(ctx, keys)
	if err != nil {
		return nil, err
	}
	var v verdict
	entries = v.recalled(keys, entries, i.gate.now())
	_ = i.gate.judge(&v, "recall") // Counted; what is not there is loaded.
	return entries, nil
}

// History implements sdk.Store.
func (i gated) History(ctx context.Context, req sdk.HistoryRequest) (sdk.HistoryPage, error) {
	page, err := i.Island.History(ctx, req)
	if err != nil {
		return sdk.HistoryPage{}, err
	}
	var v verdict
	page = v.history(req, page, i.gate.now())
	return page, i.gate.judge(&v, "history")
}

// Report implements sdk.Reporter.
func (i gated) Report(ctx context.Context, req sdk.ReportRequest) (sdk.Report, error) {
	report, err := i.Island.Report(ctx, req)
	if err != nil {
		return sdk.Report{}, err
	}
	var v verdict
	report = v.report(i.gate.formatsOf(req.Report), report)
	return report, i.gate.judge(&v, "report")
}
