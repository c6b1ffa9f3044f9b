// Package observe is layer 4: it watches every call that the host makes and changes none. [Observer] counts, times and
// logs each call to an island and each operation of the host itself; [System] folds the health of all islands into the
// answer of /health/system.
//
// # Design
//
// Every call is measured in one place, the [process.Observer] that sdk/process calls around each call of the contract,
// so an island cannot be reached unobserved and no caller has to remember to measure.
//
// Durations go into a sketch of fixed buckets, 16 to each doubling, from 1.024 µs to 137 s. A percentile is the middle of
// its bucket, which is at most 3.2 % away from the true value; below the first bucket it is 0.5 µs, above the last the
// largest duration seen. Fixed buckets cost one atomic add, need no lock, add up across time, and give the Prometheus
// histogram exactly, because its bounds are edges of the sketch. Counts and percentiles cover the life of the host.
//
// Streams (cache_watch, subscribe, stream) live as long as the host. They are not timed: what counts is how often they
// are opened and how often they break by themselves.
//
// NotFound, Canceled, Unsupported and Conflict are answers rather than faults: they are counted by kind, logged at debug
// and left out of the sum of errors. Health and metrics are polled, so their success is logged at debug too. Everything
// else is logged with the three messages that operators search for; a slow operation is warned about beside its outcome.
//
// The number of series is bounded. Operations come from the contract and from the host's routes, but a mistake there
// must not eat the memory: beyond the bound they share one series per host.
package observe
