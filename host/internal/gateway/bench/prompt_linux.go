package main

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// prompt makes this thread, to which the caller is locked, wait for answers in the kernel and run the moment they are there,
// before whatever else its processor does: what is measured then is the server, and not who shares the client's processor.
// Without the right to that the thread runs as any other. The returned function undoes it for the thread; the client stays in
// this mode.
func (c *client) prompt(patience time.Duration) (undo func(), err error) {
	tcp, ok := c.conn.(*net.TCPConn)
	if !ok {
		return nil, errors.New("the connection has no socket")
	}
	file, err := tcp.File()
	if err != nil {
		return nil, err
	}
	fd := int(file.Fd()) // Which makes it wait in the kernel.
	timeout := unix.NsecToTimeval(int64(patience))
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout),
	)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	c.conn = waiting{tcp, file}
	undo = func() {}
	if before, err := unix.SchedGetAttr(0, 0); err == nil {
		first := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
		if unix.SchedSetAttr(0, &first, 0) == nil {
			undo = func() { _ = unix.SchedSetAttr(0, before, 0) }
		}
	}
	return undo, nil
}

// waiting is a connection whose reads and writes wait in the kernel.
type waiting struct {
	*net.TCPConn
	file *os.File
}

// Read implements net.Conn.
func (w waiting) Read(b []byte) (int, error) { return w.file.Read(b) }

// Write implements net.Conn.
func (w waiting) Write(b []byte) (int, error) { return w.file.Write(b) }

// Close closes both descriptors.
func (w waiting) Close() error { return errors.Join(w.file.Close(), w.TCPConn.Close()) }
