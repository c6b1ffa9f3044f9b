package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServesUntilTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reader, writer := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() { code <- run(ctx, []string{"--listen", "127.0.0.1:0", "--seed", "3"}, writer, &stderr) }()
	line, err := bufio.NewReader(reader).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "marketsim listening on ")
	if !ok || !strings.HasPrefix(url, "http://127.0.0.1:") || strings.HasSuffix(url, ":0") {
		t.Fatalf("the first line is %q", line)
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	response, err := client.Get(url + "/coingecko/api/v3/ping")
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", response, err)
	}
	_ = response.Body.Close()

	stream, _, err := websocket.Dial(t.Context(), url+"/binance/stream", nil) //nolint:bodyclose // Replaced by the library.
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.CloseNow() }()
	streamed := make(chan error, 1)
	go func() {
		_, _, err := stream.Read(t.Context())
		streamed <- err
	}()

	// A silent call must not hold up the end.
	response, err = client.Post(url+"/_sim/faults", "application/json", strings.NewReader(`{"service":"fng","kind":"silence"}`))
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", response, err)
	}
	_ = response.Body.Close()
	silent := make(chan struct{})
	go func() {
		defer close(silent)
		if response, err := client.Get(url + "/fng/"); err == nil {
			_ = response.Body.Close()
		}
	}()
	for counted := false; !counted; {
		response, err := client.Get(url + "/_sim/requests")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		counted = strings.Contains(string(body), "fng GET /")
	}

	begin := time.Now()
	cancel()
	if got := <-code; got != 0 || stderr.Len() > 0 {
		t.Errorf("exit status %d: %s", got, &stderr)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("ending took %v", took)
	}
	<-silent
	if err := <-streamed; websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestUsage(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		name   string
		args   []string
		code   int
		stderr string
	}{
		{"help", []string{"--help"}, 0, "HOST:PORT"},
		{"unknown flag", []string{"--colour"}, 2, "flag provided but not defined"},
		{"seed is a word", []string{"--seed", "x"}, 2, "invalid value"},
		{"an argument", []string{"start"}, 2, `unexpected argument "start"`},
		{"address is taken", []string{"--listen", taken.Addr().String()}, 1, "address already in use"},
		{"no address", []string{"--listen", "nowhere"}, 1, "missing port"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), c.args, &stdout, &stderr); code != c.code || !strings.Contains(stderr.String(), c.stderr) {
			t.Errorf("%s: %d %s, want %d %s", c.name, code, &stderr, c.code, c.stderr)
		}
		if stdout.Len() > 0 {
			t.Errorf("%s: stdout says %s", c.name, &stdout)
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestNobodyListensToStdout(t *testing.T) {
	var stderr bytes.Buffer
	if code := run(t.Context(), []string{"--listen", "127.0.0.1:0"}, broken{}, &stderr); code != 1 ||
		!strings.Contains(stderr.String(), "closed pipe") {
		t.Errorf("%d %s", code, &stderr)
	}
}
