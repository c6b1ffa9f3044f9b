package pipeline

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
)

// steadyAfter is how long nothing may have failed before something counts as available again.
const steadyAfter = 2 * time.Second

// mode is whether something works. It is down at the first failure, and up again at the first success that comes
// steadyAfter the last failure, so that what flaps is not told each time. Each change is logged once and counted.
type mode struct {
	logger   hclog.Logger
	now      func() time.Time
	down, up string      // log messages
	level    hclog.Level // of the first

	mu     sync.Mutex
	broken bool
	// failing is whether the last answer was a failure, and failed when the last one was.
	failing bool
	failed  time.Time
	changes atomic.Uint64
	since   time.Time // of the last change; zero for none
}

func newMode(opts Options, down, up string) *mode {
	return &mode{logger: opts.Logger, now: opts.Now, down: down, up: up, level: hclog.Error}
}

// set notes how it is; cause says why it does not work.
func (m *mode) set(works bool, cause error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failing = !works
	switch now := m.now(); {
	case !works:
		m.failed = now
		if m.broken {
			return
		}
		m.broken = true
		m.logger.Log(m.level, m.down, "reason", sdk.KindOf(cause).String(), "error", cause)
	case m.broken && now.Sub(m.failed) >= steadyAfter:
		m.broken = false
		m.logger.Info(m.up)
	default:
		return
	}
	m.changes.Add(1)
	m.since = m.now()
}

// works reports whether the last answer was one.
func (m *mode) works() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.failing
}

// available reports whether it is up.
func (m *mode) available() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.broken
}

// Mode is how something is that the pipeline can do without for a while.
type Mode struct {
	// Available is false from the first failure until it works steadily again.
	Available bool
	// Changes of Available since the start, and when the last one was; zero for never.
	Changes uint64
	Since   time.Time
}

func (m *mode) status() Mode {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Mode{Available: !m.broken, Changes: m.changes.Load(), Since: m.since}
}
