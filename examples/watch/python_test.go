package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// python returns watch.py, ready to be started.
func python(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	interpreter, err := exec.LookPath("python3")
	if err != nil {
		t.Fatalf("watch.py needs python3, which make test-deps installs: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // A hang should say where.
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, interpreter, append([]string{"watch.py"}, args...)...)
}

// stream is one answer to GET /api/stream.
type stream struct {
	t *testing.T
	w http.ResponseWriter
	r *http.Request
	n int // which answer this is, from 1.
}

// write sends raw parts of the stream at once.
func (s *stream) write(parts ...string) {
	s.t.Helper()
	s.w.Header().Set("Content-Type", "text/event-stream")
	if _, err := io.WriteString(s.w, strings.Join(parts, "")); err != nil {
		s.t.Error(err)
	}
	if err := http.NewResponseController(s.w).Flush(); err != nil {
		s.t.Error(err)
	}
}

// event is a message as an event of its type.
func event(id, message string) string {
	kind, _, _ := strings.Cut(strings.TrimPrefix(message, `{"type":"`), `"`)
	if id != "" {
		id = "id: " + id + "\n"
	}
	return fmt.Sprintf("event: %s\n%sdata: %s\n\n", kind, id, message)
}

// streaming serves the answers and returns the address.
func streaming(t *testing.T, answer func(s *stream)) string {
	t.Helper()
	var n atomic.Int64
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/api/stream" || r.Header.Get("Accept") != "text/event-stream" {
			t.Errorf("asked for %s %s, accepts %s", r.Method, r.URL, r.Header.Get("Accept"))
		}
		answer(&stream{t: t, w: w, r: r, n: int(n.Add(1))})
	}))
	t.Cleanup(web.Close)
	return web.URL
}

const quickRetry = "retry: 1\n\n"

func TestPythonResumes(t *testing.T) {
	cursors := make(chan string, 10)
	url := streaming(t, func(s *stream) {
		if got := s.r.URL.Query().Get("channels"); got != "ticker:btc,ticker:eth" {
			t.Errorf("channels %q", got)
		}
		cursors <- s.r.Header.Get("Last-Event-ID")
		switch s.n {
		case 1: // Values of all kinds, comments, other line ends, and an event that is cut off.
			s.write(quickRetry, ": hello\n\n", ":\n", event("", welcome),
				event("c1", snapshot("a", 10, "btc 67000.10, eth 0.0000000123, none null, whole 7")),
				strings.ReplaceAll(event("c2", update("a", 11, "btc 67001")), "\n", "\r\n"),
				"event: market_update\nid: c3\ndata: {")
			panic(http.ErrAbortHandler)
		case 2: // What is known already, a hole, and when to come back.
			s.write(event("c4", update("a", 11, "btc 1")), event("c5", update("a", 14, "btc 2")),
				event("", `{"type":"error","data":{"code":"slow","message":"be\u001b[2J quick","temporary":true}}`),
				event("", `{"type":"poem","data":null}`),
				event("", shutdownAfter(5*time.Millisecond)))
		case 3:
			s.w.Header().Set("Retry-After", "0")
			s.w.WriteHeader(http.StatusServiceUnavailable)
		case 4: // A moment's mistake: there was a feed here.
			s.w.WriteHeader(http.StatusNotFound)
		case 5: // Another host, which does not know the cursor, and falls silent.
			s.write(event("", `{"type":"welcome","data":{"heartbeat_interval_ms":50}}`), event("d1", snapshot("b", 3, "btc 3")))
			<-s.r.Context().Done()
		case 6:
			s.write(event("d2", `{"type":"market_update","channel":"ticker:*","data":{}}`)) // No seq.
		default:
			s.w.WriteHeader(http.StatusNoContent)
		}
	})
	program := python(t, "--url", url, "BTC", "eth")
	var out, errs safeBuffer
	program.Stdout, program.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := program.Run(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("it ended with %v", err)
	}

	close(cursors)
	var got []string
	for cursor := range cursors {
		got = append(got, cursor)
	}
	if diff := cmp.Diff([]string{"", "c2", "c5", "c5", "c5", "d1", "d1"}, got); diff != "" {
		t.Error("cursors", diff)
	}
	if diff := cmp.Diff("btc 67000.10, eth 0.0000000123, none -, whole 7, btc 67001, btc 2, btc 3", values(out.String())); diff != "" {
		t.Error(diff)
	}
	said := strings.Split(strings.TrimSpace(errs.String()), "\n")
	for i, want := range []string{
		"the stream ended; reconnecting in ",
		"hole in ticker:*: 2 lost between seq 11 and 14",
		"slow: be[2J quick",
		"the stream ended; reconnecting in 0.0 s",
		"the answer is 503 Service Unavailable; reconnecting in 0.0 s",
		"the answer is 404 Not Found; reconnecting in ",
		"hole in ticker:*: epoch a ended at 14, epoch b goes on at 3",
		"timed out; reconnecting in ",
		"a message that cannot be read: KeyError('epoch'); reconnecting in ",
		"watch.py: the answer is 204 No Content",
	} {
		if i >= len(said) || !strings.HasPrefix(said[i], want) {
			t.Fatalf("line %d should begin with %q:\n%s", i, want, errs.String())
		}
	}
}

func TestPythonRefused(t *testing.T) {
	url := streaming(t, func(s *stream) { s.w.WriteHeader(http.StatusNotFound) })
	for _, test := range []struct {
		name, url, said string
	}{
		{"no feed there", url, "watch.py: the answer is 404 Not Found"},
		{"no address", "nowhere", "watch.py: --url wants an address such as http://127.0.0.1:3000, not 'nowhere'"},
		{"no port", "http://127.0.0.1:x", "watch.py: --url wants an address such as http://127.0.0.1:3000, not 'http://127.0.0.1:x'"},
	} {
		t.Run(test.name, func(t *testing.T) {
			said, err := python(t, "--url", test.url).CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 || strings.TrimSpace(string(said)) != test.said {
				t.Errorf("%v: %s", err, said)
			}
		})
	}
}

// TestPythonEnds without a word when it is told to, and when nobody reads any more.
func TestPythonEnds(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(program *exec.Cmd, out io.Closer) error
	}{
		{"Ctrl-C", func(program *exec.Cmd, _ io.Closer) error { return program.Process.Signal(os.Interrupt) }},
		{"a closed pipe", func(_ *exec.Cmd, out io.Closer) error { return out.Close() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			url := streaming(t, func(s *stream) {
				s.write(event("", welcome), event("1", snapshot("a", 1, "btc 1")))
				for seq := uint64(2); s.r.Context().Err() == nil; seq++ {
					if _, err := io.WriteString(s.w, event("", update("a", seq, "btc 2"))); err != nil {
						return
					}
					_ = http.NewResponseController(s.w).Flush() // The client may be gone.
					time.Sleep(time.Millisecond)
				}
			})
			program := python(t, "--url", url)
			var errs safeBuffer
			program.Stderr = &errs
			out, err := program.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := program.Start(); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReaderSize(out, 16).ReadString('\n'); err != nil || !strings.HasSuffix(line, " btc 1\n") {
				t.Errorf("%q, %v", line, err)
			}
			if err := test.end(program, out); err != nil {
				t.Error(err)
			}
			_, _ = io.Copy(io.Discard, out) // Until it ends, if anybody listens still.
			if err := program.Wait(); err != nil || errs.String() != "" {
				t.Errorf("%v: %s", err, errs.String())
			}
		})
	}
}
