package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// watched counts the changes of a file that is watched until the test ends.
func watched(t *testing.T, path string) (changes chan struct{}) {
	t.Helper()
	changes = make(chan struct{}, 100)
	file := &configFile{path: path}
	file.look()
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		if err := file.watch(ctx, func() { changes <- struct{}{} }); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		watching.Wait()
	})
	return changes
}

func overwrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWatchFile(t *testing.T) {
	t.Parallel()
	rename := func(t *testing.T, path, text string) {
		t.Helper()
		overwrite(t, path+".new", text)
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	for name, change := range map[string]func(t *testing.T, path, text string){
		"written in place":          overwrite,
		"another file in its place": rename,
		"removed and written again": func(t *testing.T, path, text string) {
			t.Helper()
			_ = os.Remove(path)
			overwrite(t, path, text)
		},
		"another link, as a ConfigMap": func(t *testing.T, path, text string) {
			t.Helper()
			folder := filepath.Join(filepath.Dir(path), text)
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			overwrite(t, filepath.Join(folder, "islands.hcl"), text)
			if err := os.Symlink(filepath.Join(folder, "islands.hcl"), path+".link"); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".link", path); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "islands.hcl")
			overwrite(t, path, "first")
			changes := watched(t, path)
			for i := range 3 {
				change(t, path, fmt.Sprint("text ", i))
				select {
				case <-changes:
				case <-time.After(30 * time.Second):
					t.Fatalf("change %d is not noticed", i)
				}
			}
		})
	}
}

func TestWatchFileIsNotDisturbed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "islands.hcl")
	overwrite(t, path, "first")
	changes := watched(t, path)
	overwrite(t, filepath.Join(filepath.Dir(path), "another"), "x")
	overwrite(t, path, "first")
	_ = os.Remove(path)
	time.Sleep(5 * settle)
	if len(changes) > 0 {
		t.Error("what is no change is told")
	}
	for i := range 20 { // As an editor that writes in steps.
		overwrite(t, path, fmt.Sprint("step ", i))
	}
	select {
	case <-changes:
	case <-time.After(30 * time.Second):
		t.Fatal("a change is not noticed")
	}
	time.Sleep(5 * settle)
	if more := len(changes); more > 2 {
		t.Errorf("twenty steps are %d changes", more+1)
	}
	if err := (&configFile{path: "/nonexistent/islands.hcl"}).watch(t.Context(), func() {}); err == nil {
		t.Error("a folder that there is not is watched")
	}
}
