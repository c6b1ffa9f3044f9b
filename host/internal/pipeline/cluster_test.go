package pipeline

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"
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
