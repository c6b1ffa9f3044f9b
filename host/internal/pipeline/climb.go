package pipeline

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// climb is one batch of flights on its way down the ladder of memory and up again: cache, store, sources, then back into
// near cache, cache and store.
type climb struct {
	r      *Requests
	k      *kind
	steps  []*step
	began  moment
	now    time.Time
	cached bool // the cache answered
}

// step is one key's way.
type step struct {
	question
	flight *flight
	landed bool
	// best is the newest value found so far, fresh or not; doubted while only the near cache, being suspect, knows it.
	best    *entry
	doubted bool
	// tier that best came from.
	tier Tier
	// cacheVersion is what Fill is to be told.
	cacheVersion uint64
	// write says which memories lack the value that the step ended with.
	writeCache, writeStore bool
}

func newClimb(r *Requests, k *kind, questions []question, flights []*flight) *climb {
	c := &climb{r: r, k: k, began: r.near.moment(), now: r.opts.Now()}
	for i, q := range questions {
		s := &step{question: q, flight: flights[i]}
		if e := r.near.get([]byte(q.key)); e != nil && e.err == nil && c.now.Before(e.staleUntil) {
			s.best, s.tier, s.doubted = e, TierNear, !r.near.trusted(e)
		}
		c.steps = append(c.steps, s)
	}
	return c
}

// run answers every step, calls landed, and remembers what was learned.
func (c *climb) run(ctx context.Context, landed func()) {
	c.askCache(ctx)
	c.askStore(ctx)
	c.load(ctx)
	landed()
	// A slow store must neither keep others from loading nor let the batches that wait for it pile up.
	select {
	case c.r.writes <- struct{}{}:
		defer func() { <-c.r.writes }()
		c.remember(ctx)
	default:
		c.r.counts.writeFailures.Add(1)
		c.r.opts.Logger.Warn("too many writes wait for the cache or the store, one is left out", "kind", c.k.name)
	}
}

// open lists the steps that are still to be answered.
func (c *climb) open() []*step {
	var open []*step
	for _, s := range c.steps {
		if !s.landed {
			open = append(open, s)
		}
	}
	return open
}

// land answers a step's flight.
func (c *climb) land(s *step, out outcome) {
	s.landed = true
	c.r.land(s.key, s.flight, out)
}

// keep puts a step's best value into the near cache and answers with it.
func (c *climb) keep(s *step) {
	c.put(s)
	c.land(s, outcome{answer: Answer{entry: s.best, reps: s.best.reps, Tier: s.tier}})
}

// put puts a step's best value into the near cache. Newer is whether something newer was there, which is the best then
// and in no need of being written.
func (c *climb) put(s *step) (newer bool) {
	there := c.r.near.put(s.best, c.began)
	if there == s.best {
		return false
	}
	s.best, s.tier, s.writeCache, s.writeStore = there, TierNear, false, false
	return true
}

// consider takes a remembered value when it is newer than the best so far.
func (c *climb) consider(s *step, remembered sdk.Entry, tier Tier) {
	if !c.now.Before(remembered.StaleUntil) {
		return
	}
	if s.best != nil && !remembered.StoredAt.After(s.best.storedAt) {
		if remembered.StoredAt.Equal(s.best.storedAt) {
			s.doubted = false // the near cache holds the same
		}
		return
	}
	noun, err := c.k.unmarshal(remembered.Value)
	if err != nil {
		c.r.opts.Logger.Warn("a remembered value cannot be read and is loaded anew", "key", s.key, "tier", tier, "error", err)
		return
	}
	s.best, s.tier, s.doubted = c.entry(s.key, noun, remembered.StoredAt, remembered.FreshUntil, remembered.StaleUntil), tier, false
}

