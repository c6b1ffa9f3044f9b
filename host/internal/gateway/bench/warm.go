package main

import (
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
	served, loading := b.cpus, b.cpus
	if len(b.cpus) > 1 {
		served, loading = b.cpus[:1], b.cpus[1:2]
	}
	market, err := b.startMarket(ctx)
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
	case string(want.body) != string(got.body):
		return fmt.Errorf("the body has %d other bytes, want %d", len(got.body), len(want.body))
	case !slices.Equal(names(want), names(got)):
		return fmt.Errorf("the header has the fields %q, want %q", names(got), names(want))
	}
	return nil
}

// duel is what came out of host and bare server taking turns.
type duel struct {
	hostCPU, bareCPU   []float64 // µs per request, by turn
	hostRate, bareRate []float64 // requests per second, by turn
	requests           int       // to the host
	gRPC               uint64    // calls meanwhile
	islands            time.Duration
}

// duel lets host and bare server take turns.
func (b *bench) duel(ctx context.Context, h *host, bare *server, path string, body []byte, cpus processors) (_ duel, err error) {
	var d duel
	const rehearsal = 300 * time.Millisecond
	lasts := 2*time.Duration(b.opts.pairs)*b.opts.phase + patience
	hostLoad, err := newLoad(ctx, h.address, path, body, b.opts.connections, lasts)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, hostLoad.close()) }()
	bareLoad, err := newLoad(ctx, bare.address, path, body, b.opts.connections, lasts)
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
	for range b.opts.pairs {
		n, cpu, rate, err := turn(ctx, hostLoad, h.handle.Pid, b.opts.phase)
		if err != nil {
			return d, fmt.Errorf("host: %w", err)
		}
		d.requests += n
		d.hostCPU, d.hostRate = append(d.hostCPU, cpu), append(d.hostRate, rate)
		if _, cpu, rate, err = turn(ctx, bareLoad, bare.handle.Pid, b.opts.phase); err != nil {
			return d, fmt.Errorf("bare server: %w", err)
		}
		d.bareCPU, d.bareRate = append(d.bareCPU, cpu), append(d.bareRate, rate)
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

// turn loads one server once and returns its processor time per request, in µs, and its answers per second.
func turn(ctx context.Context, l *load, pid int, lasts time.Duration) (answers int, cpu, rate float64, err error) {
	before, err := processorTime(pid)
	if err != nil {
		return 0, 0, 0, err
	}
	answers, took, err := l.run(ctx, lasts)
	if err != nil {
		return 0, 0, 0, err
	}
	after, err := processorTime(pid)
	return answers, microseconds(after-before) / float64(answers), float64(answers) / took.Seconds(), err
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
	ratio := ratios(d.hostCPU, d.bareCPU)
	middle := spreadOf(ratio).Median
	return []row{
		row{Name: "processor time of the server per request", Unit: "µs", Value: spreadOf(d.hostCPU)}.
			against(spreadOf(d.bareCPU), ratio).
			aim(fmt.Sprintf("≤ %.2f (stretch %.2f)", aimRatio, stretchRatio), middle <= aimRatio),
		row{Name: "requests per second", Value: spreadOf(d.hostRate)}.against(spreadOf(d.bareRate), ratios(d.hostRate, d.bareRate)),
		single(fmt.Sprintf("gRPC calls during %d requests", d.requests), "", float64(d.gRPC)).aim("0", d.gRPC == 0),
		single("processor time of all islands per request", "µs", microseconds(d.islands)/float64(d.requests)),
	}
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
