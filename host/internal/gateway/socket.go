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
	raw    syscall.RawConn // nil where only a write that waits is to be had
	sealed *ciphertext     // below a connection over TLS; nil for others, and where raw is
	// Until when a write over TLS may wait; the zero time for as long as it takes. The hub never writes twice at once.
	deadline time.Time

	// What try writes, and what came of it.
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
	var tcp *net.TCPConn
	switch c := conn.(type) {
	case *net.TCPConn:
		tcp = c
	case *accepted:
		tcp = c.TCPConn
	case *secured:
		tcp = c.below.TCPConn
		if c.below.letGo() {
			s.sealed = c.below
		}
	}
	if tcp != nil {
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
	if s.sealed != nil {
		return s.trySealed(b)
	}
	if _, over := s.Conn.(*secured); over || s.raw == nil {
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

// sealAtOnce is how much is sealed before it is looked whether the client takes it, in bytes: one record.
const sealAtOnce = 16 << 10

// trySealed writes over TLS, a record at a time and none while one of them waits. What is in a record has been taken, as
// if the system had more room: the rest of it goes out by itself.
func (s *socket) trySealed(b []byte) (n int, err error) {
	for n < len(b) {
		if waits, err := s.sealed.waits(); waits || err != nil {
			return n, err
		}
		part, err := s.Conn.Write(b[n:min(len(b), n+sealAtOnce)])
		if n += part; err != nil {
			return n, err
		}
	}
	return n, nil
}

// Write implements hub.Conn.
func (s *socket) Write(b []byte) (n int, err error) {
	if s.sealed == nil {
		return s.Conn.Write(b)
	}
	for n < len(b) {
		part, err := s.trySealed(b[n:])
		if n += part; err != nil || n == len(b) {
			return n, err
		}
		if err := s.sealed.wait(s.deadline); err != nil {
			return n, err
		}
	}
	return n, nil
}

// SetWriteDeadline implements hub.Conn. It is for the next Write, and not for one under way.
func (s *socket) SetWriteDeadline(t time.Time) error {
	if s.sealed == nil {
		return s.Conn.SetWriteDeadline(t)
	}
	s.deadline = t
	return nil
}

// CloseWrite implements hub.Conn.
func (s *socket) CloseWrite() error {
	half, ok := s.Conn.(interface{ CloseWrite() error })
	if !ok {
		return s.Close()
	}
	if s.sealed == nil {
		return half.CloseWrite()
	}
	if err := half.CloseWrite(); err != nil { // The notice that this is the end, over TLS.
		return err
	}
	return s.sealed.finish()
}
