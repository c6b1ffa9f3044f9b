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
		build func(t *testing.T, c *changes, folder string, n int) // What changes during the nth build.
		// The builds that the first save and another lead to, and the files that are said to be written without end.
		first, next int
		endless     []string
	}{
		"a build that writes nothing": {func(*testing.T, *changes, string, int) {}, 1, 1, nil},
		"the same again": {func(t *testing.T, c *changes, folder string, _ int) {
			changeFile(t, c, folder, "generated", "same", true)
		}, 2, 1, nil},
		"another date each time": {func(t *testing.T, c *changes, folder string, n int) {
			changeFile(t, c, folder, "generated", fmt.Sprint("date ", n), true)
		}, 3, 1, []string{"generated"}},
		"a file that goes again": {func(t *testing.T, c *changes, folder string, n int) {
			path := filepath.Join(folder, fmt.Sprint("scratch", n))
			put(t, path, "")
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			c.note(path, true)
		}, 1, 1, nil},
		"the author saves during the first": {func(t *testing.T, c *changes, folder string, n int) {
			if n == 1 {
				changeFile(t, c, folder, "source", "during", true)
			}
		}, 2, 1, nil},
		"the author saves beside a generator": {func(t *testing.T, c *changes, folder string, n int) {
			changeFile(t, c, folder, "generated", fmt.Sprint("date ", n), true)
			if n == 3 || n == 5 {
				changeFile(t, c, folder, "source", fmt.Sprint("during ", n), true)
			}
		}, 4, 2, []string{"generated"}},
		"another name each time": {func(t *testing.T, c *changes, folder string, n int) {
			changeFile(t, c, folder, fmt.Sprint("out", n), "", true)
		}, 6, 6, []string{"out6", "out12"}},
		"events are lost each time": {func(_ *testing.T, c *changes, _ string, _ int) {
			c.missed(errors.New("overflow"))
		}, 6, 6, []string{"something (overflow)", "something (overflow)"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder, c := t.TempDir(), newChanges()
			put(t, filepath.Join(folder, "source"), "before")
			c.found(filepath.Join(folder, "source"))
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
					tc.build(t, c, folder, n)
				}
			}
			changeFile(t, c, folder, "source", "first", false)
			if got := builds(); got != tc.first {
				t.Errorf("the first save led to %d builds, want %d", got, tc.first)
			}
			changeFile(t, c, folder, "source", "next", false)
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
	folder, c := t.TempDir(), newChanges()
	calls := func(want bool) {
		t.Helper()
		if due, _ := c.settle(); len(due) > 0 != want {
			t.Errorf("it calls for a build: %q, want that: %t", due, want)
		}
	}
	for n := range maxRewrites + 1 {
		changeFile(t, c, folder, "generated", fmt.Sprint(n), true)
		calls(n < maxRewrites)
	}
	changeFile(t, c, folder, "generated", "by hand", false)
	calls(true)
	changeFile(t, c, folder, "generated", "by hand", false)
	calls(false)
	c.retry = true
	changeFile(t, c, folder, "generated", "by hand", true)
	calls(false)
	changeFile(t, c, folder, "generated", "by hand", false)
	calls(true)
	c.retry = false
	if err := os.Remove(filepath.Join(folder, "generated")); err != nil {
		t.Fatal(err)
	}
	c.note(filepath.Join(folder, "generated"), false)
	calls(true)
}

// changeFile writes a file and notes it.
func changeFile(t *testing.T, c *changes, folder, name, text string, building bool) {
	t.Helper()
	put(t, filepath.Join(folder, name), text)
	c.note(filepath.Join(folder, name), building)
}

// put writes a file.
func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
