package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tryCLI runs the command line tool against the host and returns what it prints, whatever its exit status.
func (h *host) tryCLI(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "islands"), withConfig(args, h.config())...)
	for k, v := range h.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// program writes an executable file for a test.
func writeProgram(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// copyProgram copies an island's binary, so that its path is another.
func copyProgram(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	from, err := os.Open(filepath.Join(bin, "plugins", name))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, from)
	if closing := to.Close(); err == nil {
		err = closing
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSwap replaces every island while warm reports are asked for and the feed is listened to: no request fails, no tick
// is lost and none comes twice. A binary that cannot take over is refused, and the island goes on.
func TestSwap(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	h := startHost(t, m, nil)
	requests := startLoad(t, h, 3, "/api/crypto-report/btc", "/api/market-data/eth", "/health/live")
	feed := startEar(t, h)
	before := h.pids(t)
	for name, pid := range before {
		if out := h.cli(t, "swap", name); strings.TrimSpace(out) != name+" swapped" {
			t.Errorf("swap %s: %s", name, out)
		}
		// It returns when the old process has ended.
		if err := gone(pid); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	after := h.pids(t)
	for name, pid := range before {
		if after[name] == pid || after[name] == 0 {
			t.Errorf("%s: process %d became %d", name, pid, after[name])
		}
	}

	path := copyProgram(t, "report-generator")
	t.Run("to another file", func(t *testing.T) {
		h.cli(t, "swap", "report-generator", "--to", path)
		if out := h.cli(t, "inspect", "report-generator"); !strings.Contains(out, path+" (put there by a swap") {
			t.Errorf("%s", out)
		}
		h.cli(t, "swap", "report-generator") // What is there by then.
	})
	pids := h.pids(t)
	refused := map[string][]string{
		"broken":         {"--to", writeProgram(t, "broken", "#!/bin/sh\necho out of order >&2\nexit 3\n")},
		"no program":     {"--to", "/nonexistent/island"},
		"another island": {"--to", filepath.Join(bin, "plugins", "cache")},
		"older protocol": {"--to", writeProgram(t, "old", "#!/bin/sh\necho '1|0|unix|/nonexistent|grpc|'\nexec sleep 5\n")},
		"checksum":       {"--sha256", strings.Repeat("00", 32)},
	}
	says := map[string]string{
		"broken": "out of order", "no program": "there is no binary", "another island": `is the island "cache"`,
		"older protocol": "upgrade the island", "checksum": "has the sha256",
	}
	for name, args := range refused {
		t.Run(name, func(t *testing.T) {
			out, err := h.tryCLI(t, append([]string{"swap", "report-generator"}, args...)...)
			if err == nil || !strings.Contains(out, says[name]) || !strings.Contains(out, "goes on as it is") {
				t.Errorf("%v: %s", err, out)
			}
			if now := h.pids(t); now["report-generator"] != pids["report-generator"] {
				t.Errorf("process %d became %d", pids["report-generator"], now["report-generator"])
			}
		})
	}
	ticks := feed.count()
	eventually(t, 30*time.Second, "more ticks", func() error {
		if now := feed.count(); now < ticks+3 {
			return fmt.Errorf("%d", now-ticks)
		}
		return nil
	})
	feed.stop()
	requests.stop()
	if out := h.cli(t, "crash", "report-generator"); strings.TrimSpace(out) != "No crashes." {
		t.Errorf("%s", out)
	}
}

// TestCrashReports freezes and kills an island: the report of each has what an operator needs, and is there after a restart
// of the host; strangers see no more than that it crashed.
func TestCrashReports(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	quick := edited(t, func(text string) string {
		return strings.Replace(text, `binary = "plugins/report-generator"`, `binary = "plugins/report-generator"
  health {
    interval = "200ms"
    timeout  = "300ms"
  }`, 1)
	})
	env := map[string]string{"ISLANDS_DATA_DIR": dataDir(t), "ISLANDS_CONFIG": quick}
	h := startHost(t, m, env)
	requests := startLoad(t, h, 1, "/api/crypto-report/btc")
	signal := func(with syscall.Signal, restarts float64) {
		t.Helper()
		if err := syscall.Kill(h.pids(t)["report-generator"], with); err != nil {
			t.Fatal(err)
		}
		eventually(t, 30*time.Second, "back", func() error {
			island := h.get(t, "/health/islands/report-generator").json(t)
			if at(t, island, "state") != "running" || at(t, island, "restarts") != restarts {
				return fmt.Errorf("%v", island)
			}
			return nil
		})
	}
	signal(syscall.SIGSTOP, 1)
	signal(syscall.SIGKILL, 2)
	requests.stop()
	public := string(h.ok(t, "/health/islands/report-generator").body)
	for _, private := range []string{"goroutine", "stderr", "stack", bin} {
		if strings.Contains(public, private) {
			t.Errorf("everybody sees %q in %s", private, public)
		}
	}
	h.stop(t)

	h = startHost(t, m, env)
	var reports struct {
		Crashes []struct {
			Cause, Signal, Stack, Version string
			PID                           int
			UptimeSeconds                 float64 `json:"uptime_seconds"`
			Applied                       struct{ SHA256 string }
		}
	}
	if err := json.Unmarshal([]byte(h.cli(t, "crash", "report-generator", "--json")), &reports); err != nil {
		t.Fatal(err)
	}
	if len(reports.Crashes) != 2 {
		t.Fatalf("%+v", reports)
	}
	killed, hung := reports.Crashes[0], reports.Crashes[1]
	if killed.Cause != "signal" || killed.Signal != "killed" || killed.PID == 0 || killed.Version == "" || len(killed.Applied.SHA256) != 64 {
		t.Errorf("%+v", killed)
	}
	if hung.Cause != "hang" || !strings.Contains(hung.Stack, "goroutine ") || hung.UptimeSeconds <= 0 {
		t.Errorf("%+v", hung)
	}
}

// TestLostSocket removes an island's socket file: the island is replaced, and nobody who asks notices.
func TestLostSocket(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	h := startHost(t, m, nil)
	pid := h.pids(t)["report-generator"]
	requests := startLoad(t, h, 2, "/api/crypto-report/btc", "/api/market-data/eth")
	sockets, _ := filepath.Glob(filepath.Join(h.data, "run", "i*", "*", "*"))
	if len(sockets) != 6 {
		t.Fatalf("the sockets are %v", sockets)
	}
	for _, socket := range sockets {
		if err := os.Remove(socket); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 30*time.Second, "all replaced", func() error {
		left := 0
		now, _ := filepath.Glob(filepath.Join(h.data, "run", "i*", "*", "*"))
		for range now {
			left++
		}
		if left != 6 || gone(pid) != nil {
			return fmt.Errorf("%d sockets", left)
		}
		return nil
	})
	requests.stop()
	if out := h.cli(t, "crash", "report-generator"); !strings.Contains(out, "socket") {
		t.Errorf("%s", out)
	}
}
