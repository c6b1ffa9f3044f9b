package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestJanitorsBooks(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		told string
		want map[int]group
	}{
		"nothing":             {"", map[int]group{}},
		"a start":             {"started 7 100 3\n", map[int]group{7: {7, 100, 3}}},
		"a start and its end": {"started 7 100 3\nstarted 8 101 3\ngone 7\n", map[int]group{8: {8, 101, 3}}},
		"a number used again": {"started 7 100 3\ngone 7\nstarted 7 200 3\n", map[int]group{7: {7, 200, 3}}},
		"an end of nothing":   {"gone 9\nstarted 7 100 3\n", map[int]group{7: {7, 100, 3}}},
		"half a line":         {"started 7 100 3\nstarted 8 1", map[int]group{7: {7, 100, 3}}},
		"what would be everybody or one's own": {
			"started 1 100 3\nstarted 0 100 3\nstarted -1 100 3\nstarted -7 100 3\n", map[int]group{},
		},
		"no sense": {"hello\n\nstarted\nstarted x y z\nstarted 7 100 3\n", map[int]group{7: {7, 100, 3}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := groupsLeft(strings.NewReader(test.told)); !maps.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestStatOfAProcess(t *testing.T) {
	t.Parallel()
	const rest = " S 1 77 66 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 2 3"
	for _, name := range []string{"sleep", "a b", "a) S 9 9 9 (b", ")", ""} {
		if got, err := parseStat([]byte("5 (" + name + ")" + rest)); err != nil || got != (stat{77, 66, 4711}) {
			t.Errorf("%q: got %+v, %v", name, got, err)
		}
	}
	for _, text := range []string{"", "5 (sleep)", "5 (sleep) S 1 x 66 0 -1 0 1 0 0 0 0 0 0 0 20 0 1 0 4711", "5 (sleep" + rest[:20]} {
		if got, err := parseStat([]byte(text)); err == nil {
			t.Errorf("%q: got %+v", text, got)
		}
	}
}

// family is a process that leads a group, with a child in it.
type family struct {
	parent *exec.Cmd
	child  int
	output io.Reader // ends with the last of them
}

func startFamily(t *testing.T) *family {
	t.Helper()
	f := &family{parent: exec.CommandContext(t.Context(), "sh", "-c", "sleep 300 & echo $!; wait")}
	f.parent.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = read.Close() })
	f.parent.Stdout, f.output = write, read
	err = f.parent.Start()
	_ = write.Close()
	if err != nil {
		t.Fatal(err)
	}
	output := bufio.NewReader(read)
	line, err := output.ReadString('\n')
	if err == nil {
		f.child, err = strconv.Atoi(strings.TrimSpace(line))
	}
	t.Cleanup(func() { // As long as the child is in the group, the number is the group's.
		if f.parent.ProcessState == nil {
			_ = syscall.Kill(-f.parent.Process.Pid, syscall.SIGKILL)
			_ = f.parent.Wait()
		} else if s, err := statOf(f.child); err == nil && s.group == f.parent.Process.Pid {
			_ = syscall.Kill(f.child, syscall.SIGKILL)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// ends waits for the end of all of the family.
func (f *family) ends(t *testing.T) {
	t.Helper()
	if err := f.output.(*os.File).SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(f.output); err != nil {
		t.Errorf("it still runs: %q, %v", rest, err)
	}
}

func TestGroupsEnd(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		orphaned bool
		change   func(g *group)
		want     bool
	}{
		"with its leader":            {want: true},
		"without its leader":         {orphaned: true, want: true},
		"a number used again":        {change: func(g *group) { g.start-- }},
		"a leader of another start":  {change: func(g *group) { g.start++ }},
		"members of another session": {orphaned: true, change: func(g *group) { g.session++ }},
		"members that are older":     {orphaned: true, change: func(g *group) { g.start += 1 << 40 }},
		"nobody":                     {change: func(g *group) { g.pid = 1 << 30 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFamily(t)
			g, err := groupOf(f.parent.Process.Pid)
			if err != nil {
				t.Fatal(err)
			}
			if test.orphaned {
				_ = f.parent.Process.Kill()
				_ = f.parent.Wait()
			}
			if test.change != nil {
				test.change(&g)
			}
			if got := g.end(); got != test.want {
				t.Errorf("ended %t, want %t", got, test.want)
			}
			if test.want {
				f.ends(t)
			}
		})
	}
}

// What a debugger starts is in a group of its own, but in the debugger's session.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	for name, orphaned := range map[string]bool{"with its leader": false, "without its leader": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			leader := exec.CommandContext(t.Context(), "bash", "-c", "set -m; sleep 300 & echo $!; wait")
			leader.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			output, err := leader.StdoutPipe()
			if err == nil {
				err = leader.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			f := &family{parent: leader, output: output}
			line, err := bufio.NewReader(output).ReadString('\n')
			if err == nil {
				f.child, err = strconv.Atoi(strings.TrimSpace(line))
			}
			if err != nil {
				t.Fatal(err)
			}
			if s, err := statOf(f.child); err != nil || s.group != f.child || s.session != leader.Process.Pid {
				t.Errorf("%+v, %v", s, err)
			}
			g, err := groupOf(leader.Process.Pid)
			if err != nil {
				t.Fatal(err)
			}
			if orphaned {
				_ = leader.Process.Kill()
				_, _ = leader.Process.Wait()
			}
			if !g.end() {
				t.Error("nothing was ended")
			}
			f.ends(t)
			_ = leader.Wait()
		})
	}
}

// A host that ends with islands left has their groups ended; those it was told to be gone are left alone.
func TestJanitorEndsWhatIsLeft(t *testing.T) {
	t.Parallel()
	run := openTestRunDir(t, shortDir(t))
	j, err := startJanitor(run, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	left, gone := startFamily(t), startFamily(t)
	j.watch(left.parent.Process.Pid)
	j.watch(gone.parent.Process.Pid)()
	if err := j.close(); err != nil {
		t.Error(err)
	}
	left.ends(t)
	if s, err := statOf(gone.child); err != nil || s.group != gone.parent.Process.Pid {
		t.Errorf("it was ended, too: %+v, %v", s, err)
	}
}

// A janitor that was killed or does not read keeps nobody from starting islands.
func TestDeadJanitor(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	j, err := startJanitor(openTestRunDir(t, shortDir(t)), hclog.New(&hclog.LoggerOptions{Output: &log}))
	if err != nil {
		t.Fatal(err)
	}
	if err := j.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = j.cmd.Wait()
	pid := os.Getpid()
	j.watch(pid)()
	if want := fmt.Sprintf("pid=%d", pid); !strings.Contains(log.String(), want) {
		t.Errorf("%q does not say %s", log.String(), want)
	}
	if err := j.close(); err != nil {
		t.Error(err)
	}
}
