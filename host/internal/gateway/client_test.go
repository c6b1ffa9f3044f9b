package gateway

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/service-islands/islands/host/internal/gateway/hub"
)

// libraryClient is a client of the feed that somebody else wrote.
type libraryClient struct {
	*websocket.Conn
	t     *testing.T
	ctx   context.Context
	got   chan liveMessage // closed at the end
	err   error            // of the end
	pings atomic.Int32
	// deflated is whether the handshake agreed on compression.
	deflated bool
}

// dialLibrary connects and reads until the end.
func (l *liveFeed) dialLibrary(t *testing.T, target string, mode websocket.CompressionMode) *libraryClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	c := &libraryClient{t: t, ctx: ctx, got: make(chan liveMessage, 1000)}
	conn, r, err := websocket.Dial( //nolint:bodyclose // It is the connection.
		ctx, "ws://"+l.Addr()+target, &websocket.DialOptions{
			CompressionMode: mode, CompressionThreshold: 1,
			OnPingReceived: func(context.Context, []byte) bool { c.pings.Add(1); return true },
		})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	c.Conn, c.deflated = conn, strings.Contains(r.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate")
	go func() {
		defer close(c.got)
		for {
			kind, text, err := conn.Read(ctx)
			if err != nil {
				c.err = err
				return
			}
			var m liveMessage
			if err := json.Unmarshal(text, &m); err != nil || kind != websocket.MessageText {
				t.Errorf("%v in %q, a message of kind %v", err, text, kind)
			}
			c.got <- m
		}
	}()
	t.Cleanup(func() {
		cancel()
		_ = conn.CloseNow()
		for range c.got {
			continue // Until the reader has ended.
		}
	})
	return c
}

// next is the next message.
func (c *libraryClient) next() liveMessage {
	c.t.Helper()
	m, ok := <-c.got
	if !ok {
		c.t.Fatalf("the connection ended: %v", c.err)
	}
	return m
}

// want reads messages and checks them in short.
func (c *libraryClient) want(briefs ...string) {
	c.t.Helper()
	for _, brief := range briefs {
		if m := c.next(); m.brief() != brief {
			c.t.Fatalf("got %q, want %q", m.brief(), brief)
		}
	}
}

// ask sends a request.
func (c *libraryClient) ask(text string) {
	c.t.Helper()
	if err := c.Write(c.ctx, websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

func TestALibraryClient(t *testing.T) {
	for name, mode := range map[string]websocket.CompressionMode{
		"plain": websocket.CompressionDisabled, "compressed": websocket.CompressionNoContextTakeover,
		"compressed in context": websocket.CompressionContextTakeover,
	} {
		t.Run(name, func(t *testing.T) {
			l := startLive(t, hub.Options{PingInterval: 50 * time.Millisecond, PongTimeout: 2 * time.Second, Heartbeat: time.Minute})
			c := l.dialLibrary(t, "/ws", mode)
			if c.deflated != (mode != websocket.CompressionDisabled) {
				t.Errorf("compression agreed: %t", c.deflated)
			}
			welcome := c.next()
			if !strings.Contains(string(welcome.Data), `"ticker:eth"`) || welcome.Type != "welcome" {
				t.Errorf("welcomed with %q %s", welcome.Type, welcome.Data)
			}
			c.want("snapshot ticker:* 0", "snapshot global 0")
			l.publish(2)
			c.want("market_update ticker:* 1", "global_update global 1", "market_update ticker:* 2", "global_update global 2")
			if err := c.Ping(c.ctx); err != nil {
				t.Errorf("a ping: %v", err)
			}

			c.ask(`{"action":"subscribe","channels":["ticker:btc"],"id":1}`)
			c.want("subscribed", "snapshot ticker:btc 2")
			l.publish(1)
			m := c.next()
			if m.brief() != "market_update ticker:btc 3" || !strings.Contains(string(m.Data), `{"btc":{"symbol":"btc","price":3,`) || m.Epoch != "a" {
				t.Errorf("got %q in epoch %q: %s", m.brief(), m.Epoch, m.Data)
			}
			c.ask(`{"action":"unsubscribe","channels":["ticker:btc"],"id":2}`)
			c.want("unsubscribed")
			l.publish(2)
			c.ask(`{"action":"subscribe","channels":["global","ticker:nope"],"id":3}`)
			if m := c.next(); m.Type != "subscribed" || !strings.Contains(string(m.Data), `"ticker:nope":{"ok":false`) {
				t.Errorf("got %q: %s", m.brief(), m.Data)
			}
			c.want("snapshot global 5")
			until(t, "the host pings again", func() bool { return c.pings.Load() >= 2 })
			if err := c.Close(websocket.StatusNormalClosure, "that is all"); err != nil {
				t.Errorf("the close handshake: %v", err)
			}
			l.clients(t, 0)

			l.publish(2)
			again := l.dialLibrary(t, "/ws?channels=global", mode)
			again.want("welcome", "snapshot global 7")
			again.ask(`{"action":"subscribe","channels":["ticker:btc","global"],` +
				`"since":{"ticker:btc":{"epoch":"a","seq":3},"global":{"epoch":"b","seq":3}}}`)
			if m := again.next(); m.Type != "subscribed" || !strings.Contains(string(m.Data), `"ticker:btc":{"ok":true,"recovered":true`) ||
				!strings.Contains(string(m.Data), `"global":{"ok":true,"recovered":false`) {
				t.Errorf("got %q: %s", m.brief(), m.Data)
			}
			again.want("market_update ticker:btc 4", "market_update ticker:btc 5", "market_update ticker:btc 6",
				"market_update ticker:btc 7", "snapshot global 7")
		})
	}
}

func TestALibraryClientIsTold(t *testing.T) {
	l := startLive(t, hub.Options{})
	c := l.dialLibrary(t, "/ws?channels=ticker:eth", websocket.CompressionDisabled)
	c.want("welcome", "snapshot ticker:eth 0")
	if err := c.Write(c.ctx, websocket.MessageBinary, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if m, ok := <-c.got; ok {
		t.Fatalf("got %q", m.brief())
	}
	if got := websocket.CloseStatus(c.err); got != websocket.StatusUnsupportedData {
		t.Errorf("closed with %v: %v", got, c.err)
	}
}