// askCache looks the steps up in the cache island.
func (c *climb) askCache(ctx context.Context) {
	r := c.r
	if c.k.routes.Cache == "" {
		for _, s := range c.steps {
			s.doubted = false
		}
		return
	}
	keys := make([]string, len(c.steps))
	for i, s := range c.steps {
		keys[i] = s.key
	}
	results, err := ask(ctx, r, c.k.routes.Cache, r.cacheMode, func(ctx context.Context, cache process.Island) ([]sdk.Lookup, error) {
		return cache.Lookup(ctx, keys)
	})
	if err != nil {
		// Nobody can say whether what the near cache holds is still true: it is served, marked stale.
		for _, s := range c.steps {
			if s.best != nil && c.now.Before(s.best.freshUntil) && !s.insist {
				c.land(s, outcome{answer: c.k.stale(s.best)})
			}
		}
		return
	}
	c.cached = true
	// A flight that cannot wait for an encoder any more goes on as if nothing were remembered, and ends where that ends.
	_ = r.encoders.load(ctx, func() {
		for i, s := range c.steps {
			s.cacheVersion = results[i].Version
			s.writeCache = !results[i].Found
			if results[i].Found {
				c.consider(s, results[i].Entry, Tier(results[i].Tier))
			}
			if s.fresh(c.now) {
				c.keep(s)
			}
		}
	})
}

// fresh reports whether a step's best value is fresh and beyond doubt.
func (s *step) fresh(now time.Time) bool {
	return s.best != nil && !s.doubted && now.Before(s.best.freshUntil)
}

// askStore looks the steps up that the cache does not know.
func (c *climb) askStore(ctx context.Context) {
	r := c.r
	open := c.open()
	if c.k.routes.Store == "" || len(open) == 0 {
		return
	}
	keys := make([]string, len(open))
	for i, s := range open {
		keys[i] = s.key
	}
	entries, err := ask(ctx, r, c.k.routes.Store, r.storeMode, func(ctx context.Context, store process.Island) ([]sdk.Entry, error) {
		return store.Recall(ctx, keys)
	})
	if err != nil {
		return
	}
	byKey := make(map[string]sdk.Entry, len(entries))
	for _, e := range entries {
		byKey[e.Key] = e
	}
	_ = r.encoders.load(ctx, func() {
		for _, s := range open {
			c.recall(s, byKey)
		}
	})
}

// recall takes what the store knows of a step.
func (c *climb) recall(s *step, stored map[string]sdk.Entry) {
	s.writeStore = true
	// The store hears nothing of other hosts' invalidations. What this host has not heard of either may be served as
	// stale when nothing better can be had, and is never handed on as the truth.
	near := c.r.near
	if e, ok := stored[s.key]; ok && !near.journal.touchedAfter(e.StoredAt, s.key) {
		doubted := s.doubted || !near.heard(e.StoredAt)
		c.consider(s, e, TierStore)
		s.doubted = doubted
	}
	if s.fresh(c.now) {
		s.writeStore = false
		c.keep(s)
	}
}

// load asks the sources for what no memory holds fresh.
func (c *climb) load(ctx context.Context) {
	open := c.open()
	if len(open) == 0 {
		return
	}
	questions := make([]question, len(open))
	for i, s := range open {
		questions[i] = s.question
	}
	results := c.k.load(ctx, questions)
	if err := c.r.encoders.load(ctx, func() { c.settle(open, results) }); err != nil {
		for i := range results {
			results[i] = loaded{err: err}
		}
		c.settle(open, results)
	}
}

// settle answers the steps with what was loaded for each.
func (c *climb) settle(open []*step, results []loaded) {
	now := c.r.opts.Now()
	for i, s := range open {
		got := results[i]
		if errors.Is(got.err, context.DeadlineExceeded) {
			got.err = &sdk.Error{Kind: sdk.Unavailable, Message: "the sources did not answer in time", RetryAfter: defaultRetryAfter}
		}
		switch {
		case got.err == nil && got.stale:
			if s.best == nil {
				s.best = c.entry(s.key, got.noun, now, now, now.Add(c.k.strategy.StaleFor))
			}
			c.keepStale(s, now, 0)
		case got.err == nil:
			ttl := c.k.strategy.TTL
			if got.poor {
				ttl = min(ttl, c.r.opts.PoorTTL)
			}
			fresh := now.Add(ttl)
			if soonest := now.Add(min(minLife, ttl)); !got.until.IsZero() && got.until.Before(fresh) {
				fresh = soonest
				if got.until.After(soonest) {
					fresh = got.until
				}
			}
			s.best, s.tier = c.entry(s.key, got.noun, now, fresh, fresh.Add(c.k.strategy.StaleFor)), TierMiss
			s.writeCache, s.writeStore = true, true
			c.keep(s)
		case definite(got.err):
			c.fail(s, got.err, now, c.k.routes.NegativeTTL)
		case s.best != nil:
			c.keepStale(s, now, sdk.RetryAfter(got.err))
		default:
			c.fail(s, got.err, now, c.r.remembered(got.err))
		}
	}
}

