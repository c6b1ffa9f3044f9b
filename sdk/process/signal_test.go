//go:build unix

package process_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

func signal(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
}

// gone waits until no process has that number.
func gone(t *testing.T, pid int, within time.Duration) {
	t.Helper()
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || zombie(pid) {
			return
		}
	}
	t.Errorf("process %d goes on after %v", pid, within)
}

// zombie reports whether a process has ended and only waits to be collected, which an orphan's new parent may leave.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") Z ")
}

// freeze stops a process and returns once none of its threads runs: the signal takes a moment to reach them. Where there
// is no /proc that cannot be seen, and is not waited for.
func freeze(t *testing.T, pid int) {
	t.Helper()
	signal(t, pid, syscall.SIGSTOP)
	for deadline := time.Now().Add(10 * time.Second); runs(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d runs in spite of SIGSTOP", pid)
		}
	}
}

// runs reports whether a thread of a process is not stopped.
func runs(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid)) // The pattern is well-formed.
	for _, thread := range threads {
		if stat, err := os.ReadFile(thread); err == nil && !strings.Contains(string(stat), ") T ") {
			return true
		}
	}
	return false
}

func TestKilledIslandIsNoticed(t *testing.T) {
	dir := runDir(t)
	p := initialized(t, process.LaunchOptions{RunDir: dir}, "")
	inFlight := make(chan error, 1)
	go func() {
		_, err := p.Island().Recall(context.WithoutCancel(t.Context()), []string{"wait"})
		inFlight <- err
	}()
	time.Sleep(20 * time.Millisecond)
	signal(t, p.PID(), syscall.SIGKILL)
	if exit := ends(t, p, 2*time.Second); exit.Signal != "killed" || exit.Code != -1 {
		t.Errorf("exit %+v", exit)
	}
	if err := <-inFlight; !errors.Is(err, sdk.Unavailable) {
		t.Errorf("the call in flight: %v", err)
	}
	empty(t, dir)
	if err := p.Stop(t.Context()); err == nil {
		t.Error("stopping the dead says that its Shutdown went well")
	}
	p.Kill()
}

func TestSignalsForTheHostDoNotEndItsIslands(t *testing.T) {
	p := initialized(t, process.LaunchOptions{}, "")
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
		signal(t, p.PID(), s)
	}
	time.Sleep(50 * time.Millisecond)
	if _, err := ask(t, p, "pid"); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestStoppingAFrozenIslandEnds(t *testing.T) {
	dir := runDir(t)
	p := initialized(t, process.LaunchOptions{RunDir: dir}, "")
	freeze(t, p.PID())
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if h := p.Island().Health(ctx); h.Status != sdk.StatusFailed {
		t.Errorf("health %+v", h)
	}
	start := time.Now()
	ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := p.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if exit := ends(t, p, 0+time.Second); exit.Signal != "killed" {
		t.Errorf("exit %+v", exit)
	}
	empty(t, dir)
}

func TestShutdownThatHangsIsBounded(t *testing.T) {
	p := initialized(t, process.LaunchOptions{}, "hang in shutdown")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := p.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	ends(t, p, time.Second)
}

func TestAGrandchildDoesNotHideTheDeath(t *testing.T) {
	for name, end := range map[string]func(*process.Process){
		"kill": func(p *process.Process) { p.Kill() },
		"stop": func(p *process.Process) { _ = p.Stop(context.WithoutCancel(t.Context())) },
		"died": func(p *process.Process) { _ = syscall.Kill(p.PID(), syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			p := initialized(t, process.LaunchOptions{}, "grandchild")
			text, err := ask(t, p, "grandchild")
			if err != nil {
				t.Fatal(err)
			}
			grandchild, err := strconv.Atoi(text)
			if err != nil || syscall.Kill(grandchild, 0) != nil {
				t.Fatalf("no grandchild: %q, %v", text, err)
			}
			start := time.Now()
			end(p)
			ends(t, p, 5*time.Second)
			if took := time.Since(start); took > 4*time.Second {
				t.Errorf("took %v", took)
			}
			gone(t, grandchild, time.Second)
		})
	}
}

func TestNoIslandOutlivesItsHost(t *testing.T) {
	for name, tc := range map[string]struct{ does, role, user string }{
		"idle": {}, "with a Shutdown that hangs": {does: "hang in shutdown"}, "that does not listen": {role: "deaf"},
		"confined": {user: "0"}, "of a user of its own": {user: "61998"}, "of a user of its own that does not listen": {role: "deaf", user: "61998"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := runDir(t)
			host := exec.CommandContext(t.Context(), executable(t), dir, tc.does)
			host.Env = append(os.Environ(), roleVariable+"=host", "ISLAND_ROLE="+tc.role, "ISLAND_USER="+tc.user)
			out, err := host.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := host.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			var pid int
			if _, scanErr := fmt.Sscan(line, &pid); err != nil || scanErr != nil {
				t.Fatalf("%q %v %v", line, err, scanErr)
			}
			if left, err := filepath.Glob(filepath.Join(dir, "*", "*", "*")); err != nil || len(left) == 0 {
				t.Fatalf("no socket: %v %v", left, err)
			}
			if err := host.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = host.Wait()           // It was killed.
			gone(t, pid, time.Second) // Its folder is left to whoever sweeps after the host.
		})
	}
}
