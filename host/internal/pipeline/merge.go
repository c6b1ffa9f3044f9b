package pipeline

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/sdk"
)

// Bounds on how far a quote's time may be from the present.
const (
	maxAhead = time.Minute
	maxAge   = 24 * time.Hour
)

// minBackground is how long figures of another source are used at least.
const minBackground = 5 * time.Minute

// merger makes one line of quotes per symbol out of what several sources say. It is safe for concurrent use.
type merger struct {
	voices []*voice
	counts *feedCounts
	now    func() time.Time
	poll   time.Duration
	quiet  time.Duration

	// ready holds a token while something waits.
	ready chan struct{}

	mu      sync.Mutex
	lines   map[string]*line
	waiting map[string]sdk.Quote
	global  *sdk.Global // waits too
}

// line is one symbol.
type line struct {
	// last is what was taken last: only what is newer follows.
	last sdk.Quote
	// speaker is the place of the source it came from, -1 when it came from elsewhere.
	speaker int
	// left is whether the speaker fell silent, and that was noted.
	left bool
	// said is the newest that each source said; heard is when that was new, or known to hold still, and told is when the
	// source last said anything.
	said        []sdk.Quote
	heard, told []time.Time
}

// newMerger returns a merger that takes nothing older than what it is handed.
func newMerger(f *Feed, plan *feedPlan, from map[string]sdk.Quote) *merger {
	m := &merger{
		voices: plan.voices, counts: f.counts, now: f.r.opts.Now, poll: plan.poll, quiet: plan.silence,
		ready: make(chan struct{}, 1), lines: make(map[string]*line), waiting: make(map[string]sdk.Quote),
	}
	for symbol, q := range from {
		m.line(symbol).last = q
	}
	return m
}

// line returns a symbol's line; the caller holds the lock, or nobody else knows the merger yet.
func (m *merger) line(symbol string) *line {
	l, ok := m.lines[symbol]
	if !ok {
		n := len(m.voices)
		l = &line{speaker: -1, said: make([]sdk.Quote, n), heard: make([]time.Time, n), told: make([]time.Time, n)}
		m.lines[symbol] = l
	}
	return l
}

// take hears what a source says of symbols that were asked for.
func (m *merger) take(source int, quotes []sdk.Quote) {
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, q := range quotes {
		if fault := m.counts.fault(q, now); fault != nil {
			fault.Add(1)
			continue
		}
		l := m.line(q.Symbol)
		v := m.voices[source]
		v.lastQuote.Store(now.UnixNano())
		l.told[source] = now
		switch {
		case q.AsOf.After(l.said[source].AsOf):
			l.said[source], l.heard[source] = q, now
		case !v.streams && now.Sub(q.AsOf) < m.background():
			l.heard[source] = now // A poll that brings the same again says that it still holds; a stream tells what is new.
		}
		switch {
		case m.betterSpeaks(l, source, now): // It stays in the background.
		case q.AsOf.Equal(l.last.AsOf):
			m.counts.duplicate.Add(1)
		case q.AsOf.Before(l.last.AsOf):
			m.counts.late.Add(1)
		default:
			m.accept(l, source, q, now)
		}
	}
}

// offer hears a quote that another host has delivered already, whoever it came from.
func (m *merger) offer(quotes []sdk.Quote) {
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, q := range quotes {
		if l := m.line(q.Symbol); m.counts.fault(q, now) == nil && q.AsOf.After(l.last.AsOf) {
			l.last, l.speaker = q, -1
			m.wait(q)
		}
	}
}

// fault is the count of quotes that cannot be true for the same reason; nil for one that can be.
func (c *feedCounts) fault(q sdk.Quote, now time.Time) *atomic.Uint64 {
	switch {
	case q.Price.Or(0) <= 0:
		return &c.invalidPrice
	case q.AsOf.After(now.Add(maxAhead)):
		return &c.future
	case q.AsOf.Before(now.Add(-maxAge)):
		return &c.ancient
	default:
		return nil
	}
}

// background is how long figures of another source are used.
func (m *merger) background() time.Duration { return max(10*m.poll, minBackground) }

// speaks reports whether a source has said something of a symbol recently enough to keep the others from it.
func (m *merger) speaks(l *line, source int, now time.Time) bool {
	allowed := m.quiet
	if !m.voices[source].streams {
		allowed += m.poll
	}
	return !l.heard[source].IsZero() && now.Sub(l.heard[source]) < allowed
}

func (m *merger) betterSpeaks(l *line, source int, now time.Time) bool {
	for better := range source {
		if m.speaks(l, better, now) {
			return true
		}
	}
	return false
}

