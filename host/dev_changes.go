package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"
)

const (
	// unread is the content of a file that was there when the watch began, and differs from whatever is read of it later.
	unread = "unread"
	// maxRewrites is in how many builds in a row a file may change before it is taken for one that builds write.
	maxRewrites = 2
	// maxOwnBuilds bounds the builds in a row that nothing but the build before has called for, whatever the files are.
	maxOwnBuilds = 5
)

// changes tells what the author saved from what builds wrote. Events only say where to look: a build is due when the content of
// a file differs from what was last seen there. So a generator that writes the same again comes to rest after one more build,
// and what the author saves during a build leads to another. A file that differs after every build, as one with a date in it,
// is the build's own after maxRewrites, until it is saved while nothing is built.
type changes struct {
	seen     map[string]string // The content by path; a path that is not in it does not exist.
	pending  map[string]bool   // The paths to look at, and whether all their events came during a build.
	rewrites map[string]int    // In how many builds in a row a path has changed.
	own      map[string]bool   // The paths that builds write.
	builds   int               // The builds in a row that a build called for.
	lost     string            // Why events did not arrive, when they did not.
	retry    bool              // What was built last does not run: a save calls for a build even when it changes nothing.
	since    time.Time         // The first event that has not been looked at.
}

func newChanges() *changes {
	return &changes{seen: map[string]string{}, pending: map[string]bool{}, rewrites: map[string]int{}, own: map[string]bool{}}
}

// found is a file or folder that is there when the watch begins.
func (c *changes) found(path string) { c.seen[path] = unread }

// note takes an event of a path, which came during a build or not.
func (c *changes) note(path string, building bool) {
	if during, there := c.pending[path]; there {
		building = building && during
	}
	c.pending[path] = building
	c.begin()
}

// missed notes that events were lost: anything may have changed.
func (c *changes) missed(err error) {
	c.lost = fmt.Sprintf("something (%v)", err)
	c.begin()
}

func (c *changes) begin() {
	if c.since.IsZero() {
		c.since = time.Now()
	}
}

// settle looks at what has been noted, and returns the paths that call for a build, and those that do not although they have
// changed, because builds write them without end.
func (c *changes) settle() (due, endless []string) {
	rewrites, authored := map[string]int{}, false
	for path, during := range c.pending {
		if during && c.own[path] {
			continue
		}
		now := content(path)
		if now == c.seen[path] && (during || !c.retry) {
			continue
		}
		if now == "" {
			delete(c.seen, path)
		} else {
			c.seen[path] = now
		}
		switch {
		case !during:
			authored = true
			delete(c.own, path)
		case c.rewrites[path] >= maxRewrites:
			c.own[path] = true
			endless = append(endless, path)
			continue
		default:
			rewrites[path] = c.rewrites[path] + 1
		}
		due = append(due, path)
	}
	if c.lost != "" {
		due = append(due, c.lost)
	}
	clear(c.pending)
	c.rewrites, c.lost, c.since = rewrites, "", time.Time{}
	switch {
	case authored || len(due) == 0:
		c.builds = 0
	case c.builds >= maxOwnBuilds:
		due, endless, c.builds = nil, append(endless, due...), 0
	default:
		c.builds++
	}
	slices.Sort(due)
	slices.Sort(endless)
	return due, endless
}

// content stands for what is at a path, and is empty when nothing is.
func content(path string) string {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ""
	case err != nil:
		return "unreadable"
	case !info.Mode().IsRegular():
		return info.Mode().Type().String() // Reading a pipe could wait for ever.
	}
	file, err := os.Open(path)
	if err != nil {
		return "unreadable"
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "unreadable"
	}
	return string(sum.Sum(nil))
}
