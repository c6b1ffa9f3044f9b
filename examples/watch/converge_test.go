package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// host is a model of a feed with one channel: what it holds, what it still knows, and what is on its way to one client.
type host struct {
	epoch  int
	seq    uint64
	prices map[string]int
	ring   []tick
	queue  []string // messages,
	ticks  []tick   // and the updates among them that may be conflated, all at its end.
}

type tick struct {
	seq     uint64
	changed map[string]int
}

const ringSize = 4

func (h *host) name() string { return fmt.Sprintf("epoch-%d", h.epoch) }

func (h *host) tick(changed map[string]int, connected bool) {
	h.seq++
	maps.Copy(h.prices, changed)
	h.ring = append(h.ring, tick{h.seq, changed})
	h.ring = h.ring[max(len(h.ring)-ringSize, 0):]
	if connected {
		h.ticks = append(h.ticks, tick{h.seq, changed})
	}
}

// flush makes messages of the ticks.
func (h *host) flush() {
	for _, t := range h.ticks {
		h.queue = append(h.queue, update(h.name(), t.seq, listed(t.changed)))
	}
	h.ticks = nil
}

func (h *host) subscribe(frame []byte) error {
	var r request
	if err := json.Unmarshal(frame, &r); err != nil {
		return err
	}
	since, had := r.Since["ticker:*"]
	recovered := had && since.Epoch == h.name() && since.Seq <= h.seq && h.seq-since.Seq <= uint64(len(h.ring))
	h.queue, h.ticks = []string{snapshot(h.name(), h.seq, listed(h.prices)), answered(recovered)}, nil // The defaults' comes first.
	if !recovered {
		h.queue = append(h.queue, snapshot(h.name(), h.seq, listed(h.prices)))
		return nil
	}
	for _, t := range h.ring {
		if t.seq > since.Seq {
			h.queue = append(h.queue, update(h.name(), t.seq, listed(t.changed)))
		}
	}
	return nil
}

// listed writes prices as ticker reads them.
func listed(prices map[string]int) string {
	var pairs []string
	for _, symbol := range slices.Sorted(maps.Keys(prices)) {
		pairs = append(pairs, fmt.Sprintf("%s %d", symbol, prices[symbol]))
	}
	return strings.Join(pairs, ", ")
}

// heard is what reached the client in one epoch: the places of its snapshots and updates.
type heard struct {
	first, last uint64
	updates     map[uint64]bool
}

// TestConverges: whatever is dropped, conflated, repeated or begun anew, the client ends with what the host holds, and
// counts what it was not told.
func TestConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &host{prices: map[string]int{"btc": 1}}
		f := newFeed([]string{"ticker:*"})
		connected, answeredYet, epochs := false, false, map[string]*heard{}
		drop := func() {
			f.interrupted()
			connected, answeredYet, h.queue, h.ticks = false, false, nil, nil
		}
		connect := func() {
			connected = true
			for _, frame := range subscribe(f.names, f.since()) {
				if err := h.subscribe(frame); err != nil {
					t.Fatal(err)
				}
			}
		}
		deliver := func(text string) {
			m := parse(t, text)
			_, err := f.apply(m, noon)
			if errors.Is(err, errEpoch) {
				drop()
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			answeredYet = answeredYet || m.Type == "subscribed"
			if m.Type == "subscribed" || !answeredYet {
				return
			}
			e := epochs[m.Epoch]
			if e == nil {
				e = &heard{first: m.Seq, updates: map[uint64]bool{}}
				epochs[m.Epoch] = e
			}
			if m.Type == "market_update" {
				e.updates[m.Seq] = true
			}
			e.last = max(e.last, m.Seq)
		}
		change := rapid.MapOfN(rapid.SampledFrom([]string{"btc", "eth", "sol"}), rapid.IntRange(1, 9), 1, 3)
		last := ""
		next := func() {
			h.flush()
			if len(h.queue) > 0 {
				last, h.queue = h.queue[0], h.queue[1:]
				deliver(last)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"tick":    func(t *rapid.T) { h.tick(change.Draw(t, "changed"), connected) },
			"deliver": func(*rapid.T) { next() },
			"drop":    func(*rapid.T) { drop() },
			"connect": func(t *rapid.T) {
				if !connected {
					connect()
				}
			},
			"conflate": func(t *rapid.T) {
				if len(h.ticks) > 1 {
					merged := tick{changed: map[string]int{}}
					for _, t := range h.ticks {
						merged.seq = t.seq
						maps.Copy(merged.changed, t.changed)
					}
					h.ticks = []tick{merged}
				}
			},
			"repeat": func(t *rapid.T) {
				if connected && answeredYet && strings.Contains(last, "market_update") && strings.Contains(last, h.name()) {
					deliver(last)
				}
			},
			"another host": func(t *rapid.T) {
				h.flush()
				h.epoch++
				h.seq = rapid.Uint64Range(0, 9).Draw(t, "seq")
				h.ring, h.prices = nil, change.Draw(t, "prices")
				switch {
				case !connected:
				case rapid.Bool().Draw(t, "drops"):
					drop()
				case rapid.Bool().Draw(t, "snapshot"):
					h.queue = append(h.queue, snapshot(h.name(), h.seq, listed(h.prices)))
				}
			},
			"": func(t *rapid.T) {
				if f.holes == 0 && f.lost > 0 {
					t.Fatalf("%d lost without a hole", f.lost)
				}
			},
		})
		for range 2 { // An epoch without a snapshot ends the first connection.
			if !connected {
				connect()
			}
			h.tick(map[string]int{"btc": 7}, true)
			for h.flush(); len(h.queue) > 0; {
				next()
			}
		}
		if got, want := prices(f), listed(h.prices); got != want {
			t.Fatalf("the client has %s, the host %s", got, want)
		}
		var lost uint64
		for _, e := range epochs {
			lost += e.last - e.first - uint64(len(e.updates))
		}
		if f.lost != lost {
			t.Fatalf("%d counted as lost, %d were", f.lost, lost)
		}
	})
}
