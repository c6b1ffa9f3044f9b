package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/service-islands/islands/config"
)

// procPeers judges processes by what /proc tells of them.
type procPeers struct {
	root string // of procfs
	host int    // the process id of this host
	uid  int    // its user
	// binaries returns the programs of the islands, as /proc would name them.
	binaries func() []string
	// groups returns the process groups of the islands that run. Each leads one of its own.
	groups func() []int
}

// peerRefusal returns what says why a process is no operator.
//
// An operator's shell is no descendant of the host, while every island is, and so is whatever an island starts. A process
// that cut itself off from its parents is told by the process group or session it may still be in, by the environment
// that islands are started with, by being the program of an island, and, on Linux, by having given up for good to gain
// privileges. One that has left all of that behind looks like
// any other process of this user, and may do what any process of this user may: islands that are not trusted so far have
// to be of a user of their own.
func (h *host) peerRefusal() func(pid, uid int) string {
	p := &procPeers{root: "/proc", host: os.Getpid(), uid: os.Geteuid(), groups: h.islandGroups}
	p.binaries = func() []string { return binariesOf(h.config()) } // A reload brings others.
	return p.refuse
}

// islandGroups are the process groups of the islands that run.
func (h *host) islandGroups() (groups []int) {
	for _, s := range h.supervisor.Status() {
		if s.PID != 0 {
			groups = append(groups, s.PID)
		}
	}
	return groups
}

// binariesOf lists the programs of the islands, as /proc would name them.
func binariesOf(cfg *config.Config) (binaries []string) {
	for _, island := range cfg.Islands {
		path := island.Binary
		if resolved, err := filepath.EvalSymlinks(path); err == nil {
			path = resolved
		}
		if abs, err := filepath.Abs(path); err == nil {
			binaries = append(binaries, abs)
		}
	}
	return binaries
}

// maxAncestors bounds how far a process is traced back. Deeper trees are not an operator's.
const maxAncestors = 256

// refuse says why a process is no operator, empty when it may be one.
func (p *procPeers) refuse(pid, uid int) string {
	switch {
	case pid == 0:
		// Of a PID namespace beside or above this one, such as the machine's own beside a container's. Islands are
		// below the host, and so are all namespaces they could make.
		return ""
	case pid == p.host:
		return ""
	case uid == 0 && p.uid != 0:
		return "" // Root needs no socket to do what it likes with another user's process.
	}
	stat, err := p.stat(pid)
	if err != nil {
		return fmt.Sprintf("what it is cannot be found out: %v", err)
	}
	if groups := p.groups(); slices.Contains(groups, stat.group) || slices.Contains(groups, stat.session) {
		return "it is in the process group of an island"
	}
	for at, n := stat, 0; at.parent > 0; n++ {
		if at.parent == p.host {
			return "the host started it, or an island did"
		}
		if n == maxAncestors {
			return "it has too many ancestors to look at"
		}
		if at, err = p.stat(at.parent); errors.Is(err, os.ErrNotExist) {
			break // It has ended meanwhile.
		} else if err != nil {
			return fmt.Sprintf("whose child it is cannot be found out: %v", err)
		}
	}
	if p.renounced(pid) && !p.renounced(p.host) {
		return "it can gain no privileges, which is how islands and all that they start are"
	}
	return p.looksLikeAnIsland(pid)
}

// renounced reports whether a process has given up for good, for itself and whatever it starts, to gain privileges by a
// program. Every island has; nothing that it does takes that back.
func (p *procPeers) renounced(pid int) bool {
	text, _ := os.ReadFile(p.path(pid, "status")) // What cannot be read says nothing.
	for line := range bytes.Lines(text) {
		if value, found := bytes.CutPrefix(line, []byte("NoNewPrivs:")); found {
			return bytes.Equal(bytes.TrimSpace(value), []byte("1"))
		}
	}
	return false
}

// looksLikeAnIsland says of a process without relatives what gives it away.
func (p *procPeers) looksLikeAnIsland(pid int) string {
	program, err := os.Readlink(p.path(pid, "exe"))
	if err != nil {
		return fmt.Sprintf("which program it runs cannot be found out: %v", err)
	}
	program = strings.TrimSuffix(program, " (deleted)")
	if slices.Contains(p.binaries(), program) || strings.HasPrefix(program, "/memfd:") {
		return "it runs the program of an island"
	}
	environment, err := os.ReadFile(p.path(pid, "environ"))
	if err != nil {
		return fmt.Sprintf("where it comes from cannot be found out: %v", err)
	}
	for variable := range bytes.SplitSeq(environment, []byte{0}) {
		if bytes.HasPrefix(variable, []byte(islandVariable+"=")) {
			return "it has the environment of an island"
		}
	}
	return ""
}

// islandVariable is in the environment of every island.
const islandVariable = "SERVICE_ISLANDS_ISLAND"

// procStat is where a process belongs.
type procStat struct{ parent, group, session int }

// stat reads where a process belongs. Its second field is a name of the process's own choosing, in parentheses, which may
// hold anything; so what counts begins behind the last one.
func (p *procPeers) stat(pid int) (procStat, error) {
	text, err := os.ReadFile(p.path(pid, "stat"))
	if err != nil {
		return procStat{}, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var s procStat
	if len(fields) < 4 {
		return s, fmt.Errorf("%s says too little", p.path(pid, "stat"))
	}
	for i, into := range []*int{&s.parent, &s.group, &s.session} {
		if *into, err = strconv.Atoi(fields[i+1]); err != nil {
			return s, fmt.Errorf("%s: %w", p.path(pid, "stat"), err)
		}
	}
	return s, nil
}

func (p *procPeers) path(pid int, name string) string {
	return filepath.Join(p.root, strconv.Itoa(pid), name)
}
