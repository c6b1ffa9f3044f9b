package sdk

import (
	"context"
	"time"
)

// Cache remembers values for a while, in one tier or several. It serves every host that shares its L2. All methods may
// be called concurrently.
//
// A value is fresh until FreshUntil and may be served, marked stale, until StaleUntil; then it is gone from every tier.
// Each invalidation raises the cache's Version; a value whose load began before an invalidation of its key is refused,
// so that the invalidation wins.
type Cache interface {
	// Lookup returns one result per key, in the order of the keys. A miss is not an error. An entry found in a lower tier
	// is promoted at once. An unreachable lower tier is a miss there, reported through Health, not an error.
	Lookup(ctx context.Context, keys []string) ([]Lookup, error)
	// Fill remembers entries in every tier. Entries whose Version lies before an invalidation of their key are left
	// out; so are those past StaleUntil. It returns how many were taken.
	Fill(ctx context.Context, entries []Entry) (int, error)
	// Invalidate forgets every key that equals a pattern or matches it as a glob (* any run, ? any one character), here
	// and on every host that shares L2. It returns how many keys were forgotten in the largest tier.
	Invalidate(ctx context.Context, patterns []string) (int, error)
	// Watch calls emit with what happens to keys until the context ends or emit fails, and returns why. The first event
	// is a Hello, sent at once.
	Watch(ctx context.Context, emit func(CacheEvent) error) error
	// SetTier takes a tier ("l1" or "l2") out or back in, by an operator's word. NotFound when there is no such tier.
	SetTier(ctx context.Context, tier string, enabled bool) error
}

// Entry is a remembered value.
type Entry struct {
	Key string
	// Value is opaque to the cache.
	Value []byte
	// StoredAt is when the value was loaded.
	StoredAt   time.Time
	FreshUntil time.Time
	StaleUntil time.Time
	// Version is the cache's Version when the load of the value began; 0 fills unconditionally.
	Version uint64
}

// Lookup is the answer for one key.
type Lookup struct {
	Found bool
	// Entry is what was found; of a miss it holds the key alone.
	Entry Entry
	// Tier the entry was found in, "l1" or "l2"; empty for a miss.
	Tier string
	// Version of the cache as the look-up began: what a load that follows hands to Fill.
	Version uint64
}

// CacheEventType is what happened to keys.
type CacheEventType uint8

// The events there are.
const (
	CacheHello       CacheEventType = iota + 1 // the stream stands; Epoch and Version are the cache's
	CacheInvalidated                           // keys or globs in Patterns are no longer true
	CacheFlushed                               // anything may have changed: L2 was away, or messages were lost
	CacheHeartbeat                             // nothing happened for a while
)

// CacheEvent tells a watcher what happened. Version rises by one with each CacheInvalidated and CacheFlushed of one
// epoch, so that a hole shows; a Hello and a Heartbeat repeat the version last sent.
type CacheEvent struct {
	Type CacheEventType
	// Epoch names one life of the cache's process.
	Epoch    string
	Version  uint64
	Patterns []string
	// Shared is whether an L2 is configured that other hosts may change.
	Shared bool
}

// WatchHeartbeat is how often a Cache sends a CacheHeartbeat on an idle stream. A watcher that hears nothing for three
// of them takes the stream for dead.
const WatchHeartbeat = 2 * time.Second

// Coordinator lets the hosts that share one Redis agree. Only the host uses it. Without Redis it answers for the single
// host, with the same rules. All methods may be called concurrently.
type Coordinator interface {
	// Acquire takes or renews a lease. Conflict when another owner holds it, with RetryAfter. The fencing token rises
	// with every change of owner and is the same for a renewal.
	Acquire(ctx context.Context, req LeaseRequest) (Lease, error)
	// Release gives a lease back; it is not an error when it is no longer held.
	Release(ctx context.Context, req LeaseRequest) error
	// Publish appends a message to a channel's capped log and returns its id. Conflict when Token is not zero and older
	// than the newest token seen on the channel.
	Publish(ctx context.Context, msg Message) (string, error)
	// Subscribe calls emit with every message after the id (empty: from now on; "0": all that is kept) until the context
	// ends or emit fails, and returns why.
	Subscribe(ctx context.Context, channel, after string, emit func(Message) error) error
	// Take asks and records n units of a shared budget in one atomic step. RateLimited with RetryAfter when they are not
	// to be had.
	Take(ctx context.Context, req BudgetRequest) error
}

// LeaseRequest names a lease and who wants it.
type LeaseRequest struct {
	Name  string
	Owner string
	TTL   time.Duration
}

// Lease is held until ExpiresAt.
type Lease struct {
	Token     uint64
	ExpiresAt time.Time
}

// Message is one entry of a channel's log.
type Message struct {
	Channel string
	ID      string
	// Token is the publisher's fencing token, 0 for none.
	Token   uint64
	Payload []byte
}

// BudgetRequest asks for N of Limit units per Window.
type BudgetRequest struct {
	Name   string
	N      int
	Limit  int
	Window time.Duration
}
