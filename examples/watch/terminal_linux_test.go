package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is one that a test looks at and types into.
type terminal struct {
	t      *testing.T
	master *os.File
	slave  *os.File
	shown  safeBuffer
	ended  chan struct{} // nobody reads any more.
}

func openTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err = errors.Join(err, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return &terminal{t: t, master: master, slave: slave, ended: make(chan struct{})}
}

func (term *terminal) resize(width, height uint16) {
	term.t.Helper()
	if err := unix.IoctlSetWinsize(int(term.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}); err != nil {
		term.t.Fatal(err)
	}
}

// start runs the program on the terminal.
func (term *terminal) start(environ []string, args ...string) *exec.Cmd {
	term.t.Helper()
	program := exec.CommandContext(term.t.Context(), os.Args[0], args...)
	program.Env = append([]string{asProgram + "=1", "TERM=xterm-256color", "COLORTERM=truecolor"}, environ...)
	program.Stdin, program.Stdout, program.Stderr = term.slave, term.slave, term.slave
	program.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := program.Start(); err != nil {
		term.t.Fatal(err)
	}
	go func() {
		defer close(term.ended)
		var buffer [4096]byte
		for {
			n, err := term.master.Read(buffer[:])
			_, _ = term.shown.Write(buffer[:n])
			if err != nil { // Nobody has the other end any more.
				return
			}
		}
	}()
	// Closed by the test, after the program: what is written last may be lost with the last to close.
	term.t.Cleanup(func() {
		_ = term.slave.Close()
		<-term.ended
	})
	return program
}

// until waits for what is shown beyond the given place, and returns where that ends.
func (term *terminal) until(from int, what string, holds func(text string) bool) int {
	term.t.Helper()
	for range 3000 {
		if text := term.shown.String(); holds(text[from:]) {
			return len(text)
		}
		time.Sleep(10 * time.Millisecond)
	}
	term.t.Fatalf("%s never came: %q", what, term.shown.String()[from:])
	return 0
}

// colour is a sequence that sets one.
var colour = regexp.MustCompile(`\x1b\[([0-9;]*;)?(3|4|9|10)\d`)

func TestOnTerminal(t *testing.T) {
	for _, test := range []struct {
		name, environ string
		colours       bool
	}{
		{"in colour", "LANG=C", true},
		{"without", "NO_COLOR=yes", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			url := feedServer(t, func(s *server) {
				s.begin(false)
				s.send(snapshot("a", 1, "btc 1, eth 2"), update("a", 2, "btc 3"))
				if code := s.closed(); code != 1000 {
					t.Errorf("closed with %d", code)
				}
			})
			term := openTerminal(t)
			term.resize(100, 20)
			program := term.start([]string{test.environ}, "--url", url)
			has := func(what string) func(string) bool {
				return func(text string) bool { return strings.Contains(text, what) }
			}
			wide := term.until(0, "the table", has("▲"))
			if text := term.shown.String(); !strings.HasPrefix(text, enterScreen) || !strings.Contains(text, "SOURCE") {
				t.Errorf("%q", text)
			}
			term.resize(40, 20)
			term.until(wide, "a narrower table", func(text string) bool {
				frames := strings.Split(text, clearScreen)
				return len(frames) > 1 && strings.Contains(frames[len(frames)-1], "PRICE") && !strings.Contains(frames[len(frames)-1], "SOURCE")
			})
			if _, err := term.master.WriteString("\x03"); err != nil { // Ctrl-C.
				t.Fatal(err)
			}
			if err := program.Wait(); err != nil {
				t.Errorf("it ended with %v", err)
			}
			term.until(0, "the screen as it was", func(text string) bool { return strings.HasSuffix(text, leaveScreen) })
			text := term.shown.String()
			if got := colour.MatchString(text); got != test.colours {
				t.Errorf("colours: %v in %q", got, text)
			}
		})
	}
}

// TestRefusedOnTerminal: the reason stands on the screen that was there before.
func TestRefusedOnTerminal(t *testing.T) {
	url := feedServer(t, func(s *server) {
		s.begin(false)
		_ = s.conn.Close(4503, "too many connections")
	})
	term := openTerminal(t)
	program := term.start(nil, "--url", url)
	var exit *exec.ExitError
	if err := program.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("it ended with %v", err)
	}
	want := leaveScreen + "watch: " + url + ": closed with 4503 too many connections\r\n"
	term.until(0, "the reason", func(text string) bool { return strings.HasSuffix(text, want) })
}

// TestDumbTerminal is one that cannot be drawn upon.
func TestDumbTerminal(t *testing.T) {
	url := feedServer(t, func(s *server) {
		s.begin(false)
		s.send(snapshot("a", 1, "btc 1"))
		s.closed()
	})
	term := openTerminal(t)
	program := term.start([]string{"TERM=dumb"}, "--url", url)
	term.until(0, "a line", func(text string) bool { return strings.Contains(text, "btc") && strings.HasSuffix(text, "\n") })
	if err := program.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := program.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if text := term.shown.String(); strings.ContainsRune(text, '\x1b') {
		t.Errorf("%q", text)
	}
}
