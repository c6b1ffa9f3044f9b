package supervisor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

const (
	// debuggerStart bounds exec to handshake under a debugger, which reads the program first.
	debuggerStart = 40 * time.Second
	// DebuggerLease is how long an island runs under a debugger after the last Attach or Keep: who asked for it may be gone.
	DebuggerLease = 45 * time.Second
	// detachTimeout bounds the way back when nobody waits for it.
	detachTimeout = time.Minute
)

// Attach replaces an island, as Swap does, by its binary under a debugger: a command, with its arguments, that starts the binary
// whose path is its last argument. Such an island may be held at a breakpoint for as long as one likes: it is not killed for
// missing its health deadlines, is not confined, has no limits of memory and processors, and runs as the host's user. It ends
// with Detach, or when nobody has called Keep for DebuggerLease.
//
// PermissionDenied for an island that is locked to a checksum, Conflict for one that runs under a debugger.
func (s *Supervisor) Attach(ctx context.Context, name string, debugger []string) error {
	done, err := s.beginChange(ctx)
	if err != nil {
		return err
	}
	defer done()
	k, err := s.keeper(name)
	if err != nil {
		return err
	}
	plain := *k.spec.Load()
	switch {
	case plain.SHA256 != "":
		return sdk.Errorf(sdk.PermissionDenied, "island %q is locked to one binary by its sha256: what runs under a debugger is not known", name)
	case plain.plain != nil:
		return sdk.Errorf(sdk.Conflict, "island %q runs under the debugger %q already", name, plain.debugger[0])
	}
	spec := plain
	spec.debugger, spec.plain = slices.Clone(debugger), &plain
	spec.Confine, spec.Limits = nil, process.Limits{Files: plain.Limits.Files}
	c := newChange(spec, "is put under a debugger by an operator's wish")
	c.forgive = true
	if err := s.through(ctx, []*made{{k, c}}, func() {}); err != nil {
		return err
	}
	s.opts.Logger.Warn("Island runs under a debugger: nothing confines it, and it is not killed when it hangs",
		k.fields("debugger", fmt.Sprint(debugger))...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if before := s.leases[name]; before != nil {
		before.Stop()
	}
	outliving := context.WithoutCancel(ctx)
	s.leases[name] = time.AfterFunc(DebuggerLease, func() {
		ctx, cancel := context.WithTimeout(outliving, detachTimeout)
		defer cancel()
		if _, _, err := s.debugged(name); err != nil {
			return // A reload has taken it away.
		}
		s.opts.Logger.Warn("Nobody asks any more for the debugger of an island", k.fields()...)
		if err := s.Detach(ctx, name); err != nil {
			s.opts.Logger.Warn("Island cannot be taken from its debugger", k.fields("error", err.Error())...)
		}
	})
	return nil
}

// Keep lets an island run under its debugger for another DebuggerLease. Conflict when it does not run under one.
func (s *Supervisor) Keep(name string) error {
	if _, _, err := s.debugged(name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if lease := s.leases[name]; lease != nil {
		lease.Reset(DebuggerLease)
	}
	return nil
}

// Detach replaces an island that runs under a debugger by what it was without, read anew from its file. Conflict when it does not.
func (s *Supervisor) Detach(ctx context.Context, name string) error {
	done, err := s.beginChange(ctx)
	if err != nil {
		return err
	}
	defer done()
	k, plain, err := s.debugged(name)
	if err != nil {
		return err
	}
	c := newChange(*plain, "is taken from its debugger")
	c.forgive = true
	if err := s.through(ctx, []*made{{k, c}}, func() {}); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if lease := s.leases[name]; lease != nil {
		lease.Stop()
		delete(s.leases, name)
	}
	return nil
}

// debugged returns an island that runs under a debugger, and what it is without.
func (s *Supervisor) debugged(name string) (*keeper, *Spec, error) {
	k, err := s.keeper(name)
	if err != nil {
		return nil, nil, err
	}
	plain := k.spec.Load().plain
	if plain == nil {
		return nil, nil, sdk.Errorf(sdk.Conflict, "island %q does not run under a debugger, or not any more", name)
	}
	return k, plain, nil
}
