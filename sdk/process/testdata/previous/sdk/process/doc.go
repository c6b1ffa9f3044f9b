// Package process runs islands as processes of their own: [Serve] is the island's half, [Launch] the host's.
//
// An island calls Serve from main and is done. The host calls Launch, gets a [Process], and talks to it through
// [Process.Island], which is the whole contract of package sdk over gRPC. [Describe] asks a binary what it is without
// starting it, and [Loopback] joins both halves in one process for tests.
//
// # Design
//
// This is the one hand-written importer of go-plugin and gRPC. Wire types stop here: wire.go translates every noun both
// ways, failure.go every error.
//
// go-plugin gives the handshake, mutual TLS with one-time certificates, and the socket. What it leaves open is closed
// here:
//
//   - The process is started by a runner of our own (runner.go), in a process group of its own, so that a grandchild
//     that holds a pipe cannot hide the island's death: the group is killed as soon as the island is gone.
//   - Standard error is read by us and never by go-plugin, whose log parser panics on an unexpected line.
//   - The environment is an allow-list: an island sees what its block in islands.hcl gives it, and no secret of the host.
//   - A lifeline pipe ends with the host, however it dies. The island then shuts down, removes its socket and exits.
//   - go-plugin's own control calls have deadlines, so that stopping a frozen island ends.
//   - Messages may have 16 MiB both ways; keepalive notices a dead peer after 13 s; a panic in a call is an internal
//     error of that call and not the end of the island.
//
// The checksum is taken before the start from the same path, so a file exchanged in the instant between runs unchecked:
// the folder of the binaries must belong to the operator.
//
// go-plugin notices a death through the connection; the runner notices it through wait(2), about a millisecond after,
// and that is what closes [Process.Done].
package process
