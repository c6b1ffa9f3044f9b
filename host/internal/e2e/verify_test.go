package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk/conformance"
	"github.com/service-islands/islands/sdk/islandtest/servers"
)

// verified lists what it takes to verify each island, so that no check is skipped: the arguments beyond its path.
func verified(t *testing.T) []struct {
	island, way string
	args        []string
} {
	t.Helper()
	m := startMarket(t)
	// The checks ask more within a minute than a service allows that nobody pays for.
	m.fault(t, `{"service":"*","kind":"limit","limit":100000000}`)
	set := func(values ...string) []string {
		var args []string
		for _, v := range values {
			args = append(args, "--set", v)
		}
		return args
	}
	assets := []string{"--asset", "bitcoin:btc", "--asset", "ethereum:eth"}
	return []struct {
		island, way string
		args        []string
	}{
		{"cache", "in memory", nil},
		{"cache", "with Redis", set("redis_url="+servers.Redis(t).URL(), "l2_timeout=10s")},
		{"sqlite-store", "", set("path=" + filepath.Join(t.TempDir(), "trial.db"))},
		{"postgres-store", "", set("url=" + servers.Postgres(t).URL())},
		{"report-generator", "", nil},
		{"coingecko-source", "", slices.Concat(set("url="+m.env["COINGECKO_URL"], "calls_per_minute=1000000"), assets, []string{"--upstream", "url"})},
		{"binance-source", "", slices.Concat(set("url="+m.env["BINANCE_URL"], "stream_url="+m.env["BINANCE_STREAM_URL"], "weight_per_minute=100000000"),
			assets, []string{"--upstream", "url", "--upstream", "stream_url"}, []string{"--interval", "1d", "--interval", "1h"})},
		{"python-source", "", slices.Concat(set("url="+m.env["BINANCE_URL"], "calls_per_minute=1000000"),
			assets, []string{"--upstream", "url", "--interval", "1d", "--interval", "1h"})},
		{"node-source", "", slices.Concat(set("url="+m.env["BINANCE_URL"], "calls_per_minute=1000000"),
			assets, []string{"--upstream", "url", "--interval", "1d", "--interval", "1h"})},
		{"kraken-source", "", slices.Concat(set("url="+m.env["KRAKEN_URL"], "stream_url="+m.env["KRAKEN_STREAM_URL"], "calls_per_minute=1000000"),
			assets, []string{"--upstream", "url", "--upstream", "stream_url", "--interval", "1d", "--interval", "1h"})},
		{"fear-greed", "", append(set("url="+m.env["FEAR_GREED_URL"]), "--upstream", "url")},
	}
}

// notIslands are programs among the islands that are made for other tests.
var notIslands = []string{"trouble", "raw"}

func TestEveryIslandKeepsTheContract(t *testing.T) {
	t.Parallel()
	subjects := verified(t)
	programs, err := os.ReadDir(filepath.Join(bin, "plugins"))
	if err != nil {
		t.Fatal(err)
	}
	names := slices.Collect(maps.Keys(packs))
	for _, program := range programs {
		names = append(names, strings.TrimSuffix(program.Name(), ".exe"))
	}
	inNoGo, err := filepath.Glob("../../../examples/*/build")
	if err != nil || len(inNoGo) != len(packs) {
		t.Errorf("%q, %v: give each a line in packs", inNoGo, err)
	}
	for _, name := range names {
		known := slices.Contains(notIslands, name)
		for _, s := range subjects {
			known = known || s.island == name
		}
		if !known {
			t.Errorf("nothing says with which settings %s is to be verified: give it a line in verified", name)
		}
	}
	for _, s := range subjects {
		t.Run(strings.TrimSuffix(s.island+", "+s.way, ", "), func(t *testing.T) {
			t.Parallel()
			report := verify(t, 0, append([]string{islandProgram(t, s.island), "--grace", "30s"}, s.args...)...)
			for _, c := range report.Checks {
				if c.Verdict != conformance.Passed {
					t.Errorf("%s %s: %s", c.Name, c.Verdict, c.Seen)
				}
			}
			if report.Verdict != conformance.Passed || report.Passed < 30 || report.Name != s.island {
				t.Errorf("%s %s with %d checks passed", report.Name, report.Verdict, report.Passed)
			}
			t.Logf("%s %s: %s, %d checks in %s", report.Name, report.Version, report.Verdict, report.Passed,
				time.Duration(report.Seconds*float64(time.Second)).Round(time.Millisecond))
		})
	}
}

