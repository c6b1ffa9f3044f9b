package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && children()[os.Args[1]] != nil {
		main() // This test's binary stands for the program, which starts itself again.
	}
	goleak.VerifyTestMain(m,
		// fasthttp's own, one for the life of the program and one that outlives its server by up to ten seconds.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}

// scripted answers the requests of one connection with the given pieces, each answer a list of them.
func scripted(t *testing.T, answers ...[]string) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		reader := bufio.NewReader(conn)
		for _, pieces := range answers {
			request, err := http.ReadRequest(reader)
			if err != nil {
				return
			}
			_ = request.Body.Close()
			for _, piece := range pieces {
				if _, err := io.WriteString(conn, piece); err != nil {
					return
				}
				time.Sleep(time.Millisecond) // Lets pieces arrive apart; nothing depends on it.
			}
		}
	}()
	return listener.Addr().String()
}

func dial(t *testing.T, address string) *client {
	t.Helper()
	c, err := connect(t.Context(), address, time.Now().Add(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.close() })
	return c
}

func TestClientReadsAnswers(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3*maxHead)
	address := scripted(t,
		[]string{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Cache: near\r\n\r\nhello"},
		[]string{"HTTP/1.1 20", "0 OK\r\ncontent-length:  2\r\n\r", "\n", "o", "k"},
		[]string{"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"},
		[]string{"HTTP/1.1 304 Not Modified\r\n\r\n"},
		[]string{"HTTP/1.1 200 OK\r\nContent-Length: 49152\r\n\r\n", long[:20000], long[20000:]},
		[]string{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend"},
	)
	c := dial(t, address)
	for _, want := range []struct {
		status int
		body   string
	}{{200, "hello"}, {200, "ok"}, {503, ""}, {304, ""}, {200, long}, {200, "end"}} {
		got, err := c.do(request(address, "/"))
		if err != nil || got.status != want.status || string(got.body) != want.body {
			t.Fatalf("%d %.20q %v, want %d %.20q", got.status, got.body, err, want.status, want.body)
		}
		if want.body == "hello" && (got.header("X-Cache") != "near" || got.header("Age") != "") {
			t.Errorf("the header is %q", got.head)
		}
	}
}

func TestClientRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, answer, want string }{
		{"another protocol", "SSH-2.0-x\r\n\r\n", "no status line"},
		{"no status", "HTTP/1.1 abc\r\n\r\n", "no status"},
		{"no length", "HTTP/1.1 200 OK\r\n\r\n", "no Content-Length"},
		{"a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "want 0 to"},
		{"a huge length", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "want 0 to"},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "in pieces"},
		{"too much", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc", "2 bytes came after"},
		{"too little", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "EOF"},
		{"an endless header", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHead), "more than 16384 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			address := scripted(t, []string{c.answer})
			if _, err := dial(t, address).do(request(address, "/")); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestClientKeepsToItsDeadline(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c, err := connect(t.Context(), listener.Addr().String(), time.Now().Add(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.close() })
	if _, err := c.do(request("x", "/")); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("got %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := connect(ended, listener.Addr().String(), time.Now().Add(time.Second)); err == nil {
		t.Error("a connection was made for nobody")
	}
}

func FuzzParseHead(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Cache: near"))
	f.Add([]byte("HTTP/1.1 304 Not Modified"))
	f.Add([]byte("HTTP/1.1 200\r\n:\r\n\r\nContent-Length"))
	f.Fuzz(func(t *testing.T, head []byte) {
		status, length, err := parseHead(head)
		if err == nil && (status < 100 || status > 999 || length < 0 || length > maxBody) {
			t.Errorf("status %d, length %d", status, length)
		}
		for _, field := range fields(head) {
			if strings.Contains(field.Name, ":") {
				t.Errorf("field %q", field.Name)
			}
		}
	})
}
