// Package pipeline walks the layers: it is the road of every request, from the near cache down to a source and back, and
// the road of the live feed, from the sources to whoever listens.
//
// [Requests] answers questions (a report, quotes, candles, global figures, the catalogue) from the nearest place that
// knows: the near cache in this process, the cache island, the store island, the sources in their configured order. It
// knows no HTTP and no shape that a client sees: encoders are handed to it.
//
// [Feed] makes ticks of what the sources stream or are polled for, and hands them to a func. It knows no socket.
//
// # Design
//
// One primitive carries every kind of question (request.go): get these keys, and here is how to load them. A value is
// fresh, stale or absent. Concurrent loads of a key are one flight. A value that went stale not long ago is served while
// it is refreshed; an older one only when loading fails. "Not found" is remembered briefly. Reports, quotes, candles,
// global figures, sentiment and the catalogue are uses of it (market.go, report.go), each with its key, its strategy and
// its way to load.
//
// A flight does not belong to the request that began it: it goes on, within its own bound, when that client leaves, so
// that a thousand waiting others are not sent back to the start.
//
// The near cache (near.go) holds encoded answers: body, ETag and compressed forms are made once, in the flight. Its
// entries never change; a refresh replaces them. It learns of invalidations from the cache island's stream (watch.go).
// Where other hosts share the cache, every entry is suspect while the stream is down: confirmed by the cache island if that
// answers, served marked stale if it does not. Where nobody shares it, every invalidation comes by this process, so that a
// crash of the cache puts nothing into doubt. An invalidation that arrives during a load wins: each flight remembers the version it began with, and the
// journal of invalidations decides whether its result may be kept.
//
// The store hears of no other host's invalidations. Against a shared cache that does not hold a key, a stored row is
// therefore no more than the last copy: served as stale when the sources fail, never handed on as the truth.
//
// Remembered failures are bounded apart from answers, so that asking for what does not exist never pushes out what does.
// A symbol that the catalogue at hand does not hold is refused before anything is looked up.
//
// A source is asked through its breaker, with no retries while another source is in line and a few when it is the last
// (sources.go); a source that is failing anyway gets no retries, which would only make everybody wait. A need of a report
// that nobody can meet becomes null with a warning. Such a report, and one for which another than the first source in
// line had to answer, is kept for a short while only, so that it does not stay poor for an hour. Budgets are kept by each
// source for its own process; hosts that share one Redis do not share them.
//
// Sources of quotes that are in no list are known as well, by name alone: an operator tries one before others go by it. It
// counts for nobody else: it is not asked by itself, not for a second opinion either, and neither its failures nor its
// answers say whether external APIs are available.
//
// Who answers what may change while questions are answered (routes.go): cache, store, lines, strategies and reports are
// routes, which never change and are replaced as a whole. A question and its flight use the ones they began with, and
// those who do are counted, so that a reload knows when nobody asks the former islands any more and they may end. The near
// cache, the breakers of sources that go on and the modes outlive routes; remembered failures do not, because what nobody
// could answer, others may.
//
// What waits for the store is in the spool (spooled.go), a log on disk: all that the feed delivers, and what requests load
// while the store is away. One writer gives it to the store in order, in batches, and confirms what was answered; saving
// twice is saving once. A batch is tried for as long as it takes, rows that the store refuses are parted from the others and
// dropped, and after a full batch the store is left to others for as long as that took. While the spool cannot be written,
// rows wait in a bounded queue in memory. What is in the spool when the host ends, the next one writes.
//
// Whether cache, store, sources, reporters and spool are available is told by modes (mode.go), for logs and health alone:
// down with the first failure, up when it has worked for a while. What has answered is asked again at once.
//
// Writes to cache and store happen after the answer was delivered, in the same flight, bounded, and are counted and
// logged when they fail.
//
// # Design of overload and disbelief
//
// Cold work is let in by a lobby (lobby.go), before any island is asked: in turn by caller, the newest of each first, what
// freshens warm answers before all, for a fifth of a request's time at most. What it turns away hears when to come back,
// computed from the pace at which loads end. It measures how long goroutines wait for a processor and lets fewer in when
// that is long; then it also answers refusals after a pause, because refusing alone can take all processors. It is quick to
// find that, and slow to believe that it has passed: a flood comes back with the first easing.
//
// What a flight encodes and compresses, and the parts of lists that requests ask for, take half of the processors at most, on
// threads of their own (encoder.go) that the kernel lets wait when a warm request wakes another. Who stands in line for one still
// looks at the clock, holds no lock, and leaves when his time is up. Stale forms and the feed's own quotes are small and are
// encoded where they are needed. An encoder holds a processor of the Go runtime while the kernel lets it wait, and who stops the
// world then waits for it: it is therefore only a little nicer, by less than the islands are, and never starves beside them.
//
// That is also why a host has two processors of the Go runtime even where it has one of the machine: a runtime with a single
// one that is busy looks for arrivals every ten milliseconds only.
//
// Before each island stands a gate (gate.go). It bounds the calls under way (bulkhead.go): others wait in good hope while
// calls end, and few do once none has for a second. What the host does by itself, the feed above all, has its own room. A
// call gets what is left of the request's time but for the way back, and a source that never was as quick as would be
// needed is not asked. No room says nothing of an island: neither breaker nor mode hear of it, and nothing is remembered.
//
// The gate also believes nothing that cannot be (admit.go, recollect.go): times to come, negative prices, other assets,
// keys and currencies than were asked for, more rows than were asked for, candles that contradict themselves, endless or
// unprintable text, documents that were not declared. It drops the row, or the figure where the row does without, and
// counts it by island and reason. An answer of which nothing is left is a BadUpstream when there was a lie in it. The last
// price of what is no longer traded is none: else whoever asks for three dead coins would open a source's breaker. The feed
// judges quotes once more (merge.go), by tighter bounds and because they come from other hosts as well.
//
// # Design of the feed
//
// Per symbol the first source in line speaks; the next one does so while all better ones are silent (merge.go). Whoever
// speaks, a quote is taken only when it is newer than the last one. What an exchange does not know is filled in from what
// another source of the feed said last, and the quote's note says so.
//
// What is taken waits in a map of latest values until one goroutine makes a tick of it (conduct.go), so that a slow cache
// makes ticks coarser and nothing longer. A tick is in the near cache, the cache island and the spool before it is
// delivered; the store's writer (ledger.go) takes it from there, and nobody waits for that. A request whose load took longer than a tick must not
// overwrite it: the near cache keeps the newer quote, and requests look under a lock (live.go) before they write to the
// cache.
//
// What is fed is a plan (plan.go), replaced as routes are. Symbols change under the streams, which ask for others; for other
// sources the desk is opened anew and inherits what the former knew. A symbol that is left out is missing from a whole tick
// that takes the place of the next, so that the epoch and its numbers go on.
//
// Where hosts share a cache, one of them holds a lease, speaks to the sources and appends its ticks to the coordinator's
// log; every host, that one too, delivers what it reads there. Its next tick is computed from the log alone, and not
// before the one before was read back. A new leader first writes a marker under its token, which shuts out all older ones,
// and reads the log up to it (leader.go). It goes on with the epoch only if it can show that nothing is missing in what it
// has read: it begins to read before the last record it knows, which has to come again (follow.go). Otherwise, as after a
// flush of Redis, a new epoch begins with all that is known. What became of a record that was written without an answer
// is not guessed: the leader gives the lease back, and a new token shuts out what may still arrive.
//
// The log holds a state, which is everything that is known, at least every 128 records, and whenever a host asks for one
// because it misses something.
//
// A host that cannot reach the coordinator for a while goes on alone, in an epoch of its own. When it comes back, it may
// have delivered what the leader has not: it offers that to the leader and waits until it comes back with the log, so
// that no price goes back in time and every tick is the same on all hosts.
package pipeline
