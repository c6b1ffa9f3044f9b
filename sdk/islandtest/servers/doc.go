// Package servers starts real servers for a test and stops them with it: [Redis], [Postgres], and a TCP [Proxy] to put
// between a client and either of them.
//
// A server listens on 127.0.0.1 and a free port, keeps its files in a directory of its own, and lets the test break it:
// stop it, start it again on the same port, freeze it, cut the wire.
//
//	redis := servers.Redis(t)
//	client := connect(redis.URL())
//	redis.Stop() // Every command fails from here on.
//	redis.Restart()
//
// # Design
//
//   - A missing server fails the test and names the command that installs it. A test that skips itself proves nothing on
//     the machine that skips it.
//   - Nothing outlives the test binary, not even after kill -9: Linux sends each server a signal when the thread that
//     started it ends. That thread is locked to one goroutine for as long as the server runs, because the runtime ends
//     idle threads at will, and with them every server that they started.
//   - Postgres refuses to run as root. As root it is started under the uid of the user postgres, in a directory which
//     that user owns. The kernel forgets the signal above when a process changes its uid, so the uid is set by the fork
//     itself, which asks for the signal afterwards.
//   - Only processes that were started here are signalled, through their process handle, so that a reused process id can
//     never be hit.
//   - A port is free when it is chosen and may be taken when it is used. Who answers is therefore checked to be the
//     process that was started, and a collision chooses again.
//   - The standard library only: a server's clients are the business of the test.
//
// The servers are Unix programs; elsewhere the proxy alone remains.
package servers
