package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// shortDir is a folder whose name leaves room for a socket's path in 108 bytes.
func shortDir(t *testing.T) string {
	t.Helper()
	parent := os.Getenv("TMPDIR")
	if len(parent) > 30 {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "isl") //nolint:usetesting // the folders of t.TempDir have names that are too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// configFor writes a configuration with this data directory and two islands, whose binaries do not exist.
func configFor(t *testing.T, dataDir string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "islands.hcl")
	text := fmt.Sprintf(`
host { data_dir = %q }
island "cache" {
  layer  = "infrastructure"
  binary = "nowhere/cache"
}
island "fear-greed" {
  layer   = "external_services"
  binary  = "nowhere/fear-greed"
  enabled = false
}
`, dataDir)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// adminListener listens where the host of a new configuration would, and returns the path of that configuration.
func adminListener(t *testing.T) (net.Listener, string) {
	t.Helper()
	dir := shortDir(t)
	socket, err := adminSocket(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener, configFor(t, dir)
}

// fakeHost answers on an admin socket and notes what it was asked.
type fakeHost struct {
	config string

	mu    sync.Mutex
	asked []string // METHOD PATH BODY
}

func newFakeHost(t *testing.T, answer http.HandlerFunc) *fakeHost {
	t.Helper()
	listener, path := adminListener(t)
	f := &fakeHost{config: path}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		f.mu.Lock()
		f.asked = append(f.asked, strings.TrimSpace(r.Method+" "+r.URL.EscapedPath()+" "+string(body)))
		f.mu.Unlock()
		answer(w, r)
	})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // It ends with ErrServerClosed.
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	return f
}

// answers is a host with one answer for each path.
func answers(byPath map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer, known := byPath[r.URL.Path]
		if !known {
			refuse(w, http.StatusNotFound, `{"title":"Not found","status":404,"detail":"no island"}`)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	}
}

func refuse(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// outcome of one run of the program.
type outcome struct {
	status    int
	out, errs string
}

func runProgram(ctx context.Context, args ...string) outcome {
	var out, errs bytes.Buffer
	status := execute(ctx, args, &out, &errs)
	return outcome{status, out.String(), errs.String()}
}

func TestRefusalsAreShown(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		args   string
		status int
		body   string
		want   string
	}{
		{
			"an unknown island", "restart fear-gred", 404, `{"title":"Not found","detail":"no island"}`,
			`no island "fear-gred": did you mean fear-greed?`,
		},
		{
			"an island like no other", "reset zzzzzzzz", 404, `{}`,
			`no island "zzzzzzzz"; the islands are: cache, fear-greed`,
		},
		{
			"an island that the host was started without", "crash cache", 404, `{"title":"Not found","detail":"no island \"cache\""}`,
			"Not found: no island \"cache\"\n  the configuration has it: \"islands reload\" takes it in",
		},
		{
			"a disabled island", "restart fear-greed", 404, `{"title":"Not found","detail":"island \"fear-greed\" is disabled"}`,
			`Not found: island "fear-greed" is disabled`,
		},
		{
			"a detail", "restart cache", 503, `{"title":"Unavailable","detail":"island \"cache\" is being stopped"}`,
			`Unavailable: island "cache" is being stopped`,
		},
		{
			"what is wrong with each part", "cache invalidate x", 400,
			`{"title":"Invalid body","errors":[{"parameter":"patterns","detail":"wants less"},{"detail":"and more"}],"suggestions":["y","z"]}`,
			"Invalid body\n  patterns: wants less\n  and more\n  did you mean y, z?",
		},
		{
			"a fault of the host", "status", 500, `{"title":"Internal error","detail":"Oh.","request_id":"abc"}`,
			"Internal error: Oh. (its log says more about request_id abc)",
		},
		{"no problem at all", "cache disable l1", 502, `<html>`, "the host answered with HTTP status 502"},
		{"a redirection", "status", 302, ``, "the host answered with HTTP status 302"},
		{"another shape", "status", 500, `{"title":{"a":1}}`, "the host answered with HTTP status 500"},
		{"control sequences", "status", 400, `{"title":"a\u001b[2Jb"}`, "a\ufffd[2Jb"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFakeHost(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				refuse(w, test.status, test.body)
			})
			got := runProgram(t.Context(), append(strings.Fields(test.args), "--config", f.config)...)
			if want := "islands: " + test.want + "\n"; got.status != exitFailure || got.out != "" || got.errs != want {
				t.Errorf("got %+v, want status 1 and %q", got, want)
			}
			if len(f.asked) != 1 {
				t.Errorf("asked %q", f.asked)
			}
		})
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		args   string
		answer func(w http.ResponseWriter, r *http.Request)
		want   string
	}{
		{"no JSON", "status --json", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }, "is not JSON"},
		{"nothing", "status", func(http.ResponseWriter, *http.Request) {}, "is not JSON"},
		{
			"another shape", "status", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"islands":3}`) },
			"the host's answer is not understood, is it of another version?",
		},
		{
			"a status of another version", "status",
			func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, `{"islands":[{"status":"splendid"}]}`)
			},
			"the host's answer is not understood, is it of another version?",
		},
		{
			"endless", "status", func(w http.ResponseWriter, r *http.Request) {
				for line := bytes.Repeat([]byte{' '}, 1<<20); r.Context().Err() == nil; {
					if _, err := w.Write(line); err != nil {
						return
					}
				}
			},
			"is larger than 16 MiB",
		},
		{
			"silence", "status --timeout 30ms", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			"did not answer within 30ms",
		},
		{
			"silence in the middle", "status --timeout 30ms", func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, `{"islands":`)
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			},
			"did not answer within 30ms",
		},
		{"an end in the middle", "status", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"islands":`)
		}, "hung up before it had answered"},
		{"no answer", "status", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "hung up before it had answered"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFakeHost(t, test.answer)
			got := runProgram(t.Context(), append(strings.Fields(test.args), "--config", f.config)...)
			if got.status != exitFailure || got.out != "" || !strings.Contains(got.errs, test.want) {
				t.Errorf("got %+v, want status 1 and %q", got, test.want)
			}
		})
	}
}

