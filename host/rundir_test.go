package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// openTestRunDir opens a run directory that is closed with the test.
func openTestRunDir(t *testing.T, dataDir string) *runDir {
	t.Helper()
	d, err := openRunDir(dataDir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestSecondHostIsRefused(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	first, err := openRunDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	inUse := filepath.Join(first.path, "i1")
	if err := os.Mkdir(inUse, 0o700); err != nil {
		t.Fatal(err)
	}
	alias := filepath.Join(shortDir(t), "alias")
	if err := os.Symlink(dir, alias); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, dir + "/.", alias} {
		second, err := openRunDir(name)
		if err == nil || !strings.Contains(err.Error(), "another host runs on the data directory "+name) {
			t.Fatalf("%s: got %+v, %v", name, second, err)
		}
	}
	if _, err := os.Stat(inUse); err != nil {
		t.Errorf("a host that was refused swept what the other one uses: %v", err)
	}
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	openTestRunDir(t, dir)
}

func TestRunDirIsSwept(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	run := filepath.Join(dir, "run")
	for _, folder := range []string{filepath.Join(run, "i1"), filepath.Join(run, "i2", "deeper"), filepath.Join(run, "other")} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	listener, err := net.Listen("unix", filepath.Join(run, "i1", "s"))
	if err != nil {
		t.Fatal(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(dir, "outside")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(run, "i2", "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(run, "island.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	openTestRunDir(t, dir)
	for name, stays := range map[string]bool{
		"run/i1": false, "run/i2": false, "run/other": true, "run/island.txt": true, "run/lock": true, "outside": true,
	} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != stays {
			t.Errorf("%s: got %v, is to stay: %v", name, err, stays)
		}
	}
}

func TestRunDirIsPrivate(t *testing.T) {
	t.Parallel()
	t.Run("what is created", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(shortDir(t), "d")
		run := openTestRunDir(t, dir)
		for folder, want := range map[string]fs.FileMode{dir: dataMode(), run.path: 0o700} {
			info, err := os.Stat(folder)
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode().Perm(); got != want || got&0o066 != 0 {
				t.Errorf("%s has mode %o", folder, got)
			}
		}
	})
	for name, mode := range map[string]fs.FileMode{"open to the group": 0o750, "open to others": 0o701, "open to all": 0o777} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := shortDir(t)
			run := filepath.Join(dir, "run")
			if err := os.Mkdir(run, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(run, mode); err != nil { // Mkdir obeys the umask.
				t.Fatal(err)
			}
			if d, err := openRunDir(dir); err == nil || !strings.Contains(err.Error(), "chmod 700") {
				t.Errorf("got %+v, %v", d, err)
			}
		})
	}
	t.Run("a file where the data directory should be", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(shortDir(t), "file")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if d, err := openRunDir(path); err == nil || !strings.Contains(err.Error(), "data directory") {
			t.Errorf("got %+v, %v", d, err)
		}
	})
}

func TestLongDataDirHasItsSocketsElsewhere(t *testing.T) {
	runtimeDir := shortDir(t)
	t.Setenv("XDG_RUNTIME_DIR", runtimeDir)
	long := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	d := openTestRunDir(t, long)
	if filepath.Dir(d.path) != runtimeDir {
		t.Errorf("the sockets are in %s, not below %s", d.path, runtimeDir)
	}
	socket, err := adminSocket(long)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(d.path, adminSocketName); socket != want || len(socket) >= 108 {
		t.Errorf("the command line looks for %s, the host has %s", socket, want)
	}

	other, err := adminSocket(long + "er")
	if err != nil {
		t.Fatal(err)
	}
	if other == socket {
		t.Errorf("two data directories share %s", socket)
	}

	alias := filepath.Join(shortDir(t), "alias")
	if err := os.Symlink(long, alias); err != nil {
		t.Fatal(err)
	}
	if got, err := adminSocket(alias); err != nil || got != socket {
		t.Errorf("by another name of the data directory: got %s, %v, want %s", got, err, socket)
	}
	if d, err := openRunDir(alias); err == nil {
		t.Errorf("a second host got %+v", d)
	}
}

func TestRelativeDataDir(t *testing.T) {
	dir := shortDir(t)
	t.Chdir(dir)
	d := openTestRunDir(t, "data")
	socket, err := adminSocket(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(d.path, adminSocketName); socket != want || !filepath.IsAbs(socket) {
		t.Errorf("got %s, want %s", socket, want)
	}
}

func TestRuntimeDirThatIsNoUse(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	tests := map[string]string{
		"does not exist": filepath.Join(shortDir(t), "none"),
		"is too long":    filepath.Join(shortDir(t), strings.Repeat("r", maxRunDir)),
	}
	if err := os.Mkdir(tests["is too long"], 0o700); err != nil {
		t.Fatal(err)
	}
	for name, dir := range tests {
		t.Run(name, func(t *testing.T) {
			home := shortDir(t)
			t.Setenv("XDG_RUNTIME_DIR", dir)
			t.Setenv("HOME", home)
			got, err := locateRunDir(long)
			if err != nil || strings.HasPrefix(got, dir) || len(got) > maxRunDir {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}

func TestRunDirIsShortEnoughForSockets(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"/d", "/" + strings.Repeat("d", maxRunDir-len("//run"))} {
		got, err := locateRunDir(dir)
		if err != nil || got != dir+"/run" {
			t.Errorf("%s: got %s, %v", dir, got, err)
		}
	}
}

func TestSweepAfterLeavesTheRunDirectoryOfAnotherHostAlone(t *testing.T) {
	for _, taken := range []bool{false, true} {
		t.Run(fmt.Sprintf("taken over %t", taken), func(t *testing.T) {
			dir := shortDir(t)
			run, err := openRunDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			left := filepath.Join(run.path, adminSocketName)
			if err := os.WriteFile(left, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if !taken {
				if err := run.close(); err != nil {
					t.Fatal(err)
				}
			}
			if err := sweepAfter(run.path); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(left); errors.Is(err, os.ErrNotExist) == taken {
				t.Errorf("%s: %v", left, err)
			}
			if taken {
				if err := run.close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
