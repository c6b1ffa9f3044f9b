package supervisor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/sdk"
)

// wish is what an operator wants of an island.
type wish uint8

const (
	wishRestart wish = iota // stop it gracefully if it runs, and start it
	wishReset               // forget its crashes, and start it unless it runs
)

// command carries a wish to a keeper.
type command struct {
	wish wish
	// reply receives what came of it; it has room for one.
	reply chan error
}

// keeper keeps one island alive.
type keeper struct {
	spec   Spec
	opts   *Options
	notify *notifier

	commands chan command
	// settled is closed once the first try to start has an outcome; refused holds it when it is permanent.
	settled chan struct{}
	refused error
	// done is closed when run has returned.
	done chan struct{}

	// current is the generation that runs, nil while none does.
	current atomic.Pointer[generation]

	mu      sync.Mutex
	status  IslandStatus
	crashes []*Crash // newest last

	// What follows belongs to run alone.
	record      record
	generations uint64
	lastHealth  sdk.Status
	replies     []chan error
}

func newKeeper(spec Spec, opts *Options, notify *notifier) *keeper {
	spec = spec.withDefaults()
	state := StateStarting
	if !spec.Enabled {
		state = StateDisabled
	}
	return &keeper{
		spec: spec, opts: opts, notify: notify,
		commands: make(chan command), settled: make(chan struct{}), done: make(chan struct{}),
		status: IslandStatus{Name: spec.Name, Layer: spec.Layer, State: state, Since: time.Now()},
		record: record{policy: spec.Restart},
	}
}

// run keeps the island alive until the context ends. What runs then is left in current for whoever ended it.
func (k *keeper) run(ctx context.Context) {
	defer close(k.done)
	for ctx.Err() == nil {
		began := time.Now()
		g, failed := launch(ctx, k.opts, &k.spec)
		if failed != nil && ctx.Err() != nil {
			break
		}
		if failed != nil {
			if !k.startFailed(ctx, failed) {
				break
			}
			continue
		}
		k.started(g, time.Since(began))
		if !k.tend(ctx, g) {
			break
		}
	}
	k.settle(sdk.Errorf(sdk.Unavailable, "island %q is being stopped", k.spec.Name), nil)
}

// settle answers everyone who waits for the outcome of a start.
func (k *keeper) settle(outcome, refused error) {
	for _, reply := range k.replies {
		reply <- outcome
	}
	k.replies = nil
	select {
	case <-k.settled:
	default:
		k.refused = refused
		close(k.settled)
	}
}

// started publishes a generation.
func (k *keeper) started(g *generation, took time.Duration) {
	k.generations++
	g.number = k.generations
	k.lastHealth = sdk.StatusOK
	k.current.Store(g)
	k.update(func(s *IslandStatus) {
		s.State, s.PID, s.Generation, s.LastError = StateRunning, g.process.PID(), g.number, ""
		s.Version, s.Roles, s.Health = g.manifest.Version, slices.Clone(g.manifest.Roles), g.health
		s.Restarts, s.Applied = int(g.number)-1, g.process.Applied()
	})
	k.opts.Logger.Info("Island started", k.fields("version", g.manifest.Version, "pid", g.process.PID(), "took", took.Round(time.Millisecond).String())...)
	if !g.missed {
		k.judge(g, g.health)
	}
	k.settle(nil, nil)
}

// startFailed deals with a start that failed, and returns whether to try again.
func (k *keeper) startFailed(ctx context.Context, failed *failedStart) bool {
	err := fmt.Errorf("island %q: %w", k.spec.Name, failed.err)
	if failed.permanent {
		k.update(func(s *IslandStatus) { s.State, s.PID, s.LastError = StateFailed, 0, failed.err.Error() })
		k.opts.Logger.Error("Island cannot be started as it is configured", k.fields("error", failed.err.Error())...)
		k.settle(err, err)
		return k.pause(ctx, nil)
	}
	crash := &Crash{At: time.Now(), Cause: CauseStart, Code: -1, Error: failed.err.Error()}
	if failed.process != nil {
		crash.PID, crash.Version = failed.process.PID(), failed.process.Manifest().Version
		exit := exitOf(failed.process)
		crash.Stderr, crash.Stack, crash.Uptime = exit.Stderr, exit.Stack, exit.Uptime
		if failed.ended {
			crash.Code, crash.Signal = exit.Code, exit.Signal
		}
	}
	retry := k.crashed(crash, false)
	k.settle(err, nil)
	return k.wait(ctx, retry)
}

