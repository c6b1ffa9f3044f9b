package main

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/fasthttp/websocket"
	fiberws "github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"
)

// loopArgument makes the program the bare station. It is for the program itself.
const loopArgument = "loop"

// loop is the least that fans out: one goroutine that writes one prepared message to one connection after the other.
type loop struct {
	mu        sync.Mutex // held for as long as a message is on its way: one writer per connection, and none that is gone
	listeners []*websocket.Conn
}

// loopGreeting tells a client that it is on the list.
const loopGreeting = `{"type":"snapshot","data":{}}`

// loopPatience bounds a write, so that somebody who does not read holds the others up but not for good.
const loopPatience = 10 * time.Second

// app serves the loop on /ws.
func (l *loop) app() *fiber.App {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Get("/ws", fiberws.New(l.attend, fiberws.Config{WriteBufferPool: new(sync.Pool)}))
	return app
}

// attend is one connection's life.
func (l *loop) attend(c *fiberws.Conn) {
	if err := l.enter(c.Conn); err == nil {
		for err == nil { // Pings are answered by reading.
			_, _, err = c.NextReader()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := slices.Index(l.listeners, c.Conn); at >= 0 {
		l.listeners = slices.Delete(l.listeners, at, at+1)
	}
}

// enter greets a connection and puts it on the list.
func (l *loop) enter(c *websocket.Conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := c.WriteMessage(websocket.TextMessage, []byte(loopGreeting)); err != nil {
		return err
	}
	l.listeners = append(l.listeners, c)
	return nil
}

// publish sends an update to everybody. Who cannot be written to finds out by reading.
func (l *loop) publish(stamp []byte) error {
	message, err := websocket.NewPreparedMessage(websocket.TextMessage, updateOf(stamp))
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	until := time.Now().Add(loopPatience)
	for _, c := range l.listeners {
		_ = c.SetWriteDeadline(until) // Stores it only.
		_ = c.WritePreparedMessage(message)
	}
	return nil
}

// end lets every connection's reading fail.
func (l *loop) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.listeners {
		_ = c.SetReadDeadline(time.Now()) // Fails only where there is nothing to end.
	}
}

// serveLoop is the bare station until the context ends or the input does.
func serveLoop(ctx context.Context, in io.Reader, out io.Writer) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	l := new(loop)
	app := l.app()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	served := make(chan error, 1)
	go func() {
		err := app.Listener(listener)
		cancel(err)
		served <- err
	}()
	err = drive(ctx, in, out, listener.Addr().String(), l.publish)
	l.end()
	down := app.ShutdownWithTimeout(bareDrain)
	if errors.Is(down, context.DeadlineExceeded) {
		down = nil // A connection that was left open by somebody who is gone.
	}
	return errors.Join(err, down, <-served)
}
