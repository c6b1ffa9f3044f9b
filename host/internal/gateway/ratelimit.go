package gateway

import (
	"fmt"
	"hash/maphash"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// RateLimit bounds how often one client may ask.
type RateLimit struct {
	// Requests in each Per, and how many at once; all of them at least 1.
	Requests int
	Per      time.Duration
	Burst    int
}

// The price of a request, in parts of one. Whether the answer is at hand is known only once it has been looked for: who
// asks pays for that first, and for the rest before anything is loaded.
const (
	wholePrice = 10 // of an answer that has to be looked for
	warmPrice  = 1  // of one that is at hand
)

// allowance keeps how much each client may still ask for, a client being an IPv4 address or an IPv6 network of 64 bits,
// which is the least that a subscriber gets.
//
// It is the generic cell rate algorithm: of a client nothing is kept but the moment at which it will have paid for all it
// has asked for. Unlike a bucket of golang.org/x/time/rate it can give back what was paid for too much, and it takes a
// fifth of the memory. It remembers maxClients at most, in maxClients × 64 bytes or so. When there are more, those that
// asked longest ago are forgotten, and are allowed a full burst when they return. An attacker with so many addresses
// gains nothing by that, since each one of them is allowed a burst of its own.
type allowance struct {
	price  int64 // of a part of a request, in nanoseconds
	burst  int64 // how far a client may be ahead of the time, in nanoseconds
	policy []byte
	seed   maphash.Seed
	shards [allowanceShards]shard
	// refused counts the requests that were not answered.
	refused atomic.Uint64
}

// Bounds of an allowance.
const (
	allowanceShards = 16
	maxClients      = 1 << 16
	shardClients    = maxClients / allowanceShards
)

// shard is a part of the clients, in the order in which they asked.
type shard struct {
	mu     sync.Mutex
	places map[clientKey]int32
	// clients is a ring by next and before, whose place 0 is no client: before it stands the one that asked last, after
	// it the one that asked longest ago.
	clients []account
}

// clientKey is the address of a client, or of its network.
type clientKey [16]byte

// account is a client.
type account struct {
	key          clientKey
	paid         int64 // until when, in nanoseconds of Unix
	next, before int32
}

func newAllowance(l RateLimit) *allowance {
	part := max(1, int64(l.Per)/int64(l.Requests)/wholePrice)
	a := &allowance{price: part, burst: part * wholePrice * int64(l.Burst), seed: maphash.MakeSeed()}
	// A policy speaks of whole seconds; a limit per less than that is the same as one per second.
	window, quota := int64(l.Per/time.Second), int64(l.Requests)
	if window < 1 || l.Per%time.Second != 0 {
		quota = max(1, int64(float64(l.Requests)*float64(time.Second)/float64(l.Per)*float64(window+1)))
		window++
	}
	a.policy = fmt.Appendf(nil, `"client";q=%d;w=%d`, quota, window)
	for i := range a.shards {
		a.shards[i].places = make(map[clientKey]int32)
		a.shards[i].clients = make([]account, 1, 8)
	}
	return a
}

// clientOf returns the key that an address is counted under.
func clientOf(from netip.Addr) clientKey {
	key := clientKey(from.As16())
	if from.Is6() && !from.Is4In6() {
		clear(key[8:])
	}
	return key
}

// take pays for parts of a request. When the client may not ask for so much yet, wait is how long it has to; left is how
// many whole requests it could make at once after this one.
func (a *allowance) take(key clientKey, parts int64, now time.Time) (left int64, wait time.Duration) {
	at, cost := now.UnixNano(), parts*a.price
	s := &a.shards[maphash.Bytes(a.seed, key[:])%allowanceShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.account(key)
	paid := max(c.paid, at)
	// What costs more than a burst is never to be had; it is when nothing else was asked for.
	if over := paid + cost - at - max(a.burst, cost); over > 0 {
		return (a.burst - (paid - at)) / (a.price * wholePrice), time.Duration(over)
	}
	c.paid = paid + cost
	return max(0, a.burst-(c.paid-at)) / (a.price * wholePrice), 0
}

// give gives back what was paid for too much.
func (a *allowance) give(key clientKey, parts int64) {
	s := &a.shards[maphash.Bytes(a.seed, key[:])%allowanceShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if place, there := s.places[key]; there {
		s.clients[place].paid -= parts * a.price
	}
}

// refill is how long it takes until everything that a client may ask for at once is there again, at most.
func (a *allowance) refill(left int64) int64 {
	missing := a.burst - left*a.price*wholePrice
	return max(0, (missing+int64(time.Second)-1)/int64(time.Second))
}

// clients is how many are remembered.
func (a *allowance) clients() (n int) {
	for i := range a.shards {
		s := &a.shards[i]
		s.mu.Lock()
		n += len(s.places)
		s.mu.Unlock()
	}
	return n
}

// account returns a client, which becomes the one that asked last.
func (s *shard) account(key clientKey) *account {
	place, there := s.places[key]
	switch {
	case there:
		s.unlink(place)
	case len(s.clients) <= shardClients:
		s.clients = append(s.clients, account{})
		place = int32(len(s.clients) - 1)
		s.clients[place].key = key
		s.places[key] = place
	default:
		place = s.clients[0].next
		s.unlink(place)
		delete(s.places, s.clients[place].key)
		s.clients[place].key, s.clients[place].paid = key, 0
		s.places[key] = place
	}
	s.link(place)
	return &s.clients[place]
}

func (s *shard) unlink(place int32) {
	c := &s.clients[place]
	s.clients[c.before].next, s.clients[c.next].before = c.next, c.before
}

func (s *shard) link(place int32) {
	last := s.clients[0].before
	c := &s.clients[place]
	c.before, c.next = last, 0
	s.clients[last].next, s.clients[0].before = place, place
}

// pays charges a request to its client, and says so in its answer. It returns the refusal of one that may not ask yet.
func (g *Gateway) pays(rctx *fasthttp.RequestCtx, client clientKey, parts int64) *problem {
	a := g.allowance
	left, wait := a.take(client, parts, time.Now())
	h := &rctx.Response.Header
	h.SetCanonical(nameRateLimitPolicy, a.policy)
	if wait > 0 {
		a.refused.Add(1)
		// Whether what it asks for will be at hand is not known: by then it can pay for either.
		wait += time.Duration((wholePrice - parts) * a.price)
		return &problem{
			status: http.StatusTooManyRequests, code: "rate_limited", title: "Too many requests", retryable: true,
			retryAfter: wait, policy: "client",
			detail: "This address asks more often than a client of this host may; Retry-After says when it may ask again.",
		}
	}
	var scratch [64]byte
	b := append(scratch[:0], `"client";r=`...)
	b = append(strconv.AppendInt(b, left, 10), ";t="...)
	h.SetCanonical(nameRateLimit, strconv.AppendInt(b, a.refill(left), 10))
	return nil
}

// paysWarm is whether a request costs no more than an answer that is at hand, wherever it comes from: what a browser asks
// before it asks, and what probes ask all the time.
func paysWarm(rctx *fasthttp.RequestCtx) bool {
	switch text(rctx.Request.Header.RequestURI()) {
	case "/health/live", "/health/ready":
		return true
	default:
		return rctx.IsOptions()
	}
}

// settle gives back what a request paid for too much: its answer was at hand after all.
func (g *Gateway) settle(rctx *fasthttp.RequestCtx, client clientKey) {
	if string(rctx.Response.Header.PeekBytes(nameXCache)) == "near" {
		g.allowance.give(client, wholePrice-warmPrice)
	}
}
