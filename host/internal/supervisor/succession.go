package supervisor

import (
	"context"
	"fmt"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// change is what an island is to become. It is made in two steps, so that several islands change together or not at all:
// first each prepares a generation and says on outcome whether it can, then each is told by decided whether to go through
// with it. Every channel has room for what is sent on it, so that neither side waits for the other.
type change struct {
	// givenUp is closed when the preparation is not worth going on with; nil for never.
	givenUp <-chan struct{}
	spec    Spec
	reason  string
	// image to run, nil for the bytes that the file has. It belongs to the keeper once the change was gone through with.
	image *process.Image
	// same is whether the island's own bytes are run again.
	same bool
	// forgive is whether the island begins with a clean record.
	forgive bool

	// outcome receives what came of the preparation, decided whether to move, and moved what came of that.
	outcome chan error
	decided chan bool
	moved   chan error
	// release is closed once the old generation may go, gone once it has.
	release chan struct{}
	gone    chan struct{}

	// replaced is what the island was before it moved, to be read after moved: to be gone back to, and closed in the end.
	replaced struct {
		spec  *Spec
		image *process.Image
	}
	// halting is whether the island stands still while it moves, to be read after outcome.
	halting bool
}

func newChange(spec Spec, reason string) *change {
	return &change{
		spec: spec, reason: reason,
		outcome: make(chan error, 1), decided: make(chan bool, 1), moved: make(chan error, 1),
		release: make(chan struct{}), gone: make(chan struct{}),
	}
}

// within is a context that ends when the change is given up.
func (c *change) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-c.givenUp:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// fails ends a change that was not gone through with.
func (c *change) fails(err error) {
	c.moved <- err
	close(c.gone)
}

// succession is a change on its way, as the island's keeper sees it.
type succession struct {
	*change
	cancel context.CancelFunc
	// prepared is closed once the successor waits, or why there is none is known.
	prepared  chan struct{}
	successor *generation
	image     *process.Image
	failed    *failedStart
	// announced is whether the other side was told.
	announced bool
}

// ready returns what to wait for before the change can be decided; nil when nothing is to be waited for.
func (s *succession) ready() <-chan struct{} {
	if s == nil || s.announced {
		return nil
	}
	return s.prepared
}

// decision returns where the decision comes from, nil as long as there is nothing to decide.
func (s *succession) decision() <-chan bool {
	if s == nil || !s.announced {
		return nil
	}
	return s.decided
}

// prepare brings a successor to where it can take over. One that has to be alone for that waits as a process that has not
// been handed its settings.
func (s *succession) prepare(ctx context.Context, opts *Options, halting, failing bool) {
	defer close(s.prepared)
	if s.image == nil {
		s.image, s.failed = seal(opts, &s.spec)
		if s.failed != nil {
			return
		}
	}
	g, failed := open(ctx, opts, &s.spec, s.image)
	if failed != nil {
		s.failed = failed
		return
	}
	s.halting = halting || g.manifest.StopFirst
	if !s.halting {
		if s.failed = g.begin(ctx, opts, &s.spec, failing); s.failed != nil {
			return
		}
	}
	s.successor = g
}

// begin hands a generation its settings and, unless failing is allowed, waits until it says that it is well.
func (g *generation) begin(ctx context.Context, opts *Options, spec *Spec, failing bool) *failedStart {
	if failed := g.initialize(ctx, opts, spec); failed != nil {
		return failed
	}
	if failing && !g.missed {
		return nil
	}
	return g.proven(ctx, spec.Health)
}

// begin begins a change. The island goes on as it is meanwhile.
func (k *keeper) begin(ctx context.Context, c *change, g *generation) {
	ctx, cancel := c.within(ctx)
	s := &succession{change: c, cancel: cancel, prepared: make(chan struct{}), image: c.image}
	if c.same {
		s.image = k.image
	}
	k.pending = s
	if len(c.spec.debugger) == 0 {
		k.reclaim(k.spec.Load())
	}
	was := k.snapshot()
	// A successor has to be no worse than what it follows: what both need may be away.
	failing := g != nil && was.Health.Status == sdk.StatusFailed
	go s.prepare(ctx, k.opts, g != nil && was.StopFirst, failing)
}

// prepared tells whoever wants the change whether it can be made.
func (k *keeper) prepared() {
	s := k.pending
	s.announced = true
	if s.failed == nil {
		s.outcome <- nil
		return
	}
	k.pending = nil
	s.cancel()
	k.discard(s)
	err := fmt.Errorf("island %q goes on as it is: %w", k.name, s.failed.reason())
	k.opts.Logger.Warn("Island cannot be replaced and goes on as it is", k.fields("reason", s.reason, "error", err.Error())...)
	s.outcome <- err
	s.fails(err)
}

// discard gives back the bytes that a change brought and that nobody runs.
func (k *keeper) discard(s *succession) {
	if s.image != k.image {
		s.image.Close()
	}
}

// decide goes through with a change, or does not. It returns the generation that runs then, nil for none.
func (k *keeper) decide(ctx context.Context, g *generation, commit bool) *generation {
	s := k.pending
	k.pending = nil
	defer s.cancel()
	switch {
	case !commit:
		s.successor.kill()
		k.discard(s)
		s.fails(nil)
		return g
	case s.halting:
		return k.relieve(ctx, g, s)
	}
	k.adopt(s)
	s.moved <- nil
	k.leave(ctx, g, s.change)
	return s.successor
}

// adopt makes a successor the one that runs.
func (k *keeper) adopt(s *succession) {
	s.replaced.spec = k.spec.Load()
	if s.image != k.image {
		s.replaced.image = k.image
		k.hold(s.image)
	}
	k.spec.Store(&s.spec)
	k.record.policy = s.spec.Restart
	if s.forgive {
		k.record.forget()
	}
	if k.ran {
		k.opts.Logger.Info("Island is replaced", k.fields("reason", s.reason, "path", s.spec.Path)...)
	}
	k.started(s.successor, time.Since(s.successor.born))
}

// leave ends a generation whose successor answers, once it may go: first whoever holds a stream moves, then what is in
// flight ends.
func (k *keeper) leave(ctx context.Context, g *generation, c *change) {
	if g == nil {
		close(c.gone)
		return
	}
	ctx = context.WithoutCancel(ctx) // What ends the keeper meanwhile cuts nothing short.
	before := c.replaced.spec
	k.leaving.Go(func() {
		defer close(c.gone)
		<-c.release
		close(g.superseded)
		moving, cancel := context.WithTimeout(ctx, k.opts.DrainTimeout)
		g.calls.handOver(moving)
		cancel()
		err := k.end(ctx, g)
		k.reclaim(before)
		if err != nil {
			k.opts.Logger.Warn("Island did not shut down cleanly", k.fields("error", g.hide.text(err.Error()))...)
		}
	})
}

// relieve replaces an island that must have stopped before its successor begins. When the successor does not come to life,
// the island is started again as it was.
func (k *keeper) relieve(ctx context.Context, g *generation, s *succession) *generation {
	if g != nil {
		k.retire(ctx, g, s.reason)
		k.reclaim(k.spec.Load())
		close(g.superseded)
	}
	beginning, cancel := s.within(ctx)
	failed := s.successor.begin(beginning, k.opts, &s.spec, false)
	cancel()
	if failed == nil {
		k.adopt(s)
		s.moved <- nil
		close(s.gone)
		return s.successor
	}
	k.discard(s)
	err := fmt.Errorf("island %q: %w", k.name, failed.reason())
	k.opts.Logger.Warn("Island cannot be replaced", k.fields("reason", s.reason, "error", err.Error())...)
	if g == nil {
		s.fails(err)
		return nil
	}
	k.replies = append(k.replies, func(outcome error) {
		if outcome != nil {
			err = fmt.Errorf("%w; and it did not start again as it was: %w", err, outcome)
		} else {
			err = fmt.Errorf("%w; it was started again as it was", err)
		}
		s.fails(err)
	})
	return nil
}

// abandon ends a change that is on its way when the keeper ends.
func (k *keeper) abandon() {
	s := k.pending
	if s == nil {
		return
	}
	k.pending = nil
	s.cancel()
	<-s.prepared
	if s.successor != nil {
		s.successor.kill()
	}
	k.discard(s)
	err := sdk.Errorf(sdk.Unavailable, "island %q is being stopped", k.name)
	if !s.announced {
		s.outcome <- err
	}
	s.fails(err)
}

// seal reads an island's file. That it has another checksum than it must have is told apart.
func seal(opts *Options, spec *Spec) (*process.Image, *failedStart) {
	image, err := opts.Seal(spec.Path, spec.SHA256)
	if err != nil {
		return nil, refused(err)
	}
	return image, nil
}
