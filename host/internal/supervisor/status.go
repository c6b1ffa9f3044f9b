package supervisor

import (
	"slices"
	"sync"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// State is where an island is in its life.
type State string

// The states there are.
const (
	StateStarting   State = "starting"   // for the first time, or by an operator's wish after it had failed
	StateRunning    State = "running"    // answers
	StateRestarting State = "restarting" // crashed, or is restarted by an operator's wish
	StateCrashLoop  State = "crash_loop" // crashed too often; probed from time to time
	StateStopped    State = "stopped"    // with the host
	StateDisabled   State = "disabled"   // not to run
	StateFailed     State = "failed"     // cannot be started as it is configured; not retried
)

// IslandStatus is an island at one moment.
type IslandStatus struct {
	Name  string
	Layer sdk.Layer
	// Version and Roles are those of the manifest, empty until the first start.
	Version string
	Roles   []sdk.Role
	State   State
	// PID of the process, 0 while none runs.
	PID int
	// Generation rises with every start that succeeded, from 1; 0 before the first.
	Generation uint64
	// Health as last answered; it says nothing about an island that is not running.
	Health sdk.Health
	// Since is when State was entered.
	Since time.Time
	// Restarts that succeeded since the host started, swaps not counted.
	Restarts int
	// Path of the binary in effect. Overridden is whether an operator's swap put it there, until the next reload or start of
	// the host.
	Path       string
	Overridden bool
	// Debugger is the command under which the process runs, by an operator's wish; empty for none.
	Debugger []string
	// Applied is what confines and limits the running process; it says nothing about an island that is not running.
	Applied process.Applied
	// StopFirst is whether the island is stopped before its successor begins, by the manifest of the last start.
	StopFirst bool
	// Cause is why the island does not run, empty while it runs.
	Cause Cause
	// LastCrash is nil when there was none. It is never changed.
	LastCrash *Crash
	// LastError says why the island does not run or did not start; empty once it runs. It may hold paths: it is for
	// operators.
	LastError string
}

// pendingPerIsland is how many changes of one island wait for a slow receiver before they are merged.
const pendingPerIsland = 16

// notifier hands changes to a receiver in order, without ever making a keeper wait for it.
type notifier struct {
	receive func(IslandStatus)
	wake    chan struct{}
	done    chan struct{}

	mu      sync.Mutex
	pending []IslandStatus
	waiting map[string]int
	closed  bool
}

func newNotifier(receive func(IslandStatus)) *notifier {
	return &notifier{receive: receive, wake: make(chan struct{}, 1), done: make(chan struct{}), waiting: map[string]int{}}
}

// push queues a change, or merges it into the newest waiting one of its island when too many wait.
func (n *notifier) push(status IslandStatus) {
	if n.receive == nil {
		return
	}
	n.mu.Lock()
	if n.waiting[status.Name] >= pendingPerIsland {
		for i := range slices.Backward(n.pending) {
			if n.pending[i].Name == status.Name {
				n.pending[i] = status
				break
			}
		}
	} else {
		n.pending = append(n.pending, status)
		n.waiting[status.Name]++
	}
	n.mu.Unlock()
	n.signal()
}

// close lets run end once everything that waits is delivered.
func (n *notifier) close() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.signal()
}

func (n *notifier) signal() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// run delivers until close.
func (n *notifier) run() {
	defer close(n.done)
	for range n.wake {
		for {
			n.mu.Lock()
			if len(n.pending) == 0 {
				closed := n.closed
				n.mu.Unlock()
				if closed {
					return
				}
				break
			}
			status := n.pending[0]
			n.pending = n.pending[1:]
			n.waiting[status.Name]--
			n.mu.Unlock()
			n.receive(status)
		}
	}
}
