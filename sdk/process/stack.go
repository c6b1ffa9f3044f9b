package process

import (
	"bytes"
	"strings"
	"sync"
)

// stackSize is how much is kept of the stacks that an island writes when it dies.
const stackSize = 256 << 10

// stackStarts begin the lines with which the Go runtime begins to say why it gives up.
var stackStarts = [][]byte{
	[]byte("panic: "), []byte("fatal error: "), []byte("SIGQUIT: "), []byte("SIGABRT: "), []byte("runtime: goroutine stack exceeds"),
	[]byte("runtime: out of memory"), []byte("runtime: cannot allocate memory"),
}

// stacks keeps what the Go runtime of an island said last before it gave up, from its first line on. The end of standard
// error alone would hold the goroutines that matter least.
type stacks struct {
	mu   sync.Mutex
	text []byte
	// dying is whether the line before began or continued such a text.
	dying bool
}

// line takes the next line of standard error.
func (s *stacks) line(line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, start := range stackStarts {
		// The lines with which it begins may follow one another; a new text begins only where goroutines have been listed.
		if bytes.HasPrefix(line, start) && (!s.dying || bytes.Contains(s.text, []byte("\ngoroutine "))) {
			s.text, s.dying = nil, true
			break
		}
	}
	if s.dying && len(s.text)+len(line) < stackSize {
		s.text = append(append(s.text, line...), '\n')
	}
}

// String returns the text.
func (s *stacks) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.ToValidUTF8(string(s.text), "\uFFFD")
}

// starved reports whether the text says that there was no memory left.
func (s *stacks) starved() bool {
	for line := range strings.Lines(s.String()) {
		if strings.HasPrefix(line, "goroutine ") {
			return false
		}
		if (strings.HasPrefix(line, "fatal error: ") || strings.HasPrefix(line, "runtime: ")) &&
			(strings.Contains(line, "out of memory") || strings.Contains(line, "cannot allocate memory")) {
			return true
		}
	}
	return false
}
