// Cache is the island that remembers: L1 in its own memory, L2 in Redis. Through the same Redis it lets hosts agree on
// leases, logs and budgets.
//
// # Design
//
// L1 is ccache, which knows one dimension of size. An entry weighs at least max_memory / max_entries, so that the one
// bound covers bytes and entries. ccache returns expired items and blocks for ever once stopped; type memory hides both.
//
// Every invalidation, local or heard from another host, is a record in the journal and raises its version. A fill and a
// promotion are admitted under the journal's read lock, and an invalidation drops L1 under its write lock: there is no
// moment in between at which an old value could slip in. The version starts at the clock, so that a version of an
// earlier life of the process is always older than what the journal remembers, and refused.
//
// Redis orders what the hosts do. An invalidation raises a generation in Redis and announces itself before it unlinks
// anything, and announces its end afterwards. A fill reads the generation behind its writes: when that is ahead of what
// this host has heard, it waits to hear the rest and takes back what turns out to be refused. So an invalidation wins
// against a load on another host too, without a lock in Redis.
//
// The subscription is the measure of trust in L1. Each one that stands is a session; an L1 entry that was not confirmed
// in the present session is checked against L2 before it is served, and served as it is while L2 does not answer. So a
// lost message never keeps an old value alive, and an unreachable Redis never destroys the last copy.
//
// An invalidation that L2 could not be told of is a debt: L2 is not read for these keys until it is paid.
//
// One goroutine holds the subscription, notices a silent link by its own pings, and is also the probe that brings L2
// back after three failures in a row have taken it out.
//
// Versions of leases and generations are never smaller than Redis' clock in microseconds: they keep rising across a
// FLUSHALL or an empty restart, and they stay below 2^53, which Lua's numbers hold exactly.
//
// Budgets count in a twentieth of their window each, and a part counts until all of it has left the window. So no
// window of that length, wherever it begins, ever holds more than the limit, which a token bucket would allow.
package main
