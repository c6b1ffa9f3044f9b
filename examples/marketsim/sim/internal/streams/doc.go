// Package streams serves Binance's WebSocket streams and Kraken's channels: connections, subscriptions, and the rules by which
// an exchange cuts its clients off.
//
// # Design
//
// A connection has two goroutines: the handler's own, which reads, and one that keeps the connection's agenda of ticks,
// pings and its end. There is no queue between them and the socket. A frame is made when it is due and written with a
// deadline, so a client that does not read costs one blocked write and is then cut.
//
// Ticks lie on a grid of the simulation's clock, whatever the moment of subscribing, so two connections get the same
// bytes with the same event time, as they do at the exchange. Connections that tick at once share the work. Time that
// passes on the wire (deadlines, pings, messages per second, ages) is the machine's.
//
// A ping counts as answered by its own pong or by that of a later ping, as RFC 6455 allows. Pings, pongs and requests
// all count towards the messages of a second.
//
// Whoever ends a connection first gives the reason, which [Status] counts.
//
// Kraken's channels tell of trades. [Channels] looks for them at a pace, and a channel in which nobody traded is silent; a
// connection that had nothing to tell gets a heartbeat. What a client is told begins at the instant of its snapshot, so
// two clients need not get the same frames. When the clock stands still nobody trades.
package streams
