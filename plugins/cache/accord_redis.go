package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/service-islands/islands/sdk"
)

const (
	// readBlock is how long one read of a channel waits for a message.
	readBlock = time.Second
	// readCount is how many messages one read brings.
	readCount = 100
	// maxSubscriptions bounds the connections that subscribers hold.
	maxSubscriptions = 256
)

// Each script is one step in Redis. Keys of one script carry the same hash tag, so that they live on the same node.
const (
	// KEYS: lease, token. ARGV: owner, TTL in ms. Answers {1, token}, or {0, ms left} of another owner's lease.
	acquireScript = `
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner and owner ~= ARGV[1] then return {0, tostring(redis.call('PTTL', KEYS[1]))} end
local token
if owner then
  token = redis.call('HGET', KEYS[1], 'token')
else
  local now = redis.call('TIME')
  local clock = tonumber(now[1]) * 1000000 + tonumber(now[2])
  token = string.format('%.0f', math.max((tonumber(redis.call('GET', KEYS[2])) or 0) + 1, clock))
  redis.call('SET', KEYS[2], token)
  redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'token', token)
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {1, token}`

	// KEYS: lease. ARGV: owner.
	releaseScript = `
if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1`

	// KEYS: stream, newest token. ARGV: token, payload, length kept. Answers the id, or nothing for an old token. Tokens
	// are compared as text: Lua's numbers do not hold all of them.
	publishScript = `
local newest = redis.call('GET', KEYS[2]) or '0'
if ARGV[1] ~= '0' then
  if #ARGV[1] < #newest or (#ARGV[1] == #newest and ARGV[1] < newest) then return false end
  redis.call('SET', KEYS[2], ARGV[1])
end
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'token', ARGV[1], 'payload', ARGV[2])`

	// KEYS: budget. ARGV: n, limit, width of a part in us, parts. Answers 0, or the us to wait.
	takeScript = `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local n, limit, width, parts = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local current = math.floor(now / width)
local counts = redis.call('HGETALL', KEYS[1])
local used, kept = 0, {}
for i = 1, #counts, 2 do
  local at = tonumber(counts[i])
  if at < current - parts then
    redis.call('HDEL', KEYS[1], counts[i])
  else
    used = used + tonumber(counts[i + 1])
    kept[#kept + 1] = {at, tonumber(counts[i + 1])}
  end
end
if used + n <= limit then
  redis.call('HINCRBY', KEYS[1], string.format('%.0f', current), n)
  redis.call('PEXPIRE', KEYS[1], math.ceil(width * (parts + 1) / 1000) + 1)
  return 0
end
table.sort(kept, function(a, b) return a[1] < b[1] end)
local wait = width * parts
for _, part in ipairs(kept) do
  used = used - part[2]
  if used + n <= limit then
    wait = (part[1] + parts + 1) * width - now
    break
  end
end
return math.max(wait, 1)`
)

// redisAccord is the coordinator of the hosts that share a Redis. It is told the time by Redis alone, but for the
// ExpiresAt of a lease, which is reckoned from before Redis was asked.
type redisAccord struct {
	l2   *shared
	now  func() time.Time
	done <-chan struct{}

	acquire, release, publish, take *redis.Script
	subscriptions                   atomic.Int64
}

var _ sdk.Coordinator = (*redisAccord)(nil)

func newRedisAccord(l2 *shared, now func() time.Time, done <-chan struct{}) *redisAccord {
	return &redisAccord{
		l2: l2, now: now, done: done,
		acquire: redis.NewScript(acquireScript), release: redis.NewScript(releaseScript),
		publish: redis.NewScript(publishScript), take: redis.NewScript(takeScript),
	}
}

// key names something in Redis; the braces keep what belongs together on one node of a cluster.
func (a *redisAccord) key(kind, name string) string {
	return fmt.Sprintf("%s{%s:%s}", a.l2.namespace, kind, name)
}

// run runs a script. The error is ready for the caller, but for redis.Nil.
func (a *redisAccord) run(ctx context.Context, script *redis.Script, keys []string, args ...any) (answer any, err error) {
	err = a.l2.exchange(ctx, func(ctx context.Context) error {
		answer, err = script.Run(ctx, a.l2.client, keys, args...).Result()
		return err
	})
	switch {
	case err == nil, errors.Is(err, redis.Nil):
		return answer, err
	default:
		return nil, away(ctx, err)
	}
}

// away is the error for a Redis that does not answer.
func away(ctx context.Context, err error) error {
	if why := gone(ctx); why != nil {
		return sdk.Errorf(sdk.KindOf(why), "ask Redis: %w", why)
	}
	return sdk.Errorf(sdk.Unavailable, "ask Redis: %w", err)
}

