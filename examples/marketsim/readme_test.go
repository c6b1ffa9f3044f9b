package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/service-islands/islands/examples/marketsim/sim"
)

// curl takes the commands of the README apart: method, address and body.
var curl = regexp.MustCompile(`^curl -s (?:-X ([A-Z]+) )?'?http://127\.0\.0\.1:8900([^' ]*)'?(?: -d '(.*)')?$`)

// websocat takes the address out of those commands that listen to a stream.
var websocat = regexp.MustCompile(`^websocat '(ws://127\.0\.0\.1:8900[^' ]*)'$`)

func TestCommandsOfTheReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	simulator := sim.New(sim.Options{})
	defer simulator.Close()
	server := httptest.NewServer(simulator)
	defer server.Close()
	client := server.Client()
	commands, streams, faulty := 0, 0, false
	for line := range strings.SplitSeq(string(text), "\n") {
		if parts := websocat.FindStringSubmatch(line); parts != nil {
			listen(t, strings.Replace(parts[1], "ws://127.0.0.1:8900", server.URL, 1))
			streams++
		}
		if !strings.HasPrefix(line, "curl ") {
			continue
		}
		parts := curl.FindStringSubmatch(line)
		if parts == nil {
			t.Errorf("cannot read %s", line)
			continue
		}
		method := parts[1]
		if method == "" {
			method = http.MethodGet
		}
		request, err := http.NewRequestWithContext(t.Context(), method, server.URL+parts[2], strings.NewReader(parts[3]))
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK {
			t.Errorf("%s\n%d %.300s %v", line, response.StatusCode, body, err)
		}
		commands++
		faulty = faulty || len(simulator.Faults()) > 0
	}
	if commands < 15 || streams < 2 || !faulty {
		t.Errorf("%d commands, %d streams, faults: %v", commands, streams, faulty)
	}
	if left := simulator.Faults(); len(left) > 0 {
		t.Errorf("the README leaves faults behind: %v", left)
	}
}

// listen reads one frame of a stream.
func listen(t *testing.T, url string) {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), url, nil) //nolint:bodyclose // The library has read and replaced the body.
	if err != nil {
		t.Errorf("%s: %v", url, err)
		return
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(1 << 20)
	if _, frame, err := conn.Read(t.Context()); err != nil || !json.Valid(frame) {
		t.Errorf("%s: %.200s %v", url, frame, err)
	}
}
