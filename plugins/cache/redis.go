package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/service-islands/islands/sdk"
)

const (
	// keysPerCommand bounds the keys of one MGET, UNLINK or SCAN step.
	keysPerCommand = 1000
	poolSize       = 16
)

// announceScript raises the generation and tells the hosts, as one step: they hear of generations in their order.
// The clock keeps the generation rising when Redis has lost it.
const announceScript = `
local now = redis.call('TIME')
local clock = tonumber(now[1]) * 1000000 + tonumber(now[2])
local generation = string.format('%.0f', math.max((tonumber(redis.call('GET', KEYS[1])) or 0) + 1, clock))
redis.call('SET', KEYS[1], generation)
redis.call('PUBLISH', ARGV[1], generation .. ' ' .. ARGV[2])
return generation`

// shared is L2. Its methods may be called concurrently. Each call to Redis is bounded by the timeout.
type shared struct {
	client *redis.Client
	// connect makes another client, with so many connections.
	connect   func(connections int) *redis.Client
	namespace string
	timeout   time.Duration
	now       func() time.Time
	announcer *redis.Script
	// observe is told how long each exchange took and how it ended.
	observe func(ctx context.Context, took time.Duration, err error)
}

// redisOptions reads a URL. The error never holds any of it, because it may hold a password.
func redisOptions(secret sdk.Secret, timeout time.Duration) (*redis.Options, error) {
	invalid := &sdk.Error{
		Kind: sdk.InvalidArgument, Setting: "redis_url",
		Message: `setting "redis_url": wants a URL such as "redis://:PASSWORD@HOST:6379/0", or "rediss://..." for TLS`,
	}
	u, err := url.Parse(secret.Reveal())
	if err != nil || (u.Scheme != "redis" && u.Scheme != "rediss") || u.Hostname() == "" {
		return nil, invalid
	}
	opts, err := redis.ParseURL(secret.Reveal())
	if err != nil {
		return nil, invalid
	}
	opts.ContextTimeoutEnabled = true
	opts.MaxRetries = -1
	opts.DialerRetries = 1
	opts.DialTimeout, opts.ReadTimeout, opts.WriteTimeout, opts.PoolTimeout = timeout, timeout, timeout, timeout
	opts.PipelinePoolSize = -1
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return opts, nil
}

// connector returns a function that makes clients. What go-redis makes of its options stays within one client.
func connector(options *redis.Options) func(int) *redis.Client {
	return func(connections int) *redis.Client {
		own := *options
		own.PoolSize = connections
		return redis.NewClient(&own)
	}
}

func (s *shared) valueKey(key string) string { return s.namespace + "value:" + key }
func (s *shared) generationKey() string      { return s.namespace + "generation" }

// channel is where the hosts tell each other what changed. Redis' channels span its databases, the keys do not.
func (s *shared) channel() string {
	return fmt.Sprintf("%schanges:%d", s.namespace, s.client.Options().DB)
}

