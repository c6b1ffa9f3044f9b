package process_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk/process"
)

// multiclient is a debugger that gives the program a process group of its own, as debuggers do, and goes on when that has ended, as one
// does that waits for its clients.
func multiclient(first string) []string {
	return []string{"/bin/bash", "-c", "set -m; " + first + " (echo program $BASHPID; exec \"$0\") & sleep 600; :"}
}

// debuggee is the process that the debugger has started.
func debuggee(t *testing.T, p *process.Process) int {
	t.Helper()
	for _, line := range p.Applied().DebuggerSaid {
		if number, ok := strings.CutPrefix(line, "program "); ok {
			pid, err := strconv.Atoi(number)
			if group, _ := syscall.Getpgid(pid); err != nil || group != pid {
				t.Fatalf("%q: %v, in group %d", line, err, group)
			}
			return pid
		}
	}
	t.Fatalf("no program in %q", p.Applied().DebuggerSaid)
	return 0
}

// alive reports whether a process has not ended.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}

// vanishes waits for the end of a process.
func vanishes(t *testing.T, pid int) {
	t.Helper()
	for range 3000 {
		if !alive(pid) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d still runs", pid)
}

// TestADebuggerDoesNotOutliveItsProgram, nor the other way round, in whatever process groups they are.
func TestADebuggerDoesNotOutliveItsProgram(t *testing.T) {
	for name, tc := range map[string]struct {
		end      func(t *testing.T, p *process.Process, program int)
		forsaken bool
	}{
		"the program dies": {func(_ *testing.T, _ *process.Process, program int) { _ = syscall.Kill(program, syscall.SIGKILL) }, true},
		// It is stopped, so that it does not end by itself when its lifeline does.
		"the debugger dies": {func(t *testing.T, p *process.Process, program int) {
			t.Helper()
			freeze(t, program)
			_ = syscall.Kill(p.PID(), syscall.SIGKILL)
		}, false},
		"a kill": {func(t *testing.T, p *process.Process, program int) {
			t.Helper()
			freeze(t, program)
			p.Kill()
		}, false},
		"a stop": {func(t *testing.T, p *process.Process, _ int) {
			t.Helper()
			if err := p.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		}, false},
		"a stop while it is held": {func(t *testing.T, p *process.Process, program int) {
			t.Helper()
			freeze(t, program)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if err := p.Stop(ctx); err == nil {
				t.Error("it was shut down while it was held")
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := initialized(t, process.LaunchOptions{Debugger: multiclient("")}, "")
			program := debuggee(t, p)
			tc.end(t, p, program)
			exit := ends(t, p, 30*time.Second)
			if exit.Forsaken != tc.forsaken || tc.forsaken && (exit.Code != -1 || exit.Signal != "") {
				t.Errorf("%+v", exit)
			}
			vanishes(t, program)
		})
	}
}

// TestADebuggerThatStartsNothing is ended in time, with a word on what it lacks.
func TestADebuggerThatStartsNothing(t *testing.T) {
	const held = "(echo held $BASHPID >&2; exec sleep 600) & sleep 600;"
	_, err := process.Launch(t.Context(), process.LaunchOptions{
		Name: "x", Path: executable(t), RunDir: runDir(t), Debugger: multiclient(held), StartTimeout: 2 * time.Second,
	})
	if err == nil || !strings.Contains(err.Error(), "--continue") {
		t.Fatal(err)
	}
	_, said, _ := strings.Cut(err.Error(), "held ")
	pid, _ := strconv.Atoi(strings.Fields(said + " 0")[0])
	if pid == 0 {
		t.Fatal(err)
	}
	vanishes(t, pid)
}

// TestReclaim gives an island what the host's user has written in its folders, and nothing else.
func TestReclaim(t *testing.T) {
	if os.Geteuid() != 0 {
		return // Nobody else has islands of another user.
	}
	folder, other := filepath.Join(t.TempDir(), "writes"), t.TempDir()
	write := func(path string) string {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	outside, hers := write(filepath.Join(other, "outside")), write(filepath.Join(folder, "hers"))
	if err := os.Chown(hers, 4711, 4711); err != nil {
		t.Fatal(err)
	}
	old := write(filepath.Join(folder, "old"))
	time.Sleep(20 * time.Millisecond) // The clock of a file system is coarse.
	since := time.Now()
	time.Sleep(20 * time.Millisecond)
	fresh, deep := write(filepath.Join(folder, "fresh")), write(filepath.Join(folder, "a", "b", "deep"))
	linked, link := filepath.Join(folder, "linked"), filepath.Join(folder, "link")
	if err := os.Link(write(filepath.Join(filepath.Dir(folder), "elsewhere")), linked); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, link); err != nil {
		t.Fatal(err)
	}
	confine := &process.Confine{Writes: []string{folder, filepath.Join(folder, "none"), outside}, User: 4712}
	if err := confine.Reclaim(since); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]uint32{
		fresh: 4712, deep: 4712, filepath.Dir(deep): 4712, link: 4712, folder: 4712, hers: 4711, old: 0, linked: 0, outside: 0,
	} {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Sys().(*syscall.Stat_t).Uid; got != want {
			t.Errorf("%s is user %d's, want %d", path, got, want)
		}
	}
	var none *process.Confine
	if err := none.Reclaim(since); err != nil {
		t.Error(err)
	}
}
