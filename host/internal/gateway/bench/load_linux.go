package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// load is a number of keep-alive connections that ask for the same again and again, each one request at a time. One
// thread serves them all with the least that a client can do, so that the server, not the load, is what has no time left.
type load struct {
	poll    int // the epoll instance
	sockets []*socket
	request []byte
	body    []byte // what they must get
}

// socket is a connection of a load.
type socket struct {
	fd      int
	buf     []byte
	have    int  // bytes of an answer that have arrived
	waiting bool // whether an answer is still to come
}

// newLoad connects the sockets. The address is one of IPv4.
func newLoad(address, path string, body []byte, connections int) (_ *load, err error) {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	l := &load{request: request(address, path), body: body}
	if l.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	for i := range connections {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		if err != nil {
			return nil, fmt.Errorf("socket: %w", err)
		}
		l.sockets = append(l.sockets, &socket{fd: fd, buf: make([]byte, maxHead+len(body))})
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(target.Port()), Addr: target.Addr().As4()}); err != nil {
			return nil, fmt.Errorf("connect to %s: %w", address, err)
		}
		if err := errors.Join(
			unix.SetNonblock(fd, true),
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
			unix.EpollCtl(l.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}),
		); err != nil {
			return nil, fmt.Errorf("prepare a socket: %w", err)
		}
	}
	return l, nil
}

// close ends the connections.
func (l *load) close() error {
	errs := []error{unix.Close(l.poll)}
	for _, s := range l.sockets {
		errs = append(errs, unix.Close(s.fd))
	}
	return errors.Join(errs...)
}

// stragglers is how long the last answers of a run may take.
const stragglers = 10 * time.Second

// run lets all sockets ask for the given time and returns how many answers they got, and how long that took. After an
// error the load is of no use any more.
func (l *load) run(ctx context.Context, lasts time.Duration) (answers int, took time.Duration, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := time.Now()
	for _, s := range l.sockets {
		if err := l.ask(s); err != nil {
			return 0, 0, err
		}
	}
	events := make([]unix.EpollEvent, len(l.sockets))
	for waiting := len(l.sockets); waiting > 0; {
		const patience = 10 // ms, so that the time is looked at
		n, err := unix.EpollWait(l.poll, events, patience)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 0, 0, fmt.Errorf("epoll: %w", err)
		}
		elapsed := time.Since(began)
		goOn := elapsed < lasts && ctx.Err() == nil
		if elapsed > lasts+stragglers {
			return 0, 0, fmt.Errorf("%d answers are missing %v after the end of a turn", waiting, stragglers)
		}
		for _, event := range events[:max(n, 0)] {
			s := l.sockets[event.Fd]
			if err := l.take(s); err != nil {
				return 0, 0, err
			}
			if s.waiting {
				continue
			}
			answers++
			if !goOn {
				waiting--
				continue
			}
			if err := l.ask(s); err != nil {
				return 0, 0, err
			}
		}
	}
	return answers, time.Since(began), ctx.Err()
}

// ask sends a request. It is so short that the kernel takes it whole.
func (l *load) ask(s *socket) error {
	s.have, s.waiting = 0, true
	if n, err := unix.Write(s.fd, l.request); err != nil || n < len(l.request) {
		return fmt.Errorf("send a request: %d bytes of %d, %w", n, len(l.request), err)
	}
	return nil
}

// take reads what has arrived of an answer and checks it when it is complete.
func (l *load) take(s *socket) error {
	n, err := unix.Read(s.fd, s.buf[s.have:])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("read an answer: %w", err)
	case n == 0:
		return fmt.Errorf("read an answer: %w", io.ErrUnexpectedEOF)
	case !s.waiting:
		return errors.New("an answer came that nobody asked for")
	}
	s.have += n
	a, total, err := parseAnswer(s.buf[:s.have])
	switch {
	case err != nil:
		return err
	case total > len(s.buf):
		return fmt.Errorf("an answer of %d bytes, want %d", len(a.body)+total-s.have, len(l.body))
	case total == 0 || s.have < total:
		return nil
	case a.status != http.StatusOK:
		return fmt.Errorf("status %d: %.200s", a.status, a.body)
	case !bytes.Equal(a.body, l.body):
		return fmt.Errorf("another body than before: %.200s", a.body)
	}
	s.waiting = false
	return nil
}
