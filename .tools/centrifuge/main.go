// Centrifuge is a server of updates on the centrifuge library, for make bench to measure beside the project's own. It is a
// module of its own so that the project does not depend on the library.
//
// It is driven over its standard input and reports on its standard output, values of JSON, as package
// host/internal/gateway/bench says: order, report and stamp here are what they are there.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/centrifugal/centrifuge"
	"golang.org/x/sys/unix"
)

func main() {
	writeDelay := flag.Duration("write-delay", 0, "how long the library gathers updates for one write, 0 for its default")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := serve(ctx, *writeDelay, os.Stdin, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "centrifuge:", err)
		os.Exit(1)
	}
}

// channel is where the updates are published.
const channel = "updates"

// drain bounds the end of the server.
const drain = 2 * time.Second

// serve publishes as it is told until the context ends or the input does.
func serve(ctx context.Context, writeDelay time.Duration, in io.Reader, out io.Writer) (err error) {
	node, err := newNode(writeDelay)
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	routes := http.NewServeMux()
	routes.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{}))
	server := &http.Server{Handler: routes, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		down, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		err = errors.Join(err, server.Shutdown(down), late(node.Shutdown(down)))
		if s := <-served; !errors.Is(s, http.ErrServerClosed) {
			err = errors.Join(err, s)
		}
	}()
	p := publisher{node: node}
	return p.drive(ctx, in, json.NewEncoder(out), listener.Addr().String())
}

// late forgives that clients are still connected.
func late(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// newNode starts the library with its defaults, but for the delay, and lets everybody in.
func newNode(writeDelay time.Duration) (*centrifuge.Node, error) {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return nil, err
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{}, WriteDelay: writeDelay}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnSubscribe(func(e centrifuge.SubscribeEvent, reply centrifuge.SubscribeCallback) {
			if e.Channel != channel {
				reply(centrifuge.SubscribeReply{}, centrifuge.ErrorUnknownChannel)
				return
			}
			reply(centrifuge.SubscribeReply{}, nil)
		})
	})
	if err := node.Run(); err != nil {
		return nil, err
	}
	return node, nil
}

type order struct {
	Rate   int           `json:"rate"`
	Lasts  time.Duration `json:"lasts"`
	Settle bool          `json:"settle"`
}

type report struct {
	Address    string `json:"address"`
	Next       uint64 `json:"next"`
	Goroutines int    `json:"goroutines"`
}

// publisher is the source of updates.
type publisher struct {
	node *centrifuge.Node
	next uint64
}

// drive carries out orders and reports.
func (p *publisher) drive(ctx context.Context, in io.Reader, reports *json.Encoder, address string) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	orders := make(chan order)
	go func() { // Ends with its input, at the latest with the process.
		input := json.NewDecoder(in)
		for {
			var o order
			if err := input.Decode(&o); err != nil {
				end(err)
				return
			}
			select {
			case orders <- o:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		if err := reports.Encode(report{Address: address, Next: p.next, Goroutines: runtime.NumGoroutine()}); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		select {
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, io.EOF) && !errors.Is(cause, context.Canceled) {
				return fmt.Errorf("read an order: %w", cause)
			}
			return nil
		case o := <-orders:
			if err := p.obey(ctx, o); err != nil {
				return err
			}
		}
	}
}

// obey carries an order out.
func (p *publisher) obey(ctx context.Context, o order) error {
	if o.Lasts > 0 {
		if err := p.turn(ctx, o.Rate, o.Lasts); err != nil {
			return err
		}
	}
	if o.Settle {
		const pools = 2 // What lies in a sync.Pool outlives one collection.
		for range pools {
			debug.FreeOSMemory()
		}
	}
	return nil
}

// turn publishes for a time.
func (p *publisher) turn(ctx context.Context, rate int, lasts time.Duration) error {
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if rate > 0 {
			interval := time.Second / time.Duration(rate)
			timer.Reset(interval - time.Since(began)%interval)
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
		}
		last := time.Since(began) >= lasts || ctx.Err() != nil
		if err := p.update(last); err != nil || last {
			return err
		}
	}
}

// update publishes one.
func (p *publisher) update(last bool) error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("the monotonic clock: %w", err)
	}
	end := ';'
	if last {
		end = '.'
	}
	_, err := p.node.Publish(channel, updateOf(fmt.Sprintf("@%020d/%010d%c", now.Nano(), p.next, end)))
	if err != nil {
		return fmt.Errorf("publish update %d: %w", p.next, err)
	}
	p.next++
	return nil
}

// updateSize is how long an update is, in bytes.
const updateSize = 1024

// updateOf returns an update with a stamp.
func updateOf(stamp string) []byte {
	head, tail := `{"type":"market_update","data":{"btc":{"id":"`+stamp+`","note":"`, `"}}}`
	return []byte(head + strings.Repeat("x", updateSize-len(head)-len(tail)) + tail)
}
