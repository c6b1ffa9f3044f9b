package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// A step of a schedule is one thing that happens to the feed or to one of its clients.
type step struct {
	What what
	// Who of the clients.
	Who int
	// Set chooses symbols, islands or channels, by bits.
	Set int
	// N is how many bytes, ticks or the like.
	N int
	// Pass is how much time passes then.
	Pass time.Duration
}

type what int

const (
	aTick     what = iota // of some symbols, or of the whole market
	islands               // of which some change
	anew                  // everything at once, after N ticks that no host has seen
	anEpoch               // begins with some symbols
	come                  // a client connects, or returns to host N with what it knows
	read                  // N bytes
	vanish                // with what has not been read
	subscribe             // to some channels
	leave                 // some channels
)

// sets are all sets of seven things. A sample of them has no bias to the first.
var sets = func() (all []int) {
	for set := range 128 {
		all = append(all, set)
	}
	return all
}()

// scenario is a whole schedule.
type scenario struct {
	Steps []step
	// Rooms are what the sockets of the clients hold, and with that how many clients there are.
	Rooms []int
	// History, Pending and Patience are limits of the hubs.
	History, Pending int
	Patience         time.Duration
}

var scenarios = rapid.Custom(func(r *rapid.T) scenario {
	var likely []what
	for kind, times := range map[what]int{aTick: 12, islands: 2, anew: 1, anEpoch: 1, come: 5, read: 8, vanish: 3, subscribe: 3, leave: 1} {
		likely = append(likely, slices.Repeat([]what{kind}, times)...)
	}
	slices.Sort(likely)
	steps := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) step {
		return step{
			What: rapid.SampledFrom(likely).Draw(r, "what"), Who: rapid.SampledFrom([]int{0, 1, 2, 3, 4, 5}).Draw(r, "who"), Set: rapid.SampledFrom(sets).Draw(r, "set"),
			N:    rapid.SampledFrom([]int{0, 1, 2, 3, 70, 150, 200, 350, 5000, 100_000}).Draw(r, "n"),
			Pass: rapid.SampledFrom([]time.Duration{0, 0, 0, 5 * time.Millisecond, 20 * time.Millisecond, time.Second}).Draw(r, "pass"),
		}
	}), 100, 200).Draw(r, "steps")
	return scenario{
		Steps: steps, Rooms: rapid.SliceOfN(rapid.SampledFrom([]int{60, 700, 3000, 1 << 20}), 6, 6).Draw(r, "rooms"),
		History:  rapid.SampledFrom([]int{1, 8 * updateOverhead, 60 * updateOverhead, 1 << 20}).Draw(r, "history"),
		Pending:  rapid.SampledFrom([]int{3 << 10, 1 << 20}).Draw(r, "pending"),
		Patience: rapid.SampledFrom([]time.Duration{3 * time.Second, time.Hour}).Draw(r, "patience"),
	}
})

// TestProperties holds two hosts with one feed to what clients are promised, whatever happens: what a client knows of a
// channel is what the feed said there at that number, numbers rise, nothing is skipped without a jump, what is recovered is
// exactly what was missed, and in the end everybody knows everything.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := scenarios.Draw(r, "scenario")
		var fault string
		synctest.Test(t, func(t *testing.T) { fault = play(t, s) })
		if fault != "" {
			r.Fatal(fault)
		}
	})
}

// world is the feed as it really is, and everybody who listens.
type world struct {
	t     *testing.T
	feed  *feed
	value int // of the newest change; no value comes twice
	hubs  [2]*Hub
	// said is what the feed said, by epoch, channel and number.
	said    map[string]saying
	clients []*follower
	fault   string
}

// saying is one update, and what is known with it.
type saying struct{ change, state map[string]int }

// names are the channels that clients ask for. The hubs do not know of sol before the feed does.
var names = []string{AllTickers, Global, Islands, "ticker:btc", "ticker:eth", "ticker:sol", "ticker:nope"}

func sayingOf(epoch, channel string, seq uint64) string {
	return fmt.Sprint(epoch, " ", channel, " ", seq)
}

// blame notes the first fault.
func (w *world) blame(format string, args ...any) {
	if w.fault == "" {
		w.fault = fmt.Sprintf(format, args...)
	}
}

// say notes an update of the feed.
func (w *world) say(epoch, channel string, seq uint64, change map[string]int) {
	state := map[string]int{}
	if seq > 1 {
		maps.Copy(state, w.said[sayingOf(epoch, channel, seq-1)].state)
	}
	maps.Copy(state, change)
	w.said[sayingOf(epoch, channel, seq)] = saying{change, state}
}

