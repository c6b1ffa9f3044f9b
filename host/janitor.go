//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/spf13/cobra"
)

// janitor is a small process that outlives a host which was killed, just long enough to remove its sockets. It waits on
// a pipe that ends with the host, however the host dies.
type janitor struct {
	cmd  *exec.Cmd
	pipe io.Closer
}

// startJanitor starts this program as the janitor of a run directory.
func startJanitor(run *runDir) (*janitor, error) {
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
	return &janitor{cmd: cmd, pipe: write}, nil
}

// close ends the janitor of a host that cleans up after itself.
func (j *janitor) close() error {
	err := j.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	_ = j.cmd.Wait() // it was killed
	return errors.Join(err, j.pipe.Close())
}

func newJanitor() *cobra.Command {
	return &cobra.Command{
		Use: janitorCommand + " RUN_DIR", Hidden: true, Args: cobra.ExactArgs(1),
		Short: "Remove the sockets of a host when it has died; the host starts it by itself",
		RunE: func(_ *cobra.Command, args []string) error {
			pipe := os.NewFile(3, "host")
			if pipe == nil {
				return errors.New("it is the host that starts the janitor")
			}
			// Nothing is ever written: a read returns when the host is gone.
			_, _ = pipe.Read(make([]byte, 1))
			return sweepAfter(args[0])
		},
	}
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
