package process

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Cgroups is where islands have control groups (version 2) of their own: below the host's, which somebody has to have given
// to it, as systemd does with Delegate=yes.
type Cgroups struct {
	why    string // they cannot be had; empty when they can
	base   string // the folder they are made in
	prefix string // of their names
	next   atomic.Uint64
	// controllers are those of wanted that are there.
	controllers []string
}

// maxProcesses bounds the processes and threads of an island, so that it cannot take all there are.
const maxProcesses = 4096

// wanted are the controllers that an island's limits use. Without the one of memory there is little use in groups.
var wanted = []string{"cpu", "memory", "pids"}

// OpenCgroups finds where islands can have control groups, and makes room there: groups that have some below them hold no
// processes, so the host moves into one of its own. The key tells the groups of this host from those of others; what a
// former host with it has left is killed and removed. It is to be called before the host starts any process, and at most once.
func OpenCgroups(key string) *Cgroups {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return &Cgroups{why: err.Error()}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return &Cgroups{why: err.Error()}
	}
	base, top, err := ownCgroup(groups, mounts)
	if err == nil {
		err = delegated(base, top)
	}
	if err != nil {
		return &Cgroups{why: err.Error()}
	}
	return prepareCgroups(base, key)
}

// ownCgroup is the folder of this process' control group, from what /proc tells of groups and mounts, and whether that is the
// topmost of all that it sees, as in a container.
func ownCgroup(groups, mounts []byte) (base string, top bool, err error) {
	path := ""
	for line := range bytes.Lines(groups) {
		if p, found := strings.CutPrefix(strings.TrimRight(string(line), "\n"), "0::"); found {
			path = p
		}
	}
	if path == "" {
		return "", false, errors.New("the host is in no control group of version 2")
	}
	scanner := bufio.NewScanner(bytes.NewReader(mounts))
	for scanner.Scan() {
		mount, kind, _ := strings.Cut(scanner.Text(), " - ")
		fields := strings.Fields(mount)
		if len(fields) < 5 || !strings.HasPrefix(kind, "cgroup2 ") {
			continue
		}
		if below, err := filepath.Rel(fields[3], path); err == nil && !strings.HasPrefix(below, "..") {
			return filepath.Join(fields[4], below), path == "/", nil
		}
	}
	return "", false, errors.New("control groups of version 2 are not mounted where the host sees its own")
}

// delegated reports why a control group is not the host's to divide. Root could divide any, but those of systemd are
// systemd's until it says otherwise.
func delegated(base string, top bool) error {
	if err := unix.Access(filepath.Join(base, "cgroup.procs"), unix.W_OK); err != nil {
		return fmt.Errorf("the host's control group %s cannot be written to: %w", base, err)
	}
	if top || os.Geteuid() != 0 {
		return nil // Nobody else divides it; or the host's user was given it.
	}
	for _, name := range []string{"user.delegate", "trusted.delegate"} {
		value := make([]byte, 8)
		if n, err := unix.Getxattr(base, name, value); err == nil && string(value[:n]) == "1" {
			return nil
		}
	}
	return fmt.Errorf("the host's control group %s is not delegated to it: Delegate=yes in a unit of systemd does that", base)
}

// prepareCgroups makes a control group one that others can be made in.
func prepareCgroups(base, key string) *Cgroups {
	c := &Cgroups{base: base, prefix: "island-" + key + "-"}
	available, err := os.ReadFile(filepath.Join(base, "cgroup.controllers"))
	if err != nil {
		return &Cgroups{why: err.Error()}
	}
	for _, name := range wanted {
		if slices.Contains(strings.Fields(string(available)), name) {
			c.controllers = append(c.controllers, name)
		}
	}
	if !slices.Contains(c.controllers, "memory") {
		return &Cgroups{why: fmt.Sprintf("the host's control group %s has no controller of memory", base)}
	}
	if left, err := filepath.Glob(filepath.Join(base, c.prefix+"*")); err == nil {
		left = slices.DeleteFunc(left, func(path string) bool { return unix.Rmdir(path) == nil })
		for _, path := range left { // Its host was killed, and it was not: whoever has the key has the lock of its run directory.
			(&cgroup{path: path}).kill()
		}
		for _, path := range left {
			(&cgroup{path: path}).remove()
		}
	}
	if _, err := os.Stat(filepath.Join(base, "cgroup.type")); err == nil { // The root alone may hold processes beside groups.
		own := filepath.Join(base, "host-"+key)
		if err := os.Mkdir(own, 0o750); err != nil && !errors.Is(err, os.ErrExist) {
			return &Cgroups{why: err.Error()}
		}
		if err := write(own, "cgroup.procs", strconv.Itoa(os.Getpid())); err != nil {
			return &Cgroups{why: fmt.Sprintf("the host cannot move into a control group of its own: %v", err)}
		}
	}
	if err := write(base, "cgroup.subtree_control", "+"+strings.Join(c.controllers, " +")); err != nil {
		return &Cgroups{why: fmt.Sprintf("the host's control group %s cannot be divided: %v", base, err)}
	}
	return c
}

