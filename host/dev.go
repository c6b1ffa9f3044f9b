package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/spf13/cobra"

	"github.com/service-islands/islands/config"
)

const (
	// devSettle is how long a folder has to be left alone before it is built, devPatience how long that may be put off.
	devSettle   = 200 * time.Millisecond
	devPatience = 5 * time.Second
	// maxWatched bounds the folders that are watched: a tree that is larger was hardly meant.
	maxWatched = 4096
	// buildGrace is how long a build that was interrupted may hold its output open.
	buildGrace = 2 * time.Second
)

func newDev() *cobra.Command {
	var path, folder, build string
	cmd := &cobra.Command{
		Use: "dev NAME --watch DIR", Short: "Build an island anew and swap it into the running host, whenever its source is saved",
		Long: `Dev watches a folder and all below it. When something in it is saved, it builds the island's binary and swaps it into the
running host, as "islands swap" does: no request fails, and when the build or the swap does, the island that runs goes on.

The command of --build is run in the folder, with the path to write in the environment as ISLAND_BINARY. That is a file beside
the island's binary, which takes its place when the build has succeeded. Files and folders that begin with a dot or end with a
tilde, __pycache__ and node_modules are not watched, and what a build writes into the folder leads to no build after build: what
counts is that a file differs. What is saved during a build leads to another. Ctrl-C ends it.`,
		Args: oneIsland,
	}
	cmd.Flags().StringVar(&path, "config", defaultConfig, "the configuration of the host")
	cmd.Flags().StringVar(&folder, "watch", "", "the folder with the island's source")
	cmd.Flags().StringVar(&build, "build", "", `what builds it (default "go build -o BINARY .")`)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if folder == "" {
			return mistake(cmd, errors.New(`"--watch DIR" is needed: the folder with the island's source`))
		}
		host, island, err := openForAuthor(path, args[0])
		if err != nil {
			return err
		}
		d := &dev{host: host, name: args[0], build: build, out: cmd.OutOrStdout()}
		if err := d.place(folder, island.Binary); err != nil {
			return err
		}
		return d.run(cmd.Context())
	}
	return cmd
}

// openForAuthor finds the admin socket of a host, and an island in its configuration that may run other bytes than it does.
func openForAuthor(path, name string) (*adminClient, *config.Island, error) {
	host, err := openAdmin(path, changeTimeout)
	if err != nil {
		return nil, nil, err
	}
	cfg, err := config.Load(path, config.Options{})
	if err != nil {
		return nil, nil, usageError{err}
	}
	for i := range cfg.Islands {
		island := &cfg.Islands[i]
		switch {
		case island.Name != name:
		case !island.Enabled:
			return nil, nil, fmt.Errorf("island %q is disabled in %s", name, path)
		case island.SHA256 != "":
			return nil, nil, fmt.Errorf("island %q is locked to one binary by its sha256 in %s: take that out to work on it", name, path)
		default:
			return host, island, nil
		}
	}
	return nil, nil, unknownIsland(name, host.islands)
}

// runningIsland asks the host how an island is.
func (a *adminClient) runningIsland(ctx context.Context, name string) (*islandStatus, error) {
	answer, err := a.ask(ctx, "/admin/status")
	if err != nil {
		return nil, err
	}
	raw, err := pickIsland(answer, name)
	if err != nil {
		return nil, err
	}
	var s islandStatus
	return &s, understand(raw, &s)
}

// dev builds an island whenever its source changes.
type dev struct {
	host *adminClient
	// The paths are absolute and without symbolic links: folder is watched, the host is configured with binary, and fresh is
	// beside it, where a build writes.
	name, folder, binary, fresh, build string
	out                                io.Writer
}

