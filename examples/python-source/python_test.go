// Package python tests the island in app/ as a host sees it.
package python

import (
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
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/islandtest"
	"github.com/service-islands/islands/sdk/process"
)

// build packs the island and returns the path of the program.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "python-source")
	if out, err := exec.CommandContext(t.Context(), "./build", path).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// launch starts a program as a host does, and hands it settings.
func launch(t *testing.T, path string, settings map[string]any) (process.Island, error) {
	t.Helper()
	dir, err := os.MkdirTemp("", "py") //nolint:usetesting // The name of a test would be too long for a socket.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := process.Launch(ctx, process.LaunchOptions{Name: "python-source", Path: path, RunDir: dir, StartTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p.Island(), p.Island().Initialize(ctx, sdk.Config{Name: "python-source", Values: settings})
}

// described is what the program says that it is.
func described(t *testing.T, path string) sdk.Manifest {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	manifest, err := process.Describe(ctx, path, "")
	if err != nil {
		t.Fatal(err)
	}
	return manifest
}

// pairs is what Binance says is traded.
const pairs = `{"symbols":[{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT"}]}`

// TestAnswers asks for what Binance says in many ways.
func TestAnswers(t *testing.T) {
	path := build(t)
	answer := func(status int, header, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if name, value, ok := strings.Cut(header, ": "); ok {
				w.Header().Set(name, value)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		kind   sdk.Kind
		after  time.Duration
	}{
		"429":                       {answer(429, "Retry-After: 7", `{"code":-1003,"msg":"too many"}`), sdk.RateLimited, 7 * time.Second},
		"429 without a Retry-After": {answer(429, "", ""), sdk.RateLimited, time.Minute},
		"a ban":                     {answer(418, "", `{"code":-1003,"msg":"banned"}`), sdk.RateLimited, 2 * time.Minute},
		"a restricted location":     {answer(451, "", ""), sdk.PermissionDenied, time.Minute},
		"the firewall":              {answer(403, "", "<html>"), sdk.PermissionDenied, 0},
		"no such symbol":            {answer(400, "", `{"code":-1121,"msg":"Invalid symbol."}`), sdk.NotFound, 0},
		"another service":           {answer(404, "", "<html>not found"), sdk.BadUpstream, 0},
		"a redirect":                {answer(302, "Location: http://127.0.0.1:1/", ""), sdk.BadUpstream, 0},
		"maintenance":               {answer(503, "Retry-After: 30", ""), sdk.Unavailable, 30 * time.Second},
		"an object":                 {answer(200, "", `{}`), sdk.BadUpstream, 0},
		"a short candle":            {answer(200, "", `[[1,2,3]]`), sdk.BadUpstream, 0},
		"a negative figure":         {answer(200, "", `[[1,"1","1","1","-1","1",2]]`), sdk.BadUpstream, 0},
		"a figure that is none":     {answer(200, "", `[[1,"1","1","1","NaN","1",2]]`), sdk.BadUpstream, 0},
		"a stamp out of range":      {answer(200, "", `[[1e30,"1","1","1","1","1",2]]`), sdk.BadUpstream, 0},
		"too deep":                  {answer(200, "", strings.Repeat("[", 200000)), sdk.BadUpstream, 0},
		"less than promised":        {answer(200, "Content-Length: 100", `[`), sdk.Unavailable, 0},
		"no candle":                 {answer(200, "", `[]`), sdk.NotFound, 0},
		"no candle with a price":    {answer(200, "", `[[1,"0","0","0","0","0",2]]`), sdk.NotFound, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			upstream := islandtest.NewUpstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/api/v3/exchangeInfo" {
					_, _ = io.WriteString(w, pairs)
					return
				}
				tc.answer(w, r)
			}))
			island, err := launch(t, path, map[string]any{"url": upstream.URL})
			if err != nil {
				t.Fatal(err)
			}
			_, err = island.Candles(t.Context(), sdk.CandlesRequest{
				Asset: sdk.Asset{Symbol: "btc"}, VsCurrency: "usd", Interval: sdk.Interval1d, Limit: 3,
			})
			if err == nil || sdk.KindOf(err) != tc.kind || sdk.RetryAfter(err).Round(time.Second) != tc.after {
				t.Errorf("%v (%s, retry after %s); want %s, %s", err, sdk.KindOf(err), sdk.RetryAfter(err), tc.kind, tc.after)
			}
		})
	}
}

