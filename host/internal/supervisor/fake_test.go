package supervisor

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// everyRole is an island under another name, so that it can be embedded beside a method Island.
type everyRole interface{ process.Island }

// fakeProcess is an island's process that lives in the test.
type fakeProcess struct {
	everyRole // nil: what the supervisor does not call panics

	name     string
	pid      int
	observer process.Observer
	manifest sdk.Manifest
	farm     *fakeFarm

	initialize func(context.Context, sdk.Config) error
	health     atomic.Pointer[sdk.Health]
	frozen     atomic.Bool // answers nothing until the caller gives up
	torn       atomic.Bool // without its socket
	unkillable bool
	handedOut  bool

	mu      sync.Mutex
	stopped int
	end     sync.Once
	done    chan struct{}
	exit    process.Exit
	born    time.Time
}

func (p *fakeProcess) Island() process.Island { return p }
func (p *fakeProcess) Manifest() sdk.Manifest { return p.manifest }
func (p *fakeProcess) PID() int               { return p.pid }
func (p *fakeProcess) Done() <-chan struct{}  { return p.done }
func (p *fakeProcess) Exit() process.Exit     { return p.exit }

func (p *fakeProcess) Stop(ctx context.Context) error {
	p.mu.Lock()
	p.stopped++
	p.mu.Unlock()
	p.farm.tell("stop " + p.name)
	err := p.Shutdown(ctx)
	if p.unkillable {
		<-p.farm.rest
		return err
	}
	p.die(0, "")
	return err
}

func (p *fakeProcess) Applied() process.Applied { return process.Applied{SHA256: "sum of " + p.name} }

func (p *fakeProcess) Intact() error {
	if p.torn.Load() {
		return sdk.Errorf(sdk.Unavailable, "the socket is gone")
	}
	return nil
}

// Interrogate takes a second.
func (p *fakeProcess) Interrogate(grace time.Duration) {
	if p.unkillable {
		<-p.farm.rest
		return
	}
	time.Sleep(min(grace, time.Second))
	p.end.Do(func() {
		p.exit = process.Exit{At: time.Now(), Uptime: time.Since(p.born), Code: 2, Stack: "SIGQUIT: quit"}
		close(p.done)
	})
}

func (p *fakeProcess) Kill() {
	if p.unkillable {
		<-p.farm.rest
		return
	}
	p.die(-1, "killed")
}

// die ends the process as if by itself.
func (p *fakeProcess) die(code int, signal string) {
	p.end.Do(func() {
		p.exit = process.Exit{At: time.Now(), Uptime: time.Since(p.born), Code: code, Signal: signal, Stderr: "last words"}
		close(p.done)
	})
}

func (p *fakeProcess) Initialize(ctx context.Context, cfg sdk.Config) error {
	p.farm.tell("initialize " + p.name)
	if p.initialize == nil {
		return nil
	}
	return p.initialize(ctx, cfg)
}

func (p *fakeProcess) Health(ctx context.Context) sdk.Health {
	_, done := p.observer.Begin(ctx, p.name, "health")
	if p.frozen.Load() {
		<-ctx.Done()
		done(ctx.Err())
		return sdk.Failed("does not answer")
	}
	done(nil)
	if h := p.health.Load(); h != nil {
		return *h
	}
	return sdk.Healthy()
}

func (p *fakeProcess) Shutdown(ctx context.Context) error {
	if p.frozen.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

// Quotes takes a second.
func (p *fakeProcess) Quotes(ctx context.Context, _ sdk.QuotesRequest) ([]sdk.Quote, error) {
	_, done := p.observer.Begin(ctx, p.name, "quotes")
	var err error
	select {
	case <-time.After(time.Second):
	case <-p.done:
		err = sdk.Unavailable
	}
	done(err)
	return nil, err
}

// Watch lasts as long as the process and its caller.
func (p *fakeProcess) Watch(ctx context.Context, _ func(sdk.CacheEvent) error) error {
	_, done := p.observer.Begin(ctx, p.name, "cache_watch")
	defer done(sdk.Unavailable)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-p.done:
		return sdk.Unavailable
	}
}

