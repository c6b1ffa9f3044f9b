package pipeline

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// sources asks source islands: in order, through a breaker each, with as much patience as the line behind them allows.
type sources struct {
	opts Options
	mode *mode // "all sources", of the failure table

	mu     sync.RWMutex
	byName map[string]*source
	asked  map[string][]string // by whom
	// judges are the sources by which the mode is judged. Those of the sentiment are asked now and then, and say nothing about the
	// prices, unless there are no others; nothing is served by itself from those that are asked by name.
	judges []*source
}

// source is what the host knows of one source island.
type source struct {
	name string
	// mode is down from the first failure until it answers steadily again.
	mode    *mode
	breaker circuitbreaker.CircuitBreaker[any]
	// usual is how long it takes to answer on average, in nanoseconds; 0 while nobody knows.
	usual atomic.Int64
	// retired is whether nobody asks the source any more.
	retired atomic.Bool

	mu sync.Mutex
	// silentUntil is when the source may be asked again, by its own word.
	silentUntil time.Time
	failing     bool
	calls       uint64
	failures    uint64
	last429     time.Time
	lastError   sdk.Kind
	lastFailure time.Time
	lastSuccess time.Time
	noted       chan struct{} // closed and replaced when an attempt has ended
}

// SourceStatus is how a source does, as the host sees it.
type SourceStatus struct {
	Name string
	// Breaker is "closed", "open" or "half-open".
	Breaker     string
	Calls       uint64
	Failures    uint64
	RetryAfter  time.Duration
	Last429     time.Time
	LastError   string
	LastFailure time.Time
	LastSuccess time.Time
	Failing     bool
	// Mode is unavailable from the first failure until it answers steadily again.
	Mode Mode
}

func newSources(opts Options) *sources {
	s := &sources{opts: opts, byName: make(map[string]*source), asked: make(map[string][]string)}
	s.mode = newMode(opts, "External APIs unavailable, serving cached data", "External APIs available again")
	return s
}

// Who asks sources.
const (
	askedByRequests = "requests"
	askedForMood    = "requests for the sentiment"
	askedByFeed     = "feed"
	askedByName     = "name" // by clients, one source alone
)

// keep makes the sources known that somebody asks, in the place of those that he asked before. Those that nobody asks any
// more are left out of all that is told; what is under way may still ask them. One that comes back begins anew.
func (s *sources) keep(who string, names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[who] = names
	for _, name := range names {
		s.add(name)
	}
	for name, src := range s.byName {
		src.retired.Store(!slices.ContainsFunc(slices.Collect(maps.Values(s.asked)), func(names []string) bool {
			return slices.Contains(names, name)
		}))
	}
	s.judges = s.named(askedByRequests, askedByFeed)
	if len(s.judges) == 0 {
		s.judges = s.named(askedForMood)
	}
}

// named lists the sources that somebody of those asks. The caller holds the lock.
func (s *sources) named(who ...string) (list []*source) {
	for _, w := range who {
		for _, name := range s.asked[w] {
			if src := s.byName[name]; !slices.Contains(list, src) {
				list = append(list, src)
			}
		}
	}
	return list
}

// keepLines makes those known that requests ask.
func (s *sources) keepLines(rt *routes) {
	s.keep(askedForMood, rt.Sentiment.Sources)
	s.keep(askedByRequests, asked(rt.Quotes, rt.Candles, rt.Global, rt.Catalogue))
}

// add makes a source known; the caller holds the lock.
func (s *sources) add(name string) {
	if src, ok := s.byName[name]; ok && !src.retired.Load() {
		return
	}
	logger, told := s.opts.Logger, s.opts
	told.Logger = logger.With("island", name)
	mode := newMode(told, "source failed, asking the next", "source answers again")
	mode.level = hclog.Warn
	s.byName[name] = &source{name: name, mode: mode, noted: make(chan struct{}), breaker: circuitbreaker.NewBuilder[any]().
		WithFailureThreshold(s.opts.BreakerFailures).WithDelay(s.opts.BreakerOpenFor).WithSuccessThreshold(1).
		OnStateChanged(func(e circuitbreaker.StateChangedEvent) {
			// What comes of it is told once, by the source's mode.
			logger.Debug("source breaker is "+stateName(e.NewState), "island", name, "was", stateName(e.OldState))
		}).Build()}
}

// of returns a source that is known, else nil.
func (s *sources) of(name string) *source {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byName[name]
}

// all lists the sources that are asked, in no order.
func (s *sources) all() []*source {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := slices.Collect(maps.Values(s.byName))
	return slices.DeleteFunc(all, func(src *source) bool { return src.retired.Load() })
}

func stateName(s circuitbreaker.State) string {
	switch s {
	case circuitbreaker.OpenState:
		return "open"
	case circuitbreaker.HalfOpenState:
		return "half-open"
	default:
		return "closed"
	}
}

