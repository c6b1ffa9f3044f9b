package pipeline

import (
	"context"
	"slices"
	"time"
)

// feedPlan is what a feed carries and where it comes from: the part of its options that may change while it runs. It never
// changes itself, it is replaced.
type feedPlan struct {
	symbols       []string
	voices        []*voice // one per source, in order of priority
	poll, silence time.Duration
	coordinator   string
	// replaced is closed when another plan has taken its place.
	replaced chan struct{}
}

// newPlan makes a plan of the options. Sources that were heard before keep their voice.
func (f *Feed) newPlan(opts FeedOptions, before *feedPlan) *feedPlan {
	plan := &feedPlan{
		symbols: opts.Symbols, poll: opts.Poll, silence: opts.Silence, coordinator: opts.Coordinator, replaced: make(chan struct{}),
	}
	var polled []string
	for _, name := range opts.Sources {
		v := &voice{name: name, streams: opts.Streams(name), extra: make(chan struct{}, 1)}
		if !v.streams {
			polled = append(polled, name)
		}
		if before != nil {
			same := func(other *voice) bool { return other.name == v.name && other.streams == v.streams }
			if i := slices.IndexFunc(before.voices, same); i >= 0 {
				v = before.voices[i]
			}
		}
		plan.voices = append(plan.voices, v)
	}
	f.r.sources.keep(askedByFeed, polled)
	return plan
}

// hearsAs reports whether sources are heard as another plan says.
func (p *feedPlan) hearsAs(other *feedPlan) bool {
	return slices.Equal(p.voices, other.voices) && p.poll == other.poll && p.silence == other.silence
}

// Reconfigure feeds from now on what the options say: symbols, sources, pauses and coordinator; the rest stays as it was.
// The epoch and its numbers go on. A symbol that was added comes as soon as a source has a quote; one that was left out is
// missing from the whole tick that follows. It returns before that has happened, and must not be called twice at once.
func (f *Feed) Reconfigure(opts FeedOptions) {
	opts = opts.withDefaults()
	before := f.plan.Load()
	next := f.newPlan(opts, before)
	if next.hearsAs(before) && slices.Equal(next.symbols, before.symbols) && next.coordinator == before.coordinator {
		return
	}
	f.plan.Store(next)
	close(before.replaced)
	select {
	case f.replanned <- struct{}{}:
	default:
	}
}

// reopenDesk hears the sources as the present plan says. What is known of the symbols goes on.
func (f *Feed) reopenDesk(ctx context.Context) {
	plan := f.plan.Load()
	if f.led != plan.coordinator {
		f.led = plan.coordinator
		f.log.stop()
		f.log.lose()
		f.resign() // The lease at the former coordinator ends by itself.
	}
	if f.desk == nil || f.desk.plan.hearsAs(plan) {
		return
	}
	former := f.desk
	f.closeDesk()
	f.desk = f.openDesk(ctx, f.known(), former)
	f.logger.Info("the feed hears other sources, or hears them otherwise")
}

// inherit takes over what another merger knows, but for what sources said that are not heard any more.
func (m *merger) inherit(from *merger) {
	from.mu.Lock()
	defer from.mu.Unlock()
	was := make([]int, len(m.voices)) // the place of each source there, -1 for none
	for i, v := range m.voices {
		was[i] = slices.Index(from.voices, v)
	}
	for symbol, theirs := range from.lines {
		l := m.line(symbol)
		if theirs.last.AsOf.After(l.last.AsOf) {
			l.last = theirs.last
		}
		l.left = theirs.left
		for i, j := range was {
			if j >= 0 {
				l.said[i], l.heard[i], l.told[i] = theirs.said[j], theirs.heard[j], theirs.told[j]
				if theirs.speaker == j {
					l.speaker = i
				}
			}
		}
	}
	for _, q := range from.waiting {
		m.wait(q)
	}
	if from.global != nil {
		m.global = from.global
		m.signal()
	}
}

// forget drops what is known of symbols that are not asked for.
func (m *merger) forget(asked func(symbol string) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for symbol := range m.lines {
		if !asked(symbol) {
			delete(m.lines, symbol)
			delete(m.waiting, symbol)
		}
	}
}

// prune leaves out of what is delivered what a new plan does not name any more: a whole tick without it takes the place of
// the next. Until that plan's symbols are looked up, nothing is left out.
func (f *Feed) prune(ctx context.Context) {
	plan := f.plan.Load()
	if f.pruned == plan || !f.assets.lookedUp(plan) {
		return
	}
	if f.desk == nil { // Another host decides what is fed.
		f.pruned = plan
		return
	}
	if !f.mayTick() {
		return
	}
	f.pruned = plan
	f.desk.forget(f.asked)
	board := &f.log.board
	if f.lone != nil {
		board = &f.lone.board
	}
	t := board.whole()
	t.Quotes = slices.DeleteFunc(t.Quotes, func(q TickQuote) bool { return !f.asked(q.Quote.Symbol) })
	if len(t.Quotes) == len(board.quotes) {
		return
	}
	t.N, t.At = t.N+1, f.r.opts.Now().UTC()
	if f.lone != nil {
		board.apply(t)
		f.deliver(t)
		return
	}
	f.write(ctx, recordState, t, nil, nil)
}

// asked reports whether a symbol is one of the feed's. Until the catalogue has answered, every symbol may be.
func (f *Feed) asked(symbol string) bool {
	set, _ := f.assets.now()
	symbols := f.plan.Load().symbols
	return set.has(symbol) || slices.Contains(symbols, symbol) || (len(set.asked) == 0 && len(symbols) > 0)
}
