package pipeline

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
)

// cluster is several hosts that share a Redis, a cache and the world outside.
type cluster struct {
	redis          *fakeRedis
	cache          *fakeCache
	stream, polled *feedSource
	hosts          []*fed // all that ever ran
	price          float64
	pace           time.Duration // from one price to the next
}

func newCluster() *cluster {
	c := &cluster{
		redis: newFakeRedis(), cache: newFakeCache(), stream: newFeedSource("binance"), polled: newFeedSource("gecko"),
		price: 100, pace: 100 * time.Millisecond,
	}
	c.cache.shared.Store(true)
	return c
}

// start starts one more host.
func (c *cluster) start(change ...func(*FeedOptions)) *fed {
	w := newFeedWorld()
	w.world.cache, w.stream, w.polled = c.cache, c.stream, c.polled
	w.coordinator = newFakeCoordinator(c.redis)
	h := feeding(w, func(_ *Options, f *FeedOptions) {
		f.Coordinator, f.Owner = "coordinator", fmt.Sprint("host ", len(c.hosts))
		for _, change := range change {
			change(f)
		}
	})
	c.hosts = append(c.hosts, h)
	return h
}

// way is a host's way to Redis.
func (h *fed) way() *fakeCoordinator { return h.coordinator.(*fakeCoordinator) }

// kill ends a host that has no time to say goodbye.
func (h *fed) kill() {
	h.way().set(func(c *fakeCoordinator) { c.down = true })
	h.end()
}

// run lets prices move for a while.
func (c *cluster) run(d time.Duration) {
	for range int(d / c.pace) {
		c.price++
		c.stream.push(at("btc", c.price, 0), at("eth", c.price/10, 0))
		time.Sleep(c.pace)
	}
	synctest.Wait()
}

// agree checks that no host broke a rule, and that the same tick is the same on all of them.
func (c *cluster) agree(t *testing.T) {
	t.Helper()
	for _, text := range c.disputes() {
		t.Error(text)
	}
}

// disputes lists what the hosts do not agree on.
func (c *cluster) disputes() []string {
	type place struct {
		epoch string
		n     uint64
	}
	var out []string
	logged := map[place]bool{}
	for _, rec := range c.redis.records() {
		at := place{rec.Epoch, rec.N}
		if rec.Kind == recordTick && logged[at] && !c.redis.flushed {
			out = append(out, fmt.Sprintf("the log holds two ticks %d of %s", rec.N, rec.Epoch))
		}
		logged[at] = logged[at] || rec.Kind == recordTick
	}
	seen := map[place]Tick{}
	for i, h := range c.hosts {
		h.receiver.mu.Lock()
		for _, f := range h.faults {
			out = append(out, fmt.Sprintf("host %d: %s", i, f))
		}
		h.receiver.mu.Unlock()
		for _, tick := range h.all() {
			if tick.Whole && tick.N > 1 {
				continue // A state instead of what changed.
			}
			at := place{tick.Epoch, tick.N}
			other, ok := seen[at]
			if ok && !reflect.DeepEqual(other, tick) {
				out = append(out, fmt.Sprintf("host %d: tick %d of %s is %+v, of another host %+v", i, tick.N, tick.Epoch, tick, other))
			}
			seen[at] = tick
		}
	}
	return out
}

// settled checks that hosts are in step, and have the newest.
func (c *cluster) settled(t *testing.T, hosts ...*fed) {
	t.Helper()
	if standing, _ := c.stream.standing(); standing != 1 {
		t.Errorf("%d streams stand, want one for all hosts", standing)
	}
	for i, h := range hosts {
		epoch, n, asOf := h.state()
		wantEpoch, wantN, want := hosts[0].state()
		if epoch != wantEpoch || n != wantN || !maps.EqualFunc(asOf, want, time.Time.Equal) {
			t.Errorf("host %d is at %d of %s, the first at %d of %s", i, n, epoch, wantN, wantEpoch)
		}
		if price, _ := h.receiver.price("btc"); price != c.price {
			t.Errorf("host %d takes btc to be worth %v, want %v", i, price, c.price)
		}
	}
}

