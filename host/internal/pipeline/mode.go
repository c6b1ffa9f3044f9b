package pipeline

import (
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
)

// mode is whether something works. Each change is logged once and counted.
type mode struct {
	logger   hclog.Logger
	down, up string // log messages

	mu      sync.Mutex
	broken  bool
	changes atomic.Uint64
}

func newMode(logger hclog.Logger, down, up string) *mode {
	return &mode{logger: logger, down: down, up: up}
}

// set notes how it is; cause says why it does not work.
func (m *mode) set(works bool, cause error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken == !works {
		return
	}
	m.broken = !works
	m.changes.Add(1)
	if works {
		m.logger.Info(m.up)
		return
	}
	m.logger.Error(m.down, "reason", sdk.KindOf(cause).String(), "error", cause)
}

// works reports how it is.
func (m *mode) works() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.broken
}
