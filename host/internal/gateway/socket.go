package gateway

import (
	"net"
	"syscall"
	"time"

	"github.com/service-islands/islands/host/internal/gateway/hub"
)

// socket is a client's connection as the hub writes to it: without waiting where the system allows it.
type socket struct {
	net.Conn
	raw syscall.RawConn // nil where only a write that waits is to be had

	// What try writes, and what came of it. The hub never writes twice at once.
	text []byte
	n    int
	err  error
	try  func(fd uintptr) bool
}

var _ hub.Conn = (*socket)(nil)

// sendBuffer is what the kernel keeps for a client that does not read, in bytes; it takes twice as much for its own use.
// Beyond it the client lags, and gets what is current instead of what is old.
const sendBuffer = 64 << 10

// vanishedAfter is how long what was sent may go without a sign of its arrival before the connection is given up: an event
// stream answers no ping, and a peer that was cut off the network says nothing at all.
const vanishedAfter = time.Minute

// newSocket takes a connection over from the HTTP server.
func newSocket(conn net.Conn) *socket {
	s := &socket{Conn: conn}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(sendBuffer) // The system's own choice works too, and costs memory.
		if raw, err := tcp.SyscallConn(); err == nil {
			s.raw = raw
			_ = raw.Control(dropVanished) // Without it the system gives up as well, a quarter of an hour later.
		}
	}
	s.try = s.writeOnce
	return s
}

// TryWrite implements hub.Conn. What cannot be written without waiting is left.
func (s *socket) TryWrite(b []byte) (int, error) {
	if s.raw == nil {
		return 0, nil
	}
	s.text, s.n, s.err = b, 0, nil
	err := s.raw.Write(s.try)
	s.text = nil
	if s.err != nil {
		err = s.err
	}
	return s.n, err
}

// CloseWrite implements hub.Conn.
func (s *socket) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return s.Close()
}