// TestWhatIsNotTraded has no price, whatever Binance answers.
func TestWhatIsNotTraded(t *testing.T) {
	path := build(t)
	for name, tc := range map[string]struct {
		row     string
		refused bool
	}{
		"a row without a symbol":     {`{"lastPrice":"666","count":1}`, true},
		"a symbol that is null":      {`{"symbol":null,"lastPrice":"666","count":1}`, true},
		"a symbol that is an object": {`{"symbol":{},"lastPrice":"666","count":1}`, true},
		"a symbol called None":       {`{"symbol":"None","lastPrice":"666","count":1}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			upstream := islandtest.NewUpstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/api/v3/exchangeInfo" {
					_, _ = io.WriteString(w, pairs)
					return
				}
				_, _ = io.WriteString(w, `[{"symbol":"BTCUSDT","lastPrice":"1","count":1},`+tc.row+`]`)
			}))
			island, err := launch(t, path, map[string]any{"url": upstream.URL})
			if err != nil {
				t.Fatal(err)
			}
			quotes, err := island.Quotes(t.Context(), sdk.QuotesRequest{
				Assets: []sdk.Asset{{Symbol: "btc"}, {Symbol: "nosuchcoin"}}, VsCurrency: "usd",
			})
			if tc.refused && (err == nil || sdk.KindOf(err) != sdk.BadUpstream) {
				t.Errorf("%+v, %v (%s); want %s", quotes, err, sdk.KindOf(err), sdk.BadUpstream)
			}
			if !tc.refused && (err != nil || len(quotes) != 1 || quotes[0].Symbol != "btc") {
				t.Errorf("%+v, %v", quotes, err)
			}
		})
	}
}

// TestSettingsThatCannotBeMeant are refused by name, though their types are right.
func TestSettingsThatCannotBeMeant(t *testing.T) {
	path := build(t)
	for setting, values := range map[string][]any{
		"url": {"", "ftp://example.com", "http://", "nonsense"}, "timeout": {"0s", "1h", "-1s", "1", ""}, "calls_per_minute": {0, -1, 2000000, 1.5, true},
	} {
		for _, value := range values {
			t.Run(fmt.Sprint(setting, "=", value), func(t *testing.T) {
				t.Parallel()
				_, err := launch(t, path, map[string]any{setting: value})
				var e *sdk.Error
				if !errors.As(err, &e) || e.Kind != sdk.InvalidArgument || e.Setting != setting || !strings.Contains(e.Message, setting) {
					t.Errorf("%v", err)
				}
			})
		}
	}
}

// TestReadmeNamesEverySetting keeps the table of settings complete.
func TestReadmeNamesEverySetting(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range described(t, build(t)).Settings {
		if row := "| `" + s.Name + "` | " + string(s.Type) + " | `" + s.Default + "` |"; !strings.Contains(string(readme), row) {
			t.Errorf("README.md has no row %q", row)
		}
	}
}

// TestOwn runs the tests in Python, with the interpreter that runs the island.
func TestOwn(t *testing.T) {
	packed, err := os.ReadFile(build(t))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(packed), "\n")
	interpreter, _, _ := strings.Cut(strings.TrimPrefix(first, "#!"), " ")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, interpreter, "-B", "-m", "unittest", "discover", "-s", "test").CombinedOutput()
	if err != nil || !regexp.MustCompile(`(?m)^Ran [1-9]`).Match(out) {
		t.Errorf("%v\n%s", err, out)
	}
}
