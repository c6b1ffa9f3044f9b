package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// linkPing and linkSilence are how often the subscription is pinged and how long it may say nothing: a link that
	// went silent is noticed within their sum.
	linkPing    = time.Second
	linkSilence = 5 * time.Second
	// linkSettled is how long a session must have stood for the next to be tried without a pause.
	linkSettled = time.Second
	// firstPause and longestPause bound the pauses between attempts.
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
)

var errSilent = errors.New("the subscription went silent")

// link is the state of the subscription.
type link struct {
	// session numbers the subscription that stands, 0 while none does.
	session atomic.Uint64
	heard   mark
	// tried is closed once the first attempt to subscribe has ended.
	tried chan struct{}

	mu       sync.Mutex
	sessions uint64
	// end ends the present session.
	end context.CancelFunc
}

// mark is a number that others wait for.
type mark struct {
	mu    sync.Mutex
	value uint64
	moved chan struct{}
}

// set moves the mark, which may have to go back when Redis was replaced by another.
func (m *mark) set(value uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.value = value
	if m.moved != nil {
		close(m.moved)
		m.moved = nil
	}
}

// at returns where the mark is.
func (m *mark) at() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.value
}

// reached waits until the mark is at least value and reports whether it is before the context ends.
func (m *mark) reached(ctx context.Context, value uint64) bool {
	for {
		m.mu.Lock()
		if m.value >= value {
			m.mu.Unlock()
			return true
		}
		if m.moved == nil {
			m.moved = make(chan struct{})
		}
		moved := m.moved
		m.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return false
		}
	}
}

// renew begins a session, in which nothing in L1 is confirmed yet. It comes after the journal's flush, so that a fill
// that slips in between is checked rather than trusted.
func (l *link) renew(end context.CancelFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions++
	if end != nil {
		l.end = end
	}
	l.session.Store(l.sessions)
}

// breakOff ends the present session, so that the link has to prove itself again.
func (l *link) breakOff() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end != nil {
		l.end()
	}
}

// follow keeps the subscription up until the context ends.
func (c *cache) follow(ctx context.Context) {
	pause := time.Duration(0)
	tried := sync.OnceFunc(func() { close(c.link.tried) })
	defer tried()
	for {
		stood, err := c.subscription(ctx, tried)
		if ctx.Err() != nil {
			return
		}
		switch {
		case stood >= linkSettled:
			pause = 0
			c.logger.LogAttrs(ctx, slog.LevelDebug, "subscription lost", slog.Any("error", err))
		case stood == 0:
			c.l2gate.failed(ctx, slog.Any("error", err))
			fallthrough
		default:
			pause = min(max(2*pause, firstPause), longestPause)
		}
		tried()
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause/2 + rand.N(pause/2+1)):
		}
	}
}

// subscription is one session: it subscribes, brings L2 back, and follows what other hosts tell until the link breaks.
// It returns how long the session stood, 0 when it never did.
func (c *cache) subscription(ctx context.Context, stands func()) (time.Duration, error) {
	ctx, end := context.WithCancel(ctx)
	sub := c.l2.client.Subscribe(ctx)
	// The reader waits without a time limit; closing is what ends it.
	closed := make(chan struct{})
	context.AfterFunc(ctx, func() {
		_ = sub.Close() // It is read from until it fails; what closing says adds nothing.
		close(closed)
	})
	defer func() {
		end()
		<-closed
	}()
	if err := c.subscribe(ctx, sub); err != nil {
		return 0, err
	}

	c.failures.Store(0)
	// What other hosts said while nobody listened is lost.
	c.journal.flush()
	c.link.renew(end)
	defer c.link.session.Store(0)
	c.l2gate.works(ctx)
	stands()

	start := time.Now()
	var lastHeard atomic.Int64
	broken := make(chan error, 1)
	var reader sync.WaitGroup
	reader.Go(func() { broken <- c.listen(ctx, sub, func() { lastHeard.Store(int64(time.Since(start))) }) })
	defer reader.Wait()
	defer end()

	ping := time.NewTicker(linkPing)
	defer ping.Stop()
	for {
		select {
		case err := <-broken:
			return max(time.Since(start), 1), err
		case <-ping.C:
			if time.Since(start)-time.Duration(lastHeard.Load()) > linkSilence {
				return time.Since(start), errSilent
			}
			if err := sub.Ping(ctx); err != nil {
				return time.Since(start), err
			}
			// A debt that could not be paid when the session began is tried again.
			if err := c.payDebts(ctx); err != nil {
				c.logger.LogAttrs(ctx, slog.LevelDebug, "invalidation of L2 is still owed", slog.Any("error", err))
			}
		}
	}
}

