package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// program is what to start and how.
type program struct {
	path string
	args []string
	env  []string
	// cpus the program may use; all that the bench may when empty.
	cpus processors
	// niceness is by how much it is nicer than the bench.
	niceness int
	// log is the file for what the program prints.
	log string
	// input is what it reads first. Its standard input then stays open for as long as the bench lives.
	input []byte
	// reports is whether it answers what it is asked: then its standard output is not logged but read by ask.
	reports bool
}

// child is a program that runs.
type child struct {
	name   string
	log    string
	began  time.Time // when it was started
	handle *os.Process
	stdin  io.WriteCloser
	stdout *os.File // of one that reports
	answer *json.Decoder
	done   chan struct{} // closed once it has ended and was waited for
	result error         // how it ended; to be read after done
}

// start starts a program. Whoever calls it calls end.
func (p program) start() (*child, error) {
	c := &child{name: filepath.Base(p.path), log: p.log, done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", c.name, err)
	}
	cmd := &exec.Cmd{
		Path: p.path, Args: append([]string{p.path}, p.args...), Env: p.env, Stdout: log, Stderr: log, SysProcAttr: attributes(),
		WaitDelay: time.Second, // A grandchild that holds the output open must not hold up the end.
	}
	if c.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	given := []*os.File{log} // The child has descriptors of its own.
	if p.reports {
		var reports *os.File
		if c.stdout, reports, err = os.Pipe(); err != nil {
			return nil, errors.Join(err, c.stdin.Close(), log.Close())
		}
		c.answer, cmd.Stdout, given = json.NewDecoder(c.stdout), reports, append(given, reports)
	}
	started := make(chan error, 1)
	go func() {
		// Never unlocked: the kernel kills the child when the thread that forked it ends, and the thread, bound as it is
		// to the child's processors, must not run anything else.
		runtime.LockOSThread()
		defer close(c.done)
		err := errors.Join(p.cpus.bindThread(), yieldThread(p.niceness))
		c.began = time.Now()
		if err == nil {
			err = cmd.Start()
			c.handle = cmd.Process
		}
		started <- err
		if err == nil {
			c.result = cmd.Wait()
		}
		if c.stdout != nil {
			_ = c.stdout.Close() // Whoever still reads is told why by done.
		}
	}()
	err = <-started
	for _, file := range given {
		err = errors.Join(err, file.Close())
	}
	if err == nil && len(p.input) > 0 {
		_, err = c.stdin.Write(p.input)
	}
	switch {
	case err == nil:
		return c, nil
	case c.handle != nil:
		return nil, errors.Join(fmt.Errorf("start %s: %w", c.name, err), c.kill())
	default:
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
}

// ask gives the child an order, unless that is nil, and reads its next answer.
func (c *child) ask(ctx context.Context, order, answer any, patience time.Duration) error {
	if order != nil {
		line, err := json.Marshal(order)
		if err != nil {
			return err
		}
		_, _ = c.stdin.Write(append(line, '\n')) // Fails when the child has ended, and so does the reading.
	}
	_ = c.stdout.SetReadDeadline(time.Now().Add(patience)) // Likewise.
	stop := context.AfterFunc(ctx, func() { _ = c.stdout.SetReadDeadline(time.Now()) })
	defer stop()
	err := c.answer.Decode(answer)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%s has not answered for %v; it said: %s", c.name, patience, c.said())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, os.ErrClosed):
		<-c.done // The output was closed, so the rest of it is ending.
		return c.failure()
	default:
		return fmt.Errorf("%s answers nonsense: %w", c.name, err)
	}
}

// failure says how a child ended that should not have ended, with the last of what it said. It is for after done.
func (c *child) failure() error {
	how := c.result
	if how == nil {
		how = errors.New("by itself")
	}
	return fmt.Errorf("%s ended: %w; it said: %s", c.name, how, c.said())
}

// said returns the last lines that the child printed.
func (c *child) said() string {
	const most = 2000 // bytes
	text, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text[max(0, len(text)-most):]))
}

// end asks the child to end, kills it when it has not done so within the grace time, and returns when it is gone.
func (c *child) end(grace time.Duration) error {
	_ = c.stdin.Close() // Closed already when the child ended first.
	err := c.signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-c.done:
		return err
	case <-timer.C:
	}
	return errors.Join(err, fmt.Errorf("%s did not end within %v and was killed", c.name, grace), c.kill())
}

// kill ends the child and its process group at once and returns when it is gone.
func (c *child) kill() error {
	err := errors.Join(c.signal(os.Kill), killGroup(c.handle.Pid))
	<-c.done
	return err
}

func (c *child) signal(sig os.Signal) error {
	if err := c.handle.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %v to %s: %w", sig, c.name, err)
	}
	return nil
}
