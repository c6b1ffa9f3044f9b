package process_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// copied is a copy of this test binary, to be changed at will.
func copied(t *testing.T) string {
	t.Helper()
	program, err := os.ReadFile(executable(t))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "island")
	if err := os.WriteFile(path, program, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhatWasHashedIsWhatRuns(t *testing.T) {
	path := copied(t)
	image, err := process.Seal(path, "")
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	if why := image.Unsealed(); why != "" {
		t.Fatalf("not sealed: %s", why)
	}
	// Somebody puts another program in its place.
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexit 9\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		p, err := process.Launch(t.Context(), process.LaunchOptions{
			Name: "actor", Path: path, Image: image, RunDir: runDir(t), Env: map[string]string{"GORACE": "atexit_sleep_ms=0"},
		})
		if err != nil {
			t.Fatal(err)
		}
		applied := p.Applied()
		if !applied.Sealed || applied.SHA256 != image.SHA256() {
			t.Errorf("applied %+v", applied)
		}
		args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID()))
		if err != nil || strings.TrimRight(string(args), "\x00") != path {
			t.Errorf("it is called %q, %v", args, err)
		}
		p.Kill()
	}
	if _, err := process.Launch(t.Context(), process.LaunchOptions{Name: "actor", Path: path, SHA256: image.SHA256(), RunDir: runDir(t)}); sdk.KindOf(err) != sdk.InvalidArgument {
		t.Errorf("the other program: %v", err)
	}
}

func TestSealedBytesCannotBeChanged(t *testing.T) {
	before := fds(t)
	image, err := process.Seal(executable(t), "")
	if err != nil {
		t.Fatal(err)
	}
	opened := slices.DeleteFunc(fds(t), func(fd string) bool { return slices.Contains(before, fd) })
	if len(opened) != 1 {
		t.Fatalf("it holds %v", opened)
	}
	file, err := os.OpenFile("/proc/self/fd/"+opened[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString("x"); err == nil {
		t.Error("sealed memory was written to")
	}
	if err := file.Truncate(1); err == nil {
		t.Error("sealed memory was cut")
	}
	_ = file.Close()
	image.Close()
	image.Close()
	if after := fds(t); len(after) != len(before) {
		t.Errorf("%d descriptors before, %d after", len(before), len(after))
	}
}

// fds lists the open descriptors of this process.
func fds(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if _, err := os.Stat("/proc/self/fd/" + e.Name()); err == nil { // Not that of the reading itself.
			names = append(names, e.Name())
		}
	}
	return names
}

func TestAFrozenIslandTellsItsStacks(t *testing.T) {
	p := initialized(t, process.LaunchOptions{}, "")
	freeze(t, p.PID())
	p.Interrogate(20 * time.Second)
	exit := ends(t, p, time.Second)
	if !strings.HasPrefix(exit.Stack, "SIGQUIT: quit") || !strings.Contains(exit.Stack, "goroutine ") || exit.OutOfMemory {
		t.Errorf("out of memory %t, stack %.200q", exit.OutOfMemory, exit.Stack)
	}
	p.Interrogate(time.Second) // Of the dead there is nothing to ask.
}

func TestAPanicIsInTheStack(t *testing.T) {
	p := initialized(t, process.LaunchOptions{}, "")
	_, _ = ask(t, p, "crash") // It dies of the question.
	if exit := ends(t, p, 10*time.Second); !strings.HasPrefix(exit.Stack, "panic: crashed on purpose") || !strings.Contains(exit.Stack, "goroutine ") {
		t.Errorf("stack %.200q", exit.Stack)
	}
}

func TestASocketThatIsGoneIsNoticed(t *testing.T) {
	dir := runDir(t)
	p := initialized(t, process.LaunchOptions{RunDir: dir}, "")
	if err := p.Intact(); err != nil {
		t.Fatal(err)
	}
	sockets, err := filepath.Glob(filepath.Join(dir, "*", "*", "*"))
	if err != nil || len(sockets) != 1 {
		t.Fatalf("%v, %v", sockets, err)
	}
	if err := os.Remove(sockets[0]); err != nil {
		t.Fatal(err)
	}
	if err := p.Intact(); err == nil || !strings.Contains(err.Error(), sockets[0]) {
		t.Errorf("%v", err)
	}
}

func TestAnIslandReachesNoOtherProcess(t *testing.T) {
	for range 5 { // Whatever thread it is started from.
		p := initialized(t, process.LaunchOptions{}, "")
		reached, err := ask(t, p, "reach")
		if err != nil {
			t.Fatal(err)
		}
		switch applied := p.Applied(); {
		case applied.Isolated && reached != "":
			t.Errorf("it reaches its host's %s", reached)
		case !applied.Isolated && applied.NotIsolated == "":
			t.Error("nobody says why it is not isolated")
		}
	}
}

func TestMemoryIsLimited(t *testing.T) {
	program := filepath.Join(t.TempDir(), "bomb")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./testdata/bomb") // The race detector takes memory of its own.
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p, err := process.Launch(t.Context(), process.LaunchOptions{
		Name: "bomb", Path: program, RunDir: runDir(t), Limits: process.Limits{Memory: 256 << 20, Processors: 1, Files: 100},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.PID()))
	if err != nil || !contains(string(limits), "Max data size             268435456", "Max open files            100") {
		t.Errorf("%v\n%s", err, limits)
	}
	if err := p.Island().Initialize(t.Context(), sdk.Config{Name: "bomb"}); err != nil {
		t.Fatal(err)
	}
	if exit := ends(t, p, time.Minute); !exit.OutOfMemory || exit.Code != 2 {
		t.Errorf("code %d, out of memory %t, stack %.300q", exit.Code, exit.OutOfMemory, exit.Stack)
	}
	if applied := p.Applied(); applied.MemoryBytes != 256<<20 || applied.Processors != 1 || applied.Files != 100 || len(applied.Missing) > 0 {
		t.Errorf("applied %+v", applied)
	}
}

// Whatever descriptors are in use, the child finds the program.
func TestManyDescribeAtOnce(t *testing.T) {
	exe := executable(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 10 {
				if _, err := process.Describe(t.Context(), exe, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
