package process_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// roleVariable says what the test binary is to become, other than an island.
const roleVariable = "PROCESS_TEST_ROLE"

// become makes another program of the test binary when it was started as one, and reports whether it did.
func become() bool {
	switch role := os.Getenv(roleVariable); {
	case role == "host":
		beHost()
	case role == "island of tomorrow", role == "island of yesterday":
		major := uint(sdk.ProtocolMajor + 1)
		if role == "island of yesterday" {
			major = sdk.ProtocolMajor - 1
		}
		plugin.Serve(&plugin.ServeConfig{
			HandshakeConfig: plugin.HandshakeConfig{
				ProtocolVersion: major, MagicCookieKey: "SERVICE_ISLANDS_ISLAND", MagicCookieValue: os.Getenv("SERVICE_ISLANDS_ISLAND"),
			},
			Plugins: plugin.PluginSet{}, GRPCServer: plugin.DefaultGRPCServer, Logger: hclog.NewNullLogger(),
		})
	case role == "deaf": // It does not hear of the end of its host.
		if err := os.Unsetenv("ISLANDS_LIFELINE_FD"); err == nil {
			process.Serve(actorManifest(), &actor{})
		}
	case strings.HasPrefix(filepath.Base(os.Args[0]), "numbered"):
		manifest := actorManifest()
		manifest.Version = fmt.Sprintf("1.0.%d", os.Getpid())
		process.Serve(manifest, &actor{})
	case role == "by hand", os.Getenv("SERVICE_ISLANDS_ISLAND") != "", len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-test."):
		process.Serve(actorManifest(), &actor{})
	default:
		return false
	}
	return true
}

func actorManifest() sdk.Manifest {
	return sdk.Manifest{
		Name: "actor", Version: "1.2.3", Layer: sdk.LayerInfrastructure, Description: "Does what it is told.", Settings: sdk.SettingsOf(actorSettings{}),
		StopFirst: true,
	}
}

type actorSettings struct {
	Does  string     `setting:"does" default:"" doc:"What to do at once."`
	Token sdk.Secret `setting:"token" default:"" doc:"A secret."`
}

// actor is an island that does what its settings and the keys of Recall say. The other calls of a store are echoes.
type actor struct {
	echo
	cfg sdk.Config
	set actorSettings
	// grandchild is the process that the island started.
	grandchild int
}

func (a *actor) Initialize(_ context.Context, cfg sdk.Config) error {
	a.cfg = cfg
	if err := cfg.Decode(&a.set); err != nil {
		return err
	}
	raw := os.NewFile(2, "stderr") // go-plugin has put a pipe in the place of os.Stderr.
	switch a.set.Does {
	case "print":
		fmt.Println("printed by Println")
		_, _ = raw.WriteString("raw words\n")
	case "flood":
		for range 50 {
			_, _ = fmt.Fprintf(raw, "%s\n{\"@level\":3}\n{\"level\":\"INFO\"}\n{\"level\":1,\"msg\":2}\n\n\r\n\x00\xff\n[1]\n", bytes.Repeat([]byte("long "), 40_000))
		}
		_, _ = raw.Write(bytes.Repeat([]byte("x"), 3<<20))
		_, _ = raw.WriteString("\nthe flood is over\n")
	case "deluge": // 100 MB on each way out.
		line := append(bytes.Repeat([]byte("all work and no play "), 50), '\n')
		for range 100 << 20 / len(line) {
			_, _ = raw.Write(line)
		}
		for range 100 << 20 / len(line) {
			_, _ = os.Stdout.Write(line)
		}
		out := os.NewFile(1, "stdout")
		for range 100 << 20 / len(line) {
			_, _ = out.Write(bytes.TrimSpace(line)) // A line without end.
		}
	case "grandchild apart":
		cmd := exec.Command("sleep", "60")
		cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = raw, raw, &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			return err
		}
		a.grandchild = cmd.Process.Pid
	case "grandchild":
		cmd := exec.Command("sleep", "60") // It has to outlive the call.
		cmd.Stdout, cmd.Stderr = raw, raw
		if err := cmd.Start(); err != nil {
			return err
		}
		a.grandchild = cmd.Process.Pid
	}
	return nil
}

