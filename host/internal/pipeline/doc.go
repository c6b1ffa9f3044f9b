// Package pipeline walks the layers: it is the road of every request, from the near cache down to a source and back.
//
// [Requests] answers questions (a report, quotes, candles, global figures, the catalogue) from the nearest place that
// knows: the near cache in this process, the cache island, the store island, the sources in their configured order. It
// knows no HTTP and no shape that a client sees: encoders are handed to it.
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
// While the stream is down every entry is suspect: confirmed by the cache island if that answers, served marked stale if
// it does not. An invalidation that arrives during a load wins: each flight remembers the version it began with, and the
// journal of invalidations decides whether its result may be kept.
//
// A source is asked through its breaker, with no retries while another source is in line and a few when it is the last
// (sources.go). A need of a report that nobody can meet becomes null with a warning; the report is then kept for a short
// while only, so that it does not stay poor for an hour.
//
// Writes to cache and store happen after the answer was delivered, in the same flight, bounded, and are counted and
// logged when they fail.
package pipeline
