package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk/conformance"
)

// TestNewAuthor goes the way of an author who has nothing yet, beside a host that runs: from a name to a source that
// serves, without another build of the host. What the machine does of it takes less than a minute, as sdk/README.md says; no
// other test runs meanwhile, so that the time is its own.
func TestNewAuthor(t *testing.T) {
	m := startMarket(t)
	// The checks ask more within a minute than a service allows that nobody pays for.
	m.fault(t, `{"service":"*","kind":"limit","limit":100000000}`)
	c := newComposition(t)
	h := startHost(t, m, map[string]string{"ISLANDS_CONFIG": c.path})
	dir := filepath.Join(t.TempDir(), "demo-exchange")
	checkout, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	islands := filepath.Join(bin, "islands")
	began := time.Now()
	step := func(name string, do func()) {
		t.Helper()
		start := time.Now()
		do()
		t.Logf("%-28s %6.2f s", name, time.Since(start).Seconds())
	}
	step("islands new", func() { author(t, filepath.Dir(dir), islands, "new", "source", "demo-exchange", "--sdk", checkout) })
	step("go build", func() { author(t, dir, "go", "build", "-o", "bin/demo-exchange", ".") })
	step("islands verify", func() { authorVerifies(t, dir, "http://127.0.0.1:8900/binance", m.env["BINANCE_URL"]) })
	step("islands reload", func() {
		snippet, err := os.ReadFile(filepath.Join(dir, "islands.hcl.snippet"))
		if err != nil {
			t.Fatal(err)
		}
		block := strings.Replace(string(snippet), "http://127.0.0.1:8900/binance", m.env["BINANCE_URL"], 1)
		c.replace("request {\n", block+"\nrequest {\n")
		if got := h.reload(t); len(got.Added) != 1 || got.Added[0] != "demo-exchange" || len(got.Replaced)+len(got.Removed) > 0 {
			t.Errorf("the reload says %+v", got)
		}
	})
	step("the first answer", func() {
		if quote := h.ok(t, "/api/market-data/btc?source=demo-exchange").json(t); at(t, quote, "source") != "demo-exchange" || at(t, quote, "price") == nil {
			t.Errorf("quote %v", quote)
		}
	})
	took := time.Since(began)
	t.Logf("%-28s %6.2f s", "all of it", took.Seconds())
	if !races && took >= time.Minute { // A host with the race detector takes its time.
		t.Errorf("it took %s from a name to an answer, of at most a minute", took.Round(time.Second))
	}

	// It counts, takes no part that nobody gave it, and takes one that it is given, for symbols that the feed does not bring.
	if body := string(h.ok(t, "/metrics/islands/demo-exchange").body); !strings.Contains(body, "operations_total") || !strings.Contains(body, `status`) {
		t.Errorf("metrics %s", body)
	}
	if quote := h.ok(t, "/api/market-data/ltc").json(t); at(t, quote, "source") != "coingecko-source" {
		t.Errorf("a source that is not in line answered: %v", quote)
	}
	if body := string(h.ok(t, "/health/external-apis").body); !strings.Contains(body, `"demo-exchange"`) {
		t.Errorf("it is not among the sources: %s", body)
	}
	c.replace(`sources  = ["coingecko-source", "binance-source"]`, `sources  = ["demo-exchange", "coingecko-source"]`)
	h.reload(t)
	if quote := h.ok(t, "/api/market-data/trx").json(t); at(t, quote, "source") != "demo-exchange" {
		t.Errorf("the first in line did not answer: %v", quote)
	}
	if r := h.get(t, "/api/market-data/btc?source=demo-exchanges"); r.status != http.StatusBadRequest {
		t.Errorf("a source that there is not: %d %s", r.status, r.body)
	}
}

// author runs what an author types, in a folder, and wants it to succeed.
func author(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(scaled(120, 300))*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY=off", "PWD="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatal(fmt.Errorf("%s %v: %w\n%s", name, args, err, out))
	}
}

// authorVerifies types the command that the README of an island says, with one word in it replaced by another, and wants the
// verdict that it promises.
func authorVerifies(t *testing.T, dir, old, word string) {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, command, _ := strings.Cut(string(readme), "\nislands verify ")
	command, _, _ = strings.Cut(command, "\n")
	args := strings.Fields(strings.ReplaceAll(command, old, word))
	if len(args) == 0 || !strings.Contains(command, old) {
		t.Fatalf("README.md has no command \"islands verify\" with %q in it, but %q", old, command)
	}
	report := verify(t, 0, append([]string{filepath.Join(dir, filepath.FromSlash(args[0]))}, args[1:]...)...)
	if report.Verdict != conformance.Passed {
		for _, c := range report.Checks {
			if c.Verdict != conformance.Passed {
				t.Logf("%s %s: %s", c.Name, c.Verdict, c.Seen)
			}
		}
		t.Errorf("islands verify %s: %s, want passed", args, report.Verdict)
	}
}

// TestNewStoreAndReporter starts a host with a store and a reporter as they are written, and nothing of its own in their
// places: a report is made and remembered, quotes are kept, and all is there again after a restart of the store.
func TestNewStoreAndReporter(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	c := newComposition(t)
	checkout, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	parent := t.TempDir()
	for kind, name := range map[string]string{"store": "demo-store", "reporter": "demo-brief"} {
		dir := filepath.Join(parent, name)
		author(t, parent, filepath.Join(bin, "islands"), "new", kind, name, "--sdk", checkout)
		author(t, dir, "go", "build", "-o", "bin/"+name, ".")
		if kind == "store" {
			authorVerifies(t, dir, "/tmp/trial.jsonl", filepath.Join(t.TempDir(), "trial.jsonl"))
		} else {
			authorVerifies(t, dir, name, name)
		}
		snippet, err := os.ReadFile(filepath.Join(dir, "islands.hcl.snippet"))
		if err != nil {
			t.Fatal(err)
		}
		block, road, _ := strings.Cut(string(snippet), "# And ")
		_, road, _ = strings.Cut(road, "\n")
		road = strings.ReplaceAll("\n"+road, "\n#", "\n")
		c.replace("request {\n", block+"\nrequest {\n"+road+"\n")
	}
	c.replace(`  store = ["postgres-store", "sqlite-store"]`, "")
	c.replace(`env("DATABASE_URL", "") == ""`, "false")
	h := startHost(t, m, map[string]string{"ISLANDS_CONFIG": c.path})
	if brief := h.ok(t, "/api/demo-brief/ltc").json(t); at(t, brief, "price") == nil || at(t, brief, "days") != 30.0 || at(t, brief, "average") == nil {
		t.Errorf("the report: %v", brief)
	}
	if r := h.ok(t, "/api/demo-brief/ltc?format=md"); !strings.Contains(string(r.body), "(LTC)") {
		t.Errorf("the report as Markdown: %s", r.body)
	}
	stored := func() error {
		r, err := ask(t.Context(), http.MethodGet, h.url+"/api/history/btc", nil)
		if err != nil || r.status != http.StatusOK || strings.Contains(string(r.body), `"quotes":[]`) {
			return fmt.Errorf("%w, %d %s", err, r.status, r.body)
		}
		return nil
	}
	eventually(t, 60*time.Second, "a history of btc", stored)
	h.cli(t, "restart", "demo-store", "--timeout", "90s")
	if err := stored(); err != nil {
		t.Errorf("after the restart: %v", err)
	}
	for _, name := range []string{"demo-store", "demo-brief"} {
		if body := string(h.ok(t, "/metrics/islands/"+name).body); !strings.Contains(body, "operations_total") {
			t.Errorf("metrics of %s: %s", name, body)
		}
	}
}
