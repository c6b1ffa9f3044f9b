package pipeline

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
)

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
		follower.way().swallowOne()
		c.run(20 * time.Second)
		c.settled(t, a, b)
		if got, s := follower.epochs(), follower.feed.Stats(); len(got) != len(before) || s.Holes == 0 || s.Wholes != wholes {
			t.Errorf("the host went through %v, before %v, with %d holes and %d whole ticks more", got, before, s.Holes, s.Wholes-wholes)
		}
		c.agree(t)
	})
}
