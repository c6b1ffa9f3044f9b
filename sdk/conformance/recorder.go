package conformance

import (
	"bytes"
	"io"
	"log"
	"log/slog"
	"sync"
)

// recorder keeps what is logged, for the checks that look for what must not be in it.
type recorder struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write keeps p.
func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(p)
}

// String returns what was logged.
func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

// logger logs everything into the recorder.
func (r *recorder) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// discardLog is for servers whose complaints nobody reads.
var discardLog = log.New(io.Discard, "", 0)
