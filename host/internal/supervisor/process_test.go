//go:build unix

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// mood is the island that the test binary becomes when the supervisor starts it.
type mood struct {
	sdk.Life
	set moodSettings
}

// moodSettings of the island.
type moodSettings struct {
	Broken bool   `setting:"broken" default:"false" doc:"Whether Initialize refuses."`
	Until  string `setting:"until" default:"" doc:"The file that has to be there before a call is answered; none when empty."`
}

func (m *mood) Initialize(_ context.Context, cfg sdk.Config) error {
	if err := cfg.Decode(&m.set); err != nil {
		return err
	}
	if m.set.Broken {
		return &sdk.Error{Kind: sdk.InvalidArgument, Setting: "broken", Message: `setting "broken": must be false`}
	}
	return nil
}

func (m *mood) Sentiment(ctx context.Context, _ sdk.SentimentRequest) (sdk.Sentiment, error) {
	for m.set.Until != "" {
		if _, err := os.Stat(m.set.Until); err == nil {
			break
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return sdk.Sentiment{}, ctx.Err()
		}
	}
	return sdk.Sentiment{Value: sdk.Known(42), Label: "Fear"}, nil
}

// serveMood is the whole life of the island's process.
func serveMood() {
	process.Serve(sdk.Manifest{
		Name: "mood", Version: "1.0.0", Layer: sdk.LayerExternalServices, Description: "How the market feels.",
		Settings: sdk.SettingsOf(moodSettings{}),
	}, &mood{})
}