func (a *actor) Shutdown(ctx context.Context) error {
	switch a.set.Does {
	case "fail shutdown":
		return sdk.Errorf(sdk.Conflict, "not now")
	case "hang in shutdown":
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (a *actor) Health(context.Context) sdk.Health            { return sdk.Healthy() }
func (a *actor) Metrics(context.Context) (sdk.Metrics, error) { return nil, nil }
func (a *actor) Quotes()                                      {} // Takes the role away from the echo.
func (a *actor) Reports()                                     {}
func (a *actor) Recall(ctx context.Context, keys []string) ([]sdk.Entry, error) {
	answer := func(text string) ([]sdk.Entry, error) { return []sdk.Entry{{Key: keys[0], Value: []byte(text)}}, nil }
	a.cfg.Logger.InfoContext(ctx, "asked for", "what", keys[0])
	verb, path, _ := strings.Cut(keys[0], " ")
	switch verb {
	case "read":
		_, err := os.ReadFile(path)
		return answer(fmt.Sprint(err))
	case "list":
		_, err := os.ReadDir(path)
		return answer(fmt.Sprint(err))
	case "write":
		return answer(fmt.Sprint(os.WriteFile(path, []byte("written"), 0o600)))
	case "remove":
		return answer(fmt.Sprint(os.RemoveAll(path)))
	case "run":
		return answer(fmt.Sprint(exec.CommandContext(ctx, path).Run()))
	case "dial":
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", path)
		if err == nil {
			err = conn.Close()
		}
		return answer(fmt.Sprint(err))
	}
	switch keys[0] {
	case "user":
		groups, err := os.Getgroups()
		return answer(fmt.Sprint(os.Getuid(), os.Geteuid(), os.Getgid(), groups, err))
	case "temporary":
		return answer(os.TempDir())
	case "protocol":
		return answer(a.cfg.Protocol.String())
	case "pid":
		return answer(fmt.Sprint(os.Getpid()))
	case "grandchild":
		return answer(fmt.Sprint(a.grandchild))
	case "env":
		return answer("\n" + strings.Join(os.Environ(), "\n") + "\n")
	case "refuse":
		return nil, &sdk.Error{Kind: sdk.RateLimited, Message: "too often", RetryAfter: 7 * time.Second}
	case "reach":
		parent := os.Getppid()
		var reached []string
		if syscall.Kill(parent, 0) == nil {
			reached = append(reached, "signal")
		}
		if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", parent)); err == nil {
			reached = append(reached, fmt.Sprintf("environment (%d bytes)", len(text)))
		}
		if mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", parent)); err == nil {
			reached = append(reached, "memory")
			_ = mem.Close()
		}
		return answer(strings.Join(reached, " "))
	case "panic":
		panic("on purpose")
	case "crash":
		done := make(chan struct{})
		go func() { panic("crashed on purpose") }()
		<-done
	case "wait":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return answer("")
}

// beHost launches an island in the folder of its first argument, prints both process ids and waits for its own end.
func beHost() {
	exe, err := os.Executable()
	if err == nil {
		var p *process.Process
		var confine *process.Confine
		if user, notGiven := strconv.ParseUint(os.Getenv("ISLAND_USER"), 10, 32); notGiven == nil {
			confine = &process.Confine{User: uint32(user)}
		}
		p, err = process.Launch(context.Background(), process.LaunchOptions{
			Name: "actor", Path: exe, RunDir: os.Args[1], Env: map[string]string{"GORACE": "atexit_sleep_ms=0", roleVariable: os.Getenv("ISLAND_ROLE")},
			Confine: confine,
		})
		if err == nil {
			err = p.Island().Initialize(context.Background(), sdk.Config{Name: "actor", Values: map[string]any{"does": os.Args[2]}})
			fmt.Println(p.PID())
		}
	}
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	select {}
}

// log is a host's log, read line by line.
type log struct {
	logger hclog.Logger
	mu     sync.Mutex
	buf    bytes.Buffer
}

func newLog() *log {
	l := &log{}
	l.logger = hclog.New(&hclog.LoggerOptions{Output: l, JSONFormat: true, Level: hclog.Debug})
	return l
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(l.buf.String(), "\n")
}

func (l *log) longest() int {
	n := 0
	for _, line := range l.lines() {
		n = max(n, len(line))
	}
	return n
}

// eventually waits for a line that holds all the words.
func (l *log) eventually(t *testing.T, words ...string) map[string]any {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		for _, line := range l.lines() {
			if contains(line, words...) {
				var record map[string]any
				if err := json.Unmarshal([]byte(line), &record); err != nil {
					t.Fatal(err)
				}
				return record
			}
		}
	}
	t.Fatalf("no line with %q among %d", words, len(l.lines()))
	return nil
}

// contains reports whether a text holds all the words.
func contains(text string, words ...string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}
