package pipeline

import "sync/atomic"

// counts are the pipeline's own figures.
type counts struct {
	loads, staleServed          atomic.Uint64
	writes, writeFailures       atomic.Uint64
	invalidations, streamBreaks atomic.Uint64
}

// written counts a write to the cache or the store; the arguments are those of ask.
func (c *counts) written(_ int, err error) {
	if err != nil {
		c.writeFailures.Add(1)
		return
	}
	c.writes.Add(1)
}

// Stats are the pipeline's figures since its start, all counted.
type Stats struct {
	NearEntries, NearBytes              int64
	NearHits, NearMisses, NearEvictions uint64
	Suspect                             bool
	Loads, Refused, StaleServed         uint64
	Writes, WriteFailures               uint64
	Invalidations, StreamBreaks         uint64
	FlightsUnderWay                     int
	CacheAvailable, StoreAvailable      bool
	SourcesAvailable                    bool
	Lobby                               LobbyStatus
	// Cache, Store and Sources are the same with their changes; Spool is whether the spool takes what comes.
	Cache, Store, Sources, Spool Mode
}

// Stats returns the figures as they stand.
func (r *Requests) Stats() Stats {
	r.mu.Lock()
	flights := len(r.flights)
	r.mu.Unlock()
	n, c := r.near, &r.counts
	return Stats{
		NearEntries: n.count.Load(), NearBytes: n.bytes.Load(), NearHits: n.hits.Load(), NearMisses: n.misses.Load(),
		NearEvictions: n.evictions.Load(), Suspect: n.doubt.Load(),
		Loads: c.loads.Load(), Refused: r.lobby.shed.Load(), Lobby: r.lobby.status(), StaleServed: c.staleServed.Load(),
		Writes: c.writes.Load(), WriteFailures: c.writeFailures.Load(),
		Invalidations: c.invalidations.Load(), StreamBreaks: c.streamBreaks.Load(), FlightsUnderWay: flights,
		CacheAvailable: r.cacheMode.available(), StoreAvailable: r.storeMode.available(), SourcesAvailable: r.sources.mode.available(),
		Cache: r.cacheMode.status(), Store: r.storeMode.status(), Sources: r.sources.mode.status(), Spool: r.ledger.spooling.status(),
	}
}

// Sources returns how each source does.
func (r *Requests) Sources() []SourceStatus { return r.sources.status() }
