package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second Ctrl-C does not wait for anybody: the program dies, and its children with it.
	release := context.AfterFunc(ctx, stop)
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	release()
	stop()
	os.Exit(status)
}

// Exit statuses of the program.
const (
	exitMeasured   = 0 // whatever came out
	exitUnmeasured = 1 // something could not be measured
	exitUsage      = 2
)

// children are what the program can be besides, by the only argument. They are for the program itself, which speaks with
// them over their standard input and output.
func children() map[string]func(ctx context.Context, in io.Reader, out io.Writer) error {
	return map[string]func(context.Context, io.Reader, io.Writer) error{
		bareArgument: func(ctx context.Context, in io.Reader, _ io.Writer) error { return serveBare(ctx, in) },
		loopArgument: serveLoop, feedArgument: serveFeed, audienceArgument: attend, floodArgument: serveFlood,
	}
}

// options are what can be chosen on the command line.
type options struct {
	bin, config  string
	sections     []string
	json         bool
	symbol       string
	connections  int
	pairs        int
	phase        time.Duration
	cold         int
	starts       int
	crowd        int
	flood        int
	loads        []feedLoad
	turns        int
	turn         time.Duration
	audience     int
	stalled      int
	shed         time.Duration
	centrifuge   string
	goTool       string
	benchPackage string
}

// readOptions reads the command line.
func readOptions(args []string, errs io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(errs)
	only := flags.String("only", strings.Join(sectionNames(), ","), "the `SECTIONS` to measure, separated by commas")
	flags.StringVar(&o.bin, "bin", "bin", "the `FOLDER` with islands, marketsim and plugins")
	flags.StringVar(&o.config, "config", "islands.hcl", "the composition, a `FILE`")
	flags.BoolVar(&o.json, "json", false, "print JSON instead of tables")
	flags.StringVar(&o.symbol, "symbol", "btc", "whose report is the warm one")
	flags.IntVar(&o.connections, "connections", 32, "keep-alive connections of the load, 1 to 1024")
	flags.IntVar(&o.pairs, "pairs", 30, "how often host and bare server take turns, 1 to 1000")
	flags.DurationVar(&o.phase, "phase", 500*time.Millisecond, "how long one turn lasts, 50ms to 1m")
	flags.IntVar(&o.cold, "cold", 12, fmt.Sprintf("how many cold reports to ask for, 1 to %d; beyond 12 a source's own budget is used up", len(coldSymbols)))
	flags.IntVar(&o.starts, "starts", 10, "how many hosts to start and to crash, 1 to 100")
	flags.IntVar(&o.crowd, "crowd", 1000, "how many ask for one cold report at once, 2 to 10000")
	flags.IntVar(&o.flood, "flood", 20_000, "cold requests per second beside a warm client, 100 to 100000")
	loads := flags.String("loads", "1000x10,5000x10,10000x10,1000x200,1000x"+flatOut,
		"the `LOADS` of the fan-out, clients x updates per second, separated by commas")
	flags.IntVar(&o.turns, "turns", 3, "how often the servers of the fan-out take turns under each load, 1 to 100")
	flags.DurationVar(&o.turn, "turn", 1500*time.Millisecond, "how long one turn of theirs lasts, 50ms to 1m")
	flags.IntVar(&o.audience, "audience", 5000, fmt.Sprintf("clients of which some do not read, 4 to %d", mostListeners))
	flags.IntVar(&o.stalled, "stalled", 200, "how many of those do not read, 2 to half of them")
	flags.DurationVar(&o.shed, "shed", time.Minute, "how long a server is given to get rid of those, 1s to 10m")
	flags.StringVar(&o.centrifuge, "centrifuge", ".tools/bin/centrifuge", "the `PROGRAM` on the centrifuge library, for comparison")
	flags.StringVar(&o.goTool, "go", "go", "the go `COMMAND`, which runs the benchmarks without sockets")
	flags.StringVar(&o.benchPackage, "package", "./host/internal/gateway", "the `PACKAGE` of those benchmarks")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q is no flag; see --help", flags.Arg(0))
	}
	for name := range strings.SplitSeq(*only, ",") {
		if name = strings.TrimSpace(name); !slices.Contains(sectionNames(), name) {
			return o, fmt.Errorf("--only %q: the sections are %s", name, strings.Join(sectionNames(), ", "))
		}
		o.sections = append(o.sections, name)
	}
	var err error
	if o.loads, err = parseLoads(*loads); err != nil {
		return o, err
	}
	for _, bound := range []struct {
		name            string
		got, least, top int
	}{
		{"connections", o.connections, 1, 1024},
		{"pairs", o.pairs, 1, 1000},
		{"phase", int(o.phase.Milliseconds()), 50, 60_000},
		{"cold", o.cold, 1, len(coldSymbols)},
		{"starts", o.starts, 1, 100},
		{"crowd", o.crowd, 2, 10_000},
		{"flood", o.flood, 100, 100_000},
		{"turns", o.turns, 1, 100},
		{"turn", int(o.turn.Milliseconds()), 50, 60_000},
		{"audience", o.audience, 4, mostListeners},
		{"stalled", o.stalled, 2, o.audience / 2},
		{"shed", int(o.shed.Milliseconds()), 1000, 600_000},
	} {
		if bound.got < bound.least || bound.got > bound.top {
			return o, fmt.Errorf("--%s wants %d to %d, not %d", bound.name, bound.least, bound.top, bound.got)
		}
	}
	return o, nil
}

