package supervisor

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// killGrace is how much longer than its bound a process may take to stop before it is killed over the head of whoever
// is stopping it, and how long a kill may take.
const killGrace = 5 * time.Second

// generation is one life of an island's process.
type generation struct {
	number   uint64
	process  Process
	island   process.Island
	manifest sdk.Manifest
	calls    *calls
	// hide knows the secrets that the island was handed.
	hide *redactor
	born time.Time
	// superseded is closed once a successor answers in its place.
	superseded chan struct{}
	// health as first answered, and whether it was.
	health sdk.Health
	missed bool
}

// open starts a process and checks that it is the island it should be. Of a start that failed no process is left.
func open(ctx context.Context, opts *Options, spec *Spec, image *process.Image) (*generation, *failedStart) {
	g := &generation{
		calls: &calls{observer: opts.Observer, idle: make(chan struct{}, 1)}, hide: &redactor{}, born: time.Now(),
		superseded: make(chan struct{}),
	}
	g.hide.learn(spec, sdk.Manifest{})
	starting := opts.StartTimeout
	if len(spec.debugger) > 0 {
		starting = max(starting, debuggerStart)
	}
	p, err := opts.Launch(ctx, process.LaunchOptions{
		Name: spec.Name, Path: spec.Path, SHA256: spec.SHA256, Image: image, RunDir: opts.RunDir, Env: spec.Env, Limits: spec.Limits,
		Confine: spec.Confine, Cgroups: opts.Cgroups,
		Logger:   g.hide.logger(opts.Logger.Named(spec.Name).With("island", spec.Name, "layer", spec.Layer.String())),
		Observer: g.calls, OnProcess: opts.OnProcess, Redact: g.hide.text, StartTimeout: starting, Debugger: spec.debugger,
	})
	if err != nil {
		failed := refused(err)
		failed.hide = g.hide
		return nil, failed
	}
	g.process, g.island, g.manifest = p, p.Island(), p.Manifest()
	g.hide.learn(spec, g.manifest)
	if err := checkManifest(spec, g.manifest); err != nil {
		g.kill()
		return nil, &failedStart{err: err, cause: CauseConfiguration, process: p, hide: g.hide}
	}
	return g, nil
}

// initialize hands the island its settings and asks after its health once. When that fails, no process is left.
func (g *generation) initialize(ctx context.Context, opts *Options, spec *Spec) *failedStart {
	initializing, cancel := context.WithTimeout(ctx, opts.InitializeTimeout)
	defer cancel()
	err := g.island.Initialize(initializing, sdk.Config{
		Name: spec.Name, Values: spec.Settings, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		ended := endsSoon(g.process)
		g.kill()
		failed := &failedStart{err: fmt.Errorf("initialize: %w", err), cause: CauseStart, process: g.process, ended: ended, hide: g.hide}
		if sdk.KindOf(err) == sdk.InvalidArgument {
			failed.cause = CauseConfiguration
		}
		return failed
	}
	g.health, g.missed = g.ask(ctx, spec.Health.Timeout)
	return nil
}

// proven waits until the island says that it is ok or degraded. An island that is to take another's place has to; it is
// given as long as one may be silent before it is taken for hung. When that fails, no process is left.
func (g *generation) proven(ctx context.Context, every Health) *failedStart {
	const pause = 250 * time.Millisecond
	patience, cancel := context.WithTimeout(ctx, time.Duration(every.Misses)*every.Timeout)
	defer cancel()
	for g.missed || g.health.Status == sdk.StatusFailed {
		select {
		case <-g.process.Done():
		case <-patience.Done():
		case <-time.After(pause):
			g.health, g.missed = g.ask(ctx, every.Timeout)
			continue
		}
		err := sdk.Errorf(sdk.Unavailable, "its health is failed: %s", g.health.Reason)
		if g.missed {
			err = sdk.Errorf(sdk.Unavailable, "it does not answer when it is asked after its health")
		}
		ended := endsSoon(g.process)
		g.kill()
		return &failedStart{err: err, cause: CauseStart, process: g.process, ended: ended, hide: g.hide}
	}
	return nil
}

// checkManifest compares what an island says it is with what it should be.
func checkManifest(spec *Spec, m sdk.Manifest) error {
	if err := m.Protocol.Check(sdk.Protocol{Major: sdk.ProtocolMajor, Minor: sdk.ProtocolMinor}); err != nil {
		return err
	}
	switch {
	case m.Name != spec.Kind:
		return sdk.Errorf(sdk.InvalidArgument, "its binary %s is the island %q, not %q", spec.Path, m.Name, spec.Kind)
	case m.Layer != spec.Layer:
		return sdk.Errorf(sdk.InvalidArgument, "it belongs in layer %s, not %s", m.Layer, spec.Layer)
	}
	for _, role := range spec.Roles {
		if !m.Has(role) {
			return sdk.Errorf(sdk.InvalidArgument, "it has no role %q any more, which the configuration was checked against: "+
				"islands reload checks it anew", role)
		}
	}
	return nil
}

// endsSoon reports whether a process that failed a call is about to be gone, which the call may notice first.
func endsSoon(p Process) bool { return endsWithin(p, 100*time.Millisecond) }

// endsWithin reports whether a process is gone in time.
func endsWithin(p Process, bound time.Duration) bool {
	patience := time.NewTimer(bound)
	defer patience.Stop()
	select {
	case <-p.Done():
		return true
	case <-patience.C:
		return false
	}
}

// ask asks after the island's health and reports whether the answer was missed. An error the island answers with is an
// answer; a call that timed out or found nobody is none.
func (g *generation) ask(ctx context.Context, timeout time.Duration) (sdk.Health, bool) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	asked := &question{}
	health := g.island.Health(context.WithValue(ctx, questionKey{}, asked))
	return health, ctx.Err() != nil || asked.unanswered.Load()
}

