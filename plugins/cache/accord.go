package main

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/service-islands/islands/sdk"
)

const (
	// keptMessages is how many messages of a channel are kept for those who subscribe later.
	keptMessages = 1024
	// windowParts is how finely a budget's window is counted.
	windowParts = 20
	maxName     = 256
	maxTTL      = 24 * time.Hour
	// maxAccords bounds the leases, channels and budgets each that one host without Redis keeps.
	maxAccords = 4096
)

// Acquire implements sdk.Coordinator.
func (c *cache) Acquire(ctx context.Context, req sdk.LeaseRequest) (sdk.Lease, error) {
	if err := c.checkAccord(req.Name, req.Owner); err != nil {
		return sdk.Lease{}, err
	}
	if req.TTL < time.Millisecond || req.TTL > maxTTL {
		return sdk.Lease{}, sdk.Errorf(sdk.InvalidArgument, "lease %q: a TTL of %v is not between 1ms and %v", req.Name, req.TTL, maxTTL)
	}
	return c.accord.Acquire(ctx, req)
}

// Release implements sdk.Coordinator.
func (c *cache) Release(ctx context.Context, req sdk.LeaseRequest) error {
	if err := c.checkAccord(req.Name, req.Owner); err != nil {
		return err
	}
	return c.accord.Release(ctx, req)
}

// Publish implements sdk.Coordinator.
func (c *cache) Publish(ctx context.Context, msg sdk.Message) (string, error) {
	if err := c.checkAccord(msg.Channel); err != nil {
		return "", err
	}
	if len(msg.Payload) > int(c.set.MaxValue) {
		return "", sdk.Errorf(sdk.ResourceExhausted, "a message of %d bytes; the most is %d", len(msg.Payload), c.set.MaxValue)
	}
	return c.accord.Publish(ctx, msg)
}

// Subscribe implements sdk.Coordinator.
func (c *cache) Subscribe(ctx context.Context, channel, after string, emit func(sdk.Message) error) error {
	if err := c.checkAccord(channel); err != nil {
		return err
	}
	if _, ok := parseID(after); after != "" && !ok {
		return sdk.Errorf(sdk.InvalidArgument, "%.40q is not the id of a message", after)
	}
	return c.accord.Subscribe(ctx, channel, after, emit)
}

// Take implements sdk.Coordinator.
func (c *cache) Take(ctx context.Context, req sdk.BudgetRequest) error {
	if err := c.checkAccord(req.Name); err != nil {
		return err
	}
	if req.N < 1 || req.Limit < req.N || req.Window < time.Millisecond || req.Window > maxTTL {
		return sdk.Errorf(sdk.InvalidArgument, "budget %q: %d of %d per %v cannot be had", req.Name, req.N, req.Limit, req.Window)
	}
	return c.accord.Take(ctx, req)
}

func (c *cache) checkAccord(names ...string) error {
	if err := c.running(); err != nil {
		return err
	}
	for _, name := range names {
		if name == "" || len(name) > maxName {
			return sdk.Errorf(sdk.InvalidArgument, "a name or owner has %d bytes; it needs 1 to %d", len(name), maxName)
		}
	}
	return nil
}

// messageID orders the messages of a channel: a time in milliseconds, and a count within it.
type messageID struct{ time, count uint64 }

// parseID reads an id, which may leave the count out.
func parseID(text string) (messageID, bool) {
	first, second, both := strings.Cut(text, "-")
	id := messageID{}
	var err error
	if id.time, err = strconv.ParseUint(first, 10, 64); err != nil {
		return messageID{}, false
	}
	if both {
		if id.count, err = strconv.ParseUint(second, 10, 64); err != nil {
			return messageID{}, false
		}
	}
	return id, true
}

func (id messageID) String() string {
	return strconv.FormatUint(id.time, 10) + "-" + strconv.FormatUint(id.count, 10)
}

func (id messageID) after(other messageID) bool {
	return id.time > other.time || (id.time == other.time && id.count > other.count)
}

// localAccord is the coordinator of a single host.
type localAccord struct {
	now  func() time.Time
	done <-chan struct{}

	mu       sync.Mutex
	leases   map[string]localLease
	channels map[string]*localChannel
	budgets  map[string]*localBudget
}

type localLease struct {
	owner string
	lease sdk.Lease
}

type localChannel struct {
	messages []sdk.Message
	ids      []messageID
	last     messageID
	newest   uint64
	// moved is closed when a message is added.
	moved chan struct{}
}

// localBudget counts by part of the window.
type localBudget struct {
	parts map[int64]int
	until time.Time
}

func newLocalAccord(now func() time.Time, done <-chan struct{}) *localAccord {
	return &localAccord{
		now: now, done: done,
		leases: map[string]localLease{}, channels: map[string]*localChannel{}, budgets: map[string]*localBudget{},
	}
}

var _ sdk.Coordinator = (*localAccord)(nil)

// full is the error for one name too many.
func full(what string) error {
	return sdk.Errorf(sdk.ResourceExhausted, "there are %d %s already", maxAccords, what)
}

