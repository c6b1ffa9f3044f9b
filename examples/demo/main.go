package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	if err := start(); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// start reads the flags and runs the demo until a signal or a failure ends it.
func start() error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the programs to start: %w", err)
	}
	d := demo{
		environ: os.Environ(),
		out:     os.Stdout,
		errors:  os.Stderr,
		grace:   20 * time.Second, // beyond the host's own shutdown_timeout.
	}
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.StringVar(&d.bin, "bin", filepath.Dir(program), "the folder with islands and marketsim")
	flags.StringVar(&d.config, "config", "islands.hcl", "the composition to run")
	if err := flags.Parse(os.Args[1:]); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is no flag; see --help", flags.Arg(0))
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second Ctrl-C does not wait for anybody: the demo dies, and its children with it.
	defer context.AfterFunc(ctx, stop)()
	return d.run(ctx)
}
