// The kraken-source island asks Kraken Spot's public REST API for quotes, candles and the catalogue of assets, and streams
// quotes and the minutes that close from its WebSocket API, version 2.
//
// # Design
//
// Kraken has three names for a pair: the key of its answers (XXBTZUSD), the alternative name that a call takes (XBTUSD),
// and the one of the old WebSocket API (XBT/USD). The second version of that API says BTC/USD, as everybody else does. All
// of them come from one list, AssetPairs, which is kept for six hours; XBT and XDG are the only codes that are translated,
// because they are the only ones that Kraken itself translates. What is asked for in usd is answered from the pair against
// the US dollar, so that no note is needed.
//
// An error is an answer with status 200 and a list of words, such as EAPI:Rate limit exceeded. So the client that counts
// statuses sees a success: the island reads the words itself, and lets the health tell what they mean until a call gets
// through. Kraken counts calls per address, and public ones beyond one a second are refused "for a few seconds, or longer if
// calls continue": each refusal in a row doubles the silence.
//
// A ticker of the REST API counts today from midnight, except for what it calls the last 24 hours. It does not say what the
// price was 24 hours ago, so the change is unknown there; the stream knows it.
//
// Kraken has no candles of 12 hours, and its weeks begin on Thursdays. Both are put together from shorter ones, whose volumes
// add up, so that a candle begins when everybody else's does. The last candle of an answer is the one that still moves.
//
// # The stream
//
// One connection carries all pairs: a ticker per trade, and if candles are asked for, the running minute per trade. Kraken
// never says that a minute has closed. It has when one that begins later is told, or when its end has passed by a few
// seconds of Kraken's clock, which each answer to a request tells. Until the connection stands again nothing passes for
// closed, because trades may have been missed. The snapshot that a new connection begins with has the minutes of the
// pause, complete, and so a pause leaves no hole that the snapshot covers.
//
// A connection that is subscribed brings a heartbeat each second without anything else to say. Ten seconds without a word
// mean that it is dead. One that has heartbeats and no ticker of any pair is doubted, later each time that it turns out to be
// the market that is quiet. There is no second connection beside the first: a snapshot makes up for the moment in
// between, and Kraken counts attempts to connect (150 in ten minutes per address), of which the island uses fewer.
//
// What breaks is mended inside, with full jitter, and shows in the health after 15 seconds. What Kraken refuses ends the
// stream with a typed error, so that the host can turn to another source and come back.
package main
