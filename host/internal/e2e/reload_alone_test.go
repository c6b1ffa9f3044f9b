package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReloadBySignalAndWatch reloads without the command line: by SIGHUP, then by the change of the file alone, several at
// once and with a mistake in between.
func TestReloadBySignalAndWatch(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	c := newComposition(t)
	h := startHost(t, m, map[string]string{"ISLANDS_CONFIG": c.path, "LOG_LEVEL": ""})
	pid := h.pids(t)["report-generator"]
	c.replace(`binary = "plugins/report-generator"`, "binary = \"plugins/report-generator\"\n  config {\n    disclaimer = \"One.\"\n  }")
	const off, on = "= false    # reload this file", "= true     # reload this file"
	c.replace(off, on)
	if err := h.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	h.says(t, "the configuration was taken over", `"by":"SIGHUP"`, `"replaced":"report-generator"`)
	becomes := func(what string) {
		t.Helper()
		eventually(t, 30*time.Second, what, func() error {
			now := h.pids(t)["report-generator"]
			if now == pid || now == 0 {
				return fmt.Errorf("process %d", now)
			}
			pid = now
			return nil
		})
	}
	becomes("replaced by SIGHUP")
	c.replace("One.", "Two.")
	h.says(t, "the configuration was taken over", `"by":"watch"`, `"replaced":"report-generator"`)
	becomes("replaced by the watch")

	good := c.text
	c.write(good + "island {")
	h.says(t, "the configuration was not taken over", `"by":"watch"`)
	c.write(good)
	h.says(t, "the configuration is what it was", `"by":"watch"`)

	// An editor that puts a new file in the place of the old one; after it, the file is not watched.
	fresh := c.path + ".new"
	text := strings.Replace(strings.Replace(good, "Two.", "Three.", 1), on, off, 1)
	if err := os.WriteFile(fresh, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, c.path); err != nil {
		t.Fatal(err)
	}
	becomes("replaced by the watch of a new file")
	c.write(strings.Replace(text, "Three.", "Four.", 1))
	if err := h.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	becomes("replaced by SIGHUP again")
	if status := h.stop(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// TestReloadLeavesNothing adds and removes an island, a symbol and the watch again and again: the host has as many files
// open, and as many sockets in its run folder, as after the first few times.
func TestReloadLeavesNothing(t *testing.T) {
	m := startMarket(t)
	c := newComposition(t)
	h := startHost(t, m, map[string]string{"ISLANDS_CONFIG": c.path})
	with := strings.NewReplacer(
		"request {\n", fearGreed+"request {\n"+sentiment, `"doge", "link"]`, `"doge", "link", "dot"]`,
		"= false    # reload this file", "= true     # reload this file",
	).Replace(c.text)
	around := func(times int) {
		t.Helper()
		for range times {
			for _, text := range []string{with, c.text} {
				c.write(text)
				h.reload(t)
			}
		}
	}
	count := func(what string) int {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/%s", h.cmd.Process.Pid, what))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	sockets := func() int {
		found, err := filepath.Glob(filepath.Join(h.data, "run", "*", "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	around(3)
	files, left := count("fd"), sockets()
	around(12)
	const slack = 3 // A connection to the market may be open or not.
	eventually(t, 30*time.Second, "as many files as before", func() error {
		if now := count("fd"); now > files+slack {
			return fmt.Errorf("%d files became %d", files, now)
		}
		return nil
	})
	if now := sockets(); now != left {
		t.Errorf("%d files in the run folder became %d", left, now)
	}
	if status := h.stop(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
}
