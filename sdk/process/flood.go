package process

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"
)

// What one island may have written into the host's log, so that one that floods neither fills a disk nor hides what the
// others say: as much at once, and as much in each second from then on.
const (
	floodLines    = 2000
	floodBytes    = 4 << 20
	linesASecond  = 200
	bytesASecond  = 256 << 10
	floodInterval = 10 * time.Second // between two lines that say how much was left out
)

// flood lets the lines of an island through to the log until there are too many of them, and says how many were not.
type flood struct {
	logger hclog.Logger
	lines  *rate.Limiter
	bytes  *rate.Limiter

	mu sync.Mutex
	// left out since the log was last told of it, for how long.
	leftLines, leftBytes int64
	since                time.Time
	timer                *time.Timer // tells the log; nil while nothing is left out
}

func newFlood(logger hclog.Logger) *flood {
	return &flood{
		logger: logger, lines: rate.NewLimiter(linesASecond, floodLines), bytes: rate.NewLimiter(bytesASecond, floodBytes),
	}
}

// admits reports whether a line of that many bytes may go to the log, and counts it when it may not.
func (f *flood) admits(bytes int) bool {
	now := time.Now()
	if f.bytes.AllowN(now, bytes) && f.lines.AllowN(now, 1) {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.timer == nil {
		f.since = now
		f.timer = time.AfterFunc(floodInterval, f.tell)
	}
	f.leftLines++
	f.leftBytes += int64(bytes)
	return false
}

// tell says how much was left out since it was last said. It is to be called once nothing more comes.
func (f *flood) tell() {
	f.mu.Lock()
	lines, bytes, since := f.leftLines, f.leftBytes, f.since
	if f.timer != nil {
		f.timer.Stop()
	}
	f.leftLines, f.leftBytes, f.timer = 0, 0, nil
	f.mu.Unlock()
	if lines > 0 {
		f.logger.Warn("the island writes too much, lines of it are left out", "lines", lines, "bytes", bytes,
			"within", time.Since(since).Round(time.Millisecond).String())
	}
}

// maxShake bounds a line of an island's raw standard output. go-plugin reads the handshake from it, and stops reading at a
// line of 64 KiB; the island would then wait for ever with the next.
const maxShake = 32 << 10

// shortLines reads what an island writes to its raw standard output, without what is beyond maxShake in a line.
type shortLines struct {
	*os.File
	length int // of the line that is being read
}

var _ io.ReadCloser = (*shortLines)(nil)

// Read reads what is left of the next bytes, at least one.
func (s *shortLines) Read(p []byte) (int, error) {
	for {
		n, err := s.File.Read(p)
		kept := 0
		for _, b := range p[:n] {
			s.length++
			if b == '\n' {
				s.length = 0
			}
			if s.length <= maxShake {
				p[kept] = b
				kept++
			}
		}
		if kept > 0 || err != nil || len(p) == 0 {
			return kept, err
		}
	}
}
