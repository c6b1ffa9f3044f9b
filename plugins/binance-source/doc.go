// The binance-source island asks Binance Spot's market data API for quotes, candles and the catalogue of assets.
//
// # Design
//
// Binance trades against USDT, not against the US dollar. What is asked for in usd is answered from the USDT pair, and a
// note on every answer says so. Another currency is answered from its own pair or not at all.
//
// Binance refuses a whole list of symbols when one of them is unknown. The island therefore keeps the list of what is
// traded, for six hours, and asks for nothing else. Callers that need the list at the same time share one load of it.
// Candles in usd need no list: one symbol that does not exist is an answer by itself, and a call saved.
//
// Weight is counted twice: by the client before each call, and by Binance in a header of each reply, which also knows
// what other programs behind the same address have used. At 95 % the island is silent until the minute turns, because
// the calls after a 429 are what leads to a ban. A ban is obeyed to its end.
package main
