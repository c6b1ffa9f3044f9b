package gateway

import (
	"net"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/service-islands/islands/host/internal/gateway/hub"
)

// eventStreamType is the content type of server-sent events.
const eventStreamType = "text/event-stream"

// eventStreamFormat names it where a refusal lists what there is.
const eventStreamFormat = "event-stream"

// retryHint is when a client of an event stream comes back after a break.
const retryHint = "retry: 2000\n\n"

// maxCursor bounds Last-Event-ID, in bytes.
const maxCursor = 256

// eventStream answers with the live feed as server-sent events. The connection leaves the HTTP server: what is written to
// it is written as to a WebSocket, and a shutdown does not wait for its end.
func (g *Gateway) eventStream(c *fiber.Ctx) error {
	if accept := c.Get(fiber.HeaderAccept); accept != "" && mediaQuality(accept, eventStreamType) == 0 {
		return notAcceptable([]string{eventStreamFormat})
	}
	channels, err := g.channels(c)
	if err != nil {
		return err
	}
	from, err := g.admit(c)
	if err != nil {
		return err
	}
	rctx := c.Context()
	h := &rctx.Response.Header
	h.SetContentType(eventStreamType)
	noStore.set(h)
	h.Set("X-Accel-Buffering", "no") // nginx would collect what is to be sent at once.
	if c.Method() == http.MethodHead {
		return nil
	}
	cursor := c.Get("Last-Event-ID")
	if len(cursor) > maxCursor {
		cursor = "" // It is none of ours.
	}
	h.SetContentLength(untilClose)
	head := append(append([]byte(nil), h.Header()...), retryHint...)
	raw := rctx.Conn()
	start := hub.Start{Channels: channels, Cursor: cursor}
	rctx.HijackSetNoResponse(true)
	rctx.Hijack(func(hijacked net.Conn) {
		s, _, err := takeOver(raw, hijacked)
		if err == nil {
			err = s.begin(head)
		}
		if err != nil {
			_ = raw.Close() // It is gone already.
			return
		}
		client, err := g.opts.Feed.Join(s, hub.EventStream, from, start)
		if err != nil {
			_ = s.Close() // It was let in before others took the last places; it will come back.
			return
		}
		g.listens(func() {
			defer client.Leave()
			discard(s) // A client has nothing more to say; its end is what is waited for.
		})
	})
	return nil
}

// untilClose is fasthttp's length of a body that ends with the connection.
const untilClose = -2

// begin writes the head of an answer.
func (s *socket) begin(head []byte) error {
	const patience = 5 * time.Second // It is the first that goes to the client, and small.
	if err := s.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := s.Write(head); err != nil {
		return err
	}
	return s.SetWriteDeadline(time.Time{})
}