// tend watches over a generation until it is gone, and returns whether to start another. When the context ends, the
// generation is left running.
func (k *keeper) tend(ctx context.Context, g *generation) bool {
	answers := make(chan answer)
	pulse, still := context.WithCancel(ctx)
	var asking sync.WaitGroup
	asking.Go(func() { g.pulse(pulse, k.spec.Health, answers) })
	quiet := func() {
		still()
		asking.Wait()
	}
	defer quiet()

	proven := time.NewTimer(k.spec.Restart.ResetAfter)
	defer proven.Stop()
	misses := 0
	if g.missed {
		misses = 1
	}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-g.process.Done():
			quiet()
			return k.ended(ctx, g, CauseExit)
		case <-proven.C:
			if misses > 0 {
				proven.Reset(k.spec.Restart.ResetAfter)
				continue
			}
			k.record.healthy()
		case a := <-answers:
			if a.torn != nil {
				// Calls in flight end well: the connection still stands.
				quiet()
				k.opts.Logger.Error("Socket of an island is gone, the island is replaced", k.fields("error", a.torn.Error())...)
				k.retire(ctx, g, "its socket was gone")
				return ctx.Err() == nil
			}
			if !a.missed {
				misses = 0
				k.judge(g, a.health)
				continue
			}
			misses++
			k.opts.Logger.Warn("Island missed a health deadline", k.fields("misses", misses, "of", k.spec.Health.Misses)...)
			if misses >= k.spec.Health.Misses {
				quiet()
				k.current.Store(nil)
				k.complain("Island hangs and is killed", "deadline", k.spec.Health.Timeout.String())
				if !g.interrogate(k.opts.StackTimeout) {
					k.opts.Logger.Error("Process cannot be killed and is left behind", k.fields("pid", g.process.PID())...)
				}
				return k.ended(ctx, g, CauseHang)
			}
		case c := <-k.commands:
			if c.wish == wishReset {
				k.record.forget()
				c.reply <- nil
				continue
			}
			quiet()
			k.record.forget()
			k.replies = append(k.replies, c.reply)
			k.retire(ctx, g, "is restarted by an operator's wish")
			return ctx.Err() == nil
		}
	}
}

// retire ends a generation that another is to follow.
func (k *keeper) retire(ctx context.Context, g *generation, why string) {
	k.current.Store(nil)
	k.update(func(s *IslandStatus) {
		s.State, s.PID, s.LastError = StateRestarting, 0, why
	})
	k.opts.Logger.Info("Island is being restarted", k.fields("reason", why)...)
	// It was decided, so what ends the keeper meanwhile does not cut the island's Shutdown short.
	if err := k.end(context.WithoutCancel(ctx), g); err != nil {
		k.opts.Logger.Warn("Island did not shut down cleanly", k.fields("error", err.Error())...)
	}
}

// end stops a generation and tells what did not go well.
func (k *keeper) end(ctx context.Context, g *generation) error {
	cut, err := g.end(ctx, k.opts.DrainTimeout, k.opts.StopTimeout)
	if cut > 0 {
		k.opts.Logger.Warn("Island was stopped with calls in flight", k.fields("calls", cut)...)
	}
	return err
}

// ended deals with a generation that is gone, and returns whether to start another.
func (k *keeper) ended(ctx context.Context, g *generation, cause Cause) bool {
	k.current.Store(nil)
	if cause == CauseExit && !k.known() {
		k.complain("")
	}
	exit := exitOf(g.process)
	if exit.OutOfMemory {
		cause = CauseOutOfMemory
	}
	retry := k.crashed(&Crash{
		At: exit.At, Cause: cause, Version: g.manifest.Version, Generation: g.number, PID: g.process.PID(),
		Uptime: exit.Uptime, Code: exit.Code, Signal: exit.Signal, Stderr: exit.Stderr, Stack: exit.Stack,
	}, true)
	return k.wait(ctx, retry)
}

