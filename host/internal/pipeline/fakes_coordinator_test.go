package pipeline

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// fakeRedis is what hosts share: leases and one log, by the rules of the coordinator role.
type fakeRedis struct {
	mu       sync.Mutex
	keep     int // messages
	owner    string
	token    uint64
	until    time.Time
	newest   uint64
	messages []sdk.Message
	ids      []uint64
	lastID   uint64
	moved    chan struct{}
	flushed  bool // ever
	// expired is when the leases ended that another owner took over, by token.
	expired map[uint64]time.Time
}

func newFakeRedis() *fakeRedis {
	return &fakeRedis{keep: 1024, moved: make(chan struct{}), expired: map[uint64]time.Time{}}
}

func (r *fakeRedis) wake() {
	close(r.moved)
	r.moved = make(chan struct{})
}

// flush loses everything. Ids go on from the time, or begin anew.
func (r *fakeRedis) flush(restart bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.owner, r.token, r.newest, r.messages, r.ids, r.flushed = "", 0, 0, nil, nil, true
	if restart {
		r.lastID = 0
	}
	r.wake()
}

// trim keeps the newest messages only.
func (r *fakeRedis) trim(keep int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if over := len(r.messages) - keep; over > 0 {
		r.messages, r.ids = r.messages[over:], r.ids[over:]
	}
}

// leader is who holds the lease.
func (r *fakeRedis) leader() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(r.until) {
		return r.owner
	}
	return ""
}

// records lists what is in the log.
func (r *fakeRedis) records() []record {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []record
	for _, m := range r.messages {
		if rec, err := decodeRecord(m.Payload); err == nil {
			out = append(out, *rec)
		}
	}
	return out
}

func (r *fakeRedis) acquire(req sdk.LeaseRequest) (sdk.Lease, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	held := r.owner != "" && now.Before(r.until)
	if held && r.owner != req.Owner {
		return sdk.Lease{}, &sdk.Error{Kind: sdk.Conflict, RetryAfter: r.until.Sub(now)}
	}
	if !held {
		r.expired[r.token] = r.until
		r.token = max(r.token+1, uint64(now.UnixMicro()))
	}
	r.owner, r.until = req.Owner, now.Add(req.TTL)
	return sdk.Lease{Token: r.token, ExpiresAt: r.until}, nil
}

func (r *fakeRedis) release(req sdk.LeaseRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.owner == req.Owner {
		r.until = time.Time{}
	}
}

func (r *fakeRedis) append(msg sdk.Message) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if msg.Token != 0 {
		if msg.Token < r.newest {
			return "", sdk.Errorf(sdk.Conflict, "an old token")
		}
		r.newest = msg.Token
	}
	r.lastID++
	msg.ID = fmt.Sprint(r.lastID)
	r.messages, r.ids = append(r.messages, msg), append(r.ids, r.lastID)
	if over := len(r.messages) - r.keep; over > 0 {
		r.messages, r.ids = r.messages[over:], r.ids[over:]
	}
	r.wake()
	return msg.ID, nil
}

// fakeCoordinator is one host's way to the fake Redis, which can be cut, frozen, and made to lose answers.
type fakeCoordinator struct {
	process.Island
	redis *fakeRedis

	mu sync.Mutex
	// down refuses every call and breaks every reading; deaf breaks readings alone, leaseless refuses the lease alone.
	down, deaf, leaseless bool
	// frozen lets every call wait until it is closed, nil for none.
	frozen chan struct{}
	// late is how long the next publication is under way before it is appended, while its caller gives up on it;
	// negative for one that is lost.
	late time.Duration
	// swallow says which messages are lost in a reading that stands, as by a flush: not of what was there when it began. Nil
	// for none.
	swallow func(msg sdk.Message) bool
	// stuck is how many releases are lost.
	stuck int
	cut   chan struct{} // closed when readings are to break
}

func newFakeCoordinator(redis *fakeRedis) *fakeCoordinator {
	return &fakeCoordinator{redis: redis, cut: make(chan struct{})}
}

func (c *fakeCoordinator) set(change func(c *fakeCoordinator)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
	if c.down || c.deaf || c.frozen != nil {
		close(c.cut)
		c.cut = make(chan struct{})
	}
}

