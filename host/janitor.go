//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
)

// janitor is a small process that outlives a host which was killed, just long enough to end what its islands have started and
// to remove its sockets. It waits on a pipe that ends with the host, however the host dies. Over the pipe it is told of the
// process group of each island when that starts, and when it is gone.
type janitor struct {
	cmd    *exec.Cmd
	pipe   *os.File
	logger hclog.Logger

	mu sync.Mutex
	// groups counts those that the janitor was told of and that are not gone.
	groups int
}

// startJanitor starts this program as the janitor of a run directory.
func startJanitor(run *runDir, logger hclog.Logger) (*janitor, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("janitor: %w", err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("janitor: %w", err)
	}
	defer func() { _ = read.Close() }()
	cmd := exec.Command(program, janitorCommand, run.path) //nolint:noctx // it ends when the pipe does
	cmd.Env = []string{}
	cmd.ExtraFiles = []*os.File{read}
	// In a process group of its own it does not hear the Ctrl-C that ends the host.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("janitor: %w", err), write.Close())
	}
	return &janitor{cmd: cmd, pipe: write, logger: logger}, nil
}

// What the host writes to the janitor, a line each.
const (
	groupStarted = "started %d %d %d\n" // the number of the group, when it was started, its session
	groupGone    = "gone %d\n"
)

// How long the host waits for a janitor that does not read, and for one that is to end what is left.
const (
	tellTimeout = time.Second
	endTimeout  = 10 * time.Second
)

// watch tells the janitor of a process that leads a group of its own and has not been waited for. What it returns is to be
// called once the group is gone.
func (j *janitor) watch(pid int) (gone func()) {
	g, err := groupOf(pid)
	if err == nil {
		err = j.tell(1, groupStarted, g.pid, g.start, g.session)
	}
	if err != nil {
		j.logger.Warn("what this process starts would outlive a host that is killed", "pid", pid, "error", err)
		return func() {}
	}
	return func() {
		if err := j.tell(-1, groupGone, pid); err != nil {
			j.logger.Warn("the janitor does not listen: what islands start would outlive a host that is killed", "pid", pid, "error", err)
		}
	}
}

// tell writes a line, which the kernel takes as a whole or not at all, and counts the groups that are left.
func (j *janitor) tell(change int, line string, values ...any) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.pipe.SetWriteDeadline(time.Now().Add(tellTimeout)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(j.pipe, line, values...)
	if err == nil || change < 0 {
		j.groups += change
	}
	return err
}

// close ends the janitor of a host that cleans up after itself. Where islands are left, which could not be stopped in time, the
// janitor first ends their groups.
func (j *janitor) close() error {
	j.mu.Lock()
	left := j.groups
	j.mu.Unlock()
	if left == 0 {
		err := j.cmd.Process.Kill()
		if errors.Is(err, os.ErrProcessDone) {
			err = nil
		}
		_ = j.cmd.Wait() // it was killed
		return errors.Join(err, j.pipe.Close())
	}
	err := j.pipe.Close()
	patience := time.AfterFunc(endTimeout, func() { _ = j.cmd.Process.Kill() })
	defer patience.Stop()
	return errors.Join(err, j.cmd.Wait())
}

func newJanitor() *cobra.Command {
	return &cobra.Command{
		Use: janitorCommand + " RUN_DIR", Hidden: true, Args: cobra.ExactArgs(1),
		Short: "Clean up after a host when it has died; the host starts it by itself",
		RunE: func(_ *cobra.Command, args []string) error {
			pipe := os.NewFile(3, "host")
			if pipe == nil {
				return errors.New("it is the host that starts the janitor")
			}
			for _, g := range groupsLeft(pipe) {
				g.end()
			}
			return sweepAfter(args[0])
		},
	}
}

// groupsLeft reads what a host tells of groups until it is gone, and returns those that were left then.
func groupsLeft(pipe io.Reader) map[int]group {
	groups := map[int]group{}
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		var g group
		line := lines.Text() + "\n"
		if n, _ := fmt.Sscanf(line, groupStarted, &g.pid, &g.start, &g.session); n == 3 && g.pid > 1 { // -1 would be everybody.
			groups[g.pid] = g
		} else if n, _ := fmt.Sscanf(line, groupGone, &g.pid); n == 1 {
			delete(groups, g.pid)
		}
	}
	return groups
}

// How long and how often the janitor tries to take the lock of its host over.
const (
	lockGrace = 500 * time.Millisecond
	lockPause = 5 * time.Millisecond
)

// sweepAfter removes what a host left in its run directory, unless another host has taken it over by now and sweeps it
// itself.
func sweepAfter(path string) error {
	lock := flock.New(filepath.Join(path, lockName))
	// The pipe of a dying host may end a moment before its lock does.
	ctx, cancel := context.WithTimeout(context.Background(), lockGrace)
	defer cancel()
	if locked, err := lock.TryLockContext(ctx, lockPause); !locked {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil // another host
		}
		return err
	}
	d := &runDir{path: path, lock: lock}
	return errors.Join(d.sweep(), d.close())
}
