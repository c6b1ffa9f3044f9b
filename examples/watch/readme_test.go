package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"strings"
	"testing"
)

// TestCommandsOfTheReadme runs each until it has shown something.
func TestCommandsOfTheReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	socket := feedServer(t, func(s *server) {
		s.send(welcome)
		channel := s.subscribed().Channels[0]
		s.send(`{"type":"subscribed","id":1,"data":{"`+channel+`":{"ok":true,"recovered":false}}}`, ticker("snapshot", channel, "a", 1, "btc 1"))
		s.closed()
	})
	events := streaming(t, func(s *stream) {
		s.write(event("1", snapshot("a", 1, "btc 1")))
		<-s.r.Context().Done()
	})
	_, rest, _ := strings.Cut(string(text), "```sh\n")
	commands, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("README.md has no commands")
	}
	for line := range strings.Lines(commands) {
		line = strings.TrimSpace(line)
		t.Run(line, func(t *testing.T) {
			if args, ok := strings.CutPrefix(line, "go run ./examples/watch"); ok {
				readmeWatch(t, append([]string{"--url", socket}, strings.Fields(args)...))
			} else if args, ok := strings.CutPrefix(line, "python3 examples/watch/watch.py"); ok {
				readmePython(t, append([]string{"--url", events}, strings.Fields(args)...))
			} else {
				t.Error("nobody knows how to run this")
			}
		})
	}
}

func readmeWatch(t *testing.T, args []string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	reader, writer := io.Pipe()
	defer func() { _ = reader.Close() }()
	ended := make(chan error, 1)
	go func() {
		defer func() { _ = writer.Close() }()
		ended <- run(ctx, args, writer, io.Discard)
	}()
	expectBitcoin(t, reader)
	stop()
	_, _ = io.Copy(io.Discard, reader) // Until it has ended.
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func readmePython(t *testing.T, args []string) {
	t.Helper()
	program := python(t, args...)
	out, err := program.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	expectBitcoin(t, out)
	if err := program.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	if err := program.Wait(); err != nil {
		t.Error(err)
	}
}

// expectBitcoin reads until a line tells of it.
func expectBitcoin(t *testing.T, out io.Reader) {
	t.Helper()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "btc") {
			return
		}
	}
	t.Errorf("it ended without a word of btc: %v", lines.Err())
}
