//go:build unix

package process_test

import (
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/service-islands/islands/sdk/process"
)

// Whatever comes of a start: who is to know of the process learns of it before anybody waits for it, and
// then, once, that it is gone.
func TestProcessesAreToldOf(t *testing.T) {
	for name, path := range map[string]string{
		"an island": executable(t), "one that ends at once": script(t, "exit 0"), "one that never shakes hands": script(t, "exec sleep 60"),
		"one that does not start": filepath.Join(t.TempDir(), "none"),
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var told []string
			tell := func(what string) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, what)
			}
			p, err := process.Launch(t.Context(), process.LaunchOptions{
				Name: "x", Path: path, Env: map[string]string{roleVariable: "island"}, RunDir: runDir(t), StartTimeout: 5 * time.Second,
				OnProcess: func(pid int) func() {
					if group, err := syscall.Getpgid(pid); err != nil || group != pid {
						t.Errorf("process %d is in group %d, %v", pid, group, err)
					}
					tell("started")
					return func() { tell("gone") }
				},
			})
			want := []string{"started", "gone"}
			switch {
			case name == "one that does not start":
				want = nil
			case err == nil:
				p.Kill()
			}
			if (err == nil) != (name == "an island") {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if diff := cmp.Diff(want, told); diff != "" {
				t.Error(diff)
			}
		})
	}
}
