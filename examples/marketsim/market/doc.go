// Package market is an imaginary crypto market: some 300 coins whose price, candles, volume and trade count can be
// asked for at any instant, past or future, without anything being stored.
//
// # Design
//
// Everything is a pure function of (seed, coin, time), so two programs with one seed agree, a restart changes nothing
// and a stream can be cut at any instant.
//
// A day's open and close lie on a sum of value-noise octaves (a factor that all coins share, plus one of each coin's
// own); its high and low are drawn around them. Inside the day the path is built top down: a day is split into 4 hours,
// those into 1 hour, 30, 15, 5 and 1 minute and 1 second, and every split hands the parent's high to one child and its
// low to another. So a candle of any length costs a few hundred nanoseconds, and the candles of one interval are exactly
// what the candles of a shorter one add up to. Sampling a noise function could not promise that at any price.
//
// Volume and trades come from one increasing function of time in the same tree, so they add up too, and a rolling
// 24 hour figure is a subtraction.
//
// The path is quoted in USDT, which is what an exchange shows. [Coin.USD] adds the few basis points that lie between
// that and an aggregator's dollar price.
//
// Floating point may round differently on another processor architecture: bodies are identical on one architecture,
// and equal within rounding across them.
package market
