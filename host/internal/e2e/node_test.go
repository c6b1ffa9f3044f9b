package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// packs are the example islands in other languages, which are packed when a test asks for them: not everybody who runs
// another test has what it takes.
var packs = map[string]func() (string, error){
	"python-source": sync.OnceValues(func() (string, error) { return pack("python-source") }),
	"node-source":   sync.OnceValues(func() (string, error) { return pack("node-source") }),
}

// pack packs an example island that is in no Go, in a folder of its own beside the others.
func pack(name string) (string, error) {
	dir, err := os.MkdirTemp(bin, "packed")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	if out, err := exec.Command("../../../examples/"+name+"/build", path).CombinedOutput(); err != nil {
		return "", fmt.Errorf("pack %s: %w\n%s", name, err, out)
	}
	for _, path := range []string{dir, path} { // Some islands are of another user.
		if err := os.Chmod(path, 0o755); err != nil {
			return "", err
		}
	}
	return path, nil
}

// islandProgram returns the path of an island's program.
func islandProgram(t *testing.T, name string) string {
	t.Helper()
	pack, ok := packs[name]
	if !ok {
		return filepath.Join(bin, "plugins", name)
	}
	path, err := pack()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// nodeSource is the island in JavaScript with something more at the beginning of its life, and returns the path of the program.
func nodeSource(t *testing.T, beginning string) string {
	t.Helper()
	text, err := os.ReadFile(islandProgram(t, "node-source"))
	if err != nil {
		t.Fatal(err)
	}
	const taken = "    output.take();\n"
	if n := strings.Count(string(text), taken); n != 1 {
		t.Fatalf("the packed program takes its output %d times", n)
	}
	// Beside the others, where the user of an island gets at it.
	dir, err := os.MkdirTemp(bin, "node") //nolint:usetesting // t.TempDir is for this user alone.
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "node-source")
	changed := strings.Replace(string(text), taken, taken+beginning, 1)
	if err := os.WriteFile(path, []byte(changed), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestNodeIsland runs an island in JavaScript, and beside it one that throws: it is confined and limited like any other,
// answers, and what it says is in the log under its name. It is replaced while it answers, and goes with a host that is killed.
func TestNodeIsland(t *testing.T) {
	t.Parallel()
	path := nodeSource(t, "setTimeout(console.log, 500, 'a plain print');\n"+
		"log('WARN', 'a record', { pair: 'BTCUSDT' });\nconsole.error('a plain line');\n")
	throws := nodeSource(t, "(function moonstruck() { throw new Error('the moon is in the wrong house'); })();\n")
	h := startHost(t, startMarket(t), map[string]string{"ISLANDS_CONFIG": edited(t, func(text string) string {
		text = strings.Replace(text, `["coingecko-source", "binance-source"]`, `["node-source", "moonstruck", "coingecko-source", "binance-source"]`, 1)
		block := func(name, path string) string {
			return `
island "` + name + `" {
  layer  = "external_services"
  binary = "` + path + `"
  config {
    url = env("BINANCE_URL")
  }
  limits {
    memory = "256MiB"
    files  = 64
  }
}
`
		}
		return text + block("node-source", path) + block("moonstruck", throws)
	})})
	quote := h.ok(t, "/api/market-data/btc?source=node-source").json(t)
	if at(t, quote, "source") != "node-source" || at(t, quote, "price") == nil || at(t, quote, "market_cap") != nil {
		t.Errorf("%v", quote)
	}
	for _, words := range [][]string{
		{`"@level":"warn"`, `"@message":"a record"`, `"pair":"BTCUSDT"`},
		{`"line":"a plain line"`},
		{`"line":"a plain print"`},
	} {
		if line := h.says(t, words...); !strings.Contains(line, `"island":"node-source"`) {
			t.Errorf("not under the island's name: %s", line)
		}
	}
	if how := h.appliedTo(t)["node-source"]; runtime.GOOS == "linux" && (!how.Confined || how.Sealed || how.OwnUser != (os.Geteuid() == 0)) {
		t.Errorf("%+v", how)
	}
	h.crashed(t, "moonstruck", "Error: the moon is in the wrong house", "at moonstruck (")
	before := h.pids(t)["node-source"]
	requests := startLoad(t, h, 2, "/api/market-data/eth?source=node-source")
	h.cli(t, "swap", "node-source")
	requests.stop()
	if err := gone(before); err != nil {
		t.Error(err)
	}
	if h.said("did not shut down cleanly") > 0 || h.said("Process cannot be killed") > 0 {
		t.Error("the island did not stop cleanly")
	}
	now := h.pids(t)["node-source"]
	_ = h.cmd.Process.Kill()
	<-h.done
	eventually(t, 20*time.Second, "the island is gone", func() error { return gone(now) })
}
