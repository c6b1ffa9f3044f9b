package gateway

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"

	"github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"

	"github.com/service-islands/islands/host/internal/gateway/hub"
	"github.com/service-islands/islands/host/internal/gateway/rfc6455"
	"github.com/service-islands/islands/sdk"
)

// upgrade is what is known of a client before its connection becomes a WebSocket.
type upgrade struct {
	raw      net.Conn
	from     netip.Addr
	channels []string
	deflate  bool
}

// upgradeLocal is the name under which a handshake carries its upgrade.
const upgradeLocal = "upgrade"

// webSocket answers a handshake for the live feed. What cannot become a WebSocket is refused in words before the library
// sees it.
func (g *Gateway) webSocket() fiber.Handler {
	shake := websocket.New(g.upgraded, websocket.Config{
		EnableCompression: true,
		ReadBufferSize:    smallBuffer, WriteBufferSize: smallBuffer, // Of the library's own connection, which nobody uses.
		RecoverHandler: func(*websocket.Conn) {
			if p := recover(); p != nil {
				g.opts.Logger.Error("panic after a handshake", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			}
		},
	})
	return func(c *fiber.Ctx) error {
		if !isHandshake(c) {
			c.Set(fiber.HeaderUpgrade, "websocket")
			c.Set("Sec-WebSocket-Version", "13")
			return &problem{
				status: http.StatusUpgradeRequired, code: "upgrade_required", title: "WebSocket expected",
				detail: "This is a WebSocket of version 13: connect with a WebSocket client. /api/stream is the same over plain HTTP.",
			}
		}
		channels, err := g.channels(c)
		if err != nil {
			return err
		}
		from, err := g.admit(c)
		if err != nil {
			return err
		}
		h := &c.Request().Header
		offers := bytes.Join(h.PeekAll("Sec-WebSocket-Extensions"), []byte(",")) // Several fields mean one list.
		deflate := rfc6455.AcceptsDeflate(string(offers))
		h.Del("Sec-WebSocket-Extensions") // What the library would make of them is decided here.
		if deflate {
			h.Set("Sec-WebSocket-Extensions", "permessage-deflate")
		}
		c.Locals(upgradeLocal, &upgrade{raw: c.Context().Conn(), from: from, channels: channels, deflate: deflate})
		return shake(c)
	}
}

// smallBuffer is the size of a buffer that is not used.
const smallBuffer = 128

// isHandshake reports whether a request asks for a WebSocket in a way that can be granted.
func isHandshake(c *fiber.Ctx) bool {
	h := &c.Request().Header
	return c.Method() == http.MethodGet && h.ConnectionUpgrade() && headerHas(c, fiber.HeaderUpgrade, "websocket") &&
		c.Get("Sec-WebSocket-Version") == "13" && validKey(c.Get("Sec-WebSocket-Key"))
}

// headerHas reports whether a header field lists a token.
func headerHas(c *fiber.Ctx, name, token string) bool {
	for item := range strings.SplitSeq(c.Get(name), ",") {
		if strings.EqualFold(strings.TrimSpace(item), token) {
			return true
		}
	}
	return false
}

// validKey reports whether a Sec-WebSocket-Key is 16 bytes in base64.
func validKey(key string) bool {
	raw, err := base64.StdEncoding.DecodeString(key)
	return err == nil && len(raw) == 16
}

// upgraded makes a client of a connection that is a WebSocket now. It returns at once: what the server keeps for the
// request is free then.
func (g *Gateway) upgraded(conn *websocket.Conn) {
	u, ok := conn.Locals(upgradeLocal).(*upgrade)
	if !ok {
		return // The route always sets it.
	}
	s, first, err := takeOver(u.raw, conn.NetConn())
	if err != nil {
		_ = u.raw.Close() // It is gone already.
		return
	}
	encoding := hub.WebSocket
	if u.deflate {
		encoding = hub.DeflatedWebSocket
	}
	client, err := g.opts.Feed.Join(s, encoding, u.from, hub.Start{Channels: u.channels})
	if err != nil {
		// It was let in before others took the last places, or before the host began to shut down. It may come back.
		code, reason := rfc6455.TryAgainLater, "no room right now"
		if errors.Is(err, sdk.Unavailable) {
			code, reason = hub.CloseShutdown, "the host shuts down"
		}
		_, _ = s.TryWrite(rfc6455.AppendClose(nil, code, reason))
		_ = s.Close()
		return
	}
	g.listens(func() { g.read(client, s, first, u.deflate) })
}

// read takes what a client sends until its connection ends.
func (g *Gateway) read(client *hub.Client, s *socket, first []byte, deflate bool) {
	defer client.Leave()
	in := rfc6455.NewReader(s, first, g.opts.Feed.MaxMessage(), deflate)
	for {
		m, err := in.Next()
		var refusal *rfc6455.Refusal
		switch {
		case errors.As(err, &refusal):
			g.opts.Logger.Debug("a client of the live feed breaks the protocol", "reason", refusal.Reason)
			client.Close(refusal.Code, refusal.Reason)
			discard(s)
			return
		case err != nil:
			return
		}
		switch m.Opcode {
		case rfc6455.Text:
			client.Receive(m.Payload)
		case rfc6455.Binary:
			client.Close(rfc6455.UnsupportedData, "messages are text")
			discard(s)
			return
		case rfc6455.Ping:
			client.Pong(m.Payload)
		case rfc6455.Pong:
			client.Ponged()
		case rfc6455.Close:
			client.Closed(m.Code)
			return
		}
	}
}

// discard reads what still comes from a client that was sent away, so that the system does not cut it off from what it was
// told. The hub has given it little time.
func discard(s *socket) {
	var chunk [512]byte
	for {
		if _, err := s.Read(chunk[:]); err != nil {
			return
		}
	}
}