// keepStale answers with a value that is stale, and has it loaded again after a pause.
func (c *climb) keepStale(s *step, now time.Time, retryAfter time.Duration) {
	s.best.retryAt.Store(now.Add(min(max(retryAfter, minRetry), maxRetry)).UnixNano())
	s.writeCache, s.writeStore = false, false
	if c.put(s) {
		c.land(s, outcome{answer: Answer{entry: s.best, reps: s.best.reps, Tier: s.tier}})
		return
	}
	c.r.counts.staleServed.Add(1)
	c.land(s, outcome{answer: c.k.stale(s.best)})
}

// fail answers with an error and remembers it for a while.
func (c *climb) fail(s *step, err error, now time.Time, ttl time.Duration) {
	s.best = nil
	var unknown *Unknown
	// What the catalogue does not hold is found out again in no time.
	// What there was no room for says nothing of the key.
	if !errors.Is(err, sdk.Canceled) && !errors.Is(err, sdk.ResourceExhausted) && !errors.As(err, &unknown) {
		if there := c.r.near.put(negative(s.key, err, now, now.Add(ttl)), c.began); there.err == nil {
			c.land(s, outcome{answer: Answer{entry: there, reps: there.reps, Tier: TierNear}})
			return
		}
	}
	c.land(s, outcome{err: err})
}

// remembered is how long a failure is remembered when there is nothing to serve instead: in an outage, thousands of
// requests a second must not each walk down to the sources to hear the same. A client is told to come back no sooner
// than that. What one source does not know while another fails most likely does not exist.
func (r *Requests) remembered(err error) time.Duration {
	most := maxFailureTTL
	if errors.Is(err, errProbablyUnknown) {
		most = r.routes.Load().NegativeTTL
	}
	return min(max(sdk.RetryAfter(err), minFailureTTL), most)
}

// Bounds on how long a failure is remembered.
const (
	minFailureTTL = time.Second
	maxFailureTTL = 5 * time.Second
)

// minLife is how long an answer is fresh at least, whatever it holds: a source that lags behind its own clock must not be
// asked by every request.
const minLife = 5 * time.Second

// minRetry and maxRetry bound the pause after a load that failed while a stale value could be served.
const (
	minRetry = 2 * time.Second
	maxRetry = 30 * time.Second
)

// definite reports whether an error is an answer, not a failure: asking again would give the same.
func definite(err error) bool {
	return errors.Is(err, sdk.NotFound) || errors.Is(err, sdk.Unsupported) || errors.Is(err, sdk.InvalidArgument)
}

// entry makes the near cache's form of a value.
func (k *kind) entry(key string, noun any, storedAt, freshUntil, staleUntil time.Time) *entry {
	e := &entry{key: key, noun: noun, storedAt: storedAt, freshUntil: freshUntil, staleUntil: staleUntil}
	e.size = len(key) + entryOverhead
	if k.asOf != nil {
		e.asOf = k.asOf(noun)
	}
	if k.encode != nil {
		e.reps = k.encode(noun, false)
	}
	for _, rep := range e.reps {
		e.size += len(rep.Body) + len(rep.Gzip) + len(rep.Brotli)
	}
	if k.size != nil {
		e.size += k.size(noun)
	}
	return e
}

// entry makes the near cache's form of a value, in an encoder.
func (c *climb) entry(key string, noun any, storedAt, freshUntil, staleUntil time.Time) *entry {
	e := c.k.entry(key, noun, storedAt, freshUntil, staleUntil)
	e.encoders = c.r.encoders
	return e
}

