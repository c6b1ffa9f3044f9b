package hub

import "sync/atomic"

// counts are the hub's own figures.
type counts struct {
	flushes, delivered, conflated atomic.Uint64
	recovered, unrecovered        atomic.Uint64
	refused, slow, noisy          atomic.Uint64
	lagging                       atomic.Int64
}

// Stats are the hub's figures since its start, all counted.
type Stats struct {
	// Clients that are connected, and those of them that lag right now.
	Clients, EventStreams, Lagging int
	// Channels there are, and groups of clients with the same ones.
	Channels, Groups int
	// Connected counts the clients so far, Refused those that were not let in, Slow and Noisy those that were sent away.
	Connected, Refused, Slow, Noisy uint64
	// Delivered counts messages with updates, once for each client; Conflated how often a client got the latest values instead.
	Delivered, Conflated, Flushes uint64
	// Recovered and Unrecovered count channels of clients that returned.
	Recovered, Unrecovered uint64
	// HistoryEvents and HistoryBytes are kept for clients that return.
	HistoryEvents, HistoryBytes int
	// Epoch and N are where the feed is.
	Epoch string
	N     uint64
}

// Stats returns the figures as they stand.
func (h *Hub) Stats() Stats {
	n := &h.counts
	s := Stats{
		Lagging: int(n.lagging.Load()), Refused: n.refused.Load(), Slow: n.slow.Load(), Noisy: n.noisy.Load(),
		Delivered: n.delivered.Load(), Conflated: n.conflated.Load(), Flushes: n.flushes.Load(),
		Recovered: n.recovered.Load(), Unrecovered: n.unrecovered.Load(),
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Clients, s.Channels, s.Groups, s.Connected = len(h.clients), len(h.channels), len(h.groups), h.opened
	for _, g := range h.groups {
		if g.encoding == EventStream {
			s.EventStreams += len(g.members)
		}
	}
	s.HistoryEvents, s.HistoryBytes, s.Epoch, s.N = len(h.events), h.kept, h.feed.epoch, h.feed.n
	return s
}
