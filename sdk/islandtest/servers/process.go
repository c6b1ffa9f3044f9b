//go:build unix

package servers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 20 * time.Second // from fork to ready; a loaded machine takes its time.
	stopTimeout  = 10 * time.Second // for an orderly end, before the process is killed.
	pollInterval = 5 * time.Millisecond
	portAttempts = 5
	logTail      = 4 << 10 // bytes of a server's output that a failure shows.
)

// errPortTaken tells that another program took the port between choosing and using it.
var errPortTaken = errors.New("port taken by another program")

// command is a program to start.
type command struct {
	path        string
	args        []string // without the program's name
	log         string   // file that gets its output, appended
	credential  *syscall.Credential
	deathSignal syscall.Signal // what it gets when the test binary ends
}

// process is a program that was started and is waited for.
type process struct {
	handle *os.Process
	done   chan struct{} // closed once it has ended and was waited for.
}

// start runs the command. The goroutine which it starts ends with the process.
func (c command) start() (*process, error) {
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", c.path, err)
	}
	cmd := &exec.Cmd{
		Path:        c.path,
		Args:        append([]string{c.path}, c.args...),
		Env:         environment(),
		Dir:         "/",
		Stdout:      log,
		Stderr:      log,
		SysProcAttr: attributes(c.credential, c.deathSignal),
	}

	p := &process{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// Never unlocked: the kernel signals the child when the thread that forked it ends.
		runtime.LockOSThread()
		defer close(p.done)
		err := cmd.Start()
		p.handle = cmd.Process
		// The child has its own descriptor by now, or there is no child.
		started <- errors.Join(err, log.Close())
		if err == nil {
			// How a server that is stopped by a signal ends is of no interest; what it printed is in the log.
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", c.path, err)
	}
	return p, nil
}

// environment is what a server sees: nothing of the developer's own settings, such as PGDATA or a locale that
// translates its messages.
func environment() []string {
	return []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
}

// ended tells whether the process is gone.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// signal sends sig; a process that has ended already is no error.
func (p *process) signal(sig syscall.Signal) error {
	if err := p.handle.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %v to process %d: %w", sig, p.handle.Pid, err)
	}
	return nil
}

// stop sends sig, waits, and kills what has not ended within stopTimeout.
func (p *process) stop(sig syscall.Signal) error {
	err := p.signal(sig)
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.done:
		return err
	case <-timer.C:
	}
	err = errors.Join(err, p.signal(syscall.SIGKILL))
	<-p.done
	return err
}

// awaitReady polls ready until it is true, the process ends or startTimeout has passed.
func (p *process) awaitReady(log string, ready func() bool) error {
	deadline := time.Now().Add(startTimeout)
	for !ready() {
		if p.ended() {
			output := tail(log)
			if bytes.Contains(output, []byte("Address already in use")) {
				return errPortTaken
			}
			return fmt.Errorf("ended before it was ready:\n%s", output)
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("not ready after %v:\n%s", startTimeout, tail(log)), p.stop(syscall.SIGKILL))
		}
		time.Sleep(pollInterval)
	}
	return nil
}

// onFreePort calls start with one free port after the other until it does not report errPortTaken.
func onFreePort(start func(port int) error) error {
	for range portAttempts {
		port, err := freePort()
		if err != nil {
			return err
		}
		if err = start(port); !errors.Is(err, errPortTaken) {
			return err
		}
	}
	return fmt.Errorf("%w, %d times in a row", errPortTaken, portAttempts)
}

// freePort returns a TCP port of 127.0.0.1 that nobody listens on at this moment.
func freePort() (int, error) {
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return 0, fmt.Errorf("choose a port: %w", err)
	}
	port := netip.MustParseAddrPort(listener.Addr().String()).Port()
	return int(port), listener.Close()
}

// hostPort returns the loopback address of the port.
func hostPort(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// tail returns the end of the file, for a message; an unreadable file has none.
func tail(path string) []byte {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > logTail {
		if _, err := file.Seek(-logTail, io.SeekEnd); err != nil {
			return nil
		}
	}
	output, err := io.ReadAll(io.LimitReader(file, logTail))
	if err != nil {
		return nil
	}
	return output
}

// logFailure shows what the server printed when the test has failed.
func logFailure(tb testing.TB, name, log string) {
	tb.Helper()
	if tb.Failed() {
		tb.Logf("%s printed:\n%s", name, tail(log))
	}
}
