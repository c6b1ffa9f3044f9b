// Command sqlite-store is the embedded store: quotes, candles and entries in one SQLite file, with no server to run.
//
// # Design
//
// The file is in WAL mode with one connection that writes and several that read, because SQLite has one writer at a
// time anyway: a queue in this process is fairer and cheaper than waiting for the file's lock. That lock is still
// honoured, so two processes may share the file while one replaces the other.
//
// A transaction survives the end of the process at any moment, kill -9 included. The last ones before a power failure
// may be lost (synchronous=NORMAL), never the file.
//
// Times are integers of nanoseconds since 1970, because SQLite has no type for them and text would cost precision or
// order. That covers 1678 to 2262: a row outside of it is refused, a bound outside of it is clamped.
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
