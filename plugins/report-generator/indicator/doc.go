// Package indicator computes technical indicators as streams: feed one bar at a time, ask for the value at any moment,
// and hear honestly when there is none yet.
//
// Every streaming type has an Update that takes the next observation, oldest first, and a Value that returns what the
// observations so far amount to, with false while they are too few. A value never depends on what comes later, so that
// appending a bar changes no earlier value.
//
// # Design
//
// Seeds. The sources of a formula agree on its recursion and differ in how it starts; these are the starts taken here:
//
//   - EMA: the first value is the simple average of the first n observations, then x·2/(n+1) + previous·(1-2/(n+1)), as
//     TA-Lib, TradingView and StockCharts do. MACD is the difference of the very EMAs that are shown beside it.
//   - Wilder's average (RSI, ATR): the simple average of the first n, then previous + (x-previous)/n. Source: J. Welles
//     Wilder, New Concepts in Technical Trading Systems, 1978.
//   - ATR: the true range of the very first bar is its high less its low, as on StockCharts, so that 14 bars give a value.
//   - ADX: Wilder's sums start with the movements of the first n-1 changes and are smoothed from the n-th on, as TA-Lib
//     does it; the first ADX is the simple average of the first n directional indices, after 2n bars.
//   - OBV: starts with the volume of the first bar, as in TA-Lib. Its level means nothing, its changes do.
//
// Undefined cases. An RSI without gains and losses is 50: a price that stands still is neither bought nor sold (TA-Lib
// says 0, which would read as "oversold"). A stochastic over a range of nothing is 50 for the same reason. A directional
// index without movement is 0. A Bollinger percent-b without width, and a VWAP without volume, do not exist.
//
// Bollinger Bands use the population standard deviation, as John Bollinger defines them; realised volatility the sample
// standard deviation, as it estimates from a sample.
//
// Arithmetic. Averages are taken as offsets from an observation, so that equal observations average to exactly
// themselves and a flat market gives no signal out of rounding. Windows are summed anew each time: at a few hundred bars
// that costs microseconds, and a running sum would drift. Products that are added to something are wrapped in an
// explicit float64 conversion, which forbids the compiler to fuse the two: on machines with fused multiply-add the
// figures would otherwise differ in the last bit from those without.
package indicator