// place resolves the folder to watch and the binary, so that an event's path and theirs compare, however they were spelled.
func (d *dev) place(folder, binary string) error {
	absolute, err := filepath.Abs(folder)
	if err != nil {
		return fmt.Errorf("watch %s: %w", folder, err)
	}
	if d.folder, err = filepath.EvalSymlinks(absolute); err != nil {
		return fmt.Errorf("watch %s: %w", folder, err)
	}
	if binary, err = filepath.Abs(binary); err != nil {
		return err
	}
	// A binary that is a link is replaced where it lies. One that has never been built has a folder, or that is made.
	if resolved, err := filepath.EvalSymlinks(binary); err == nil {
		binary = resolved
	} else {
		if err := os.MkdirAll(filepath.Dir(binary), 0o755); err != nil { //nolint:gosec // It is no secret what is built.
			return fmt.Errorf("the folder of the binary of %s: %w", d.name, err)
		}
		in, err := filepath.EvalSymlinks(filepath.Dir(binary))
		if err != nil {
			return fmt.Errorf("the folder of the binary of %s: %w", d.name, err)
		}
		binary = filepath.Join(in, filepath.Base(binary))
	}
	extension := filepath.Ext(binary)
	if extension != ".exe" {
		extension = ""
	}
	d.binary, d.fresh = binary, strings.TrimSuffix(binary, extension)+"-new"+extension
	return nil
}

// say prints a line with the time of day.
func (d *dev) say(format string, args ...any) {
	_, _ = fmt.Fprintf(d.out, time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
}

// run watches, builds and swaps until the context ends.
func (d *dev) run(ctx context.Context) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", d.folder, err)
	}
	defer watcher.Close()
	c := newChanges()
	if err := d.watch(watcher, d.folder, c.found); err != nil {
		return err
	}
	s, err := d.host.runningIsland(ctx, d.name)
	if err != nil {
		return err
	}
	d.say("watching %s and what is below it, %d folders, for %s (generation %d, process %d); Ctrl-C ends it",
		d.folder, len(watcher.WatchList()), d.name, s.Generation, s.PID)
	return d.follow(ctx, watcher, c)
}

// follow builds when changes have settled. Events are taken during a build too, or they would be lost when there are many.
func (d *dev) follow(ctx context.Context, watcher *fsnotify.Watcher, c *changes) error {
	var (
		building bool
		built    time.Time
		done     = make(chan bool, 1)
		due      = time.NewTimer(time.Hour)
	)
	due.Stop()
	await := func() {
		if !building && time.Since(c.since) < devPatience {
			due.Reset(devSettle)
		}
	}
	for {
		// The last of what a build wrote is heard of a little after its end.
		note := func(path string) { c.note(path, building || time.Since(built) < devSettle) }
		select {
		case <-ctx.Done():
			if building {
				<-done
			}
			d.say("ended; %s goes on as it is", d.name)
			return nil
		case event := <-watcher.Events:
			if d.ignores(event) {
				continue
			}
			note(event.Name)
			if info, err := os.Stat(event.Name); err == nil && info.IsDir() && event.Has(fsnotify.Create) {
				if err := d.watch(watcher, event.Name, note); err != nil {
					d.say("%v", err)
				}
			}
			await()
		case err := <-watcher.Errors: // Events were lost: something has changed.
			c.missed(err)
			await()
		case ran := <-done:
			building, built, c.retry = false, time.Now(), !ran
			if !c.since.IsZero() {
				c.since = built
				await()
			}
		case <-due.C:
			changed, endless := c.settle()
			if len(endless) > 0 {
				d.say("NOT BUILT AGAIN for %s: every build changes it; save it while nothing is built, or have the build write it elsewhere", d.list(endless))
			}
			if len(changed) > 0 {
				building = true
				go func() { done <- d.renew(ctx, changed) }()
			}
		}
	}
}

// list shows paths as seen from the folder that is watched, the first few by name.
func (d *dev) list(paths []string) string {
	const most = 5
	var names []string
	for _, path := range paths[:min(len(paths), most)] {
		if relative, err := filepath.Rel(d.folder, path); err == nil {
			path = relative
		}
		names = append(names, path)
	}
	shown := strings.Join(names, ", ")
	if more := len(paths) - most; more > 0 {
		shown += fmt.Sprintf(" and %d more", more)
	}
	return shown
}

// hidden reports whether nobody writes source under a name.
func hidden(name string) bool {
	return strings.HasPrefix(name, ".") && name != "." && name != ".." || strings.HasSuffix(name, "~") || name == "__pycache__" || name == "node_modules"
}

