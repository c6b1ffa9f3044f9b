package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// clock reads the machine's monotonic clock, which all processes have in common, without a system call.
type clock struct {
	origin time.Time
	// at is what the machine's clock said then, in nanoseconds.
	at int64
}

// newClock finds out how the program's own monotonic clock, which is the same one, relates to the machine's.
func newClock() (clock, error) {
	const tries = 16 // The quickest counts: it was not interrupted between the two clocks.
	var out clock
	best := time.Duration(-1)
	for range tries {
		var now unix.Timespec
		before := time.Now()
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			return clock{}, fmt.Errorf("the monotonic clock: %w", err)
		}
		if took := time.Since(before); best < 0 || took < best {
			best, out = took, clock{origin: before.Add(took / 2), at: now.Nano()}
		}
	}
	return out, nil
}

// now returns nanoseconds.
func (c clock) now() int64 { return c.at + int64(time.Since(c.origin)) }

// residentMemory returns how many bytes of memory a process occupies.
func residentMemory(pid int) (int, error) {
	path := fmt.Sprintf("/proc/%d/statm", pid)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("memory of a process: %w", err)
	}
	const resident = 1 // See proc_pid_statm(5).
	words := strings.Fields(string(text))
	if len(words) <= resident {
		return 0, fmt.Errorf("%s: %q has no resident pages", path, text)
	}
	pages, err := strconv.Atoi(words[resident])
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return pages * os.Getpagesize(), nil
}

// openFiles returns how many descriptors a process has.
func openFiles(pid int) (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0, fmt.Errorf("open files of a process: %w", err)
	}
	return len(entries), nil
}

// fileLimit returns how many descriptors a process may have. Go raises the limit that a program starts with to the highest
// allowed.
func fileLimit() (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("limit of open files: %w", err)
	}
	return int(min(limit.Max, 1<<30)), nil
}

// freeze stops a process where it stands, with everything that it has open.
func (c *child) freeze() error { return c.signal(unix.SIGSTOP) }
