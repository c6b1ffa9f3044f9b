// Package supervisor is the ground: it keeps the island processes alive. It starts them in order, asks after their
// health, starts them again when they end or hang, gives up for a while on those that keep crashing, and stops them in
// reverse.
//
// # Design
//
// Each island has one keeper, a goroutine that alone decides what happens to it: launch, tend, pause, again. Operators'
// wishes reach it as commands, so two of them never meet in the middle of a restart. Everyone else reads: the stand-in of
// the running generation through one atomic pointer, the status as a copy.
//
// A generation is one life of an island's process. Its number rises with every start that succeeds, so that whoever
// holds a stream to an island knows when to open it again. Calls in flight are counted per generation, in the observer
// that sdk/process calls around each of them, because that is the one place that no call can bypass; a generation is
// stopped once they have ended or their time is up. Streams live until they break and are not waited for, nor are the
// supervisor's own calls.
//
// Failures fall into two classes. Configuration — a binary that is not the island it should be, a wrong checksum, another
// protocol, settings that Initialize refuses with InvalidArgument — does not mend by itself and is never retried; at the
// start of the host it fails Start, later the island stays failed until an operator restarts it. Everything else is a
// crash and is retried: the first one after a healthy period at once, the next ones after a full-jitter exponential pause.
// Too many crashes within the window open a breaker, which one probe at a time tries to close.
//
// Start waits until each island of a layer runs or has failed its first try, and goes on to the next layer either way:
// islands never call each other, so one that needs a few tries more holds nobody up.
//
// An island that reports itself degraded or failed is left alone, because it answers; restarting it would not bring its
// upstream back. One that misses its health deadline several times in a row hangs, and is killed and counted as a crash.
package supervisor
