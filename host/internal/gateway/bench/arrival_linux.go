package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of joining.
const (
	mostArriving = 128     // clients that join at the same time, well below what a listener queues
	mostGreeting = 1 << 20 // bytes until a client has joined
)

// What a far client lets the kernels hold for it, in bytes.
const (
	farSegment = 1460    // the longest of TCP over an Ethernet
	farWindow  = 8 << 10 // received and not read yet
)

// arrival is a client that has not joined yet.
type arrival struct {
	upgraded bool
	said     []byte // what the station has said and was not understood yet
}

// The key of a handshake and its answer are those of RFC 6455, section 1.3.
const (
	handshakeKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	handshakeAnswer = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// join connects all clients and returns when the last has joined.
func (h *hall) join(ctx context.Context) error {
	target, err := netip.ParseAddrPort(h.Address)
	if err != nil {
		return err
	}
	hello, err := clientFrame(opText, []byte(h.Greeting.Hello))
	if err != nil {
		return err
	}
	request := []byte("GET " + h.Greeting.Path + " HTTP/1.1\r\nHost: " + h.Address + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: " + handshakeKey + "\r\nSec-WebSocket-Version: 13\r\n\r\n")
	deadline := time.Now().Add(joinPatience)
	events := make([]unix.EpollEvent, mostArriving)
	for arriving := 0; arriving > 0 || len(h.seats) < h.Clients; {
		for ; arriving < mostArriving && len(h.seats) < h.Clients; arriving++ {
			if err := h.arrive(target, request); err != nil {
				return fmt.Errorf("client %d: %w", len(h.seats), err)
			}
		}
		const patience = 100 // ms, so that the time is looked at
		n, err := unix.EpollWait(h.poll, events, patience)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("epoll: %w", err)
		}
		for _, event := range events[:max(n, 0)] {
			c := h.seats[event.Fd]
			if c.arrival == nil {
				h.read(c)
				continue
			}
			if err := h.welcome(c, hello); err != nil {
				return fmt.Errorf("client %d: %w", event.Fd, err)
			}
			if c.arrival == nil {
				arriving--
			}
		}
		switch {
		case h.gone > 0:
			return fmt.Errorf("%d clients were sent away again: %w", h.gone, h.reason)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case time.Now().After(deadline):
			return fmt.Errorf("%d of %d clients have joined after %v", len(h.seats)-arriving, h.Clients, joinPatience)
		}
	}
	return nil
}

// arrive opens a connection and asks for the WebSocket.
func (h *hall) arrive(target netip.AddrPort, request []byte) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	c := &chair{fd: fd, arrival: new(arrival)}
	h.seats = append(h.seats, c)
	if h.Far {
		if err := errors.Join(
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG, farSegment),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, farWindow),
		); err != nil {
			return fmt.Errorf("keep little: %w", err)
		}
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(target.Port()), Addr: target.Addr().As4()}); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if err := errors.Join(
		unix.SetNonblock(fd, true),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.EpollCtl(h.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(len(h.seats) - 1)}),
	); err != nil {
		return fmt.Errorf("prepare a socket: %w", err)
	}
	return c.send(request)
}

// welcome reads on until the client has joined.
func (h *hall) welcome(c *chair, hello []byte) error {
	a := c.arrival
	n, err := unix.Read(c.fd, h.buf)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	case err == nil && n == 0:
		err = io.ErrUnexpectedEOF
	case len(a.said)+n > mostGreeting:
		err = fmt.Errorf("the station says more than %d bytes, none of them %q", mostGreeting, h.Greeting.Joined)
	}
	if err != nil {
		return fmt.Errorf("%w after %.300q", err, a.said)
	}
	a.said = append(a.said, h.buf[:n]...)
	if !a.upgraded {
		head, rest, whole := bytes.Cut(a.said, headEnd)
		if !whole {
			return nil
		}
		if err := checkUpgrade(head); err != nil {
			return err
		}
		a.upgraded, a.said = true, bytes.Clone(rest)
		if h.Greeting.Hello != "" {
			if err := c.send(hello); err != nil {
				return err
			}
		}
	}
	if !bytes.Contains(a.said, []byte(h.Greeting.Joined)) {
		return nil
	}
	c.arrival = nil
	if h.Mute {
		if err := unix.EpollCtl(h.poll, unix.EPOLL_CTL_DEL, c.fd, nil); err != nil {
			return fmt.Errorf("stop reading: %w", err)
		}
		return nil
	}
	h.take(c, a.said)
	return nil
}

// checkUpgrade refuses an answer that is no WebSocket's.
func checkUpgrade(head []byte) error {
	a := answer{head: head}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) || a.header("Sec-Websocket-Accept") != handshakeAnswer {
		return fmt.Errorf("no WebSocket: %.300q", head)
	}
	return nil
}
