package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// boundary is the one place at which everything that islands answer is checked, for requests and for the feed alike.
type boundary struct {
	opts      Options
	bulkheads *bulkheads
	bounds    atomic.Pointer[bounds]

	mu    sync.Mutex
	tally map[faultKey]*faultCount // bounded: islands of the configuration × faults
}

type faultKey struct {
	island string
	fault  Fault
}

// faultCount is how often an island answered one kind of nonsense, and when that was last said.
type faultCount struct {
	n, unsaid uint64
	last      time.Time
	said      time.Time
}

// FaultStatus is how often something that an island answered was not taken for one reason.
type FaultStatus struct {
	Island string
	Fault  Fault
	Count  uint64
	Last   time.Time
}

// faultPause is the least time between two log lines about one island and fault.
const faultPause = time.Minute

func newBoundary(opts Options) *boundary {
	b := &boundary{opts: opts, bulkheads: newBulkheads(opts.MaxCalls), tally: make(map[faultKey]*faultCount)}
	b.follow(opts)
	return b
}

// bounds are what answers are held against that may change while questions are answered.
type bounds struct {
	// quotes and global are the greatest ages.
	quotes, global time.Duration
	formats        map[string][]string // that are declared, by report
}

// follow holds answers against what the routes of the options need from now on.
func (b *boundary) follow(opts Options) {
	set := &bounds{quotes: oldest(opts.Quotes.Strategy), global: oldest(opts.Global.Strategy), formats: make(map[string][]string)}
	for _, report := range opts.Reports {
		set.formats[report.Name] = report.Formats
	}
	b.bounds.Store(set)
}

// island is Options.Island with the checks around it.
func (b *boundary) island(name string) (process.Island, error) {
	island, err := b.opts.Island(name)
	if err != nil {
		return nil, err
	}
	return checked{island, b, name}, nil
}

// hold is Options.Hold with the checks around it.
func (b *boundary) hold(name string) (process.Island, <-chan struct{}, error) {
	island, superseded, err := b.opts.Hold(name)
	if err != nil {
		return nil, superseded, err
	}
	return checked{island, b, name}, superseded, nil
}

// reject counts what was not taken, and says so once in a while. Said is what it was, for the log.
func (b *boundary) reject(island, said string, faults ...Fault) {
	now := b.opts.Now()
	for _, fault := range faults {
		b.mu.Lock()
		key := faultKey{island, fault}
		count := b.tally[key]
		if count == nil {
			count = &faultCount{}
			b.tally[key] = count
		}
		count.n++
		count.unsaid++
		count.last = now
		due, unsaid := count.said.IsZero() || now.Sub(count.said) >= faultPause, count.unsaid
		if due {
			count.said, count.unsaid = now, 0
		}
		b.mu.Unlock()
		if due {
			b.opts.Logger.Warn("an island's answer is not taken", "island", island, "reason", string(fault), "what", said, "times", unsaid)
		}
	}
}

// status lists what was not taken, by island and fault.
func (b *boundary) status() []FaultStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]FaultStatus, 0, len(b.tally))
	for key, count := range b.tally {
		out = append(out, FaultStatus{Island: key.island, Fault: key.fault, Count: count.n, Last: count.last})
	}
	slices.SortFunc(out, func(x, y FaultStatus) int {
		return cmp.Or(cmp.Compare(x.Island, y.Island), cmp.Compare(x.Fault, y.Fault))
	})
	return out
}

// Faults lists what islands answered and was not taken, by island and reason, since the start.
func (r *Requests) Faults() []FaultStatus { return r.boundary.status() }

// oldest is the greatest age at which an answer is taken that is kept under a strategy.
func oldest(s Strategy) time.Duration { return max(ancientAfter, s.TTL+s.StaleFor) }

// checked stands in for an island and checks what it answers. Two that stand in for the same generation are equal.
type checked struct {
	process.Island
	b    *boundary
	name string
}

