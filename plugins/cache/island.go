package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"

	"github.com/service-islands/islands/sdk"
)

// Log lines of a tier's way out and back.
const (
	l1Out  = "L1 cache disabled, using L2 only"
	l1Back = "L1 cache enabled"
	l2Out  = "L2 cache disabled, using L1 + database"
	l2Back = "L2 cache enabled"
)

const (
	// tolerated is how many failures of Redis in a row take L2 out.
	tolerated = 3
	// upkeepEvery is how often L1 is probed, and sweepEvery how many probes lie between two sweeps of it.
	upkeepEvery = 5 * time.Second
	sweepEvery  = 6
	// firstLink bounds how long Initialize waits for Redis to answer.
	firstLink = time.Second
	minMemory = 64 << 10
)

var (
	_ sdk.IslandComponent = (*cache)(nil)
	_ sdk.Cache           = (*cache)(nil)
	_ sdk.Coordinator     = (*cache)(nil)
)

// cache is the island.
type cache struct {
	// now is the clock. The probe of L1 is a field so that a test can make it fail.
	now   func() time.Time
	probe func(*memory) bool

	// ready guards everything below: it is closed when Initialize has succeeded, done when Shutdown begins.
	life  sync.Mutex
	ready atomic.Bool
	done  chan struct{}
	ended bool
	stop  context.CancelFunc
	work  sync.WaitGroup

	set     settings
	logger  *slog.Logger
	journal *journal
	l1      *memory
	l1gate  *gate
	// l2 is nil without Redis.
	l2       *shared
	l2gate   *gate
	link     link
	debts    debts
	failures atomic.Int64
	ids      atomic.Uint64
	stats    stats
	// accord is the coordinator.
	accord sdk.Coordinator
}

func newCache() *cache {
	return &cache{now: time.Now, probe: (*memory).probe, done: make(chan struct{})}
}

// Initialize opens L1 and, with a redis_url, begins to follow Redis. It waits a moment for Redis to answer, so that a
// host that starts beside a running one is told of everything from the first look-up on.
func (c *cache) Initialize(ctx context.Context, cfg sdk.Config) error {
	if err := c.open(ctx, cfg); err != nil {
		return err
	}
	if c.l2 == nil {
		return nil
	}
	select {
	case <-c.link.tried:
	case <-time.After(firstLink):
	case <-ctx.Done():
	}
	return nil
}

func (c *cache) open(ctx context.Context, cfg sdk.Config) error {
	c.life.Lock()
	defer c.life.Unlock()
	if c.ended {
		return errNotRunning()
	}
	if c.ready.Load() {
		return sdk.Errorf(sdk.Internal, "the cache is initialized already")
	}
	if err := cfg.Decode(&c.set); err != nil {
		return err
	}
	if err := c.set.check(); err != nil {
		return err
	}
	var options *redis.Options
	if c.set.RedisURL != "" {
		var err error
		if options, err = redisOptions(c.set.RedisURL, c.set.L2Timeout); err != nil {
			return err
		}
	}
	epoch, err := newEpoch()
	if err != nil {
		return err
	}
	c.logger = cfg.Logger
	if c.logger == nil {
		c.logger = slog.New(slog.DiscardHandler)
	}
	c.l1 = newMemory(int64(c.set.MaxMemory), c.set.MaxEntries, c.now)
	c.l1gate = newGate(c.logger, l1Out, l1Back)
	c.l2gate = newGate(c.logger, l2Out, l2Back)
	c.journal = newJournal(epoch, options != nil, c.now, c.l1.drop)
	c.accord = newLocalAccord(c.now, c.done)

	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop = stop
	if options != nil {
		connect := connector(options)
		c.l2 = &shared{
			client: connect(poolSize), connect: connect, namespace: c.set.Namespace, timeout: c.set.L2Timeout, now: c.now,
			announcer: redis.NewScript(announceScript), observe: c.observe,
		}
		c.link.tried = make(chan struct{})
		c.accord = newRedisAccord(c.l2, c.now, c.done)
		c.work.Go(func() { c.follow(running) })
	}
	c.work.Go(func() { c.upkeep(running) })
	c.ready.Store(true)
	return nil
}

// check looks at what the types of the settings leave open.
func (s settings) check() error {
	refuse := func(setting, wants string) error {
		return &sdk.Error{
			Kind: sdk.InvalidArgument, Setting: setting, Message: fmt.Sprintf("setting %q: wants %s", setting, wants),
		}
	}
	strange := func(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune(" {}", r) }
	switch {
	case s.MaxMemory < minMemory:
		return refuse("max_memory", `at least "64KiB"`)
	case s.MaxEntries < 1:
		return refuse("max_entries", "at least 1")
	case s.MaxValue < 1:
		return refuse("max_value", "at least 1 byte")
	case s.Namespace == "" || len(s.Namespace) > 64 || strings.ContainsFunc(s.Namespace, strange):
		return refuse("namespace", "1 to 64 printable characters without spaces or braces")
	case s.L2Timeout < 10*time.Millisecond || s.L2Timeout > 10*time.Second:
		return refuse("l2_timeout", `a duration from "10ms" to "10s"`)
	default:
		return nil
	}
}

