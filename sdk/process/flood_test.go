//go:build unix

package process_test

import (
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

func TestADelugeIsBounded(t *testing.T) {
	memory := func() uint64 {
		var stats runtime.MemStats
		runtime.GC() //nolint:revive // What is left is to be counted, not what was used.
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	log := newLog()
	before := memory()
	p := launch(t, process.LaunchOptions{Logger: log.logger})
	if err := p.Island().Initialize(t.Context(), sdk.Config{Name: "actor", Values: map[string]any{"does": "deluge"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, p, "pid"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	text := strings.Join(log.lines(), "\n")
	if len(text) > 16<<20 { // What may be written at once is 4 MiB, and this took a moment.
		t.Errorf("%d bytes in the log", len(text))
	}
	log.eventually(t, "lines of it are left out")
	if after := memory(); after > before+uint64(len(text))*3+16<<20 {
		t.Errorf("%d bytes of memory before, %d after", before, after)
	}
	if n := len(p.Exit().Stderr); n == 0 || n > 64<<10 {
		t.Errorf("%d bytes of last words", n)
	}
}

// Whoever left the group on purpose holds the pipe, but nobody up.
func TestAGrandchildThatLeftHoldsNothingUp(t *testing.T) {
	p := initialized(t, process.LaunchOptions{}, "grandchild apart")
	text, err := ask(t, p, "grandchild")
	if err != nil {
		t.Fatal(err)
	}
	grandchild, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(grandchild, syscall.SIGKILL) }()
	began := time.Now()
	p.Kill()
	ends(t, p, 5*time.Second)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}