// nonsense is the error for an answer of which nothing can be taken.
func (c checked) nonsense(what string, fault Fault) error {
	return sdk.Errorf(sdk.BadUpstream, "island %q answered %s that cannot be taken: %s", c.name, what, fault)
}

// Quotes leaves out what cannot be. When nothing else is left, the source counts as failing; not when all of it is merely
// ancient, which is how an asset looks that is no longer traded.
func (c checked) Quotes(ctx context.Context, req sdk.QuotesRequest) ([]sdk.Quote, error) {
	quotes, err := within(ctx, c, func() ([]sdk.Quote, error) { return c.Island.Quotes(ctx, req) })
	if err != nil {
		return nil, err
	}
	kept, worst := c.quotes(quotes, newAskedFor(req.Assets, req.VsCurrency))
	if len(kept) == 0 && worst != "" && worst != FaultAncient {
		return nil, c.nonsense("quotes", worst)
	}
	return kept, nil
}

// quotes keeps the quotes that can be. Worst is a fault of one that was left out, FaultAncient only if there is no other.
func (c checked) quotes(quotes []sdk.Quote, asked askedFor) (kept []sdk.Quote, worst Fault) {
	now, age := c.b.opts.Now(), c.b.bounds.Load().quotes
	kept = make([]sdk.Quote, 0, min(len(quotes), asked.n))
	for i := range quotes {
		q := quotes[i]
		fault := admitQuote(&q, asked, now, age)
		if (fault == "" || fault == FaultFigure) && len(kept) == asked.n {
			fault = FaultTooMany
		}
		if fault != "" {
			c.b.reject(c.name, fmt.Sprintf("quote of %.40q", q.Symbol), fault)
		}
		if fault == "" || fault == FaultFigure {
			kept = append(kept, q)
			continue
		}
		if worst == "" || worst == FaultAncient {
			worst = fault
		}
	}
	return kept, worst
}

// Candles leaves out what cannot be.
func (c checked) Candles(ctx context.Context, req sdk.CandlesRequest) (sdk.Candles, error) {
	candles, err := within(ctx, c, func() (sdk.Candles, error) { return c.Island.Candles(ctx, req) })
	if err != nil {
		return candles, err
	}
	faults := admitCandles(&candles, newAskedFor([]sdk.Asset{req.Asset}, req.VsCurrency), req.Interval, req.Limit, c.b.opts.Now())
	c.b.reject(c.name, fmt.Sprintf("candles of %.40q", candles.Symbol), faults...)
	if len(candles.Items) == 0 && len(faults) > 0 {
		return sdk.Candles{}, c.nonsense("candles", faults[0])
	}
	return candles, nil
}

// Global takes figures of the whole market, or none of them.
func (c checked) Global(ctx context.Context, req sdk.GlobalRequest) (sdk.Global, error) {
	global, err := within(ctx, c, func() (sdk.Global, error) { return c.Island.Global(ctx, req) })
	if err != nil {
		return global, err
	}
	if fault := admitGlobal(&global, req.VsCurrency, c.b.opts.Now(), c.b.bounds.Load().global); fault != "" {
		c.b.reject(c.name, "global figures", fault)
		if fault != FaultFigure {
			return sdk.Global{}, c.nonsense("global figures", fault)
		}
	}
	return global, nil
}

// Sentiment takes a value within its range, or none.
func (c checked) Sentiment(ctx context.Context, req sdk.SentimentRequest) (sdk.Sentiment, error) {
	sentiment, err := within(ctx, c, func() (sdk.Sentiment, error) { return c.Island.Sentiment(ctx, req) })
	if err != nil {
		return sentiment, err
	}
	if fault := admitSentiment(sentiment, c.b.opts.Now()); fault != "" {
		c.b.reject(c.name, "sentiment", fault)
		return sdk.Sentiment{}, c.nonsense("sentiment", fault)
	}
	return sentiment, nil
}

