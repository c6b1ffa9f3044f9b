package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// director tells islands made of testdata/trouble, each by its name, what to do.
type director struct {
	server *httptest.Server
	over   chan struct{}

	mu     sync.Mutex
	begins map[string]string
	orders map[string]chan string
	told   map[string]chan string
}

func startDirector(t *testing.T, names ...string) *director {
	t.Helper()
	d := &director{over: make(chan struct{}), begins: map[string]string{}, orders: map[string]chan string{}, told: map[string]chan string{}}
	for _, name := range names {
		d.orders[name], d.told[name] = make(chan string), make(chan string, 16)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{name}/begin", func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		_, _ = io.WriteString(w, d.begins[r.PathValue("name")])
		delete(d.begins, r.PathValue("name"))
	})
	mux.HandleFunc("GET /{name}/next", func(w http.ResponseWriter, r *http.Request) {
		select {
		case order := <-d.orders[r.PathValue("name")]:
			_, _ = io.WriteString(w, order)
		case <-r.Context().Done():
		case <-d.over:
		}
	})
	mux.HandleFunc("POST /{name}/tell", func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		select {
		case d.told[r.PathValue("name")] <- string(text):
		case <-d.over:
		}
	})
	d.server = httptest.NewServer(mux)
	t.Cleanup(func() {
		close(d.over)
		d.server.CloseClientConnections()
		d.server.Close()
	})
	return d
}

// begin says how an island starts the next time.
func (d *director) begin(name, how string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.begins[name] = how
}

// order has an island do something.
func (d *director) order(t *testing.T, name, what string) {
	t.Helper()
	select {
	case d.orders[name] <- what:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s does not take orders", name)
	}
}

// hear waits for what an island tells.
func (d *director) hear(t *testing.T, name string) string {
	t.Helper()
	select {
	case text := <-d.told[name]:
		return text
	case <-time.After(60 * time.Second):
		t.Fatalf("%s tells nothing", name)
		return ""
	}
}

// block is the island in a configuration, asked for its health often, restarted at once, bounded to 256 MiB.
func (d *director) block(name string) string {
	return fmt.Sprintf(`island %q {
  layer  = "external_services"
  binary = "plugins/trouble"
  env    = { TROUBLE = %q }
  restart {
    max_crashes = 1000
    backoff_min = "10ms"
    backoff_max = "50ms"
  }
  health {
    interval = "500ms"
    timeout  = "2s"
    misses   = 2
  }
  limits {
    memory = "256MiB"
  }
}

`, name, d.server.URL+"/"+name)
}

// troubled is the shipped configuration with troublesome islands, all of which are asked how the market feels.
func (d *director) troubled(t *testing.T, names ...string) string {
	t.Helper()
	return edited(t, func(text string) string {
		var blocks strings.Builder
		for _, name := range names {
			blocks.WriteString(d.block(name))
		}
		text = strings.Replace(text, sentiment, "", 1)
		return strings.Replace(text, "\nrequest {\n", "\n"+blocks.String()+"request {\n"+fmt.Sprintf(`
  sentiment {
    sources  = ["%s"]
    strategy = "medium_term"
  }
`, strings.Join(names, `", "`)), 1)
	})
}

// crash is a report as an operator sees it.
type crash struct {
	ID, Cause, Signal, Error, Limit, Stderr, Stack string
	Code, PID                                      int
}

func (c crash) String() string {
	return fmt.Sprintf("%s: code %d, signal %q, error %q, limit %q, %d bytes of stderr, %d of stack", c.Cause, c.Code, c.Signal, c.Error, c.Limit, len(c.Stderr), len(c.Stack))
}

// crashes returns the reports of an island, the newest first.
func (h *host) crashes(t *testing.T, name string) []crash {
	t.Helper()
	var reports struct{ Crashes []crash }
	if err := json.Unmarshal([]byte(h.cli(t, "crash", name, "--json")), &reports); err != nil {
		t.Fatal(err)
	}
	return reports.Crashes
}

// trouble is a way for a process to misbehave. It begins with the next life of an island, or in this one by an order, or is done
// to it from outside.
type trouble struct {
	name, begin, order string
	done               func(pid int)
	// cause and says are the class of the crash and what its report tells.
	cause string
	says  []string
}

