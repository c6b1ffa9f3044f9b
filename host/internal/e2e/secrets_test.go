package e2e

import (
	"io"
	"io/fs"
	"net/http"
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
	)
	m := startMarket(t)
	h := startHost(t, m, map[string]string{
		// Nobody listens there, so that the cache has something to complain about.
		"REDIS_URL": "redis://user:" + password + "@127.0.0.1:1/0", "COINGECKO_API_KEY": apiKey, "ISLANDS_ADMIN_TOKEN": token,
		"LOG_LEVEL": "trace",
	})
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
	m.fault(t, `{"service":"coingecko","kind":"status","status":401,"body":"text"}`)
	for _, path := range []string{
		"/api/crypto-report/btc", "/api/market-data/eth", "/health/system", "/health/islands", "/health/cache", "/health/external-apis",
		"/health/database", "/metrics/cache", "/metrics/database", "/metrics/performance", "/metrics/islands/cache",
		"/metrics/islands/coingecko-source", "/admin/status",
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
	h.ok(t, "/health/live")
	for _, args := range [][]string{{"status"}, {"inspect", "cache"}, {"inspect", "coingecko-source"}, {"crash", "cache", "--lines", "0"}, {"status", "--json"}} {
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
	for _, secret := range []string{password, apiKey, token} {
		if at := strings.Index(seen.String(), secret); at >= 0 {
			t.Errorf("%s shows: …%s…", secret, seen.String()[max(0, at-200):min(seen.Len(), at+100)])
		}
	}
	if !strings.Contains(seen.String(), "goroutine ") {
		t.Error("no crash report was looked at")
	}
}
