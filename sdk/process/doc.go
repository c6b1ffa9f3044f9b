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
//   - The certificates are made by us too (certificate.go), on a curve that every TLS library takes, so that an island may be
//     written with any gRPC.
//   - Standard error is read by us and never by go-plugin, whose log parser panics on an unexpected line.
//   - What an island writes goes to the host's log until it is too much, and is counted from then on (flood.go). Lines are cut
//     on both ways out; what is kept for a crash report is bounded by itself.
//   - What an island says about itself is redacted where it is read (words.go), before anybody logs, keeps or shows it: the text
//     of an error comes from anywhere, such as that of net/http, which names the whole URL with the key in it.
//   - The environment is an allow-list: an island sees what its block in islands.hcl gives it, and no secret of the host.
//   - What was hashed is what runs (image.go): the program is read once, into memory that is then sealed, and executed from
//     there. Scripts are the exception, because their interpreter opens them by name, and so are other systems than Linux.
//     A program that everybody may change is refused, and so is one in a folder where everybody may put another.
//   - An island starts from a thread of its own (confine_linux.go), which lives as long as it does. The kernel kills the
//     island with that thread, so with the host, even if it neither listens to its lifeline nor runs. The thread is in a
//     Landlock domain that only this island inherits: it cannot send signals to other processes, trace them or read their
//     memory, be they of the same user. An island of root's also lacks nearly all of root's privileges, so that it cannot
//     read their environments either. Serve makes the process unreadable for others of the same user.
//     The thread, and so the island, is nicer than the host.
//   - The same domain bounds the files that an island reaches (confine.go, landlock_linux.go): what programs need to run may
//     be read, temporary files of its own may be written, and what its block lists. That is a list of what is allowed, made
//     when the island starts, because Landlock has no other. It allows whole folders of the system rather than the files
//     that matter, because such a file is replaced as a whole, and a rule holds for the file that was there. Describe runs
//     in such a domain too, without anything to write to, and as nobody where the host is root. A kernel without Landlock confines nothing, and Applied says so.
//   - An island of a host that is root is a user of its own, where that user can get at what the island needs (user_linux.go).
//     It cannot get to the folder of its socket, which only root enters, so it has that folder open and binds the socket
//     below /proc/self/fd; the runner tells go-plugin where that really is. So it is with its temporary files, which its own
//     children do not find for that reason. What the host has not made for the island, it does not give away: whoever runs the
//     host does that, and until then the island is of the host's user, and Applied says why.
//   - What a binary says of itself is remembered by its checksum (descriptions.go), so that checking a configuration starts nothing
//     but what has changed. Who could write to that memory could make a secret setting a public one, so it has to be its
//     user's alone.
//   - A debugger (debugger.go) is executed in the place of the program, and starts it. What it prints before the handshake goes to the
//     log; the island leaves itself readable, and keepalive is off, because a process at a breakpoint answers no ping.
//     Debuggers put what they start into another group and outlive it, waiting for the next command: so they lead a session, which
//     is ended as a whole, and are ended when nobody has the socket of the island any more.
//   - Limits of memory and files are set from outside right after the start; what is not to be had is in Applied.
//     Where the host's control group is its own to divide (cgroup_linux.go), they hold for all that an island starts, which
//     also ends with it. Root could divide any group; it does so only with one that was delegated, or is all it sees.
//   - A lifeline pipe ends with the host, however it dies. The island then shuts down, removes its socket and exits.
//     What it has started does not: OnProcess tells the host of the group, for somebody who outlives the host to end it, and
//     control groups that are left are killed when a host with the same key starts.
//   - go-plugin's own control calls have deadlines, so that stopping a frozen island ends.
//   - Messages may have 16 MiB both ways; keepalive notices a dead peer after 13 s; a panic in a call is an internal
//     error of that call and not the end of the island.
//
// go-plugin notices a death through the connection; the runner notices it through wait(2), about a millisecond after,
// and that is what closes [Process.Done].
package process