// answer is what came of one question after an island's health.
type answer struct {
	health sdk.Health
	missed bool
	// torn says what is wrong with the island's socket; nil when nothing is.
	torn error
}

// pulse asks after the island's health by the clock until the context ends.
func (g *generation) pulse(ctx context.Context, every Health, answers chan<- answer) {
	ticker := time.NewTicker(every.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		health, missed := g.ask(ctx, every.Timeout)
		select {
		case <-ctx.Done():
			return
		case answers <- answer{health, missed, g.torn()}:
		}
	}
}

// farewell is how long a process may take to be gone once its socket is: one that ends takes its socket along.
const farewell = time.Second

// torn says what is wrong with the socket of an island that runs, and is to go on.
func (g *generation) torn() error {
	if err := g.process.Intact(); err == nil || endsWithin(g.process, farewell) {
		return nil
	}
	return g.process.Intact()
}

// kill ends the process at once and reports whether it is gone. Even SIGKILL waits for a process that is stuck in the
// kernel; nobody waits for that longer than killGrace.
func (g *generation) kill() bool { return within(killGrace, g.process.Kill) }

// interrogate asks a process that hangs for its stacks, then ends it, and reports whether it is gone.
func (g *generation) interrogate(patience time.Duration) bool {
	return within(patience+killGrace, func() { g.process.Interrogate(patience) })
}

// within does something that may take for ever, and reports whether it was done in time.
func within(bound time.Duration, do func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	patience := time.NewTimer(bound)
	defer patience.Stop()
	select {
	case <-done:
		return true
	case <-patience.C:
		return false
	}
}

// exitOf tells how the process ended, as far as that can be known.
func exitOf(p Process) process.Exit {
	select {
	case <-p.Done():
		return p.Exit()
	default:
		return process.Exit{At: time.Now(), Code: -1}
	}
}

// end waits for calls in flight, then stops the process. It takes no longer than both bounds and twice killGrace, less
// when the context ends first. The number is that of the calls that were cut.
func (g *generation) end(ctx context.Context, drain, stop time.Duration) (int64, error) {
	draining, cancelDrain := context.WithTimeout(ctx, drain)
	defer cancelDrain()
	cut := g.calls.drain(draining)

	stopping, cancelStop := context.WithTimeout(ctx, stop)
	defer cancelStop()
	stopped := make(chan error, 1)
	go func() { stopped <- g.process.Stop(stopping) }()
	patience := time.NewTimer(stop + killGrace)
	defer patience.Stop()
	select {
	case err := <-stopped:
		return cut, err
	case <-patience.C:
	}
	if !g.kill() {
		return cut, sdk.Errorf(sdk.Internal, "process %d cannot be killed and is left behind", g.process.PID())
	}
	return cut, sdk.Errorf(sdk.DeadlineExceeded, "it did not stop within %s and was killed", stop+killGrace)
}
