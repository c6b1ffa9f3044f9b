// Command marketsim is CoinGecko, Binance's spot REST API and streams, and the Fear & Greed index in one local program, so
// that the host can be run, tested and broken without a network. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/service-islands/islands/examples/marketsim/sim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// How long connections may take, and how long answers on their way have when the program is told to end.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	drainTimeout  = 3 * time.Second
)

// run serves until the context ends and returns the exit status: 0, 1 when it could not serve, 2 for wrong usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("marketsim", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", "127.0.0.1:8900", "`HOST:PORT` to listen on; port 0 takes a free one")
	seed := flags.Uint64("seed", 1, "which market to simulate")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		complain(stderr, fmt.Errorf("unexpected argument %q", flags.Arg(0)))
		return 2
	}
	if err := serve(ctx, *listen, *seed, stdout); err != nil {
		complain(stderr, err)
		return 1
	}
	return 0
}

func complain(stderr io.Writer, err error) {
	// When even this cannot be written, the exit status is all that is left to say.
	_, _ = fmt.Fprintf(stderr, "marketsim: %v\n", err)
}

func serve(ctx context.Context, listen string, seed uint64, stdout io.Writer) error {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	simulator := sim.New(sim.Options{Seed: seed})
	defer simulator.Close()
	server := &http.Server{Handler: simulator, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	if _, err := fmt.Fprintf(stdout, "marketsim listening on http://%s\n", listener.Addr()); err != nil {
		return errors.Join(fmt.Errorf("say where it listens: %w", err), server.Close(), gone(<-served))
	}
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	// First the silent calls, which would hold up the others' orderly end, and the streams, which a server forgets.
	simulator.Close()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		return errors.Join(server.Close(), gone(<-served))
	}
	return gone(<-served)
}

// gone drops the error that tells of an orderly end.
func gone(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
