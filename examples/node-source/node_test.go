// Package node tests the island in app/ as a host sees it, and runs its own tests.
package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/islandtest"
	"github.com/service-islands/islands/sdk/process"
)

// folder holds the packed island, once a test has packed it.
var folder string

func TestMain(m *testing.M) {
	status := m.Run()
	if folder != "" {
		_ = os.RemoveAll(folder)
	}
	os.Exit(status)
}

// packed packs the island once for all tests and returns the path of the program.
var packed = sync.OnceValues(func() (string, error) {
	var err error
	if folder, err = os.MkdirTemp("", "node-source-"); err != nil {
		return "", err
	}
	path := filepath.Join(folder, "node-source")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // The packages may have to be fetched.
	defer cancel()
	if out, err := exec.CommandContext(ctx, "./build", path).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

// build returns the path of the packed island.
func build(t *testing.T) string {
	t.Helper()
	path, err := packed()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// launch starts a program as a host does.
func launch(t *testing.T, path string) process.Island {
	t.Helper()
	dir, err := os.MkdirTemp("", "js") //nolint:usetesting // The name of a test would be too long for a socket.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := process.Launch(ctx, process.LaunchOptions{Name: "node-source", Path: path, RunDir: dir, StartTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p.Island()
}

// initialize hands settings to an island.
func initialize(t *testing.T, island process.Island, settings map[string]any) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return island.Initialize(ctx, sdk.Config{Name: "node-source", Values: settings})
}

// TestIsland runs the program.
func TestIsland(t *testing.T) {
	path := build(t)

	t.Run("the README names every setting", func(t *testing.T) {
		t.Parallel()
		readme, err := os.ReadFile("README.md")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		manifest, err := process.Describe(ctx, path, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range manifest.Settings {
			if row := "| `" + s.Name + "` | " + string(s.Type) + " | `" + s.Default + "` |"; !strings.Contains(string(readme), row) {
				t.Errorf("README.md has no row %q", row)
			}
		}
	})

	t.Run("a setting that cannot be meant", func(t *testing.T) {
		t.Parallel()
		err := initialize(t, launch(t, path), map[string]any{"timeout": "1h"})
		var e *sdk.Error
		if !errors.As(err, &e) || e.Kind != sdk.InvalidArgument || e.Setting != "timeout" || !strings.Contains(e.Message, "timeout") {
			t.Errorf("%v", err)
		}
	})

	t.Run("a failure keeps its kind and how long to wait", func(t *testing.T) {
		t.Parallel()
		upstream := islandtest.NewUpstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/api/v3/exchangeInfo" {
				_, _ = io.WriteString(w, `{"symbols":[{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT"}]}`)
				return
			}
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, `{"code":-1003,"msg":"zu viele: ☂"}`)
		}))
		island := launch(t, path)
		if err := initialize(t, island, map[string]any{"url": upstream.URL}); err != nil {
			t.Fatal(err)
		}
		_, err := island.Quotes(t.Context(), sdk.QuotesRequest{Assets: []sdk.Asset{{Symbol: "btc"}}, VsCurrency: "usd"})
		if sdk.KindOf(err) != sdk.RateLimited || sdk.RetryAfter(err) != 7*time.Second || !strings.Contains(err.Error(), "☂") {
			t.Errorf("%v (%s, retry after %s)", err, sdk.KindOf(err), sdk.RetryAfter(err))
		}
	})

	// A client may cancel many calls at once, which HTTP/2 servers take for an attack beyond some number of them.
	t.Run("callers who leave in great numbers", func(t *testing.T) {
		t.Parallel()
		hung := make(chan struct{})
		upstream := islandtest.NewUpstream(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-hung:
			case <-r.Context().Done():
			}
		}))
		t.Cleanup(func() { close(hung) })
		island := launch(t, path)
		if err := initialize(t, island, map[string]any{"url": upstream.URL, "calls_per_minute": 1000000}); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			var callers sync.WaitGroup
			for range 200 {
				callers.Go(func() {
					_, err := island.Candles(ctx, sdk.CandlesRequest{
						Asset: sdk.Asset{Symbol: "btc"}, VsCurrency: "usd", Interval: sdk.Interval1d, Limit: 3,
					})
					if sdk.KindOf(err) != sdk.Canceled {
						t.Errorf("a caller who left is told %v", err)
					}
				})
			}
			time.AfterFunc(20*time.Millisecond, cancel)
			callers.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if health := island.Health(ctx); health.Status != sdk.StatusOK {
			t.Errorf("after that it is %+v", health)
		}
	})
}

// TestOwn runs the tests in JavaScript, with the interpreter that runs the island.
func TestOwn(t *testing.T) {
	program, err := os.Open(build(t)) // Which fetches the packages.
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	first, err := bufio.NewReader(program).ReadString('\n')
	if err != nil || !strings.HasPrefix(first, "#!/") {
		t.Fatalf("the program begins with %q, %v", first, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, strings.TrimSpace(first[2:]), "--test").CombinedOutput()
	if err != nil || !regexp.MustCompile(`(?m)^\S+ pass [1-9]`).Match(out) {
		t.Errorf("%v\n%s", err, out)
	}
}
