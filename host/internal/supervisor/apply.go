package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/service-islands/islands/sdk"
)

// Applied is what became of the islands, by name and in order of names.
type Applied struct {
	Added     []string `json:"added"`
	Replaced  []string `json:"replaced"`
	Updated   []string `json:"updated"` // kept alive by other rules; the process is the same
	Removed   []string `json:"removed"`
	Unchanged []string `json:"unchanged"`
}

// sort puts every list in order, and none stays nil.
func (a *Applied) sort() {
	for _, list := range []*[]string{&a.Added, &a.Replaced, &a.Updated, &a.Removed, &a.Unchanged} {
		*list = append([]string{}, *list...)
		slices.Sort(*list)
	}
}

// Swap replaces an island by what its binary holds now, or by another binary when "to" is not empty, without anybody
// noticing: the successor is started, initialized and asked after its health before it takes over; calls in flight end
// with the old process, which is gone when Swap returns. When the successor cannot, nothing has changed, and the error says
// why. An island that must be stopped first is away in between, and is started again as it was when its successor fails.
//
// The checksum is what the bytes must have; that of the configuration when it is empty. Another binary stays in effect
// until the next Apply. Conflict for an island that runs under a debugger: a second one would be started beside it, and another
// binary would be lost with it.
func (s *Supervisor) Swap(ctx context.Context, name, to, sha256 string) error {
	done, err := s.beginChange(ctx)
	if err != nil {
		return err
	}
	defer done()
	k, err := s.keeper(name)
	if err != nil {
		return err
	}
	spec := *k.spec.Load()
	if spec.plain != nil {
		return sdk.Errorf(sdk.Conflict, "island %q runs under the debugger %q: end its \"islands attach\" with Ctrl-C, then swap it (once nobody attaches it any more, it is without a debugger after %s)",
			name, spec.debugger[0], DebuggerLease)
	}
	if to != "" {
		spec.overridden = spec.overridden || to != spec.Path
		spec.Path = to
	}
	if sha256 != "" {
		spec.SHA256 = sha256
	}
	c := newChange(spec, "is swapped by an operator's wish")
	c.forgive = true
	return s.through(ctx, []*made{{k, c}}, func() {})
}

// Apply makes the islands what the specs say. Those whose spec, or the bytes of whose file, are others are replaced as Swap
// does it; new ones are started, missing and disabled ones drained and stopped; for the rest only the rules of restart and
// health may change. All successors have to be ready first: if one fails, nothing has changed, and the error says which and
// why. Move is called in between, when the new islands answer and the removed ones still do; it makes everybody ask those
// that are to be asked from then on.
func (s *Supervisor) Apply(ctx context.Context, specs []Spec, move func()) (Applied, error) {
	if err := checkNames(specs); err != nil {
		return Applied{}, err
	}
	done, err := s.beginChange(ctx)
	if err != nil {
		return Applied{}, err
	}
	defer done()
	p, err := s.plan(ctx, specs)
	if err != nil {
		p.giveUp()
		return Applied{}, err
	}
	both := slices.Concat(p.keepers, p.removed)
	err = s.through(ctx, p.made, func() {
		s.roster.Store(newRoster(uniqueNames(both)))
		move()
		s.roster.Store(newRoster(p.keepers))
		for k, spec := range p.updated {
			s.rule(ctx, k, spec)
		}
	})
	if err != nil {
		p.giveUp()
		return Applied{}, err
	}
	ending := context.WithoutCancel(ctx)
	if err := s.stopAll(ending, p.removed); err != nil {
		s.opts.Logger.Warn("An island that was removed did not stop cleanly", "error", err)
	}
	s.retry(ctx, p.again)
	p.applied.sort()
	return p.applied, nil
}

// rule makes a keeper keep its island alive by other rules. One that is being stopped needs none.
func (s *Supervisor) rule(ctx context.Context, k *keeper, spec *Spec) {
	c := command{wish: wishPolicy, spec: spec, reply: make(chan error, 1)}
	err := s.send(context.WithoutCancel(ctx), k, c)
	if err == nil {
		err = <-c.reply
	}
	if err != nil {
		s.opts.Logger.Debug("island does not take other rules", "island", k.name, "error", err)
	}
}

// uniqueNames keeps the last of each name, in the place of the first: until all have moved, an island that is to rest is still
// the one that runs.
func uniqueNames(keepers []*keeper) []*keeper {
	at := map[string]int{}
	var out []*keeper
	for _, k := range keepers {
		if i, ok := at[k.name]; ok {
			out[i] = k
			continue
		}
		at[k.name] = len(out)
		out = append(out, k)
	}
	return out
}

