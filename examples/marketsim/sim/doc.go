// Package sim is CoinGecko, the spot REST APIs and streams of Binance and Kraken, and the Fear & Greed index in one
// [net/http.Handler], with faults that any program can switch over HTTP.
//
//	simulator := sim.New(sim.Options{Seed: 7})
//	defer simulator.Close()
//	server := httptest.NewServer(simulator)
//	defer server.Close()
//	// server.URL + "/coingecko/api/v3", server.URL + "/binance", server.URL + "/kraken", server.URL + "/fng/",
//	// "ws" + server.URL[len("http"):] + "/binance/stream"
//
// # Design
//
// Each service has a path prefix of its own, so one address and one base URL per service suffice. A call is counted,
// then charged to its caller, then meets the active faults, then the service's own refusals, and only then the service.
// So a call that a fault swallows still costs budget, as one that fails upstream does.
//
// The server keeps no body, and starts goroutines for open streams only, which [Server.Close] ends and waits for. What it
// keeps is bounded: 4096 callers per service, 64 faults, one counter per route and method, 1024 open streams of each exchange.
//
// The upgrade of a stream is a call like any other, with a budget of its own, so the faults of calls refuse, delay or drop
// it. What happens afterwards is a matter of the faults for streams: each open connection asks which are for it when they
// change, and for every frame.
//
// A silent call waits for its client, for the faults to be cleared, for [Server.Close], or for ten minutes.
package sim
