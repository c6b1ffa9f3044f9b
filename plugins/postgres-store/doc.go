// Command postgres-store is the store for a Postgres server: quotes, candles and entries, for one host or for several
// that share them.
//
// # Design
//
// A server that cannot be reached is nothing to fail over at the start, and nothing to wait for in a call. One goroutine,
// the keeper, owns the question: it holds a connection of its own beside the pool, migrates the schema when it first gets
// through, and looks after the server from then on. While it cannot get through, calls are Unavailable at once instead
// of each waiting for a time-out; once it can, they go on. It is woken by every call that fails, so the pool's word is
// heard, but its own decides: a single broken connection is not an outage, and a busy pool is not one either.
//
// What the driver says about a connection names hosts and users, so none of it is passed on. Errors carry a sentence of
// our own and the server's SQLSTATE.
//
// A batch is a few statements over arrays (unnest) in one transaction, sent together. Rows are sorted by their keys
// first, so that two hosts that save the same ones lock them in the same order; where they meet in a deadlock all the
// same, the transaction runs again.
//
// Two hosts that start together would both migrate: an advisory lock lets one of them do it.
//
// Times are integers of nanoseconds since 1970, since a timestamptz drops the last three digits. That covers 1678 to
// 2262: a row outside of it is refused, a bound outside of it is clamped.
//
// A quote is kept whole, as JSON, beside the columns that find it: figures come back exactly as they were given, the
// unknown ones included, and a new figure needs no migration. Candles are kept as columns, since there are many of them
// and their shape is settled.
//
// Candles of one asset, currency, interval and source are a series. An answer is made from one series, so sources cannot
// mix. Beside the rule that an open candle never replaces a closed one, the later asked replaces the earlier, so a
// batch that was spooled and arrives late does no harm.
//
// A cursor holds the place of the last row and a checksum over it and the question, so that one that was cut, made up or
// taken from another question is refused rather than answered with the wrong page.
package main