// write sets a value of a control group.
func write(group, name, value string) error {
	return os.WriteFile(filepath.Join(group, name), []byte(value), 0o644) //nolint:gosec // The kernel has made it, with its own mode.
}

// cgroup is the control group of one process and of all that it starts.
type cgroup struct {
	path   string
	folder *os.File // for the start of the process; nil afterwards
}

// cpuPeriod is the time over which processors are counted, in microseconds: the kernel's own default.
const cpuPeriod = 100_000

// group makes a control group with limits for an island.
func (c *Cgroups) group(name string, l Limits) (_ *cgroup, err error) {
	if c == nil {
		return nil, errors.New("the host made no control groups for its islands")
	}
	if c.why != "" {
		return nil, errors.New(c.why)
	}
	g := &cgroup{path: filepath.Join(c.base, fmt.Sprintf("%s%s-%d", c.prefix, name, c.next.Add(1)))}
	if err := os.Mkdir(g.path, 0o750); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			g.remove()
		}
	}()
	for _, v := range []struct {
		controller, file, value string
		wanted, optional        bool
	}{
		{"pids", "pids.max", strconv.Itoa(maxProcesses), true, false},
		{"memory", "memory.max", strconv.FormatUint(l.Memory, 10), l.Memory > 0, false},
		{"memory", "memory.oom.group", "1", l.Memory > 0, false},
		{"memory", "memory.swap.max", "0", l.Memory > 0, true}, // Not every kernel counts swap.
		{"cpu", "cpu.max", fmt.Sprintf("%d %d", l.Processors*cpuPeriod, cpuPeriod), l.Processors > 0, false},
	} {
		if !v.wanted || !slices.Contains(c.controllers, v.controller) {
			continue
		}
		if err := write(g.path, v.file, v.value); err != nil && !v.optional {
			return nil, err
		}
	}
	g.folder, err = os.Open(g.path)
	return g, err
}

// String is the folder of the group.
func (g *cgroup) String() string { return g.path }

// place has a command start in the group.
func (g *cgroup) place(attr *syscall.SysProcAttr) {
	if g != nil {
		attr.UseCgroupFD, attr.CgroupFD = true, int(g.folder.Fd())
	}
}

// misplaced reports whether a start may have failed for the group, and takes the wish for it back.
func misplaced(attr *syscall.SysProcAttr, err error) bool {
	if !attr.UseCgroupFD || err == nil {
		return false
	}
	attr.UseCgroupFD, attr.CgroupFD = false, 0
	return true
}

// placed closes what only the start needs.
func (g *cgroup) placed() {
	if g != nil && g.folder != nil {
		_ = g.folder.Close()
		g.folder = nil
	}
}

// kill ends every process of the group, also those that have left the process group. It is safe on nil.
func (g *cgroup) kill() {
	if g != nil {
		_ = write(g.path, "cgroup.kill", "1") // A kernel before 5.14 has none.
	}
}

// starved reports whether the kernel has ended the group for want of memory.
func (g *cgroup) starved() bool {
	if g == nil {
		return false
	}
	events, _ := os.ReadFile(filepath.Join(g.path, "memory.events"))
	for line := range strings.Lines(string(events)) {
		if count, found := strings.CutPrefix(line, "oom_kill "); found {
			return strings.TrimSpace(count) != "0"
		}
	}
	return false
}

// How often and after how long a group is tried again to be removed that still has processes in it, which were killed.
const (
	removeTries = 40
	removePause = 5 * time.Millisecond
)

// remove removes the group once nothing is in it; who does not die in time is left to the next host. It is safe on nil.
func (g *cgroup) remove() {
	if g == nil {
		return
	}
	g.placed()
	for range removeTries {
		if err := unix.Rmdir(g.path); !errors.Is(err, unix.EBUSY) {
			return
		}
		time.Sleep(removePause)
	}
}
