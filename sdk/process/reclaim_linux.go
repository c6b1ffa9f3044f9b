package process

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// Reclaim gives User what is in the folders of Writes, belongs to the host's user and has changed since: the host's user has run the
// island for a while, and what that wrote would be closed to the island as it was before. It does nothing where the island cannot be of
// another user. Files that have other names too are left out, because those may be anybody's.
func (c *Confine) Reclaim(since time.Time) error {
	if c == nil || c.User == 0 {
		return nil
	}
	if why := mayBecome(); why != nil {
		return nil //nolint:nilerr // Then the host's user runs every island.
	}
	var errs []error
	for _, path := range absolutes(c.Writes) {
		if err := reclaim(resolved(path), int(c.User), since); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// reclaim is Reclaim for one folder. What is no folder is not made by an island, and is left.
func reclaim(path string, user int, since time.Time) error {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return err
	}
	root, err := os.OpenRoot(path) // Nothing leads out of it.
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return fs.WalkDir(root.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil {
			info, err = root.Lstat(name)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok || int(stat.Uid) != os.Geteuid() || stat.Nlink > 1 && !info.IsDir() || time.Unix(stat.Ctim.Unix()).Before(since) {
			return nil
		}
		return root.Lchown(name, user, user)
	})
}
