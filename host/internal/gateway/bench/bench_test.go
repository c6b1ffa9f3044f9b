package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		args []string
		want string // in the error
	}{
		{"defaults", nil, ""},
		{"chosen", []string{"--only", "warm, cold", "--pairs", "3", "--phase", "100ms", "--json"}, ""},
		{"an argument", []string{"warm"}, `"warm" is no flag`},
		{"no such section", []string{"--only", "luke"}, "the sections are warm, cold, starts, crowd, overload, fanout"},
		{"too few pairs", []string{"--pairs", "0"}, "--pairs wants 1 to 1000, not 0"},
		{"too short", []string{"--phase", "1ms"}, "--phase wants 50 to 60000, not 1"},
		{"too many symbols", []string{"--cold", "99"}, "--cold wants 1 to 24"},
		{"loads", []string{"--loads", "1x1, 20000xmax"}, ""},
		{"no load", []string{"--loads", ""}, "as in 1000x10"},
		{"nobody", []string{"--loads", "0x10"}, `--loads "0x10" wants 1 to 20000 clients`},
		{"too many", []string{"--loads", "20001x10"}, "wants 1 to 20000 clients"},
		{"no rate", []string{"--loads", "10x1,10"}, `--loads "10" wants 1 to 10000 updates per second or max`},
		{"too fast", []string{"--loads", "10x10001"}, "wants 1 to 10000 updates per second"},
		{"too few turns", []string{"--turns", "0"}, "--turns wants 1 to 100, not 0"},
		{"too short a turn", []string{"--turn", "49ms"}, "--turn wants 50 to 60000, not 49"},
		{"a small audience", []string{"--audience", "3"}, "--audience wants 4 to 20000, not 3"},
		{"most stalled", []string{"--audience", "100", "--stalled", "51"}, "--stalled wants 2 to 50, not 51"},
		{"too impatient", []string{"--shed", "900ms"}, "--shed wants 1000 to 600000, not 900"},
		{"no such flag", []string{"--colour"}, "not defined"},
		{"help", []string{"--help"}, flag.ErrHelp.Error()},
	} {
		var said bytes.Buffer
		_, err := readOptions(c.args, &said)
		if got := err != nil; got != (c.want != "") || got && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestNothingBuilt(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	const built = "warm,cold,starts,crowd,overload" // What needs something that make build makes.
	if code := run(t.Context(), []string{"--bin", t.TempDir(), "--only", built, "--json"}, nil, &out, &errs); code != exitUnmeasured {
		t.Errorf("exit status %d: %s", code, &errs)
	}
	var got results
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Problems) != strings.Count(built, ",")+1 || !strings.Contains(got.Problems[0], "warm: marketsim is not built") {
		t.Errorf("%q", got.Problems)
	}
	if code := run(t.Context(), []string{"--pairs", "x"}, nil, &out, &errs); code != exitUsage {
		t.Errorf("exit status %d for wrong usage", code)
	}
}

