package process_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// script writes an executable shell script.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBinariesThatAreNoIslands(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		path  string
		sha   string
		env   map[string]string
		kind  sdk.Kind
		words []string
	}{
		"missing":            {path: filepath.Join(t.TempDir(), "none"), kind: sdk.InvalidArgument, words: []string{"there is no binary", "islands.hcl"}},
		"a folder":           {path: t.TempDir(), kind: sdk.InvalidArgument, words: []string{"is not an executable file"}},
		"not executable":     {path: plain, kind: sdk.InvalidArgument, words: []string{"is not an executable file"}},
		"open to everybody":  {path: open(t, 0o777, 0o755), kind: sdk.InvalidArgument, words: []string{"may be changed by everybody", "chmod o-w"}},
		"in an open folder":  {path: open(t, 0o755, 0o777), kind: sdk.InvalidArgument, words: []string{"a folder that everybody may write to", "chmod o-w"}},
		"another checksum":   {path: executable(t), sha: strings.Repeat("0", 64), kind: sdk.InvalidArgument, words: []string{"has the sha256", strings.Repeat("0", 64)}},
		"no interpreter":     {path: interpreterless(t), kind: sdk.InvalidArgument, words: []string{"cannot be executed"}},
		"ends at once":       {path: script(t, "exit 0"), kind: sdk.Unavailable, words: nil},
		"fails at once":      {path: script(t, "echo it is all wrong >&2; exit 3"), kind: sdk.Unavailable, words: []string{"it is all wrong"}},
		"prints other words": {path: script(t, "echo hello; exec sleep 60"), kind: sdk.Unavailable, words: []string{"did not shake hands"}},
		"says nothing":       {path: script(t, "exec sleep 60"), kind: sdk.Unavailable, words: []string{"start"}},
		"a newer protocol": {
			path: executable(t), env: map[string]string{roleVariable: "island of tomorrow"}, kind: sdk.InvalidArgument,
			words: []string{"it speaks protocol 2 and this host protocol 1: upgrade the host to one that speaks protocol 2"},
		},
		"an older protocol": {
			path: executable(t), env: map[string]string{roleVariable: "island of yesterday"}, kind: sdk.InvalidArgument,
			words: []string{"it speaks protocol 0 and this host protocol 1: upgrade the island", "go get github.com/service-islands/islands"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := runDir(t)
			start := time.Now()
			p, err := process.Launch(t.Context(), process.LaunchOptions{
				Name: "x", Path: tc.path, SHA256: tc.sha, Env: tc.env, RunDir: dir, StartTimeout: 500 * time.Millisecond,
			})
			if err == nil {
				p.Kill()
				t.Fatal("it started")
			}
			if sdk.KindOf(err) != tc.kind || !contains(err.Error(), tc.words...) || !contains(err.Error(), tc.path) {
				t.Errorf("of kind %q: %v", sdk.KindOf(err), err)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			empty(t, dir)
		})
	}
}

