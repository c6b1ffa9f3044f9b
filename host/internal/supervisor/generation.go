package supervisor

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
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
	// health as first answered, and whether it was.
	health sdk.Health
	missed bool
}

// failedStart is why a generation did not come to life.
type failedStart struct {
	err error
	// permanent is whether trying again is pointless.
	permanent bool
	// process that was started, nil when none was. It has ended.
	process Process
	// ended is whether the process ended by itself, so that its exit says something.
	ended bool
}

// launch starts a process, checks that it is the island it should be, hands it its settings and asks after its health.
// Of a start that failed no process is left.
func launch(ctx context.Context, opts *Options, spec *Spec) (*generation, *failedStart) {
	g := &generation{calls: &calls{observer: opts.Observer, idle: make(chan struct{}, 1)}}
	p, err := opts.Launch(ctx, process.LaunchOptions{
		Name: spec.Name, Path: spec.Path, SHA256: spec.SHA256, RunDir: opts.RunDir, Env: spec.Env, Limits: spec.Limits,
		Logger:   opts.Logger.Named(spec.Name).With("island", spec.Name, "layer", spec.Layer.String()),
		Observer: g.calls, StartTimeout: opts.StartTimeout,
	})
	if err != nil {
		return nil, &failedStart{err: err, permanent: sdk.KindOf(err) == sdk.InvalidArgument}
	}
	g.process, g.island, g.manifest = p, p.Island(), p.Manifest()
	if err := checkManifest(spec, g.manifest); err != nil {
		g.kill()
		return nil, &failedStart{err: err, permanent: true, process: p}
	}
	initializing, cancel := context.WithTimeout(ctx, opts.InitializeTimeout)
	defer cancel()
	err = g.island.Initialize(initializing, sdk.Config{
		Name: spec.Name, Values: spec.Settings, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		ended := endsSoon(p)
		g.kill()
		return nil, &failedStart{
			err: fmt.Errorf("initialize: %w", err), permanent: sdk.KindOf(err) == sdk.InvalidArgument, process: p, ended: ended,
		}
	}
	g.health, g.missed = g.ask(ctx, spec.Health.Timeout)
	return g, nil
}

// checkManifest compares what an island says it is with what it should be.
func checkManifest(spec *Spec, m sdk.Manifest) error {
	switch {
	case m.Protocol.Major > sdk.ProtocolMajor:
		return sdk.Errorf(sdk.InvalidArgument, "it speaks protocol %d and this host %d: upgrade the host", m.Protocol.Major, sdk.ProtocolMajor)
	case m.Protocol.Major < sdk.ProtocolMajor:
		return sdk.Errorf(sdk.InvalidArgument, "it speaks protocol %d and this host %d: upgrade the island", m.Protocol.Major, sdk.ProtocolMajor)
	case m.Name != spec.Kind:
		return sdk.Errorf(sdk.InvalidArgument, "its binary %s is the island %q, not %q", spec.Path, m.Name, spec.Kind)
	case m.Layer != spec.Layer:
		return sdk.Errorf(sdk.InvalidArgument, "it belongs in layer %s, not %s", m.Layer, spec.Layer)
	default:
		return nil
	}
}

// endsSoon reports whether a process that failed a call is about to be gone, which the call may notice first.
func endsSoon(p Process) bool {
	patience := time.NewTimer(100 * time.Millisecond)
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
	// torn says what has become of the island's socket; nil when it is there.
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
		case answers <- answer{health, missed, g.process.Intact()}:
		}
	}
}

// kill ends the process at once and reports whether it is gone. Even SIGKILL waits for a process that is stuck in the
// kernel; nobody waits for that longer than killGrace.
func (g *generation) kill() bool { return within(killGrace, g.process.Kill) }

// interrogate is a kill that gives the process some time to write its stacks.
func (g *generation) interrogate(grace time.Duration) bool {
	return within(grace+killGrace, func() { g.process.Interrogate(grace) })
}

// within reports whether end returned in time.
func within(bound time.Duration, end func()) bool {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		end()
	}()
	patience := time.NewTimer(bound)
	defer patience.Stop()
	select {
	case <-gone:
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

// calls counts what is in flight to one generation, and passes on what it sees.
type calls struct {
	observer process.Observer
	inFlight atomic.Int64
	draining atomic.Bool
	idle     chan struct{}
}

var _ process.Observer = (*calls)(nil)

// question follows one call of Health through the observer, because Health itself returns no error.
type question struct{ unanswered atomic.Bool }

// questionKey is the context key of a question.
type questionKey struct{}

// uncounted are the operations that a generation's end does not wait for: streams, which live until they break, and the
// supervisor's own.
var uncounted = []string{
	"stream", "subscribe", "cache_watch", "manifest", "initialize", "health", "metrics", "shutdown",
}

// Begin implements process.Observer.
func (c *calls) Begin(ctx context.Context, island, operation string) (context.Context, func(error)) {
	ended := func(error) {}
	if c.observer != nil {
		ctx, ended = c.observer.Begin(ctx, island, operation)
	}
	if slices.Contains(uncounted, operation) {
		asked, _ := ctx.Value(questionKey{}).(*question)
		if asked == nil {
			return ctx, ended
		}
		return ctx, func(err error) {
			if err != nil && (sdk.KindOf(err) == sdk.Unavailable || sdk.KindOf(err) == sdk.DeadlineExceeded) {
				asked.unanswered.Store(true)
			}
			ended(err)
		}
	}
	c.inFlight.Add(1)
	return ctx, func(err error) {
		ended(err)
		if c.inFlight.Add(-1) == 0 && c.draining.Load() {
			select {
			case c.idle <- struct{}{}:
			default:
			}
		}
	}
}

// drain waits until nothing is in flight or the context ends, and returns how much still is.
func (c *calls) drain(ctx context.Context) int64 {
	c.draining.Store(true)
	for {
		n := c.inFlight.Load()
		if n <= 0 {
			return 0
		}
		select {
		case <-ctx.Done():
			return c.inFlight.Load()
		case <-c.idle:
		}
	}
}
