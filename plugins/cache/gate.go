package main

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
)

// gate says whether a tier is in use, and logs each change once. A tier is out while an operator has taken it out or
// while it does not work; each of the two has its own way back.
type gate struct {
	logger *slog.Logger
	// out and back are the log lines of the two changes.
	out, back string

	open atomic.Bool

	mu          sync.Mutex
	off, broken bool
}

func newGate(logger *slog.Logger, out, back string) *gate {
	g := &gate{logger: logger, out: out, back: back}
	g.open.Store(true)
	return g
}

// inUse reports whether the tier is to be used.
func (g *gate) inUse() bool { return g.open.Load() }

// state returns whether an operator has taken the tier out, and whether it does not work.
func (g *gate) state() (off, broken bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.off, g.broken
}

// operator takes the tier out or back in by an operator's word.
func (g *gate) operator(ctx context.Context, enabled bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.off = !enabled
	g.settle(ctx, slog.String("reason", "operator"))
}

// failed takes the tier out because it does not work.
func (g *gate) failed(ctx context.Context, cause slog.Attr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.broken = true
	g.settle(ctx, cause)
}

// works takes the tier back in, unless an operator has taken it out.
func (g *gate) works(ctx context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.broken = false
	g.settle(ctx, slog.String("reason", "healthy again"))
}

// settle makes the state effective and logs the change, if it is one.
func (g *gate) settle(ctx context.Context, why slog.Attr) {
	open := !g.off && !g.broken
	if g.open.Swap(open) == open {
		return
	}
	if open {
		g.logger.LogAttrs(ctx, slog.LevelInfo, g.back, why)
	} else {
		g.logger.LogAttrs(ctx, slog.LevelWarn, g.out, why)
	}
}
