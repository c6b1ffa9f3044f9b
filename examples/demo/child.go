package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// child is a program that the demo started and waits for.
type child struct {
	name   string
	handle *os.Process
	done   chan struct{} // closed once it has ended and was waited for.
	result error         // how it ended; to be read after done.
}

// startChild starts the program with exactly that environment. What it prints goes to output.
func startChild(path string, environ []string, output io.Writer, args ...string) (*child, error) {
	cmd := &exec.Cmd{
		Path:        path,
		Args:        append([]string{path}, args...),
		Env:         environ,
		Stdout:      output,
		Stderr:      output,
		SysProcAttr: attributes(),
		WaitDelay:   time.Second, // A grandchild that holds the output open must not hold up the end.
	}
	c := &child{name: filepath.Base(path), done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// Never unlocked: the kernel kills the child when the thread that forked it ends.
		runtime.LockOSThread()
		defer close(c.done)
		err := cmd.Start()
		c.handle = cmd.Process
		started <- err
		if err == nil {
			c.result = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	return c, nil
}

// failure says how a child ended that should not have ended. It is for after done.
func (c *child) failure() error {
	if c.result != nil {
		return fmt.Errorf("%s ended: %w", c.name, c.result)
	}
	return fmt.Errorf("%s ended by itself", c.name)
}

// end asks the child to end, kills it when it has not done so within the grace time, and returns when it is gone. One
// that has ended before is no error.
func (c *child) end(grace time.Duration) error {
	err := c.signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-c.done:
		return err
	case <-timer.C:
	}
	err = errors.Join(err, c.signal(syscall.SIGKILL))
	<-c.done
	return errors.Join(err, fmt.Errorf("%s did not end within %v and was killed", c.name, grace))
}

func (c *child) signal(sig os.Signal) error {
	if err := c.handle.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %v to %s: %w", sig, c.name, err)
	}
	return nil
}