// section is a part of the measurement that stands alone.
type section struct {
	name    string
	measure func(b *bench, ctx context.Context) ([]table, error)
}

// sections in the order in which they run.
func sections() []section {
	return []section{
		{"warm", (*bench).warm},
		{"cold", (*bench).cold},
		{"starts", (*bench).starts},
		{"crowd", (*bench).crowd},
		{"overload", (*bench).overload},
		{"fanout", (*bench).fanout},
	}
}

func sectionNames() []string {
	var names []string
	for _, s := range sections() {
		names = append(names, s.name)
	}
	return names
}

// run measures and returns the exit status.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	if len(args) == 1 && children()[args[0]] != nil {
		if err := children()[args[0]](ctx, in, out); err != nil {
			fmt.Fprintf(errs, "bench %s: %v\n", args[0], err)
			return exitUnmeasured
		}
		return exitMeasured
	}
	opts, err := readOptions(args, errs)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitMeasured
	case err != nil:
		fmt.Fprintln(errs, "bench:", err)
		return exitUsage
	}
	status := exitMeasured
	results, err := measure(ctx, opts, errs)
	if err != nil {
		results.Problems = append(results.Problems, err.Error())
	}
	if len(results.Problems) > 0 {
		status = exitUnmeasured
	}
	if err := results.write(out, opts.json); err != nil {
		fmt.Fprintln(errs, "bench: print the results:", err)
		status = exitUnmeasured
	}
	return status
}

// measure runs the chosen sections. One that fails does not keep the others from theirs.
func measure(ctx context.Context, opts options, progress io.Writer) (_ results, err error) {
	out := results{Machine: machine()}
	dir, err := os.MkdirTemp("", "ibench-") // Short: the hosts' sockets lie below it.
	if err != nil {
		return out, fmt.Errorf("make the folder for data: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program, err := os.Executable()
	if err != nil {
		return out, fmt.Errorf("find this program: %w", err)
	}
	cpus, err := allowedProcessors()
	if err != nil {
		return out, err
	}
	b := &bench{opts: opts, dir: dir, program: program, cpus: cpus, logged: progress}
	if b.opts.bin, err = filepath.Abs(opts.bin); err != nil {
		return out, fmt.Errorf("--bin %s: %w", opts.bin, err)
	}
	for _, s := range sections() {
		if !slices.Contains(opts.sections, s.name) {
			continue
		}
		b.say("measuring: %s", s.name)
		tables, err := s.measure(b, ctx)
		out.Tables = append(out.Tables, tables...)
		switch {
		case ctx.Err() != nil:
			return out, errors.New("interrupted")
		case err != nil:
			out.Problems = append(out.Problems, fmt.Sprintf("%s: %v", s.name, err))
		}
	}
	return out, nil
}
