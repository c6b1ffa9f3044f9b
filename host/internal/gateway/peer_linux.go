package gateway

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// peerOf returns the process and the user at the other end of a unix socket, as they were when it connected. Pid is 0 for
// a process that this one cannot see, of a PID namespace beside or above.
func peerOf(conn *net.UnixConn) (pid, uid int, known bool, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, 0, true, err
	}
	var cred *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) { cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, failed); err != nil {
		return 0, 0, true, err
	}
	return int(cred.Pid), int(cred.Uid), true, nil
}
