package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// attributes gives a child a process group of its own and lets it die with the thread that forks it.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// killGroup ends a child and what it has started, as far as that is in its process group.
func killGroup(pid int) error {
	if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill process group %d: %w", pid, err)
	}
	return nil
}

// processorTime returns the user and system time of a process so far, of all its threads, those that ended included.
func processorTime(pid int) (time.Duration, error) {
	const allThreads = 2 // CPUCLOCK_SCHED; how a clock is named after a process is in clock_getcpuclockid(3).
	var now unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|allThreads), &now); err != nil {
		return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	return time.Duration(now.Nano()), nil
}

// processors is a set of processors, by number.
type processors []int

// allowedProcessors returns those that this program may use.
func allowedProcessors() (processors, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("which processors there are: %w", err)
	}
	var out processors
	for i := range len(set) * strconv.IntSize {
		if set.IsSet(i) {
			out = append(out, i)
		}
	}
	return out, nil
}

// bindThread keeps the calling thread, and what it forks, to the processors.
func (p processors) bindThread() error { return p.bind(0) }

// yieldThread makes the calling thread, and what it forks, nicer.
func yieldThread(by int) error {
	if by == 0 {
		return nil
	}
	// The system call says 20 less the niceness. The number 0 is this thread.
	now, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err == nil {
		err = unix.Setpriority(unix.PRIO_PROCESS, 0, 20-now+by)
	}
	if err != nil {
		return fmt.Errorf("be nicer by %d: %w", by, err)
	}
	return nil
}

func (p processors) bind(thread int) error {
	var set unix.CPUSet
	for _, i := range p {
		set.Set(i)
	}
	if err := unix.SchedSetaffinity(thread, &set); err != nil {
		return fmt.Errorf("keep to processors %v: %w", p, err)
	}
	return nil
}

// bindProgram keeps all threads of this program to the processors. Threads to come inherit it.
func (p processors) bindProgram() error {
	const self = "/proc/self/task"
	threads, err := os.ReadDir(self)
	if err != nil {
		return fmt.Errorf("threads of this program: %w", err)
	}
	for _, entry := range threads {
		thread, err := strconv.Atoi(entry.Name())
		if err != nil {
			return fmt.Errorf("threads of this program: %w", err)
		}
		if err := p.bind(thread); err != nil && !errors.Is(err, unix.ESRCH) { // It may have ended since.
			return err
		}
	}
	return nil
}
