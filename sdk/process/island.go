package process

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
)

// Island is every interface of the contract at once: what an island in another process looks like from the host. Which
// of the roles the island really has is in its manifest; a call to one it lacks is an Unsupported error.
type Island interface {
	sdk.IslandComponent
	sdk.QuoteSource
	sdk.CandleSource
	sdk.GlobalSource
	sdk.SentimentSource
	sdk.CatalogueSource
	sdk.StreamSource
	sdk.Cache
	sdk.Coordinator
	sdk.Store
	sdk.Reporter
}

// Observer watches every call that the host makes to an island.
type Observer interface {
	// Begin is called as a call starts, with the island's name and the operation, such as "quotes" or "cache_lookup". The
	// function it returns is called once, with the call's error, as the call ends. For a stream that is when it breaks.
	Begin(ctx context.Context, island, operation string) (context.Context, func(error))
}

// routineKey marks the context of what nobody asked for.
type routineKey struct{}

// Routine returns a context for calls that the host makes all the time by itself, such as those of the live feed. An observer
// counts and times them as any other; how a single one ends is not news, because whoever makes them tells of each change.
func Routine(ctx context.Context) context.Context { return context.WithValue(ctx, routineKey{}, true) }

// IsRoutine reports whether a call is made with a context of Routine.
func IsRoutine(ctx context.Context) bool { return ctx.Value(routineKey{}) != nil }

// LaunchOptions say what to start and how.
type LaunchOptions struct {
	// Name of the island in islands.hcl.
	Name string
	// Path of the binary.
	Path string
	// SHA256 that the binary must have, in lower-case hex; empty for any.
	SHA256 string
	// Image is what to execute; nil to seal what is at Path. It stays open.
	Image *Image
	// Debugger is a command, with its arguments, that is executed with the path of the binary as the last one, and has to start
	// it, as "dlv exec --headless --accept-multiclient --continue" does; empty for none. The process can be traced then, its
	// file is opened by its name, and nobody looks whether the connection to it still answers, because one that is held at a breakpoint does
	// not. When the program is gone, the debugger is ended; when the debugger is ended, so is the program.
	Debugger []string
	// Limits of the process.
	Limits Limits
	// Cgroups is where the process has a control group of its own; nil for that of the host.
	Cgroups *Cgroups
	// Confine bounds the files that the process reaches; nil for whatever its user may.
	Confine *Confine
	// RunDir is the folder under which the island's socket lives; at most 57 bytes long, private to the user, not under
	// /tmp.
	RunDir string
	// Env holds what the island's environment has beyond the allow-list.
	Env map[string]string
	// Logger receives what the island logs and prints, under the island's name.
	Logger hclog.Logger
	// Observer watches the calls; nil for none.
	Observer Observer
	// OnProcess is told the number of the process, which leads a process group of its own, when it was started, whatever comes of
	// it, and before anybody waits for its end. What it returns is called when the process has ended and its group was killed.
	// Neither may take long; nil for none.
	OnProcess func(pid int) (gone func())
	// Redact takes out of what the island says about itself what must not get out: of the texts of its errors, its health,
	// its metrics and its manifest, and of what its debugger says, but not of data, whose words are what they are. It may
	// learn while the island runs, and is called by many at once; nil takes out nothing.
	Redact func(text string) string
	// StartTimeout bounds exec to handshake; 10 s when zero.
	StartTimeout time.Duration
}

// Exit is how a process ended.
type Exit struct {
	// At is when the process was found to have ended.
	At time.Time
	// Uptime from its start to its end.
	Uptime time.Duration
	// Code is the exit status, -1 when a signal ended the process.
	Code int
	// Signal such as "killed", empty when the process ended by itself.
	Signal string
	// Stderr is the end of what the process wrote to its standard error, at most 64 KiB.
	Stderr string
	// Stack is what the Go runtime of the island wrote when it gave up, from its first line on, at most 256 KiB: a panic, or
	// the stacks that Interrogate asked for. Empty when there was none.
	Stack string
	// Forsaken is whether the process was a debugger that went on when the program that it had started was gone, and was ended for
	// that. How the program ended, only the debugger knew: Code is -1 and Signal empty.
	Forsaken bool
	// OutOfMemory is whether it gave up for want of memory.
	OutOfMemory bool
}
