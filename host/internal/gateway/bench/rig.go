package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// bench is one run of the program.
type bench struct {
	opts    options
	dir     string // for data and logs; gone at the end
	program string // this one
	cpus    processors
	logged  io.Writer
	count   int // of what was started
}

// How long to wait for what should be there soon; a loaded machine takes its time.
const (
	patience  = 60 * time.Second
	grace     = 20 * time.Second // beyond the host's own shutdown_timeout
	pollEvery = 2 * time.Millisecond
)

// halves returns a processor for whoever serves and another for the load, where there are two.
func (b *bench) halves() (served, loading processors) {
	if len(b.cpus) > 1 {
		return b.cpus[:1], b.cpus[1:2]
	}
	return b.cpus, b.cpus
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.logged, format+"\n", args...) }

// place returns a new path in the run's folder.
func (b *bench) place(name string) string {
	b.count++
	return filepath.Join(b.dir, strconv.Itoa(b.count)+name)
}

// environment is this program's without what would lead a host to real data or to other settings than those that ship.
func environment() []string {
	var out []string
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		foreign := name == "REDIS_URL" || name == "DATABASE_URL"
		for _, prefix := range []string{"ISLANDS_", "LOG_", "COINGECKO_", "BINANCE_", "FEAR_GREED_"} {
			foreign = foreign || strings.HasPrefix(name, prefix)
		}
		if !foreign {
			out = append(out, variable)
		}
	}
	return out
}

// freeAddress returns a loopback address that nobody listens on at this moment.
func freeAddress(ctx context.Context) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("choose a port: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}

// built returns the path of a program that make build makes.
func (b *bench) built(name string) (string, error) {
	path := filepath.Join(b.opts.bin, name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s is not built, make build does it: %w", name, err)
	}
	return path, nil
}

// server is a child that answers over HTTP.
type server struct {
	*child
	address string
}

// await asks a path until it answers 200, and gives up when the child ends.
func (s server) await(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		status, err := s.try(ctx, path)
		if err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-s.done:
			return s.failure()
		case <-ctx.Done():
			return fmt.Errorf("%s did not answer %s: status %d, %w; it said: %s", s.name, path, status, errors.Join(err, ctx.Err()), s.said())
		case <-time.After(pollEvery):
		}
	}
}

// try asks once over a connection of its own.
func (s server) try(ctx context.Context, path string) (status int, err error) {
	c, err := connect(ctx, s.address, time.Now().Add(patience))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	a, err := c.do(request(s.address, path))
	return a.status, err
}

// control sends a request that is not measured and reads JSON into value, unless that is nil.
func (s server) control(ctx context.Context, method, path, token string, value any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.address+path, http.NoBody)
	if err != nil {
		return err
	}
	req.Close = true // No idle connection is to outlive the question.
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %.300s", method, path, response.Status, body)
	}
	if value == nil {
		return nil
	}
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(value); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

// market is the simulated market.
type market struct {
	server
	env map[string]string // what points a host at it
}

// startMarket starts marketsim.
func (b *bench) startMarket(ctx context.Context, cpus processors) (*market, error) {
	path, err := b.built("marketsim")
	if err != nil {
		return nil, err
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	c, err := program{
		path: path, args: []string{"--listen", address}, env: environment(), cpus: cpus, log: b.place(".log"),
	}.start()
	if err != nil {
		return nil, err
	}
	m := &market{server: server{c, address}}
	if err := m.await(ctx, "/_sim/requests"); err != nil {
		return nil, errors.Join(err, m.end(grace))
	}
	if err := m.control(ctx, http.MethodGet, "/_sim/env", "", &m.env); err != nil {
		return nil, errors.Join(err, m.end(grace))
	}
	return m, nil
}

// calls returns how often each upstream route was called since forget.
func (m *market) calls(ctx context.Context) (map[string]int, error) {
	var calls map[string]int
	err := m.control(ctx, http.MethodGet, "/_sim/requests", "", &calls)
	return calls, err
}

// forget starts the counts of calls anew.
func (m *market) forget(ctx context.Context) error {
	return m.control(ctx, http.MethodDelete, "/_sim/requests", "", nil)
}

// startBare starts the bare server.
func (b *bench) startBare(ctx context.Context, c ceiling, cpus processors) (*server, error) {
	input, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	started, err := program{
		path: b.program, args: []string{bareArgument}, env: environment(), cpus: cpus, log: b.place(".log"), input: input,
	}.start()
	if err != nil {
		return nil, err
	}
	s := &server{started, c.Address}
	if err := s.await(ctx, "/health/ready"); err != nil {
		return nil, errors.Join(err, s.end(grace))
	}
	return s, nil
}
