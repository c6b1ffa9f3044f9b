package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// eventually repeats a check until it holds.
func eventually(t *testing.T, within time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// crashed waits until the reports of an island's crashes hold every one of the texts. A host is ready without an island that
// does not start, which may end a moment later.
func (h *host) crashed(t *testing.T, island string, texts ...string) {
	t.Helper()
	eventually(t, 30*time.Second, island+" has crashed", func() error {
		out := h.cli(t, "crash", island)
		for _, want := range texts {
			if !strings.Contains(out, want) {
				return fmt.Errorf("no %q in %s", want, out)
			}
		}
		return nil
	})
}

// settled waits until no call to an island is under way and none has begun for a tenth of a second: the writes that follow
// an answer are done. Streams, which have no end, and what the host asks islands about themselves do not count.
func settled(t *testing.T, h *host) {
	t.Helper()
	begun := func() (calls, underWay int) {
		var performance struct {
			Operations []struct {
				Operation string `json:"operation"`
				Count     int    `json:"count"`
				InFlight  int    `json:"in_flight"`
			} `json:"operations"`
		}
		if err := json.Unmarshal(h.ok(t, "/metrics/performance").body, &performance); err != nil {
			t.Fatal(err)
		}
		for _, op := range performance.Operations {
			if !slices.Contains([]string{"stream", "subscribe", "cache_watch", "health", "metrics"}, op.Operation) {
				calls += op.Count + op.InFlight
				underWay += op.InFlight
			}
		}
		return calls, underWay
	}
	eventually(t, 20*time.Second, "settled", func() error {
		before, _ := begun()
		time.Sleep(100 * time.Millisecond)
		if after, underWay := begun(); after != before || underWay > 0 {
			return fmt.Errorf("%d calls became %d, %d are under way", before, after, underWay)
		}
		return nil
	})
}

// gone reports an error while a process lives.
func gone(pid int) error {
	// A zombie that nobody has reaped yet no longer runs.
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if len(stat) > 0 && !bytes.Contains(stat, []byte(") Z ")) {
		return fmt.Errorf("process %d lives: %s", pid, stat)
	}
	return nil
}
