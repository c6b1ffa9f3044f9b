package e2e

import (
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestChaosCrashCycles kills every island again and again under load: no warm request fails, no tick is lost, and the host
// holds as much at the end as at the start.
func TestChaosCrashCycles(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	h := startHost(t, m, map[string]string{"ISLANDS_CONFIG": edited(t, restless)})
	paths := []string{"/api/crypto-report/btc", "/api/market-data/eth", "/health/live"}
	feed := startEar(t, h)
	// What is made once, such as pools of buffers and threads, is made by the first of it all.
	warmUp := startLoad(t, h, 3, paths...)
	pids := crashAll(t, h, h.pids(t))
	warmUp.stop()
	settled(t, h)
	before, sockets := footprintOf(t, h), socketsOf(h)
	requests := startLoad(t, h, 3, paths...)
	for range scaled(5, 100) {
		pids = crashAll(t, h, pids)
	}
	requests.stop()
	ticks := feed.count()
	eventually(t, 60*time.Second, "more ticks", func() error {
		if now := feed.count(); now < ticks+3 {
			return fmt.Errorf("%d", now-ticks)
		}
		return nil
	})
	var after footprint
	eventually(t, 60*time.Second, "everything is given back", func() error {
		after = footprintOf(t, h)
		return after.fits(before)
	})
	t.Logf("before: %v; after: %v", before, after)
	if now := socketsOf(h); now != sockets {
		t.Errorf("%d sockets in the run directory became %d", sockets, now)
	}
	feed.stop()
}

// crashAll kills all islands at once and returns the processes that take their places.
func crashAll(t *testing.T, h *host, pids map[string]int) map[string]int {
	t.Helper()
	for name, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return allRun(t, h, pids)
}

// fits reports what a host holds beyond what it held before.
func (f footprint) fits(before footprint) error {
	const (
		// Health checks, polls and timers of the moment come and go.
		goroutines = 15
		// So do the connection of the command line tool that asks, and what is being read.
		files = 6
		// The runtime keeps threads for system calls that once coincided.
		threads = 12
		// The collector lets the heap double before it collects, crash reports are kept, ten for each island, and memory is
		// given back to the system late.
		resident = 64 << 20
	)
	slack := int64(resident)
	if races {
		slack *= 4 // The race detector remembers every access in as much memory again, several times.
	}
	if f.goroutines > before.goroutines+goroutines || f.files > before.files+files || f.sockets > before.sockets+files ||
		f.threads > before.threads+threads || f.resident > before.resident+slack {
		return fmt.Errorf("before: %v; now: %v", before, f)
	}
	return nil
}

// socketsOf counts the sockets in the run directory of a host.
func socketsOf(h *host) (n int) {
	_ = filepath.WalkDir(filepath.Join(h.data, "run"), func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type() == fs.ModeSocket {
			n++
		}
		return nil
	})
	return n
}

// TestChaosSwaps replaces islands again and again, each in its turn, under load over HTTP and on the feed: no request fails, no
// tick is lost and none comes twice, and the host holds as much at the end as at the start.
func TestChaosSwaps(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	h := startHost(t, m, nil)
	feed := startEar(t, h)
	paths := []string{"/api/crypto-report/btc", "/api/market-data/eth", "/api/technical-analysis/sol", "/health/live"}
	names := []string{"binance-source", "report-generator", "cache", "sqlite-store", "coingecko-source", "fear-greed"}
	requests := startLoad(t, h, 4, paths...)
	var before footprint
	for round := range scaled(5, 50) {
		name := names[round%len(names)]
		pid := h.pids(t)[name]
		h.cli(t, "swap", name)
		if now := h.pids(t)[name]; now == pid || now == 0 {
			t.Errorf("%s: process %d became %d", name, pid, now)
		}
		if round == 0 {
			before = footprintOf(t, h)
		}
	}
	requests.stop()
	eventually(t, 60*time.Second, "everything is given back", func() error { return footprintOf(t, h).fits(before) })
	feed.stop()
}

// TestChaosReloads changes the configuration again and again under load over HTTP and on the feed, now an island that stands in the
// feed's way and now one that does not: no request fails, no tick is lost and none comes twice, only what changed is replaced, and
// the host holds as much at the end as at the start.
func TestChaosReloads(t *testing.T) {
	t.Parallel()
	m, c := startMarket(t), newComposition(t)
	h := startHost(t, m, map[string]string{"ISLANDS_CONFIG": c.path})
	feed := startEar(t, h)
	requests := startLoad(t, h, 4, "/api/crypto-report/btc", "/api/market-data/eth", "/api/technical-analysis/sol", "/health/live")
	steps := []struct{ island, from, to string }{
		{"binance-source", `stream_url = env("BINANCE_STREAM_URL"`, "weight_per_minute = 5000\n    stream_url = env(\"BINANCE_STREAM_URL\""},
		{"report-generator", `binary = "plugins/report-generator"`, "binary = \"plugins/report-generator\"\n  config {\n    disclaimer = \"Reloaded.\"\n  }"},
		{"cache", `max_memory = "64MiB"`, "max_memory = \"63MiB\""},
		{"sqlite-store", `path      = "`, "busy_timeout = \"6s\"\n    path      = \""},
		{"coingecko-source", `api_key = env("COINGECKO_API_KEY", "")`, "timeout = \"2s\"\n    api_key = env(\"COINGECKO_API_KEY\", \"\")"},
	}
	var before footprint
	for round := range scaled(5, 50) {
		step := steps[round%len(steps)]
		from, to := step.from, step.to
		if round/len(steps)%2 == 1 { // And back.
			from, to = to, from
		}
		c.replace(from, to)
		pids := h.pids(t)
		if got := h.reload(t); fmt.Sprint(got.Replaced) != fmt.Sprint([]string{step.island}) {
			t.Errorf("round %d: %+v", round, got)
		}
		for name, pid := range h.pids(t) {
			if changed := pid != pids[name]; changed != (name == step.island) {
				t.Errorf("round %d, of %s: %s: process %d became %d", round, step.island, name, pids[name], pid)
			}
		}
		if round == 0 {
			before = footprintOf(t, h)
		}
	}
	// One that does not validate changes nothing.
	pids := h.pids(t)
	c.write(strings.Replace(c.text, "max_memory = ", "max_memories = ", 1))
	if out, err := h.tryCLI(t, "reload"); err == nil || !strings.Contains(out, "max_memories") {
		t.Errorf("%v %s", err, out)
	}
	if now := h.pids(t); !maps.Equal(now, pids) {
		t.Errorf("%v became %v", pids, now)
	}
	requests.stop()
	eventually(t, 60*time.Second, "everything is given back", func() error { return footprintOf(t, h).fits(before) })
	feed.stop()
}
