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
// What an island runs are bytes, sealed when its file was read (process.Image), so that it comes back from a crash as it
// was, whatever became of the file meanwhile; a restart, a swap and a reload read the file anew.
//
// A crash has a class, Cause, and each its policy. Configuration and checksum — a binary that is not the island it should
// be, another protocol, settings that Initialize refuses with InvalidArgument — do not mend by themselves and are never
// retried; at the start of the host they fail Start, later the island stays failed until an operator does something. The
// rest is retried: the first crash after a healthy period at once, the next ones after a full-jitter exponential pause,
// want of memory after a long one. Too many crashes within the window open a breaker, which one probe at a time tries to
// close. An island whose socket file is gone still answers, and is replaced while it does.
//
// An island changes (Swap, Apply) in two steps, so that several change together or not at all: each keeper prepares a
// successor beside the generation that runs, and when all are ready, all move, each by one pointer. Streams cannot be moved
// by a pointer: who holds one (Hold) is told that it is superseded and opens the next before it lets go of the last; the
// old generation waits for that, then for calls in flight, and is stopped. An island that says StopFirst is launched beside
// its predecessor but initialized only after that has stopped, and those go first, because they can fail at a time when
// something has changed already: then the predecessor is started again from the bytes it had.
//
// An island may be put under a debugger (attach.go): a change like any other, to the same binary started by a command of the
// operator's. Since a process that is held at a breakpoint looks as one that hangs, nothing is made of its silence; since a debugger
// has to read it, nothing confines it. That lasts as long as a lease that the operator's command renews, so that an island does not
// stay so because a terminal was closed.
//
// Start waits until each island of a layer runs or has failed its first try, and goes on to the next layer either way:
// islands never call each other, so one that needs a few tries more holds nobody up.
//
// An island that reports itself degraded or failed is left alone, because it answers; restarting it would not bring its
// upstream back. One that misses its health deadline several times in a row hangs: it is asked for its stacks, killed and
// counted as a crash.
//
// Crash reports are for operators and outlive the host: one file each, written beside its place and renamed, the last ten
// of each island. What an island's configuration calls secret is redacted in them and in the island's log lines.
package supervisor