// TestChaosHostileProcesses has islands misbehave in every way that a process can: the host lives, the report of each says what
// happened, each is mended by its next start, and the other islands and their clients notice nothing.
func TestChaosHostileProcesses(t *testing.T) {
	t.Parallel()
	troubles := []trouble{
		{name: "frozen", cause: "hang", says: []string{"goroutine "}, done: func(pid int) { _ = syscall.Kill(pid, syscall.SIGSTOP) }},
		{name: "killed", cause: "signal", says: []string{"killed"}, done: func(pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) }},
		{name: "aborted", cause: "exit", says: []string{"SIGABRT", "goroutine "}, done: func(pid int) { _ = syscall.Kill(pid, syscall.SIGABRT) }},
		{name: "mute", begin: "mute", cause: "start", says: []string{"timeout"}},
		{name: "babble", begin: "babble", cause: "start", says: []string{"did not shake hands"}},
		{name: "binary", begin: "binary", cause: "start", says: []string{"did not shake hands"}},
		{name: "elsewhere", begin: "elsewhere", cause: "start", says: []string{"start "}},
		{name: "old", begin: "old protocol", cause: "configuration", says: []string{"it speaks protocol 0 and this host protocol 1: upgrade the island"}},
		{name: "exit", begin: "exit", cause: "start", says: []string{"status 3", "out of order"}},
		{name: "misnamed", begin: "another name", cause: "configuration", says: []string{`"cache"`}},
		{name: "misplaced", begin: "another layer", cause: "configuration", says: []string{"infrastructure"}},
		{name: "roleless", begin: "another role", cause: "configuration", says: []string{"role"}},
		{name: "noisy-start", begin: "shout", cause: "start", says: []string{"did not shake hands"}},
		{name: "parent", order: "grandchild", cause: "exit", says: []string{"code 5"}},
		{name: "runaway", order: "runaway", cause: "exit", says: []string{"code 5"}},
		{name: "panic", order: "panic", cause: "exit", says: []string{"code 2", "a panic of its own", "goroutine "}},
		{name: "bomb", order: "bomb", cause: "out_of_memory", says: []string{"memory 256 MiB", "goroutine "}},
		{name: "exits", order: "exits", cause: "exit", says: []string{"code 6"}},
		{name: "hangs", order: "hangs", cause: "hang", says: []string{"goroutine "}},
	}
	// These are no reason to end an island.
	harmless := []string{"shout", "levels", "panics", "fails"}
	var names []string
	for _, c := range troubles {
		names = append(names, c.name)
	}
	names = append(names, harmless...)

	m, d := startMarket(t), startDirector(t, names...)
	h := startHost(t, m, map[string]string{"ISLANDS_CONFIG": d.troubled(t, names...)})
	requests := startLoad(t, h, 2, "/api/crypto-report/btc", "/api/market-data/eth")
	before, start := footprintOf(t, h), h.pids(t)
	t.Run("troubles", func(t *testing.T) {
		for _, c := range troubles {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				d.begin(c.name, c.begin)
				var offspring int
				switch {
				case c.done != nil:
					c.done(start[c.name])
				case c.begin != "":
					_ = syscall.Kill(start[c.name], syscall.SIGKILL)
				default:
					d.order(t, c.name, c.order)
				}
				if strings.HasSuffix(c.order, "grandchild") || c.order == "runaway" {
					var err error
					if offspring, err = strconv.Atoi(d.hear(t, c.name)); err != nil {
						t.Fatal(err)
					}
					if c.order == "runaway" {
						t.Cleanup(func() { _ = syscall.Kill(offspring, syscall.SIGKILL) })
					}
				}
				eventually(t, 90*time.Second, "a report", func() error {
					all := h.crashes(t, c.name)
					for _, report := range all {
						if report.Cause == c.cause && holdsAll(report.String()+report.Error+report.Stderr+report.Stack, c.says) {
							return nil
						}
					}
					return fmt.Errorf("%v", all)
				})
				if c.cause == "configuration" { // Nobody tries that again by themselves.
					h.cli(t, "restart", c.name)
				}
				eventually(t, 60*time.Second, "mended", func() error {
					if pid := h.pids(t)[c.name]; pid == 0 || pid == start[c.name] {
						return fmt.Errorf("process %d", pid)
					}
					return nil
				})
				if offspring != 0 && c.order == "grandchild" {
					eventually(t, 10*time.Second, "its child ends with it", func() error { return gone(offspring) })
				}
				if err := gone(offspring); offspring != 0 && err != nil {
					t.Logf("what has left its process group outlives its island: %v", err)
				}
			})
		}
		for _, name := range harmless {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				d.order(t, name, name)
				d.hear(t, name)
				for _, symbol := range []string{"ada", "xrp"} {
					h.ok(t, "/api/crypto-report/"+symbol)
				}
			})
		}
	})
	requests.stop()
	now := h.pids(t)
	for name, pid := range start {
		if now[name] != pid && !slices.ContainsFunc(troubles, func(c trouble) bool { return c.name == name }) {
			t.Errorf("%s: process %d became %d", name, pid, now[name])
		}
	}
	if len(now) != len(start) {
		t.Errorf("%v ran, %v run", slices.Sorted(maps.Keys(start)), slices.Sorted(maps.Keys(now)))
	}
	eventually(t, 60*time.Second, "everything is given back", func() error { return footprintOf(t, h).fits(before) })
	for _, name := range []string{"cache", "sqlite-store", "coingecko-source", "binance-source", "fear-greed", "report-generator"} {
		if crashes := h.crashes(t, name); len(crashes) > 0 {
			t.Errorf("%s: %v", name, crashes)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(h.data, "run", "i*")); len(left) != len(now) {
		t.Errorf("%d islands have %d folders of sockets", len(now), len(left))
	}
	if _, err := os.Stat(filepath.Join(h.data, "crashes")); err != nil {
		t.Error(err)
	}
}
