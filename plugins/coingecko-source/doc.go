// The coingecko-source island asks CoinGecko (API v3) for quotes, candles, global figures and the catalogue of assets.
//
// # Design
//
// One call serves up to 250 quotes, which is what a small budget needs. Assets that come without an id are looked up by
// symbol in a second call, where the coin with the highest market capitalisation wins, and the quote says so.
//
// CoinGecko's candles of a day or more span four days, which nothing should be computed from. Daily and hourly candles
// are therefore made of market_chart's prices and hold closes only: the price at 00:00 UTC is the close of the day that
// ended there, and the last price, which is the current one, belongs to the day that still runs. Its volumes are left
// out, because they are sums over the past 24 hours in money, not units of the asset within the candle.
//
// A price counts as a close only if it was taken within an hour of midnight, or within ten minutes of the full hour. A
// chart may begin anywhere, with the first price of a coin that was listed in the morning, and have holes; a day without a
// close is known to be unknown, where a price from elsewhere would pass for one.
//
// CoinGecko caches charts for up to twelve hours. Candles are therefore as of the newest stamp in the reply, and of now
// only where that one lies ahead, as that of an open candle does.
//
// A 404 is a coin that does not exist only where CoinGecko says so in its own words, about a path that names a coin.
// Anything else comes from a wrong url or from something in between, and must show in the health.
//
// The stamps of /ohlc are close times and become open times here; a reply whose candles turn out to be of another
// length than asked for is refused.
package main
