//go:build unix

package gateway

import (
	"errors"
	"syscall"
)

// private opens a socket that is about to be bound to its owner alone.
func private(_, _ string, conn syscall.RawConn) error {
	var failed error
	err := conn.Control(func(fd uintptr) { failed = syscall.Fchmod(int(fd), 0o600) })
	return errors.Join(err, failed)
}
