// Package binance simulates the market data part of Binance's spot REST API, and says what its streams tell. How a stream
// reaches its subscribers is the matter of package streams.
//
// # Design
//
// Every call costs weight, also one that fails, and every reply says how much the minute has used. Beyond the limit a
// caller gets 429; one that goes on all the same is banned with 418, for longer each time.
//
// Prices are strings, times and counts are numbers. A pair that is no longer traded is still listed, with zeros, a first
// trade id of -1 and candles that end where its trading did.
//
// A stream's message is a function of two instants, the tick and the one before it. So every subscriber gets the same
// bytes, and what REST answers for that instant says the same.
//
// The path of the market is quoted in USDT, so nothing is converted here.
package binance
