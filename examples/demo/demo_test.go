package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// output is what the demo said so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// stage is a folder with stand-ins for the programs, and a place for what they tell.
type stage struct {
	bin, temp, journal string
	said, printed      output
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{bin: t.TempDir(), temp: t.TempDir(), journal: filepath.Join(t.TempDir(), "journal")}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"islands", "marketsim", "demo"} {
		if err := os.Symlink(program, filepath.Join(s.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("TMPDIR", s.temp)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the demo said:\n%s\nthe children printed:\n%s", s.said.String(), s.printed.String())
		}
	})
	return s
}

// environ is what the demo sees, on top of the test's own environment.
func (s *stage) environ(more ...string) []string {
	environ, _ := without(os.Environ(), append([]string{"ISLANDS_LISTEN"}, withheld...))
	return slices.Concat(environ, []string{
		journalVariable + "=" + s.journal,
		"ISLANDS_LISTEN=127.0.0.1:0",
		"GORACE=atexit_sleep_ms=0", // The race detector holds up every end by a second otherwise.
	}, more)
}

func (s *stage) demo(more ...string) demo {
	return demo{
		bin: s.bin, config: "some.hcl", environ: s.environ(more...), out: &s.said, errors: &s.printed, grace: 5 * time.Second,
	}
}

// told returns the lines of the journal.
func (s *stage) told(t *testing.T) []string {
	t.Helper()
	content, err := os.ReadFile(s.journal)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(content)), "\n")
}

// assertNothingLeft fails the test where a child listens or a data directory remains.
func (s *stage) assertNothingLeft(t *testing.T) {
	t.Helper()
	for _, address := range s.addresses(t) {
		if listening(address) {
			t.Errorf("something still listens on %s", address)
		}
	}
	entries, err := os.ReadDir(s.temp)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		t.Errorf("%s was left behind", entry.Name())
	}
}

func (s *stage) addresses(t *testing.T) []string {
	t.Helper()
	var addresses []string
	for _, line := range s.told(t) {
		if _, address, found := strings.Cut(line, " listens on "); found {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

func listening(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	return err == nil && conn.Close() == nil
}

// eventually fails the test when the condition does not come true.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestDemoComesUpAndEndsInOrder(t *testing.T) {
	s := newStage(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.demo("REDIS_URL=redis://real", "DATABASE_URL=").run(ctx) }()
	eventually(t, "the welcome", func() bool { return strings.Contains(s.said.String(), "Ctrl-C") })

	addresses := s.addresses(t)
	if len(addresses) != 2 {
		t.Fatalf("got the addresses %q, want one of the market and one of the host", addresses)
	}
	for _, want := range []string{
		"curl 'http://" + addresses[1] + "/api/crypto-report/btc'",
		"curl 'http://" + addresses[1] + "/health/system'",
		"REDIS_URL is not used",
	} {
		if !strings.Contains(s.said.String(), want) {
			t.Errorf("the demo does not say %q", want)
		}
	}
	if strings.Contains(s.said.String(), "DATABASE_URL") {
		t.Error("the demo speaks of a variable that is empty")
	}
	told := strings.Join(s.told(t), "\n")
	for _, want := range []string{
		"islands was given run --config some.hcl",
		"COINGECKO_URL=http://" + addresses[0] + "/simulated",
		"ISLANDS_DATA_DIR=" + filepath.Join(s.temp, "islands-demo-"),
	} {
		if !strings.Contains(told, want) {
			t.Errorf("want %q in\n%s", want, told)
		}
	}
	if withheld := regexp.MustCompile("(?m)^(REDIS|DATABASE)_URL").FindString(told); withheld != "" {
		t.Errorf("the host was given %s", withheld)
	}

	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the demo failed: %v", err)
	}
	if end := s.told(t); !slices.Equal(end[len(end)-2:], []string{"islands ended", "marketsim ended"}) {
		t.Errorf("got the end %q, want the host's before the market's", end)
	}
	s.assertNothingLeft(t)
}

func TestDemoFailsPlainly(t *testing.T) {
	tests := []struct {
		name    string
		environ []string
		without string
		want    string
	}{
		{name: "market not built", without: "marketsim", want: "marketsim is not built, make build does it"},
		{name: "host not built", without: "islands", want: "islands is not built, make build does it"},
		{name: "host crashes", environ: []string{mannerVariable + "=" + mannerCrash}, want: "islands ended: exit status 3"},
		{name: "host dies later", environ: []string{mannerVariable + "=" + mannerDie}, want: "islands ended: exit status 3"},
		{name: "bad address", environ: []string{"ISLANDS_LISTEN=3000"}, want: `ISLANDS_LISTEN wants an address such as "127.0.0.1:3000", not "3000"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t)
			if test.without != "" {
				if err := os.Remove(filepath.Join(s.bin, test.without)); err != nil {
					t.Fatal(err)
				}
			}
			err := s.demo(test.environ...).run(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			s.assertNothingLeft(t)
		})
	}
}

func TestDemoKillsAHostThatDoesNotEnd(t *testing.T) {
	s := newStage(t)
	d := s.demo(mannerVariable + "=" + mannerDeaf)
	d.grace = 200 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.run(ctx) }()
	eventually(t, "the welcome", func() bool { return strings.Contains(s.said.String(), "Ctrl-C") })
	cancel()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "islands did not end within 200ms") {
		t.Errorf("got %v, want it to tell that the host was killed", err)
	}
	s.assertNothingLeft(t)
}

func TestDemoEndsQuietlyWhileItStarts(t *testing.T) {
	s := newStage(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.demo().run(ctx); err != nil {
		t.Errorf("got %v", err)
	}
	s.assertNothingLeft(t)
}

func TestSignalsEndTheProgram(t *testing.T) {
	tests := []struct {
		name   string
		signal syscall.Signal
		clean  bool
	}{
		{"Ctrl-C", syscall.SIGINT, true},
		{"SIGTERM", syscall.SIGTERM, true},
		{"kill -9", syscall.SIGKILL, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t)
			program := exec.CommandContext(t.Context(), filepath.Join(s.bin, "demo"), "--bin", s.bin)
			program.Env, program.Stdout, program.Stderr = s.environ(), &s.said, &s.printed
			program.WaitDelay = 5 * time.Second
			if err := program.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the welcome", func() bool { return strings.Contains(s.said.String(), "Ctrl-C") })
			if err := program.Process.Signal(test.signal); err != nil {
				t.Fatal(err)
			}
			if err := program.Wait(); (err == nil) != test.clean {
				t.Errorf("the program ended with %v", err)
			}
			if test.clean {
				s.assertNothingLeft(t)
				return
			}
			for _, address := range s.addresses(t) {
				eventually(t, "the end of "+address, func() bool { return !listening(address) })
			}
		})
	}
}

func TestReachable(t *testing.T) {
	for _, test := range []struct{ listen, want string }{
		{"127.0.0.1:3000", "127.0.0.1:3000"},
		{":3000", "127.0.0.1:3000"},
		{"0.0.0.0:3000", "127.0.0.1:3000"},
		{"[::]:3000", "127.0.0.1:3000"},
		{"[::1]:3000", "[::1]:3000"},
		{"islands.test:80", "islands.test:80"},
	} {
		t.Run(test.listen, func(t *testing.T) {
			if got := reachable(test.listen); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
