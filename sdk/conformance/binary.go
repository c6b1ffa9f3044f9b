package conformance

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// defaultGrace is how long an island may take to shut down and exit.
const defaultGrace = 10 * time.Second

// Binary is the program of an island, from which every check starts processes of its own.
type Binary struct {
	// Path of the program.
	Path string
	// Image is what was read from it.
	Image *process.Image
	// RunDir is where the sockets are; at most 57 bytes long.
	RunDir string
	// Env is what the island's environment has beyond what every island's has.
	Env map[string]string
	// Grace is how long the island may take to shut down and exit; 10 s when zero.
	Grace time.Duration

	// said is what the islands have logged, printed and written to standard error.
	said transcript
}

// launch starts a process that was not initialized.
func (b *Binary) launch(ctx context.Context) (*process.Process, error) {
	logger := hclog.New(&hclog.LoggerOptions{Output: &b.said, Level: hclog.Debug})
	return process.Launch(ctx, process.LaunchOptions{
		Name: "verify", Path: b.Path, Image: b.Image, RunDir: b.RunDir, Env: b.Env, Logger: logger, Confine: nil,
	})
}

// reach starts a process for a check, as Subject.New.
func (b *Binary) reach(ctx context.Context) (sdk.IslandComponent, func(context.Context), error) {
	p, err := b.launch(ctx)
	if err != nil {
		return nil, nil, err
	}
	return p.Island(), func(ctx context.Context) { _ = p.Stop(ctx) }, nil
}

// grace is how long an island may take to shut down and exit.
func (b *Binary) grace() time.Duration {
	if b.Grace > 0 {
		return b.Grace
	}
	return defaultGrace
}

// running returns a process that was initialized with the subject's settings. It ends with the check.
func (b *bench) running(ctx context.Context) (*process.Process, error) {
	p, err := b.Binary.launch(ctx)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.closers = append(b.closers, p.Kill)
	b.mu.Unlock()
	if err := p.Island().Initialize(ctx, b.config(b.settings())); err != nil {
		return nil, fmt.Errorf("initialize with the settings that were given: %w", err)
	}
	return p, nil
}

// alive returns an error unless a process still answers.
func alive(ctx context.Context, p *process.Process, after string) error {
	select {
	case <-p.Done():
		return fmt.Errorf("the process has ended after %s: %s", after, ending(p))
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := p.Island().Metrics(ctx); err != nil && sdk.KindOf(err) != sdk.Unsupported {
		select {
		case <-p.Done():
			return fmt.Errorf("the process has ended after %s: %s", after, ending(p))
		case <-time.After(time.Second):
			return fmt.Errorf("after %s the island does not answer: %w", after, err)
		}
	}
	return nil
}

// ending is how a process ended, in a few words.
func ending(p *process.Process) string {
	exit := p.Exit()
	text := fmt.Sprintf("exit status %d", exit.Code)
	if exit.Signal != "" {
		text = "ended by the signal " + exit.Signal
	}
	if first, _, _ := bytes.Cut([]byte(exit.Stack), []byte("\n")); len(first) > 0 {
		text += fmt.Sprintf(", %.200s", first)
	}
	return text
}

// transcriptSize bounds what is kept of what islands say.
const transcriptSize = 8 << 20

// transcript keeps the end of what is written to it.
type transcript struct {
	mu   sync.Mutex
	text []byte
}

var _ io.Writer = (*transcript)(nil)

// Write keeps p.
func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - transcriptSize; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

// line returns the line that holds a word, empty when there is none.
func (t *transcript) line(word string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for line := range bytes.Lines(t.text) {
		if bytes.Contains(line, []byte(word)) {
			return string(bytes.TrimSpace(line))
		}
	}
	return ""
}