// permit takes the breaker's permission for one call. While another call is probing a source that failed, it waits for
// what comes of that: the needs of one report ask at the same time, and one of them must not spoil the others.
func (src *source) permit(ctx context.Context) bool {
	for {
		src.mu.Lock()
		noted := src.noted
		src.mu.Unlock()
		if src.breaker.TryAcquirePermit() {
			return true
		}
		if !src.breaker.IsHalfOpen() {
			return false
		}
		select {
		case <-noted:
		case <-ctx.Done():
			return false
		}
	}
}

// attempt is one call to a source.
type attempt struct {
	island process.Island
	name   string
	// first is whether the source is the first of its line: what another answers is second best.
	first bool
	// retries is what the source may spend on trying again.
	retries int
}

// errEnough ends a walk that got what it wanted.
var errEnough = errors.New("enough")

// walk asks the sources of a line in their order until call returns errEnough, and returns nil then. Otherwise it returns
// one error for all: NotFound or Unsupported when that is all they said, else Unavailable with the shortest wait.
//
// The last in line may try again, at most retries times; not while it is failing anyway, since that would only make
// everybody wait.
func (s *sources) walk(ctx context.Context, names []string, retries int, call func(context.Context, attempt) error) error {
	if len(names) == 0 {
		return sdk.Errorf(sdk.Unsupported, "no source is configured")
	}
	var failed []failedSource
	ready := s.ready(names, &failed)
	for i, src := range ready {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if hurried(ctx, src.soonest()) {
			return context.DeadlineExceeded // It could not answer within what is left.
		}
		if !src.permit(ctx) {
			failed = append(failed, failedSource{src.name, &sdk.Error{Kind: sdk.Unavailable, RetryAfter: src.breaker.RemainingDelay()}})
			continue
		}
		island, err := s.opts.Island(src.name)
		if err == nil {
			a := attempt{island: island, name: src.name, first: src.name == names[0]}
			timeout := s.opts.SourceTimeout
			if i == len(ready)-1 {
				timeout = s.opts.LastSourceTimeout
				if !src.isFailing() {
					a.retries = retries
				}
			}
			cut, began := hurried(ctx, timeout), s.opts.Now()
			err = s.try(ctx, timeout, a, call)
			if errors.Is(err, errEnough) {
				src.took(s.opts.Now().Sub(began))
			} else if cut && err != nil && sdk.KindOf(err) == sdk.DeadlineExceeded {
				src.giveBack()
				return context.DeadlineExceeded // the caller's time is up, which says nothing of the source
			}
		}
		if ctx.Err() != nil && err != nil && !errors.Is(err, errEnough) {
			src.giveBack()
			return ctx.Err() // so is it here
		}
		if errors.Is(err, errBusy) {
			src.giveBack() // Those calls that are under way will say how it is.
			failed = append(failed, failedSource{src.name, err})
			continue
		}
		s.note(src, err)
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			failed = append(failed, failedSource{src.name, err})
			if !definite(err) && i < len(ready)-1 {
				s.opts.Logger.Debug("the next source is asked", "instead_of", src.name, "reason", sdk.KindOf(err).String(),
					"request_id", sdk.RequestID(ctx))
			}
		}
	}
	return joined(failed)
}

// Retry allowances of the last source in line: pauses of 1 s, 2 s and 4 s. What others wait for, such as the catalogue, is
// tried again once, what a report can do without not at all.
const (
	allRetries = 3
	fewRetries = 1
	noRetries  = 0
)

// try makes one attempt within its timeout.
func (s *sources) try(ctx context.Context, timeout time.Duration, a attempt, call func(context.Context, attempt) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return call(ctx, a)
}

// hurried reports whether less is left of the context's time than is needed.
func hurried(ctx context.Context, needed time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) < needed
}

// muchFaster is how much faster than usual a source may answer, as a divisor of what it usually takes.
const muchFaster = 8

// took notes how long an answer took.
func (src *source) took(d time.Duration) {
	usual := src.usual.Load()
	if usual == 0 {
		usual = int64(d)
	}
	src.usual.Store(usual + (int64(d)-usual)/8)
}

// soonest is how long the source takes at least, as far as is known: an attempt with less time is not worth its cost.
func (src *source) soonest() time.Duration { return time.Duration(src.usual.Load() / muchFaster) }

// giveBack ends an attempt that says nothing of the source. A probe that was cut off has not shown that it is well.
func (src *source) giveBack() {
	if src.breaker.IsHalfOpen() {
		src.breaker.RecordFailure()
	}
	src.mu.Lock()
	src.signal()
	src.mu.Unlock()
}

// signal wakes those who wait for a probe; the caller holds the lock.
func (src *source) signal() {
	close(src.noted)
	src.noted = make(chan struct{})
}

// isFailing reports whether the last attempt failed.
func (src *source) isFailing() bool {
	src.mu.Lock()
	defer src.mu.Unlock()
	return src.failing
}

