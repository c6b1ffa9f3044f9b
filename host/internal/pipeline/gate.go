package pipeline

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// gates stand before every island that the pipeline asks, for requests and for the feed alike: nothing that an island says
// gets past them unseen.
type gates struct {
	now    func() time.Time
	logger hclog.Logger
	// calls to an island that may be under way, and how many may wait for one of them to end.
	calls   func(name string) int
	waiting int
	// island returns the stand-in of the generation that runs.
	island func(name string) (process.Island, error)

	// formats that each report is made in, by name.
	formats map[string][]string

	mu     sync.Mutex
	byName map[string]*gate
}

// gate stands before one island, across its generations.
type gate struct {
	*gates
	name string
	// asked are the calls that requests make, routine those that the host makes by itself.
	asked      atomic.Pointer[room]
	routine    *room
	turnedAway atomic.Uint64

	dropped [faults]atomic.Uint64
	refused atomic.Uint64 // answers of which nothing was taken
	// told is when a fault was last logged, in Unix nanoseconds, and untold what was dropped since.
	told, untold [faults]atomic.Int64
}

// tellEvery is how often a fault of an island is logged at most.
const tellEvery = time.Minute

func newGates(opts Options) *gates {
	gs := &gates{now: opts.Now, logger: opts.Logger, calls: opts.MaxCalls, waiting: opts.MaxFlights, byName: make(map[string]*gate)}
	gs.declare(opts.Reports)
	return gs
}

// of returns the gate of an island. Their names come from the configuration, so that there are few.
func (gs *gates) of(name string) *gate {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	g := gs.byName[name]
	if g == nil {
		g = &gate{gates: gs, name: name, routine: newRoom(routineCalls, gs.waiting, gs.now)}
		gs.byName[name] = g
	}
	// A reload may make the room another. Those who are in the former one leave that.
	if calls, in := gs.calls(name), g.asked.Load(); in == nil || cap(in.places) != calls {
		g.asked.Store(newRoom(calls, gs.waiting, gs.now))
	}
	return g
}

// declare takes note of the formats that reports are made in.
func (gs *gates) declare(reports []Report) {
	formats := make(map[string][]string, len(reports))
	for _, report := range reports {
		formats[report.Name] = report.Formats
	}
	gs.mu.Lock()
	defer gs.mu.Unlock()
	gs.formats = formats
}

// formatsOf are the formats of a report, nil when they are not known.
func (gs *gates) formatsOf(report string) []string {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	return gs.formats[report]
}

// all lists the gates by name.
func (gs *gates) all() []*gate {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	out := make([]*gate, 0, len(gs.byName))
	for _, name := range slices.Sorted(maps.Keys(gs.byName)) {
		out = append(out, gs.byName[name])
	}
	return out
}

// before puts the gates before the islands of the options.
func (gs *gates) before(opts *Options) {
	gs.island = opts.Island
	if island := opts.Island; island != nil {
		opts.Island = func(name string) (process.Island, error) {
			behind, err := island(name)
			if err != nil {
				return nil, err
			}
			return gated{behind, gs.of(name)}, nil
		}
	}
	if hold := opts.Hold; hold != nil {
		opts.Hold = func(name string) (process.Island, <-chan struct{}, error) {
			behind, superseded, err := hold(name)
			if err != nil {
				return nil, nil, err
			}
			return gated{behind, gs.of(name)}, superseded, nil
		}
	}
}

// IslandStatus is how an island behaves, as the pipeline sees it.
type IslandStatus struct {
	Name string
	// Dropped counts what the island said and nobody believed, by reason, such as "future" or "not_asked"; reasons that
	// never came up are left out.
	Dropped map[string]uint64
	// Refused counts answers of which nothing was believed.
	Refused uint64
	// UnderWay are calls to it that were made for requests, Waiting those that wait for one of them to end, and TurnedAway
	// counts those that were not made because too many waited, or for too long.
	UnderWay, Waiting int
	TurnedAway        uint64
}

// Islands returns how each island that was asked behaves, by name.
func (r *Requests) Islands() []IslandStatus {
	all := r.gates.all()
	out := make([]IslandStatus, len(all))
	for i, g := range all {
		out[i] = g.status()
	}
	return out
}

// Behaviour returns how one island behaves.
func (r *Requests) Behaviour(name string) IslandStatus { return r.gates.of(name).status() }

func (g *gate) status() IslandStatus {
	in := g.asked.Load()
	s := IslandStatus{
		Name: g.name, Dropped: make(map[string]uint64), Refused: g.refused.Load(), UnderWay: len(in.places),
		Waiting: int(in.waiting.Load()), TurnedAway: g.turnedAway.Load(),
	}
	for f := range g.dropped {
		if n := g.dropped[f].Load(); n > 0 {
			s.Dropped[fault(f).String()] = n
		}
	}
	return s
}

// judge counts and tells what a verdict dropped, and returns a BadUpstream error when nothing else came.
func (g *gate) judge(v *verdict, operation string) error {
	now := g.now().UnixNano()
	for f, n := range v.faults {
		if n == 0 {
			continue
		}
		g.dropped[f].Add(n)
		untold := g.untold[f].Add(int64(n))
		last := g.told[f].Load()
		if (last == 0 || now-last >= int64(tellEvery)) && g.told[f].CompareAndSwap(last, max(now, 1)) {
			g.untold[f].Add(-untold)
			g.logger.Warn("an island says what cannot be, which is dropped", "island", g.name, "operation", operation,
				"reason", fault(f).String(), "dropped", untold)
		}
	}
	if !v.worthless() {
		return nil
	}
	g.refused.Add(1)
	return sdk.Errorf(sdk.BadUpstream, "island %q answered %s with nothing that can be, mostly for the reason %s", g.name, operation, v.worst())
}
