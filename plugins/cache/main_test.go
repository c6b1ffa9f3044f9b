package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/islandtest/servers"
)

func TestMain(m *testing.M) {
	redis.SetLogger(silent{})
	goleak.VerifyTestMain(m)
}

// clock is a time that only the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// logs keeps what is logged, one line each.
type logs struct {
	mu    sync.Mutex
	text  strings.Builder
	lines []string
}

func (l *logs) Enabled(context.Context, slog.Level) bool { return true }
func (l *logs) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logs) WithGroup(string) slog.Handler            { return l }

func (l *logs) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, r.Level.String()+" "+r.Message)
	fmt.Fprintln(&l.text, r.Level, r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintln(&l.text, a.Key, a.Value)
		return true
	})
	return nil
}

// count returns how often a line was logged.
func (l *logs) count(line string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, logged := range l.lines {
		if logged == line {
			n++
		}
	}
	return n
}

func (l *logs) everything() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// host is a running cache with its log.
type host struct {
	*cache
	log *logs
}

type values = map[string]any

// open starts a cache that ends with the test.
func open(tb testing.TB, set values) host { return openWith(tb, newCache(), set) }

func openWith(tb testing.TB, c *cache, set values) host {
	tb.Helper()
	h := host{cache: c, log: &logs{}}
	if err := c.Initialize(tb.Context(), sdk.Config{Name: "cache", Values: set, Logger: slog.New(h.log)}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Shutdown(context.WithoutCancel(tb.Context())); err != nil {
			tb.Error(err)
		}
	})
	return h
}

// patient bounds an exchange with Redis where the bound is not what is tested: the machine that runs the test may be busy.
const patient = "2s"

// onRedis starts a Redis and the given number of patient hosts that share it.
func onRedis(t *testing.T, hosts int) (*servers.RedisServer, []host) {
	t.Helper()
	return onRedisWithin(t, hosts, patient)
}

// onRedisWithin is onRedis with a bound on an exchange with Redis.
func onRedisWithin(t *testing.T, hosts int, timeout string) (*servers.RedisServer, []host) {
	t.Helper()
	server := servers.Redis(t)
	var opened []host
	for range hosts {
		h := open(t, values{"redis_url": server.URL(), "l2_timeout": timeout})
		h.awaitL2(t)
		opened = append(opened, h)
	}
	return server, opened
}

func (h host) awaitL2(t *testing.T) {
	t.Helper()
	eventually(t, "L2 in use", func() bool { return h.l2gate.inUse() && h.link.session.Load() != 0 })
}

// eventually fails the test when a condition does not come true.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come about", what)
		}
	}
}

// entry is one that is fresh for a minute and kept for an hour.
func entry(key, value string) sdk.Entry {
	now := time.Now()
	return sdk.Entry{
		Key: key, Value: []byte(value), StoredAt: now, FreshUntil: now.Add(time.Minute), StaleUntil: now.Add(time.Hour),
	}
}

func (h host) fill(t *testing.T, entries ...sdk.Entry) int {
	t.Helper()
	n, err := h.Fill(t.Context(), entries)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (h host) lookup(t *testing.T, key string) sdk.Lookup {
	t.Helper()
	found, err := h.Lookup(t.Context(), []string{key})
	if err != nil {
		t.Fatal(err)
	}
	return found[0]
}

// want checks what a look-up finds, written "tier=value" and "" for a miss.
func (h host) want(t *testing.T, key, want string) {
	t.Helper()
	if got := h.answer(t, key); got != want {
		t.Fatalf("look-up of %q: got %q, want %q", key, got, want)
	}
}

func (h host) answer(t *testing.T, key string) string {
	t.Helper()
	l := h.lookup(t, key)
	if !l.Found {
		return ""
	}
	return l.Tier + "=" + string(l.Entry.Value)
}

func (h host) invalidate(t *testing.T, want int, patterns ...string) {
	t.Helper()
	n, err := h.Invalidate(t.Context(), patterns)
	if err != nil || n != want {
		t.Fatalf("invalidate %q: got %d, %v, want %d", patterns, n, err, want)
	}
}

// events collects what Watch emits. It waits for the Hello.
type events struct {
	mu   sync.Mutex
	list []sdk.CacheEvent
}

func (h host) watch(t *testing.T) *events {
	t.Helper()
	e := &events{}
	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		_ = h.Watch(ctx, func(event sdk.CacheEvent) error {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.list = append(e.list, event)
			return nil
		})
	})
	t.Cleanup(func() {
		stop()
		done.Wait()
	})
	eventually(t, "the hello", func() bool { return e.count(sdk.CacheHello) == 1 })
	return e
}

func (e *events) all() []sdk.CacheEvent {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.list)
}

func (e *events) count(kind sdk.CacheEventType) int {
	n := 0
	for _, event := range e.all() {
		if event.Type == kind {
			n++
		}
	}
	return n
}

// invalidated reports whether an event names a pattern.
func (e *events) invalidated(pattern string) bool {
	return slices.ContainsFunc(e.all(), func(event sdk.CacheEvent) bool {
		return event.Type == sdk.CacheInvalidated && slices.Contains(event.Patterns, pattern)
	})
}

func (h host) metric(t *testing.T, name string, labels map[string]string) float64 {
	t.Helper()
	m, err := h.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if value, ok := m.Value(name, labels); ok {
		return value
	}
	if labels == nil {
		if value, ok := m.Value(name, map[string]string{}); ok {
			return value
		}
	}
	t.Fatalf("no metric %s%v", name, labels)
	return 0
}
