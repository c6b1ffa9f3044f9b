//go:build unix

package servers

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// dial opens a connection for the length of the test.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // The test may have ended it.
	return conn
}

// ask sends one line and returns the first line of the answer.
func ask(conn net.Conn, question string, timeout time.Duration) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, question+"\r\n"); err != nil {
		return "", err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(answer), err
}

// mustAsk fails the test where the answer is another one.
func mustAsk(t *testing.T, conn net.Conn, question, want string) {
	t.Helper()
	if got, err := ask(conn, question, 2*time.Second); err != nil || got != want {
		t.Fatalf("%s: got %q, %v; want %q", question, got, err, want)
	}
}

func TestRedisStopsAndRestartsOnItsPort(t *testing.T) {
	t.Parallel()
	redis := Redis(t)
	if want := "redis://" + redis.Addr(); redis.URL() != want {
		t.Errorf("got URL %s, want %s", redis.URL(), want)
	}
	before, conn := redis.Addr(), dial(t, redis.Addr())
	mustAsk(t, conn, "SET k v", "+OK")

	redis.Stop()
	redis.Stop()
	if listening(before) {
		t.Error("a stopped server listens")
	}
	if answer, err := ask(conn, "PING", time.Second); err == nil {
		t.Errorf("a stopped server answers %q", answer)
	}

	redis.Restart()
	if redis.Addr() != before {
		t.Errorf("got %s after the restart, want %s", redis.Addr(), before)
	}
	mustAsk(t, dial(t, redis.Addr()), "EXISTS k", ":0")
	redis.Restart()
	mustAsk(t, dial(t, redis.Addr()), "PING", "+PONG")
}

func TestRedisPausesAndResumes(t *testing.T) {
	t.Parallel()
	redis := Redis(t)
	conn := dial(t, redis.Addr())
	mustAsk(t, conn, "SET k v", "+OK")
	redis.Pause()
	if answer, err := ask(conn, "PING", 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a frozen server answers %q, %v", answer, err)
	}
	redis.Resume()
	mustAsk(t, dial(t, redis.Addr()), "EXISTS k", ":1")
	redis.Pause()
	redis.Restart()
	mustAsk(t, dial(t, redis.Addr()), "PING", "+PONG")
}

func TestRedisTakesAPasswordAndArguments(t *testing.T) {
	t.Parallel()
	const password = "p@ss/word"
	redis := Redis(t, RedisPassword(password), RedisArgs("--maxmemory", "8mb"))
	u, err := url.Parse(redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := u.User.Password(); got != password {
		t.Errorf("got %q in the URL, want %q", got, password)
	}
	conn := dial(t, redis.Addr())
	if got, err := ask(conn, "PING", time.Second); err != nil || !strings.HasPrefix(got, "-NOAUTH") {
		t.Errorf("without the password: got %q, %v", got, err)
	}
	mustAsk(t, conn, "AUTH "+password, "+OK")
	mustAsk(t, conn, "SET k v", "+OK")
	conn = dial(t, redis.Addr())
	mustAsk(t, conn, "AUTH "+password, "+OK")
	if got, err := ask(conn, "CONFIG GET maxmemory", time.Second); err != nil || got != "*2" {
		t.Errorf("got %q, %v", got, err)
	}
}

// A server must not end with the thread that happened to ask for it.
func TestRedisOutlivesTheThreadThatAskedForIt(t *testing.T) {
	t.Parallel()
	asked := make(chan *RedisServer)
	go func() {
		runtime.LockOSThread() // Never unlocked: the thread ends with the goroutine.
		asked <- Redis(t)
	}()
	redis := <-asked
	time.Sleep(100 * time.Millisecond)
	mustAsk(t, dial(t, redis.Addr()), "PING", "+PONG")
}

func TestMissingServersNameTheCommandThatInstallsThem(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	got := fatal(t, func(tb testing.TB) { Redis(tb) })
	if want := "apt-get install -y redis-server"; !strings.Contains(got, want) {
		t.Errorf("got %q, want it to name %q", got, want)
	}
	if folder, err := findPostgres(t.TempDir() + "/*/bin"); err == nil {
		t.Errorf("found postgres in %s", folder)
	}
}

func TestRedisReportsWhatTheServerPrinted(t *testing.T) {
	t.Parallel()
	got := fatal(t, func(tb testing.TB) { Redis(tb, RedisArgs("--no-such-setting", "1")) })
	if !strings.Contains(got, "no-such-setting") {
		t.Errorf("got %q, want the server's own message", got)
	}
}

func TestATakenPortIsChosenAgain(t *testing.T) {
	t.Parallel()
	other := Redis(t)
	redis := &RedisServer{tb: t, binary: other.binary, dir: t.TempDir()}
	if err := redis.start(other.port); !errors.Is(err, errPortTaken) {
		t.Fatalf("got %v, want %v", err, errPortTaken)
	}
	ports := []int{other.port, other.port}
	err := onFreePort(func(port int) error {
		if len(ports) > 0 {
			port, ports = ports[0], ports[1:]
		}
		return redis.start(port)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer redis.Stop()
	mustAsk(t, dial(t, redis.Addr()), "PING", "+PONG")

	always := fmt.Errorf("bind: %w", errPortTaken)
	if err := onFreePort(func(int) error { return always }); !errors.Is(err, errPortTaken) {
		t.Errorf("got %v, want it to give up with %v", err, errPortTaken)
	}
}
