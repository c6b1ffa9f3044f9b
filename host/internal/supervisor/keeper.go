package supervisor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// wish is what somebody wants of an island.
type wish uint8

const (
	wishRestart wish = iota // stop it gracefully if it runs, and start it from the file as it is now
	wishReset               // forget its crashes, and start it unless it runs
	wishChange              // replace what it runs
	wishPolicy              // keep it alive by other rules
)

// command carries a wish to a keeper.
type command struct {
	wish wish
	// change of wishChange, spec of wishPolicy.
	change *change
	spec   *Spec
	// reply receives what came of it; it has room for one. That of a change is in the change.
	reply chan error
}

// keeper keeps one island alive.
type keeper struct {
	name    string
	opts    *Options
	notify  *notifier
	reports *reports
	// spec is what the island is right now. Only run changes it.
	spec atomic.Pointer[Spec]

	// before is how many generations the island had when another keeper kept it.
	before uint64

	commands chan command
	// settled is closed once the first try to start has an outcome; refused holds it when it is permanent.
	settled chan struct{}
	refused error
	// done is closed when run has returned.
	done chan struct{}

	// current is the generation that runs, nil while none does.
	current atomic.Pointer[generation]
	// leaving counts the superseded generations that are still being drained.
	leaving sync.WaitGroup

	mu      sync.Mutex
	status  IslandStatus
	crashes []*Crash // newest last

	// What follows belongs to run alone.
	record      record
	generations uint64
	ran         bool // whether a generation of this keeper ever ran
	restarts    int
	lastHealth  sdk.Status // that was told of
	better      int        // answers in a row that were better than that
	// replies are told what comes of the next start.
	replies []func(error)
	// image holds the bytes that the island runs, so that it comes back from a crash as it was; nil before the first start,
	// and where nothing is sealed.
	image *process.Image
	// pending is a change that is on its way.
	pending *succession

	// sum is the checksum of image, nil when there is none.
	sum atomic.Pointer[string]
}

func newKeeper(spec Spec, opts *Options, notify *notifier, reports *reports) *keeper {
	spec = spec.withDefaults()
	state := StateStarting
	if !spec.Enabled {
		state = StateDisabled
	}
	k := &keeper{
		name: spec.Name, opts: opts, notify: notify, reports: reports, crashes: reports.load(spec.Name),
		commands: make(chan command), settled: make(chan struct{}), done: make(chan struct{}),
		status: IslandStatus{Name: spec.Name, Layer: spec.Layer, State: state, Since: time.Now(), Path: spec.Path},
		record: record{policy: spec.Restart},
	}
	k.spec.Store(&spec)
	return k
}

// run keeps the island alive until the context ends. What runs then is left in current for whoever ended it. A keeper that
// waits starts nothing before it is told to by a change.
func (k *keeper) run(ctx context.Context, waits bool) {
	defer close(k.done)
	defer func() { k.image.Close() }()
	var g *generation
	again := true
	if waits {
		g, again = k.pause(ctx, nil)
	}
	for again && ctx.Err() == nil {
		if g == nil {
			g, again = k.start(ctx)
			continue
		}
		g, again = k.tend(ctx, g)
	}
	k.abandon()
	k.settle(sdk.Errorf(sdk.Unavailable, "island %q is being stopped", k.name), nil)
}

// settle answers everyone who waits for the outcome of a start.
func (k *keeper) settle(outcome, refused error) {
	for _, reply := range k.replies {
		reply(outcome)
	}
	k.replies = nil
	select {
	case <-k.settled:
	default:
		k.refused = refused
		close(k.settled)
	}
}

// start starts the island as its spec says. It returns the generation that runs, nil for none, and whether to go on.
func (k *keeper) start(ctx context.Context) (*generation, bool) {
	began, spec := time.Now(), k.spec.Load()
	g, failed := k.launch(ctx, spec)
	switch {
	case failed != nil && ctx.Err() != nil:
		return nil, false
	case failed != nil:
		return k.startFailed(ctx, failed)
	}
	if k.ran {
		k.restarts++
	}
	k.started(g, time.Since(began))
	return g, true
}

