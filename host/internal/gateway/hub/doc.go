// Package hub hands the live feed to its clients: channels with a place for every update, a history for those who return,
// and one loop that writes to everybody. It knows no HTTP server: a client is a [Conn].
//
// # Design
//
// What is published is an event: one update per channel that it touches (events.go). An event has a position, which is
// all that the hub needs to know of a client: everything up to its position has been handed over. Clients with the same
// channels in the same encoding form a group; what has come since the last flush is put together once per group, and each
// member gets the same bytes in one write that never waits (flush.go). An update is encoded once per encoding, when
// somebody first needs it.
//
// A flush begins at once when the one before ended at least FlushPause ago, and otherwise as soon as it has: an idle feed
// is not delayed, a busy one merges what waits into one write. The pause is counted from the end, because a round over
// many clients takes longer than any pause worth having.
//
// A client whose socket is full gets a goroutine that waits for it (client.go), and no copies of what it misses: when the
// socket takes bytes again, it is sent the latest value of each key that has changed since its position, with the
// channel's present number, so that the jump shows what it missed. It is in step again once everything is written. One that
// does not get there within SlowTimeout, takes nothing for WriteTimeout, or has more than MaxPending bytes waiting, is
// disconnected with [CloseSlow].
//
// A client that returns says what it had last. While the history still holds everything after that, the client gets
// exactly that, as it was; otherwise the latest values. An event stream's cursor is a place in the feed as a whole, from which the
// place in each channel follows, so that it stays short however many channels there are.
//
// Numbers and epochs of the feed come with it, so that they are the same on every host; those of the islands channel are
// this host's own. A feed that begins anew, or skips, replaces everything: every client gets a snapshot.
//
// Locks: a client's own before the hub's, never the reverse. Nothing is written under the hub's.
package hub
