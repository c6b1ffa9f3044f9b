// Demo runs the shipped composition against a simulated market: it starts marketsim and the host, points one at the
// other, prints what to try, and ends both on Ctrl-C. It needs nothing but the programs that make build puts beside it.
//
//	bin/demo [--config islands.hcl] [--bin DIR]
//
// ISLANDS_LISTEN chooses the host's address, 127.0.0.1:3000 otherwise.
//
// # Design
//
//   - The data directory is temporary, and REDIS_URL, DATABASE_URL and the like are withheld from the host: simulated
//     prices must not end up in somebody's real cache or store.
//   - Each child has a process group of its own, so a Ctrl-C reaches the demo alone. It ends the host first, whose
//     requests may still need the market.
//   - The children die with the demo even when it is killed: Linux sends them SIGKILL when the thread that forked them
//     ends. That thread is locked to the goroutine that waits for the child.
package main