// errAnswer says that a script answered something it cannot answer.
func errAnswer(answer any) error {
	return sdk.Errorf(sdk.BadUpstream, "Redis answered %.60q", fmt.Sprint(answer))
}

func (a *redisAccord) Acquire(ctx context.Context, req sdk.LeaseRequest) (sdk.Lease, error) {
	expires := a.now().Add(req.TTL)
	key := a.key("lease", req.Name)
	answer, err := a.run(ctx, a.acquire, []string{key, key + ":token"}, req.Owner, req.TTL.Milliseconds())
	if err != nil {
		return sdk.Lease{}, err
	}
	pair, ok := answer.([]any)
	if !ok || len(pair) != 2 {
		return sdk.Lease{}, errAnswer(answer)
	}
	number, err := strconv.ParseUint(fmt.Sprint(pair[1]), 10, 64)
	switch {
	case err != nil:
		return sdk.Lease{}, errAnswer(answer)
	case pair[0] == int64(1):
		return sdk.Lease{Token: number, ExpiresAt: expires}, nil
	default:
		return sdk.Lease{}, heldByAnother(req.Name, time.Duration(number)*time.Millisecond)
	}
}

func (a *redisAccord) Release(ctx context.Context, req sdk.LeaseRequest) error {
	_, err := a.run(ctx, a.release, []string{a.key("lease", req.Name)}, req.Owner)
	return err
}

func (a *redisAccord) Publish(ctx context.Context, msg sdk.Message) (string, error) {
	key := a.key("channel", msg.Channel)
	token := strconv.FormatUint(msg.Token, 10)
	answer, err := a.run(ctx, a.publish, []string{key, key + ":token"}, token, msg.Payload, keptMessages)
	if errors.Is(err, redis.Nil) {
		return "", fencedOff(msg)
	}
	if err != nil {
		return "", err
	}
	id, ok := answer.(string)
	if !ok {
		return "", errAnswer(answer)
	}
	return id, nil
}

// Subscribe reads over a connection of its own, because a read that waits would hold one of the shared ones.
func (a *redisAccord) Subscribe(ctx context.Context, channel, after string, emit func(sdk.Message) error) error {
	if a.subscriptions.Add(1) > maxSubscriptions {
		a.subscriptions.Add(-1)
		return sdk.Errorf(sdk.ResourceExhausted, "there are %d subscriptions already", maxSubscriptions)
	}
	defer a.subscriptions.Add(-1)
	client := a.l2.connect(1)
	reading, stop := context.WithCancel(ctx)
	// Closing the connection is what ends a read that waits.
	var guard sync.WaitGroup
	guard.Go(func() {
		select {
		case <-reading.Done():
		case <-a.done:
		}
		stop()
		_ = client.Close() // Nothing is pending on it that closing could lose.
	})
	defer guard.Wait()
	defer stop()

	err := a.read(reading, client, a.key("channel", channel), channel, after, emit)
	select {
	case <-a.done:
		return errNotRunning()
	default:
		return err
	}
}

func (a *redisAccord) read(
	ctx context.Context, client *redis.Client, key, channel, position string, emit func(sdk.Message) error,
) error {
	if position == "" {
		bounded, cancel := context.WithTimeout(ctx, a.l2.timeout)
		last, err := client.XRevRangeN(bounded, key, "+", "-", 1).Result()
		cancel()
		if err != nil {
			return away(ctx, err)
		}
		position = "0"
		if len(last) > 0 {
			position = last[0].ID
		}
	}
	for {
		bounded, cancel := context.WithTimeout(ctx, readBlock+a.l2.timeout)
		streams, err := client.XRead(bounded, &redis.XReadArgs{
			Streams: []string{key, position}, Count: readCount, Block: readBlock,
		}).Result()
		cancel()
		if errors.Is(err, redis.Nil) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return away(ctx, err)
		}
		for _, stream := range streams {
			for _, entry := range stream.Messages {
				msg := sdk.Message{Channel: channel, ID: entry.ID}
				payload, _ := entry.Values["payload"].(string)
				token, _ := entry.Values["token"].(string)
				msg.Payload = []byte(payload)
				if msg.Token, err = strconv.ParseUint(token, 10, 64); err != nil {
					return errAnswer(token)
				}
				if err := emit(msg); err != nil {
					return err
				}
				position = entry.ID
			}
		}
	}
}

func (a *redisAccord) Take(ctx context.Context, req sdk.BudgetRequest) error {
	answer, err := a.run(ctx, a.take, []string{a.key("budget", budgetName(req))},
		req.N, req.Limit, partWidth(req.Window), windowParts)
	if err != nil {
		return err
	}
	wait, ok := answer.(int64)
	switch {
	case !ok:
		return errAnswer(answer)
	case wait > 0:
		return spent(req, time.Duration(wait)*time.Microsecond)
	default:
		return nil
	}
}
