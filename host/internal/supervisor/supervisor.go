package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// Supervisor keeps islands alive. It lives once: New, Start, Stop. All methods may be called concurrently.
type Supervisor struct {
	opts    Options
	roster  atomic.Pointer[roster]
	notify  *notifier
	reports *reports
	// changing is held by whoever changes what the islands are.
	changing chan struct{}

	mu      sync.Mutex
	begun   bool
	cancel  map[*keeper]context.CancelFunc // of the keepers that run
	leases  map[string]*lease              // of the islands that run under a debugger
	closing chan struct{}                  // closed when Stop begins
	refuse  sync.Once                      // to close refused
	refused chan struct{}                  // closed when nothing is to be changed any more
	closed  chan struct{}                  // closed when Stop has ended
	stopErr error                          // of Stop, once closed
}

// roster is who is kept. It is never changed.
type roster struct {
	keepers []*keeper // in the order of the configuration
	byName  map[string]*keeper
}

func newRoster(keepers []*keeper) *roster {
	r := &roster{keepers: keepers, byName: make(map[string]*keeper, len(keepers))}
	for _, k := range keepers {
		r.byName[k.name] = k
	}
	return r
}

// New checks the options and returns a supervisor that has started nothing. Names must be unique and not empty.
func New(opts Options) (*Supervisor, error) {
	if err := checkNames(opts.Islands); err != nil {
		return nil, err
	}
	s := &Supervisor{
		opts: opts.withDefaults(), notify: newNotifier(opts.OnChange), changing: make(chan struct{}, 1),
		cancel: map[*keeper]context.CancelFunc{}, leases: map[string]*lease{}, closing: make(chan struct{}), closed: make(chan struct{}),
		refused: make(chan struct{}),
	}
	s.reports = newReports(opts.CrashDir, s.opts.Logger)
	s.reports.sweep()
	keepers := make([]*keeper, len(opts.Islands))
	for i, spec := range opts.Islands {
		keepers[i] = newKeeper(spec, &s.opts, s.notify, s.reports)
	}
	s.roster.Store(newRoster(keepers))
	return s, nil
}

// checkNames reports a name that is not unique or empty.
func checkNames(specs []Spec) error {
	seen := make(map[string]bool, len(specs))
	for _, spec := range specs {
		if spec.Name == "" || seen[spec.Name] {
			return sdk.Errorf(sdk.InvalidArgument, "island %q: names must be unique and not empty", spec.Name)
		}
		seen[spec.Name] = true
	}
	return nil
}

// Start starts every enabled island, the lowest layer first and in parallel within one. It returns once each runs or has
// failed its first try; one that crashed is tried again in the background. When an island's configuration, binary or
// checksum is wrong, or the context ends, it stops what it started and returns an error that names the islands. The
// context bounds the start alone.
func (s *Supervisor) Start(ctx context.Context) error {
	s.mu.Lock()
	if s.begun {
		s.mu.Unlock()
		return sdk.Errorf(sdk.Conflict, "the supervisor was started or stopped before")
	}
	s.begun = true
	s.mu.Unlock()
	go s.notify.run()
	go s.reports.run()

	err := s.startLayers(ctx)
	if err == nil {
		return nil
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.DrainTimeout+s.opts.StopTimeout)
	defer cancel()
	return errors.Join(err, s.Stop(stopping))
}

// startLayers starts one layer after the other until one fails or everything is being stopped.
func (s *Supervisor) startLayers(ctx context.Context) error {
	for _, layer := range s.layers() {
		if err := s.startLayer(ctx, layer); err != nil {
			return err
		}
	}
	select {
	case <-s.closing:
		return errStopped
	default:
		return nil
	}
}

// layers returns the enabled islands by layer, the lowest first.
func (s *Supervisor) layers() [][]*keeper {
	var enabled []*keeper
	for _, k := range s.roster.Load().keepers {
		if k.spec.Load().Enabled {
			enabled = append(enabled, k)
		}
	}
	layer := func(k *keeper) sdk.Layer { return k.spec.Load().Layer }
	slices.SortStableFunc(enabled, func(a, b *keeper) int { return cmp.Compare(layer(a), layer(b)) })
	var layers [][]*keeper
	for i, k := range enabled {
		if i == 0 || layer(enabled[i-1]) != layer(k) {
			layers = append(layers, nil)
		}
		layers[len(layers)-1] = append(layers[len(layers)-1], k)
	}
	return layers
}

