package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// composition is a configuration that a test rewrites under a running host.
type composition struct {
	t    *testing.T
	path string
	text string
}

func newComposition(t *testing.T) *composition {
	t.Helper()
	text, err := os.ReadFile("../../../islands.hcl")
	if err != nil {
		t.Fatal(err)
	}
	c := &composition{t: t, path: filepath.Join(t.TempDir(), "islands.hcl"), text: string(text)}
	c.replace(fearGreed, "") // An island to add.
	c.replace(sentiment, "")
	return c
}

func (c *composition) write(text string) {
	c.t.Helper()
	if err := os.WriteFile(c.path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// replace changes the configuration for good.
func (c *composition) replace(from, to string) {
	c.t.Helper()
	if !strings.Contains(c.text, from) {
		c.t.Fatalf("no %q in the configuration", from)
	}
	c.text = strings.Replace(c.text, from, to, 1)
	c.write(c.text)
}

// changes is what a reload answers.
type changes struct {
	Result       string   `json:"result"`
	Added        []string `json:"added"`
	Replaced     []string `json:"replaced"`
	Updated      []string `json:"updated"`
	Removed      []string `json:"removed"`
	Unchanged    []string `json:"unchanged"`
	NeedsRestart []string `json:"needs_restart"`
}

func (h *host) reload(t *testing.T) changes {
	t.Helper()
	var c changes
	if err := json.Unmarshal([]byte(h.cli(t, "reload", "--json", "--timeout", "90s")), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

const (
	fearGreed = `island "fear-greed" {
  layer  = "external_services"
  binary = "plugins/fear-greed"

  config {
    url = env("FEAR_GREED_URL", "https://api.alternative.me/fng/")
  }
}

`
	sentiment = `
  sentiment {
    sources  = ["fear-greed"]
    strategy = "medium_term"
  }
`
)

// TestReload changes the configuration again and again while warm reports are asked for, quotes are loaded and the feed is
// listened to: no request fails, no tick is lost and none comes twice, and no island is replaced whose block is the same.
func TestReload(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	c := newComposition(t)
	h := startHost(t, m, map[string]string{"ISLANDS_CONFIG": c.path})
	requests := startLoad(t, h, 3, "/api/crypto-report/btc", "/api/market-data/eth", "/api/market-data?symbols=sol,bnb", "/health/live")
	feed := startEar(t, h)
	channel := h.listen(t, "?channels=islands")
	becomes := func(t *testing.T, state string) {
		t.Helper()
		eventually(t, 30*time.Second, "news of fear-greed", func() error {
			m, err := channel.next(10 * time.Second)
			if err != nil || !strings.Contains(string(m.Data), `"fear-greed"`) || !strings.Contains(string(m.Data), fmt.Sprintf(`"state":%q`, state)) {
				return fmt.Errorf("%w, %s", err, m.Data)
			}
			return nil
		})
	}
	pids := h.pids(t)
	steps := []struct {
		name   string
		change func()
		want   changes
		check  func(t *testing.T)
	}{
		{"nothing", func() {}, changes{Result: "unchanged"}, nil},
		{"an island more", func() {
			c.replace("request {\n", fearGreed+"request {\n"+sentiment)
		}, changes{Added: []string{"fear-greed"}}, func(t *testing.T) {
			t.Helper()
			h.ok(t, "/health/islands/fear-greed")
			becomes(t, "running")
			if report := h.ok(t, "/api/crypto-report/xrp").json(t); at(t, report, "provenance.sentiment.source") != "fear-greed" {
				t.Errorf("sentiment %v", at(t, report, "sentiment"))
			}
		}},
		{"a strategy", func() { c.replace(`"real_time"      { ttl = "30s" }`, `"real_time"      { ttl = "20s" }`) }, changes{}, func(t *testing.T) {
			t.Helper()
			header := h.ok(t, "/api/market-data/ltc").header.Get("Cache-Control")
			if !strings.Contains(header, "max-age=20") && !strings.Contains(header, "max-age=19") {
				t.Errorf("Cache-Control: %s", header)
			}
		}},
		{"the order of sources", func() {
			c.replace(`sources  = ["coingecko-source", "binance-source"]`, `sources  = ["binance-source", "coingecko-source"]`)
		}, changes{}, func(t *testing.T) {
			t.Helper()
			if got := at(t, h.ok(t, "/api/market-data/dot").json(t), "source"); got != "binance-source" {
				t.Errorf("%v answers", got)
			}
		}},
		{"a setting", func() {
			c.replace(`binary = "plugins/report-generator"`, "binary = \"plugins/report-generator\"\n  config {\n    disclaimer = \"Reloaded.\"\n  }")
		}, changes{Replaced: []string{"report-generator"}}, func(t *testing.T) {
			t.Helper()
			if got := at(t, h.ok(t, "/api/crypto-report/ada").json(t), "disclaimer"); got != "Reloaded." {
				t.Errorf("the disclaimer is %v", got)
			}
		}},
		{"another setting", func() { c.replace(`"Reloaded."`, `"Reloaded again."`) }, changes{Replaced: []string{"report-generator"}}, nil},
		{"how an island is kept", func() {
			c.replace("  config {\n    disclaimer", "  health {\n    interval = \"3s\"\n  }\n  config {\n    disclaimer")
		}, changes{Updated: []string{"report-generator"}}, nil},
		{"a report less", func() {
			from := strings.Index(c.text, "  # GET /api/technical-analysis")
			to := strings.Index(c.text, "# The second road")
			c.replace(c.text[from:to], "}\n\n")
		}, changes{}, func(t *testing.T) {
			t.Helper()
			if r := h.get(t, "/api/technical-analysis/btc"); r.status != http.StatusNotFound {
				t.Errorf("%d %s", r.status, r.body)
			}
		}},
		{"a report more", func() {
			c.replace("request {\n", "request {\n  report \"technical-analysis\" {\n    island   = \"report-generator\"\n    strategy = \"long_term\"\n  }\n")
		}, changes{}, func(t *testing.T) {
			t.Helper()
			h.ok(t, "/api/technical-analysis/btc")
		}},
		{"a symbol more", func() { c.replace(`"doge", "link"]`, `"doge", "link", "dot"]`) }, changes{}, func(t *testing.T) {
			t.Helper()
			l := h.listen(t, "?channels=ticker:dot")
			eventually(t, 30*time.Second, "a quote of the new symbol", func() error {
				if m, err := l.next(10 * time.Second); err != nil || !strings.Contains(string(m.Data), `"dot"`) {
					return fmt.Errorf("%w, %s", err, m.Data)
				}
				return nil
			})
		}},
		{"a symbol less", func() { c.replace(`"doge", "link", "dot"]`, `"doge", "link"]`) }, changes{}, func(t *testing.T) {
			t.Helper()
			eventually(t, 30*time.Second, "a snapshot without the symbol", func() error {
				snapshot := h.listen(t, "?channels=ticker:*").await("snapshot", "ticker:*", 10*time.Second)
				if _, there := snapshot.quotes(t)["dot"]; there {
					return fmt.Errorf("%s", snapshot.Data)
				}
				return nil
			})
		}},
		{"the sources of the feed", func() {
			c.replace(`sources = ["binance-source", "coingecko-source"]`, `sources = ["coingecko-source", "binance-source"]`)
		}, changes{}, nil},
		{"the sources of the feed, back", func() {
			c.replace(`sources = ["coingecko-source", "binance-source"]`, `sources = ["binance-source", "coingecko-source"]`)
		}, changes{}, nil},
		{"an island disabled", func() {
			c.replace(sentiment, "")
			c.replace("\"plugins/fear-greed\"\n", "\"plugins/fear-greed\"\n  enabled = false\n")
		}, changes{Removed: []string{"fear-greed"}}, func(t *testing.T) {
			t.Helper()
			if got := at(t, h.get(t, "/health/islands/fear-greed").json(t), "state"); got != "disabled" {
				t.Errorf("it is %v", got)
			}
			becomes(t, "disabled")
		}},
		{
			"an island out of the file", func() {
				c.replace(strings.Replace(fearGreed, "\n\n  config", "\n  enabled = false\n\n  config", 1), "")
			},
			changes{},
			func(t *testing.T) {
				t.Helper()
				if r := h.get(t, "/health/islands/fear-greed"); r.status != http.StatusNotFound {
					t.Errorf("%d %s", r.status, r.body)
				}
				becomes(t, "removed")
				if m := h.listen(t, "?channels=islands").await("snapshot", "islands", 10*time.Second); strings.Contains(string(m.Data), "fear-greed") {
					t.Errorf("what is gone is told: %s", m.Data)
				}
			},
		},
		{"what takes a restart", func() { c.replace("max_entries = 10000", "max_entries = 9999") }, changes{NeedsRestart: []string{"host.near_cache.max_entries"}}, nil},
		{"what takes a restart, back", func() { c.replace("max_entries = 9999", "max_entries = 10000") }, changes{}, nil},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			step.change()
			got := h.reload(t)
			for _, list := range []struct {
				what      string
				got, want []string
			}{
				{"added", got.Added, step.want.Added},
				{"replaced", got.Replaced, step.want.Replaced},
				{"updated", got.Updated, step.want.Updated},
				{"removed", got.Removed, step.want.Removed},
				{"needs restart", got.NeedsRestart, step.want.NeedsRestart},
			} {
				if !slices.Equal(list.got, list.want) && len(list.got)+len(list.want) > 0 {
					t.Errorf("%s: %v, want %v", list.what, list.got, list.want)
				}
			}
			if step.want.Result != "" && got.Result != step.want.Result {
				t.Errorf("it is %s", got.Result)
			}
			now := h.pids(t)
			for name, pid := range pids {
				replaced := slices.Contains(step.want.Replaced, name) || slices.Contains(step.want.Removed, name)
				if replaced != (now[name] != pid) {
					t.Errorf("%s: process %d became %d", name, pid, now[name])
				}
				if replaced && pid != 0 {
					if err := gone(pid); err != nil {
						t.Error(err)
					}
				}
			}
			pids = now
			if step.check != nil {
				step.check(t)
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
	if status := h.stop(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// postAdmin asks over the admin socket.
func (h *host) postAdmin(t *testing.T, path string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(h.data, "run", "admin.sock"))
		},
	}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://islands"+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// TestReloadRefused reloads what cannot be: the host goes on as it is, and says what is wrong.
func TestReloadRefused(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	c := newComposition(t)
	h := startHost(t, m, map[string]string{"ISLANDS_CONFIG": c.path})
	requests := startLoad(t, h, 1, "/api/crypto-report/btc")
	pids := h.pids(t)
	same := func(t *testing.T) {
		t.Helper()
		for name, pid := range h.pids(t) {
			if pid != pids[name] {
				t.Errorf("%s: process %d became %d", name, pids[name], pid)
			}
		}
	}
	t.Run("broken file", func(t *testing.T) {
		broken := strings.Replace(c.text, `ttl = "5m"`, `ttl = "5 parsecs"`, 1)
		before, _, _ := strings.Cut(broken, "parsecs")
		line := fmt.Sprint(1 + strings.Count(before, "\n"))
		c.write(broken)
		out, err := h.tryCLI(t, "reload")
		if err == nil || !strings.Contains(out, "islands.hcl line "+line) || !strings.Contains(out, "5 parsecs") {
			t.Errorf("%v: %s", err, out)
		}
		status, text := h.postAdmin(t, "/admin/reload")
		if status != http.StatusBadRequest || !strings.Contains(text, "islands.hcl line "+line) || !strings.Contains(text, "5 parsecs") {
			t.Errorf("%d: %s", status, text)
		}
		said := h.says(t, "the configuration was not taken over", "islands.hcl:"+line)
		if !strings.Contains(said, `"by":"operator"`) {
			t.Error(said)
		}
		c.write(c.text)
		same(t)
	})
	t.Run("settings that an island refuses", func(t *testing.T) {
		c.write(strings.Replace(c.text, `api_key = env(`, "plan = \"silver\"\n    api_key = env(", 1))
		out, err := h.tryCLI(t, "reload")
		if err == nil || !strings.Contains(out, "coingecko-source") || !strings.Contains(out, "silver") {
			t.Errorf("%v: %s", err, out)
		}
		c.write(c.text)
		same(t)
	})
	t.Run("an island that is not there", func(t *testing.T) {
		c.write(strings.Replace(c.text, "request {\n", strings.Replace(fearGreed, "plugins/fear-greed", "plugins/nowhere", 1)+"request {\n", 1))
		out, err := h.tryCLI(t, "reload")
		if err == nil || !strings.Contains(out, "plugins/nowhere") {
			t.Errorf("%v: %s", err, out)
		}
		c.write(c.text)
		same(t)
	})
	requests.stop()
	h.ok(t, "/health/ready")
}

// TestReloadTakesABuildIn replaces the binary under an unchanged block: nothing happens by itself, not even in a crash, and a
// reload takes it in. Several at once come one after the other.
func TestReloadTakesABuildIn(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	c := newComposition(t)
	path := copyProgram(t, "report-generator")
	c.replace(`"plugins/report-generator"`, fmt.Sprintf("%q", path))
	h := startHost(t, m, map[string]string{"ISLANDS_CONFIG": c.path})
	pid := h.pids(t)["report-generator"]
	if got := h.reload(t); got.Result != "unchanged" || len(got.Replaced) > 0 {
		t.Errorf("%+v", got)
	}
	build, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", append(build, "another build"...), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	c.replace(`env("LOG_LEVEL", "info")`, `"debug"`)
	var replaced atomic.Int32
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			out, err := h.tryCLI(t, "reload", "--json", "--timeout", "90s")
			var got changes
			if err := errors.Join(err, json.Unmarshal([]byte(out), &got)); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			replaced.Add(int32(len(got.Replaced)))
		})
	}
	both.Wait()
	if now := h.pids(t)["report-generator"]; now == pid || replaced.Load() != 1 {
		t.Errorf("process %d became %d, replaced by %d of two reloads", pid, now, replaced.Load())
	}
	h.ok(t, "/api/crypto-report/sol")
	h.says(t, `"@level":"debug"`)
}