// startMood starts real islands of that kind.
func startMood(t *testing.T, spec Spec, changed func(IslandStatus)) (*Supervisor, string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spec.Name, spec.Layer, spec.Path, spec.Enabled = "mood", sdk.LayerExternalServices, exe, true
	spec.Env = map[string]string{"GORACE": "atexit_sleep_ms=0"} // The race detector takes a second to say nothing.
	dir := runDir(t)
	s, err := New(Options{
		Islands: []Spec{spec}, RunDir: dir, OnChange: changed,
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &testWriter{t: t}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

// runDir is a folder with a path short enough for that of a socket below it, which has to fit in 108 bytes.
func runDir(t *testing.T) string {
	t.Helper()
	parent := os.Getenv("TMPDIR")
	if len(parent) > 40 {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "i") //nolint:usetesting // t.TempDir holds the test's name.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// testWriter shows a log with the test that made it.
type testWriter struct{ t *testing.T }

func (w *testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

// untilAnswers returns how long it takes until a generation of the island answers a call.
func untilAnswers(t *testing.T, s *Supervisor, generation uint64) time.Duration {
	t.Helper()
	start := time.Now()
	for time.Since(start) < 20*time.Second {
		if s.Generation("mood") >= generation {
			if island, err := s.Island("mood"); err == nil && island.Health(t.Context()).Status == sdk.StatusOK {
				return time.Since(start)
			}
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("generation %d does not answer: %+v", generation, s.Status())
	return 0
}

// signalMood sends a signal to the island's process.
func signalMood(t *testing.T, s *Supervisor, signal syscall.Signal) {
	t.Helper()
	pid := s.Status()[0].PID
	if pid <= 0 { // Which would be this test's own group.
		t.Fatalf("no process: %+v", s.Status())
	}
	if err := syscall.Kill(pid, signal); err != nil {
		t.Fatal(err)
	}
}

// freezeMood stops the island's process and returns once none of its threads runs: the signal takes a moment to reach
// them. Where there is no /proc that cannot be seen, and is not waited for.
func freezeMood(t *testing.T, s *Supervisor) {
	t.Helper()
	pid := s.Status()[0].PID
	signalMood(t, s, syscall.SIGSTOP)
	eventually(t, "the freeze", func() bool {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid)) // The pattern is well-formed.
		return !slices.ContainsFunc(threads, func(thread string) bool {
			stat, err := os.ReadFile(thread)
			return err == nil && !strings.Contains(string(stat), ") T ")
		})
	})
}

// eventually fails the test when a condition does not come true.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come about", what)
		}
	}
}

// openFiles returns how many file descriptors this process has, -1 where that cannot be seen.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(entries)
}

func TestKill(t *testing.T) {
	s, dir := startMood(t, Spec{Restart: Restart{MaxCrashes: 100, BackoffMin: time.Millisecond, BackoffMax: time.Millisecond}}, nil)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	untilAnswers(t, s, 1)
	// A keeper that grants a wish has started the goroutine that asks after the island's health.
	if err := s.Reset(t.Context(), "mood"); err != nil {
		t.Fatal(err)
	}
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	for i := range uint64(8) {
		signalMood(t, s, syscall.SIGKILL)
		t.Logf("answers again after %v", untilAnswers(t, s, i+2))
	}
	crashes, err := s.Crashes("mood")
	if err != nil || len(crashes) != 8 || crashes[0].Signal != "killed" || crashes[0].Code != -1 || crashes[0].Cause != CauseSignal {
		t.Errorf("the crashes are %+v, %v", crashes, err)
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > goroutines || openFiles(t) > files; {
		if time.Now().After(deadline) {
			t.Errorf("%d goroutines became %d, %d files %d", goroutines, runtime.NumGoroutine(), files, openFiles(t))
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	pid := s.Status()[0].PID
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d after the stop: %v", pid, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestFreeze(t *testing.T) {
	s, _ := startMood(t, Spec{Health: Health{Interval: 50 * time.Millisecond, Timeout: 2 * time.Second, Misses: 2}}, nil)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	untilAnswers(t, s, 1)
	signalMood(t, s, syscall.SIGSTOP)
	t.Logf("answers again after %v", untilAnswers(t, s, 2))
	if crash := s.Status()[0].LastCrash; crash == nil || crash.Cause != CauseHang {
		t.Errorf("the crash is %+v", crash)
	}
	freezeMood(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := s.Stop(ctx); err == nil {
		t.Error("a frozen island was stopped without a word")
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("the stop took %v", took)
	}
}

func TestRestartDrains(t *testing.T) {
	var mu sync.Mutex
	var states []State
	answer := filepath.Join(t.TempDir(), "answer")
	s, _ := startMood(t, Spec{Settings: map[string]any{"until": answer}}, func(status IslandStatus) {
		mu.Lock()
		defer mu.Unlock()
		if n := len(states); n == 0 || states[n-1] != status.State {
			states = append(states, status.State)
		}
	})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	island, err := s.Island("mood")
	if err != nil {
		t.Fatal(err)
	}
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() {
			if _, err := island.Sentiment(t.Context(), sdk.SentimentRequest{}); err != nil {
				t.Errorf("a call in flight failed: %v", err)
			}
		})
	}
	g := s.roster.Load().keepers[0].current.Load()
	eventually(t, "all calls in flight", func() bool { return g.calls.inFlight.Load() == 20 })
	calls.Go(func() {
		if err := s.Restart(t.Context(), "mood"); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the drain", g.calls.draining.Load)
	if err := os.WriteFile(answer, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	calls.Wait()
	if status := s.Status()[0]; status.Generation != 2 || status.LastCrash != nil {
		t.Errorf("the status is %+v", status)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	want := []State{StateRunning, StateRestarting, StateRunning, StateStopped}
	if len(states) != len(want) {
		t.Fatalf("the states were %v, want %v", states, want)
	}
	for i := range want {
		if states[i] != want[i] {
			t.Fatalf("the states were %v, want %v", states, want)
		}
	}
}

func TestWrongSettings(t *testing.T) {
	s, _ := startMood(t, Spec{Settings: map[string]any{"broken": true}}, nil)
	err := s.Start(t.Context())
	if !errors.Is(err, sdk.InvalidArgument) {
		t.Errorf("start: %v, want an invalid argument", err)
	}
	mustContain(t, err, `island "mood"`, `setting "broken"`)
}

func TestWrongChecksum(t *testing.T) {
	s, _ := startMood(t, Spec{SHA256: "00"}, nil)
	if err := s.Start(t.Context()); !errors.Is(err, sdk.InvalidArgument) {
		t.Errorf("start: %v, want an invalid argument", err)
	}
}
