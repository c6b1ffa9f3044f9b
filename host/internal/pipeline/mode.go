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
	down, up string // log messages

	mu     sync.Mutex
	broken bool
	// failing is whether the last answer was a failure, and failed when the last one was.
	failing bool
	failed  time.Time
	changes atomic.Uint64
}

func newMode(opts Options, down, up string) *mode {
	return &mode{logger: opts.Logger, now: opts.Now, down: down, up: up}
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
		m.logger.Error(m.down, "reason", sdk.KindOf(cause).String(), "error", cause)
	case m.broken && now.Sub(m.failed) >= steadyAfter:
		m.broken = false
		m.logger.Info(m.up)
	default:
		return
	}
	m.changes.Add(1)
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
