//go:build unix

package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fsnotify/fsnotify"
)

// TestDevReplacesTheBinaryWhole builds over a binary that a host may read at any time.
func TestDevReplacesTheBinaryWhole(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		build, holds, says string
		interrupted        bool
	}{
		"built":          {build: `printf new > "$ISLAND_BINARY"`, holds: "new"},
		"failed half":    {build: `printf n > "$ISLAND_BINARY"; exit 2`, holds: "old", says: "exit status 2"},
		"interrupted":    {build: `printf n > "$ISLAND_BINARY"; : > begun; exec sleep 60`, holds: "old", says: "killed", interrupted: true},
		"wrote nothing":  {build: "true", holds: "old", says: "have --build write to $ISLAND_BINARY"},
		"wrote it later": {build: `[ "$(cat ../bin/demo)" = old ] && printf new > "$ISLAND_BINARY" && [ "$(cat ../bin/demo)" = old ]`, holds: "new"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			for _, folder := range []string{"source", "bin"} {
				if err := os.Mkdir(filepath.Join(root, folder), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			put(t, filepath.Join(root, "bin", "demo"), "old")
			if err := os.Chmod(filepath.Join(root, "bin", "demo"), 0o700); err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(root, "bin", "demo-new"), "left by a build that was killed")
			d := &dev{name: "demo", build: tc.build, out: io.Discard}
			if err := d.place(filepath.Join(root, "source"), filepath.Join(root, "bin", "demo")); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tc.interrupted {
				watcher, err := fsnotify.NewWatcher()
				if err != nil {
					t.Fatal(err)
				}
				defer watcher.Close()
				if err := watcher.Add(d.folder); err != nil {
					t.Fatal(err)
				}
				go func() {
					<-watcher.Events
					cancel()
				}()
			}
			err := d.compile(ctx)
			if tc.says == "" && err != nil || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("it says %v, want %q", err, tc.says)
			}
			if got, err := os.ReadFile(d.binary); err != nil || string(got) != tc.holds {
				t.Errorf("the binary holds %q, want %q (%v)", got, tc.holds, err)
			}
			if info, err := os.Stat(d.binary); err != nil || info.Mode()&0o100 == 0 {
				t.Errorf("the binary cannot be run: %v (%v)", info.Mode(), err)
			}
			if entries, err := os.ReadDir(filepath.Join(root, "bin")); err != nil || len(entries) != 1 {
				t.Errorf("beside the binary are %v (%v)", entries, err)
			}
		})
	}
}

// TestDevPlaces spells a folder and a binary below it in ways that name the same.
func TestDevPlaces(t *testing.T) {
	t.Parallel()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	source, link := filepath.Join(root, "source"), filepath.Join(root, "link")
	if err := os.MkdirAll(filepath.Join(source, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(source, link); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(source, "bin", "built"), "")
	if err := os.Symlink("built", filepath.Join(source, "bin", "alias")); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ folder, binary, want, fresh string }{
		"as it is":              {source, filepath.Join(source, "bin", "built"), "built", "built-new"},
		"folder by a link":      {link, filepath.Join(source, "bin", "built"), "built", "built-new"},
		"binary by a link":      {source, filepath.Join(link, "bin", "built"), "built", "built-new"},
		"a link as the binary":  {source, filepath.Join(link, "bin", "alias"), "built", "built-new"},
		"never built, linked":   {link, filepath.Join(link, "bin", "demo"), "demo", "demo-new"},
		"never built, Windows'": {link, filepath.Join(link, "bin", "demo.exe"), "demo.exe", "demo-new.exe"},
		"a name with a dot":     {source, filepath.Join(source, "bin", "demo.v2"), "demo.v2", "demo.v2-new"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &dev{name: "demo"}
			if err := d.place(tc.folder, tc.binary); err != nil {
				t.Fatal(err)
			}
			below := func(name string) string { return filepath.Join(source, "bin", name) }
			if d.folder != source || d.binary != below(tc.want) || d.fresh != below(tc.fresh) {
				t.Errorf("it watches %s, and builds %s by way of %s", d.folder, d.binary, d.fresh)
			}
			watcher, err := fsnotify.NewWatcher()
			if err != nil {
				t.Fatal(err)
			}
			defer watcher.Close()
			if err := d.watch(watcher, d.folder, func(string) {}); err != nil || len(watcher.WatchList()) != 2 {
				t.Errorf("it watches %v: %v", watcher.WatchList(), err)
			}
			for _, built := range []string{d.binary, d.fresh, d.fresh + "-go-tmp-umask"} {
				if !d.ignores(fsnotify.Event{Name: built, Op: fsnotify.Write}) {
					t.Errorf("%s is taken for source", built)
				}
			}
			if d.ignores(fsnotify.Event{Name: d.binary + "-helper.go", Op: fsnotify.Write}) {
				t.Error("source with the binary's name before it is not seen")
			}
		})
	}
}