// ignores reports whether an event says nothing about the source: editors write files beside, and the binary may be built in
// the folder that is watched.
func (d *dev) ignores(event fsnotify.Event) bool {
	if event.Op == fsnotify.Chmod || hidden(filepath.Base(event.Name)) {
		return true
	}
	// The Go tool and others write beside their output before they move it there.
	return event.Name == d.binary || strings.HasPrefix(event.Name, strings.TrimSuffix(d.fresh, ".exe"))
}

// watch watches a folder and those below it, and tells what it finds in them.
func (d *dev) watch(watcher *fsnotify.Watcher, root string, found func(path string)) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil && path == d.folder:
			return fmt.Errorf("watch %s: %w", path, err)
		case err != nil:
			return nil //nolint:nilerr // It has gone again.
		case !entry.IsDir():
			if path == d.folder {
				return fmt.Errorf("watch %s: it is not a folder", path)
			}
			if !d.ignores(fsnotify.Event{Name: path, Op: fsnotify.Create}) {
				found(path)
			}
			return nil
		case path != d.folder && hidden(entry.Name()):
			return filepath.SkipDir
		case len(watcher.WatchList()) >= maxWatched:
			return fmt.Errorf("watch %s: there are more than %d folders in it", d.folder, maxWatched)
		}
		if err := watcher.Add(path); err != nil && path == d.folder {
			return fmt.Errorf("watch %s: %w", path, err)
		}
		found(path)
		return nil
	})
}

// renew builds the island and swaps it, says what came of both, and reports whether it runs now.
func (d *dev) renew(ctx context.Context, changed []string) bool {
	d.say("changed: %s", d.list(changed))
	began := time.Now()
	if err := d.compile(ctx); err != nil {
		if ctx.Err() == nil {
			d.say("BUILD FAILED after %s: %v; %s goes on as it is", taken(began), err, d.name)
		}
		return false
	}
	d.say("built %s in %s", d.binary, taken(began))
	before, err := d.host.runningIsland(ctx, d.name)
	if err != nil {
		d.say("NOT SWAPPED: %v", err)
		return false
	}
	began = time.Now()
	if _, err := d.host.change(ctx, islandPath(d.name, "swap"), map[string]string{"to": d.binary}); err != nil {
		if ctx.Err() == nil {
			d.say("SWAP FAILED after %s: %v; generation %d goes on", taken(began), err, before.Generation)
		}
		return false
	}
	after, err := d.host.runningIsland(ctx, d.name)
	if err != nil {
		d.say("swapped in %s, but: %v", taken(began), err)
		return true
	}
	d.say("swapped %s in %s: generation %d -> %d, process %d -> %d, %s", d.name, taken(began), before.Generation, after.Generation,
		before.PID, after.PID, withReason(after.Health.Status, after.Health.Reason))
	return true
}

// taken is how long something took, as people read it.
func taken(began time.Time) time.Duration { return time.Since(began).Round(10 * time.Millisecond) }

// compile runs the build, whose output goes to the terminal. It writes beside the binary, which is replaced by a whole one or
// not at all: a host that starts, restarts or reloads meanwhile takes the former.
func (d *dev) compile(ctx context.Context) error {
	if err := os.Remove(d.fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	defer func() { _ = os.Remove(d.fresh) }()
	var cmd *exec.Cmd
	switch {
	case d.build == "":
		cmd = exec.CommandContext(ctx, "go", "build", "-o", d.fresh, ".")
	case runtime.GOOS == "windows":
		cmd = exec.CommandContext(ctx, "cmd", "/C", d.build)
	default:
		cmd = exec.CommandContext(ctx, "sh", "-c", d.build)
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = d.folder, d.out, d.out, buildGrace
	cmd.Env = append(os.Environ(), "ISLAND_BINARY="+d.fresh)
	if err := cmd.Run(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	built, err := os.Stat(d.fresh)
	if err != nil {
		return fmt.Errorf("it succeeded and wrote no %s: have --build write to $ISLAND_BINARY", d.fresh)
	}
	// What is written without a mode, as by a shell, may be run if the former might.
	if former, err := os.Stat(d.binary); err == nil {
		if err := os.Chmod(d.fresh, built.Mode().Perm()|former.Mode().Perm()&0o111); err != nil {
			return err
		}
	}
	return os.Rename(d.fresh, d.binary)
}