// epochs lists the epochs that a host has been in.
func (h *fed) epochs() []string {
	var out []string
	for _, tick := range h.all() {
		out = append(out, tick.Epoch)
	}
	return slices.Compact(out)
}

// leadingOf returns the host that leads, and the others of those given.
func leadingOf(hosts ...*fed) (leader *fed, others []*fed) {
	for _, h := range hosts {
		if h.feed.Stats().Mode == FeedLeading {
			leader = h
		} else {
			others = append(others, h)
		}
	}
	return leader, others
}

func (c *cluster) end() {
	for _, h := range c.hosts {
		h.end()
	}
}

func TestHostsShareOneFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		defer c.end()
		a, b, third := c.start(), c.start(), c.start()
		c.run(3 * time.Second)
		leader, others := leadingOf(a, b, third)
		if leader != a || len(others) != 2 || others[0].feed.Stats().Mode != FeedFollowing {
			t.Fatalf("%v, %v, %v", a.feed.Stats().Mode, b.feed.Stats().Mode, third.feed.Stats().Mode)
		}
		c.settled(t, a, b, third)
		epoch, before, _ := a.state()

		// One that comes later is given what the log keeps, so that it can serve those who come from the others.
		late := c.start()
		c.run(time.Second)
		c.settled(t, a, b, third, late)
		if first := late.all()[0]; !first.Whole || first.N != 1 {
			t.Errorf("a newcomer begins with tick %d", first.N)
		}

		// A leader that leaves is followed at once, in the same epoch.
		a.end()
		c.run(2 * time.Second)
		leader, _ = leadingOf(b, third, late)
		if leader == nil {
			t.Fatal("nobody leads")
		}
		c.settled(t, b, third, late)
		for _, h := range []*fed{b, third, late} {
			if got, n, _ := h.state(); got != epoch || n <= before {
				t.Errorf("the epoch is %s, it was %s", got, epoch)
			}
		}

		// One that is killed is followed within ten seconds.
		killed := time.Now()
		leader.kill()
		var next *fed
		for next == nil && time.Since(killed) < 10*time.Second {
			c.run(100 * time.Millisecond)
			alive := slices.DeleteFunc([]*fed{b, third, late}, func(h *fed) bool { return h == leader })
			next, others = leadingOf(alive...)
		}
		if next == nil || len(others) != 1 {
			t.Fatal("nobody leads ten seconds after the leader was killed")
		}
		c.run(2 * time.Second)
		c.settled(t, next, others[0])
		if got, _, _ := next.state(); got != epoch {
			t.Errorf("the epoch is %s, it was %s", got, epoch)
		}
		c.agree(t)
	})
}

func TestTheEpochOutlivesAllHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		defer c.end()
		a, b := c.start(), c.start()
		c.run(30 * time.Second)
		epoch, n, _ := a.state()
		a.kill()
		b.kill()
		time.Sleep(10 * time.Second)
		again := c.start()
		c.run(3 * time.Second)
		if got, later, _ := again.state(); got != epoch || later <= n || again.all()[0].N != 1 {
			t.Errorf("goes on with tick %d of %s after %d of %s", later, got, n, epoch)
		}
		c.settled(t, again)
		c.agree(t)
	})
}

