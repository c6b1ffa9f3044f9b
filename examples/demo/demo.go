package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	defaultListen = "127.0.0.1:3000"
	startTimeout  = 60 * time.Second // for each child to answer; a loaded machine takes its time.
	askTimeout    = 2 * time.Second
	askInterval   = 20 * time.Millisecond
	maxAnswer     = 64 << 10 // bytes
)

// withheld are the variables that the host must not see: they lead to real data, or demand what a demo has not got.
var withheld = []string{"REDIS_URL", "DATABASE_URL", "COINGECKO_API_KEY", "ISLANDS_ENV"}

// routes are what to try, in the order in which a newcomer would.
var routes = []string{
	"/api/crypto-report/btc",
	"/api/crypto-report/eth?format=md",
	"/api/market-data/global",
	"/api/market-data?symbols=btc,eth,sol",
	"/api/candles/btc?interval=1d&limit=30",
	"/api/stream?channels=ticker:btc",
	"/health/system",
	"/metrics/cache",
}

// demo is one run of the composition against a simulated market.
type demo struct {
	bin     string // the folder with islands and marketsim
	config  string // path of the composition
	environ []string
	out     io.Writer // what the demo says
	errors  io.Writer // what the children say
	grace   time.Duration
}

// run starts everything and returns once it has ended: without an error when ctx ended it.
func (d demo) run(ctx context.Context) (err error) {
	data, err := os.MkdirTemp("", "islands-demo-")
	if err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(data)) }()

	listen, err := d.listen(ctx)
	if err != nil {
		return unlessEnded(ctx, err)
	}
	environ, given := without(d.environ, withheld)
	for _, name := range given {
		fmt.Fprintf(d.out, "%s is not used: a simulated market does not belong into real data\n", name)
	}

	market, simulated, err := d.startMarket(ctx, environ)
	if err != nil {
		return unlessEnded(ctx, err)
	}
	defer func() { err = errors.Join(err, market.end(d.grace)) }()

	environ = append(environ, simulated...)
	environ = append(environ, "ISLANDS_LISTEN="+listen, "ISLANDS_DATA_DIR="+data)
	host, err := d.startChild("islands", environ, "run", "--config", d.config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.end(d.grace)) }()

	address := "http://" + reachable(listen)
	if _, err := ask(ctx, host, address+"/health/ready"); err != nil {
		return unlessEnded(ctx, err)
	}
	if err := d.welcome(address, data); err != nil {
		return err
	}

	select {
	case <-ctx.Done():
		fmt.Fprintln(d.out, "ending")
		return nil
	case <-host.done:
		return host.failure()
	case <-market.done:
		return market.failure()
	}
}

// listen returns the address for the host, with a free port where the environment asks for any.
func (d demo) listen(ctx context.Context) (string, error) {
	listen := defaultListen
	for _, variable := range d.environ {
		if value, found := strings.CutPrefix(variable, "ISLANDS_LISTEN="); found && value != "" {
			listen = value
		}
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("ISLANDS_LISTEN wants an address such as %q, not %q: %w", defaultListen, listen, err)
	}
	if port != "0" {
		return listen, nil
	}
	return freeAddress(ctx, host)
}

// startMarket starts marketsim and returns the variables that point a host at it.
func (d demo) startMarket(ctx context.Context, environ []string) (*child, []string, error) {
	address, err := freeAddress(ctx, "127.0.0.1")
	if err != nil {
		return nil, nil, err
	}
	market, err := d.startChild("marketsim", environ, "--listen", address)
	if err != nil {
		return nil, nil, err
	}
	variables, err := marketEnvironment(ctx, market, "http://"+address+"/_sim/env")
	if err != nil {
		return nil, nil, errors.Join(err, market.end(d.grace))
	}
	return market, variables, nil
}

// marketEnvironment asks marketsim for the variables that point a host at it.
func marketEnvironment(ctx context.Context, market *child, url string) ([]string, error) {
	answer, err := ask(ctx, market, url)
	if err != nil {
		return nil, err
	}
	var values map[string]string
	if err := json.Unmarshal(answer, &values); err != nil {
		return nil, fmt.Errorf("read the environment that marketsim gives: %w", err)
	}
	variables := make([]string, 0, len(values))
	for name, value := range values {
		variables = append(variables, name+"="+value)
	}
	return variables, nil
}

func (d demo) startChild(name string, environ []string, args ...string) (*child, error) {
	path := filepath.Join(d.bin, name)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("%s is not built, make build does it: %w", name, err)
	}
	return startChild(path, environ, d.errors, args...)
}

// welcome tells what to try.
func (d demo) welcome(address, data string) error {
	var text strings.Builder
	fmt.Fprintf(&text, "\nService Islands is ready, with a simulated market. Its data is in %s until it ends. Try:\n\n", data)
	for _, route := range routes {
		fmt.Fprintf(&text, "  curl '%s%s'\n", address, route)
	}
	text.WriteString("\nCtrl-C ends it.\n")
	if _, err := io.WriteString(d.out, text.String()); err != nil {
		return fmt.Errorf("say what to try: %w", err)
	}
	return nil
}

// ask polls the URL until it answers 200 and returns the answer. It gives up when the child that should answer ends.
func ask(ctx context.Context, from *child, url string) ([]byte, error) {
	deadline, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		answer, err := get(deadline, url)
		if err == nil {
			return answer, nil
		}
		select {
		case <-from.done:
			return nil, from.failure()
		case <-deadline.Done():
			return nil, fmt.Errorf("wait for %s: %w", from.name, err)
		case <-time.After(askInterval):
		}
	}
}

// get returns the body of a 200 answer.
func get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Close = true // One question; no idle connection is to outlive it.
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", url, response.Status)
	}
	return answer, err
}

// unlessEnded drops a failure that is only the end which ctx asked for.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// freeAddress returns the host with a port that nobody listens on at this moment.
func freeAddress(ctx context.Context, host string) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", fmt.Errorf("choose a port: %w", err)
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return net.JoinHostPort(host, port), errors.Join(err, listener.Close())
}

// reachable returns an address to connect to for one to listen on, which may stand for every interface.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if address, err := netip.ParseAddr(host); host == "" || err == nil && address.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return listen
}

// without returns the environment less the named variables, and which of these had a value.
func without(environ, names []string) (rest, given []string) {
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		switch {
		case !slices.Contains(names, name):
			rest = append(rest, variable)
		case value != "":
			given = append(given, name)
		}
	}
	return rest, given
}