// Catalogue leaves out what cannot be.
func (c checked) Catalogue(ctx context.Context, req sdk.CatalogueRequest) ([]sdk.Asset, error) {
	assets, err := within(ctx, c, func() ([]sdk.Asset, error) { return c.Island.Catalogue(ctx, req) })
	if err != nil {
		return nil, err
	}
	kept, faults := admitCatalogue(assets)
	c.b.reject(c.name, "catalogue", faults...)
	if len(kept) == 0 && len(faults) > 0 {
		return nil, c.nonsense("a catalogue", faults[0])
	}
	return kept, nil
}

// Stream leaves out what cannot be; a batch of which nothing is left is a heartbeat.
func (c checked) Stream(ctx context.Context, req sdk.StreamRequest, emit func(sdk.QuoteBatch) error) error {
	asked := newAskedFor(req.Assets, req.VsCurrency)
	return c.Island.Stream(ctx, req, func(batch sdk.QuoteBatch) error {
		if len(batch.Quotes) > 0 {
			batch.Quotes, _ = c.quotes(batch.Quotes, asked)
		}
		now := c.b.opts.Now()
		batch.Candles = slices.DeleteFunc(batch.Candles, func(series sdk.Candles) bool { return !req.Candles })
		for i := range batch.Candles {
			series := &batch.Candles[i]
			c.b.reject(c.name, fmt.Sprintf("candles of %.40q", series.Symbol), admitCandles(series, asked, "", 0, now)...)
		}
		batch.Candles = slices.DeleteFunc(batch.Candles, func(series sdk.Candles) bool { return len(series.Items) == 0 })
		return emit(batch)
	})
}

// Lookup takes an entry that is not what was asked for as a miss.
func (c checked) Lookup(ctx context.Context, keys []string) ([]sdk.Lookup, error) {
	results, err := within(ctx, c, func() ([]sdk.Lookup, error) { return c.Island.Lookup(ctx, keys) })
	if err != nil {
		return nil, err
	}
	if len(results) != len(keys) {
		c.b.reject(c.name, "cache entries", FaultTooMany)
		return nil, sdk.Errorf(sdk.Internal, "island %q answered %d entries for %d keys", c.name, len(results), len(keys))
	}
	for i := range results {
		if !results[i].Found {
			continue
		}
		if fault := c.entry(results[i].Entry, results[i].Entry.Key == keys[i]); fault != "" {
			results[i] = sdk.Lookup{Version: results[i].Version}
		}
	}
	return results, nil
}

// entry checks what a memory island remembers.
func (c checked) entry(e sdk.Entry, asked bool) Fault {
	fault := faultOfStamp(e.StoredAt, c.b.opts.Now(), 0)
	if !asked {
		fault = FaultNotAsked
	}
	if fault != "" {
		c.b.reject(c.name, fmt.Sprintf("entry %.80q", e.Key), fault)
	}
	return fault
}

// Recall leaves out what was not asked for.
func (c checked) Recall(ctx context.Context, keys []string) ([]sdk.Entry, error) {
	entries, err := within(ctx, c, func() ([]sdk.Entry, error) { return c.Island.Recall(ctx, keys) })
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(entries, func(e sdk.Entry) bool { return c.entry(e, slices.Contains(keys, e.Key)) != "" }), nil
}

// Report takes a report whose documents are what its reporter declares, or none.
func (c checked) Report(ctx context.Context, req sdk.ReportRequest) (sdk.Report, error) {
	report, err := within(ctx, c, func() (sdk.Report, error) { return c.Island.Report(ctx, req) })
	if err != nil {
		return report, err
	}
	if fault := faultOfReport(report, c.b.bounds.Load().formats[req.Report]); fault != "" {
		c.b.reject(c.name, fmt.Sprintf("report %.40q", req.Report), fault)
		return sdk.Report{}, sdk.Errorf(sdk.Internal, "island %q made a report that cannot be taken: %s", c.name, fault)
	}
	return report, nil
}
