// Package gateway is the host's HTTP side: the routes of the API, health and metrics, the live feed, and the operator's
// socket.
//
// A [Gateway] knows no pipeline, supervisor or observer: it asks a [Market], an [Insight] and an [Operator], which are
// made of them elsewhere. fiber and fasthttp end here.
//
// # Design
//
// The warm answer decides the shape. The market hands over a [Representation]: a body that was encoded, compressed and
// tagged once, by the flight that filled it. Writing it is a choice among three byte slices and a dozen header fields;
// the body is shared by all who write it and never copied here. There is no middleware of fiber's: serve (serve.go) is
// the one thing around the routes, below the router, so that what is not routed gets the same id, headers and recovery.
// A report in its plainest form, GET /api/REPORT/SYMBOL, is offered to the market's WarmReport there, which costs neither
// the router nor a context; what that does not answer goes by the route, and both write the answer with one function.
//
// The context of a request (context.go) makes its timer and its channel when somebody first waits for it, which an answer
// that is at hand never does. It is not recycled, because a load may outlive the request that began it; fiber's own context is
// recycled, so that every string that leaves a handler is a copy.
//
// What cannot be meant is refused, before anybody is asked: a symbol of other characters than letters, digits and
// hyphens, an unknown parameter, one given twice or without a value, an unknown currency, interval or format. Escapes in
// a path are not undone: no symbol needs one, and so no trick with them leads anywhere. Only /health and /metrics ignore
// the query string, since probes like to add something to it.
//
// Errors are problems after RFC 9457 (problem.go). One table says which status and words a kind of failure has; an
// error's own text is for the log and for operators, never for clients. A problem is never stored by anyone.
//
// A request that accepts no format of a route gets 406. ?format= outranks Accept. Every format and coding has an entity
// tag of its own, and If-None-Match is compared with that of the one that would be sent.
//
// max-age is what is left of an answer's life, 0 once it is stale. For another of its life times after that it may be
// shown while a newer one is fetched (stale-while-revalidate), which is what the host itself does, and until it is
// dropped when nothing newer can be had (stale-if-error). Several quotes in one answer are as old and as short-lived as
// the worst of them; an answer that misses some is stale at once, because what is missing may be there in a moment.
//
// Operators come over a unix socket that only the host's user may open, or over HTTP with a token; without the right
// token /admin is a path like any other that does not exist. The socket's file has its mode before it has its name.
//
// The live feed (live.go) leaves the HTTP server. Its handshakes are the server's and contrib/websocket's; then the connection
// is taken over, what was kept for the request is free again, and package hub writes to it while one goroutine reads
// (websocket.go, eventstream.go). An event stream is taken over in the same way, so that a shutdown waits for neither. A write
// goes straight to the socket and takes what it takes (socket.go); whoever lags is the hub's business.
//
// Time limits of connections are kept by a watch (watch.go): a stamp per step of a connection and one look at all of them
// a second, instead of three deadlines per request. A request that takes too long to arrive gets its 408 all the same.
//
// Shutdown sends the clients of the live feed away first, each with a moment to come back at, in at most half of the time
// there is. Then it stops accepting, lets requests finish while its context lasts, then ends their contexts and closes what is
// still open, so that a client that sends a byte a minute delays nobody.
package gateway