// subscribe does what must be done before L2 may be used: listen, learn how far the generations are, and make up for
// the invalidations that Redis missed.
func (c *cache) subscribe(ctx context.Context, sub *redis.PubSub) error {
	bounded, cancel := context.WithTimeout(ctx, c.l2.timeout)
	defer cancel()
	if err := sub.Subscribe(bounded, c.l2.channel()); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if _, err := sub.ReceiveTimeout(bounded, c.l2.timeout); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	generation, err := c.l2.generation(ctx)
	if err != nil {
		return fmt.Errorf("ask for the generation: %w", err)
	}
	c.link.heard.set(generation)
	return c.payDebts(ctx)
}

// listen takes in what other hosts tell until the subscription fails.
func (c *cache) listen(ctx context.Context, sub *redis.PubSub, heard func()) error {
	for {
		got, err := sub.Receive(ctx)
		if err != nil {
			return err
		}
		heard()
		message, ok := got.(*redis.Message)
		if !ok {
			continue
		}
		generation, n, err := parseNotice(message.Payload)
		switch {
		case err != nil:
			// Something else writes into this channel, or another version does. Nothing is known of what it changed.
			c.journal.flush()
			c.link.renew(nil)
		case n.Sender != c.journal.epoch:
			c.hear(n)
		}
		if generation > 0 {
			c.link.heard.set(generation)
		}
	}
}

// hear does what another host's notice asks for.
func (c *cache) hear(n notice) {
	defer c.stats.remote.Add(1)
	switch id := n.Sender + " " + n.ID; n.Kind {
	case noticeBegin:
		c.journal.begin(id, n.Patterns)
	case noticeEnd, noticeChanged:
		c.journal.end(id, n.Patterns)
	case noticeFlush:
		c.journal.flush()
		c.link.renew(nil)
	}
}

// debts are the invalidations that Redis has not been told of.
type debts struct {
	// any is a quick look.
	any atomic.Bool

	mu       sync.Mutex
	patterns []string
	// all stands for more than maxDebts patterns.
	all bool
	// added counts what was ever added, so that a payment shows whether it came last.
	added uint64
}

const maxDebts = 1024

// add owes patterns.
func (d *debts) add(patterns []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.added++
	if !d.all {
		d.patterns = append(d.patterns, patterns...)
	}
	if len(d.patterns) > maxDebts {
		d.patterns, d.all = nil, true
	}
	d.any.Store(true)
}

// owes reports whether what Redis holds under a key is not to be believed.
func (d *debts) owes(key string) bool {
	if !d.any.Load() {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all || matchesAny(d.patterns, key)
}

// due returns what is owed, and a function that strikes it out once it is paid.
func (d *debts) due() ([]string, func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	patterns, all, added := slices.Clone(d.patterns), d.all, d.added
	if all {
		patterns = []string{"*"}
	}
	return patterns, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		switch {
		case all && d.added == added:
			d.all = false
		case !d.all:
			d.patterns = d.patterns[len(patterns):]
		}
		d.any.Store(d.all || len(d.patterns) > 0)
	}
}

// payDebts tells Redis of the invalidations it missed.
func (c *cache) payDebts(ctx context.Context) error {
	for c.debts.any.Load() {
		due, paid := c.debts.due()
		if _, err := c.forgetShared(ctx, due); err != nil {
			return fmt.Errorf("make up for missed invalidations: %w", err)
		}
		paid()
	}
	return nil
}

// forgetShared forgets in L2 and has the other hosts forget. They are told before, so that what they load from now on
// is not taken for old, and after, when nothing old can be promoted any more.
func (c *cache) forgetShared(ctx context.Context, patterns []string) (int, error) {
	n := notice{Sender: c.journal.epoch, Kind: noticeBegin, ID: c.nextID(), Patterns: patterns}
	if err := c.l2.announce(ctx, n.encode()); err != nil {
		return 0, err
	}
	forgotten, err := c.l2.forget(ctx, patterns)
	if err != nil {
		return forgotten, err
	}
	n.Kind = noticeEnd
	return forgotten, c.l2.announce(ctx, n.encode())
}