// remember writes what the cache or the store lacks. The answers have been delivered, so nobody waits for it.
func (c *climb) remember(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rememberTimeout)
	defer cancel()
	stop := context.AfterFunc(c.r.ctx, cancel) //nolint:contextcheck // the pipeline's own life ends the writes too
	defer stop()
	r := c.r
	values := c.marshal(ctx)
	// What the feed has overtaken is not written, and the feed writes nothing between this look and the writing.
	written := func() {}
	if c.k.asOf != nil {
		r.live.writing.RLock()
		written = sync.OnceFunc(r.live.writing.RUnlock)
	}
	defer written()
	var fills, rows []sdk.Entry
	var nouns []any
	for i, s := range c.steps {
		if values[i] == nil {
			continue
		}
		// An invalidation during the load wins everywhere.
		if r.near.journal.touchedSince(c.began.version, s.key) || r.live.overtook(s.best, r.opts.Now()) {
			continue
		}
		e := sdk.Entry{
			Key: s.key, Value: values[i], StoredAt: s.best.storedAt, FreshUntil: s.best.freshUntil, StaleUntil: s.best.staleUntil,
			Version: s.cacheVersion,
		}
		if s.writeCache {
			fills = append(fills, e)
		}
		if s.writeStore && s.tier != TierStore {
			rows = append(rows, e)
		}
		if s.tier == TierMiss {
			nouns = append(nouns, s.best.noun)
		}
	}
	if len(fills) > 0 && c.cached {
		r.counts.written(ask(ctx, r, c.k.routes.Cache, r.cacheMode, func(ctx context.Context, cache process.Island) (int, error) {
			return cache.Fill(ctx, fills)
		}))
	}
	written()
	if c.k.routes.Store == "" {
		return
	}
	if len(rows) > 0 {
		r.counts.written(ask(ctx, r, c.k.routes.Store, r.storeMode, func(ctx context.Context, store process.Island) (int, error) {
			return len(rows), store.Remember(ctx, rows)
		}))
	}
	if len(nouns) > 0 && c.k.save != nil {
		n, err := ask(ctx, r, c.k.routes.Store, r.storeMode, func(ctx context.Context, store process.Island) (int, error) {
			return len(nouns), c.k.save(ctx, store, nouns)
		})
		r.counts.written(n, err)
		if err != nil && !definite(err) {
			r.ledger.addNouns(nouns) // They wait with what the feed has delivered.
		}
	}
}

// marshal makes what is to be written of each step, nil for nothing. It comes before any lock: what the feed delivers is not to
// wait until there is an encoder.
func (c *climb) marshal(ctx context.Context) [][]byte {
	values := make([][]byte, len(c.steps))
	err := c.r.encoders.load(ctx, func() {
		for i, s := range c.steps {
			if s.best == nil || !(s.writeCache || s.writeStore) || !c.now.Before(s.best.freshUntil) {
				continue
			}
			value, err := c.k.marshal(s.best.noun)
			if err != nil {
				c.r.opts.Logger.Error("a value cannot be written", "key", s.key, "error", err)
				continue
			}
			values[i] = value
		}
	})
	if err != nil {
		c.r.opts.Logger.Warn("there was no time to write down what was loaded", "keys", len(values), "error", err)
	}
	return values
}

// rememberTimeout bounds the writes after a load.
const rememberTimeout = 5 * time.Second

// ask calls a memory island within MemoryTimeout and keeps its mode: down after a failure to answer, up after an answer.
func ask[T any](ctx context.Context, r *Requests, name string, m *mode, call func(context.Context, process.Island) (T, error)) (T, error) {
	var none T
	island, err := r.opts.Island(name)
	if err != nil {
		m.set(false, err)
		return none, err
	}
	timeout := r.opts.MemoryTimeout
	if !m.works() {
		timeout = min(timeout, probeTimeout)
	}
	return askWithin(ctx, timeout, island, m, call)
}

// askWithin calls an island that runs within a timeout, and keeps its mode.
func askWithin[T any](
	ctx context.Context, timeout time.Duration, island process.Island, m *mode, call func(context.Context, process.Island) (T, error),
) (T, error) {
	cut := hurried(ctx, timeout)
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	got, err := call(limited, island)
	switch {
	case err == nil || definite(err) || errors.Is(err, sdk.Conflict):
		m.set(true, nil)
	// The caller's time is up, or there was no room, which says nothing of the island: those that are in there say it.
	case errors.Is(err, sdk.Canceled) || ctx.Err() != nil || errors.Is(err, errBusy):
	case cut && sdk.KindOf(err) == sdk.DeadlineExceeded: // so is it here, but for the way back
	default:
		m.set(false, err)
	}
	return got, err
}

// probeTimeout bounds a call to a memory island that did not answer the last time: one that is frozen must not take a
// second from everybody.
const probeTimeout = 50 * time.Millisecond
