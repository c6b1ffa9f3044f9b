package supervisor

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// Spec says what one island is and how to keep it alive.
type Spec struct {
	// Name of the island in islands.hcl, unique.
	Name string
	// Kind is the name that the island's manifest must have; Name when empty.
	Kind string
	// Layer that the island's manifest must have.
	Layer sdk.Layer
	// Roles that the island's manifest must have: those it had when the configuration was checked against it.
	Roles []sdk.Role
	// Enabled is whether the island is to run at all.
	Enabled bool
	// Path of the binary.
	Path string
	// SHA256 that the binary must have, in lower-case hex; empty for any.
	SHA256 string
	// Env holds what the island's environment has beyond the allow-list.
	Env map[string]string
	// Settings handed to Initialize, as JSON would hold them.
	Settings map[string]any
	Restart  Restart
	Health   Health
	// Limits of the process.
	Limits process.Limits
	// Confine bounds the files that the process reaches; nil for whatever the host's user may.
	Confine *process.Confine

	// debugger is the command under which the island runs for an operator, empty for none, and plain what it is without.
	debugger []string
	plain    *Spec
	// lent is since when the host's user runs under a debugger what was of a user of its own; zero when it was not.
	lent time.Time
	// overridden is whether an operator's swap put Path in the place of the configured one.
	overridden bool
}

// Restart says when to start an island again. Zero fields take their defaults.
type Restart struct {
	// MaxCrashes within Window open the breaker; 5 and 10 minutes.
	MaxCrashes int
	Window     time.Duration
	// BackoffMin and BackoffMax bound the pause before a restart; 250 ms and 30 s.
	BackoffMin time.Duration
	BackoffMax time.Duration
	// ResetAfter is how long an island must run for its crashes to be forgiven; 60 s.
	ResetAfter time.Duration
	// ProbeEvery is the pause between tries while the breaker is open; 5 minutes.
	ProbeEvery time.Duration
}

// Health says how to ask after an island. Zero fields take their defaults.
type Health struct {
	// Interval between questions; 5 s.
	Interval time.Duration
	// Timeout of one answer; 2 s.
	Timeout time.Duration
	// Misses in a row that make a hang; 3.
	Misses int
}

// Process is a running island, as process.Launch starts it.
type Process interface {
	Island() process.Island
	Manifest() sdk.Manifest
	PID() int
	// Done is closed once nothing of the process is left; Exit may be asked after it.
	Done() <-chan struct{}
	Exit() process.Exit
	// Intact reports whether the island's socket is still there.
	Intact() error
	// Applied is how the process was really started.
	Applied() process.Applied
	// Stop calls Shutdown, bounded by the context, and returns once Done is closed. Kill does not ask first. Interrogate is a
	// Kill that gives the process some time to write its stacks.
	Stop(ctx context.Context) error
	Kill()
	Interrogate(grace time.Duration)
}

var _ Process = (*process.Process)(nil)

// Options of a Supervisor. Zero durations take their defaults.
type Options struct {
	Islands []Spec
	// RunDir is the folder under which the islands' sockets live.
	RunDir string
	// Cgroups is where islands have control groups of their own; nil for that of the host.
	Cgroups *process.Cgroups
	// CrashDir is the folder in which crash reports are kept beyond the life of the host; empty for none.
	CrashDir string
	// Logger for the supervisor's own lines and, under each island's name, the island's; nil for none.
	Logger hclog.Logger
	// Launch starts a process; process.Launch when nil.
	Launch func(ctx context.Context, opts process.LaunchOptions) (Process, error)
	// Seal reads an island's binary, which must have a checksum; process.Seal when nil.
	Seal func(path, sha256 string) (*process.Image, error)
	// Observer watches every call to an island; nil for none.
	Observer process.Observer
	// OnChange is told of each change of an island's state, generation or health, in order and one at a time. To a
	// receiver that falls behind, changes of one island are merged, the newest winning; nil for none.
	OnChange func(IslandStatus)
	// OnProcess is told of each process as process.LaunchOptions has it; nil for none.
	OnProcess func(pid int) (gone func())
	// OnCrash is told of each crash by the island's keeper and must return soon; nil for none.
	OnCrash func(Crash)
	// StartTimeout bounds exec to handshake; 10 s.
	StartTimeout time.Duration
	// InitializeTimeout bounds Initialize, migrations of a store included; 30 s.
	InitializeTimeout time.Duration
	// DrainTimeout bounds the wait for calls in flight before an island is stopped; 5 s.
	DrainTimeout time.Duration
	// StopTimeout bounds an island's Shutdown; 5 s.
	StopTimeout time.Duration
	// StackTimeout bounds the writing of its stacks by an island that hangs; 2 s.
	StackTimeout time.Duration
}

// withDefaults returns the options with everything filled in.
func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Launch == nil {
		o.Launch = func(ctx context.Context, opts process.LaunchOptions) (Process, error) {
			p, err := process.Launch(ctx, opts)
			if err != nil {
				return nil, err // And no interface that holds a nil pointer.
			}
			return p, nil
		}
	}
	if o.Seal == nil {
		o.Seal = process.Seal
	}
	o.StartTimeout = cmp.Or(o.StartTimeout, 10*time.Second)
	o.InitializeTimeout = cmp.Or(o.InitializeTimeout, 30*time.Second)
	o.DrainTimeout = cmp.Or(o.DrainTimeout, 5*time.Second)
	o.StopTimeout = cmp.Or(o.StopTimeout, 5*time.Second)
	o.StackTimeout = cmp.Or(o.StackTimeout, 2*time.Second)
	return o
}

// withDefaults returns the spec with everything filled in.
func (s Spec) withDefaults() Spec {
	s.Kind = cmp.Or(s.Kind, s.Name)
	s.Restart = Restart{
		MaxCrashes: cmp.Or(s.Restart.MaxCrashes, 5),
		Window:     cmp.Or(s.Restart.Window, 10*time.Minute),
		BackoffMin: cmp.Or(s.Restart.BackoffMin, 250*time.Millisecond),
		BackoffMax: cmp.Or(s.Restart.BackoffMax, 30*time.Second),
		ResetAfter: cmp.Or(s.Restart.ResetAfter, time.Minute),
		ProbeEvery: cmp.Or(s.Restart.ProbeEvery, 5*time.Minute),
	}
	s.Health = Health{
		Interval: cmp.Or(s.Health.Interval, 5*time.Second),
		Timeout:  cmp.Or(s.Health.Timeout, 2*time.Second),
		Misses:   cmp.Or(s.Health.Misses, 3),
	}
	return s
}

// memoryLimit is the bound on the island's memory, in words; empty when there is none.
func (s *Spec) memoryLimit() string {
	if s.Limits.Memory == 0 {
		return ""
	}
	return fmt.Sprintf("memory %d MiB", s.Limits.Memory>>20)
}

// same reports whether an island of the other spec would be the same process, apart from what its file holds. How it is
// kept alive may differ.
func (s *Spec) same(other *Spec) bool {
	a, b := *s, *other
	a.Restart, a.Health, a.Roles, a.overridden = b.Restart, b.Health, b.Roles, b.overridden
	a.plain, b.plain = nil, nil
	return reflect.DeepEqual(a, b)
}
