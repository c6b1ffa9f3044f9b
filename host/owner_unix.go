//go:build unix

package main

import (
	"os"
	"syscall"
)

// ownAs gives a file the owner that another one has.
func ownAs(file *os.File, like os.FileInfo) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	is, ok := info.Sys().(*syscall.Stat_t)
	want, alsoOK := like.Sys().(*syscall.Stat_t)
	if !ok || !alsoOK || is.Uid == want.Uid && is.Gid == want.Gid {
		return nil
	}
	return file.Chown(int(want.Uid), int(want.Gid))
}