func TestALeaderThatStumbles(t *testing.T) {
	tests := map[string]struct {
		stumble func(c *cluster, leader *fed)
		// moves is whether another host has to take over meanwhile.
		moves bool
	}{
		"its calls freeze and go through later": {func(c *cluster, leader *fed) {
			thaw := leader.way().freeze()
			c.run(15 * time.Second)
			thaw()
		}, true},
		"it freezes itself": {func(c *cluster, leader *fed) {
			frozen := make(chan struct{})
			leader.receiver.mu.Lock()
			leader.hook = func(Tick) { <-frozen }
			leader.receiver.mu.Unlock()
			c.run(15 * time.Second)
			close(frozen)
			leader.receiver.mu.Lock()
			leader.hook = nil
			leader.receiver.mu.Unlock()
		}, true},
		"a publication is lost": {func(c *cluster, leader *fed) {
			leader.way().set(func(c *fakeCoordinator) { c.late = -1 })
			c.run(time.Second)
		}, false},
		"a publication comes late": {func(c *cluster, leader *fed) {
			leader.way().set(func(c *fakeCoordinator) { c.late = 1500 * time.Millisecond })
			c.run(time.Second)
		}, false},
		"a publication comes very late": {func(c *cluster, leader *fed) {
			leader.way().set(func(c *fakeCoordinator) { c.late = 10 * time.Second })
			c.run(12 * time.Second)
		}, false},
		"a publication comes late, and its lease cannot be given back": {func(c *cluster, leader *fed) {
			leader.way().set(func(c *fakeCoordinator) { c.late, c.stuck = 1500*time.Millisecond, 2 })
			c.run(5 * time.Second)
		}, false},
		"its answer is lost, not the publication": {func(c *cluster, leader *fed) {
			leader.way().set(func(c *fakeCoordinator) { c.late = 1 })
			c.run(time.Second)
		}, false},
		"its way to Redis is cut": {func(c *cluster, leader *fed) {
			leader.way().set(func(c *fakeCoordinator) { c.down = true })
			c.run(15 * time.Second)
			leader.way().set(func(c *fakeCoordinator) { c.down = false })
		}, true},
		"it cannot read": {func(c *cluster, leader *fed) {
			leader.way().set(func(c *fakeCoordinator) { c.deaf = true })
			c.run(15 * time.Second)
			leader.way().set(func(c *fakeCoordinator) { c.deaf = false })
		}, true},
		"Redis is flushed": {func(c *cluster, _ *fed) {
			c.redis.flush(false)
		}, false},
		"Redis begins anew": {func(c *cluster, _ *fed) {
			c.redis.flush(true)
		}, false},
		"Redis is flushed again and again": {func(c *cluster, _ *fed) {
			for i := range 20 {
				c.redis.flush(i%2 == 0)
				c.run(700 * time.Millisecond)
			}
		}, false},
		"Redis is flushed while it cannot read": {func(c *cluster, leader *fed) {
			leader.way().set(func(c *fakeCoordinator) { c.deaf = true })
			c.run(500 * time.Millisecond)
			c.redis.flush(false)
			leader.way().set(func(c *fakeCoordinator) { c.deaf = false })
		}, false},
		"the log is trimmed": {func(c *cluster, _ *fed) {
			c.redis.trim(3)
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				defer c.end()
				a, b, other := c.start(), c.start(), c.start()
				c.run(3 * time.Second)
				tt.stumble(c, a)
				if leader, _ := leadingOf(a, b, other); tt.moves && (leader == nil || leader == a) {
					t.Error("no other host has taken over")
				}
				c.run(20 * time.Second)
				leader, _ := leadingOf(a, b, other)
				if leader == nil {
					t.Fatalf("nobody leads: %v, %v, %v", a.feed.Stats(), b.feed.Stats(), other.feed.Stats())
				}
				c.settled(t, a, b, other)
				c.agree(t)
			})
		})
	}
}

func TestAFollowerThatStumbles(t *testing.T) {
	tests := map[string]func(c *cluster, h *fed){
		"it cannot read for a moment": func(c *cluster, h *fed) {
			h.way().set(func(c *fakeCoordinator) { c.deaf = true })
			c.run(time.Second)
			h.way().set(func(c *fakeCoordinator) { c.deaf = false })
		},
		"the log is trimmed past its place": func(c *cluster, h *fed) {
			h.way().set(func(c *fakeCoordinator) { c.deaf = true })
			c.run(2 * time.Second)
			c.redis.trim(5)
			h.way().set(func(c *fakeCoordinator) { c.deaf = false })
		},
		"it freezes": func(c *cluster, h *fed) {
			frozen := make(chan struct{})
			h.receiver.mu.Lock()
			h.hook = func(Tick) { <-frozen }
			h.receiver.mu.Unlock()
			c.run(150 * time.Second)
			close(frozen)
			h.receiver.mu.Lock()
			h.hook = nil
			h.receiver.mu.Unlock()
		},
		"it cannot reach Redis for long": func(c *cluster, h *fed) {
			h.way().set(func(c *fakeCoordinator) { c.down = true })
			c.run(20 * time.Second)
			if s := h.feed.Stats(); s.Mode != FeedSolo || s.SoloSpells != 1 || s.Reason == "" {
				panic(fmt.Sprintf("%+v", s))
			}
			h.way().set(func(c *fakeCoordinator) { c.down = false })
		},
		"something foreign is in the log": func(c *cluster, h *fed) {
			_, _ = c.redis.append(sdk.Message{Payload: []byte(`{"v":7}`)})
			c.run(time.Second)
			_, _ = c.redis.append(sdk.Message{Payload: make([]byte, 100)})
		},
	}
	for name, stumble := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				defer c.end()
				a, b, other := c.start(), c.start(), c.start()
				c.run(3 * time.Second)
				epoch, _, _ := a.state()
				stumble(c, b)
				c.run(20 * time.Second)
				if leader, _ := leadingOf(a, b, other); leader != a {
					t.Error("the leader has changed")
				}
				c.settled(t, a, b, other)
				if got, _, _ := b.state(); got != epoch {
					t.Error("the epoch has changed")
				}
				c.agree(t)
			})
		})
	}
}

