//go:build unix

package process

import (
	"os"
	"syscall"
)

// private reports whether a folder belongs to the user of this process and nobody else may do anything with it.
func private(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}