func play(t *testing.T, s scenario) (fault string) {
	t.Helper()
	w := &world{t: t, feed: newFeed("epoch-0"), said: map[string]saying{}}
	for i := range w.hubs {
		w.hubs[i] = New(Options{
			Symbols: []string{"btc", "eth"}, History: s.History, MaxPending: s.Pending, SlowTimeout: s.Patience, WriteTimeout: s.Patience,
			MessagesPerSecond: 10_000, PongTimeout: 24 * time.Hour, PingInterval: 24 * time.Hour,
		})
		w.hubs[i].Start()
	}
	w.publish(w.feed.whole())
	for i, room := range s.Rooms {
		w.clients = append(w.clients, newFollower(w, i, room))
		w.clients[i].come(i%2, true)
	}
	for _, step := range s.Steps {
		w.step(step)
		if time.Sleep(step.Pass); step.Pass > 0 {
			synctest.Wait()
		}
	}
	w.settle()
	for _, c := range w.clients {
		c.vanish()
	}
	for _, h := range w.hubs {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Second)
		h.Shutdown(ctx)
		cancel()
		if s := h.Stats(); s.Clients != 0 || s.Lagging != 0 || len(h.groups) != 0 || len(h.addresses) != 0 {
			w.blame("left behind %+v", s)
		}
	}
	return w.fault
}

func (w *world) publish(t Tick) {
	for _, h := range w.hubs {
		h.Publish(t)
	}
}

func (w *world) step(s step) {
	switch s.What {
	case aTick:
		w.publish(w.tick(s.Set))
	case islands:
		w.islands(s.Set | 1)
	case anew:
		for i := range s.N % 4 {
			w.tick(s.Set >> i)
		}
		w.publish(w.feed.whole())
	case anEpoch:
		w.feed = newFeed(w.feed.epoch + "+")
		w.tick(s.Set)
		w.publish(w.feed.whole())
	default:
		w.clients[s.Who%len(w.clients)].step(s)
	}
}

// tick changes some symbols, and tells nobody.
func (w *world) tick(set int) Tick {
	changes, all := []string{}, map[string]int{}
	for i, key := range []string{"btc", "eth", "sol", "global"} {
		if set&(1<<i) == 0 {
			continue
		}
		w.value++
		changes = append(changes, fmt.Sprintf("%s=%d", key, w.value))
		if all[key] = w.value; key == "global" {
			delete(all, key)
			w.say(w.feed.epoch, Global, w.feed.glob+1, map[string]int{"": w.value})
		} else {
			w.say(w.feed.epoch, tickerPrefix+key, w.feed.seqs[key]+1, map[string]int{key: w.value})
		}
	}
	if len(all) > 0 {
		w.say(w.feed.epoch, AllTickers, w.feed.all+1, all)
	}
	return w.feed.tick(changes...)
}

// islands changes some islands of both hosts, who number that by themselves.
func (w *world) islands(set int) {
	change := map[string]int{}
	var items []Item
	for i, key := range []string{"cache", "store"} {
		if set&(1<<i) != 0 {
			w.value++
			change[key] = w.value
			items = append(items, Item{Key: key, JSON: fmt.Append(nil, w.value)})
		}
	}
	for _, h := range w.hubs {
		w.say(h.local.epoch, Islands, h.local.n+1, change)
		h.PublishIslands(time.Now(), items)
	}
}

// settle brings everybody back, lets them read everything and compares what they know with what there is.
func (w *world) settle() {
	for quiet := 0; quiet < 5 && w.fault == ""; quiet++ {
		for _, c := range w.clients {
			if c.l == nil {
				c.come(0, true)
			}
		}
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		for _, c := range w.clients {
			for c.l != nil && c.read(1<<30) > 0 {
				quiet = 0
				synctest.Wait()
			}
			if c.l == nil {
				quiet = 0
			}
		}
	}
	for _, c := range w.clients {
		for name := range c.active {
			epoch, seq := w.feed.epoch, map[string]uint64{AllTickers: w.feed.all, Global: w.feed.glob}[name]
			switch {
			case name == Islands:
				epoch, seq = c.hub.local.epoch, c.hub.local.n
			case name != AllTickers && name != Global:
				seq = w.feed.seqs[name[len(tickerPrefix):]]
			}
			if p := c.known[name]; p == nil || p.epoch != epoch || p.seq != seq {
				w.blame("in the end client %d is at %+v in %s, not at %s %d", c.number, p, name, epoch, seq)
			}
		}
	}
}

// values reads the data of a message: numbers by key, or one number.
func valuesOf(channel string, data json.RawMessage) (map[string]int, error) {
	out := map[string]int{}
	if channel != Global {
		err := json.Unmarshal(data, &out)
		return out, err
	}
	var one *int
	err := json.Unmarshal(data, &one)
	if one != nil {
		out[""] = *one
	}
	return out, err
}

// chosen lists the channels of a set.
func chosen(set int) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return set&(1<<slices.Index(names, name)) == 0 })
}
