package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
)

// maxRunDir is the longest a run directory may be, so that the path of a socket below it fits into the 108 bytes that the
// kernel has for one.
const maxRunDir = 50

// Names in the run directory.
const (
	adminSocketName = "admin.sock"
	lockName        = "lock"
)

// locateRunDir returns where a host with this data directory keeps its sockets: <data dir>/run, or, where that is too
// long for a socket's path, a folder named after it under the user's runtime directory. The CLI finds it the same way.
func locateRunDir(dataDir string) (string, error) {
	abs, err := filepath.Abs(dataDir)
	if err != nil {
		return "", fmt.Errorf("data directory %s: %w", dataDir, err)
	}
	// Two names of one folder must lead to one run directory.
	if target, err := filepath.EvalSymlinks(abs); err == nil {
		abs = target
	}
	if dir := filepath.Join(abs, "run"); len(dir) <= maxRunDir {
		return dir, nil
	}
	sum := sha256.Sum256([]byte(abs))
	name := "islands-" + hex.EncodeToString(sum[:6])
	for _, parent := range runtimeDirs() {
		if dir := filepath.Join(parent, name); len(dir) <= maxRunDir {
			if info, err := os.Stat(parent); err == nil && info.IsDir() {
				return dir, nil
			}
		}
	}
	return "", fmt.Errorf("data directory %s is too long for the sockets in it: choose one of at most %d bytes, or set XDG_RUNTIME_DIR",
		abs, maxRunDir-len("/run"))
}

// runtimeDirs lists the folders that are private to the user and last as long as the machine runs, the best first.
func runtimeDirs() []string {
	var dirs []string
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		dirs = append(dirs, dir)
	}
	dirs = append(dirs, "/run/user/"+strconv.Itoa(os.Getuid()))
	if os.Getuid() == 0 {
		dirs = append(dirs, "/run")
	}
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append(dirs, home)
	}
	return dirs
}

// runDir is the folder of a host's sockets, held by a lock for as long as the host lives.
type runDir struct {
	path string
	lock *flock.Flock
}

// openRunDir creates the data and run directories, takes the lock that keeps a second host away, and sweeps what a host
// that was killed left behind.
func openRunDir(dataDir string) (*runDir, error) {
	if err := os.MkdirAll(dataDir, dataMode()); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	path, err := locateRunDir(dataDir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
		return nil, errors.Join(fmt.Errorf("run directory %s must be open to its owner alone: chmod 700 it", path), err)
	}
	lock := flock.New(filepath.Join(path, lockName))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", lock.Path(), err)
	}
	if !locked {
		return nil, fmt.Errorf("another host runs on the data directory %s: stop it, or give this one a folder of its own with ISLANDS_DATA_DIR", dataDir)
	}
	d := &runDir{path: path, lock: lock}
	if err := d.sweep(); err != nil {
		_ = lock.Unlock()
		return nil, err
	}
	return d, nil
}

// key is a short name of this run directory among those of other hosts.
func (d *runDir) key() string {
	sum := sha256.Sum256([]byte(d.path))
	return hex.EncodeToString(sum[:4])
}

// dataMode is the mode of a data directory that is made. Islands that are users of their own pass through the one of root's
// on the way to their files; what is in it they cannot see, and nothing of the host's own is open to them.
func dataMode() os.FileMode {
	if os.Geteuid() == 0 {
		return 0o711
	}
	return 0o700
}

// sweep removes the sockets of a host that was killed and the folders of its islands' sockets. The lock is held, so nobody
// uses them.
func (d *runDir) sweep() error {
	left, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	for _, e := range left {
		if e.Name() == adminSocketName || (e.IsDir() && strings.HasPrefix(e.Name(), "i")) {
			if err := os.RemoveAll(filepath.Join(d.path, e.Name())); err != nil {
				return fmt.Errorf("run directory: %w", err)
			}
		}
	}
	return nil
}

// close gives the lock back. The lock file stays: removing it would let two hosts hold two locks of one name.
func (d *runDir) close() error { return d.lock.Unlock() }

// adminSocket is the path of the admin socket of a host with this data directory.
func adminSocket(dataDir string) (string, error) {
	dir, err := locateRunDir(dataDir)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, adminSocketName), nil
}
