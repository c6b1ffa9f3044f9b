package main

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"
)

// pipes is a listener whose connections are pipes in memory, so that time can be a test's own.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func newPipes() *pipes {
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.close(); return nil }

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- buffered(server):
		return buffered(client), nil
	case <-p.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// wire is the end of a pipe that takes what is written without waiting for the reader, as a socket does.
type wire struct {
	net.Conn
	out  chan []byte
	done chan struct{}
	end  func()
}

func buffered(conn net.Conn) *wire {
	w := &wire{Conn: conn, out: make(chan []byte, 4096), done: make(chan struct{})}
	w.end = sync.OnceFunc(func() { close(w.done) })
	go w.carry()
	return w
}

// carry writes what was given to Write, and closes the pipe once all of it is through or the peer does not take it.
func (w *wire) carry() {
	defer func() { _ = w.Conn.Close() }()
	for {
		select {
		case b := <-w.out:
			if _, err := w.Conn.Write(b); err != nil {
				return
			}
		case <-w.done:
			_ = w.SetWriteDeadline(time.Now().Add(time.Second))
			for {
				select {
				case b := <-w.out:
					if _, err := w.Conn.Write(b); err != nil {
						return
					}
				default:
					return
				}
			}
		}
	}
}

func (w *wire) Write(b []byte) (int, error) {
	select {
	case <-w.done:
		return 0, net.ErrClosed
	case w.out <- slices.Clone(b):
		return len(b), nil
	}
}

func (w *wire) Close() error {
	w.end()
	return w.SetReadDeadline(time.Unix(1, 0)) // Who reads is told at once.
}