// swallowOne lets the next message that a standing reading brings be lost.
func (c *fakeCoordinator) swallowOne() {
	c.set(func(c *fakeCoordinator) {
		c.swallow = func(sdk.Message) bool {
			c.swallow = nil
			return true
		}
	})
}

// freeze holds every call back, and what was read too, until the function it returns is called.
func (c *fakeCoordinator) freeze() (thaw func()) {
	frozen := make(chan struct{})
	c.set(func(c *fakeCoordinator) { c.frozen = frozen })
	return func() {
		c.set(func(c *fakeCoordinator) { c.frozen = nil })
		close(frozen)
	}
}

// pass waits while the way is frozen. A call that is frozen goes through afterwards, although nobody may wait for it.
func (c *fakeCoordinator) pass(ctx context.Context) (late time.Duration, err error) {
	c.mu.Lock()
	down, frozen := c.down, c.frozen
	c.mu.Unlock()
	if down {
		return 0, sdk.Errorf(sdk.Unavailable, "Redis is away")
	}
	if frozen != nil {
		select {
		case <-frozen:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	late, c.late = c.late, 0
	return late, nil
}

func (c *fakeCoordinator) Acquire(ctx context.Context, req sdk.LeaseRequest) (sdk.Lease, error) {
	if err := c.plain(ctx); err != nil {
		return sdk.Lease{}, err
	}
	c.mu.Lock()
	refused := c.leaseless
	c.mu.Unlock()
	if refused {
		return sdk.Lease{}, sdk.Unavailable
	}
	return c.redis.acquire(req)
}

// plain is pass for calls that do not come late.
func (c *fakeCoordinator) plain(ctx context.Context) error {
	c.mu.Lock()
	kept := c.late
	c.late = 0
	c.mu.Unlock()
	_, err := c.pass(ctx)
	c.mu.Lock()
	c.late = kept
	c.mu.Unlock()
	return err
}

func (c *fakeCoordinator) Release(ctx context.Context, req sdk.LeaseRequest) error {
	if err := c.plain(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	stuck := c.stuck > 0
	if stuck {
		c.stuck--
	}
	c.mu.Unlock()
	if stuck {
		return sdk.Unavailable
	}
	c.redis.release(req)
	return nil
}

func (c *fakeCoordinator) Publish(ctx context.Context, msg sdk.Message) (string, error) {
	late, err := c.pass(ctx)
	switch {
	case err != nil:
		return "", err
	case late < 0:
		<-ctx.Done()
		return "", ctx.Err()
	case late > 0:
		time.AfterFunc(late, func() { _, _ = c.redis.append(msg) })
		<-ctx.Done()
		return "", ctx.Err()
	}
	return c.redis.append(msg)
}

func (c *fakeCoordinator) Subscribe(ctx context.Context, _, after string, emit func(sdk.Message) error) error {
	if err := c.plain(ctx); err != nil {
		return err
	}
	var position uint64
	if _, err := fmt.Sscan(after, &position); err != nil {
		return sdk.InvalidArgument
	}
	for first := true; ; first = false {
		c.mu.Lock()
		cut, refused := c.cut, c.down || c.deaf
		c.mu.Unlock()
		if refused {
			return sdk.Errorf(sdk.Unavailable, "Redis is away")
		}
		c.redis.mu.Lock()
		var news []sdk.Message
		for i, id := range c.redis.ids {
			if id > position {
				news = append(news, c.redis.messages[i])
			}
		}
		moved := c.redis.moved
		c.redis.mu.Unlock()
		for _, msg := range news {
			c.mu.Lock()
			swallowed := c.swallow != nil && !first && c.swallow(msg)
			c.mu.Unlock()
			if swallowed {
				_, _ = fmt.Sscan(msg.ID, &position)
				continue
			}
			if err := emit(msg); err != nil {
				return err
			}
			_, _ = fmt.Sscan(msg.ID, &position)
		}
		if len(news) > 0 {
			continue
		}
		select {
		case <-moved:
		case <-cut:
			return sdk.Errorf(sdk.Unavailable, "the reading broke")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
