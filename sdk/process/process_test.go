package process_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

func TestMain(m *testing.M) {
	if become() {
		return
	}
	goleak.VerifyTestMain(m)
}

// executable is the path of this test binary, which becomes an island when Launch starts it.
func executable(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// runDir is a folder with a short path, which that of a socket needs, whatever the name of the test.
func runDir(t *testing.T) string {
	t.Helper()
	parent := os.Getenv("TMPDIR")
	if len(parent) > 40 {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "run") //nolint:usetesting // t.TempDir holds the test's name.
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

// launch starts the test binary as an island, which is gone when the test ends.
func launch(t *testing.T, opts process.LaunchOptions) *process.Process {
	t.Helper()
	opts.Name, opts.Path = "actor", executable(t)
	if opts.RunDir == "" {
		opts.RunDir = runDir(t)
	}
	env := map[string]string{"GORACE": "atexit_sleep_ms=0"} // The race detector takes a second to say nothing.
	maps.Copy(env, opts.Env)
	opts.Env = env
	p, err := process.Launch(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// initialized is launch, followed by an Initialize that makes the island do something.
func initialized(t *testing.T, opts process.LaunchOptions, does string) *process.Process {
	t.Helper()
	p := launch(t, opts)
	if err := p.Island().Initialize(t.Context(), sdk.Config{Name: "actor", Values: map[string]any{"does": does}}); err != nil {
		t.Fatal(err)
	}
	return p
}

// ask has the island do something in a call and returns its answer.
func ask(t *testing.T, p *process.Process, what string) (string, error) {
	t.Helper()
	entries, err := p.Island().Recall(t.Context(), []string{what})
	if err != nil || len(entries) != 1 {
		return "", err
	}
	return string(entries[0].Value), nil
}

// ends waits for the end of a process.
func ends(t *testing.T, p *process.Process, within time.Duration) process.Exit {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(within):
		t.Fatalf("goes on after %v", within)
	}
	return p.Exit()
}

// empty wants nothing left of an island's sockets and folders.
func empty(t *testing.T, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestLaunchedIslandAnswersAndStops(t *testing.T) {
	dir := runDir(t)
	p := launch(t, process.LaunchOptions{RunDir: dir})
	island := p.Island()
	if got := p.Manifest(); got.Name != "actor" || !got.Has(sdk.RoleStore) || got.Has(sdk.RoleQuotes) {
		t.Fatalf("manifest %+v", got)
	}
	if _, err := ask(t, p, "pid"); !errors.Is(err, sdk.Unavailable) {
		t.Fatalf("before Initialize: %v", err)
	}
	if err := island.Initialize(t.Context(), sdk.Config{Name: "actor"}); err != nil {
		t.Fatal(err)
	}
	if err := island.Initialize(t.Context(), sdk.Config{Name: "actor"}); !errors.Is(err, sdk.InvalidArgument) {
		t.Fatalf("Initialize twice: %v", err)
	}
	if _, err := ask(t, p, "pid"); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, p, "refuse"); !errors.Is(err, sdk.RateLimited) || sdk.RetryAfter(err) != 7*time.Second {
		t.Fatalf("%v, %v", err, sdk.RetryAfter(err))
	}
	if _, err := island.Quotes(t.Context(), sdk.QuotesRequest{}); !errors.Is(err, sdk.Unsupported) {
		t.Fatalf("a role it lacks: %v", err)
	}
	for range 2 {
		if err := p.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if exit := p.Exit(); exit.Code != 0 || exit.Signal != "" || exit.Uptime <= 0 || exit.At.IsZero() {
		t.Fatalf("exit %+v", exit)
	}
	empty(t, dir)
	if _, err := ask(t, p, "pid"); !errors.Is(err, sdk.Unavailable) {
		t.Fatalf("after its end: %v", err)
	}
	if h := island.Health(t.Context()); h.Status != sdk.StatusFailed {
		t.Fatalf("health after its end: %+v", h)
	}
}

func TestStopReportsWhatShutdownSays(t *testing.T) {
	p := initialized(t, process.LaunchOptions{}, "fail shutdown")
	if err := p.Stop(t.Context()); !errors.Is(err, sdk.Conflict) {
		t.Errorf("%v", err)
	}
	ends(t, p, time.Second)
}

func TestAPanicEndsTheCallAlone(t *testing.T) {
	log := newLog()
	p := initialized(t, process.LaunchOptions{Logger: log.logger}, "")
	if _, err := ask(t, p, "panic"); !errors.Is(err, sdk.Internal) {
		t.Errorf("%v", err)
	}
	if _, err := ask(t, p, "pid"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	log.eventually(t, "panic in /islands.v1.StoreService/Recall", "stack")
}

func TestACrashIsToldWithItsLastWords(t *testing.T) {
	dir := runDir(t)
	p := initialized(t, process.LaunchOptions{RunDir: dir}, "")
	if _, err := ask(t, p, "crash"); !errors.Is(err, sdk.Unavailable) {
		t.Errorf("the call in flight: %v", err)
	}
	exit := ends(t, p, 5*time.Second)
	if exit.Code != 2 || exit.Signal != "" || !contains(exit.Stderr, "panic: crashed on purpose") {
		t.Errorf("exit %+v", exit)
	}
	empty(t, dir)
}

func TestRequestIDReachesTheIslandsLog(t *testing.T) {
	log := newLog()
	p := initialized(t, process.LaunchOptions{Logger: log.logger}, "")
	ctx := sdk.WithRequestID(t.Context(), "req-4711")
	if _, err := p.Island().Recall(ctx, []string{"log"}); err != nil {
		t.Fatal(err)
	}
	line := log.eventually(t, "asked for", "req-4711")
	if line["request_id"] != "req-4711" || line["@level"] != "info" || line["what"] != "log" {
		t.Errorf("%v", line)
	}
}

func TestEnvironmentIsAnAllowList(t *testing.T) {
	t.Setenv("COINGECKO_API_KEY", "host-secret")
	t.Setenv("REDIS_URL", "redis://:host-secret@h")
	t.Setenv("TZ", "UTC")
	p := initialized(t, process.LaunchOptions{Env: map[string]string{"GIVEN": "yes", "LANG": "de_DE"}}, "")
	env, err := ask(t, p, "env")
	if err != nil {
		t.Fatal(err)
	}
	if contains(env, "host-secret") || contains(env, "REDIS_URL") {
		t.Errorf("the host's secrets are among %s", env)
	}
	for _, want := range []string{"\nGIVEN=yes\n", "\nTZ=UTC\n", "\nPATH=" + os.Getenv("PATH") + "\n", "\nLANG=de_DE\n"} {
		if !contains(env, want) {
			t.Errorf("%q is not among %s", want, env)
		}
	}
}

func TestWhatAnIslandPrintsIsLabelled(t *testing.T) {
	log := newLog()
	p := initialized(t, process.LaunchOptions{Logger: log.logger}, "print")
	line := log.eventually(t, "island printed", "printed by Println")
	if line["line"] != "printed by Println" {
		t.Errorf("%v", line)
	}
	log.eventually(t, "island wrote to stderr", "raw words")
	if _, err := ask(t, p, "pid"); err != nil {
		t.Error(err)
	}
}

func TestAFloodOnStderrIsBounded(t *testing.T) {
	log := newLog()
	p := initialized(t, process.LaunchOptions{Logger: log.logger}, "flood")
	if _, err := ask(t, p, "pid"); err != nil {
		t.Fatal(err)
	}
	log.eventually(t, "the flood is over")
	if longest := log.longest(); longest > 256<<10 {
		t.Errorf("a line of %d bytes in the log", longest)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if n := len(p.Exit().Stderr); n == 0 || n > 64<<10 {
		t.Errorf("%d bytes of last words", n)
	}
}

func TestNothingLeaksOverManyLives(t *testing.T) {
	descriptors := func() int {
		open, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return 0 // Only Linux tells.
		}
		return len(open)
	}
	life := func(i int) {
		dir := runDir(t)
		p := initialized(t, process.LaunchOptions{RunDir: dir}, "")
		switch i % 3 {
		case 0:
			if err := p.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		case 1:
			p.Kill()
		default:
			_, _ = ask(t, p, "crash") // Its error is another test's.
			<-p.Done()
		}
		empty(t, dir)
	}
	life(0)
	before, files := goleak.IgnoreCurrent(), descriptors()
	goroutines := runtime.NumGoroutine()
	for i := range 20 {
		life(i)
	}
	if err := goleak.Find(before); err != nil {
		t.Errorf("%d goroutines became %d: %v", goroutines, runtime.NumGoroutine(), err)
	}
	if now := descriptors(); now > files+2 {
		t.Errorf("%d file descriptors became %d", files, now)
	}
}
