package servers

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

const (
	proxyBuffer = 32 << 10        // bytes that each direction of a connection holds back while the proxy is frozen.
	dialTimeout = 5 * time.Second // for the way to the target, which is on this machine.
)

// wire is what a proxy does with the bytes it is given.
type wire int

const (
	wireOpen wire = iota
	wireCut
	wireFrozen
	wireClosed // The test is over.
)

// TCPProxy passes TCP connections on to a target until the test breaks the wire. Its methods may be called at any time
// and from any goroutine.
type TCPProxy struct {
	target   string
	listener net.Listener
	done     sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond
	state   wire
	conns   map[net.Conn]struct{}
}

// Proxy listens on a free port of 127.0.0.1 and passes every connection on to the target, a host:port. It ends with the
// test.
func Proxy(tb testing.TB, target string) *TCPProxy {
	tb.Helper()
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatalf("proxy for %s: %v", target, err)
	}
	p := &TCPProxy{target: target, listener: listener, conns: make(map[net.Conn]struct{})}
	p.changed = sync.NewCond(&p.mu)
	p.done.Go(p.accept)
	tb.Cleanup(func() {
		p.set(wireClosed)
		if err := listener.Close(); err != nil {
			tb.Errorf("close proxy for %s: %v", target, err)
		}
		p.done.Wait()
	})
	return p
}

// Addr returns the host:port that stands for the target.
func (p *TCPProxy) Addr() string { return p.listener.Addr().String() }

// Cut resets every connection, and each new one as soon as it is made, until [TCPProxy.Heal].
func (p *TCPProxy) Cut() { p.set(wireCut) }

// Freeze keeps connections open and takes new ones, but lets nothing through until [TCPProxy.Heal]: a network that
// drops packets. What was sent meanwhile arrives then.
func (p *TCPProxy) Freeze() { p.set(wireFrozen) }

// Heal lets everything through again.
func (p *TCPProxy) Heal() { p.set(wireOpen) }

func (p *TCPProxy) set(state wire) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = state
	if state == wireCut || state == wireClosed {
		for conn := range p.conns {
			reset(conn)
		}
	}
	p.changed.Broadcast()
}

func (p *TCPProxy) accept() {
	for {
		conn, err := p.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			time.Sleep(time.Millisecond) // Out of descriptors: those in use come back.
		case !p.keep(conn):
			reset(conn)
		default:
			p.done.Go(func() { p.serve(conn) })
		}
	}
}

// serve passes one connection on, both ways, until either side ends it.
func (p *TCPProxy) serve(client net.Conn) {
	defer p.drop(client)
	if !p.passable() {
		return
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	server, err := dialer.DialContext(context.Background(), "tcp", p.target)
	if err != nil {
		return
	}
	if !p.keep(server) {
		reset(server)
		return
	}
	defer p.drop(server)
	var up sync.WaitGroup
	up.Go(func() { p.pass(server, client) })
	p.pass(client, server)
	up.Wait()
}

// pass copies from one side to the other and hands the end on.
func (p *TCPProxy) pass(to, from net.Conn) {
	buffer := make([]byte, proxyBuffer)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if !p.passable() {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				reset(from)
				return
			}
		}
		if err != nil {
			// An orderly end closes one direction only; the answer may still be on its way.
			if half, ok := to.(*net.TCPConn); ok && p.passable() {
				_ = half.CloseWrite() // Closed already: nobody is left to tell.
			}
			return
		}
	}
}

// passable waits while the wire is frozen and tells whether bytes may pass then.
func (p *TCPProxy) passable() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.state == wireFrozen {
		p.changed.Wait()
	}
	return p.state == wireOpen
}

// keep remembers the connection, so that it can be reset; it does not where that is due at once.
func (p *TCPProxy) keep(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == wireCut || p.state == wireClosed {
		return false
	}
	p.conns[conn] = struct{}{}
	return true
}

func (p *TCPProxy) drop(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
	_ = conn.Close() // Reset by Cut already, or read to its end.
}

// reset closes the connection so that its peer sees a failure instead of an orderly end.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // A closed connection needs no reset.
	}
	_ = conn.Close()
}
