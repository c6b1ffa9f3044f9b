package pipeline

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// kind is one use of the primitive: what its values are, how long they hold, and how to load them.
type kind struct {
	name     string
	routes   *routes
	strategy Strategy
	// load answers questions, in their order. It is the only step that may leave the machine.
	load func(ctx context.Context, questions []question) []loaded
	// marshal and unmarshal translate a value for the cache and the store.
	marshal   func(noun any) ([]byte, error)
	unmarshal func(value []byte) (any, error)
	// encode makes what clients get; nil for values that clients never see as they are.
	encode func(noun any, stale bool) []Representation
	// timeless values look the same whether they are stale or not.
	timeless bool
	// save hands loaded values to the store's own tables; nil for none.
	save func(ctx context.Context, store process.Island, nouns []any) error
	// asOf is when the upstream last changed a value; nil for values whose age the feed does not tell.
	asOf func(noun any) time.Time
	// size estimates a value's bytes beyond its representations; nil for little.
	size func(noun any) int
}

// question is a key and what load needs to know to answer it.
type question struct {
	key string
	arg any
	// insist asks for a fresh answer as long as one can be had: what goes into a report is not to be half a minute old
	// because nobody asked for it before.
	insist bool
}

// loaded is the answer to a question.
type loaded struct {
	noun any
	err  error
	// poor answers lack something because a source failed; they are fresh for PoorTTL at most.
	poor bool
	// stale answers are made of what is stale: no better than an older answer that is there, and stale themselves.
	stale bool
	// until is when something that the answer holds is certain to change; zero when nothing is.
	until time.Time
}

// outcome is what a question comes to.
type outcome struct {
	answer Answer
	err    error
}

// flight is a load under way. All who ask for its key wait for it.
type flight struct {
	done chan struct{}
	out  outcome
	// waiting is how many wait for it.
	waiting atomic.Int64
}

// Requests answers questions. It is safe for concurrent use.
type Requests struct {
	opts    Options
	near    *near
	live    live
	sources *sources
	gates   *gates
	// routes are who answers what right now.
	routes atomic.Pointer[routes]
	ledger *ledger

	mu       sync.Mutex
	flights  map[string]*flight
	lobby    *lobby
	encoders *encoders
	writes   chan struct{} // one per batch that is being remembered

	cacheMode, storeMode *mode
	stands               chan struct{} // closed when the invalidation stream stands for the first time
	stood                sync.Once
	watched              watched

	ctx    context.Context //nolint:containedctx // the life of the flights, which outlive the requests that began them
	cancel context.CancelFunc
	work   sync.WaitGroup

	counts counts
}

