package pipeline

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
)

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

// TestAStateIsAskedFor has a host that comes back miss the state that the leader writes for it.
func TestAStateIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		defer c.end()
		a, b := c.start(), c.start()
		c.run(time.Second)
		b.way().set(func(c *fakeCoordinator) { c.down = true })
		c.run(10 * time.Second)
		c.redis.trim(1)
		c.pace = time.Second
		missed := 0
		b.way().set(func(c *fakeCoordinator) {
			c.down = false
			c.swallow = func(msg sdk.Message) bool {
				rec, err := decodeRecord(msg.Payload)
				if err != nil || rec.Kind != recordState || missed == 2 {
					return false
				}
				missed++
				return true
			}
		})
		c.run(10 * time.Second)
		if missed != 2 {
			t.Errorf("%d states were missed", missed)
		}
		c.settled(t, a, b)
		c.agree(t)
	})
}
