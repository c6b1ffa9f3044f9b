package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// credentials make the command run as another user, with no group but the one of that number.
func credentials(attr *syscall.SysProcAttr, user uint32) {
	attr.Credential = &syscall.Credential{Uid: user, Gid: user}
}

// nobody is the user that owns nothing by convention.
const nobody = 65534

// asNobody makes a command that executes an image run as nobody, where that is possible.
func (i *Image) asNobody(attr *syscall.SysProcAttr) {
	if mayBecome() == nil && (i.Unsealed() == "" || reachable(i.Path(), nobody, mayUse|mayEnter) == nil) {
		credentials(attr, nobody)
	}
}

// userless reports whether a start failed because this system lets nobody become that user, and takes the wish for it back.
func userless(attr *syscall.SysProcAttr, err error) bool {
	if attr.Credential == nil || !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EINVAL) {
		return false
	}
	attr.Credential = nil
	return true
}

// mayBecome says why a process cannot be run as another user and looked after still; nil when it can.
func mayBecome() error {
	if os.Geteuid() != 0 {
		return errors.New("the host does not run as root")
	}
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		return fmt.Errorf("a process is handed its folders through /proc: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("the host's capabilities are not known: %w", err)
	}
	needs := map[string]int{
		"CAP_SETUID": unix.CAP_SETUID, "CAP_SETGID": unix.CAP_SETGID, "CAP_CHOWN": unix.CAP_CHOWN, "CAP_KILL": unix.CAP_KILL,
		"CAP_DAC_OVERRIDE": unix.CAP_DAC_OVERRIDE,
	}
	var lacks []string
	for name, bit := range needs {
		if sets[bit/32].Effective&(1<<(bit%32)) == 0 {
			lacks = append(lacks, name)
		}
	}
	if len(lacks) > 0 {
		slices.Sort(lacks)
		return fmt.Errorf("the host lacks %s", strings.Join(lacks, ", "))
	}
	return nil
}

// settle gives a user the folders that an island is to write to, and says why the island cannot run as that user; nil when
// it can. The folders of the island alone are given, and those that were made for it just now.
func (f *files) settle(user uint32, image *Image, own ...string) error {
	if image.Unsealed() != "" {
		if err := reachable(image.Path(), user, mayUse|mayEnter); err != nil {
			return err
		}
	}
	for _, path := range f.wanted {
		if err := reachable(path, user, mayUse); err != nil {
			return err
		}
	}
	for _, path := range f.writes[:len(f.writes)-1] { // The last is that of the socket.
		if err := f.settled(path, user); err != nil {
			return err
		}
	}
	for _, path := range own {
		if err := os.Chown(path, int(user), int(user)); err != nil {
			return err
		}
	}
	return nil
}

// settled gives a user a folder that was made just now, and wants any other to be the user's with all that is in it.
func (f *files) settled(path string, user uint32) error {
	if err := reachable(filepath.Dir(path), user, mayEnter); err != nil {
		return err
	}
	if slices.Contains(f.made, path) {
		return os.Chown(path, int(user), int(user))
	}
	names := []string{path}
	if folder, err := os.Open(path); err == nil {
		const most = 1000 // What lies deeper, or beyond that, tells in the island's own errors.
		inside, _ := folder.Readdirnames(most)
		_ = folder.Close()
		for _, name := range inside {
			names = append(names, filepath.Join(path, name))
		}
	}
	for _, name := range names {
		info, err := os.Lstat(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != user {
			return fmt.Errorf("%s belongs to user %d: chown -R %d:%d %s", name, stat.Uid, user, user, path)
		}
	}
	return nil
}

// What somebody may do with a file or folder, in the lowest three bits of its mode.
const (
	mayEnter = 0o1
	mayUse   = 0o4
)

// reachable says why a user without privileges and other groups cannot get at a file or folder, as far as it exists.
func reachable(path string, user uint32, want fs.FileMode) error {
	path = resolved(path)
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		want |= mayEnter
	}
	for at := path; ; at, want = filepath.Dir(at), mayEnter {
		info, err := os.Stat(at)
		if err == nil && granted(info, user)&want != want {
			if want == mayEnter {
				return fmt.Errorf("%s is open to its owner alone: chmod o+x lets other users through", at)
			}
			return fmt.Errorf("%s is open to its owner alone", at)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

// granted is what a file's mode lets a user do, in the lowest three bits.
func granted(info os.FileInfo, user uint32) fs.FileMode {
	mode := info.Mode().Perm()
	switch stat, ok := info.Sys().(*syscall.Stat_t); {
	case ok && stat.Uid == user:
		return mode >> 6
	case ok && stat.Gid == user:
		return mode >> 3 & 0o7
	default:
		return mode & 0o7
	}
}

// handed is how a process names a folder that was opened for it under that number: it need not be able to get there.
func handed(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