func TestParseBenchmarks(t *testing.T) {
	t.Parallel()
	got := parseBenchmarks(`goos: linux
BenchmarkWarmReport-2     	  423186	       540.5 ns/op	      64 B/op	       2 allocs/op
BenchmarkWarmReport-2     	  423186	       500 ns/op	  1024.00 MB/s	      32 B/op	       1 allocs/op
BenchmarkBareFiber 	 1	 9 ns/op
BenchmarkBroken-2 x
PASS
`)
	want := map[string]readings{
		"BenchmarkWarmReport": {time: []float64{540.5, 500}, bytes: []float64{64, 32}, allocations: []float64{2, 1}},
		"BenchmarkBareFiber":  {time: []float64{9}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	tail := 9.25
	r := results{Machine: "here", Problems: []string{"cold: no reason"}, Tables: []table{{Title: "Warm", Rows: []row{
		row{Name: "time", Unit: "µs", Value: spreadOf([]float64{11, 10, 12})}.
			against(spreadOf([]float64{10, 10, 10}), []float64{1.1, 1, 1.2}).aim("≤ 1.15", true),
		single("calls", "", 0).aim("0", true),
		single("answer", "ms", 312.4).aim("≤ 250 ms", false),
		{Name: "hop", Unit: "ms", Value: spreadOf([]float64{0.0123}), P99: &tail},
	}}}}
	var text strings.Builder
	if err := r.write(&text, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"time    11 µs      10–12     10 µs    1.10 (1.00–1.20)  ≤ 1.15, met",
		"calls   0 ", "0, met", "312 ms", "≤ 250 ms, MISSED", "0.0123 ms  p99 9.25", "NOT MEASURED: cold: no reason",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
}

func TestHops(t *testing.T) {
	t.Parallel()
	p50, p99 := 1.5, 9.0
	operations := []operation{
		{Operation: "quotes", Island: "source", Count: 3, Errors: 1, P50: &p50, P99: &p99},
		{Operation: "health", Island: "source", Count: 9, P50: &p50, P99: &p99},
		{Operation: "cache_watch", Island: "cache", Count: 1},
		{Operation: "crypto-report", Island: own, Count: 2, P50: &p50, P99: &p99},
	}
	rows := hops(operations)
	if len(rows) != 2 || rows[0].Name != "host, crypto-report × 2" || rows[1].Name != "source, quotes × 3, 1 failed" {
		t.Errorf("%+v", rows)
	}
	if got := gRPCCalls(operations); got != 4 {
		t.Errorf("%d calls, want those of quotes and cache_watch", got)
	}
}

// sleeper makes this test's binary a child that sleeps.
const sleeper = "BENCH_TEST_SLEEPER"

func TestSleeper(*testing.T) {
	if os.Getenv(sleeper) != "" {
		time.Sleep(time.Minute)
	}
}

func TestChildrenEnd(t *testing.T) {
	t.Parallel()
	cpus, err := allowedProcessors()
	if err != nil {
		t.Fatal(err)
	}
	program := program{
		path: os.Args[0], args: []string{"-test.run", "^TestSleeper$"}, env: append(os.Environ(), sleeper+"=1"),
		cpus: cpus[:min(1, len(cpus))], log: filepath.Join(t.TempDir(), "log"),
	}
	for name, end := range map[string]func(*child) error{
		"asked":  func(c *child) error { return c.end(30 * time.Second) },
		"killed": (*child).kill,
	} {
		c, err := program.start()
		if err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS == "linux" {
			if _, err := processorTime(c.handle.Pid); err != nil {
				t.Error(err)
			}
		}
		began := time.Now()
		if err := end(c); err != nil || time.Since(began) > 20*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(began))
		}
		if err := c.end(time.Second); err != nil {
			t.Errorf("%s, twice: %v", name, err)
		}
		if runtime.GOOS == "linux" {
			if _, err := processorTime(c.handle.Pid); err == nil {
				t.Errorf("%s: the process is still there", name)
			}
		}
	}
	program.path = filepath.Join(t.TempDir(), "none")
	if _, err := program.start(); err == nil || !strings.Contains(err.Error(), "start none") {
		t.Errorf("%v", err)
	}
}

func TestProcessorTimeGrows(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		return // It is known on Linux only.
	}
	before, err := processorTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < 5*time.Millisecond; {
		if after, err := processorTime(os.Getpid()); err != nil || after < before {
			t.Fatalf("%v after %v, %v", after, before, err)
		}
	}
	if after, err := processorTime(os.Getpid()); err != nil || after == before {
		t.Errorf("%v after %v, %v", after, before, err)
	}
}

func TestEnvironmentIsClean(t *testing.T) {
	t.Setenv("DATABASE_URL", "postgres://real")
	t.Setenv("ISLANDS_ENV", "production")
	t.Setenv("COINGECKO_API_KEY", "real")
	for _, variable := range environment() {
		if strings.Contains(variable, "real") || strings.HasPrefix(variable, "ISLANDS_") {
			t.Errorf("%s would reach a host", variable)
		}
	}
	if len(environment()) == 0 {
		t.Error("nothing is left")
	}
}