// launch starts a generation from the bytes that the island ran before, or from the file when there are none.
func (k *keeper) launch(ctx context.Context, spec *Spec) (*generation, *failedStart) {
	if k.image == nil || k.image.Unsealed() != "" { // What is not sealed may have changed since.
		image, failed := seal(k.opts, spec)
		if failed != nil {
			return nil, failed
		}
		k.image.Close()
		k.hold(image)
	}
	g, failed := open(ctx, k.opts, spec, k.image)
	if failed != nil {
		return nil, failed
	}
	if failed := g.initialize(ctx, k.opts, spec); failed != nil {
		return nil, failed
	}
	return g, nil
}

// hold takes over the bytes that the island runs from now on.
func (k *keeper) hold(image *process.Image) {
	k.image = image
	if image == nil {
		k.sum.Store(nil)
		return
	}
	sum := image.SHA256()
	k.sum.Store(&sum)
}

// started publishes a generation.
func (k *keeper) started(g *generation, took time.Duration) {
	k.generations++
	k.ran, g.number = true, k.generations
	k.lastHealth, k.better = sdk.StatusOK, 0
	k.current.Store(g)
	spec, applied := k.spec.Load(), g.process.Applied()
	k.update(func(s *IslandStatus) {
		s.State, s.PID, s.Generation, s.LastError, s.Cause = StateRunning, g.process.PID(), g.number, "", ""
		s.Version, s.Roles, s.Health = g.manifest.Version, slices.Clone(g.manifest.Roles), g.health
		s.Layer, s.Path, s.Overridden, s.Applied, s.StopFirst = spec.Layer, spec.Path, spec.overridden, applied, g.manifest.StopFirst
		s.Restarts, s.Debugger = k.restarts, slices.Clone(spec.debugger)
	})
	k.opts.Logger.Info("Island started", k.fields("version", g.manifest.Version, "pid", g.process.PID(), "took", took.Round(time.Millisecond).String())...)
	if !g.missed {
		k.judge(g, g.health)
	}
	k.settle(nil, nil)
}

// startFailed deals with a start that failed.
func (k *keeper) startFailed(ctx context.Context, failed *failedStart) (*generation, bool) {
	crash := failed.crash()
	err := fmt.Errorf("island %q: %w", k.name, failed.reason())
	if !crash.Cause.permanent() {
		retry := k.crashed(crash, false)
		k.settle(err, nil)
		return k.wait(ctx, retry)
	}
	k.image.Close()
	k.hold(nil) // Whoever mends it will probably put another file there.
	k.note(crash)
	k.update(func(s *IslandStatus) {
		s.State, s.PID, s.LastCrash, s.LastError, s.Cause = StateFailed, 0, crash, crash.Error, crash.Cause
	})
	k.opts.Logger.Error("Island cannot be started as it is configured", k.fields("cause", string(crash.Cause), "error", crash.Error)...)
	k.tell(crash)
	k.settle(err, err)
	return k.pause(ctx, nil)
}

// ended deals with a generation that is gone.
func (k *keeper) ended(ctx context.Context, g *generation, cause Cause) (*generation, bool) {
	k.current.Store(nil)
	exit := exitOf(g.process)
	if cause == "" {
		if !k.known() {
			k.complain("")
		}
		cause = causeOf(exit)
	}
	crash := &Crash{Cause: cause, Generation: g.number}
	crash.ended(g.process, exit)
	if cause == CauseOutOfMemory {
		crash.Limit = k.spec.Load().memoryLimit()
	}
	g.hide.crash(crash)
	return k.wait(ctx, k.crashed(crash, true))
}

// note keeps a crash, here and on disk.
func (k *keeper) note(crash *Crash) {
	crash.Island = k.name
	k.reports.stamp(crash)
	k.mu.Lock()
	k.crashes = append(k.crashes, crash)
	k.crashes = k.crashes[max(0, len(k.crashes)-keptCrashes):]
	k.mu.Unlock()
	k.reports.add(crash)
}