func TestRedisIsAwayAndBack(t *testing.T) {
	for name, flushed := range map[string]bool{"with what it had": false, "with nothing": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				defer c.end()
				hosts := []*fed{c.start(), c.start(), c.start()}
				c.run(3 * time.Second)
				for _, h := range hosts {
					h.way().set(func(c *fakeCoordinator) { c.down = true })
				}
				ticks := make([]uint64, 3)
				c.run(5 * time.Second)
				epochs := map[string]bool{}
				for i, h := range hosts {
					s := h.feed.Stats()
					if s.Mode != FeedSolo || s.SoloSpells != 1 {
						t.Errorf("host %d is %s", i, s.Mode)
					}
					ticks[i], epochs[s.Epoch] = s.Ticks, true
				}
				if standing, _ := c.stream.standing(); standing != 3 || len(epochs) != 3 {
					t.Errorf("%d streams, %d epochs while the hosts are on their own", standing, len(epochs))
				}
				c.run(10 * time.Second)
				for i, h := range hosts {
					if s := h.feed.Stats(); s.Ticks < ticks[i]+90 {
						t.Errorf("host %d made %d ticks in ten seconds", i, s.Ticks-ticks[i])
					}
				}
				if flushed {
					c.redis.flush(true)
				}
				for _, h := range hosts {
					h.way().set(func(c *fakeCoordinator) { c.down = false })
				}
				c.run(5 * time.Second)
				leader, others := leadingOf(hosts...)
				if leader == nil || len(others) != 2 {
					t.Fatal("nobody leads")
				}
				c.settled(t, hosts...)
				if got := leader.epochs(); len(got) != 3 || epochs[got[2]] {
					t.Errorf("the leader went through %d epochs", len(got))
				}
				c.agree(t)
			})
		})
	}
}

// TestNoPriceGoesBackOnReturn has a host come back from its own feed with something newer than the leader knows.
func TestNoPriceGoesBackOnReturn(t *testing.T) {
	for name, taken := range map[string]bool{"the leader takes it": true, "the leader cannot take it": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				defer c.end()
				a := c.start()
				b := c.start(func(f *FeedOptions) {
					if !taken {
						f.Symbols = []string{"btc", "eth", "uni"}
					}
				})
				c.run(3 * time.Second)
				symbol := "eth"
				if !taken {
					symbol = "uni"
				}
				b.way().set(func(c *fakeCoordinator) { c.down = true })
				c.stream.push(at("uni", 6, 0))
				c.run(10 * time.Second)
				own := newFeedSource("binance")
				b.feedWorld.stream = own
				c.stream.end(sdk.Unavailable) // b opens its own stream.
				time.Sleep(2 * time.Second)
				newest := at(symbol, 77, -30*time.Second)
				own.push(newest)
				synctest.Wait()
				if price, _ := b.receiver.price(symbol); price != 77 {
					t.Fatalf("%s is %v", symbol, price)
				}
				b.way().set(func(c *fakeCoordinator) { c.down = false })
				c.run(10 * time.Second)
				if mode := b.feed.Stats().Mode; mode != FeedFollowing {
					t.Fatalf("the host is %s", mode)
				}
				if price, _ := a.receiver.price(symbol); (price == 77) != taken {
					t.Errorf("%s is %v with the leader", symbol, price)
				}
				c.run(30 * time.Second)
				c.settled(t, a, b)
				c.agree(t)
			})
		})
	}
}

