package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"charm.land/lipgloss/v2"
	"golang.org/x/term"
)

const usage = `Usage: watch [--url ws://127.0.0.1:3000/ws] [--plain | --json] [symbols…]

Shows the live feed of a host: every symbol, or those that are named. On a terminal a table is redrawn in place, in a pipe
there is a line per update. A quote that is marked as stale, or older than two minutes, has a ~ behind its age. Ctrl-C ends it.

`

// mostSymbols bounds what is asked for on the way in: a few requests, which a feed takes from a client within a second.
const mostSymbols = 100

func main() {
	if err := start(); err != nil {
		fmt.Fprintln(os.Stderr, "watch:", err)
		os.Exit(1)
	}
}

// start watches until a signal or a failure ends it.
func start() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// A second Ctrl-C does not wait for anybody.
	defer context.AfterFunc(ctx, stop)()
	return run(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// run reads the arguments and watches until the context ends. Out is drawn upon when it is a terminal that can be.
func run(ctx context.Context, args []string, out, errs io.Writer) error {
	o := options{out: out, errs: errs}
	flags := flag.NewFlagSet("watch", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // What is wrong is said once, by whoever called.
	flags.StringVar(&o.url, "url", "ws://127.0.0.1:3000/ws", "the `address` of the feed")
	flags.BoolVar(&o.lines, "plain", false, "print a line per update, on a terminal too")
	flags.BoolVar(&o.raw, "json", false, "print the messages as they come, a line each")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, usage)
		flags.SetOutput(out)
		flags.PrintDefaults()
		return nil
	case err != nil:
		return fmt.Errorf("%w; see --help", err)
	}
	if o.lines && o.raw {
		return errors.New("--plain and --json exclude each other")
	}
	if err := checkURL(o.url); err != nil {
		return err
	}
	var err error
	if o.channels, err = channels(flags.Args()); err != nil {
		return err
	}

	terminal, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) || os.Getenv("TERM") == "dumb" {
		o.lines = !o.raw
	}
	if !o.lines && !o.raw {
		lipgloss.EnableLegacyWindowsANSI(terminal)
		o.out = lipgloss.Writer // Standard output, with the colours that it can show.
		o.size = func() (int, int) { return size(terminal) }
		o.palette = paint(os.Getenv("NO_COLOR") == "")
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment}
	defer transport.CloseIdleConnections()
	o.http = &http.Client{Transport: transport}
	if err := watch(ctx, o); err != nil {
		return fmt.Errorf("%s: %w", o.url, err)
	}
	return nil
}

// size returns the size of the window, and the usual one of a terminal that does not know its own.
func size(terminal *os.File) (width, height int) {
	width, height, err := term.GetSize(int(terminal.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return 80, 24
	}
	return width, height
}

func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || !slices.Contains([]string{"ws", "wss"}, u.Scheme) {
		return fmt.Errorf("--url wants an address such as ws://127.0.0.1:3000/ws, not %q", text)
	}
	return nil
}

var symbolForm = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// channels returns what is subscribed for the symbols, every one when none is named, and what concerns all of them.
func channels(symbols []string) ([]string, error) {
	if len(symbols) > mostSymbols {
		return nil, fmt.Errorf("%d symbols, at most %d can be named; without any, all are shown", len(symbols), mostSymbols)
	}
	var names []string
	for _, symbol := range symbols {
		symbol = strings.ToLower(symbol)
		if !symbolForm.MatchString(symbol) || strings.HasPrefix(symbol, "-") {
			return nil, fmt.Errorf("%q is no symbol: letters, digits and dashes, at most 32, behind the flags", symbol)
		}
		names = append(names, "ticker:"+symbol)
	}
	if len(names) == 0 {
		names = []string{"ticker:*"}
	}
	slices.Sort(names)
	return append(slices.Compact(names), "global", "islands"), nil
}
