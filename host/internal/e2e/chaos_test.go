package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"
)

// full is whether the chaos tests run at length, as make chaos has them do; otherwise they do the same with smaller figures. Those at
// length run programs with the race detector, whose figures of memory say little, unless they are asked for plain ones.
var (
	full  = os.Getenv("ISLANDS_CHAOS") == "full"
	races = full && os.Getenv("ISLANDS_CHAOS_PROGRAMS") != "plain"
)

// scaled is the smaller figure, or the one at length.
func scaled(short, long int) int {
	if full {
		return long
	}
	return short
}

// dice are the random moments of a test. Their seed is logged, and ISLANDS_CHAOS_SEED repeats it.
func dice(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("ISLANDS_CHAOS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("ISLANDS_CHAOS_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// within is a random time up to a limit.
func within(r *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(r.Int64N(int64(most)))
}

// restless has every island of a configuration come back at once, however often it crashes.
func restless(text string) string {
	const policy = `
  restart {
    max_crashes = 1000
    backoff_min = "10ms"
    backoff_max = "50ms"
  }`
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "  binary ") || strings.HasPrefix(line, "  binary=") {
			lines[i] += policy
		}
	}
	return strings.Join(lines, "\n")
}

// relatives are the processes that belong to the host with a data directory: those with its run directory in their
// environment, on their command line or among their open files. It knows islands whose parent is gone, too.
func relatives(data string) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	run := data + "/run"
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err == nil && pid != os.Getpid() && relatedTo(pid, run) && gone(pid) != nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// relatedTo reports whether a process has to do with a folder.
func relatedTo(pid int, folder string) bool {
	dir := fmt.Sprintf("/proc/%d/", pid)
	for _, name := range []string{"environ", "cmdline"} {
		if text, _ := os.ReadFile(dir + name); bytes.Contains(text, []byte(folder)) {
			return true
		}
	}
	open, _ := os.ReadDir(dir + "fd")
	for _, fd := range open {
		if target, _ := os.Readlink(dir + "fd/" + fd.Name()); strings.HasPrefix(target, folder) {
			return true
		}
	}
	return false
}

// nothingLeft reports what is left of a host that has ended: a process, a socket, a lock, a half-written file.
func nothingLeft(data string) error {
	for _, pid := range relatives(data) {
		if err := gone(pid); err != nil {
			return err
		}
	}
	lock := flock.New(filepath.Join(data, "run", "lock"))
	if _, err := os.Stat(lock.Path()); err == nil {
		locked, err := lock.TryLock()
		if err != nil || !locked {
			return fmt.Errorf("the lock is held, %w", err)
		}
		defer func() { _ = lock.Close() }()
	}
	return filepath.WalkDir(data, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil //nolint:nilerr // what is removed meanwhile is welcome to be gone
		case entry.Type() == fs.ModeSocket:
			return fmt.Errorf("a socket: %s", path)
		case entry.Type().IsRegular() && strings.Contains(path, "/crashes/") && filepath.Ext(path) == ".json":
			text, err := os.ReadFile(path)
			if err == nil && !json.Valid(text) {
				return fmt.Errorf("half a crash report: %s", path)
			}
		}
		return nil
	})
}

// footprint is what a host holds.
type footprint struct {
	goroutines, files, sockets, threads int
	resident                            int64
}

func (f footprint) String() string {
	return fmt.Sprintf("%d goroutines, %d files, %d of them sockets, %d threads, %d MiB", f.goroutines, f.files, f.sockets, f.threads, f.resident>>20)
}

// footprintOf asks the host, and the kernel for what the host cannot know better.
func footprintOf(t *testing.T, h *host) footprint {
	t.Helper()
	var status struct {
		Host struct {
			PID           int   `json:"pid"`
			Goroutines    int   `json:"goroutines"`
			ResidentBytes int64 `json:"resident_bytes"`
		} `json:"host"`
	}
	if err := json.Unmarshal([]byte(h.cli(t, "status", "--json")), &status); err != nil {
		t.Fatal(err)
	}
	f := footprint{goroutines: status.Host.Goroutines, resident: status.Host.ResidentBytes}
	dir := fmt.Sprintf("/proc/%d/", status.Host.PID)
	open, err := os.ReadDir(dir + "fd")
	if err != nil {
		t.Fatal(err)
	}
	f.files = len(open)
	for _, fd := range open {
		if target, _ := os.Readlink(dir + "fd/" + fd.Name()); strings.HasPrefix(target, "socket:") {
			f.sockets++
		}
	}
	tasks, err := os.ReadDir(dir + "task")
	if err != nil {
		t.Fatal(err)
	}
	f.threads = len(tasks)
	return f
}

// allRun waits until every one of the islands runs, and none of them as the process that it was.
func allRun(t *testing.T, h *host, before map[string]int) (now map[string]int) {
	t.Helper()
	eventually(t, 60*time.Second, "all islands run again", func() error {
		now = h.pids(t)
		for name, pid := range before {
			if now[name] == 0 || now[name] == pid {
				return fmt.Errorf("%s: process %d became %d", name, pid, now[name])
			}
		}
		return nil
	})
	return now
}
