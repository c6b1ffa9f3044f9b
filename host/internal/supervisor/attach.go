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
	// firstRetry and longestRetry bound the pause before that is tried again.
	firstRetry   = 5 * time.Second
	longestRetry = time.Minute
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
	if g := k.current.Load(); g != nil && g.process.Applied().OwnUser {
		spec.lent = time.Now()
	}
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
		before.timer.Stop()
	}
	l := &lease{until: time.Now().Add(DebuggerLease), retry: firstRetry}
	outliving := context.WithoutCancel(ctx)
	l.timer = time.AfterFunc(DebuggerLease, func() { s.expire(outliving, k, l) })
	s.leases[name] = l
	return nil
}

// reclaim gives an island that has run under a debugger its files back, when it had a user of its own before. They are given back
// before the next one starts, which looks whether they are its user's, and again once the one under the debugger has ended.
func (k *keeper) reclaim(was *Spec) {
	if was.lent.IsZero() {
		return
	}
	if err := was.plain.Confine.Reclaim(was.lent); err != nil {
		k.opts.Logger.Warn("Files that an island wrote under its debugger cannot be given back to its user", k.fields("error", err.Error())...)
	}
}

// lease is how long one debugger of an island may stay. It is compared by its address: a timer that has fired may have to wait
// for its turn until the island runs under the next debugger, which it has no say in. The supervisor's mu guards it.
type lease struct {
	until time.Time
	timer *time.Timer
	retry time.Duration // the pause after the next failure
}

// expire takes the debugger away whose lease is over. What fails is tried again, because nothing confines the island until it
// succeeds, and nobody else would.
func (s *Supervisor) expire(ctx context.Context, k *keeper, l *lease) {
	ctx, cancel := context.WithTimeout(ctx, detachTimeout)
	defer cancel()
	err := s.detach(ctx, k.name, l)
	if err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leases[k.name] != l {
		return
	}
	select {
	case <-s.refused: // The island ends with the host.
		return
	default:
	}
	if _, _, gone := s.debugged(k.name); gone != nil { // A reload has taken it away.
		delete(s.leases, k.name)
		return
	}
	pause := max(l.retry, time.Until(l.until)) // Somebody may have called Keep meanwhile.
	l.retry = min(2*l.retry, longestRetry)
	l.timer.Reset(pause)
	s.opts.Logger.Warn("Island cannot be taken from its debugger", k.fields("error", err.Error(), "retry_in", pause.String())...)
}

// Keep lets an island run under its debugger for another DebuggerLease. Conflict when it does not run under one.
func (s *Supervisor) Keep(name string) error {
	if _, _, err := s.debugged(name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.leases[name]; l != nil {
		l.until, l.retry = time.Now().Add(DebuggerLease), firstRetry
		l.timer.Reset(DebuggerLease)
	}
	return nil
}

// Detach replaces an island that runs under a debugger by what it was without, read anew from its file. Conflict when it does not.
func (s *Supervisor) Detach(ctx context.Context, name string) error { return s.detach(ctx, name, nil) }

// detach is Detach. With a lease it does nothing unless that is the island's, and is over.
func (s *Supervisor) detach(ctx context.Context, name string, over *lease) error {
	done, err := s.beginChange(ctx)
	if err != nil {
		return err
	}
	defer done()
	if over != nil && !s.over(name, over) {
		return nil
	}
	k, plain, err := s.debugged(name)
	if err != nil {
		return err
	}
	if over != nil {
		s.opts.Logger.Warn("Nobody asks any more for the debugger of an island", k.fields()...)
	}
	c := newChange(*plain, "is taken from its debugger")
	c.forgive = true
	if err := s.through(ctx, []*made{{k, c}}, func() {}); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.leases[name]; l != nil {
		l.timer.Stop()
		delete(s.leases, name)
	}
	return nil
}

// over reports whether a lease is the island's, and has ended.
func (s *Supervisor) over(name string, l *lease) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leases[name] == l && !time.Now().Before(l.until)
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
