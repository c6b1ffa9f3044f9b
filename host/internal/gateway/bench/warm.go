package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Aims of the warm report.
const (
	aimRatio     = 1.15
	stretchRatio = 1.05
)

// warm measures what a report costs that the host has in its own memory, beside the bare server.
func (b *bench) warm(ctx context.Context) (tables []table, err error) {
	served, loading := b.halves()
	market, err := b.startMarket(ctx, b.cpus)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, market.end(grace)) }()
	host, err := b.startHost(ctx, market, served)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, host.end(grace)) }()
	path := "/api/crypto-report/" + b.opts.symbol
	if err := host.awaitWarm(ctx, path); err != nil {
		return nil, err
	}
	body, bare, err := b.mirror(ctx, host, path, served)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bare.end(grace)) }()

	result, err := b.duel(ctx, host, bare, path, body, loading)
	if err != nil {
		return nil, err
	}
	rows := result.rows()
	inProcess, err := b.withoutSockets(ctx)
	title := fmt.Sprintf("A warm report: %d bytes, %d connections, %d pairs of turns of %v; the ceiling is bare fiber",
		len(body), b.opts.connections, b.opts.pairs, b.opts.phase)
	return []table{{Title: title, Rows: append(rows, inProcess...)}}, err
}

// mirror starts a bare server that answers what the host does, and makes sure of it.
func (b *bench) mirror(ctx context.Context, h *host, path string, cpus processors) (body []byte, _ *server, err error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, nil, err
	}
	original, err := h.sample(ctx, path)
	if err != nil {
		return nil, nil, err
	}
	bare, err := b.startBare(ctx, ceilingOf(address, original), cpus)
	if err != nil {
		return nil, nil, err
	}
	copied, err := bare.sample(ctx, path)
	if err == nil {
		err = sameAnswer(original, copied)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("bare server: %w", err), bare.end(grace))
	}
	return original.body, bare, nil
}

// sample returns one answer, which holds.
func (s server) sample(ctx context.Context, path string) (answer, error) {
	c, err := connect(ctx, s.address, time.Now().Add(patience))
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = c.close() }() // Nothing is lost with it.
	a, err := c.do(request(s.address, path))
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("%s: status %d: %.200s", path, a.status, a.body)
	}
	return a, err // The client asks nothing else, so the bytes stay as they are.
}

// sameAnswer compares bodies and the names of header fields: values such as the age go on.
func sameAnswer(want, got answer) error {
	names := func(a answer) []string {
		var out []string
		for _, f := range fields(a.head) {
			out = append(out, strings.ToLower(f.Name))
		}
		slices.Sort(out)
		return out
	}
	switch {
	case !bytes.Equal(want.body, got.body):
		return fmt.Errorf("the body has %d other bytes, want %d", len(got.body), len(want.body))
	case !slices.Equal(names(want), names(got)):
		return fmt.Errorf("the header has the fields %q, want %q", names(got), names(want))
	}
	return nil
}

// duel is what came out of host and bare server taking turns.
type duel struct {
	host, bare side
	gRPC       uint64 // calls meanwhile
	islands    time.Duration
}

// side is one server's part in a duel.
type side struct {
	cpu, rate []float64 // µs per request and requests per second, by turn
	answers   int
}

// duel lets host and bare server take turns.
func (b *bench) duel(ctx context.Context, h *host, bare *server, path string, body []byte, cpus processors) (_ duel, err error) {
	var d duel
	const rehearsal = 300 * time.Millisecond
	hostLoad, err := newLoad(h.address, path, body, b.opts.connections)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, hostLoad.close()) }()
	bareLoad, err := newLoad(bare.address, path, body, b.opts.connections)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, bareLoad.close()) }()

	if err := cpus.bindProgram(); err != nil {
		return d, err
	}
	threads := runtime.GOMAXPROCS(max(1, len(cpus)))
	defer func() {
		runtime.GOMAXPROCS(threads)
		err = errors.Join(err, b.cpus.bindProgram())
	}()
	calls, err := h.calm(ctx)
	if err != nil {
		return d, err
	}
	running, err := h.islands(ctx)
	if err != nil {
		return d, err
	}
	islands, err := timeOf(running)
	if err != nil {
		return d, err
	}
	for _, l := range []*load{hostLoad, bareLoad} {
		if _, _, err := l.run(ctx, rehearsal); err != nil {
			return d, err
		}
	}
	for i := range b.opts.pairs {
		turns := []func() error{
			func() error { return d.host.turn(ctx, hostLoad, h.handle.Pid, b.opts.phase) },
			func() error { return d.bare.turn(ctx, bareLoad, bare.handle.Pid, b.opts.phase) },
		}
		if i%2 == 1 { // Whoever is second does not always gain, or lose, by it.
			slices.Reverse(turns)
		}
		for _, turn := range turns {
			if err := turn(); err != nil {
				return d, err
			}
		}
	}
	after, err := timeOf(running)
	if err != nil {
		return d, err
	}
	d.islands = after - islands
	operations, err := h.operations(ctx)
	d.gRPC = gRPCCalls(operations) - calls
	return d, err
}

