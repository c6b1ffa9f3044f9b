package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// door lets connections in, as many as there may be at once, all together and from one address. It also keeps the server
// alive: fasthttp takes any error of a listener for its end, and one that has run out of descriptors has only to wait.
type door struct {
	*net.TCPListener
	most, mostEach int
	proxies        *proxies
	// tell logs what clients make happen, now and then.
	tell func(what string, fields ...any)

	mu   sync.Mutex
	open int
	from map[clientKey]int

	refused, refusedEach atomic.Uint64
	closing              chan struct{}
	once                 sync.Once
}

func newDoor(l *net.TCPListener, most, mostEach int, p *proxies, tell func(string, ...any)) *door {
	return &door{
		TCPListener: l, most: most, mostEach: mostEach, proxies: p, tell: tell,
		from: make(map[clientKey]int), closing: make(chan struct{}),
	}
}

// accepted is a connection that counts until it is closed.
type accepted struct {
	*net.TCPConn
	door   *door
	client clientKey
	free   bool // of the bound of one address
	closed atomic.Bool
}

// Close closes the connection, which then counts no more. It may be called by several at once.
func (c *accepted) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	err := c.TCPConn.Close()
	c.door.left(c)
	return err
}

// Accept returns the next connection that there is room for. Its error is the listener's end.
func (d *door) Accept() (net.Conn, error) {
	const soonest, latest = 5 * time.Millisecond, time.Second
	pause := soonest
	for {
		conn, err := d.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil, err
		case err != nil:
			d.tell("no connection can be accepted right now", "error", err)
			select {
			case <-d.closing:
			case <-time.After(pause):
			}
			pause = min(2*pause, latest)
			continue
		}
		pause = soonest
		if c := d.enter(conn); c != nil {
			return c, nil
		}
	}
}

// Close ends the listener.
func (d *door) Close() error {
	d.once.Do(func() { close(d.closing) })
	return d.TCPListener.Close()
}

// enter counts a connection, or refuses it and returns nil.
func (d *door) enter(conn *net.TCPConn) *accepted {
	from := addressOf(conn.RemoteAddr())
	c := &accepted{TCPConn: conn, door: d, client: clientOf(from), free: d.proxies.trusts(from)}
	d.mu.Lock()
	full, crowd := d.open >= d.most, !c.free && d.from[c.client] >= d.mostEach
	if !full && !crowd {
		d.open++
		if !c.free {
			d.from[c.client]++
		}
	}
	d.mu.Unlock()
	switch {
	case full:
		d.refused.Add(1)
		d.refuse(conn, http.StatusServiceUnavailable, "host_full", "The host has as many connections as it serves.")
		d.tell("connection refused: there are as many as there may be", "limit", d.most, "address", from.String())
		return nil
	case crowd:
		d.refusedEach.Add(1)
		d.refuse(conn, http.StatusTooManyRequests, "too_many_connections", "This address has as many connections as one may have.")
		d.tell("connection refused: its address has as many as one may have", "limit", d.mostEach, "address", from.String())
		return nil
	default:
		return c
	}
}

// refuse tells a client why it is not let in, as far as that goes without waiting: what is written to a connection that is
// new is taken by the system at once. Over TLS nobody could read it, and the connection just ends.
func (d *door) refuse(conn *net.TCPConn, status int, code, detail string) {
	const retry = 5
	body := fmt.Sprintf(`{"type":%q,"title":"Too many connections","status":%d,"detail":%q,"code":%q,"retryable":true}`,
		problemType+code, status, detail, code)
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\n"+
		"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nRetry-After: %d\r\nRateLimit: \"connections\";r=0;t=%d\r\n"+
		"Connection: close\r\n\r\n%s", status, http.StatusText(status), len(body), retry, retry, body)
	_ = conn.Close() // It was never let in.
}

// left counts a connection no more.
func (d *door) left(c *accepted) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open--
	if c.free {
		return
	}
	if d.from[c.client]--; d.from[c.client] <= 0 {
		delete(d.from, c.client)
	}
}

// count is how many connections there are.
func (d *door) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open
}

// pressed is whether there is little room left, so that connections which do nothing have to make some.
func (d *door) pressed() bool { return d.count() > d.most-d.most/4 }
