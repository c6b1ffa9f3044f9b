// Package kraken simulates the public part of Kraken's spot REST API, and says what the channels of its WebSocket API, version
// 2, tell. How a channel reaches its subscribers is the matter of package streams.
//
// # Design
//
// An error is a list of words in an answer with status 200. Each address has a counter that rises by one with a call and falls
// by one a second; beyond its height calls are refused, and count all the same. Candles have a counter per pair.
//
// A pair has three names, XXBTZUSD, XBTUSD and XBT/USD, and the channels know a fourth, BTC/USD. Figures are strings in
// answers and numbers in channels. The opening price of a ticker is the one of midnight, and no price of 24 hours ago is told
// but by the channel. The last row of candles is the open one, always, and a row stands for each interval, traded in or not.
//
// The prices are those of the market's path, times what a dollar is dearer here than a USDT at the other exchange: a part of
// the pair's own, below three basis points.
package kraken
