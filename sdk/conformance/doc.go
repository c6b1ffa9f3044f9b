// Package conformance holds the sentences of package sdk's contract as checks, for an island in this process and for one
// that is a program of its own, in any language.
//
// [Verify] holds a program to them, which is what "islands verify" does. An island's own tests use package islandtest, which
// holds a component to the same checks.
//
// # Design
//
// A check is a function from an island to an error, and knows neither a test nor how the island is reached. Every check
// works on an island of its own, freshly made and initialized, with names of its own; that of a program is a process, started
// as the host starts it, by package process. An island may therefore keep its state in a server that all of them share.
//
// What a caller sees of a call is its own side: over gRPC, one that is given up returns at once, whatever the island does. So
// what an island does with a deadline is looked at from elsewhere: from its upstream, which sees requests that go on, and from
// the stacks that the Go runtime writes when the process is interrogated. An island in another language that has no upstream
// shows nothing of the kind, and those checks pass it.
//
// The upstream is broken in front of it: a server on this machine stands between the island and the URL that one of its
// settings holds, and hands on, refuses, garbles, hangs up or stays silent.
//
// What the contract leaves open the checks leave open too: an asset that a source does not know may be left out or be
// NotFound when it was asked for alone; an order that is promised for no result is not looked at.
package conformance
