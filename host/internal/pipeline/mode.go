package pipeline

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
)

// steadyAfter is how long nothing may have failed before something counts as available again: before a success, or after it.
const steadyAfter = 2 * time.Second

// mode is whether something works. It is down at the first failure, and up again with a success that comes steadyAfter the
// last failure, or once steadyAfter has passed since one without a failure, so that what flaps is not told each time;
// whoever needs it uses it from its first success on. Each change is logged once and counted.
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
	// steady ends the wait after a success; nil while there is none.
	steady  *time.Timer
	changes uint64
	since   time.Time // of the last change, zero for none
}

// Mode is how something that the pipeline depends on is.
type Mode struct {
	// Available is false from the first failure until it has worked for a while.
	Available bool
	// Changes of that since the start, and when the last one was; zero for never.
	Changes uint64
	Since   time.Time
}

func newMode(opts Options, down, up string) *mode {
	return &mode{logger: opts.Logger, now: opts.Now, down: down, up: up, level: hclog.Error}
}

// set notes how it is; cause says why it does not work.
func (m *mode) set(works bool, cause error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failing = !works
	now := m.now()
	switch {
	case !works:
		m.failed = now
		m.unsteady()
		if !m.broken {
			m.change(now, true)
			m.logger.Log(m.level, m.down, "reason", sdk.KindOf(cause).String(), "error", cause)
		}
	case !m.broken:
	case now.Sub(m.failed) >= steadyAfter:
		m.recovered(now)
	case m.steady == nil:
		// It may be long until somebody asks again.
		var timer *time.Timer
		timer = time.AfterFunc(steadyAfter, func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.steady == timer { // else something has failed meanwhile
				m.recovered(m.now())
			}
		})
		m.steady = timer
	}
}

// unsteady ends the wait; the caller holds the lock, as with those below.
func (m *mode) unsteady() {
	if m.steady != nil {
		m.steady.Stop()
		m.steady = nil
	}
}

func (m *mode) recovered(now time.Time) {
	m.unsteady()
	m.change(now, false)
	m.logger.Info(m.up)
}

func (m *mode) change(now time.Time, broken bool) {
	m.broken, m.since = broken, now
	m.changes++
}

// works reports whether the last answer was one.
func (m *mode) works() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.failing
}

// available reports whether it is up.
func (m *mode) available() bool { return m.status().Available }

// status reports how it is, as the log has it.
func (m *mode) status() Mode {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Mode{Available: !m.broken, Changes: m.changes, Since: m.since}
}
