package reference

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/service-islands/islands/sdk"
)

// beat is how often the stream of a memory beats, so that the kit need not wait long for itself.
const beat = 100 * time.Millisecond

// memory is a cache and a coordinator in memory.
type memory struct {
	life
	mu      sync.Mutex
	tiers   [2]map[string]sdk.Entry
	off     [2]bool
	version uint64
	gone    []sdk.CacheEvent // what was invalidated, and when
	changed chan struct{}    // closed at the next change

	leases  map[string]held
	tokens  uint64
	msgs    []sdk.Message
	newest  map[string]uint64
	budgets map[string][]time.Time
}

type held struct {
	owner string
	lease sdk.Lease
}

func newMemory(flaw string) *memory {
	return &memory{
		life: life{flaw: flaw}, tiers: [2]map[string]sdk.Entry{{}, {}}, version: 1, changed: make(chan struct{}),
		leases: map[string]held{}, newest: map[string]uint64{}, budgets: map[string][]time.Time{},
	}
}

// Lookup implements sdk.Cache.
func (m *memory) Lookup(ctx context.Context, keys []string) ([]sdk.Lookup, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.is("sorts") {
		keys = slices.Sorted(slices.Values(keys))
	}
	out := make([]sdk.Lookup, len(keys))
	for i, key := range keys {
		out[i] = sdk.Lookup{Entry: sdk.Entry{Key: key}, Version: m.version}
		for t, tier := range m.tiers {
			if e, ok := tier[key]; ok && !m.off[t] && (time.Now().Before(e.StaleUntil) || m.is("for ever")) {
				out[i].Found, out[i].Entry, out[i].Tier = true, e, []string{"l1", "l2"}[t]
				break
			}
		}
	}
	return out, nil
}

// Fill implements sdk.Cache.
func (m *memory) Fill(ctx context.Context, entries []sdk.Entry) (int, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := 0
	for _, e := range entries {
		raced := slices.ContainsFunc(m.gone, func(g sdk.CacheEvent) bool {
			return (e.Version != 0 || m.is("always asks")) && e.Version < g.Version &&
				slices.ContainsFunc(g.Patterns, func(p string) bool { return matches([]rune(p), []rune(e.Key)) })
		})
		_, known := m.tiers[0][e.Key]
		if (raced && !m.is("forgets races")) || (!time.Now().Before(e.StaleUntil) && !m.is("takes the late")) || (known && m.is("first wins")) {
			continue
		}
		taken++
		e.Value = slices.Clone(e.Value)
		if len(e.Value) > 100 && m.is("cuts") {
			e.Value = e.Value[:100]
		}
		e.Version = 0
		for t := range m.tiers {
			if !m.off[t] {
				m.tiers[t][e.Key] = e
			}
		}
	}
	return taken, nil
}

// Invalidate implements sdk.Cache.
func (m *memory) Invalidate(ctx context.Context, patterns []string) (int, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for key := range m.tiers[1] {
		for _, p := range patterns {
			if p == key || (matches([]rune(p), []rune(key)) && !m.is("no globs")) {
				delete(m.tiers[0], key)
				delete(m.tiers[1], key)
				n++
				break
			}
		}
	}
	m.version++
	if m.is("holes") {
		m.version++
	}
	m.gone = append(m.gone, sdk.CacheEvent{Type: sdk.CacheInvalidated, Epoch: "e", Version: m.version, Patterns: patterns})
	close(m.changed)
	m.changed = make(chan struct{})
	return n, nil
}

// Watch implements sdk.Cache.
func (m *memory) Watch(ctx context.Context, emit func(sdk.CacheEvent) error) error {
	m.mu.Lock()
	seen, changed, version := len(m.gone), m.changed, m.version
	m.mu.Unlock()
	tell := func(e sdk.CacheEvent) error {
		if err := emit(e); err != nil && !m.is("goes on") {
			return err
		}
		return nil
	}
	hello := sdk.CacheEvent{Type: sdk.CacheHello, Epoch: "e", Version: version}
	if m.is("rude") {
		hello.Type = sdk.CacheHeartbeat
	}
	if err := tell(hello); err != nil {
		return err
	}
	if m.is("goes on") {
		_ = tell(hello)
	}
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			if m.is("leaves without a word") {
				return nil
			}
			return ctx.Err()
		case <-ticker.C:
			if m.is("mute") {
				continue
			}
			if err := tell(sdk.CacheEvent{Type: sdk.CacheHeartbeat, Epoch: "e", Version: version}); err != nil {
				return err
			}
		case <-changed:
		}
		m.mu.Lock()
		news := slices.Clone(m.gone[seen:])
		seen, changed, version = len(m.gone), m.changed, m.version
		m.mu.Unlock()
		for _, e := range news {
			if err := tell(e); err != nil {
				return err
			}
		}
	}
}

