package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// pythonSource packs the island in Python with another beginning than it has, and returns the path of the program.
func pythonSource(t *testing.T, beginning string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "app"), os.DirFS("../../../examples/python-source/app")); err != nil {
		t.Fatal(err)
	}
	build, err := os.ReadFile("../../../examples/python-source/build")
	if err != nil {
		t.Fatal(err)
	}
	main := filepath.Join(dir, "app", "__main__.py")
	text, err := os.ReadFile(main)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), "\n        contract.serve(", "\n"+beginning+"        contract.serve(", 1)
	if err := os.WriteFile(main, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "build"), build, 0o700); err != nil {
		t.Fatal(err)
	}
	// Beside the others, where the user of an island gets at it.
	out, err := os.MkdirTemp(bin, "python") //nolint:usetesting // t.TempDir is for this user alone.
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(out, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(out, "python-source")
	if said, err := exec.CommandContext(t.Context(), filepath.Join(dir, "build"), path).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, said)
	}
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// withPython is the shipped configuration with the island in Python.
func withPython(t *testing.T, path string) string {
	t.Helper()
	return edited(t, func(text string) string {
		text = strings.Replace(text, `["coingecko-source", "binance-source"]`, `["python-source", "coingecko-source", "binance-source"]`, 1)
		return text + `
island "python-source" {
  layer  = "external_services"
  binary = "` + path + `"
  config {
    url = env("BINANCE_URL")
  }
}
`
	})
}

// TestPythonIsland runs an island that has neither Go nor the SDK: it is confined like any other, answers, and what it says is
// in the log under its name. It is replaced while it answers and stops with the host.
func TestPythonIsland(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	path := pythonSource(t, "        import threading\n        threading.Timer(0.5, print, ['a plain print']).start()\n"+
		"        goplugin.log('WARN', 'a record', pair='BTCUSDT')\n        sys.stderr.write('a plain line\\n')\n")
	h := startHost(t, m, map[string]string{"ISLANDS_CONFIG": withPython(t, path)})
	quote := h.ok(t, "/api/market-data/btc?source=python-source").json(t)
	if at(t, quote, "source") != "python-source" || at(t, quote, "price") == nil || at(t, quote, "market_cap") != nil {
		t.Errorf("%v", quote)
	}
	for _, words := range [][]string{
		{`"@level":"warn"`, `"@message":"a record"`, `"pair":"BTCUSDT"`},
		{`"line":"a plain line"`},
		{`"line":"a plain print"`},
	} {
		if line := h.says(t, words...); !strings.Contains(line, `"island":"python-source"`) {
			t.Errorf("not under the island's name: %s", line)
		}
	}
	if how := h.appliedTo(t)["python-source"]; runtime.GOOS == "linux" && (!how.Confined || how.Sealed || how.OwnUser != (os.Geteuid() == 0)) {
		t.Errorf("%+v", how)
	}
	before := h.pids(t)["python-source"]
	requests := startLoad(t, h, 2, "/api/market-data/eth?source=python-source")
	h.cli(t, "swap", "python-source")
	requests.stop()
	if err := gone(before); err != nil {
		t.Error(err)
	}
	now := h.pids(t)["python-source"]
	if status := h.stop(t); status != 0 {
		t.Errorf("the host ended with status %d", status)
	}
	if err := gone(now); err != nil {
		t.Error(err)
	}
	if h.said("did not shut down cleanly") > 0 || h.said("Process cannot be killed") > 0 {
		t.Error("the island did not stop cleanly")
	}
}

// TestPythonIslandOrphaned kills the host: the island goes with it.
func TestPythonIslandOrphaned(t *testing.T) {
	t.Parallel()
	h := startHost(t, startMarket(t), map[string]string{"ISLANDS_CONFIG": withPython(t, pythonSource(t, ""))})
	h.ok(t, "/api/market-data/btc?source=python-source")
	pid := h.pids(t)["python-source"]
	_ = h.cmd.Process.Kill()
	<-h.done
	eventually(t, 20*time.Second, "the island is gone", func() error { return gone(pid) })
}

// TestPythonIslandThatRaises shows the traceback of an island that does not start.
func TestPythonIslandThatRaises(t *testing.T) {
	t.Parallel()
	path := pythonSource(t, "        raise RuntimeError('the moon is in the wrong house')\n")
	h := startHost(t, startMarket(t), map[string]string{"ISLANDS_CONFIG": withPython(t, path)})
	h.crashed(t, "python-source", "Traceback (most recent call last)", "in main", "RuntimeError: the moon is in the wrong house")
	h.ok(t, "/api/market-data/btc") // The other sources answer.
}