// beginChange waits for its turn to change the islands. Done ends it.
func (s *Supervisor) beginChange(ctx context.Context) (done func(), err error) {
	s.mu.Lock()
	begun := s.begun
	s.mu.Unlock()
	if !begun {
		return nil, sdk.Errorf(sdk.Unavailable, "the supervisor was not started")
	}
	select {
	case <-s.refused:
		return nil, errStopping
	default:
	}
	select {
	case s.changing <- struct{}{}:
	case <-s.refused:
		return nil, errStopping
	case <-ctx.Done():
		return nil, fmt.Errorf("another change is under way: %w", context.Cause(ctx))
	}
	select {
	case <-s.refused:
		<-s.changing
		return nil, errStopping
	default:
		return func() { <-s.changing }, nil
	}
}

// errStopping refuses changes while everything ends.
var errStopping = sdk.Errorf(sdk.Unavailable, "the islands are being stopped")

// made is a change and whose it is.
type made struct {
	k *keeper
	*change
}

// plan is how the islands become what they are to be.
type plan struct {
	s       *Supervisor
	keepers []*keeper // afterwards
	made    []*made
	added   []*keeper
	removed []*keeper
	updated map[*keeper]*Spec
	again   []*keeper // unchanged, but not running
	applied Applied
}

// plan compares what runs with what is to run. Keepers of added islands run already then, and wait. A plan is returned with
// an error, too, so that it can be given up.
func (s *Supervisor) plan(ctx context.Context, specs []Spec) (*plan, error) {
	p := &plan{s: s, updated: map[*keeper]*Spec{}}
	before := s.roster.Load()
	for _, spec := range specs {
		spec = spec.withDefaults()
		was := before.byName[spec.Name]
		running := was != nil && was.spec.Load().Enabled
		switch {
		case !running && spec.Enabled:
			k := s.follow(spec, was)
			if !s.keep(ctx, k, true) {
				return p, errStopping
			}
			p.keepers, p.added = append(p.keepers, k), append(p.added, k)
			p.made = append(p.made, &made{k, newChange(spec, "was added")})
			p.applied.Added = append(p.applied.Added, spec.Name)
		case !running:
			p.keepers = append(p.keepers, s.follow(spec, was))
		case !spec.Enabled:
			p.keepers, p.removed = append(p.keepers, s.follow(spec, was)), append(p.removed, was)
			p.applied.Removed = append(p.applied.Removed, spec.Name)
		default:
			p.keepers = append(p.keepers, was)
			if err := p.compare(was, spec); err != nil {
				return p, err
			}
		}
	}
	for _, k := range before.keepers {
		if k.spec.Load().Enabled && !slices.ContainsFunc(specs, func(spec Spec) bool { return spec.Name == k.name }) {
			p.removed = append(p.removed, k)
			p.applied.Removed = append(p.applied.Removed, k.name)
		}
	}
	return p, nil
}

// follow makes a keeper for an island that another keeper may have kept before, whose numbers go on.
func (s *Supervisor) follow(spec Spec, was *keeper) *keeper {
	k := newKeeper(spec, &s.opts, s.notify, s.reports)
	if was != nil {
		was.mu.Lock()
		k.before, k.crashes = max(was.before, was.status.Generation), slices.Clone(was.crashes)
		was.mu.Unlock()
		k.generations = k.before
	}
	return k
}

// compare plans what becomes of an island that is to go on.
func (p *plan) compare(k *keeper, spec Spec) error {
	is := k.spec.Load()
	if is.plain != nil && is.plain.same(&spec) { // What else changes does not take the debugger away.
		if is.plain.Restart == spec.Restart && is.plain.Health == spec.Health {
			p.applied.Unchanged = append(p.applied.Unchanged, k.name)
			return nil
		}
		ruled := *is
		ruled.Restart, ruled.Health, ruled.plain = spec.Restart, spec.Health, &spec
		p.updated[k] = &ruled
		p.applied.Updated = append(p.applied.Updated, k.name)
		return nil
	}
	change := newChange(spec, "has another configuration")
	change.forgive = true
	if !is.same(&spec) {
		p.made = append(p.made, &made{k, change})
		p.applied.Replaced = append(p.applied.Replaced, k.name)
		return nil
	}
	if sum := k.sum.Load(); sum != nil {
		image, err := p.s.opts.Seal(spec.Path, spec.SHA256)
		if err != nil {
			return fmt.Errorf("island %q: %w", k.name, err)
		}
		if image.SHA256() != *sum {
			change.reason, change.image = "has another binary", image
			p.made = append(p.made, &made{k, change})
			p.applied.Replaced = append(p.applied.Replaced, k.name)
			return nil
		}
		image.Close()
	}
	switch state := k.snapshot().State; {
	case is.Restart != spec.Restart || is.Health != spec.Health:
		p.updated[k] = &spec
		p.applied.Updated = append(p.applied.Updated, k.name)
	default:
		p.applied.Unchanged = append(p.applied.Unchanged, k.name)
		if state == StateFailed || state == StateCrashLoop {
			p.again = append(p.again, k)
		}
	}
	return nil
}