// SetTier implements sdk.Cache.
func (m *memory) SetTier(_ context.Context, tier string, enabled bool) error {
	i := slices.Index([]string{"l1", "l2"}, tier)
	if i < 0 && !m.is("any tier") {
		return sdk.Errorf(sdk.NotFound, "no tier %q", tier)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.off[max(0, i)] = !enabled
	return nil
}

// Acquire implements sdk.Coordinator.
func (m *memory) Acquire(ctx context.Context, req sdk.LeaseRequest) (sdk.Lease, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return sdk.Lease{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.leases[req.Name]
	left := time.Until(h.lease.ExpiresAt)
	standing := ok && (left > 0 || m.is("for ever")) && h.owner != ""
	if standing && h.owner != req.Owner && !m.is("generous") {
		return sdk.Lease{}, &sdk.Error{Kind: sdk.Conflict, RetryAfter: max(left, 1)}
	}
	if (!standing || h.owner != req.Owner) && (m.tokens == 0 || !m.is("one token")) {
		m.tokens++
		h.lease.Token = m.tokens
	}
	h.owner, h.lease.Token, h.lease.ExpiresAt = req.Owner, max(h.lease.Token, 1), time.Now().Add(req.TTL)
	m.leases[req.Name] = h
	return h.lease, nil
}

// Release implements sdk.Coordinator.
func (m *memory) Release(_ context.Context, req sdk.LeaseRequest) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.leases[req.Name]; h.owner == req.Owner || m.is("any may release") {
		h.owner = ""
		m.leases[req.Name] = h
	}
	return nil
}

// Publish implements sdk.Coordinator.
func (m *memory) Publish(ctx context.Context, msg sdk.Message) (string, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if msg.Token != 0 && msg.Token < m.newest[msg.Channel] && !m.is("no fence") {
		return "", sdk.Errorf(sdk.Conflict, "a token that is too old")
	}
	m.newest[msg.Channel] = max(m.newest[msg.Channel], msg.Token)
	msg.ID = strconv.Itoa(len(m.msgs) + 1)
	m.msgs = append(m.msgs, msg)
	close(m.changed)
	m.changed = make(chan struct{})
	return msg.ID, nil
}

// Subscribe implements sdk.Coordinator.
func (m *memory) Subscribe(ctx context.Context, channel, after string, emit func(sdk.Message) error) error {
	at, err := strconv.Atoi(after)
	m.mu.Lock()
	if err != nil {
		at = len(m.msgs)
		if m.is("replays always") {
			at = 0
		}
	}
	m.mu.Unlock()
	for {
		m.mu.Lock()
		news, changed := slices.Clone(m.msgs[at:]), m.changed
		m.mu.Unlock()
		at += len(news)
		if m.is("backwards") {
			slices.Reverse(news)
		}
		for _, msg := range news {
			if msg.Channel != channel {
				continue
			}
			if err := emit(msg); err != nil && !m.is("goes on") {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// Take implements sdk.Coordinator.
func (m *memory) Take(ctx context.Context, req sdk.BudgetRequest) error {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := slices.DeleteFunc(m.budgets[req.Name], func(at time.Time) bool { return time.Since(at) > req.Window && !m.is("for ever") })
	if len(taken)+req.N > req.Limit && !m.is("generous") {
		m.budgets[req.Name] = taken
		return &sdk.Error{Kind: sdk.RateLimited, RetryAfter: max(time.Millisecond, req.Window-time.Since(taken[0]))}
	}
	for range req.N {
		taken = append(taken, time.Now())
	}
	m.budgets[req.Name] = taken
	return nil
}

// matches reports whether a key matches a glob, in the plainest words.
func matches(glob, key []rune) bool {
	switch {
	case len(glob) == 0:
		return len(key) == 0
	case glob[0] == '*':
		return matches(glob[1:], key) || (len(key) > 0 && matches(glob, key[1:]))
	default:
		return len(key) > 0 && (glob[0] == '?' || glob[0] == key[0]) && matches(glob[1:], key[1:])
	}
}