// New returns a pipeline that answers at once; Run connects it to the cache island's invalidations.
func New(opts Options) *Requests {
	opts = opts.withDefaults()
	gates := newGates(opts)
	gates.before(&opts)
	r := &Requests{
		opts: opts, gates: gates, near: newNear(opts.MaxEntries, opts.MaxBytes, opts.Now), sources: newSources(opts),
		flights: make(map[string]*flight), lobby: newLobby(opts), encoders: newEncoders(),
		writes: make(chan struct{}, opts.MaxFlights), stands: make(chan struct{}),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.cacheMode = newMode(opts, "Cache unavailable, going on without it", "Cache available again")
	r.storeMode = newMode(opts, "Database unavailable, cache-only mode enabled", "Database available again, normal mode resumed")
	r.routes.Store(r.newRoutes(opts, nil))
	r.opts = opts.withoutRoutes()
	r.sources.keepLines(r.routes.Load())
	r.sources.keep(askedByName, opts.Alone)
	r.ledger = newLedger(r)
	r.work.Go(func() { r.ledger.run(process.Routine(r.ctx)) })
	r.work.Go(func() { r.probe(process.Routine(r.ctx)) })
	if opts.Cache != "" {
		r.near.suspect() // until the cache's stream stands
	} else {
		close(r.stands)
	}
	return r
}

// Close ends every flight and waits for them. Questions asked afterwards are answered from the near cache or with
// Unavailable.
func (r *Requests) Close() {
	r.cancel()
	r.lobby.close()
	r.work.Wait()
	r.encoders.close()
}

// get answers one question.
func (r *Requests) get(ctx context.Context, k *kind, q question) (Answer, error) {
	if out, ok := r.quick(ctx, k, q); ok {
		return out.answer, out.err
	}
	out := r.getMany(ctx, k, []question{q})[0]
	return out.answer, out.err
}

// insist answers one question with a fresh answer as long as one can be had.
func (r *Requests) insist(ctx context.Context, k *kind, q question) (Answer, error) {
	q.insist = true
	return r.get(ctx, k, q)
}

// getMany answers questions of one kind, in their order. Those that must be loaded are loaded in one batch.
func (r *Requests) getMany(ctx context.Context, k *kind, questions []question) []outcome {
	out := make([]outcome, len(questions))
	waits := make([]*flight, len(questions))
	var lead, overdue []question
	var led []*flight
	r.mu.Lock()
	for i, q := range questions {
		if f, ok := r.flights[q.key]; ok {
			waits[i] = f
			f.waiting.Add(1)
			continue
		}
		// Under the lock that a flight takes to land: an answer that has just landed is seen here.
		if o, ok := r.peek(k, q); ok {
			if out[i] = o; o.overdue(r.opts.Now()) {
				overdue = append(overdue, q)
			}
			continue
		}
		waits[i] = r.takeOff(q.key)
		waits[i].waiting.Add(1)
		lead, led = append(lead, q), append(led, waits[i])
	}
	r.mu.Unlock()
	if len(lead) > 0 {
		r.start(ctx, k, lead, led, false)
	}
	if len(overdue) > 0 {
		r.refresh(ctx, k, overdue)
	}
	for i, f := range waits {
		if f == nil {
			continue
		}
		select {
		case <-f.done:
			out[i] = f.out
		case <-ctx.Done():
			out[i] = outcome{err: ctx.Err()}
		}
		f.waiting.Add(-1)
	}
	return out
}

// takeOff registers a flight for a key; the caller holds the lock.
func (r *Requests) takeOff(key string) *flight {
	f := &flight{done: make(chan struct{})}
	r.flights[key] = f
	return f
}

// land ends a flight with its outcome.
func (r *Requests) land(key string, f *flight, out outcome) {
	f.out = out
	r.mu.Lock()
	delete(r.flights, key)
	r.mu.Unlock()
	close(f.done)
}

// quick answers from the near cache when that is enough, and has an answer that went stale not long ago refreshed in the
// background. This is the path of a warm request: one look-up and two comparisons.
func (r *Requests) quick(ctx context.Context, k *kind, q question) (outcome, bool) {
	out, ok := r.peek(k, q)
	if !ok {
		r.near.misses.Add(1)
		return out, false
	}
	r.near.hits.Add(1)
	if out.overdue(r.opts.Now()) {
		r.refresh(ctx, k, []question{q})
	}
	return out, true
}

// peek looks into the near cache alone.
func (r *Requests) peek(k *kind, q question) (outcome, bool) {
	e := r.near.get([]byte(q.key))
	if e == nil || (e.err == nil && !r.near.trusted(e)) {
		return outcome{}, false
	}
	now := r.opts.Now()
	if second := now.Unix(); e.used.Load() != second {
		e.used.Store(second)
	}
	switch {
	case now.Before(e.freshUntil):
		return outcome{answer: Answer{entry: e, reps: e.reps, Tier: TierNear}, err: e.err}, true
	case e.err != nil || !now.Before(e.staleUntil):
		return outcome{}, false
	case (!q.insist && now.Before(e.freshUntil.Add(e.freshUntil.Sub(e.storedAt)))) || now.UnixNano() < e.retryAt.Load():
		return outcome{answer: k.stale(e)}, true
	default:
		return outcome{}, false
	}
}

// stale is an entry served stale.
func (k *kind) stale(e *entry) Answer {
	e.stale.once.Do(func() {
		e.stale.reps = e.reps
		if k.encode != nil && !k.timeless {
			e.stale.reps = k.encode(e.noun, true)
		}
	})
	return Answer{entry: e, reps: e.stale.reps, Tier: TierStale, Stale: true}
}

// overdue reports whether an outcome is stale and may be loaded anew.
func (o outcome) overdue(now time.Time) bool {
	return o.err == nil && o.answer.Stale && now.UnixNano() >= o.answer.entry.retryAt.Load()
}

// refresh loads questions in the background, in one batch, but for those that are being loaded already.
func (r *Requests) refresh(ctx context.Context, k *kind, questions []question) {
	var lead []question
	var led []*flight
	r.mu.Lock()
	for _, q := range questions {
		if _, ok := r.flights[q.key]; !ok {
			lead, led = append(lead, q), append(led, r.takeOff(q.key))
		}
	}
	r.mu.Unlock()
	if len(lead) > 0 {
		r.start(ctx, k, lead, led, true)
	}
}

// start leads flights in a goroutine of their own, as soon as there is a place for them. The request that began them may
// end before. Those that freshen what is served meanwhile go first.
func (r *Requests) start(ctx context.Context, k *kind, questions []question, flights []*flight, freshen bool) {
	refuse := func(err error) {
		for i, q := range questions {
			r.land(q.key, flights[i], outcome{err: err})
		}
	}
	if r.ctx.Err() != nil {
		refuse(errShuttingDown)
		return
	}
	until := time.Now().Add(r.opts.RequestTimeout)
	k.routes.hold() // Whoever begins the flight still uses them.
	// A flight waits for flights of its needs, which must not wait for its place: only the first in line takes one.
	if nested(ctx) {
		r.fly(ctx, k, questions, flights, until, func() {})
		return
	}
	wanted := func() bool {
		return freshen || slices.ContainsFunc(flights, func(f *flight) bool { return f.waiting.Load() > 0 })
	}
	r.lobby.enter(r.opts.Caller(ctx), freshen, wanted, func() {
		r.fly(ctx, k, questions, flights, until, sync.OnceFunc(r.lobby.leave))
	}, func(err error) {
		refuse(err)
		k.routes.leave()
	})
}

// fly leads flights in a goroutine of their own, and calls leave once they have landed.
func (r *Requests) fly(ctx context.Context, k *kind, questions []question, flights []*flight, until time.Time, leave func()) {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), until)
	stop := context.AfterFunc(r.ctx, cancel) //nolint:contextcheck // the pipeline's own life ends the flight too
	r.work.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				r.opts.Logger.Error("panic while loading", "kind", k.name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				for i, q := range questions {
					select {
					case <-flights[i].done:
					default:
						r.land(q.key, flights[i], outcome{err: sdk.Errorf(sdk.Internal, "loading %s panicked", k.name)})
					}
				}
			}
			stop()
			cancel()
			leave()
			k.routes.leave()
		}()
		newClimb(r, k, questions, flights).run(context.WithValue(ctx, nestedKey{}, true), leave)
	})
}

// nestedKey marks the context of a flight, so that the flights it begins take no place of their own.
type nestedKey struct{}

func nested(ctx context.Context) bool { return ctx.Value(nestedKey{}) != nil }
