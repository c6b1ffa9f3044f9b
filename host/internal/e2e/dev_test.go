package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// withReporter is the shipped configuration with another binary for the reporter.
func withReporter(t *testing.T, path string) string {
	t.Helper()
	return edited(t, func(text string) string {
		return strings.Replace(text, `"plugins/report-generator"`, `"`+path+`"`, 1)
	})
}

// save writes a file as editors do: beside its place, and then into it.
func save(t *testing.T, path, text string) {
	t.Helper()
	beside := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".swp")
	if err := os.WriteFile(beside, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(beside, path); err != nil {
		t.Fatal(err)
	}
}

// TestDev saves the source of an island again and again while reports are asked for: what can be built and started takes over, and
// what cannot leaves the one that runs.
func TestDev(t *testing.T) {
	t.Parallel()
	binary := copyProgram(t, "report-generator")
	source := t.TempDir()
	if err := os.Mkdir(filepath.Join(source, ".git"), 0o700); err != nil {
		t.Fatal(err)
	}
	original := filepath.Join(bin, "plugins", "report-generator")
	good := "cp " + original + ` "$ISLAND_BINARY"`
	save(t, filepath.Join(source, "source.sh"), good)
	h := startHost(t, startMarket(t), map[string]string{"ISLANDS_CONFIG": withReporter(t, binary)})
	requests := startLoad(t, h, 2, "/api/crypto-report/btc")
	pid := h.pids(t)["report-generator"]
	d := launch(t, h.env, "islands", "dev", "report-generator", "--watch", source, "--build", "sh ./source.sh", "--config", h.config())
	d.says(t, "watching", "generation 1")

	save(t, filepath.Join(source, "source.sh"), good+"\n# better")
	d.says(t, "changed: source.sh")
	d.says(t, "built "+binary)
	d.says(t, "swapped report-generator", "generation 1 -> 2", "ok")
	if now := h.pids(t)["report-generator"]; now == pid || now == 0 {
		t.Errorf("process %d became %d", pid, now)
	}
	pid = h.pids(t)["report-generator"]

	save(t, filepath.Join(source, "source.sh"), "echo source.sh:1: missing return >&2; exit 2")
	d.says(t, "source.sh:1: missing return")
	d.says(t, "BUILD FAILED", "exit status 2", "goes on as it is")

	// A folder that is new is watched too.
	if err := os.Mkdir(filepath.Join(source, "more"), 0o700); err != nil {
		t.Fatal(err)
	}
	d.says(t, "changed: more")
	save(t, filepath.Join(source, "source.sh"), `printf '#!/bin/sh\nexit 3\n' > "$ISLAND_BINARY"`)
	d.says(t, "SWAP FAILED", "exited with status 3", "generation 2 goes on")
	if now := h.pids(t)["report-generator"]; now != pid {
		t.Errorf("process %d became %d", pid, now)
	}
	save(t, filepath.Join(source, "source.sh"), good)
	d.says(t, "generation 2 -> 3")
	save(t, filepath.Join(source, "more", "part"), "1")
	d.says(t, "changed: "+filepath.Join("more", "part"))
	d.says(t, "generation 3 -> 4")
	requests.stop()

	// What nobody writes by hand is not looked at.
	for _, name := range []string{filepath.Join(".git", "index"), "source.sh~"} {
		if err := os.WriteFile(filepath.Join(source, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_ = d.cmd.Process.Signal(syscall.SIGINT)
	d.says(t, "ended; report-generator goes on as it is")
	<-d.done
	if code := d.cmd.ProcessState.ExitCode(); code != 0 || d.said("changed: .git")+d.said("changed: source.sh~") > 0 {
		t.Errorf("exit status %d", code)
	}
	h.ok(t, "/api/crypto-report/btc")
}

// TestDevBesideItsBinary works where an author does: the binary lies in the folder that is watched, which is named by a link,
// and the Go tool builds it. A save is one swap, whether or not the build writes a file of its own there.
func TestDevBesideItsBinary(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	c := newComposition(t)
	h := startHost(t, m, map[string]string{"ISLANDS_CONFIG": c.path})
	dir := filepath.Join(t.TempDir(), "demo-exchange")
	checkout, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	author(t, filepath.Dir(dir), filepath.Join(bin, "islands"), "new", "source", "demo-exchange", "--sdk", checkout)
	author(t, dir, "go", "build", "-o", "bin/demo-exchange", ".")
	snippet, err := os.ReadFile(filepath.Join(dir, "islands.hcl.snippet"))
	if err != nil {
		t.Fatal(err)
	}
	c.replace("request {\n", strings.Replace(string(snippet), "http://127.0.0.1:8900/binance", m.env["BINANCE_URL"], 1)+"\nrequest {\n")
	h.reload(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(dir, "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	// swaps counts the swaps that saves lead to, and looks on for three seconds whether there are more.
	swaps := func(want int, d *program, after string) {
		t.Helper()
		d.says(t, "swapped demo-exchange", after)
		time.Sleep(3 * time.Second)
		if got := d.said("swapped demo-exchange"); got != want {
			t.Errorf("%d swaps, want %d:\n%s", got, want, strings.Join(d.tail(40), "\n"))
		}
	}
	end := func(d *program) {
		t.Helper()
		_ = d.cmd.Process.Signal(syscall.SIGINT)
		d.says(t, "ended")
		<-d.done
		if entries, err := os.ReadDir(filepath.Join(dir, "bin")); err != nil || len(entries) != 1 {
			t.Errorf("beside the binary are %v (%v)", entries, err)
		}
	}
	d := launch(t, h.env, "islands", "dev", "demo-exchange", "--watch", link, "--config", h.config())
	d.says(t, "watching", "generation 1")
	save(t, filepath.Join(dir, "main.go"), string(source)+"\n// Once.\n")
	swaps(1, d, "generation 1 -> 2")
	save(t, filepath.Join(dir, "main.go"), string(source)+"\n// Twice.\n")
	swaps(2, d, "generation 2 -> 3")
	end(d)

	// A file that differs after every build is found out at the first save, and said.
	d = launch(t, h.env, "islands", "dev", "demo-exchange", "--watch", dir, "--config", h.config(), "--build",
		`cp bin/demo-exchange "$ISLAND_BINARY" && date +%s%N > generated.txt`)
	d.says(t, "watching", "generation 3")
	save(t, filepath.Join(dir, "main.go"), string(source)+"\n// Thrice.\n")
	d.says(t, "NOT BUILT AGAIN for generated.txt")
	swaps(3, d, "generation 5 -> 6")
	save(t, filepath.Join(dir, "main.go"), string(source))
	swaps(4, d, "generation 6 -> 7")
	end(d)
}

// TestDevRefuses says what is wrong at once.
func TestDevRefuses(t *testing.T) {
	t.Parallel()
	h := startHost(t, startMarket(t), nil)
	locked := map[string]string{}
	for k, v := range h.env {
		locked[k] = v
	}
	locked["ISLANDS_CONFIG"] = edited(t, func(text string) string {
		return strings.Replace(text, `"plugins/report-generator"`, `"plugins/report-generator"`+"\n  sha256 = \""+strings.Repeat("0a", 32)+`"`, 1)
	})
	for name, tc := range map[string]struct {
		on   *host
		args []string
		says string
	}{
		"no folder":       {h, []string{"dev", "cache"}, "--watch DIR"},
		"another folder":  {h, []string{"dev", "cache", "--watch", "/nonexistent"}, "watch /nonexistent: "},
		"a file":          {h, []string{"dev", "cache", "--watch", "dev_test.go"}, "not a folder"},
		"no such island":  {h, []string{"dev", "cash", "--watch", "."}, "did you mean cache"},
		"disabled island": {h, []string{"dev", "postgres-store", "--watch", "."}, "is disabled"},
		"locked island":   {&host{env: locked}, []string{"dev", "report-generator", "--watch", "."}, "is locked to one binary by its sha256"},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			if out, err := tc.on.tryCLI(t, tc.args...); err == nil || !strings.Contains(out, tc.says) {
				t.Errorf("after %s: %v: %s", time.Since(began), err, out)
			}
		})
	}
}
