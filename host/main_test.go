package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if strings.HasPrefix(filepath.Base(os.Args[0]), countedName) {
		serveCounted()
		return
	}
	if len(os.Args) == 3 && os.Args[1] == janitorCommand { // started by a host of these tests
		os.Exit(execute(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),    // Ticks for ever, once.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2")) // Sees the end of its pool after 10 s.
}

// written writes a configuration and returns its path.
func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "islands.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestValidate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		text   string
		status int
		out    []string
		errs   []string
	}{
		{"nothing but a host", `host {}`, exitOK, []string{"is valid: 0 islands, 0 of them enabled"}, nil},
		{
			"a disabled island, whose binary does not matter",
			"island \"mine\" {\n  layer = \"infrastructure\"\n  binary = \"/nowhere/mine\"\n  enabled = false\n}",
			exitOK,
			[]string{"is valid: 1 islands, 0 of them enabled"},
			nil,
		},
		{
			"several mistakes, each with its line",
			"host {\n  listen = \"3000\"\n}\nstrategy \"real_time\" {\n  ttl = \"30\"\n}\n",
			exitUsage, nil,
			[]string{"islands.hcl line 2", "wants HOST:PORT", "islands.hcl line 5", `"ttl" wants a duration such as "30s", not "30"`},
		},
		{"no HCL", "host {", exitUsage, nil, []string{"islands.hcl line 1"}},
		{
			"a binary that is not there",
			"island \"mine\" {\n  layer = \"infrastructure\"\n  binary = \"/nowhere/mine\"\n}",
			exitUsage, nil,
			[]string{"islands.hcl line 3", "/nowhere/mine"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := runProgram(t.Context(), "validate", written(t, test.text))
			if got.status != test.status || (got.errs == "") != (test.errs == nil) || (got.out == "") != (test.out == nil) {
				t.Fatalf("got %+v, want status %d", got, test.status)
			}
			for _, want := range test.out {
				if !strings.Contains(got.out, want) {
					t.Errorf("%q is missing in\n%s", want, got.out)
				}
			}
			for _, want := range test.errs {
				if !strings.Contains(got.errs, want) {
					t.Errorf("%q is missing in\n%s", want, got.errs)
				}
			}
		})
	}
	t.Run("no file", func(t *testing.T) {
		t.Parallel()
		missing := filepath.Join(t.TempDir(), "none.hcl")
		for _, args := range [][]string{{"validate", missing}, {"run", "--config", missing}, {"status", "--config", missing}} {
			if got := runProgram(t.Context(), args...); got.status != exitUsage || !strings.Contains(got.errs, "none.hcl") {
				t.Errorf("%s: got %+v", args, got)
			}
		}
	})
}

func TestBrokenConfigurationStartsNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(shortDir(t), "d")
	path := written(t, fmt.Sprintf("host {\n  data_dir = %q\n  listen = \"3000\"\n}\n", dir))
	for _, command := range []string{"run", "status"} {
		if got := runProgram(t.Context(), command, "--config", path); got.status != exitUsage || !strings.Contains(got.errs, "wants HOST:PORT") {
			t.Errorf("%s: got %+v", command, got)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the data directory: got %v", err)
	}
}

func TestHostAndItsCommands(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	path := written(t, fmt.Sprintf(`
host { data_dir = %q }
island "mine" {
  layer   = "infrastructure"
  binary  = "/nowhere/mine"
  enabled = false
}
`, dir))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan outcome, 1)
	go func() { ended <- runProgram(ctx, "run", "--config", path, "--listen", "127.0.0.1:0") }()

	deadline := time.Now().Add(10 * time.Second)
	for got := runProgram(ctx, "status", "--config", path); got.status != exitOK; got = runProgram(ctx, "status", "--config", path) {
		select {
		case early := <-ended:
			t.Fatalf("the host ended: %+v", early)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("the host does not answer: %+v", got)
		}
	}

	tests := []struct {
		args   string
		status int
		want   string
	}{
		{"status", exitOK, "disabled"},
		{"status --json", exitOK, `"name": "mine"`},
		{"inspect mine", exitOK, "No crashes."},
		{"crash mine", exitOK, "No crashes."},
		{"crash min", exitFailure, `no island "min": did you mean mine?`},
		{"restart mine", exitFailure, `island "mine" is disabled`},
		{"reset yours", exitFailure, `no island "yours"`},
		{"run", exitFailure, "another host runs on the data directory"},
	}
	for _, test := range tests {
		got := runProgram(ctx, append(strings.Fields(test.args), "--config", path)...)
		if got.status != test.status || !strings.Contains(got.out+got.errs, test.want) {
			t.Errorf("%s: got %+v, want %q", test.args, got, test.want)
		}
	}

	stop()
	select {
	case got := <-ended:
		if got.status != exitOK || !strings.Contains(got.errs, "stopped") {
			t.Errorf("the host ended with %+v", got)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the host does not stop")
	}
	if got := runProgram(t.Context(), "status", "--config", path); got.status != exitFailure || !strings.Contains(got.errs, "no host answers") {
		t.Errorf("after the host: got %+v", got)
	}
}
