// Package islandtest is the conformance kit: the sentences of package sdk's contract as checks that every island runs in
// its own tests.
//
//	func TestConformance(t *testing.T) {
//		upstream := islandtest.NewUpstream(t, http.HandlerFunc(answer))
//		islandtest.Run(t, islandtest.Subject{
//			Manifest: manifest(),
//			New:      func(testing.TB) sdk.IslandComponent { return newSource() },
//			Settings: func(tb testing.TB) map[string]any { return map[string]any{"url": upstream.URL} },
//			Assets:   []sdk.Asset{{ID: "bitcoin", Symbol: "btc"}},
//			Unknown:  sdk.Asset{ID: "no-such-coin", Symbol: "nosuch"},
//			Break:    upstream.Break,
//		})
//	}
//
// [Run] holds the island to the checks of its life, its settings, its health and metrics, and of every role its component
// has, each one twice: directly on the component, and through process.Loopback, over real gRPC. The names of the subtests
// say which, as in "grpc/cache/order". A check that fails says what it saw and quotes the contract.
//
// Run must not be called from a parallel test: one check counts goroutines.
//
// # Design
//
// A check is a function from an island to an error, and knows neither *testing.T nor how the island is reached. So the
// same checks hold for a component in this process, for one behind the wire, and for a binary; and the kit's own tests
// can show that each check fails the island that breaks its sentence.
//
// Every check works on an island of its own, freshly made and initialized, with names of its own. An island may
// therefore keep its state in a server that all of them share.
//
// The checks that wait for time to pass wait together, in every mode at once: a heartbeat is two seconds away, and the
// suite runs in every island's tests.
//
// What the contract leaves open the checks leave open too: an asset that a source does not know may be left out or be
// NotFound when it was asked for alone; an order that is promised for no result is not looked at.
package islandtest