func TestNoHost(t *testing.T) {
	t.Parallel()
	const want = "is it running, with the same configuration and environment?"
	commands := []string{"status", "inspect cache", "crash cache", "restart cache", "reset cache", "cache invalidate a", "cache disable l1", "cache enable l2"}
	t.Run("never was one", func(t *testing.T) {
		t.Parallel()
		dir := shortDir(t)
		path := configFor(t, dir)
		socket, err := adminSocket(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range commands {
			got := runProgram(t.Context(), append(strings.Fields(command), "--config", path)...)
			if want := "islands: no host answers on " + socket + ": " + want + "\n"; got.status != exitFailure || got.errs != want {
				t.Errorf("%s: got %+v, want status 1 and %q", command, got, want)
			}
		}
	})
	t.Run("was killed and left its socket", func(t *testing.T) {
		t.Parallel()
		listener, path := adminListener(t)
		listener.(*net.UnixListener).SetUnlinkOnClose(false)
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		if got := runProgram(t.Context(), "status", "--config", path); got.status != exitFailure || !strings.Contains(got.errs, want) {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("is another user's", func(t *testing.T) {
		t.Parallel()
		a := &adminClient{socket: "/x/admin.sock"}
		err := a.unanswered(t.Context(), &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EACCES)})
		if err == nil || !strings.Contains(err.Error(), "/x/admin.sock is another user's") {
			t.Errorf("got %v", err)
		}
	})
}

func TestInterruptedCommand(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f := newFakeHost(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	if got := runProgram(ctx, "restart", "cache", "--config", f.config); got.status != exitFailure || !strings.Contains(got.errs, "interrupted") {
		t.Errorf("got %+v", got)
	}
}

func TestTimeoutsOfTheClient(t *testing.T) {
	t.Parallel()
	// A host gives an operator's request a minute. A client that gives up earlier never learns what the host found out.
	if changeTimeout <= time.Minute {
		t.Errorf("a change is given up after %s", changeTimeout)
	}
}