// gone returns why a caller does not wait any more, or nil. A connection notices a deadline a moment before the context
// itself says so.
func gone(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// exchange bounds one exchange with Redis and has it observed.
func (s *shared) exchange(ctx context.Context, talk func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	start := time.Now()
	err := talk(bounded)
	s.observe(ctx, time.Since(start), err)
	return err
}

// get returns the entries that Redis holds, in the order of the keys and with an empty Key for a miss.
func (s *shared) get(ctx context.Context, keys []string) ([]sdk.Entry, error) {
	entries := make([]sdk.Entry, len(keys))
	err := s.exchange(ctx, func(ctx context.Context) error {
		pipe := s.client.Pipeline()
		var answers []*redis.SliceCmd
		for start := 0; start < len(keys); start += keysPerCommand {
			part := keys[start:min(start+keysPerCommand, len(keys))]
			names := make([]string, len(part))
			for i, key := range part {
				names[i] = s.valueKey(key)
			}
			answers = append(answers, pipe.MGet(ctx, names...))
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		now := s.now()
		for part, answer := range answers {
			for i, value := range answer.Val() {
				text, found := value.(string)
				if !found {
					continue
				}
				at := part*keysPerCommand + i
				e, err := decode(keys[at], []byte(text))
				if err == nil && e.StaleUntil.After(now) {
					entries[at] = e
				}
			}
		}
		return nil
	})
	return entries, err
}

// set writes entries until their StaleUntil, publishes a notice to the other hosts unless it is empty, and returns the
// generation as it stood behind the writes.
func (s *shared) set(ctx context.Context, entries []sdk.Entry, notice string) (generation uint64, err error) {
	err = s.exchange(ctx, func(ctx context.Context) error {
		now := s.now()
		pipe := s.client.Pipeline()
		for _, e := range entries {
			ttl := max(e.StaleUntil.Sub(now).Milliseconds(), 1)
			pipe.Do(ctx, "SET", s.valueKey(e.Key), encode(e), "PX", ttl)
		}
		if notice != "" {
			pipe.Publish(ctx, s.channel(), "0 "+notice)
		}
		answer := pipe.Get(ctx, s.generationKey())
		if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		generation, err = parseGeneration(answer)
		return err
	})
	return generation, err
}

// generation returns the present one, 0 when there is none yet.
func (s *shared) generation(ctx context.Context) (generation uint64, err error) {
	err = s.exchange(ctx, func(ctx context.Context) error {
		generation, err = parseGeneration(s.client.Get(ctx, s.generationKey()))
		return err
	})
	return generation, err
}

func parseGeneration(answer *redis.StringCmd) (uint64, error) {
	switch text, err := answer.Result(); {
	case errors.Is(err, redis.Nil):
		return 0, nil
	case err != nil:
		return 0, err
	default:
		return strconv.ParseUint(text, 10, 64)
	}
}

// announce raises the generation and publishes a notice.
func (s *shared) announce(ctx context.Context, notice string) error {
	return s.exchange(ctx, func(ctx context.Context) error {
		return s.announcer.Run(ctx, s.client, []string{s.generationKey()}, s.channel(), notice).Err()
	})
}

// unlink forgets keys and returns how many there were.
func (s *shared) unlink(ctx context.Context, keys []string) (int, error) {
	total := 0
	for start := 0; start < len(keys); start += keysPerCommand {
		names := make([]string, 0, keysPerCommand)
		for _, key := range keys[start:min(start+keysPerCommand, len(keys))] {
			names = append(names, s.valueKey(key))
		}
		err := s.exchange(ctx, func(ctx context.Context) error {
			n, err := s.client.Unlink(ctx, names...).Result()
			total += int(n)
			return err
		})
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// forget forgets every key that the patterns name and returns how many there were.
func (s *shared) forget(ctx context.Context, patterns []string) (int, error) {
	var keys []string
	total := 0
	for _, p := range patterns {
		if !isGlob(p) {
			keys = append(keys, p)
			continue
		}
		n, err := s.forgetGlob(ctx, p)
		total += n
		if err != nil {
			return total, err
		}
	}
	n, err := s.unlink(ctx, keys)
	return total + n, err
}

// forgetGlob walks the namespace in bounded steps, so that Redis serves others in between.
func (s *shared) forgetGlob(ctx context.Context, glob string) (int, error) {
	total := 0
	prefix := s.valueKey("")
	for cursor := uint64(0); ; {
		var page []string
		err := s.exchange(ctx, func(ctx context.Context) (err error) {
			page, cursor, err = s.client.Scan(ctx, cursor, redisGlob(prefix, glob), keysPerCommand).Result()
			return err
		})
		if err != nil {
			return total, err
		}
		var keys []string
		for _, name := range page {
			if key, ours := strings.CutPrefix(name, prefix); ours && matches(glob, key) {
				keys = append(keys, key)
			}
		}
		n, err := s.unlink(ctx, keys)
		total += n
		if err != nil || cursor == 0 {
			return total, err
		}
	}
}

// serverInfo is what Redis says about itself.
type serverInfo struct {
	usedMemory float64
	clients    float64
}

// info asks Redis about itself.
func (s *shared) info(ctx context.Context) (info serverInfo, err error) {
	err = s.exchange(ctx, func(ctx context.Context) error {
		pipe := s.client.Pipeline()
		memory, clients := pipe.Info(ctx, "memory"), pipe.Info(ctx, "clients")
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		if info.usedMemory, err = infoField(memory.Val(), "used_memory"); err != nil {
			return err
		}
		info.clients, err = infoField(clients.Val(), "connected_clients")
		return err
	})
	return info, err
}

func infoField(text, name string) (float64, error) {
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(line, name+":"); found {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("INFO has no %s", name)
}
