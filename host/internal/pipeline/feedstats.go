package pipeline

import (
	"sync"
	"sync/atomic"
	"time"
)

// feedCounts are the feed's own figures.
type feedCounts struct {
	ticks, wholes, quotes                                      atomic.Uint64
	late, duplicate, invalidPrice, future, ancient, notAsked   atomic.Uint64
	wentBack, unreadable, fenced, holes                        atomic.Uint64
	takeovers, soloSpells, panics                              atomic.Uint64
	fills, fillFailures, fillRefusals, published, publishFails atomic.Uint64

	mu     sync.Mutex
	mode   FeedMode
	reason string
	epoch  string
	n      uint64
	newest time.Time // when the newest tick was made
}

// FeedMode is the part that this host has in the feed.
type FeedMode string

// The parts there are.
const (
	FeedStarting  FeedMode = "starting"  // it is not known yet whether there are other hosts
	FeedLeading   FeedMode = "leading"   // this host speaks to the sources for all
	FeedFollowing FeedMode = "following" // another host does
	FeedSolo      FeedMode = "solo"      // this host does so for itself alone
)

// FeedStats are the feed's figures since its start, all counted.
type FeedStats struct {
	Mode FeedMode
	// Reason why the host is on its own although there is a coordinator; else empty.
	Reason string
	Epoch  string
	N      uint64
	// Age of the newest tick that was delivered; 0 when there was none.
	Age time.Duration
	// Ticks delivered, and how many of them were whole; Quotes in them.
	Ticks, Wholes, Quotes uint64
	// Quotes that were dropped, by reason. WentBack are those of the log that are older than what this host delivered.
	Late, Duplicate, InvalidPrice, Future, Ancient, NotAsked, WentBack uint64
	// Takeovers is how often this host became the leader, SoloSpells how often it went on alone.
	Takeovers, SoloSpells uint64
	// Panics that ended a step.
	Panics uint64
	// Log records that could not be read, that an overthrown leader wrote, and holes in their sequence.
	Unreadable, Fenced, Holes uint64
	// Published records, and publications that failed.
	Published, PublishFailures uint64
	// Fills of the cache, those that failed, and entries that the cache refused at first.
	Fills, FillFailures, FillRefusals uint64
	Symbols                           int
	Sources                           []FeedSource
	Store                             FeedStore
}

// FeedSource is how a source of the feed does.
type FeedSource struct {
	Name string
	// Streaming is whether the source streams; else it is polled.
	Streaming bool
	// Open is whether the stream stands, or the last poll succeeded.
	Open bool
	// Silent is whether others speak for all its symbols; Reason why it cannot be heard, empty when it can.
	Silent bool
	Reason string
	// LastQuote is when the source last said something.
	LastQuote time.Time
	// Batches of the stream and how often it broke; Polls and how many failed.
	Batches, Breaks, Polls, Failures uint64
	// TakenOver is how often another source took over one of its symbols.
	TakenOver uint64
}

// FeedStore is how the writing to the store does.
type FeedStore struct {
	Waiting                          int
	Batches, Rows, Failures, Dropped uint64
}

// Stats returns the figures as they stand.
func (f *Feed) Stats() FeedStats {
	c := f.counts
	set, _ := f.assets.now()
	s := FeedStats{
		Ticks: c.ticks.Load(), Wholes: c.wholes.Load(), Quotes: c.quotes.Load(),
		Late: c.late.Load(), Duplicate: c.duplicate.Load(), InvalidPrice: c.invalidPrice.Load(), Future: c.future.Load(),
		Ancient: c.ancient.Load(), NotAsked: c.notAsked.Load(), WentBack: c.wentBack.Load(),
		Takeovers: c.takeovers.Load(), SoloSpells: c.soloSpells.Load(), Panics: c.panics.Load(),
		Unreadable: c.unreadable.Load(), Fenced: c.fenced.Load(), Holes: c.holes.Load(),
		Published: c.published.Load(), PublishFailures: c.publishFails.Load(),
		Fills: c.fills.Load(), FillFailures: c.fillFailures.Load(), FillRefusals: c.fillRefusals.Load(),
		Symbols: len(set.asked), Store: f.r.ledger.stats(),
	}
	c.mu.Lock()
	s.Mode, s.Reason, s.Epoch, s.N = c.mode, c.reason, c.epoch, c.n
	if !c.newest.IsZero() {
		s.Age = max(0, f.r.opts.Now().Sub(c.newest))
	}
	c.mu.Unlock()
	if s.Mode == "" {
		s.Mode = FeedStarting
	}
	for _, v := range f.plan.Load().voices {
		s.Sources = append(s.Sources, v.stats())
	}
	return s
}

func (l *ledger) stats() FeedStore {
	return FeedStore{
		Waiting: l.waiting(), Batches: l.batches.Load(), Rows: l.rows.Load(), Failures: l.failures.Load(), Dropped: l.dropped.Load(),
	}
}

func (v *voice) stats() FeedSource {
	s := FeedSource{
		Name: v.name, Streaming: v.streams, Batches: v.batches.Load(), Breaks: v.breaks.Load(), Polls: v.polls.Load(),
		Failures: v.failures.Load(), TakenOver: v.lost.Load(),
	}
	if at := v.lastQuote.Load(); at > 0 {
		s.LastQuote = time.Unix(0, at).UTC()
	}
	v.mu.Lock()
	s.Open, s.Silent, s.Reason = v.open, v.silent, v.reason
	v.mu.Unlock()
	return s
}

// plays notes the part that this host has now.
func (c *feedCounts) plays(mode FeedMode, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mode, c.reason = mode, reason
}

// delivered counts a tick.
func (c *feedCounts) delivered(t Tick) {
	c.ticks.Add(1)
	c.quotes.Add(uint64(len(t.Quotes)))
	if t.Whole {
		c.wholes.Add(1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch, c.n = t.Epoch, t.N
	if t.At.After(c.newest) {
		c.newest = t.At
	}
}