// turn loads the server once.
func (s *side) turn(ctx context.Context, l *load, pid int, lasts time.Duration) error {
	before, err := processorTime(pid)
	if err != nil {
		return err
	}
	answers, took, err := l.run(ctx, lasts)
	if err != nil {
		return fmt.Errorf("load on process %d: %w", pid, err)
	}
	after, err := processorTime(pid)
	if err != nil {
		return err
	}
	s.cpu = append(s.cpu, microseconds(after-before)/float64(answers))
	s.rate = append(s.rate, float64(answers)/took.Seconds())
	s.answers += answers
	return nil
}

// timeOf adds up the processor time of islands. One that ended meanwhile is an error.
func timeOf(islands []island) (time.Duration, error) {
	var total time.Duration
	for _, i := range islands {
		spent, err := processorTime(i.PID)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", i.Name, err)
		}
		total += spent
	}
	return total, nil
}

// rows shows a duel.
func (d duel) rows() []row {
	ratio := ratios(d.host.cpu, d.bare.cpu)
	middle := spreadOf(ratio).Median
	return []row{
		row{Name: "processor time of the server per request", Unit: "µs", Value: spreadOf(d.host.cpu)}.
			against(spreadOf(d.bare.cpu), ratio).
			aim(fmt.Sprintf("≤ %.2f (stretch %.2f)", aimRatio, stretchRatio), middle <= aimRatio),
		{
			Name: "the same in the quietest quarter of the turns", Unit: "µs", Value: quiet(d.host.cpu),
			Ceiling: new(quiet(d.bare.cpu)), Ratio: new(spreadOf(ratios([]float64{quiet(d.host.cpu).Median}, []float64{quiet(d.bare.cpu).Median}))),
		},
		row{Name: "requests per second", Value: spreadOf(d.host.rate)}.
			against(spreadOf(d.bare.rate), ratios(d.host.rate, d.bare.rate)),
		single(fmt.Sprintf("gRPC calls during %d requests", d.host.answers), "", float64(d.gRPC)).aim("0", d.gRPC == 0),
		single("processor time of all islands per request", "µs", microseconds(d.islands)/float64(d.host.answers)),
	}
}

// quiet sums up the quarter of the turns that was disturbed least: what else the machine does only ever adds time.
func quiet(cpu []float64) spread {
	return spreadOf(slices.Sorted(slices.Values(cpu))[:(len(cpu)+3)/4])
}

// withoutSockets runs the gateway's own benchmarks of the handler.
func (b *bench) withoutSockets(ctx context.Context) ([]row, error) {
	const hostBenchmark, bareBenchmark = "BenchmarkWarmReport", "BenchmarkBareFiber"
	log := b.place(".log")
	path, err := exec.LookPath(b.opts.goTool)
	if err != nil {
		return nil, fmt.Errorf("--go: %w", err)
	}
	c, err := program{
		path: path, env: os.Environ(), cpus: b.cpus, log: log,
		args: []string{
			"test", "-run", "^$", "-bench", "^(" + hostBenchmark + "|" + bareBenchmark + ")$", "-benchmem", "-count", "3",
			"-benchtime", "300ms", b.opts.benchPackage,
		},
	}.start()
	if err != nil {
		return nil, err
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), c.kill())
	}
	if c.result != nil {
		return nil, c.failure()
	}
	text, err := os.ReadFile(log)
	if err != nil {
		return nil, err
	}
	all := parseBenchmarks(string(text))
	ours, bare := all[hostBenchmark], all[bareBenchmark]
	if len(ours.time) == 0 || len(bare.time) == 0 {
		return nil, fmt.Errorf("%s has no %s and %s; it printed: %s", b.opts.benchPackage, hostBenchmark, bareBenchmark, c.said())
	}
	return []row{
		row{Name: "handler without sockets", Unit: "ns", Value: spreadOf(ours.time)}.against(spreadOf(bare.time), ratios(ours.time, bare.time)),
		row{Name: "allocations per request in it", Value: spreadOf(ours.allocations)}.against(spreadOf(bare.allocations), nil),
		row{Name: "allocated per request in it", Unit: "B", Value: spreadOf(ours.bytes)}.against(spreadOf(bare.bytes), nil),
	}, nil
}
