package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
)

// bareArgument makes the program the bare server. It is for the program itself.
const bareArgument = "bare"

// ceiling is what the bare server answers.
type ceiling struct {
	// Address to listen on.
	Address string `json:"address"`
	// Fields of the header, without those that fasthttp writes by itself.
	Fields []field `json:"fields"`
	// Date is whether the answer has one.
	Date bool   `json:"date"`
	Body []byte `json:"body"`
}

// automatic are the fields that fasthttp writes by itself.
var automatic = []string{"content-length", "date", "connection"}

// ceilingOf returns what makes a bare server answer as the host did.
func ceilingOf(address string, a answer) ceiling {
	c := ceiling{Address: address, Body: slices.Clone(a.body)}
	for _, f := range fields(a.head) {
		name := strings.ToLower(f.Name)
		c.Date = c.Date || name == "date"
		if !slices.Contains(automatic, name) {
			c.Fields = append(c.Fields, f)
		}
	}
	return c
}

// bareRoutes are nine routes of the host, the measured one first.
var bareRoutes = []string{
	"/api/crypto-report/:symbol", "/api/market-data/global", "/api/market-data/:symbol", "/api/market-data",
	"/api/candles/:symbol", "/api/technical-analysis/:symbol", "/api/history/:symbol", "/api/symbols", "/health/ready",
}

// newBare returns a fiber app that does nothing but write the answer on every one of its routes.
func newBare(c ceiling) *fiber.App {
	// The same write buffer as the gateway's: the ceiling is not to pay for a second system call.
	app := fiber.New(fiber.Config{DisableStartupMessage: true, DisableDefaultDate: !c.Date, WriteBufferSize: 8 << 10})
	type raw struct{ name, value []byte }
	var contentType []byte
	var header []raw
	for _, f := range c.Fields {
		if strings.EqualFold(f.Name, "Content-Type") {
			contentType = []byte(f.Value)
			continue
		}
		header = append(header, raw{[]byte(f.Name), []byte(f.Value)})
	}
	handler := func(ctx *fiber.Ctx) error {
		response := ctx.Response()
		response.Header.SetContentTypeBytes(contentType)
		for i := range header {
			response.Header.SetCanonical(header[i].name, header[i].value)
		}
		response.SetBodyRaw(c.Body)
		return nil
	}
	for _, route := range bareRoutes {
		app.Get(route, handler)
	}
	return app
}

// bareDrain bounds the end of the bare server.
const bareDrain = 2 * time.Second

// serveBare reads a ceiling as JSON and serves it until the context ends or the input does: whoever started it holds the
// other end open, so that it does not outlive them.
func serveBare(ctx context.Context, in io.Reader) error {
	input := json.NewDecoder(io.LimitReader(in, 2*maxBody))
	var c ceiling
	if err := input.Decode(&c); err != nil {
		return fmt.Errorf("read what to answer: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", c.Address)
	if err != nil {
		return err
	}
	app := newBare(c)
	served := make(chan error, 1)
	go func() { served <- app.Listener(listener) }()
	alone := make(chan struct{})
	go func() { // Ends with its input, at the latest with the process.
		defer close(alone)
		_, _ = io.Copy(io.Discard, in) // However it ends, nobody holds the other end any more.
	}()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	case <-alone:
	}
	err = app.ShutdownWithTimeout(bareDrain)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // A connection that was left open by somebody who is gone.
	}
	return err
}
