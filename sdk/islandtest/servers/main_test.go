//go:build unix

package servers

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// holdVariable makes the test binary start servers, print where they are and wait to be killed.
const holdVariable = "ISLANDS_TEST_HOLD_SERVERS"

func TestMain(m *testing.M) {
	if os.Getenv(holdVariable) != "" {
		holdServers()
		return
	}
	goleak.VerifyTestMain(m)
}

// holdServers is the whole life of the process that [TestServersDieWithAKilledTest] kills.
func holdServers() {
	tb := &recordingTB{dir: os.Getenv(holdVariable)}
	redis, postgres := Redis(tb), Postgres(tb)
	fmt.Println(redis.Addr(), postgres.Addr(), postgres.dir)
	time.Sleep(time.Minute)
}

// recordingTB stands for a test whose failures are looked at instead of reported.
type recordingTB struct {
	testing.TB
	dir      string
	failure  string
	cleanups []func()
}

func (r *recordingTB) Helper()                   {}
func (r *recordingTB) Failed() bool              { return r.failure != "" }
func (r *recordingTB) TempDir() string           { return r.dir }
func (r *recordingTB) Cleanup(f func())          { r.cleanups = append(r.cleanups, f) }
func (r *recordingTB) Logf(string, ...any)       {}
func (r *recordingTB) Errorf(f string, a ...any) { r.failure += fmt.Sprintf(f, a...) }

func (r *recordingTB) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	panic(r)
}

// fatal runs f with a test of its own and returns how that test failed.
func fatal(t *testing.T, f func(testing.TB)) string {
	t.Helper()
	tb := &recordingTB{dir: t.TempDir()}
	func() {
		defer func() {
			if cause := recover(); cause != nil && cause != any(tb) {
				panic(cause)
			}
		}()
		f(tb)
	}()
	for _, cleanup := range tb.cleanups {
		cleanup()
	}
	return tb.failure
}

func TestServersDieWithAKilledTest(t *testing.T) {
	t.Parallel()
	test := exec.CommandContext(t.Context(), os.Args[0])
	test.Env = append(os.Environ(), holdVariable+"="+t.TempDir())
	test.Stderr = os.Stderr
	output, err := test.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := test.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatalf("the servers were not started: %v", err)
	}
	places := strings.Fields(line)
	if len(places) != 3 {
		t.Fatalf("got %q, want two addresses and a folder", line)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(places[2]); err != nil {
			t.Error(err)
		}
	})
	for _, address := range places[:2] {
		if !listening(address) {
			t.Fatalf("nobody listens on %s", address)
		}
	}

	if err := test.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := test.Wait(); err == nil {
		t.Fatal("a killed test ended well")
	}
	for _, address := range places[:2] {
		eventually(t, "the end of the server on "+address, func() bool { return !listening(address) })
	}
}

// listening tells whether someone takes connections there.
func listening(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// eventually fails the test when the condition has not come true after two seconds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Second); !condition(); time.Sleep(pollInterval) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come within two seconds", what)
		}
	}
}
