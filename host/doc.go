// Islands is the host of Service Islands: it starts the islands that islands.hcl names, joins them into a request
// pipeline, and serves market-data reports over HTTP.
//
// # Design
//
// host.go wires everything in one straight line, opened in order and closed in reverse; it and the files beside it are
// the only ones that know all parts. The parts never import each other: where the gateway needs the pipeline it declares
// an interface, and market.go, insight.go and operator.go fill it in.
//
// A host holds a lock on its data directory, so that two of them never share a database file or an admin socket by
// accident. The lock also makes it safe to sweep, at start, the sockets that a killed host left behind. Sockets live in
// the data directory's run folder, or, where their path would be too long for the kernel, in a folder named after it in
// the user's runtime directory; the CLI finds them by the same rule.
//
// A host that is killed cannot clean up, so a janitor (janitor.go), a small process of the same program, waits for its end. It is
// told of the process group of each island as that starts and when it is gone (groups_linux.go), and kills those that are left:
// an island ends by itself, what it has started would not. A group is known by its number, its leader's start and its session,
// so that whoever has the number by now is left alone. What has left its group is out of reach but for the control group, which
// the next start kills. On other systems than Linux what islands have started stays.
//
// A reload (reload.go) goes through the whole host in one order: the file is read and checked, the supervisor starts every
// new generation, everybody is made to ask by the new configuration, and only once nothing is under way by the old one
// do the islands end that it named. Whatever fails before the second step has changed nothing; nothing after it can fail.
// What is right now is behind one pointer (host.config); what only a start takes in is compared with what the host was
// started with, and told each time.
package main