func TestVerifySaysWhatItCouldNotDo(t *testing.T) {
	t.Parallel()
	source := filepath.Join(bin, "plugins", "coingecko-source")
	// Without an asset and an upstream nothing leaves the machine, and nothing fails.
	report := verify(t, 0, source, "--set", "url=http://127.0.0.1:1", "--only", "quotes/answer", "--only", "faults/*", "--only", "manifest/*")
	if report.Verdict != conformance.Partial || report.Skipped == 0 || report.Failed != 0 {
		t.Errorf("%s: %+v", report.Verdict, report.Checks)
	}
	// An upstream that is not there is a failure of the checks that ask it.
	report = verify(t, 1, source, "--set", "url=http://127.0.0.1:1", "--only", "quotes/answer", "--asset", "bitcoin:btc")
	if report.Verdict != conformance.Failed || report.Failed != 1 {
		t.Errorf("%s: %+v", report.Verdict, report.Checks)
	}
	for want, args := range map[string][]string{
		"there is no binary":                         {filepath.Join(bin, "no-such-island")},
		"unknown command \"describe\"":               {filepath.Join(bin, "islands")},
		"wants a whole number":                       {source, "--set", "calls_per_minute=many"},
		"--set wants NAME=VALUE":                     {source, "--set", "colour=red"},
		"--upstream wants a setting":                 {source, "--upstream", "uri"},
		"--asset: wants ID:SYMBOL":                   {source, "--asset", "BTC"},
		"matches no check":                           {source, "--only", "nothing/*"},
		"there is no \"7q\"":                         {source, "--interval", "7q"},
		"more than 0s":                               {source, "--timeout", "0s"},
		"wants the path of one program":              {},
		"the island cannot be started":               {source, "--set", "url=no url at all"},
		"is not a JSON object":                       {source, "--settings", filepath.Join("..", "..", "..", "go.mod")},
		"neither a URL of HTTP nor one of WebSocket": {source, "--set", "url=ftp://127.0.0.1", "--upstream", "url"},
	} {
		status, _, errs := runVerify(t, args...)
		if status != 2 || !strings.Contains(errs, want) {
			t.Errorf("verify %q: status %d, want 2, and %q in:\n%s", args, status, want, errs)
		}
	}
}

func TestVerifyMeasures(t *testing.T) {
	t.Parallel()
	program := filepath.Join(bin, "plugins", "cache")
	report := verify(t, 0, program, "--only", "manifest/*", "--bench")
	if len(report.Figures) < 5 || report.Memory == nil || report.Memory.End <= 0 {
		t.Errorf("%+v, %+v", report.Figures, report.Memory)
	}
	status, text, errs := runVerify(t, program, "--only", "manifest/*", "--bench")
	for _, want := range []string{"CHECK", "manifest/names", "Lookup", "P99", "memory: ", "cache 1.0.0: passed, 3 passed, 0 failed, 0 skipped"} {
		if status != 0 || !strings.Contains(text, want) {
			t.Errorf("status %d, want %q in:\n%s\n%s", status, want, text, errs)
		}
	}
}

// runVerify runs "islands verify" and returns its status and what it wrote.
func runVerify(t *testing.T, args ...string) (status int, output, errs string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "islands"), append([]string{"verify"}, args...)...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), complaints.String()
}

// verify runs "islands verify --json", wants a status, and returns the report.
func verify(t *testing.T, want int, args ...string) conformance.Report {
	t.Helper()
	status, output, errs := runVerify(t, append(args, "--json")...)
	var report conformance.Report
	if err := json.Unmarshal([]byte(output), &report); err != nil {
		t.Fatalf("status %d, %v: %s\n%s", status, err, output, errs)
	}
	if status != want {
		t.Errorf("verify %q: status %d, want %d:\n%s", args, status, want, errs)
	}
	return report
}
