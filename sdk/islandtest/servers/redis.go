//go:build unix

package servers

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// probeTimeout bounds one question to a starting server.
const probeTimeout = time.Second

// RedisServer is a Redis of the test's own. Its methods end the test when they cannot do what they say, so they belong
// into the test's goroutine.
type RedisServer struct {
	tb       testing.TB
	binary   string
	dir      string
	port     int
	password string
	args     []string
	process  *process
}

// RedisOption changes how [Redis] starts the server.
type RedisOption func(*RedisServer)

// RedisPassword makes the server demand a password, which [RedisServer.URL] then holds.
func RedisPassword(password string) RedisOption {
	return func(s *RedisServer) { s.password = password }
}

// RedisArgs appends arguments to the command line of redis-server, such as "--maxmemory", "8mb".
func RedisArgs(args ...string) RedisOption {
	return func(s *RedisServer) { s.args = append(s.args, args...) }
}

// Redis starts a redis-server that keeps nothing on disk and returns once it answers. It is stopped when the test ends.
// The test fails where redis-server is not installed.
func Redis(tb testing.TB, options ...RedisOption) *RedisServer {
	tb.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		tb.Fatalf("redis-server is not in PATH (%v); install it: apt-get install -y redis-server", err)
	}
	s := &RedisServer{tb: tb, binary: binary, dir: tb.TempDir()}
	for _, option := range options {
		option(s)
	}
	tb.Cleanup(func() {
		s.Stop()
		logFailure(tb, "redis-server", s.log())
	})
	if err := onFreePort(s.start); err != nil {
		tb.Fatalf("redis-server: %v", err)
	}
	return s
}

// Addr returns the host:port that the server listens on. It stays the same across [RedisServer.Restart].
func (s *RedisServer) Addr() string { return hostPort(s.port) }

// URL returns the server's address as REDIS_URL takes it, with the password if there is one.
func (s *RedisServer) URL() string {
	u := url.URL{Scheme: "redis", Host: s.Addr()}
	if s.password != "" {
		u.User = url.UserPassword("", s.password)
	}
	return u.String()
}

// Stop kills the server: connections end, new ones are refused, all data is lost. A stopped server stays stopped.
func (s *RedisServer) Stop() {
	s.tb.Helper()
	if s.process == nil {
		return
	}
	// There is nothing to save, and a frozen server hears no other signal.
	if err := s.process.stop(syscall.SIGKILL); err != nil {
		s.tb.Errorf("stop redis-server: %v", err)
	}
	s.process = nil
}

// Restart starts the server again, empty and on the same port, stopping it first where it runs.
func (s *RedisServer) Restart() {
	s.tb.Helper()
	s.Stop()
	if err := s.start(s.port); err != nil {
		s.tb.Fatalf("restart redis-server: %v", err)
	}
}

// Pause freezes the server (SIGSTOP): connections stay open and new ones are taken by the kernel, but nothing is
// answered until [RedisServer.Resume].
func (s *RedisServer) Pause() {
	s.tb.Helper()
	s.signal(syscall.SIGSTOP)
}

// Resume lets a frozen server go on where it was.
func (s *RedisServer) Resume() {
	s.tb.Helper()
	s.signal(syscall.SIGCONT)
}

func (s *RedisServer) signal(sig syscall.Signal) {
	s.tb.Helper()
	if s.process == nil {
		s.tb.Fatalf("redis-server is stopped; it cannot take %v", sig)
	}
	if err := s.process.signal(sig); err != nil {
		s.tb.Fatalf("redis-server: %v", err)
	}
}

func (s *RedisServer) log() string { return filepath.Join(s.dir, "redis.log") }

func (s *RedisServer) start(port int) error {
	args := []string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", s.dir,
		"--save", "", "--appendonly", "no", "--daemonize", "no",
	}
	if s.password != "" {
		args = append(args, "--requirepass", s.password)
	}
	p, err := command{
		path: s.binary, args: append(args, s.args...), log: s.log(), deathSignal: syscall.SIGKILL,
	}.start()
	if err != nil {
		return err
	}
	if err := p.awaitReady(s.log(), func() bool { return s.answers(port, p.handle.Pid) }); err != nil {
		return err
	}
	s.port, s.process = port, p
	return nil
}

// answers tells whether the Redis on the port is the process with that id and answers PING.
func (s *RedisServer) answers(port, pid int) bool {
	dialer := net.Dialer{Timeout: probeTimeout}
	conn, err := dialer.DialContext(context.Background(), "tcp", hostPort(port))
	if err != nil {
		return false
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(probeTimeout)); err != nil {
		return false
	}
	question := "PING\r\nINFO server\r\n"
	if s.password != "" {
		question = fmt.Sprintf("*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n", len(s.password), s.password) + question
	}
	if _, err := io.WriteString(conn, question); err != nil {
		return false
	}
	pong := false
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		pong = pong || line == "+PONG"
		if id, found := strings.CutPrefix(line, "process_id:"); found {
			return pong && id == strconv.Itoa(pid)
		}
	}
	return false
}
