// The binance-source island asks Binance Spot's market data API for quotes, candles and the catalogue of assets, and
// streams quotes and the candles that close.
//
// # Design
//
// Binance trades against USDT, not against the US dollar. What is asked for in usd is answered from the USDT pair, and a
// note on every answer says so. Another currency is answered from its own pair or not at all.
//
// Binance knows symbols and nothing else, so a pair is matched by its symbol alone, and the answer carries the id that was
// asked for unproven: of two coins with one symbol, both get the figures of the one that is traded. No note says so,
// because it would stand on every answer alike, each ticker of a stream included, and tell a reader nothing about the one
// at hand, whereas the note about USDT says in what the figures are. The README says it instead.
//
// Binance refuses a whole list of symbols when one of them is unknown. The island therefore keeps the list of what is
// traded, for six hours, and asks for nothing else. Callers that need the list at the same time share one load of it.
// Candles in usd need no list: one symbol that does not exist is an answer by itself, and a call saved.
//
// Weight is counted twice: by the client before each call, and by Binance in a header of each reply, which also knows
// what other programs behind the same address have used. At 95 % the island is silent until the minute turns, because
// the calls after a 429 are what leads to a ban. A ban is obeyed to its end.
//
// # The stream
//
// Each asset is one <symbol>@miniTicker of a combined stream: it brings the price and the figures of the past 24 hours
// each second, which is all that a quote of an exchange holds. The array of all symbols (!miniTicker@arr) is not used: it
// brings some 3,000 pairs to whoever wants twenty.
//
// A host that asks for candles gets <symbol>@kline_1m of each asset as well. Without it, each minute's candle of each
// asset would cost a call, where the stream tells it as it closes. The minute that is still open is told every two seconds
// and dropped: its price is the quote's, and the rest of it is one light call away for whoever wants it. A host that does
// not ask is spared the frames, half as many again. Minutes that closed while no session stood are not made up for by
// calls, because only the host knows whether anybody misses them.
//
// A line is up to 1024 streams that share one connection, 512 pairs when each has two, and a session is one such
// connection. A line replaces its session when it breaks, when it is 23 hours old give or take half an hour (Binance
// closes after 24), when the server says that it will shut down, and when it is silent. As long as the old session lives
// it is kept until the new one has brought a ticker, and a candle where they are asked for. Both bring the same for a
// moment; only a ticker that is newer than the last of its symbol gets through, and only a closed candle that is later
// than the last, so that nothing goes back in time or comes twice, whichever session it came from.
//
// Silence has two meanings. A peer that does not answer a ping is gone, which shows after ten seconds: five without a
// word, five for the pong. Whatever is heard meanwhile, a candle as well as a pong, shows that it is there, and nothing
// else. One that answers pings but brings no ticker for ten seconds, where a pair that is traded has one each second, is
// doubted: another session is opened beside it. Candles are no excuse for tickers, nor tickers for candles: Binance grants
// each stream by itself, and a session that has lost one kind would be kept for the other for ever. So a session is as
// silent as the kind that it has not brought for longest, and the open candles are what shows that the closed ones will
// come. When the other session is as silent, or both bring their next frame together, it is the pairs that are quiet, and
// the next doubt comes twice as late, up to two minutes.
//
// What breaks is mended inside, with full jitter, and shows in the health after 15 seconds. Heartbeats go on meanwhile,
// because the island is alive: the age of quotes is what tells a receiver to look elsewhere. What Binance refuses (403,
// 418, 429, 451, a request it does not understand) ends the stream with a typed error once no connection delivers, so
// that the host can turn to another source and come back after RetryAfter. A refusal that is meant for the address
// silences calls and streams alike, whichever met it; a 429 of a handshake is about connections and leaves calls alone.
package main
