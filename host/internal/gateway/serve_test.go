package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
)

// started makes a gateway that listens.
func started(t *testing.T, opts Options, l limits) *Gateway {
	t.Helper()
	g := newTestLimits(t, opts, l)
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	return g
}

// fetch gets a URL on a connection of its own.
func fetch(url string) (*http.Response, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	return client.Get(url)
}

func TestStartAndShutdown(t *testing.T) {
	opts := options(newFakeMarket())
	opts.AdminSocket = filepath.Join(t.TempDir(), "run", "admin.sock")
	g := started(t, opts, defaultLimits())
	if err := g.Start(); err == nil {
		t.Error("started twice")
	}
	r, err := fetch("http://" + g.Addr() + "/api/crypto-report/btc")
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	if r.StatusCode != http.StatusOK || r.Header.Get("Date") == "" || r.Header.Get("Server") != "" {
		t.Errorf("%d %v", r.StatusCode, r.Header)
	}
	info, err := os.Stat(opts.AdminSocket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if err := g.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := g.Shutdown(t.Context()); err != nil {
		t.Errorf("the second time: %v", err)
	}
	if _, err := os.Stat(opts.AdminSocket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if r, err := fetch("http://" + g.Addr() + "/health/live"); err == nil {
		_ = r.Body.Close()
		t.Error("still answers")
	}
}

func TestShutdownWithoutStart(t *testing.T) {
	g := newTest(t, options(newFakeMarket()))
	if err := g.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := g.Start(); err == nil {
		t.Error("started after the end")
	}
}

func TestShutdownWaitsForRequests(t *testing.T) {
	m := newFakeMarket()
	entered, leave := make(chan struct{}), make(chan struct{})
	m.hook = func(context.Context) {
		close(entered)
		<-leave
	}
	g := started(t, options(m), defaultLimits())
	idle, err := net.Dial("tcp", g.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	_, _ = io.WriteString(idle, "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
	first, err := http.ReadResponse(bufio.NewReader(idle), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = first.Body.Close()

	status := make(chan int, 1)
	go func() {
		r, err := fetch("http://" + g.Addr() + "/api/market-data/btc")
		if err != nil {
			status <- 0
			return
		}
		_ = r.Body.Close()
		status <- r.StatusCode
	}()
	<-entered
	down := make(chan error, 1)
	go func() { down <- g.Shutdown(t.Context()) }()
	for !g.draining.Load() {
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-down:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(leave)
	if err := <-down; err != nil {
		t.Error(err)
	}
	if got := <-status; got != http.StatusOK {
		t.Errorf("the request under way got %d", got)
	}
}

func TestShutdownGivesUp(t *testing.T) {
	m := newFakeMarket()
	entered := make(chan struct{})
	ended := make(chan error, 1)
	m.hook = func(ctx context.Context) {
		close(entered)
		<-ctx.Done()
		ended <- ctx.Err()
	}
	g := started(t, options(m), defaultLimits())
	slow, err := net.Dial("tcp", g.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	_, _ = io.WriteString(slow, "GET /health/li")
	var client sync.WaitGroup
	client.Go(func() {
		if r, err := fetch("http://" + g.Addr() + "/api/market-data/btc"); err == nil {
			_ = r.Body.Close()
		}
	})
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := g.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	client.Wait()
}

func TestAdminSocketFile(t *testing.T) {
	start := func(path string) (*Gateway, error) {
		opts := options(newFakeMarket())
		opts.AdminSocket = path
		g := newTest(t, opts)
		err := g.Start()
		return g, err
	}
	t.Run("left behind", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a.sock")
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		_ = l.Close()
		if _, err := start(path); err != nil {
			t.Error(err)
		}
	})
	t.Run("in use", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a.sock")
		if _, err := start(path); err != nil {
			t.Fatal(err)
		}
		second, err := start(path)
		if err == nil || !strings.Contains(err.Error(), "another host answers") {
			t.Errorf("%v", err)
		}
		if second.Addr() != "" {
			t.Error("listens all the same")
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("the first host's socket is gone: %v", err)
		}
	})
	t.Run("a file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a.sock")
		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := start(path); err == nil || !strings.Contains(err.Error(), "is not a socket") {
			t.Errorf("%v", err)
		}
		if kept, err := os.ReadFile(path); err != nil || string(kept) != "precious" {
			t.Errorf("%q %v", kept, err)
		}
	})
}

func TestRudeClients(t *testing.T) {
	l := defaultLimits()
	l.read, l.idle, l.look = 200*time.Millisecond, 200*time.Millisecond, 20*time.Millisecond
	g := started(t, options(newFakeMarket()), l)
	for name, tt := range map[string]struct {
		send   string
		status int
	}{
		"half a request":    {"GET /health/live HTTP/1.1\r\nHost: x\r\nX-A: b", 408},
		"half a body":       {"POST /admin/status HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nabc", 408},
		"huge header":       {"GET /health/live HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 20<<10) + "\r\n\r\n", 431},
		"many headers":      {"GET /health/live HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: b\r\n", 3000) + "\r\n", 431},
		"huge body":         {"POST /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n" + strings.Repeat("a", 70000), 413},
		"huge chunked body": {"POST /health/live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n11170\r\n" + strings.Repeat("a", 0x11170) + "\r\n0\r\n\r\n", 413},
		"a GB, announced":   {"POST /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\nExpect: 100-continue\r\n\r\n", 413},
		"a GB, at once":     {"POST /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\nabc", 413},
		"not HTTP":          {"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400},
		"no host":           {"GET /health/live HTTP/1.1\r\n\r\n", 400},
		"two lengths":       {"POST /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", g.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			var writer sync.WaitGroup
			writer.Go(func() { _, _ = io.WriteString(conn, tt.send) })
			var answer bytes.Buffer
			_, _ = io.Copy(&answer, conn) // A reset after the answer is the server hanging up on what it did not read.
			_ = conn.Close()
			writer.Wait()
			if answer.Len() == 0 {
				t.Fatal("no answer")
			}
			isProblem(t, parse(t, http.MethodGet, answer.Bytes()), tt.status)
		})
	}
}

func TestOneByteAtATime(t *testing.T) {
	l := defaultLimits()
	l.read, l.look = 200*time.Millisecond, 20*time.Millisecond
	g := started(t, options(newFakeMarket()), l)
	conn, err := net.Dial("tcp", g.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	begun := time.Now()
	for _, b := range []byte("GET /health/live HTTP/1.1\r\nX-A: " + strings.Repeat("a", 1000)) {
		if _, err := conn.Write([]byte{b}); err != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("could go on for %v", took)
	}
}

func TestPanicIsAProblem(t *testing.T) {
	m := newFakeMarket()
	m.hook = func(context.Context) { panic("at /secret/path") }
	opts := options(m)
	var log bytes.Buffer
	opts.Logger = hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Debug})
	g := newTest(t, opts)
	r := get(t, g, "/api/market-data/btc", "X-Request-Id", "mine")
	p := isProblem(t, r, http.StatusInternalServerError)
	if p.RequestID != "mine" || strings.Contains(string(r.body), "secret") {
		t.Errorf("%s", r.body)
	}
	for _, want := range []string{"at /secret/path", "request_id=mine", "serve_test.go"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, log.String())
		}
	}
}

