package process

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// maxLine bounds a line of an island's output; what is longer is cut.
	maxLine = 64 << 10
	// tailSize is how much of an island's standard error is kept for its crash report.
	tailSize = 64 << 10
)

// tail keeps the end of what was written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

// Write keeps the last tailSize bytes.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if len(t.buf) > 2*tailSize {
		t.buf = append([]byte(nil), t.buf[len(t.buf)-tailSize:]...)
	}
	return len(p), nil
}

// String returns the end of what was written.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(string(t.buf[max(0, len(t.buf)-tailSize):]), "\uFFFD")
}

// readLines calls each with every line of r, cut at maxLine, until r ends. The slice is valid during the call only.
func readLines(r io.Reader, each func(line []byte)) {
	reader := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := reader.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			each(line)
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = reader.ReadSlice('\n')
			}
			line = nil
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			each(line)
		}
		if err != nil {
			return
		}
	}
}

// logLine hands a line of an island's standard error to the host's log: a record of the island's logger with its level
// and fields, anything else as it is.
func logLine(logger hclog.Logger, line []byte) {
	if record, ok := recordOf(line); ok {
		level, isLevel := levelOf(record["level"])
		message, isMessage := record["msg"].(string)
		if isLevel && isMessage {
			delete(record, "level")
			delete(record, "msg")
			delete(record, "time")
			fields := make([]any, 0, 2*len(record))
			for _, key := range slices.Sorted(maps.Keys(record)) {
				fields = append(fields, key, record[key])
			}
			logger.Log(level, message, fields...)
			return
		}
	}
	logger.Warn("island wrote to stderr", "line", string(line))
}

// recordOf decodes a line that is a JSON object; numbers stay as they were written.
func recordOf(line []byte) (map[string]any, bool) {
	if line[0] != '{' {
		return nil, false
	}
	var record map[string]any
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	err := decoder.Decode(&record)
	return record, err == nil && !decoder.More()
}

// levelOf reads slog's name of a level, such as "WARN" or "INFO+2", as the host's level at or below it.
func levelOf(name any) (hclog.Level, bool) {
	text, ok := name.(string)
	var level slog.Level
	if !ok || level.UnmarshalText([]byte(text)) != nil {
		return hclog.NoLevel, false
	}
	switch {
	case level < slog.LevelDebug:
		return hclog.Trace, true
	case level < slog.LevelInfo:
		return hclog.Debug, true
	case level < slog.LevelWarn:
		return hclog.Info, true
	case level < slog.LevelError:
		return hclog.Warn, true
	default:
		return hclog.Error, true
	}
}

// printed labels what an island prints to its standard output. go-plugin hands it over in chunks, from one goroutine.
type printed struct {
	logger  hclog.Logger
	partial []byte
}

// Write logs each whole line.
func (p *printed) Write(chunk []byte) (int, error) {
	p.partial = append(p.partial, chunk...)
	for {
		line, rest, found := bytes.Cut(p.partial, []byte("\n"))
		if !found && len(p.partial) < maxLine {
			return len(chunk), nil
		}
		p.partial = rest
		if line = bytes.TrimRight(line, "\r"); len(line) > 0 {
			p.logger.Info("island printed", "line", string(line))
		}
	}
}

// drainGrace bounds the reading of an island's output once the island and its process group are gone: what still holds
// the pipe open then left the group on purpose.
const drainGrace = 200 * time.Millisecond