// accept takes a quote as the newest of its symbol.
func (m *merger) accept(l *line, source int, q sdk.Quote, now time.Time) {
	if l.left && l.speaker >= 0 && source > l.speaker {
		m.voices[l.speaker].lost.Add(1)
	}
	l.last, l.speaker, l.left = q, source, false
	m.wait(m.withBackground(l, source, q, now))
}

// wait leaves a quote to be published.
func (m *merger) wait(q sdk.Quote) {
	newer(m.waiting, q)
	m.signal()
}

func (m *merger) signal() {
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

// takeGlobal leaves the state of the market to be published if it is newer than what waits.
func (m *merger) takeGlobal(g sdk.Global) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.global == nil || g.AsOf.After(m.global.AsOf) {
		m.global = &g
		m.signal()
	}
}

// collect takes what waits, at most so many quotes.
func (m *merger) collect(most int) (quotes []sdk.Quote, global *sdk.Global) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for symbol, q := range m.waiting {
		if len(quotes) == most {
			m.signal()
			break
		}
		quotes = append(quotes, q)
		delete(m.waiting, symbol)
	}
	global, m.global = m.global, nil
	return quotes, global
}

// giveBack lets quotes wait again that may not have been published.
func (m *merger) giveBack(quotes []sdk.Quote, global *sdk.Global) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, q := range quotes {
		m.wait(q)
	}
	if global != nil && m.global == nil {
		m.global = global
		m.signal()
	}
}

// sweep lets the next source speak for symbols that all better ones are silent about. It returns the sources that are to
// be asked at once.
func (m *merger) sweep() (ask []int) {
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.lines {
		if l.speaker >= 0 && !l.left && !m.speaks(l, l.speaker, now) {
			l.left = true
			for next := l.speaker + 1; next < len(m.voices); next++ {
				if !m.voices[next].streams && !slices.Contains(ask, next) {
					ask = append(ask, next)
				}
			}
		}
		for source := range m.voices {
			if q := l.said[source]; q.AsOf.After(l.last.AsOf) && m.counts.fault(q, now) == nil {
				m.accept(l, source, q, now)
			}
			if m.speaks(l, source, now) {
				break
			}
		}
	}
	return ask
}

// withBackground fills in what the speaker does not know from what the other sources said last.
func (m *merger) withBackground(l *line, speaker int, q sdk.Quote, now time.Time) sdk.Quote {
	var others []int
	for source, at := range l.told {
		if source != speaker && !at.IsZero() && now.Sub(at) < m.background() {
			others = append(others, source)
		}
	}
	slices.SortStableFunc(others, func(a, b int) int { return cmp.Compare(l.said[b].AsOf.UnixNano(), l.said[a].AsOf.UnixNano()) })
	for _, source := range others {
		if given := fillIn(&q, l.said[source]); len(given) > 0 {
			note := listed(given) + " are " + m.voices[source].name + "'s"
			if q.Note != "" {
				note = q.Note + "; " + note
			}
			q.Note = note
		}
	}
	return q
}

// fillIn takes figures over that a quote lacks, and returns what they are called. What is one upstream's own view of the
// price and of the last day is not among them.
func fillIn(q *sdk.Quote, from sdk.Quote) (given []string) {
	number := func(into *sdk.Number, from sdk.Number) bool {
		if into.IsKnown() || !from.IsKnown() {
			return false
		}
		*into = from
		return true
	}
	if number(&q.MarketCap, from.MarketCap) {
		given = append(given, "market cap")
	}
	if q.Rank == 0 && from.Rank > 0 {
		q.Rank = from.Rank
		given = append(given, "rank")
	}
	if q.Supply == (sdk.Supply{}) && from.Supply != (sdk.Supply{}) {
		q.Supply = from.Supply
		given = append(given, "supply")
	}
	for _, change := range []struct {
		into *sdk.Number
		from sdk.Number
		over string
	}{
		{&q.Change1h, from.Change1h, "1h"},
		{&q.Change7d, from.Change7d, "7d"},
		{&q.Change30d, from.Change30d, "30d"},
		{&q.Change1y, from.Change1y, "1y"},
	} {
		if number(change.into, change.from) {
			given = append(given, "change over "+change.over)
		}
	}
	if q.ATH == (sdk.Mark{}) && from.ATH != (sdk.Mark{}) {
		q.ATH = from.ATH
		given = append(given, "all-time high")
	}
	if q.ATL == (sdk.Mark{}) && from.ATL != (sdk.Mark{}) {
		q.ATL = from.ATL
		given = append(given, "all-time low")
	}
	if q.Name == "" {
		q.Name = from.Name
	}
	if q.ID == "" {
		q.ID = from.ID
	}
	return given
}

// listed joins words as a sentence does.
func listed(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
