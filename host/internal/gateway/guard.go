package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/service-islands/islands/sdk"
)

// Wrong tokens that an address may try: ten at once, and then one in six seconds. Beyond that none is looked at, not even
// the right one, and the answer is the same as ever.
var wrongTokens = RateLimit{Requests: 10, Per: time.Minute, Burst: 10}

// bearer lets those pass who know the admin token. Others learn nothing, not even that there is something here.
func (g *Gateway) bearer(token sdk.Secret) fiber.Handler {
	want := sha256.Sum256([]byte(token.Reveal()))
	wrong := newAllowance(wrongTokens)
	return func(c *fiber.Ctx) error {
		c.Response().Header.Del(fiber.HeaderAccessControlAllowOrigin)
		authorization := c.Get(fiber.HeaderAuthorization)
		if authorization == "" {
			return fiber.ErrNotFound
		}
		from := g.proxies.client(c.Context())
		// It is paid for before, and given back, so that many at once try no more than one after the other.
		_, wait := wrong.take(clientOf(from), wholePrice, time.Now())
		scheme, given, _ := strings.Cut(authorization, " ")
		got := sha256.Sum256([]byte(given))
		// Digests have one length, so that the comparison tells nothing about that of the token.
		right := subtle.ConstantTimeCompare(got[:], want[:]) == 1 && strings.EqualFold(scheme, "Bearer")
		switch {
		case wait > 0:
			g.refusals.tokens.Add(1)
			g.tell("too many wrong admin tokens from an address, none is looked at for now", "address", from.String(),
				"for", wait.Round(time.Second))
			return fiber.ErrNotFound
		case !right:
			g.refusals.tokens.Add(1)
			g.tell("wrong admin token", "address", from.String())
			return fiber.ErrNotFound
		}
		wrong.give(clientOf(from), wholePrice)
		return c.Next()
	}
}

// refusals count who was kept from the operator's routes.
type refusals struct{ tokens, peers atomic.Uint64 }

// How many connections the admin socket has at once, how many of those that are refused, and for how long.
const (
	maxOperators = 64
	maxRefused   = 8
	refusedFor   = 2 * time.Second
)

// peerDoor is the admin socket. It finds out who connects.
type peerDoor struct {
	*net.UnixListener
	g    *Gateway
	open atomic.Int64
	// turned is how many are there that are refused.
	turned atomic.Int64
}

// peerConn is a connection to the admin socket.
type peerConn struct {
	*net.UnixConn
	door *peerDoor
	why  string // it is refused; empty when it is not
	// counted is where it counts.
	counted *atomic.Int64
	closed  atomic.Bool
}

// Close closes the connection. It may be called by several at once.
func (c *peerConn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	c.counted.Add(-1)
	return c.UnixConn.Close()
}

// Accept returns the next connection, with the reason when its requests are to be refused.
func (d *peerDoor) Accept() (net.Conn, error) {
	for {
		conn, err := d.AcceptUnix()
		if err != nil {
			if isClosed(err) {
				return nil, err
			}
			d.g.tell("no operator can be let in right now", "error", err)
			time.Sleep(100 * time.Millisecond) // Of descriptors, say, there will be some again.
			continue
		}
		c := &peerConn{UnixConn: conn, door: d}
		c.why = d.g.judge(conn)
		open, most := &d.open, int64(maxOperators)
		if c.why != "" {
			// Who is refused takes no operator's place, and keeps his own no longer than it takes to tell him.
			open, most = &d.turned, maxRefused
			_ = conn.SetDeadline(time.Now().Add(refusedFor)) // It fails only for a connection that is closed.
		}
		c.counted = open
		if open.Add(1) > most {
			d.g.tell("connection to the admin socket refused: there are as many as there may be", "limit", most)
			_ = c.Close() // It was never let in.
			continue
		}
		return c, nil
	}
}

// judge says why whoever connects to the admin socket is refused, empty when he is not. The file system has let him pass,
// so that he runs as the host's user, or as root. Islands do that too, and are not operators.
func (g *Gateway) judge(conn *net.UnixConn) string {
	pid, uid, known, err := peerOf(conn)
	why := ""
	switch {
	case err != nil:
		why = fmt.Sprintf("who connects is not to be found out: %v", err)
	case !known:
		return ""
	case uid != os.Geteuid() && uid != 0:
		why = "it is another user's"
	case g.opts.RefusePeer != nil:
		why = g.opts.RefusePeer(pid, uid)
	}
	if why != "" {
		g.refusals.peers.Add(1)
		g.tell("process refused at the admin socket", "pid", pid, "uid", uid, "reason", why)
	}
	return why
}

// refusedPeer is what a process is told that is no operator. Why not is in the log.
var refusedPeer = &problem{
	status: http.StatusForbidden, code: "not_an_operator", title: "Not an operator",
	detail: "The admin socket does not serve this process. The host's log says why.",
}
