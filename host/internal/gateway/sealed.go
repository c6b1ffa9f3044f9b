package gateway

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// secured is a connection over TLS. Its end waits for nobody: crypto/tls would wait up to five seconds for a client to
// take the notice that this is the end.
type secured struct {
	*tls.Conn
	below *ciphertext
}

// secure begins TLS on a connection, whose handshake is left to whoever first reads.
func secure(conn *accepted, config *tls.Config) *secured {
	below := newCiphertext(conn)
	return &secured{Conn: tls.Server(below, config), below: below}
}

// Close sends a notice that this is the end, as far as the system takes it at once, and closes the connection.
func (c *secured) Close() error {
	if !c.below.letGo() {
		return c.below.Close()
	}
	return c.Conn.Close()
}

// ciphertext is the connection below a TLS connection. It writes like any other until it is let go. From then on no write
// waits: what the system does not take at once is kept, and a goroutine writes it as it is taken. A record that was
// sealed can be neither taken back nor cut, so that this is the only place at which a slow client can be waited for
// without holding up whoever writes.
type ciphertext struct {
	*accepted
	raw syscall.RawConn // nil where only a write that waits is to be had

	mu    sync.Mutex
	loose bool
	kept  []byte // what waits to be taken
	last  bool   // nothing comes after what is kept
	err   error
	taken chan struct{} // closed when nothing is kept any more, or never will be; nil when nobody waits for that
}

// mostKept bounds what is kept, in bytes. Whoever looks at waits before each write keeps one record at most.
const mostKept = 128 << 10

var errTooMuchKept = errors.New("too much waits for the client")

func newCiphertext(conn *accepted) *ciphertext {
	c := &ciphertext{accepted: conn}
	if canTry {
		if raw, err := conn.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	return c
}

// letGo makes every write from now on one that does not wait. It reports false where there is no such write.
func (c *ciphertext) letGo() bool {
	if c.raw == nil {
		return false
	}
	c.mu.Lock()
	c.loose = true
	c.mu.Unlock()
	return true
}

// Write implements net.Conn.
func (c *ciphertext) Write(b []byte) (int, error) {
	c.mu.Lock()
	if !c.loose {
		c.mu.Unlock()
		return c.accepted.Write(b)
	}
	defer c.mu.Unlock()
	if c.err == nil && len(c.kept)+len(b) > mostKept {
		c.err = errTooMuchKept
	}
	if c.err != nil {
		return 0, c.err
	}
	if len(c.kept) > 0 {
		c.kept = append(c.kept, b...)
		return len(b), nil // Somebody writes already.
	}
	n := 0
	if err := c.raw.Write(func(fd uintptr) bool {
		n, c.err = writeNow(fd, b)
		return true
	}); err != nil && c.err == nil {
		c.err = err
	}
	if c.err == nil && n < len(b) {
		c.kept = append(c.kept, b[n:]...)
		go c.writeKept()
	}
	return len(b), c.err
}

// writeKept writes what is kept as the system takes it. It ends with that, or with the connection.
func (c *ciphertext) writeKept() {
	err := c.raw.Write(func(fd uintptr) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		n, err := writeNow(fd, c.kept)
		if c.kept = c.kept[n:]; err != nil {
			c.err = err
		}
		if len(c.kept) > 0 && c.err == nil {
			return false
		}
		c.settle()
		return true
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.err = err
		c.settle()
	}
	if c.last && len(c.kept) == 0 && c.err == nil {
		_ = c.accepted.CloseWrite() // It fails only for a connection that is closed.
	}
}

// settle notes that nothing is kept any more. The lock is held.
func (c *ciphertext) settle() {
	c.kept = nil
	if c.taken != nil {
		close(c.taken)
		c.taken = nil
	}
}

// waits is whether something is kept, and how the connection has ended.
func (c *ciphertext) waits() (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.kept) > 0, c.err
}

// wait returns when nothing is kept any more, or with os.ErrDeadlineExceeded. A zero deadline is none.
func (c *ciphertext) wait(deadline time.Time) error {
	c.mu.Lock()
	if len(c.kept) == 0 || c.err != nil {
		defer c.mu.Unlock()
		return c.err
	}
	if c.taken == nil {
		c.taken = make(chan struct{})
	}
	taken := c.taken
	c.mu.Unlock()
	var late <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-taken:
		_, err := c.waits()
		return err
	case <-late:
		return os.ErrDeadlineExceeded
	}
}

// finish ends this side of the connection once everything has been taken.
func (c *ciphertext) finish() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last = true; len(c.kept) > 0 {
		return nil // Whoever writes it does that.
	}
	return c.accepted.CloseWrite()
}

// SetDeadline implements net.Conn.
func (c *ciphertext) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetWriteDeadline implements net.Conn. Who does not wait needs no deadline, and who writes what is kept has none.
func (c *ciphertext) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loose {
		return nil
	}
	return c.accepted.SetWriteDeadline(t)
}

var (
	_ net.Conn = (*secured)(nil)
	_ net.Conn = (*ciphertext)(nil)
)
