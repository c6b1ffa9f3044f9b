package supervisor

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// pulse is the asking after a generation's health.
type pulse struct {
	answers chan answer
	cancel  context.CancelFunc
	asking  sync.WaitGroup
}

func startPulse(ctx context.Context, g *generation, every Health) *pulse {
	ctx, cancel := context.WithCancel(ctx)
	p := &pulse{answers: make(chan answer), cancel: cancel}
	p.asking.Go(func() { g.pulse(ctx, every, p.answers) })
	return p
}

// stop ends the asking and returns once nobody asks.
func (p *pulse) stop() {
	p.cancel()
	p.asking.Wait()
}

// tend watches over a generation until it is gone or another has taken its place. It returns the one that runs then, nil
// for none, and whether to go on. When the context ends, the generation is left running.
func (k *keeper) tend(ctx context.Context, g *generation) (*generation, bool) {
	spec := k.spec.Load()
	asking := startPulse(ctx, g, spec.Health)
	defer func() { asking.stop() }()
	proven := time.NewTimer(spec.Restart.ResetAfter)
	defer proven.Stop()
	misses := 0
	if g.missed {
		misses = 1
	}
	var torn tear
	for {
		select {
		case <-ctx.Done():
			return nil, false
		case <-g.process.Done():
			asking.stop()
			return k.ended(ctx, g, "")
		case <-proven.C:
			if misses > 0 || torn.err != nil {
				proven.Reset(spec.Restart.ResetAfter)
				continue
			}
			k.record.healthy()
		case <-k.pending.ready():
			k.prepared()
		case commit := <-k.pending.decision():
			if commit {
				asking.stop()
			}
			next := k.decide(ctx, g, commit)
			if commit {
				return next, ctx.Err() == nil
			}
		case a := <-asking.answers:
			k.mend(ctx, g, &torn, a.torn)
			if !a.missed {
				misses = 0
				k.judge(g, a.health)
				continue
			}
			if len(spec.debugger) > 0 {
				continue // It is held at a breakpoint.
			}
			misses++
			k.opts.Logger.Warn("Island missed a health deadline", k.fields("misses", misses, "of", spec.Health.Misses)...)
			if misses >= spec.Health.Misses {
				asking.stop()
				k.hung(g, spec)
				return k.ended(ctx, g, CauseHang)
			}
		case c := <-k.receive():
			switch c.wish {
			case wishReset:
				k.record.forget()
				c.reply <- nil
			case wishChange:
				k.begin(ctx, c.change, g)
			case wishPolicy:
				k.obey(c)
				spec = k.spec.Load()
				asking.stop()
				asking = startPulse(ctx, g, spec.Health)
				proven.Reset(spec.Restart.ResetAfter)
			case wishRestart:
				// What cannot be started is not worth a stop.
				image, failed := seal(k.opts, spec)
				if failed != nil {
					c.reply <- fmt.Errorf("island %q goes on as it is: %w", k.name, failed.reason())
					continue
				}
				asking.stop()
				k.image.Close()
				k.hold(image)
				k.record.forget()
				k.replies = append(k.replies, func(outcome error) { c.reply <- outcome })
				k.retire(ctx, g, "is restarted by an operator's wish")
				return nil, ctx.Err() == nil
			}
		}
	}
}

// hung asks an island that hangs for its stacks and ends it.
func (k *keeper) hung(g *generation, spec *Spec) {
	k.current.Store(nil)
	k.complain("Island hangs and is killed", "deadline", spec.Health.Timeout.String())
	if !g.interrogate(k.opts.StackTimeout) {
		k.opts.Logger.Error("Process cannot be killed and is left behind", k.fields("pid", g.process.PID())...)
	}
}

// retire ends a generation before its successor begins.
func (k *keeper) retire(ctx context.Context, g *generation, why string) {
	k.current.Store(nil)
	k.update(func(s *IslandStatus) { s.State, s.PID, s.LastError = StateRestarting, 0, why })
	k.opts.Logger.Info("Island is being restarted", k.fields("reason", why)...)
	// The wish was granted, so what ends the keeper meanwhile does not cut the island's Shutdown short.
	if err := k.end(context.WithoutCancel(ctx), g); err != nil {
		k.opts.Logger.Warn("Island did not shut down cleanly", k.fields("error", g.hide.text(err.Error()))...)
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

// tear is a socket that is gone while its island runs.
type tear struct {
	err error
	// at is when to try again to replace the island.
	at time.Time
}

// mend replaces an island whose socket file is gone. Its connection still stands, so that it answers until its successor
// does. Whatever becomes of that, the loss is reported once.
func (k *keeper) mend(ctx context.Context, g *generation, torn *tear, err error) {
	now := time.Now()
	switch {
	case err == nil:
		*torn = tear{}
		return
	case k.pending != nil || now.Before(torn.at):
		return
	case torn.err == nil:
		applied := g.process.Applied()
		crash := &Crash{
			At: now, Cause: CauseSocket, Version: g.manifest.Version, Generation: g.number, PID: g.process.PID(), Code: -1,
			Error: err.Error(), Applied: &applied,
		}
		k.note(crash)
		k.update(func(s *IslandStatus) { s.LastCrash = crash })
		k.opts.Logger.Error("Socket of an island is gone, the island is replaced", k.fields("error", err.Error())...)
		k.tell(crash)
	}
	torn.err = err
	torn.at = now.Add(k.record.crashed(now, false, CauseSocket))
	c := newChange(*k.spec.Load(), "its socket was gone")
	c.same = true
	c.decided <- true
	close(c.release)
	k.begin(ctx, c, g)
}
