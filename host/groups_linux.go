package main

import (
	"bytes"
	"fmt"
	"iter"
	"os"
	"strconv"
	"syscall"
)

// group is the process group of an island. Numbers are used again, so it is known by more than its own.
type group struct {
	// pid is the number of the island and of the group that it leads.
	pid int
	// start is when the island was started, in ticks since the machine was.
	start uint64
	// session is the session that the group is of, and stays of.
	session int
}

// groupOf finds out about the group that a process leads, which has not been waited for.
func groupOf(pid int) (group, error) {
	s, err := statOf(pid)
	return group{pid, s.start, s.session}, err
}

// end kills what is left of a group, and reports whether there was something. Where the group leads its session, as a debugger's
// does, that goes with it: what a debugger starts has groups of its own.
func (g group) end() bool {
	ended := g.lives() && syscall.Kill(-g.pid, syscall.SIGKILL) == nil
	if leader, err := statOf(g.pid); g.session != g.pid || err == nil && leader.start != g.start {
		return ended
	}
	for pid, s := range processes() {
		if s.session == g.session && s.start >= g.start {
			ended = syscall.Kill(pid, syscall.SIGKILL) == nil || ended
		}
	}
	return ended
}

// lives reports whether there is something left of a group. As long as there is, its number is nobody else's; so with another
// process of that number, the group is gone. Without any, its members have it, and are to be found in its session.
func (g group) lives() bool {
	if leader, err := statOf(g.pid); err == nil {
		return leader.start == g.start && leader.group == g.pid
	}
	for _, s := range processes() {
		// Whoever was started before the island is not of it, whatever the numbers say.
		if s.group == g.pid && s.session == g.session && s.start >= g.start {
			return true
		}
	}
	return false
}

// processes yields all that run, by their numbers.
func processes() iter.Seq2[int, stat] {
	return func(yield func(int, stat) bool) {
		entries, _ := os.ReadDir("/proc")
		for _, entry := range entries {
			pid, err := strconv.Atoi(entry.Name())
			if err != nil {
				continue
			}
			if s, err := statOf(pid); err == nil && !yield(pid, s) {
				return
			}
		}
	}
}

// stat is what /proc tells of a process.
type stat struct {
	group, session int
	start          uint64
}

func statOf(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(text)
}

// parseStat reads a line of /proc/PID/stat. The second field is the name of the program in parentheses, which may hold blanks and
// parentheses too; the third comes after the last one.
func parseStat(text []byte) (s stat, err error) {
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("/proc tells of a process in %d fields", len(fields)+2)
	}
	if s.group, err = strconv.Atoi(string(fields[2])); err != nil {
		return stat{}, err
	}
	if s.session, err = strconv.Atoi(string(fields[3])); err != nil {
		return stat{}, err
	}
	s.start, err = strconv.ParseUint(string(fields[19]), 10, 64)
	return s, err
}