func (a *localAccord) Acquire(_ context.Context, req sdk.LeaseRequest) (sdk.Lease, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	held, known := a.leases[req.Name]
	standing := known && now.Before(held.lease.ExpiresAt)
	if standing && held.owner != req.Owner {
		return sdk.Lease{}, heldByAnother(req.Name, held.lease.ExpiresAt.Sub(now))
	}
	if !known && len(a.leases) >= maxAccords {
		for name, l := range a.leases {
			if !now.Before(l.lease.ExpiresAt) {
				delete(a.leases, name)
			}
		}
		if len(a.leases) >= maxAccords {
			return sdk.Lease{}, full("leases")
		}
	}
	token := held.lease.Token
	if !standing {
		token = max(token+1, uint64(max(0, now.UnixMicro())))
	}
	lease := sdk.Lease{Token: token, ExpiresAt: now.Add(req.TTL)}
	a.leases[req.Name] = localLease{owner: req.Owner, lease: lease}
	return lease, nil
}

func heldByAnother(name string, left time.Duration) error {
	return &sdk.Error{
		Kind: sdk.Conflict, Message: "lease " + strconv.Quote(name) + " is held by another owner",
		RetryAfter: max(left, time.Millisecond),
	}
}

func (a *localAccord) Release(_ context.Context, req sdk.LeaseRequest) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if held, known := a.leases[req.Name]; known && held.owner == req.Owner {
		// The token stays, so that the next one is higher.
		held.lease.ExpiresAt = time.Time{}
		a.leases[req.Name] = held
	}
	return nil
}

// channel returns the channel of that name, made if need be, under the lock.
func (a *localAccord) channel(name string) (*localChannel, error) {
	ch := a.channels[name]
	if ch == nil {
		if len(a.channels) >= maxAccords {
			return nil, full("channels")
		}
		ch = &localChannel{moved: make(chan struct{})}
		a.channels[name] = ch
	}
	return ch, nil
}

func (a *localAccord) Publish(_ context.Context, msg sdk.Message) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ch, err := a.channel(msg.Channel)
	if err != nil {
		return "", err
	}
	if msg.Token != 0 && msg.Token < ch.newest {
		return "", fencedOff(msg)
	}
	ch.newest = max(ch.newest, msg.Token)
	if id := (messageID{time: uint64(max(0, a.now().UnixMilli()))}); id.after(ch.last) {
		ch.last = id
	} else {
		ch.last.count++
	}
	msg.ID = ch.last.String()
	msg.Payload = append([]byte(nil), msg.Payload...)
	if len(ch.messages) == keptMessages {
		ch.messages[0] = sdk.Message{}
		ch.messages, ch.ids = ch.messages[1:], ch.ids[1:]
	}
	ch.messages, ch.ids = append(ch.messages, msg), append(ch.ids, ch.last)
	close(ch.moved)
	ch.moved = make(chan struct{})
	return msg.ID, nil
}

func fencedOff(msg sdk.Message) error {
	return sdk.Errorf(sdk.Conflict, "token %d of channel %q is older than the newest", msg.Token, msg.Channel)
}

func (a *localAccord) Subscribe(ctx context.Context, channel, after string, emit func(sdk.Message) error) error {
	position, _ := parseID(after)
	a.mu.Lock()
	ch, err := a.channel(channel)
	if err == nil && after == "" {
		position = ch.last
	}
	a.mu.Unlock()
	if err != nil {
		return err
	}
	for {
		a.mu.Lock()
		var news []sdk.Message
		for i, id := range ch.ids {
			if id.after(position) {
				news = append(news, ch.messages[i:]...)
				position = ch.last
				break
			}
		}
		moved := ch.moved
		a.mu.Unlock()
		for _, msg := range news {
			if err := emit(msg); err != nil {
				return err
			}
		}
		if len(news) > 0 {
			continue
		}
		select {
		case <-moved:
		case <-a.done:
			return errNotRunning()
		case <-ctx.Done():
			return sdk.Errorf(sdk.KindOf(ctx.Err()), "subscribe: %w", ctx.Err())
		}
	}
}

func (a *localAccord) Take(_ context.Context, req sdk.BudgetRequest) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	name := budgetName(req)
	b := a.budgets[name]
	if b == nil {
		if len(a.budgets) >= maxAccords {
			for other, b := range a.budgets {
				if !now.Before(b.until) {
					delete(a.budgets, other)
				}
			}
			if len(a.budgets) >= maxAccords {
				return full("budgets")
			}
		}
		b = &localBudget{parts: map[int64]int{}}
		a.budgets[name] = b
	}
	micros := now.UnixMicro()
	width := partWidth(req.Window)
	current := micros / width
	used := 0
	for at, n := range b.parts {
		if at < current-windowParts {
			delete(b.parts, at)
			continue
		}
		used += n
	}
	if used+req.N <= req.Limit {
		b.parts[current] += req.N
		b.until = now.Add(time.Duration(width*(windowParts+1)) * time.Microsecond)
		return nil
	}
	// The wait ends when enough of the oldest parts have left the window. None is newer than the present one.
	for at := current - windowParts; at <= current; at++ {
		used -= b.parts[at]
		if used+req.N <= req.Limit {
			return spent(req, time.Duration((at+windowParts+1)*width-micros)*time.Microsecond)
		}
	}
	return spent(req, req.Window)
}

// budgetName tells windows of different lengths apart, because their parts are not comparable.
func budgetName(req sdk.BudgetRequest) string {
	return req.Name + ":" + strconv.FormatInt(req.Window.Microseconds(), 10)
}

// partWidth is the length of a part of the window in microseconds, rounded up.
func partWidth(window time.Duration) int64 {
	return (window.Microseconds() + windowParts - 1) / windowParts
}

func spent(req sdk.BudgetRequest, wait time.Duration) error {
	return &sdk.Error{
		Kind: sdk.RateLimited, Message: "budget " + strconv.Quote(req.Name) + " is spent",
		RetryAfter: max(wait, time.Millisecond),
	}
}