func TestInternalErrorsAreLogged(t *testing.T) {
	m := newFakeMarket()
	m.err = errors.New("the inner words")
	opts := options(m)
	var log bytes.Buffer
	opts.Logger = hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Error})
	g := newTest(t, opts)
	isProblem(t, get(t, g, "/api/market-data/btc", "X-Request-Id", "mine"), http.StatusInternalServerError)
	if !strings.Contains(log.String(), "the inner words") || !strings.Contains(log.String(), "request_id=mine") {
		t.Errorf("the log: %q", log.String())
	}
}

func TestHealthAndMetrics(t *testing.T) {
	in := &fakeInsight{ready: true}
	opts := options(newFakeMarket())
	opts.Insight = in
	g := newTest(t, opts)
	for target, want := range map[string]string{
		"/health/live":                `{"status":"ok"}`,
		"/health/ready":               `{"status":"ok","ready":true,"reason":""}`,
		"/health/system?probe=1&x":    `{"what":"system","value":0.00000015}`,
		"/health/cache":               `{"what":"cache","value":26000000000000000000000}`,
		"/health/external-apis":       `{"what":"external","value":0}`,
		"/health/database":            `{"what":"database","value":0}`,
		"/health/islands":             `{"what":"islands","value":0}`,
		"/health/islands/cache":       `{"what":"cache","value":0}`,
		"/metrics/islands/cache":      `{"what":"cache","value":0}`,
		"/metrics/cache":              `{"what":"cache","value":0}`,
		"/metrics/performance?time=1": `{"what":"performance","value":0}`,
		"/metrics/database":           `{"what":"database","value":0}`,
	} {
		in.status = sdk.StatusDegraded
		r := get(t, g, target)
		if r.StatusCode != http.StatusOK || string(r.body) != want || r.Header.Get("Content-Type") != jsonType ||
			r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s %v", target, r.StatusCode, r.body, r.Header)
		}
		in.status = sdk.StatusFailed
		status := http.StatusOK
		if strings.HasPrefix(target, "/health/") && !slices.Contains([]string{"/health/live", "/health/ready"}, target) {
			status = http.StatusServiceUnavailable
		}
		if r := get(t, g, target); r.StatusCode != status || string(r.body) != want {
			t.Errorf("%s failed: %d %s", target, r.StatusCode, r.body)
		}
	}
	for _, target := range []string{"/health/islands/nobody", "/metrics/islands/nobody"} {
		if p := isProblem(t, get(t, g, target), http.StatusNotFound); p.Code != "unknown_island" {
			t.Errorf("%s: %+v", target, p)
		}
	}
	in.err = sdk.Errorf(sdk.Unavailable, "the cache is away")
	isProblem(t, get(t, g, "/metrics/cache"), http.StatusServiceUnavailable)
	in.ready = false
	if r := get(t, g, "/health/ready"); r.StatusCode != http.StatusServiceUnavailable ||
		string(r.body) != `{"status":"failed","ready":false,"reason":"cache has not run yet"}` {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

func TestNewRefusesWhatCannotServe(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"no market":             func(o *Options) { o.Market = nil },
		"no insight":            func(o *Options) { o.Insight = nil },
		"no operator":           func(o *Options) { o.Operator, o.AdminToken = nil, "t" },
		"report of a bad name":  func(o *Options) { o.Reports = map[string][]string{"a/b": {"json"}} },
		"report in the way":     func(o *Options) { o.Reports = map[string][]string{"candles": {"json"}} },
		"report without format": func(o *Options) { o.Reports = map[string][]string{"x": nil} },
	} {
		t.Run(name, func(t *testing.T) {
			opts := options(newFakeMarket())
			change(&opts)
			if _, err := New(opts); !errors.Is(err, sdk.InvalidArgument) {
				t.Errorf("%v", err)
			}
		})
	}
}