// crashed notes and tells a crash, and returns how long to wait before the next start.
func (k *keeper) crashed(crash *Crash, ran bool) time.Duration {
	crash.Island = k.spec.Name
	retry := k.record.crashed(time.Now(), ran)
	state := StateRestarting
	switch {
	case k.record.open:
		state = StateCrashLoop
	case !ran && k.generations == 0:
		state = StateStarting
	}
	k.mu.Lock()
	k.crashes = append(k.crashes, crash)
	k.crashes = k.crashes[max(0, len(k.crashes)-keptCrashes):]
	k.mu.Unlock()
	reason := crash.reason()
	k.update(func(s *IslandStatus) { s.State, s.PID, s.LastCrash, s.LastError = state, 0, crash, reason })

	fields := k.fields("cause", string(crash.Cause), "exit", crash.Code, "signal", crash.Signal, "uptime", crash.Uptime.Round(time.Millisecond).String())
	if crash.Error != "" {
		fields = append(fields, "error", crash.Error)
	}
	if state == StateCrashLoop {
		k.opts.Logger.Error("Island crashed too often and is left alone until a reset or the next probe", append(fields, "probe_in", retry.String())...)
	} else {
		k.opts.Logger.Error("Island crashed", append(fields, "restart_in", retry.Round(time.Millisecond).String())...)
	}
	if k.opts.OnCrash != nil {
		k.opts.OnCrash(*crash)
	}
	return retry
}

// reason says in a few words how the island went.
func (c *Crash) reason() string {
	switch {
	case c.Error != "":
		return c.Error
	case c.Cause == CauseHang:
		return "missed its health deadlines and was killed"
	case c.Signal != "":
		return "was ended by the signal " + c.Signal
	default:
		return fmt.Sprintf("exited with status %d", c.Code)
	}
}

// wait pauses before the next start, and returns whether there is to be one.
func (k *keeper) wait(ctx context.Context, pause time.Duration) bool {
	if pause <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	return k.pause(ctx, timer.C)
}

// pause waits for the time or for an operator's wish, and returns whether to start.
func (k *keeper) pause(ctx context.Context, over <-chan time.Time) bool {
	select {
	case <-ctx.Done():
		return false
	case <-over:
		return true
	case c := <-k.commands:
		k.record.forget()
		k.replies = append(k.replies, c.reply)
		k.update(func(s *IslandStatus) { s.State = StateStarting })
		return true
	}
}

// judge notes what the island says about its health, and tells when it gets worse or better.
func (k *keeper) judge(g *generation, health sdk.Health) {
	k.update(func(s *IslandStatus) { s.Health = health })
	before := k.lastHealth
	k.lastHealth = health.Status
	switch {
	case health.Status == before:
	case health.Status == sdk.StatusFailed:
		k.complain("Island reports that it failed", "reason", health.Reason)
	case health.Status == sdk.StatusDegraded:
		k.opts.Logger.Warn("Island reports that it is degraded", k.fields("reason", health.Reason)...)
	default:
		k.opts.Logger.Info("Island reports that it is well again", k.fields("generation", g.number)...)
	}
}

// complain logs that an island does not do its job. Of an island whose job the host does not know, operators search for
// one exact line.
func (k *keeper) complain(message string, args ...any) {
	if !k.known() {
		message = "Unknown component health check failed: " + k.spec.Name
	}
	k.opts.Logger.Error(message, k.fields(args...)...)
}

// known reports whether the island has a job that the host has a failure mode for: any role but the coordinator's, which
// comes with a cache.
func (k *keeper) known() bool {
	return slices.ContainsFunc(k.roles(), func(role sdk.Role) bool { return role != sdk.RoleCoordinator })
}

// roles returns the roles that the island has by its manifest, none before the first start.
func (k *keeper) roles() []sdk.Role {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status.Roles
}

// update changes the status, and tells whoever wants to know when it matters.
func (k *keeper) update(change func(*IslandStatus)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before := k.status
	change(&k.status)
	if k.status.State != before.State {
		k.status.Since = time.Now()
	}
	if k.status.State != before.State || k.status.Generation != before.Generation ||
		k.status.Health.Status != before.Health.Status || k.status.LastCrash != before.LastCrash {
		k.notify.push(k.status)
	}
}

// snapshot returns the status as it is.
func (k *keeper) snapshot() IslandStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status
}

// fields of a log line about the island.
func (k *keeper) fields(more ...any) []any {
	return append([]any{"island", k.spec.Name, "layer", k.spec.Layer.String()}, more...)
}