func TestAloneUntilTheCacheSaysOtherwise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		defer c.end()
		c.cache.shared.Store(false)
		a := c.start()
		c.run(time.Second)
		if s := a.feed.Stats(); s.Mode != FeedSolo || s.SoloSpells != 0 || c.redis.leader() != "" {
			t.Errorf("without Redis: %+v", s)
		}
		c.cache.shared.Store(true)
		c.run(5 * time.Second)
		if s := a.feed.Stats(); s.Mode != FeedLeading {
			t.Errorf("with Redis: %+v", s)
		}
		b := c.start()
		c.run(3 * time.Second)
		c.settled(t, a, b)
		c.agree(t)
	})
}

func TestTheCacheIsDownAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		defer c.end()
		w := newFeedWorld()
		w.world.cache, w.stream, w.polled, w.coordinator = c.cache, c.stream, c.polled, newFakeCoordinator(c.redis)
		w.set("cache", false)
		h := feeding(w, func(_ *Options, f *FeedOptions) { f.Coordinator = "coordinator" })
		c.hosts = append(c.hosts, h)
		c.run(2 * time.Second)
		if s := h.feed.Stats(); s.Mode != FeedStarting || s.Ticks != 0 {
			t.Errorf("before the grace is over: %+v", s)
		}
		c.run(2 * time.Second)
		if s := h.feed.Stats(); s.Mode != FeedSolo || s.Reason == "" || s.Ticks == 0 {
			t.Errorf("after it: %+v", s)
		}
		w.set("cache", true)
		c.run(5 * time.Second)
		if s := h.feed.Stats(); s.Mode != FeedLeading {
			t.Errorf("with the cache: %+v", s)
		}
		c.settled(t, h)
		c.agree(t)
	})
}

func TestAFollowerHasTheQuotesAtHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		defer c.end()
		c.start()
		b := c.start()
		c.run(2 * time.Second)
		before := b.r.Stats()
		answer, err := b.r.Quote(context.WithoutCancel(t.Context()), "btc", "usd", "")
		if text := body(t, answer, err); answer.Tier != TierNear || text != fmt.Sprintf(`{"price":%v,"source":"binance","stale":false}`, c.price) {
			t.Errorf("a request gets %s from %s", text, answer.Tier)
		}
		if b.r.Stats().Loads != before.Loads {
			t.Error("the request loaded something")
		}
		if s := b.feed.Stats(); s.Fills != 0 || s.Store.Rows != 0 || s.Sources[0].Batches != 0 {
			t.Errorf("a follower has written or listened: %+v", s)
		}
	})
}

func TestStatesAreInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		defer c.end()
		a, b := c.start(), c.start()
		c.run(60 * time.Second)
		states := 0
		since := 0
		for _, rec := range c.redis.records() {
			since++
			if rec.Kind == recordState {
				states, since = states+1, 0
			}
			if since > stateEvery+2 {
				t.Fatalf("%d records without a state", since)
			}
		}
		if states < 5 {
			t.Errorf("%d states", states)
		}
		for _, h := range []*fed{a, b} {
			if s := h.feed.Stats(); s.Wholes != 1 || s.Holes != 0 {
				t.Errorf("a host in step got %d whole ticks", s.Wholes)
			}
		}
		c.agree(t)
	})
}

func TestALostTickIsPublishedAgain(t *testing.T) {
	for name, late := range map[string]time.Duration{"it was lost": -1, "it arrives": 1, "it arrives too late": 5 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				defer c.end()
				a, b := c.start(), c.start()
				c.run(time.Second)
				a.way().set(func(c *fakeCoordinator) { c.late = late })
				c.price = 777
				c.stream.push(at("btc", c.price, 0))
				time.Sleep(10 * time.Second) // No price moves that would make up for it.
				synctest.Wait()
				c.settled(t, a, b)
				times := 0
				for _, tick := range b.all() {
					for _, q := range tick.Quotes {
						if !tick.Whole && q.Quote.Price.Or(0) == 777 {
							times++
						}
					}
				}
				if times != 1 {
					t.Errorf("the quote was delivered %d times", times)
				}
				c.agree(t)
			})
		})
	}
}

func TestALeaderStopsBeforeItsLeaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		defer c.end()
		patient := func(f *FeedOptions) { f.Grace = time.Minute }
		a, b := c.start(patient), c.start(patient)
		c.run(3 * time.Second)
		c.redis.mu.Lock()
		token := c.redis.token
		c.redis.mu.Unlock()
		a.way().set(func(c *fakeCoordinator) { c.leaseless = true })
		c.run(15 * time.Second)
		c.redis.mu.Lock()
		ends := c.redis.expired[token]
		for _, m := range c.redis.messages {
			if rec, err := decodeRecord(m.Payload); err == nil && m.Token == token && !rec.At.Before(ends) {
				t.Errorf("a %s was written at %v under a lease that ended at %v", rec.Kind, rec.At, ends)
			}
		}
		c.redis.mu.Unlock()
		if leader, _ := leadingOf(a, b); leader != b || ends.IsZero() {
			t.Error("the other host has not taken over")
		}
		a.way().set(func(c *fakeCoordinator) { c.leaseless = false })
		c.run(5 * time.Second)
		c.settled(t, a, b)
		c.agree(t)
	})
}

func TestAQuietMarket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		defer c.end()
		a, b := c.start(), c.start()
		c.run(time.Second)
		before := len(c.redis.records())
		time.Sleep(time.Minute)
		synctest.Wait()
		beats := 0
		for _, rec := range c.redis.records()[before:] {
			if rec.Kind == recordBeat {
				beats++
			}
		}
		if beats < 25 || beats > 35 {
			t.Errorf("%d beats in a minute", beats)
		}
		c.settled(t, a, b)
		c.agree(t)
	})
}

func TestAnOverthrownLeaderIsNotHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		defer c.end()
		a, b := c.start(), c.start()
		c.run(time.Second)
		epoch, n, _ := b.state()
		c.redis.flush(false) // Redis has forgotten who was shut out.
		forged := recordOf(recordTick, Tick{Epoch: epoch, N: n + 1, At: time.Now().UTC(), QuotesSeq: n, Quotes: []TickQuote{{Seq: n, Quote: at("btc", 1, 0)}}})
		payload, err := forged.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.redis.append(sdk.Message{Token: 1, Payload: payload}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for i, h := range []*fed{a, b} {
			if price, _ := h.receiver.price("btc"); price == 1 || h.feed.Stats().Fenced == 0 {
				t.Errorf("host %d takes btc to be worth %v", i, price)
			}
		}
		c.run(20 * time.Second)
		c.settled(t, a, b)
		c.agree(t)
	})
}

// TestAnEpochThatEndedStaysSo has a host read the log once more, with an epoch in it that is over.
func TestAnEpochThatEndedStaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		defer c.end()
		a, b := c.start(), c.start()
		c.run(time.Second)
		for _, h := range []*fed{a, b} {
			h.way().set(func(c *fakeCoordinator) { c.down = true })
		}
		c.run(10 * time.Second)
		for _, h := range []*fed{a, b} {
			h.way().set(func(c *fakeCoordinator) { c.down = false })
		}
		c.run(10 * time.Second)
		leader, others := leadingOf(a, b)
		if leader == nil || len(others) != 1 {
			t.Fatal("nobody leads")
		}
		follower := others[0]
		before, wholes := follower.epochs(), follower.feed.Stats().Wholes
		follower.way().set(func(c *fakeCoordinator) { c.swallow = 1 })
		c.run(20 * time.Second)
		c.settled(t, a, b)
		if got, s := follower.epochs(), follower.feed.Stats(); len(got) != len(before) || s.Holes == 0 || s.Wholes != wholes {
			t.Errorf("the host went through %v, before %v, with %d holes and %d whole ticks more", got, before, s.Holes, s.Wholes-wholes)
		}
		c.agree(t)
	})
}
