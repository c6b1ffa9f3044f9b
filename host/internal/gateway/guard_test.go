package gateway

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func TestWrongTokensAreBounded(t *testing.T) {
	t.Parallel()
	opts := options(newFakeMarket())
	opts.AdminToken = "correct horse"
	log := &logLines{}
	opts.Logger = hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Trace})
	g := newTest(t, opts)
	status := func(token string) int { return get(t, g, "/admin/status", "Authorization", "Bearer "+token).StatusCode }
	for range 100 {
		if got := status("correct horse"); got != http.StatusOK {
			t.Fatalf("the right token: %d", got)
		}
	}
	for range wrongTokens.Burst + 1 {
		if got := status("battery staple"); got != http.StatusNotFound {
			t.Fatalf("a wrong token: %d", got)
		}
	}
	if got := status("correct horse"); got != http.StatusNotFound {
		t.Errorf("after too many wrong tokens even the right one is not looked at, but it was: %d", got)
	}
	if g.refusals.tokens.Load() == 0 || len(log.with("wrong admin token")) == 0 {
		t.Error("nobody is told")
	}
	for _, secret := range []string{"correct horse", "battery staple"} {
		if lines := log.with(secret); len(lines) > 0 {
			t.Errorf("a token is in the log: %q", lines)
		}
	}
}

// adminClient speaks with an admin socket.
func adminClient(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
}

func TestTheAdminSocketRefusesIslands(t *testing.T) {
	t.Parallel()
	opts := options(newFakeMarket())
	op := &fakeOperator{}
	opts.Operator, opts.AdminSocket = op, filepath.Join(t.TempDir(), "admin.sock")
	var mu sync.Mutex
	var refuse string
	var gotPID, gotUID int
	opts.RefusePeer = func(pid, uid int) string {
		mu.Lock()
		defer mu.Unlock()
		gotPID, gotUID = pid, uid
		return refuse
	}
	log := &logLines{}
	opts.Logger = hclog.New(&hclog.LoggerOptions{Output: log})
	g := started(t, opts, defaultLimits())
	ask := func() response {
		t.Helper()
		r, err := adminClient(opts.AdminSocket).Post("http://admin/admin/islands/cache/restart", "application/json", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		return response{Response: r, body: readAll(t, r)}
	}
	if r := ask(); r.StatusCode != http.StatusOK {
		t.Fatalf("an operator is refused: %s", r.body)
	}
	mu.Lock()
	pid, uid := gotPID, gotUID
	refuse = "it is an island"
	mu.Unlock()
	if pid == 0 {
		return // Here the system does not tell who connects.
	}
	if pid != os.Getpid() || uid != os.Geteuid() {
		t.Errorf("the peer is process %d of user %d", pid, uid)
	}
	op.told = nil
	if p := isProblem(t, ask(), http.StatusForbidden); p.Code != "not_an_operator" || strings.Contains(p.Detail, "island") {
		t.Errorf("%+v", p)
	}
	if len(op.told) > 0 || g.refusals.peers.Load() != 1 || len(log.with("it is an island")) != 1 {
		t.Errorf("told %v, %d refusals", op.told, g.refusals.peers.Load())
	}
}

// Whatever is asked of an operator's routes: no panic, an answer in JSON, and nothing done but what the route is for.
func FuzzAdmin(f *testing.F) {
	for _, seed := range []struct{ method, path, body string }{
		{"GET", "/admin/status", ""},
		{"GET", "/admin/islands/cache/crashes", ""},
		{"POST", "/admin/islands/cache/restart", "{}"},
		{"POST", "/admin/islands/cache/swap", `{"to":"/bin/x","sha256":""}`},
		{"POST", "/admin/islands/..%2f..%2fcache/reset", ""},
		{"POST", "/admin/cache/invalidate", `{"patterns":["*"]}`},
		{"POST", "/admin/cache/invalidate", `{"patterns":[]}`},
		{"POST", "/admin/cache/tiers/l1", `{"enabled":true}`},
		{"POST", "/admin/cache/tiers/l1", `{"enabled":1e999}`},
		{"PUT", "/admin", "\x00"},
		{"DELETE", "/admin/islands//restart", "[[[[[["},
		{"POST", "/admin/islands/cache/restart?x=%", `{"a":{}}`},
	} {
		f.Add(seed.method, seed.path, seed.body)
	}
	opts := options(newFakeMarket())
	op := &fakeOperator{}
	opts.Operator, opts.AdminSocket = op, filepath.Join(f.TempDir(), "admin.sock")
	opts.Logger = hclog.NewNullLogger()
	g := newTest(f, opts)
	f.Fuzz(func(t *testing.T, method, path, body string) {
		if !isToken(method) || method == http.MethodHead || strings.ContainsAny(path, " \r\n\t\x00") || !strings.HasPrefix(path, "/") || len(path)+len(body) > 8<<10 {
			return // No request line can hold that.
		}
		for i := range len(path) {
			if path[i] < 0x21 || path[i] > 0x7e {
				return
			}
		}
		op.mu.Lock()
		op.told = nil
		op.mu.Unlock()
		r := sendTo(t, g.admin, method, path, body)
		if !json.Valid(r.body) && len(r.body) > 0 {
			t.Errorf("%s %s answered %d %q", method, path, r.StatusCode, r.body)
		}
		op.mu.Lock()
		defer op.mu.Unlock()
		if len(op.told) > 0 && r.StatusCode != http.StatusOK {
			t.Errorf("%s %s answered %d, but did %q", method, path, r.StatusCode, op.told)
		}
		for _, told := range op.told {
			if method != http.MethodPost && !strings.HasPrefix(told, "crashes ") {
				t.Errorf("%s %s did %q", method, path, told)
			}
		}
	})
}

// isToken is whether a text can be a method.
func isToken(text string) bool {
	if text == "" || len(text) > 20 {
		return false
	}
	for i := range len(text) {
		if text[i] < 'A' || text[i] > 'Z' {
			return false
		}
	}
	return true
}
