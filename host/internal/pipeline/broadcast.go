package pipeline

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
)

// Tick is one step of the feed. It is shared by all who get it and must not be changed.
type Tick struct {
	// Epoch names one unbroken run of sequence numbers. It is never used again.
	Epoch string
	// N counts the ticks of an epoch from 1 without a hole.
	N uint64
	// At is when the leader made the tick, UTC.
	At time.Time
	// Whole is whether the tick holds everything that is known instead of what changed: a receiver forgets what it had. It
	// is the first of an epoch and what follows a hole. Its sequence numbers are the present ones, N too: a host that comes
	// back to an epoch in which nothing has happened gives it the N of the last tick it delivered there.
	Whole bool
	// Quotes are sorted by symbol, at most one per symbol.
	Quotes []TickQuote
	// QuotesSeq counts the ticks of the epoch that hold quotes; 0 for one that holds none and is not whole.
	QuotesSeq uint64
	// Global is nil, and GlobalSeq 0, when it did not change.
	Global    *sdk.Global
	GlobalSeq uint64
}

// TickQuote is a quote and its place among those of its symbol.
type TickQuote struct {
	// Seq counts the quotes of the symbol in the epoch, from 1.
	Seq   uint64    `json:"seq"`
	Quote sdk.Quote `json:"quote"`
}

// FeedOptions of a Feed.
type FeedOptions struct {
	// Symbols in lower case.
	Symbols []string
	// Sources are island names in order of priority.
	Sources []string
	// Streams says whether a source has the role stream; the others are polled. Nil for none that has.
	Streams func(source string) bool
	// Poll is the pause between polls, 30 s.
	Poll time.Duration
	// Silence is how long a source may be silent about a symbol before the next one may speak for it: 15 s, or half of
	// Poll if that is less. A polled source has Poll more.
	Silence time.Duration
	// Heartbeat is how often a stream says that it is alive, 5 s; one that is silent for three of them is dead.
	Heartbeat time.Duration
	// Coordinator is the island through which hosts agree; empty for none.
	Coordinator string
	// Deliver is called with one tick at a time, in order, and must not block.
	Deliver func(Tick)
	// Owner is who this host is, for the lease; random when empty.
	Owner string

	// LeaseTTL is how long the lease holds, 6 s. It is renewed three times in that time.
	LeaseTTL time.Duration
	// Retry is the pause between attempts to get the lease or to reach the coordinator, 1 s.
	Retry time.Duration
	// CallTimeout bounds one call to the coordinator, 1 s.
	CallTimeout time.Duration
	// Grace is how long the coordinator may be away before this host goes on alone, 3 s.
	Grace time.Duration
	// Hold is how long a host that knows newer quotes than the log waits for the leader to take them, 5 s.
	Hold time.Duration
}

// withDefaults fills in what was left out.
func (o FeedOptions) withDefaults() FeedOptions {
	set := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	set(&o.Poll, 30*time.Second)
	set(&o.Silence, min(15*time.Second, o.Poll/2))
	set(&o.Heartbeat, 5*time.Second)
	set(&o.LeaseTTL, 6*time.Second)
	set(&o.Retry, time.Second)
	set(&o.CallTimeout, time.Second)
	set(&o.Grace, 3*time.Second)
	set(&o.Hold, 5*time.Second)
	if o.Streams == nil {
		o.Streams = func(string) bool { return false }
	}
	if o.Deliver == nil {
		o.Deliver = func(Tick) {}
	}
	if o.Owner == "" {
		o.Owner = rand.Text()
	}
	o.Symbols = slices.Compact(slices.Sorted(slices.Values(o.Symbols)))
	return o
}

// Feed is the second road: from the sources' streams and polls to whoever Deliver hands the ticks to.
type Feed struct {
	r      *Requests
	opts   FeedOptions
	logger hclog.Logger
	counts *feedCounts

	// plan is what is fed right now; replanned holds a token when conduct has not seen it yet.
	plan      atomic.Pointer[feedPlan]
	replanned chan struct{}

	assets *assets
	work   sync.WaitGroup

	// What follows belongs to the goroutine of Run.

	desk *desk // nil while another host speaks to the sources
	// pruned is the plan whose symbols alone are left in what is delivered.
	pruned *feedPlan
	// led is the coordinator that the lease and the log are with.
	led  string
	lone *solo // nil while this host goes by the log
	log  *follower
	// joined is whether what the log says is delivered; heldSince is when this host began to wait for what it knows and
	// the log does not, offered when it last offered that.
	joined             bool
	heldSince, offered time.Time
	lease              tenure
	// newest holds what was delivered last, by symbol: nothing older is delivered after it.
	newest map[string]sdk.Quote
	global *sdk.Global
	began  time.Time
}

// NewFeed returns a feed that does nothing until Run is called.
func NewFeed(r *Requests, opts FeedOptions) *Feed {
	opts = opts.withDefaults()
	f := &Feed{
		r: r, opts: opts, logger: r.opts.Logger.Named("feed"), counts: &feedCounts{}, newest: make(map[string]sdk.Quote),
		replanned: make(chan struct{}, 1),
		log:       &follower{}, lease: tenure{answers: make(chan leaseAnswer, 1)},
	}
	f.assets = newAssets(f)
	f.plan.Store(f.newPlan(opts, nil))
	f.pruned, f.led = f.plan.Load(), opts.Coordinator
	return f
}

// Run feeds until the context ends. It gives the lease back and leaves nothing behind.
func (f *Feed) Run(ctx context.Context) {
	defer f.work.Wait()
	f.work.Go(func() { f.assets.keep(ctx) })
	f.conduct(ctx)
}

// safely takes one step. A panic ends the step and nothing else.
func (f *Feed) safely(step string, do func()) {
	if !safely(f.logger, step, do) {
		f.counts.panics.Add(1)
	}
}

// safely does a step, and reports whether it came to its end: one that panics ends alone.
func safely(logger hclog.Logger, step string, do func()) (whole bool) {
	defer func() {
		if p := recover(); p != nil {
			logger.Error("panic in a step, the rest goes on", "step", step, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	do()
	return true
}
