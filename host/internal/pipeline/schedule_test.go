package pipeline

import (
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/service-islands/islands/sdk"
)

// event is one thing that happens to a cluster, and how long the world goes on after it.
type event struct {
	what string
	host int
	then time.Duration
}

// whatHappens lists what may befall a host or all of them.
var whatHappens = []string{
	"nothing", "start", "leave", "kill", "cut", "heal", "deaf", "freeze", "stall", "lose", "late", "later", "stick", "swallow", "flush", "begin anew",
	"trim", "cut all", "heal all", "garbage", "pause",
}

func (e event) String() string { return fmt.Sprintf("%s %d, %v", e.what, e.host, e.then) }

// stage is a cluster to which things happen.
type stage struct {
	*cluster
	living []*fed
	mend   map[*fed]func() // undoes what was done to a host
}

func (s *stage) launch() {
	h := s.start(func(f *FeedOptions) { f.Hold = time.Hour })
	s.living = append(s.living, h)
	s.mend[h] = func() {}
}

func (s *stage) remove(h *fed) {
	for i := range s.living {
		if s.living[i] == h {
			s.living = append(s.living[:i:i], s.living[i+1:]...)
			return
		}
	}
}

// heal undoes what was done to a host.
func (s *stage) heal(h *fed) {
	s.mend[h]()
	s.mend[h] = func() {}
}

// harm does something to a host that can be undone.
func (s *stage) harm(h *fed, change func(c *fakeCoordinator)) {
	s.heal(h)
	h.way().set(change)
	s.mend[h] = func() { h.way().set(func(c *fakeCoordinator) { c.down, c.deaf = false, false }) }
}

func (s *stage) happen(e event) {
	switch e.what {
	case "start":
		if len(s.living) < 3 {
			s.launch()
		}
	case "flush", "begin anew":
		s.redis.flush(e.what == "begin anew")
	case "trim":
		s.redis.trim(2)
	case "garbage":
		_, _ = s.redis.append(sdk.Message{Payload: []byte("garbage")})
	case "cut all":
		for _, h := range s.living {
			s.harm(h, func(c *fakeCoordinator) { c.down = true })
		}
	case "heal all":
		for _, h := range s.living {
			s.heal(h)
		}
	case "pause":
		time.Sleep(e.then) // No price moves.
	}
	if len(s.living) == 0 {
		return
	}
	h := s.living[e.host%len(s.living)]
	switch e.what {
	case "leave":
		s.heal(h)
		h.end()
		s.remove(h)
	case "kill":
		s.heal(h)
		h.kill()
		s.remove(h)
	case "cut":
		s.harm(h, func(c *fakeCoordinator) { c.down = true })
	case "deaf":
		s.harm(h, func(c *fakeCoordinator) { c.deaf = true })
	case "heal":
		s.heal(h)
	case "freeze":
		s.heal(h)
		s.mend[h] = h.way().freeze()
	case "stall":
		s.heal(h)
		stalled := make(chan struct{})
		h.receiver.mu.Lock()
		h.hook = func(Tick) { <-stalled }
		h.receiver.mu.Unlock()
		s.mend[h] = func() {
			close(stalled)
			synctest.Wait()
			h.receiver.mu.Lock()
			h.hook = nil
			h.receiver.mu.Unlock()
		}
	case "lose":
		h.way().set(func(c *fakeCoordinator) { c.late = -1 })
	case "late":
		h.way().set(func(c *fakeCoordinator) { c.late = 1200 * time.Millisecond })
	case "swallow":
		h.way().swallowOne()
	case "stick":
		h.way().set(func(c *fakeCoordinator) { c.late, c.stuck = 3*time.Second, 3 })
	case "later":
		h.way().set(func(c *fakeCoordinator) { c.late = 9 * time.Second })
	}
}

// play lets a schedule happen and returns what is wrong in the end.
func play(t *testing.T, events []event) (wrong []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{cluster: newCluster(), mend: map[*fed]func(){}}
		s.redis.keep, s.pace = 300, 200*time.Millisecond
		s.launch()
		s.launch()
		s.run(time.Second)
		for _, e := range events {
			s.happen(e)
			s.run(e.then)
		}
		for _, h := range s.living {
			s.heal(h)
		}
		if len(s.living) == 0 {
			s.launch()
		}
		s.pace = time.Second
		s.run(30 * time.Second)
		wrong = s.disputes()
		epoch, n, asOf := s.living[0].state()
		leaders := 0
		for i, h := range s.living {
			gotEpoch, gotN, got := h.state()
			if gotEpoch != epoch || gotN != n || !maps.EqualFunc(got, asOf, time.Time.Equal) {
				wrong = append(wrong, fmt.Sprintf("host %d is at %d of %s, another at %d of %s", i, gotN, gotEpoch, n, epoch))
			}
			if price, _ := h.receiver.price("btc"); price != s.price {
				wrong = append(wrong, fmt.Sprintf("host %d takes btc to be worth %v, not %v", i, price, s.price))
			}
			if s := h.feed.Stats(); s.Mode == FeedLeading {
				leaders++
			} else if s.Panics > 0 {
				wrong = append(wrong, "a panic")
			}
		}
		if standing, _ := s.stream.standing(); leaders != 1 || standing != 1 {
			wrong = append(wrong, fmt.Sprintf("%d hosts lead, %d streams stand", leaders, standing))
		}
		for _, h := range s.cluster.hosts {
			h.end()
		}
	})
	return wrong
}

// TestWhateverHappens holds the hosts to the rules of the feed: no tick and no place in a channel twice, the same tick on
// all hosts, no price that goes back in time on any of them, and one state in the end.
func TestWhateverHappens(t *testing.T) {
	events := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) event {
		return event{
			what: rapid.SampledFrom(whatHappens).Draw(t, "what"), host: rapid.IntRange(0, 2).Draw(t, "host"),
			then: time.Duration(rapid.SampledFrom([]int{0, 200, 700, 1500, 4000, 8000}).Draw(t, "then")) * time.Millisecond,
		}
	}), 1, 12)
	rapid.Check(t, func(rt *rapid.T) {
		schedule := events.Draw(rt, "schedule")
		if wrong := play(t, schedule); len(wrong) > 0 {
			rt.Fatalf("%v\n%v", schedule, wrong)
		}
	})
}