// startLayer starts the keepers of a layer and waits for the outcome of each one's first try.
func (s *Supervisor) startLayer(ctx context.Context, layer []*keeper) error {
	for _, k := range layer {
		if !s.keep(ctx, k, false) {
			return errStopped
		}
	}
	var errs []error
	for _, k := range layer {
		select {
		case <-k.settled:
			errs = append(errs, k.refused)
		case <-ctx.Done():
			return fmt.Errorf("island %q: start: %w", k.name, context.Cause(ctx))
		case <-s.closing:
			return errStopped
		}
	}
	return errors.Join(errs...)
}

// errStopped is what a Start returns that a Stop interrupted.
var errStopped = sdk.Errorf(sdk.Canceled, "the supervisor was stopped while it started")

// keep lets a keeper run, unless everything is being stopped. A keeper outlives the context of Start. One that waits starts
// nothing before a change tells it to.
func (s *Supervisor) keep(ctx context.Context, k *keeper, waits bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closing:
		return false
	default:
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel[k] = cancel
	go k.run(life, waits)
	return true
}

// RefuseChanges refuses swaps, restarts, resets and Apply from now on, and gives up on those under way, so that nobody who
// waits for one holds the end up. The islands go on.
func (s *Supervisor) RefuseChanges() { s.refuse.Do(func() { close(s.refused) }) }

// Stop stops every island in reverse order of start, stores last, those of one layer in parallel. Each is given time
// for the calls in flight and for its Shutdown; when the context ends, what is left is killed. The error joins those of
// the islands. A second Stop waits for the first and returns the same.
func (s *Supervisor) Stop(ctx context.Context) error {
	s.mu.Lock()
	select {
	case <-s.closing:
		s.mu.Unlock()
		select {
		case <-s.closed:
			return s.stopErr
		case <-ctx.Done():
			return fmt.Errorf("stop of the islands: %w", context.Cause(ctx))
		}
	default:
	}
	close(s.closing)
	s.RefuseChanges()
	for _, lease := range s.leases {
		lease.timer.Stop()
	}
	begun := s.begun
	s.begun = true
	s.mu.Unlock()
	defer close(s.closed)

	var errs []error
	select {
	case s.changing <- struct{}{}: // Whoever changes something has heard of the end and leaves all as it is.
	case <-ctx.Done():
	}
	layers := s.layers()
	slices.Reverse(layers)
	for _, layer := range layers {
		stores := slices.DeleteFunc(slices.Clone(layer), func(k *keeper) bool { return !k.is(sdk.RoleStore) })
		others := slices.DeleteFunc(slices.Clone(layer), func(k *keeper) bool { return k.is(sdk.RoleStore) })
		errs = append(errs, s.stopAll(ctx, others), s.stopAll(ctx, stores))
	}
	s.notify.close()
	s.reports.close()
	if begun {
		errs = append(errs, s.farewell(ctx, s.notify.done, "the receiver of island changes does not return"),
			s.farewell(ctx, s.reports.done, "the crash reports cannot be written to the end"))
	}
	s.stopErr = errors.Join(errs...)
	return s.stopErr
}

// farewell waits until somebody is done with what was handed over last.
func (s *Supervisor) farewell(ctx context.Context, done <-chan struct{}, otherwise string) error {
	select {
	case <-done:
		return nil
	default:
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", otherwise, context.Cause(ctx))
	}
}

