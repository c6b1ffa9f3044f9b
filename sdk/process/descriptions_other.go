//go:build !unix

package process

import "os"

// private reports whether there is such a folder: whose it is, is left to the system, which keeps the folders of users apart.
func private(dir string) bool {
	info, err := os.Lstat(dir)
	return err == nil && info.IsDir()
}
