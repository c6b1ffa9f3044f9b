// Package analysis turns daily candles into the technical part of a report: indicators, volatility, levels and a
// verdict, each with what it was computed from, and a warning in plain words for everything that could not be.
//
// # Design
//
// Closed days only. A candle counts when its source calls it closed and its day has ended at the report's time; the one
// that still moves would make every figure wander. Candles of another interval are refused, because an "RSI of 14 days"
// out of four-day candles is a wrong number with a right name.
//
// Nothing is invented. A day that is missing stays missing, and the run of days is said to have a hole. Where highs and
// lows or volumes are unknown, what needs them is computed from the newest unbroken run that has them, or is null.
//
// Volatility and drawdowns are in percent. A realised volatility of n days takes n returns of consecutive days, so a
// hole among them makes it null. A drawdown of n days takes the closes of the newest n days and is a positive number.
//
// Levels. A turn is a high or low that the five days before and after it do not pass (indicator.Swings), within the
// newest 365 days. Turns within one ATR(14) of the lowest of their group are one level, their mean (indicator.Cluster).
// The three nearest below the price are support, the three nearest above it resistance, nearest first; a level that was
// broken changes sides by itself. Pivots are the classic ones of the newest closed day.
//
// Signals follow the criteria of TradingView's Technical Ratings
// (https://www.tradingview.com/support/solutions/43000614331-technical-ratings/) where they have one:
//
//   - moving averages (SMA 20, 50 and 200, EMA 12 and 26, VWAP): buy when the close is above, sell when below
//   - RSI: buy below 30 and rising, sell above 70 and falling
//   - MACD: buy when above its signal line, sell when below
//   - stochastic RSI: buy with K and D below 20 and K above D, sell with both above 80 and K below D
//   - ADX: with a trend (above 20), buy when +DI is above -DI, sell when below. TradingView asks for the day of the
//     crossing; the state that follows it is taken here, because a daily report would otherwise hardly ever show it
//   - Bollinger Bands: buy below the lower band, sell above the upper one
//   - ATR and OBV have no signal: the former knows no direction, the latter no scale
//
// Verdict. A buy counts +1, a sell -1, a neutral 0. Moving averages and oscillators (RSI, MACD, stochastic RSI, ADX,
// Bollinger Bands) are averaged apart, and the score is the mean of the two averages, or the one there is. Below -0.5 it
// is strong_sell, below -0.1 sell, up to 0.1 neutral, up to 0.5 buy, above it strong_buy. The confidence is the share of
// the eleven inputs that are known, halved when the candles are stale or end more than 36 hours before the report.
// Without any input the score is null, the label neutral and the confidence 0.
package analysis
