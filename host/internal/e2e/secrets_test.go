package e2e

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSecretsStaySecret gives a host secrets of every kind, lets things go wrong, and looks for them everywhere: in the
// log, in every answer, in what the CLI prints, and in every file that the host writes.
func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	const (
		password = "redis-pass-7291"
		apiKey   = "CG-secret-key-5512"
		token    = "admin-token-8843"
		leaked   = "third party/key-6174" // Looks another way in a URL.
	)
	m, d := startMarket(t), startDirector(t, "leaky", "refuser")
	d.begin("refuser", "leaks at once")
	h := startHost(t, m, map[string]string{
		// Nobody listens there, so that the cache has something to complain about.
		"REDIS_URL": "redis://user:" + password + "@127.0.0.1:1/0", "COINGECKO_API_KEY": apiKey, "ISLANDS_ADMIN_TOKEN": token,
		"LOG_LEVEL": "trace", "ISLANDS_CONFIG": leakyConfig(t, d, leaked),
	})
	d.order(t, "leaky", "leaks")
	d.hear(t, "leaky")
	var seen strings.Builder
	look := func(path string, headers ...string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.url+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		_ = resp.Header.Write(&seen)
		text := make([]byte, 1<<20)
		n, _ := io.ReadFull(resp.Body, text) // It is shorter than that.
		seen.Write(text[:n])
	}
	eventually(t, 30*time.Second, "the leaky island is degraded", func() error {
		if text := string(h.get(t, "/health/islands").body); !strings.Contains(text, "with the key") {
			return errors.New(text)
		}
		return nil
	})
	m.fault(t, `{"service":"*","kind":"status","status":401,"body":"text"}`)
	for _, path := range []string{
		"/api/crypto-report/btc", "/api/market-data/eth", "/api/crypto-report/sol", "/api/market-data/link",
		"/health/system", "/health/islands", "/health/cache", "/health/external-apis",
		"/health/database", "/metrics/cache", "/metrics/database", "/metrics/performance", "/metrics/islands/cache",
		"/metrics/islands/coingecko-source", "/metrics/islands/leaky", "/admin/status",
	} {
		look(path)
		look(path, "Authorization", "Bearer "+token)
		look(path, "Authorization", "Bearer wrong")
	}
	m.heal(t)
	pids := h.pids(t)
	for _, name := range []string{"cache", "coingecko-source"} {
		// Its stacks, with what stands in its memory's arguments, go into the crash report.
		if err := syscall.Kill(pids[name], syscall.SIGQUIT); err != nil {
			t.Fatal(err)
		}
		eventually(t, 20*time.Second, "the crash", func() error { return gone(pids[name]) })
	}
	d.order(t, "leaky", "panic over a secret")
	eventually(t, 20*time.Second, "the crash", func() error { return gone(pids["leaky"]) })
	for _, name := range []string{"leaky", "refuser"} {
		eventually(t, 30*time.Second, "its report", func() error {
			if len(h.crashes(t, name)) == 0 {
				return errors.New("none yet")
			}
			return nil
		})
	}
	h.ok(t, "/health/live")
	for _, args := range [][]string{
		{"status"},
		{"inspect", "cache"},
		{"inspect", "coingecko-source"},
		{"crash", "cache", "--lines", "0"},
		{"status", "--json"},
		{"inspect", "leaky"},
		{"inspect", "refuser"},
		{"crash", "leaky", "--lines", "0"},
		{"crash", "refuser", "--lines", "0"},
		{"crash", "leaky", "--json"},
	} {
		out, _ := h.tryCLI(t, args...)
		seen.WriteString(out)
	}
	h.stop(t)
	seen.WriteString(strings.Join(h.tail(100_000), "\n"))
	err := filepath.WalkDir(h.data, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		seen.Write(text)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, secret := range []string{password, apiKey, token, leaked, url.QueryEscape(leaked), url.PathEscape(leaked)} {
		if at := strings.Index(seen.String(), secret); at >= 0 {
			t.Errorf("%s shows: …%s…", secret, seen.String()[max(0, at-200):min(seen.Len(), at+100)])
		}
	}
	if !strings.Contains(seen.String(), "goroutine ") {
		t.Error("no crash report was looked at")
	}
	// What leaked was there to be seen, but for the secret.
	for _, text := range []string{
		"Island reports that it is degraded", "source failed, asking the next", "Operation failed after", "External APIs unavailable", "?key=[redacted]", "initialize: with the key [redacted]",
	} {
		if !strings.Contains(seen.String(), text) {
			t.Errorf("nowhere it says %q", text)
		}
	}
}

// leakyConfig is the shipped configuration with two islands that are told a secret; one of them is asked for everything first.
func leakyConfig(t *testing.T, d *director, secret string) string {
	t.Helper()
	return edited(t, func(text string) string {
		blocks := strings.ReplaceAll(d.block("leaky")+d.block("refuser"), `env    = {`, fmt.Sprintf(`config {
    secret = %q
  }
  env    = {`, secret))
		text = strings.Replace(text, "\nrequest {\n", "\n"+blocks+"request {\n", 1)
		text = strings.Replace(text, `sources  = ["coingecko-source", "binance-source"]`, `sources  = ["leaky", "coingecko-source", "binance-source"]`, 1)
		return strings.Replace(text, `  sources = ["binance-source", "coingecko-source"]`, `  sources = ["leaky", "binance-source", "coingecko-source"]`, 1)
	})
}
