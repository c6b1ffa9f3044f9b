//go:build unix

package gateway

import (
	"errors"

	"golang.org/x/sys/unix"
)

// canTry is whether there is a write that does not wait.
const canTry = true

// writeOnce writes as much as the socket takes now. It reports true, so that nobody waits for it to take more.
func (s *socket) writeOnce(fd uintptr) bool {
	s.n, s.err = writeNow(fd, s.text)
	return true
}

// writeNow writes as much as a socket takes now.
func writeNow(fd uintptr, b []byte) (int, error) {
	for len(b) > 0 {
		n, err := unix.Write(int(fd), b)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return 0, nil
		case err != nil:
			return 0, err
		default:
			// A short write has filled the socket: asking again would only cost a call to hear so.
			return n, nil
		}
	}
	return 0, nil
}
