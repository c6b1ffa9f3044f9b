package pipeline

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// Strategy is how long an answer is fresh, and how long it may still be served, marked stale, when nothing better can be
// had. An answer that has been stale for less than it was fresh is served while it is refreshed; an older one only when
// loading fails.
type Strategy struct {
	TTL      time.Duration
	StaleFor time.Duration
}

// Line is who answers one kind of question, and for how long the answer holds.
type Line struct {
	// Sources in the order in which they are asked.
	Sources  []string
	Strategy Strategy
}

// Report is one kind of report.
type Report struct {
	// Name such as "crypto-report".
	Name string
	// Island that makes it.
	Island string
	// Formats that it is made in, such as "json"; nil when that is not known. A document in another one is dropped.
	Formats []string
	// KeyPrefix of its cache keys, such as "crypto_report".
	KeyPrefix string
	Strategy  Strategy
	Needs     sdk.Needs
	// Warm lists symbols whose report is made at start.
	Warm []string
}

// Encoders turn nouns into what clients see. Each is called once per answer, off the path of those who wait for others.
type Encoders struct {
	Quote  func(q sdk.Quote, stale bool) Representation
	Global func(g sdk.Global, stale bool) Representation
}

// Options of Requests.
type Options struct {
	// Island returns the stand-in of a running island, or an Unavailable error.
	Island func(name string) (process.Island, error)
	// Hold is Island for whoever opens a stream, with a channel that is closed once another generation of the island has
	// taken the place of this one; Island alone is asked when it is nil.
	Hold func(name string) (process.Island, <-chan struct{}, error)
	// Cache and Store are the names of those islands; empty for none.
	Cache, Store string

	Quotes, Candles, Global, Sentiment, Catalogue Line
	// Alone are sources of quotes that are not in line: they answer whoever asks for them by name, and nobody else.
	Alone   []string
	Reports []Report
	Encode  Encoders

	// NegativeTTL is how long "not found" is remembered.
	NegativeTTL time.Duration
	// PoorTTL is how long an answer is fresh that lacks something because a source failed.
	PoorTTL time.Duration
	// RequestTimeout bounds one flight; SourceTimeout one attempt at a source with another in line, LastSourceTimeout
	// one at the last; MemoryTimeout one look at the cache or the store.
	RequestTimeout, SourceTimeout, LastSourceTimeout, MemoryTimeout time.Duration
	// BreakerFailures in a row open a source's breaker for BreakerOpenFor.
	BreakerFailures uint
	BreakerOpenFor  time.Duration
	// MaxEntries and MaxBytes bound the near cache.
	MaxEntries int
	MaxBytes   int64
	// MaxFlights bounds the loads under way at once; four times as many wait for a place. What comes beyond, or waits for
	// more than a fifth of RequestTimeout, is refused with ResourceExhausted.
	MaxFlights int
	// MaxCalls is how many calls that requests make to an island may be under way at once, at least 1; 64 when nil. Others
	// wait for one to end, few of them while none does. What the host does by itself has its own room.
	MaxCalls func(island string) int
	// Caller names who asks, so that one who asks for too much waits behind himself; nil takes all for one.
	Caller func(ctx context.Context) string

	// Spool keeps what waits for the store on disk; nil for memory alone.
	Spool Spool
	// StoreQueue is how many quotes wait for the store in memory at most, 10,000.
	StoreQueue int
	// StoreTimeout bounds one batch for the store, and what is left on the way down, 3 s.
	StoreTimeout time.Duration

	// Operation is told of each operation of the host's own, such as "crypto-report"; nil for none. The function it
	// returns is called with the error, or nil.
	Operation func(ctx context.Context, name string) (context.Context, func(err error))
	Logger    hclog.Logger
	Now       func() time.Time
}

// withDefaults fills in what was left out.
func (o Options) withDefaults() Options {
	setDuration := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	setDuration(&o.NegativeTTL, time.Minute)
	setDuration(&o.PoorTTL, time.Minute)
	setDuration(&o.RequestTimeout, 10*time.Second)
	setDuration(&o.SourceTimeout, 3*time.Second)
	setDuration(&o.LastSourceTimeout, 8*time.Second)
	setDuration(&o.MemoryTimeout, time.Second)
	setDuration(&o.BreakerOpenFor, 15*time.Second)
	setDuration(&o.StoreTimeout, 3*time.Second)
	if o.StoreQueue <= 0 {
		o.StoreQueue = 10_000
	}
	if o.BreakerFailures == 0 {
		o.BreakerFailures = 3
	}
	if o.MaxEntries <= 0 {
		o.MaxEntries = 100_000
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 128 << 20
	}
	if o.MaxFlights <= 0 {
		o.MaxFlights = 256
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxCalls == nil {
		o.MaxCalls = func(string) int { return defaultCalls }
	}
	if o.Caller == nil {
		o.Caller = func(context.Context) string { return "" }
	}
	if o.Operation == nil {
		o.Operation = func(ctx context.Context, _ string) (context.Context, func(error)) { return ctx, func(error) {} }
	}
	return o
}

// defaultCalls is how many calls to an island are under way at once when nobody says otherwise.
const defaultCalls = 64
