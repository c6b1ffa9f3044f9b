package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"time"
)

// host is a host with its islands on an empty data directory.
type host struct {
	server
	token string
	// took is how long it was from the start of the process to the first answer that it is ready.
	took time.Duration
}

// startHost starts a host and returns when it is ready.
func (b *bench) startHost(ctx context.Context, m *market, cpus processors) (*host, error) {
	path, err := b.built("islands")
	if err != nil {
		return nil, err
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	composition, err := b.quiet()
	if err != nil {
		return nil, err
	}
	token, data := rand.Text(), b.place("")
	env := environment()
	for name, value := range m.env {
		env = append(env, name+"="+value)
	}
	// The key gives each host a budget of its own with the simulated upstream.
	env = append(env, "ISLANDS_LISTEN="+address, "ISLANDS_DATA_DIR="+data, "ISLANDS_ADMIN_TOKEN="+token, "COINGECKO_API_KEY=bench-"+token)
	c, err := program{path: path, args: []string{"run", "--config", composition}, env: env, cpus: cpus, log: b.place(".log")}.start()
	if err != nil {
		return nil, err
	}
	h := &host{server: server{c, address}, token: token}
	if err := h.await(ctx, "/health/ready"); err != nil {
		return nil, errors.Join(err, h.end(grace))
	}
	h.took = time.Since(h.began)
	return h, nil
}

// feedBlock is the live feed in a composition that is written as gofmt would.
var feedBlock = regexp.MustCompile(`(?s)\nbroadcast \{.*?\n\}\n`)

// quiet writes the composition down without its live feed, whose calls would be counted among those that a request costs,
// and returns its path.
func (b *bench) quiet() (string, error) {
	text, err := os.ReadFile(b.opts.config)
	if err != nil {
		return "", fmt.Errorf("--config: %w", err)
	}
	path := b.place(".hcl")
	return path, os.WriteFile(path, feedBlock.ReplaceAll(text, []byte("\n")), 0o600)
}

// island is an island as the host's operator sees it.
type island struct {
	Name  string `json:"name"`
	State string `json:"state"`
	PID   int    `json:"pid"`
}

// islands returns the islands that run.
func (h *host) islands(ctx context.Context) ([]island, error) {
	var status struct {
		Islands []island `json:"islands"`
	}
	if err := h.control(ctx, http.MethodGet, "/admin/status", h.token, &status); err != nil {
		return nil, err
	}
	running := slices.DeleteFunc(status.Islands, func(i island) bool { return i.PID == 0 })
	if len(running) == 0 {
		return nil, errors.New("the host says that no island runs")
	}
	return running, nil
}

// island returns one that runs.
func (h *host) island(ctx context.Context, name string) (island, error) {
	all, err := h.islands(ctx)
	if err != nil {
		return island{}, err
	}
	at := slices.IndexFunc(all, func(i island) bool { return i.Name == name })
	if at < 0 {
		return island{}, fmt.Errorf("no island %q runs", name)
	}
	return all[at], nil
}

// operation is a line of /metrics/performance. Durations are in milliseconds.
type operation struct {
	Operation string   `json:"operation"`
	Island    string   `json:"island"`
	Count     uint64   `json:"count"`
	Errors    uint64   `json:"errors"`
	InFlight  int64    `json:"in_flight"`
	P50       *float64 `json:"p50_ms"`
	P99       *float64 `json:"p99_ms"`
}

// own is the island under whose name the host counts what it does itself.
const own = "host"

// polled tells whether the host makes such calls by the clock, whatever is asked of it.
func (o operation) polled() bool { return o.Operation == "health" || o.Operation == "metrics" }

// operations returns what the host has counted since it started.
func (h *host) operations(ctx context.Context) ([]operation, error) {
	var performance struct {
		Operations []operation `json:"operations"`
	}
	if err := h.control(ctx, http.MethodGet, "/metrics/performance", "", &performance); err != nil {
		return nil, err
	}
	if len(performance.Operations) == 0 {
		return nil, errors.New("/metrics/performance counts nothing")
	}
	return performance.Operations, nil
}

// gRPCCalls returns how many calls to islands were counted, those that are made by the clock left out.
func gRPCCalls(operations []operation) uint64 {
	var calls uint64
	for _, o := range operations {
		if o.Island != own && !o.polled() {
			calls += o.Count
		}
	}
	return calls
}

// calm waits until the host makes no calls by itself, such as those of its warm-up, and returns how many it has made.
func (h *host) calm(ctx context.Context) (uint64, error) {
	const stillness, every = 500 * time.Millisecond, 50 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var last uint64
	since := time.Now()
	for {
		operations, err := h.operations(ctx)
		if err != nil {
			return 0, err
		}
		if calls := gRPCCalls(operations); calls != last {
			last, since = calls, time.Now()
		}
		if time.Since(since) >= stillness {
			return last, nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("the host does not come to rest: %w", ctx.Err())
		case <-time.After(every):
		}
	}
}

// awaitWarm asks for a report until it comes from the host's own memory.
func (h *host) awaitWarm(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := connect(ctx, h.address, time.Now().Add(patience))
	if err != nil {
		return err
	}
	defer func() { _ = c.close() }() // Nothing is lost with it.
	for {
		a, err := c.do(request(h.address, path))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if a.status == http.StatusOK && a.header("X-Cache") == "near" {
			return nil
		}
		said := fmt.Sprintf("status %d, X-Cache %q", a.status, a.header("X-Cache"))
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not get warm: %s; the host said: %s", path, said, h.said())
		case <-time.After(10 * time.Millisecond):
		}
	}
}
