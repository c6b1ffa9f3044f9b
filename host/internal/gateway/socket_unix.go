//go:build unix

package gateway

import (
	"errors"

	"golang.org/x/sys/unix"
)

// writeOnce writes as much as the socket takes now. It reports true, so that nobody waits for it to take more.
func (s *socket) writeOnce(fd uintptr) bool {
	for len(s.text) > 0 {
		n, err := unix.Write(int(fd), s.text)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return true
		case err != nil:
			s.err = err
			return true
		default:
			// A short write has filled the socket: asking again would only cost a call to hear so.
			s.n += n
			return true
		}
	}
	return true
}
