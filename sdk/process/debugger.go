package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
)

// underDebugger makes a command that executes a program one that executes a debugger for it.
func underDebugger(cmd *exec.Cmd, debugger []string, path string) error {
	found, err := exec.LookPath(debugger[0])
	if err != nil {
		return fmt.Errorf("the debugger: %w", err)
	}
	cmd.Path, cmd.Args = found, append(slices.Clone(debugger), path)
	return nil
}

// watchProgram ends a debugger whose program is gone: it may wait for the next command for ever. That is not to be told by silence,
// since a program that is held at a breakpoint is silent too, but then the kernel still takes connections to its socket.
// It returns when the connection is closed.
func (p *Process) watchProgram(ctx context.Context, conn *grpc.ClientConn, logger hclog.Logger) {
	for state := conn.GetState(); state != connectivity.Shutdown; state = conn.GetState() {
		if state != connectivity.Ready && nobodyListens(ctx, p.socket) {
			if !p.runner.asked.Load() {
				p.runner.forsaken.Store(true)
				logger.Warn("debugger has lost its program, which has ended, and is ended too", "pid", p.PID())
			}
			p.runner.kill()
			return
		}
		if state == connectivity.Idle {
			conn.Connect() // Which fails, and so is seen, when the end of the program was met halfway.
		}
		conn.WaitForStateChange(ctx, state)
	}
}

// knockTimeout bounds the looking whether a program listens.
const knockTimeout = time.Second

// nobodyListens reports whether it is certain that no process has the socket.
func nobodyListens(ctx context.Context, socket string) bool {
	knock, err := (&net.Dialer{Timeout: knockTimeout}).DialContext(ctx, "unix", socket)
	if err == nil {
		_ = knock.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)
}

// preamble reads the standard output of a process that runs under a debugger. Debuggers print there too, such as the address
// that they listen on, before the island does: that goes to the log, and the handshake to go-plugin.
type preamble struct {
	io.Closer
	flood *flood
	lines *bufio.Reader
	shake string // what is left of the handshake
	// hide takes out of a text what must not get out; nil takes out nothing.
	hide func(string) string

	mu    sync.Mutex
	shook bool
	first []string
}

// handshakeLine matches what an island begins with: versions, network, address, protocol and certificate.
var handshakeLine = regexp.MustCompile(`^\d+\|\d+\|\w+\|[^|]+\|grpc(\||$)`)

// How much is kept of what a debugger says.
const (
	maxSaid     = 20
	maxSaidLine = 200
)

// Read returns the handshake. It logs all other lines until there are no more.
func (p *preamble) Read(b []byte) (int, error) {
	for p.shake == "" {
		line, err := p.lines.ReadString('\n')
		if text := strings.TrimRight(line, "\r\n"); text != "" {
			p.take(text, line)
		}
		if err != nil && p.shake == "" {
			return 0, err
		}
	}
	n := copy(b, p.shake)
	p.shake = p.shake[n:]
	return n, nil
}

// take notes a line of the debugger's, or the handshake, which comes once.
func (p *preamble) take(text, line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.shook && handshakeLine.MatchString(text) {
		p.shook, p.shake = true, line
		return
	}
	if !p.shook && len(p.first) < maxSaid {
		p.first = append(p.first, text)
	}
	if p.flood.admits(len(text)) {
		p.flood.logger.Info("debugger printed", "line", text)
	}
}

// said is what the debugger printed before the handshake. What must not get out is taken out only here, because that may be learnt
// later, and before lines are cut, because a part of a secret is not found. It is safe on nil.
func (p *preamble) said() []string {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, text := range p.first {
		if p.hide != nil {
			text = p.hide(text)
		}
		out = append(out, strings.ToValidUTF8(text[:min(len(text), maxSaidLine)], "\uFFFD"))
	}
	return out
}