// open is a script with that mode, in a folder with that mode.
func open(t *testing.T, mode, folder os.FileMode) string {
	t.Helper()
	path := script(t, "exit 0")
	for name, m := range map[string]os.FileMode{path: mode, filepath.Dir(path): folder} {
		if err := os.Chmod(name, m); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// interpreterless is an executable file that nothing can execute.
func interpreterless(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lost")
	if err := os.WriteFile(path, []byte("#!/no/such/interpreter\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestARunDirThatIsTooLongIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("x", 60))
	_, err := process.Launch(t.Context(), process.LaunchOptions{Name: "x", Path: executable(t), RunDir: dir})
	if !errors.Is(err, sdk.InvalidArgument) || !contains(err.Error(), "too long for the sockets") {
		t.Errorf("%v", err)
	}
	// The longest that is allowed works, whatever numbers the folders below it get.
	short := runDir(t)
	longest := filepath.Join(short, strings.Repeat("x", 57-len(short)-1))
	if err := os.Mkdir(longest, 0o700); err != nil {
		t.Fatal(err)
	}
	launch(t, process.LaunchOptions{RunDir: longest})
}

func TestLaunchWithTheRightChecksum(t *testing.T) {
	content, err := os.ReadFile(executable(t))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	launch(t, process.LaunchOptions{SHA256: hex.EncodeToString(sum[:])})
}

func TestAStartCanBeGivenUp(t *testing.T) {
	dir := runDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	start := time.Now()
	_, err := process.Launch(ctx, process.LaunchOptions{Name: "x", Path: script(t, "exec sleep 60"), RunDir: dir})
	if !errors.Is(err, sdk.Canceled) || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	empty(t, dir)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if p, err := process.Launch(ended, process.LaunchOptions{Name: "x", Path: executable(t), RunDir: dir}); err == nil {
		p.Kill()
		t.Error("started under a context that had ended")
	}
	empty(t, dir)
}

func TestDescribeTellsWhatTheIslandTells(t *testing.T) {
	described, err := process.Describe(t.Context(), executable(t), "")
	if err != nil {
		t.Fatal(err)
	}
	p := launch(t, process.LaunchOptions{})
	if diff := cmp.Diff(described, p.Manifest()); diff != "" {
		t.Errorf("describe and the running island differ:\n%s", diff)
	}
	if described.Name != "actor" || !reflect.DeepEqual(described.Settings, sdk.SettingsOf(actorSettings{})) ||
		described.Protocol != (sdk.Protocol{Major: sdk.ProtocolMajor, Minor: sdk.ProtocolMinor}) {
		t.Errorf("%+v", described)
	}
	for name, path := range map[string]string{
		"fails": script(t, "exit 3"), "prints nothing": script(t, "exit 0"), "prints no manifest": script(t, "echo '{}'"),
		"prints without end": script(t, "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done | head -c 5000000"), "missing": "/no/such/file",
	} {
		if _, err := process.Describe(t.Context(), path, ""); !errors.Is(err, sdk.InvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := process.Describe(t.Context(), executable(t), "beef"); !errors.Is(err, sdk.InvalidArgument) {
		t.Errorf("with another checksum: %v", err)
	}
}

func TestStartedByHand(t *testing.T) {
	run := func(args ...string) (string, int) {
		cmd := exec.CommandContext(t.Context(), executable(t), args...)
		cmd.Env = append(os.Environ(), roleVariable+"=by hand")
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	if out, code := run(); code != 0 || !contains(out, "actor 1.2.3", "Does what it is told.", "islands.hcl", "describe") {
		t.Errorf("%d: %s", code, out)
	}
	out, code := run("describe")
	var manifest sdk.Manifest
	if err := json.Unmarshal([]byte(out), &manifest); err != nil || code != 0 || manifest.Name != "actor" {
		t.Errorf("describe: %d, %v: %s", code, err, out)
	}
	for _, args := range [][]string{{"run"}, {"describe", "twice"}, {"--help"}} {
		if out, code := run(args...); code != 2 || !contains(out, "unknown arguments") {
			t.Errorf("%q: %d: %s", args, code, out)
		}
	}
}

// TestWhatADebuggerSaysIsRedacted where it is asked for: a debugger has the environment of the island, and may print it.
func TestWhatADebuggerSaysIsRedacted(t *testing.T) {
	const secret = "key-of-an-island"
	long := strings.Repeat("x", 190)
	p := launch(t, process.LaunchOptions{
		Debugger: []string{script(t, "echo listening\necho KEY=$KEY\necho $LONG$KEY\nexec \"$@\"")},
		Env:      map[string]string{"KEY": secret, "LONG": long},
		Redact:   func(text string) string { return strings.ReplaceAll(text, secret, "[redacted]") },
	})
	if got, want := p.Applied().DebuggerSaid, []string{"listening", "KEY=[redacted]", long + "[redacted]"}; !slices.Equal(got, want) {
		t.Errorf("it said %q, want %q", got, want)
	}
}
