package upstream_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/upstream"
)

func TestReplies(t *testing.T) {
	big := `"` + strings.Repeat("a", 4096) + `"`
	for name, tc := range map[string]struct {
		body string
		kind sdk.Kind
		says string
	}{
		"garbage":        {"%%%" + key, sdk.BadUpstream, "not the JSON"},
		"truncated JSON": {`{"a":[1,2`, sdk.BadUpstream, "not the JSON"},
		"empty":          {"", sdk.BadUpstream, "not the JSON"},
		"a page":         {"<!DOCTYPE html><html>", sdk.BadUpstream, "a page"},
		"wrong type":     {`{"a":"` + key + `"}`, sdk.BadUpstream, "not the JSON"},
		"too large":      {big, sdk.BadUpstream, "more than 1024 bytes"},
		"trailing":       {`{"a":1}{"a":2}`, sdk.BadUpstream, "not the JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			c := clientOf(t, always(200, tc.body), func(o *upstream.Options) { o.MaxBody = 1024 })
			var v struct{ A sdk.Number }
			err := c.GetJSON(t.Context(), upstream.Request{Path: "/coins"}, &v)
			wantKind(t, err, tc.kind)
			if !strings.Contains(err.Error(), tc.says) || errors.Is(err, sdk.InvalidArgument) {
				t.Errorf("got %v, want %q in it and no other kind", err, tc.says)
			}
		})
	}
}

func TestOverTheWire(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != "" {
			t.Error("the key went to another host")
		}
	}))
	defer other.Close()
	cut := func(w http.ResponseWriter, reset bool, head string) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := io.WriteString(conn, head); err != nil {
			t.Error(err)
		}
		if tcp, ok := conn.(*net.TCPConn); ok && reset {
			_ = tcp.SetLinger(0) // Without it the end is orderly, which the test would notice.
		}
		_ = conn.Close()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/v3/gzip", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write([]byte(`{"a":7}`))
		_ = z.Close()
	})
	mux.HandleFunc("/v3/echo", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, r.Header.Get("X-Key")+" "+r.URL.String(), http.StatusBadRequest)
	})
	mux.HandleFunc("/v3/reset", func(w http.ResponseWriter, _ *http.Request) { cut(w, true, "") })
	mux.HandleFunc("/v3/short", func(w http.ResponseWriter, _ *http.Request) {
		cut(w, false, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"a\":1")
	})
	mux.HandleFunc("/v3/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) })
	mux.HandleFunc("/v3/here", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/v3/gzip", http.StatusFound)
	})
	mux.HandleFunc("/v3/loop", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/v3/loop", http.StatusFound)
	})
	mux.HandleFunc("/v3/slow", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"a":`)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	var log bytes.Buffer
	c := upstream.New(upstream.Options{
		BaseURL: server.URL + "/v3/", Headers: map[string]sdk.Secret{"X-Key": key, "X-Empty": ""}, Timeout: 300 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Classify: func(status int, _ http.Header, body []byte) error {
			if status == http.StatusBadRequest {
				return sdk.Errorf(sdk.InvalidArgument, "%s", body)
			}
			return nil
		},
	})
	defer c.Close()
	for path, kind := range map[string]sdk.Kind{
		"/reset": sdk.Unavailable, "/short": sdk.BadUpstream, "/away": sdk.BadUpstream, "/loop": sdk.BadUpstream,
		"/slow": sdk.Unavailable, "/none": sdk.BadUpstream, "/echo": sdk.InvalidArgument,
	} {
		t.Run(path, func(t *testing.T) {
			var v struct{ A int }
			err := c.GetJSON(t.Context(), upstream.Request{Path: path}, &v)
			wantKind(t, err, kind)
			if !strings.Contains(err.Error(), "GET "+path) {
				t.Errorf("%q does not name method and path", err)
			}
		})
	}
	for _, path := range []string{"/gzip", "/here"} {
		var v struct{ A int }
		if err := c.GetJSON(t.Context(), upstream.Request{Path: path}, &v); err != nil || v.A != 7 {
			t.Errorf("%s: %v, %v", path, v, err)
		}
	}
	if strings.Contains(log.String(), key) {
		t.Errorf("the log holds the key: %s", log.String())
	}
}

func TestNothingListens(t *testing.T) {
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, base := range map[string]string{"refused": "http://" + addr, "unknown host": "http://name.invalid"} {
		t.Run(name, func(t *testing.T) {
			c := upstream.New(upstream.Options{BaseURL: base, Headers: map[string]sdk.Secret{"X-Key": key}})
			defer c.Close()
			wantKind(t, get(t.Context(), c, 0), sdk.Unavailable)
		})
	}
}

func TestWhatIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := clientOf(t, failing(2, 429), func(o *upstream.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		if err := get(t.Context(), c, 3); err != nil {
			t.Fatal(err)
		}
		text := log.String()
		if strings.Count(text, `msg="429 from the upstream"`) != 2 || strings.Count(text, "backing off") != 2 ||
			!strings.Contains(text, "attempt=2") || strings.Contains(text, key) || strings.Contains(text, "hidden-query") {
			t.Errorf("the log is:\n%s", text)
		}
	})
}

func TestHeadersOfEachCall(t *testing.T) {
	var seen http.Header
	var replies int
	s := &script{answer: func(_ int, r *http.Request) (*http.Response, error) {
		seen = r.Header
		return respond(200, "{}", "X-Used", "5"), nil
	}}
	c := clientOf(t, s, func(o *upstream.Options) {
		o.OnReply = func(status int, h http.Header) {
			if status == 200 && h.Get("X-Used") == "5" {
				replies++
			}
		}
	})
	if err := get(t.Context(), c, 0); err != nil {
		t.Fatal(err)
	}
	if seen.Get("User-Agent") != upstream.DefaultUserAgent || seen.Get("X-Key") != key || replies != 1 {
		t.Errorf("sent %v, OnReply called %d times", seen, replies)
	}
}

func TestContextEnds(t *testing.T) {
	hang := &script{answer: func(_ int, req *http.Request) (*http.Response, error) {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}}
	t.Run("no answer within the timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			err := get(t.Context(), clientOf(t, hang), 0)
			wantKind(t, err, sdk.Unavailable)
			if time.Since(start) != upstream.DefaultTimeout || !strings.Contains(err.Error(), "3s") {
				t.Errorf("%v after %s", err, time.Since(start))
			}
		})
	})
	t.Run("deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			c := clientOf(t, hang)
			wantKind(t, get(ctx, c, 3), sdk.DeadlineExceeded)
			if c.Health().Status != sdk.StatusDegraded {
				t.Error("a deadline that passed while the upstream was silent must show in health")
			}
		})
	})
	t.Run("canceled in flight", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			c := clientOf(t, hang)
			if err := get(ctx, c, 3); sdk.KindOf(err) != sdk.Canceled || c.Health().Status != sdk.StatusOK {
				t.Errorf("%v, health %+v", err, c.Health())
			}
		})
	})
	t.Run("canceled between two tries", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(500*time.Millisecond, cancel)
			wantKind(t, get(ctx, clientOf(t, always(500, "")), 3), sdk.Canceled)
		})
	})
}