// ready lists the sources that may be asked now; the others go to failed.
func (s *sources) ready(names []string, failed *[]failedSource) []*source {
	var ready []*source
	now := s.opts.Now()
	for _, name := range names {
		src := s.of(name)
		if src == nil { // It was removed by a reload since it was asked for by its name.
			*failed = append(*failed, failedSource{name, &sdk.Error{Kind: sdk.Unavailable, RetryAfter: defaultRetryAfter}})
			continue
		}
		src.mu.Lock()
		wait, kind := src.silentUntil.Sub(now), src.lastError
		src.mu.Unlock()
		if src.breaker.IsOpen() {
			wait = max(wait, src.breaker.RemainingDelay())
		}
		if wait > 0 {
			*failed = append(*failed, failedSource{name, &sdk.Error{Kind: kind, RetryAfter: wait}})
			continue
		}
		ready = append(ready, src)
	}
	return ready
}

// note keeps what came of an attempt.
func (s *sources) note(src *source, err error) {
	ok := err == nil || errors.Is(err, errEnough) || definite(err)
	now := s.opts.Now()
	if ok {
		src.breaker.RecordSuccess()
	} else {
		src.breaker.RecordFailure()
	}
	src.mu.Lock()
	src.calls++
	src.failing = !ok
	if ok {
		src.lastSuccess = now
	} else {
		src.failures++
		src.lastFailure = now
		src.lastError = sdk.KindOf(err)
		if src.lastError == sdk.RateLimited {
			src.last429 = now
		}
		if wait := sdk.RetryAfter(err); wait > 0 {
			src.silentUntil = now.Add(wait)
		}
	}
	src.signal()
	src.mu.Unlock()
	src.mode.set(ok, err)
	s.judge(src, ok, err)
}

// judge decides whether all sources are down, by what came of a call to one: the failure table's "external APIs".
func (s *sources) judge(src *source, ok bool, err error) {
	s.mu.RLock()
	judges := s.judges
	s.mu.RUnlock()
	switch {
	case !slices.Contains(judges, src):
	case ok:
		s.mode.set(true, nil)
	case !slices.ContainsFunc(judges, func(other *source) bool { return !other.isFailing() }):
		s.mode.set(false, err)
	}
}

// status lists how the sources do, in no order.
func (s *sources) status() []SourceStatus {
	now := s.opts.Now()
	all := s.all()
	out := make([]SourceStatus, 0, len(all))
	for _, src := range all {
		src.mu.Lock()
		st := SourceStatus{
			Name: src.name, Breaker: stateName(src.breaker.State()), Calls: src.calls, Failures: src.failures,
			RetryAfter: max(0, src.silentUntil.Sub(now)), Last429: src.last429, LastFailure: src.lastFailure,
			LastSuccess: src.lastSuccess, Failing: src.failing, Mode: src.mode.status(),
		}
		if src.failures > 0 {
			st.LastError = src.lastError.String()
		}
		src.mu.Unlock()
		out = append(out, st)
	}
	return out
}

// failedSource is a source that did not help, and why.
type failedSource struct {
	name string
	err  error
}

// defaultRetryAfter is told to clients when no source said when to come back.
const defaultRetryAfter = 5 * time.Second

// joined is what several failures come to.
func joined(failed []failedSource) error {
	var said []string
	var wait time.Duration
	kinds := make(map[sdk.Kind]int)
	for _, f := range failed {
		kind := sdk.KindOf(f.err)
		kinds[kind]++
		said = append(said, f.name+": "+kind.String())
		if after := sdk.RetryAfter(f.err); after > 0 && (wait == 0 || after < wait) {
			wait = after
		}
	}
	text := strings.Join(said, "; ")
	settled := kinds[sdk.NotFound] + kinds[sdk.Unsupported] + kinds[sdk.InvalidArgument]
	switch {
	case settled == len(failed) && kinds[sdk.NotFound] > 0:
		return &sdk.Error{Kind: sdk.NotFound, Message: text}
	case settled == len(failed):
		return &sdk.Error{Kind: sdk.Unsupported, Message: text}
	case kinds[sdk.ResourceExhausted] > 0 && kinds[sdk.ResourceExhausted] == len(failed):
		return &sdk.Error{Kind: sdk.ResourceExhausted, Message: text, RetryAfter: max(wait, busyRetry), Err: errBusy}
	case kinds[sdk.BadUpstream] == len(failed):
		return &sdk.Error{Kind: sdk.BadUpstream, Message: text, RetryAfter: defaultRetryAfter}
	}
	if wait == 0 {
		wait = defaultRetryAfter
	}
	err := &sdk.Error{Kind: sdk.Unavailable, Message: text, RetryAfter: wait}
	if kinds[sdk.NotFound] > 0 {
		err.Err = errProbablyUnknown
	}
	return err
}

// errProbablyUnknown marks a failure of which at least one source said that it does not know the asset.
var errProbablyUnknown = errors.New("at least one source does not know it")
