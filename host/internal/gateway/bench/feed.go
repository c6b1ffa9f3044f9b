package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/service-islands/islands/host/internal/gateway"
	"github.com/service-islands/islands/host/internal/gateway/hub"
)

// feedArgument makes the program the gateway with its hub, and a feed of updates.
const feedArgument = "feed"

// ahead is how many updates may wait for a flush before the publisher of a turn without pauses waits, too. A flush then
// merges as many.
const ahead = 32

// serveFeed serves the host's own gateway, with nothing behind it but a feed of updates of one symbol.
func serveFeed(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	const everybody = 1_000_000 // The clients all come from one address.
	h := hub.New(hub.Options{Symbols: []string{"btc"}, MaxConnections: everybody, MaxPerAddress: everybody})
	g, err := gateway.New(gateway.Options{ //nolint:contextcheck // Requests bring their own.
		Listen: "127.0.0.1:0", Feed: h,
		// Nobody asks for anything but the feed.
		Market: struct{ gateway.Market }{}, Insight: struct{ gateway.Insight }{},
	})
	if err != nil {
		return fmt.Errorf("make the gateway: %w", err)
	}
	if err := g.Start(); err != nil {
		return err
	}
	defer func() {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		err = errors.Join(err, g.Shutdown(limited))
	}()
	var n uint64
	publish := func(stamp []byte) error {
		n++
		h.Publish(hub.Tick{
			Epoch: "bench", N: n, At: time.Now(), QuotesSeq: n, Quotes: []hub.Item{{Key: "btc", Seq: n, JSON: quoteOf(stamp)}},
		})
		for h.Behind() > ahead && ctx.Err() == nil {
			time.Sleep(100 * time.Microsecond)
		}
		return nil
	}
	return drive(ctx, in, out, g.Addr(), publish)
}

// envelope is about what a message holds besides its quote, in bytes.
const envelope = 160

// quoteOf is a quote with a stamp, of such a size that its message has that of an update.
func quoteOf(stamp []byte) []byte {
	const head, between, tail = `{"id":"`, `","note":"`, `"}`
	quote := append(make([]byte, 0, updateSize), head...)
	quote = append(append(quote, stamp...), between...)
	quote = append(quote, strings.Repeat("x", updateSize-envelope-len(quote)-len(tail))...)
	return append(quote, tail...)
}
