package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/service-islands/islands/examples/marketsim/sim"
)

// curl takes the commands of the README apart: method, address and body.
var curl = regexp.MustCompile(`^curl -s (?:-X ([A-Z]+) )?'?http://127\.0\.0\.1:8900([^' ]*)'?(?: -d '(.*)')?$`)

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
	commands, faulty := 0, false
	for line := range strings.SplitSeq(string(text), "\n") {
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
	if commands < 10 || !faulty {
		t.Errorf("%d commands, faults: %v", commands, faulty)
	}
	if left := simulator.Faults(); len(left) > 0 {
		t.Errorf("the README leaves faults behind: %v", left)
	}
}
