// Package scaffold writes the beginning of an island: a folder that is a repository of its own, compiles, passes its own
// tests and serves. Authors change it from there.
//
// # Design
//
// What is written is what authors copy, so it is held to what the project's own islands are held to: the conformance kit,
// the formatter and the linter run on it in the tests of this package and by hand, and it imports the contract alone.
//
// The files are templates below templates/: those of every kind of island, and those of its own kind. They are written
// between <% and %>, because Go's composite literals use the braces that text/template goes by.
//
// Nothing half-written is left: a folder of its own beside the wanted one takes everything, and is renamed once it is
// whole. A folder or file that is there already is refused, not written into.
//
// The go.mod must work without a network. With a checkout of the SDK it takes over the checkout's requirements and
// checksums, all of which the build of the host has loaded, and lets "go mod tidy" leave out those that the island does
// not need, off the network as well. Where that cannot be done, as without a Go toolchain, the complete list stays: it
// builds as well.
package scaffold