func newEpoch() (string, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("make an epoch: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// errNotRunning says that the island was not initialized or was shut down.
func errNotRunning() error { return sdk.Errorf(sdk.Unavailable, "the cache is not running") }

// running reports whether calls can be answered.
func (c *cache) running() error {
	if !c.ready.Load() {
		return errNotRunning()
	}
	return nil
}

func (c *cache) nextID() string { return strconv.FormatUint(c.ids.Add(1), 10) }

// upkeep probes L1 and sweeps what has expired.
func (c *cache) upkeep(ctx context.Context) {
	ticker := time.NewTicker(upkeepEvery)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.probeL1(ctx)
			if n%sweepEvery == 0 {
				c.l1.sweep()
			}
		}
	}
}

// probeL1 takes L1 out when it does not remember, and back in when it does. What it held is dropped both times: it was
// not kept up to date in between.
func (c *cache) probeL1(ctx context.Context) {
	healthy := c.probe(c.l1)
	_, broken := c.l1gate.state()
	switch {
	case healthy == !broken:
	case healthy:
		c.l1.clear()
		c.l1gate.works(ctx)
	default:
		c.l1gate.failed(ctx, slog.String("reason", "it does not remember"))
		c.l1.clear()
	}
}

// observe learns from an exchange with Redis. Failures of the caller's own making, and a full memory, are not taken for
// an unreachable Redis.
func (c *cache) observe(ctx context.Context, took time.Duration, err error) {
	c.stats.l2Nanoseconds.Add(took.Nanoseconds())
	c.stats.l2Exchanges.Add(1)
	if err == nil || errors.Is(err, redis.Nil) {
		c.failures.Store(0)
		return
	}
	if gone(ctx) != nil {
		return
	}
	c.stats.l2Errors.Add(1)
	if redis.HasErrorPrefix(err, "OOM") {
		return
	}
	if c.failures.Add(1) >= tolerated && c.link.session.Load() != 0 {
		c.l2gate.failed(ctx, slog.Any("error", err))
		// The link brings L2 back once Redis answers it.
		c.link.breakOff()
	}
}

// SetTier implements sdk.Cache.
func (c *cache) SetTier(ctx context.Context, tier string, enabled bool) error {
	if err := c.running(); err != nil {
		return err
	}
	switch {
	case tier == "l1" && enabled:
		c.l1.clear()
		c.l1gate.operator(ctx, true)
	case tier == "l1":
		c.l1gate.operator(ctx, false)
		c.l1.clear()
	case tier == "l2" && c.l2 != nil:
		c.l2gate.operator(ctx, enabled)
	case tier == "l2":
		return sdk.Errorf(sdk.NotFound, `no tier "l2": setting "redis_url" is empty`)
	default:
		return sdk.Errorf(sdk.NotFound, "no tier %.20q; the tiers are l1 and l2", tier)
	}
	return nil
}

// Watch implements sdk.Cache.
func (c *cache) Watch(ctx context.Context, emit func(sdk.CacheEvent) error) error {
	if err := c.running(); err != nil {
		return err
	}
	return c.journal.watch(ctx, c.done, emit)
}

// Shutdown ends the watchers and subscribers with Unavailable, waits for everything it started, and forgets L1.
func (c *cache) Shutdown(ctx context.Context) error {
	c.life.Lock()
	defer c.life.Unlock()
	if !c.ended {
		c.ended = true
		close(c.done)
	}
	if !c.ready.Swap(false) {
		return nil
	}
	c.stop()
	waited := make(chan struct{})
	go func() {
		c.work.Wait()
		close(waited)
	}()
	var late error
	select {
	case <-waited:
	case <-ctx.Done():
		// The link is in one exchange with Redis at most, whose time is bounded.
		late = sdk.Errorf(sdk.KindOf(ctx.Err()), "wait for the link: %w", ctx.Err())
	}
	c.l1.stop()
	if c.l2 != nil {
		if err := c.l2.client.Close(); err != nil {
			return errors.Join(late, fmt.Errorf("close the connections to Redis: %w", err))
		}
	}
	return late
}

// checkKey refuses what cannot be a key or a pattern.
func checkKey(what, key string) error {
	switch {
	case key == "":
		return sdk.Errorf(sdk.InvalidArgument, "a %s is empty", what)
	case len(key) > maxKey:
		return sdk.Errorf(sdk.InvalidArgument, "a %s is %d bytes long; the most is %d", what, len(key), maxKey)
	case !utf8.ValidString(key):
		return sdk.Errorf(sdk.InvalidArgument, "%s %.40q is not UTF-8", what, key)
	default:
		return nil
	}
}

// maxKey bounds a key or pattern, in bytes.
const maxKey = 1024
