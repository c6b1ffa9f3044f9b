package process

import (
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

	"github.com/hashicorp/go-hclog"
)

func TestOwnCgroup(t *testing.T) {
	const (
		unified  = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
		hybrid   = "24 20 0:22 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
		part     = "30 23 0:26 /kube/pod1 /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
		nonsense = "\n - cgroup2 x\n30 23\n"
	)
	for name, tc := range map[string]struct{ groups, mounts, want, problem string }{
		"a unit":            {"0::/system.slice/islands.service\n", nonsense + unified, "/sys/fs/cgroup/system.slice/islands.service", ""},
		"a container":       {"0::/\n", unified, "/sys/fs/cgroup", ""},
		"both versions":     {"9:name=systemd:/\n4:memory:/x\n0::/\n", hybrid, "/sys/fs/cgroup/unified", ""},
		"a part is mounted": {"0::/kube/pod1/a\n", part, "/sys/fs/cgroup/a", ""},
		"another part":      {"0::/kube/pod2\n", part, "", "not mounted"},
		"the old version":   {"4:memory:/x\n", hybrid, "", "no control group of version 2"},
		"nothing":           {"", "", "", "no control group of version 2"},
	} {
		t.Run(name, func(t *testing.T) {
			got, top, err := ownCgroup([]byte(tc.groups), []byte(tc.mounts))
			if got != tc.want || top != (err == nil && strings.HasSuffix(tc.groups, ":/\n")) || (err == nil) != (tc.problem == "") || err != nil && !strings.Contains(err.Error(), tc.problem) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// tree is a folder that looks like a control group. What is written to its files stays in them.
func tree(t *testing.T, controllers string, root bool) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{"cgroup.controllers": controllers + "\n", "cgroup.procs": "", "cgroup.subtree_control": ""}
	if !root {
		files["cgroup.type"] = "domain\n"
	}
	for name, text := range files {
		if err := write(dir, name, text); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// holds wants files of a folder to hold that.
func holds(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	for name, text := range want {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if text == "" && errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil || string(got) != text {
			t.Errorf("%s holds %q, want %q, %v", name, got, text, err)
		}
	}
}

func TestCgroupsAreDivided(t *testing.T) {
	base := tree(t, "cpuset cpu io memory pids", false)
	stale := filepath.Join(base, "island-k-cache-7")
	other := filepath.Join(base, "island-other-cache-7")
	for _, dir := range []string{stale, other} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// Two that still have processes.
	occupied, others := filepath.Join(base, "island-k-store-8"), filepath.Join(base, "island-other-store-8")
	for _, dir := range []string{occupied, others} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := write(dir, "cgroup.procs", "4242"); err != nil {
			t.Fatal(err)
		}
	}
	c := prepareCgroups(base, "k")
	if c.why != "" {
		t.Fatal(c.why)
	}
	holds(t, occupied, map[string]string{"cgroup.kill": "1"})
	holds(t, others, map[string]string{"cgroup.kill": ""})
	holds(t, base, map[string]string{"cgroup.subtree_control": "+cpu +memory +pids", "host-k/cgroup.procs": strconv.Itoa(os.Getpid())})
	if _, err := os.Stat(stale); !os.IsNotExist(err) {
		t.Errorf("the stale group: %v", err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("another host's group: %v", err)
	}

	g, err := c.group("cache", Limits{Memory: 256 << 20, Processors: 2, Files: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer g.placed()
	if want := filepath.Join(base, "island-k-cache-1"); g.String() != want {
		t.Errorf("the group is %s, want %s", g, want)
	}
	holds(t, g.path, map[string]string{
		"memory.max": "268435456", "memory.oom.group": "1", "memory.swap.max": "0", "cpu.max": "200000 100000", "pids.max": "4096",
	})
	free, err := c.group("cache", Limits{})
	if err != nil || free.path == g.path {
		t.Fatalf("%v, %v", free, err)
	}
	defer free.placed()
	holds(t, free.path, map[string]string{"memory.max": "", "cpu.max": "", "pids.max": "4096"})

	for text, want := range map[string]bool{
		"": false, "low 0\nhigh 0\nmax 12\noom 1\noom_kill 0\n": false, "oom 1\noom_kill 2\noom_group_kill 1\n": true, "oom_kill": false,
	} {
		if err := write(g.path, "memory.events", text); err != nil {
			t.Fatal(err)
		}
		if got := g.starved(); got != want {
			t.Errorf("%q: starved %t", text, got)
		}
	}
	g.kill()
	holds(t, g.path, map[string]string{"cgroup.kill": "1"})
}

func TestCgroupsThatCannotBeHad(t *testing.T) {
	for name, tc := range map[string]struct{ base, why string }{
		"no memory": {tree(t, "cpu pids", false), "no controller of memory"},
		"nothing":   {filepath.Join(t.TempDir(), "none"), "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			c := prepareCgroups(tc.base, "k")
			if !strings.Contains(c.why, tc.why) {
				t.Errorf("why: %q", c.why)
			}
			if g, err := c.group("x", Limits{}); err == nil || err.Error() != c.why {
				t.Errorf("%v, %v", g, err)
			}
		})
	}
	t.Run("only some controllers", func(t *testing.T) { // As in a session of systemd's.
		base := tree(t, "memory pids", true)
		c := prepareCgroups(base, "k")
		g, err := c.group("x", Limits{Memory: 1, Processors: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer g.placed()
		holds(t, g.path, map[string]string{"memory.max": "1", "cpu.max": ""})
		if _, err := os.Stat(filepath.Join(base, "host-k")); !os.IsNotExist(err) {
			t.Errorf("the host moved out of the root: %v", err)
		}
	})
	t.Run("not delegated", func(t *testing.T) {
		if err := delegated(tree(t, "memory", false), false); os.Geteuid() == 0 && (err == nil || !strings.Contains(err.Error(), "Delegate=yes")) {
			t.Errorf("%v", err)
		}
		if err := delegated(tree(t, "memory", true), true); err != nil {
			t.Errorf("the root: %v", err)
		}
		if err := delegated(t.TempDir(), true); err == nil {
			t.Error("no group at all")
		}
	})
	var none *cgroup // As where there are no groups.
	none.kill()
	none.remove()
	none.placed()
	if none.starved() {
		t.Error("nobody starved")
	}
}

// A program that cannot be placed in its group, which is none, runs in that of the host.
func TestAStartWithoutItsGroup(t *testing.T) {
	c := prepareCgroups(tree(t, "memory", true), "k")
	g, err := c.group("x", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer g.placed()
	over := make(chan struct{})
	defer close(over)
	cmd := exec.Command("/bin/true")
	ownGroup(cmd)
	apart, err := start(cmd, nil, g, Limits{}, over)
	if err != nil || apart.groupless == "" {
		t.Fatalf("%+v, %v", apart, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// Where the kernel's own tree can be written to, a group holds whatever an island starts, and ends with it.
func TestAGroupOfTheKernels(t *testing.T) {
	groups, _ := os.ReadFile("/proc/self/cgroup")
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	base, top, err := ownCgroup(groups, mounts)
	if err != nil || delegated(base, top) != nil {
		return // The rest of this file is all there is to test.
	}
	c := &Cgroups{base: base, prefix: fmt.Sprintf("island-test%d-", os.Getpid())}
	cmd := exec.Command("/bin/sh", "-c", "setsid sleep 60 & sleep 60")
	r := &islandRunner{
		cmd: cmd, name: "x", groups: c, image: &Image{path: "/bin/sh"}, flood: newFlood(hclog.NewNullLogger()), ended: make(chan struct{}),
	}
	ownGroup(cmd)
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.stdout.Close() }()
	if r.applied.Cgroup == "" {
		t.Fatalf("in the host's group: %s", r.applied.NoCgroup)
	}
	var members []string
	for deadline := time.Now().Add(10 * time.Second); len(members) < 3 && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		text, _ := os.ReadFile(filepath.Join(r.applied.Cgroup, "cgroup.procs"))
		members = strings.Fields(string(text))
	}
	if len(members) != 3 { // The shell, and both that sleep.
		t.Errorf("the group holds %v", members)
	}
	r.kill()
	<-r.ended
	if _, err := os.Stat(r.applied.Cgroup); !os.IsNotExist(err) {
		t.Errorf("the group is left: %v", err)
	}
	for _, member := range members {
		pid, _ := strconv.Atoi(member)
		stat, err := os.ReadFile("/proc/" + member + "/stat")
		if syscall.Kill(pid, 0) == nil && err == nil && !strings.Contains(string(stat), ") Z ") {
			t.Errorf("process %d goes on", pid)
		}
	}
}
