//go:build !linux

package process

import (
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
)

// sealed has no memory to offer that can be executed.
func sealed(string, io.Reader) (*os.File, string, error) { return nil, errNotSealed, nil }

// run makes the command execute the file.
func (i *Image) run(cmd *exec.Cmd) { cmd.Path = i.path }

// Windows has no such bits, and Go makes some up.
func executable(mode fs.FileMode) bool { return runtime.GOOS == "windows" || mode.Perm()&0o111 != 0 }

func worldWritable(mode fs.FileMode) bool { return runtime.GOOS != "windows" && mode.Perm()&0o002 != 0 }