// crashed notes and tells a crash, and returns how long to wait before the next start.
func (k *keeper) crashed(crash *Crash, ran bool) time.Duration {
	k.note(crash)
	retry := k.record.crashed(time.Now(), ran, crash.Cause)
	state := StateRestarting
	switch {
	case k.record.open:
		state = StateCrashLoop
	case !ran && !k.ran:
		state = StateStarting
	}
	reason := crash.reason()
	k.update(func(s *IslandStatus) {
		s.State, s.PID, s.LastCrash, s.LastError, s.Cause = state, 0, crash, reason, crash.Cause
	})
	fields := k.fields("cause", string(crash.Cause), "exit", crash.Code, "signal", crash.Signal, "uptime", crash.Uptime.Round(time.Millisecond).String())
	if crash.Limit != "" {
		fields = append(fields, "limit", crash.Limit)
	}
	if crash.Error != "" {
		fields = append(fields, "error", crash.Error)
	}
	if state == StateCrashLoop {
		k.opts.Logger.Error("Island crashed too often and is left alone until a reset or the next probe", append(fields, "probe_in", retry.String())...)
	} else {
		k.opts.Logger.Error("Island crashed", append(fields, "restart_in", retry.Round(time.Millisecond).String())...)
	}
	k.tell(crash)
	return retry
}

// tell tells whoever wants to know of crashes.
func (k *keeper) tell(crash *Crash) {
	if k.opts.OnCrash != nil {
		k.opts.OnCrash(*crash)
	}
}

// wait pauses before the next start.
func (k *keeper) wait(ctx context.Context, pause time.Duration) (*generation, bool) {
	if pause <= 0 {
		return nil, ctx.Err() == nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	return k.pause(ctx, timer.C)
}

// pause waits for the time, for an operator's wish, or for a change that brings a generation of its own. It returns that
// generation, nil when there is none, and whether to go on. A nil channel waits for ever.
func (k *keeper) pause(ctx context.Context, over <-chan time.Time) (*generation, bool) {
	for {
		select {
		case <-ctx.Done():
			return nil, false
		case <-over:
			return nil, true
		case <-k.pending.ready():
			k.prepared()
		case commit := <-k.pending.decision():
			if g := k.decide(ctx, nil, commit); g != nil {
				return g, true
			}
		case c := <-k.receive():
			switch c.wish {
			case wishChange:
				k.begin(ctx, c.change, nil)
			case wishPolicy:
				k.obey(c)
			default:
				if c.wish == wishRestart {
					k.image.Close()
					k.hold(nil)
				}
				k.record.forget()
				k.replies = append(k.replies, func(outcome error) { c.reply <- outcome })
				k.update(func(s *IslandStatus) { s.State = StateStarting })
				return nil, true
			}
		}
	}
}

// receive is where wishes come from. While a change is on its way, they wait.
func (k *keeper) receive() <-chan command {
	if k.pending != nil {
		return nil
	}
	return k.commands
}

// obey takes over other rules to keep the island alive by.
func (k *keeper) obey(c command) {
	k.spec.Store(c.spec)
	k.record.policy = c.spec.Restart
	c.reply <- nil
}

// betterAfter is how many answers in a row must be better than what was told before it is told that they are.
const betterAfter = 3

// judge notes what the island says about its health, and tells when it gets worse or better.
func (k *keeper) judge(g *generation, health sdk.Health) {
	k.update(func(s *IslandStatus) { s.Health = health })
	before := k.lastHealth
	if health.Status != before && sdk.Worst(health.Status, before) == before {
		// What gets worse is told at once. What seems better has to last, so that an island in two minds says so once.
		if k.better++; k.better < betterAfter {
			return
		}
	}
	k.lastHealth, k.better = health.Status, 0
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
		message = "Unknown component health check failed: " + k.name
	}
	k.opts.Logger.Error(message, k.fields(args...)...)
}

// known reports whether the island has a job that the host has a failure mode for: any role but the coordinator's, which
// comes with a cache.
func (k *keeper) known() bool {
	return slices.ContainsFunc(k.roles(), func(role sdk.Role) bool { return role != sdk.RoleCoordinator })
}

// is reports whether the island has a role, by the manifest of its last start.
func (k *keeper) is(role sdk.Role) bool { return slices.Contains(k.roles(), role) }

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
	return append([]any{"island", k.name, "layer", k.spec.Load().Layer.String()}, more...)
}