// fakeFarm launches fake processes and remembers what happened to them.
type fakeFarm struct {
	// onLaunch may change a process before it is handed out, or refuse it.
	onLaunch func(n int, p *fakeProcess, opts process.LaunchOptions) error
	roles    map[string][]sdk.Role
	layers   map[string]sdk.Layer
	// rest ends what cannot be killed, so that the test can end.
	rest chan struct{}

	mu       sync.Mutex
	launched map[string][]*fakeProcess
	events   []string
	count    int
}

func (f *fakeFarm) tell(event string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, event)
}

func (f *fakeFarm) happened() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.events)
}

func (f *fakeFarm) launch(ctx context.Context, opts process.LaunchOptions) (Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.count++
	p := &fakeProcess{
		name: opts.Name, pid: 1000 + f.count, observer: opts.Observer, farm: f, done: make(chan struct{}), born: time.Now(),
		manifest: sdk.Manifest{
			Name: opts.Name, Version: "1.0.0", Layer: f.layers[opts.Name], Protocol: sdk.Protocol{Major: sdk.ProtocolMajor},
			Roles: f.roles[opts.Name],
		},
	}
	n := len(f.launched[opts.Name]) + 1
	f.launched[opts.Name] = append(f.launched[opts.Name], p)
	f.mu.Unlock()
	f.tell("launch " + opts.Name)
	if f.onLaunch != nil {
		if err := f.onLaunch(n, p, opts); err != nil {
			return nil, err
		}
	}
	p.handedOut = true
	return p, nil
}

// starts returns how often an island was launched.
func (f *fakeFarm) starts(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.launched[name])
}

// latest returns the newest process of an island.
func (f *fakeFarm) latest(name string) *fakeProcess {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.launched[name]
	return all[len(all)-1]
}

// bench is a supervisor over fake processes.
type bench struct {
	*Supervisor
	t    *testing.T
	farm *fakeFarm
	log  *lines
}

// newBench makes a supervisor of the specs, which are enabled and get a layer and a path if they lack one.
func newBench(t *testing.T, specs []Spec, change func(*fakeFarm, *Options)) *bench {
	t.Helper()
	farm := &fakeFarm{
		roles: map[string][]sdk.Role{}, layers: map[string]sdk.Layer{}, launched: map[string][]*fakeProcess{},
		rest: make(chan struct{}),
	}
	log := &lines{}
	opts := Options{
		Launch: farm.launch,
		Seal:   func(string, string) (*process.Image, error) { return &process.Image{}, nil },
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: log, DisableTime: true}),
	}
	for _, spec := range specs {
		spec.Enabled = true
		if spec.Layer == 0 {
			spec.Layer = sdk.LayerExternalServices
		}
		farm.layers[spec.Name] = spec.Layer
		farm.roles[spec.Name] = []sdk.Role{sdk.RoleQuotes}
		opts.Islands = append(opts.Islands, spec)
	}
	if change != nil {
		change(farm, &opts)
	}
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{Supervisor: s, t: t, farm: farm, log: log}
}

// started starts the supervisor and stops it with the test.
func (b *bench) started() *bench {
	b.t.Helper()
	if err := b.Start(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := b.Stop(context.WithoutCancel(b.t.Context())); err != nil {
			b.t.Error(err)
		}
	})
	return b
}

// state fails the test unless the island is in a state.
func (b *bench) state(name string, want State) IslandStatus {
	b.t.Helper()
	synctest.Wait()
	for _, status := range b.Status() {
		if status.Name != name {
			continue
		}
		if status.State != want {
			b.t.Fatalf("island %q is %s (%s), want %s", name, status.State, status.LastError, want)
		}
		return status
	}
	b.t.Fatalf("no island %q", name)
	return IslandStatus{}
}

// lines is a log.
type lines struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

// count returns how many lines hold a text.
func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for line := range strings.Lines(l.out.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.String()
}

// mustContain fails the test unless the error speaks of every text.
func mustContain(t *testing.T, err error, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(fmt.Sprint(err), text) {
			t.Errorf("the error is %q, want it to speak of %q", err, text)
		}
	}
}
