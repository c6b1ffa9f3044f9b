package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestChanges plays saves and builds, and counts the builds that a save leads to.
func TestChanges(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		build func(p play, n int) // What changes during the nth build.
		// The builds that the first save and another lead to, and the files that are said to be written without end.
		first, next int
		endless     []string
	}{
		"a build that writes nothing": {func(play, int) {}, 1, 1, nil},
		"the same again": {func(p play, _ int) {
			p.change("generated", "same", true)
		}, 2, 1, nil},
		"another date each time": {func(p play, n int) {
			p.change("generated", fmt.Sprint("date ", n), true)
		}, 3, 1, []string{"generated"}},
		"a file that goes again": {func(p play, n int) {
			p.change(fmt.Sprint("scratch", n), "", true)
			p.remove(fmt.Sprint("scratch", n), true)
		}, 1, 1, nil},
		"the author saves during the first": {func(p play, n int) {
			if n == 1 {
				p.change("source", "during", true)
			}
		}, 2, 1, nil},
		"the author saves beside a generator": {func(p play, n int) {
			p.change("generated", fmt.Sprint("date ", n), true)
			if n == 3 || n == 5 {
				p.change("source", fmt.Sprint("during ", n), true)
			}
		}, 4, 2, []string{"generated"}},
		"another name each time": {func(p play, n int) {
			p.change(fmt.Sprint("out", n), "", true)
		}, 6, 6, []string{"out6", "out12"}},
		"events are lost each time": {func(p play, _ int) {
			p.c.missed(errors.New("overflow"))
		}, 6, 6, []string{"something (overflow)", "something (overflow)"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newChanges()
			p := play{t, c, t.TempDir()}
			put(t, filepath.Join(p.folder, "source"), "before")
			c.found(filepath.Join(p.folder, "source"))
			var said []string
			n := 0
			builds := func() int {
				began := n
				for {
					due, endless := c.settle()
					for _, path := range endless {
						said = append(said, filepath.Base(path))
					}
					if len(due) == 0 {
						return n - began
					}
					if n++; n > 50 {
						t.Fatal("it builds without end")
					}
					tc.build(p, n)
				}
			}
			p.change("source", "first", false)
			if got := builds(); got != tc.first {
				t.Errorf("the first save led to %d builds, want %d", got, tc.first)
			}
			p.change("source", "next", false)
			if got := builds(); got != tc.next {
				t.Errorf("the next save led to %d builds, want %d", got, tc.next)
			}
			if !slices.Equal(said, tc.endless) {
				t.Errorf("written without end: %q, want %q", said, tc.endless)
			}
		})
	}
}

// TestChangesOfOwnFiles saves a file of the build by hand, and one that stays as it is.
func TestChangesOfOwnFiles(t *testing.T) {
	t.Parallel()
	c := newChanges()
	p := play{t, c, t.TempDir()}
	calls := func(want bool) {
		t.Helper()
		if due, _ := c.settle(); len(due) > 0 != want {
			t.Errorf("it calls for a build: %q, want that: %t", due, want)
		}
	}
	for n := range maxRewrites + 1 {
		p.change("generated", fmt.Sprint(n), true)
		calls(n < maxRewrites)
	}
	p.change("generated", "by hand", false)
	calls(true)
	p.change("generated", "by hand", false)
	calls(false)
	c.retry = true
	p.change("generated", "by hand", true)
	calls(false)
	p.change("generated", "by hand", false)
	calls(true)
	c.retry = false
	p.remove("generated", false)
	calls(true)
}

// play is a folder in which files change.
type play struct {
	t      *testing.T
	c      *changes
	folder string
}

// change writes a file and notes it.
func (p play) change(name, text string, building bool) {
	p.t.Helper()
	put(p.t, filepath.Join(p.folder, name), text)
	p.c.note(filepath.Join(p.folder, name), building)
}

// remove removes a file and notes it.
func (p play) remove(name string, building bool) {
	p.t.Helper()
	if err := os.Remove(filepath.Join(p.folder, name)); err != nil {
		p.t.Fatal(err)
	}
	p.c.note(filepath.Join(p.folder, name), building)
}

// put writes a file.
func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
