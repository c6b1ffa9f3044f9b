package pipeline

import (
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
)

// routes are who answers what: the part of the options that may change while questions are answered. They never change
// themselves, they are replaced: a flight uses those it began with.
type routes struct {
	// Options, of which the fields count that Reconfigure takes.
	Options
	kinds   kinds
	reports map[string]*reportKind

	// users are those who answer by these routes, and one more until they are replaced.
	users atomic.Int64
	// replaced is closed when others have taken their place, unused once nobody answers by them after that.
	replaced, unused chan struct{}
	given            sync.Once
	// last is called once nobody answers by them any more.
	last func()
}

// newRoutes makes routes of the options. What can go on of those before does.
func (r *Requests) newRoutes(opts Options, before *routes) *routes {
	rt := &routes{Options: opts, replaced: make(chan struct{}), unused: make(chan struct{}), last: r.near.forgive}
	rt.users.Store(1)
	rt.kinds = r.newKinds(rt)
	rt.reports = r.newReports(rt, before)
	return rt
}

// lines are all kinds of data with those who answer them.
func (rt *routes) lines() []Line {
	return []Line{rt.Quotes, rt.Candles, rt.Global, rt.Sentiment, rt.Catalogue}
}

// asked lists the sources of lines.
func asked(lines ...Line) []string {
	names := map[string]bool{}
	for _, line := range lines {
		for _, name := range line.Sources {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// enter returns the present routes and keeps them in use until leave.
func (r *Requests) enter() *routes {
	for {
		rt := r.routes.Load()
		rt.hold()
		if r.routes.Load() == rt {
			return rt
		}
		rt.leave() // They were replaced in between, and may have been given up already.
	}
}

// hold keeps routes in use that somebody uses already.
func (rt *routes) hold() { rt.users.Add(1) }

// leave ends a use.
func (rt *routes) leave() {
	if rt.users.Add(-1) == 0 {
		rt.given.Do(func() { // Somebody may come too late, and go.
			rt.last()
			close(rt.unused)
		})
	}
}

// Reconfigure answers from now on by other routes: cache and store, lines, reports, and how long "not found" is remembered.
// The rest of the options stays as it was. So does the near cache, but for remembered failures, and the breakers of sources
// that go on. What is under way ends by the routes it began with; settled is closed once the last of it has: who answered
// before must be there until then. It must not be called twice at once.
func (r *Requests) Reconfigure(opts Options) (settled <-chan struct{}) {
	before := r.routes.Load()
	next := before.Options
	next.Cache, next.Store, next.NegativeTTL = opts.Cache, opts.Store, opts.withDefaults().NegativeTTL
	next.Quotes, next.Candles, next.Global = opts.Quotes, opts.Candles, opts.Global
	next.Sentiment, next.Catalogue, next.Reports = opts.Sentiment, opts.Catalogue, opts.Reports
	next.Alone = opts.Alone
	if before.same(next) {
		settled := make(chan struct{})
		close(settled)
		return settled
	}
	rt := r.newRoutes(next, before)
	r.sources.keepLines(rt)
	r.sources.keep(askedByName, rt.Alone)
	r.gates.declare(rt.Reports)
	r.routes.Store(rt)
	close(before.replaced)
	r.near.forgive()
	before.leave()
	return before.unused
}

// withoutRoutes returns options without what is in routes, so that nobody goes by what was once.
func (o Options) withoutRoutes() Options {
	o.Cache, o.Store, o.NegativeTTL, o.Reports, o.Alone = "", "", 0, nil, nil
	o.Quotes, o.Candles, o.Global, o.Sentiment, o.Catalogue = Line{}, Line{}, Line{}, Line{}, Line{}
	return o
}

// same reports whether routes of the options would be the same.
func (rt *routes) same(opts Options) bool {
	return rt.Cache == opts.Cache && rt.Store == opts.Store && rt.NegativeTTL == opts.NegativeTTL &&
		slices.Equal(rt.Alone, opts.Alone) && reflect.DeepEqual(rt.lines(), (&routes{Options: opts}).lines()) && reflect.DeepEqual(rt.Reports, opts.Reports)
}

// Changed is closed at the next Reconfigure.
func (r *Requests) Changed() <-chan struct{} { return r.routes.Load().replaced }

// store and cache are the names of those islands, empty for none.
func (r *Requests) store() string { return r.routes.Load().Store }
func (r *Requests) cache() string { return r.routes.Load().Cache }