// stopAll stops islands in parallel and joins their errors.
func (s *Supervisor) stopAll(ctx context.Context, keepers []*keeper) error {
	errs := make([]error, len(keepers))
	var all sync.WaitGroup
	for i, k := range keepers {
		all.Go(func() {
			if err := s.stopOne(ctx, k); err != nil {
				errs[i] = fmt.Errorf("stop island %q: %w", k.name, err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// stopOne ends a keeper, which is quick, and then what it kept.
func (s *Supervisor) stopOne(ctx context.Context, k *keeper) error {
	s.mu.Lock()
	cancel := s.cancel[k]
	s.mu.Unlock()
	if cancel == nil {
		k.update(func(status *IslandStatus) { status.State = StateStopped })
		return nil
	}
	cancel()
	if err := s.farewell(ctx, k.done, "its keeper does not end"); err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.cancel, k)
	s.mu.Unlock()
	g := k.current.Swap(nil)
	var err error
	if g != nil {
		err = k.end(ctx, g)
	}
	left := make(chan struct{})
	go func() {
		defer close(left)
		k.leaving.Wait() // It is bounded.
	}()
	err = errors.Join(err, s.farewell(ctx, left, "a generation that was replaced is still ending"))
	k.update(func(status *IslandStatus) { status.State, status.PID = StateStopped, 0 })
	k.opts.Logger.Info("Island stopped", k.fields()...)
	return err
}

// Island returns the stand-in of the island's running generation. It must not be kept: ask again for each call. NotFound
// when there is no such island or it is disabled; Unavailable, with RetryAfter, while it does not run.
func (s *Supervisor) Island(name string) (process.Island, error) {
	g, err := s.running(name)
	if err != nil {
		return nil, err
	}
	return g.island, nil
}

// Hold is Island for whoever opens a stream, which lives as long as the generation. The channel is closed once another
// generation has taken the place of this one, which is then given some time before it is stopped: the stream is to be
// opened anew meanwhile. It is not closed when the island crashes, because that breaks the stream.
func (s *Supervisor) Hold(name string) (process.Island, <-chan struct{}, error) {
	g, err := s.running(name)
	if err != nil {
		return nil, nil, err
	}
	return g.island, g.superseded, nil
}

// running returns the generation of an island that runs.
func (s *Supervisor) running(name string) (*generation, error) {
	k, err := s.keeper(name)
	if err != nil {
		return nil, err
	}
	if g := k.current.Load(); g != nil {
		return g, nil
	}
	return nil, &sdk.Error{
		Kind: sdk.Unavailable, RetryAfter: time.Second,
		Message: fmt.Sprintf("island %q does not run right now", name),
	}
}

// Generation returns the number of the island's running generation, 0 while none runs.
func (s *Supervisor) Generation(name string) uint64 {
	g, err := s.running(name)
	if err != nil {
		return 0
	}
	return g.number
}

// keeper returns the keeper of an enabled island.
func (s *Supervisor) keeper(name string) (*keeper, error) {
	k := s.roster.Load().byName[name]
	switch {
	case k == nil:
		return nil, sdk.Errorf(sdk.NotFound, "no island %q", name)
	case !k.spec.Load().Enabled:
		return nil, sdk.Errorf(sdk.NotFound, "island %q is disabled", name)
	default:
		return k, nil
	}
}

// Status returns every island as it is, in the order of the configuration.
func (s *Supervisor) Status() []IslandStatus {
	keepers := s.roster.Load().keepers
	out := make([]IslandStatus, len(keepers))
	for i, k := range keepers {
		out[i] = k.snapshot()
	}
	return out
}

// Crashes returns the last crashes of an island, at most 10, the newest first, those of earlier lives of the host included.
// NotFound when there is no such island.
func (s *Supervisor) Crashes(name string) ([]Crash, error) {
	k := s.roster.Load().byName[name]
	if k == nil {
		return nil, sdk.Errorf(sdk.NotFound, "no island %q", name)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]Crash, 0, len(k.crashes))
	for _, crash := range slices.Backward(k.crashes) {
		out = append(out, *crash)
	}
	return out, nil
}

// Restart stops an island gracefully and starts it again, or starts one that does not run, with a clean record of
// crashes. It returns once the island runs or the first try has failed.
func (s *Supervisor) Restart(ctx context.Context, name string) error {
	return s.command(ctx, name, wishRestart)
}

// Reset forgets an island's crashes. One that waits for its next start, in a crash loop or after a permanent failure is
// started at once, and Reset returns once it runs or the first try has failed.
func (s *Supervisor) Reset(ctx context.Context, name string) error {
	return s.command(ctx, name, wishReset)
}

// command hands a wish to a keeper and waits for what comes of it.
func (s *Supervisor) command(ctx context.Context, name string, w wish) error {
	k, err := s.keeper(name)
	if err != nil {
		return err
	}
	c := command{wish: w, reply: make(chan error, 1)}
	if err := s.send(ctx, k, c); err != nil {
		return err
	}
	select {
	case err := <-c.reply:
		return err
	case <-s.refused:
		return errStopping
	case <-ctx.Done():
		return fmt.Errorf("island %q: %w", name, context.Cause(ctx))
	}
}

// send hands a command to a keeper.
func (s *Supervisor) send(ctx context.Context, k *keeper, c command) error {
	s.mu.Lock()
	running := s.cancel[k] != nil
	s.mu.Unlock()
	if !running {
		return sdk.Errorf(sdk.Unavailable, "island %q was not started", k.name)
	}
	select {
	case k.commands <- c:
		return nil
	case <-k.done:
		return sdk.Errorf(sdk.Unavailable, "island %q is being stopped", k.name)
	case <-s.refused:
		return errStopping
	case <-ctx.Done():
		return fmt.Errorf("island %q: %w", k.name, context.Cause(ctx))
	}
}
