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
	// RunDir is the folder under which the island's socket lives; at most 57 bytes long, private to the user, not under
	// /tmp.
	RunDir string
	// Env holds what the island's environment has beyond the allow-list.
	Env map[string]string
	// Logger receives what the island logs and prints, under the island's name.
	Logger hclog.Logger
	// Observer watches the calls; nil for none.
	Observer Observer
	// StartTimeout bounds exec to handshake; 10 s when zero.
	StartTimeout time.Duration
}

// Exit is how a process ended.
type Exit struct {
	At     time.Time
	Uptime time.Duration
	// Code is the exit status, -1 when a signal ended the process.
	Code int
	// Signal such as "killed", empty when the process ended by itself.
	Signal string
	// Stderr is the end of what the process wrote to its standard error, at most 64 KiB.
	Stderr string
}