// giveUp ends the keepers of islands that were to be added, and gives back what was read.
func (p *plan) giveUp() {
	for _, m := range p.made {
		select {
		case <-m.gone: // The keeper had it and has given it back.
		default:
			m.image.Close()
		}
	}
	for _, k := range p.added {
		p.s.mu.Lock()
		cancel := p.s.cancel[k]
		delete(p.s.cancel, k)
		p.s.mu.Unlock()
		cancel()
		<-k.done
	}
}

// through makes changes, all or none. Move is called when all have moved, before the old generations go. It returns once
// they have.
func (s *Supervisor) through(ctx context.Context, all []*made, move func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-s.refused:
			cancel()
		case <-ctx.Done():
		}
	}()
	var begun []*made
	var errs []error
	for _, m := range all {
		m.givenUp = ctx.Done()
		if err := s.send(ctx, m.k, command{wish: wishChange, change: m.change}); err != nil {
			errs = append(errs, err)
			break
		}
		begun = append(begun, m)
	}
	var ready []*made
	for _, m := range begun {
		// The keeper always answers: what it waits for is bounded.
		if err := <-m.outcome; err != nil {
			errs = append(errs, err)
			cancel() // One is enough.
			continue
		}
		ready = append(ready, m)
	}
	if len(errs) > 0 || ctx.Err() != nil {
		refuse(ready)
		return s.firstCause(ctx, errs)
	}
	// Those that are away while they change go first: what goes wrong with them can still be undone.
	slices.SortStableFunc(ready, func(a, b *made) int {
		switch {
		case a.halting == b.halting:
			return 0
		case a.halting:
			return -1
		default:
			return 1
		}
	})
	var moved []*made
	for i, m := range ready {
		m.decided <- true
		if err := <-m.moved; err != nil {
			refuse(ready[i+1:])
			s.undo(ctx, moved)
			return err
		}
		moved = append(moved, m)
	}
	move()
	for _, m := range moved {
		close(m.release)
	}
	for _, m := range moved {
		<-m.gone
		m.replaced.image.Close()
	}
	return nil
}

// refuse tells keepers that nothing comes of their changes.
func refuse(all []*made) {
	for _, m := range all {
		m.decided <- false
		<-m.gone
	}
}

// firstCause joins why changes were not made; those that were given up for the sake of another say nothing new.
func (s *Supervisor) firstCause(ctx context.Context, errs []error) error {
	own := slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return errors.Is(err, sdk.Canceled) || errors.Is(err, context.Canceled) })
	switch {
	case len(own) > 0:
		return errors.Join(own...)
	case len(errs) > 0:
		return errors.Join(errs...)
	default:
		return fmt.Errorf("the change was given up: %w", context.Cause(ctx))
	}
}

// undo goes back on changes that were made already when another failed.
func (s *Supervisor) undo(ctx context.Context, moved []*made) {
	for _, m := range slices.Backward(moved) {
		close(m.release)
		<-m.gone
		back := newChange(*m.replaced.spec, "goes back, because another island could not be replaced")
		back.image, back.same = m.replaced.image, m.replaced.image == nil
		if err := s.send(context.WithoutCancel(ctx), m.k, command{wish: wishChange, change: back}); err != nil {
			m.replaced.image.Close()
			continue
		}
		err := <-back.outcome
		if err == nil {
			back.decided <- true
			err = <-back.moved
		}
		close(back.release)
		<-back.gone
		back.replaced.image.Close()
		if err != nil {
			s.opts.Logger.Error("Island could not go back to what it was", m.k.fields("error", err.Error())...)
		}
	}
}

// retry gives islands that do not run another try, each for itself.
func (s *Supervisor) retry(ctx context.Context, keepers []*keeper) {
	var all sync.WaitGroup
	for _, k := range keepers {
		all.Go(func() { _ = s.command(ctx, k.name, wishReset) }) // What comes of it is in its status and in the log.
	}
	all.Wait()
}
