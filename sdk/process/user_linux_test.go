package process_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk/process"
)

// stranger is a user that owns nothing.
const stranger = 61999

// passable is a folder that others may pass through.
func passable(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestAnIslandRunsAsAUserOfItsOwn(t *testing.T) {
	data, run := passable(t), runDir(t)
	store := filepath.Join(data, "stores", "mine")
	secret := put(t, filepath.Join(data, "secret"), "secret")
	if err := os.Chmod(secret, 0o600); err != nil {
		t.Fatal(err)
	}
	confine := &process.Confine{Writes: []string{store}, User: stranger}
	for range 2 { // The second finds what the first has left.
		p := initialized(t, process.LaunchOptions{RunDir: run, Confine: confine, Limits: process.Limits{Files: 200, Memory: 1 << 40}}, "")
		applied := p.Applied()
		if os.Geteuid() != 0 {
			if applied.OwnUser || !strings.Contains(applied.NotOwnUser, "root") {
				t.Errorf("applied %+v", applied)
			}
			return
		}
		if !applied.OwnUser || applied.User != stranger || applied.NotOwnUser != "" || !applied.Sealed || len(applied.Missing) > 0 {
			t.Fatalf("applied %+v", applied)
		}
		if got, err := ask(t, p, "user"); err != nil || got != fmt.Sprint(stranger, stranger, stranger, []int{}, nil) {
			t.Errorf("it runs as %q, %v", got, err)
		}
		if limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.PID())); err != nil || !contains(string(limits), "Max open files            200 ") {
			t.Errorf("%v\n%s", err, limits)
		}
		temporary, err := ask(t, p, "temporary")
		if err != nil {
			t.Fatal(err)
		}
		for _, what := range []string{
			"write " + filepath.Join(store, "db"), "write " + filepath.Join(temporary, "x"), "read " + filepath.Join(temporary, "x"), "read /etc/passwd",
			"write /dev/null", "run /bin/true",
		} {
			may(t, p, what, true)
		}
		for _, what := range []string{"read " + secret, "list " + run, "list " + temporary + "/..", "read /etc/shadow"} {
			may(t, p, what, false)
		}
		if err := p.Intact(); err != nil {
			t.Error(err)
		}
		if err := p.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		empty(t, run)
	}
	info, err := os.Stat(filepath.Join(store, "db"))
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != stranger {
		t.Errorf("%v, %v", info, err)
	}

	p := initialized(t, process.LaunchOptions{RunDir: run, Confine: confine}, "")
	freeze(t, p.PID())
	p.Interrogate(20 * time.Second)
	if exit := ends(t, p, time.Second); !strings.HasPrefix(exit.Stack, "SIGQUIT: quit") {
		t.Errorf("stack %.200q", exit.Stack)
	}
}

func TestWhyAnIslandRunsAsTheHost(t *testing.T) {
	if os.Geteuid() != 0 {
		return // Then it is always that.
	}
	private := t.TempDir()
	if err := os.Chmod(private, 0o700); err != nil {
		t.Fatal(err)
	}
	closed := filepath.Dir(put(t, filepath.Join(private, "closed", "file"), ""))
	others := filepath.Join(passable(t), "others")
	if err := os.MkdirAll(filepath.Join(others, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	mixed := filepath.Join(passable(t), "mixed")
	theirs := put(t, filepath.Join(mixed, "theirs"), "")
	if err := os.Chown(mixed, stranger, stranger); err != nil {
		t.Fatal(err)
	}
	certificate := put(t, filepath.Join(passable(t), "ca.pem"), "")
	if err := os.Chmod(certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		confine process.Confine
		env     map[string]string
		why     string
	}{
		"a folder nobody gets to":       {process.Confine{Writes: []string{filepath.Join(closed, "store")}}, nil, private + " is open to its owner alone"},
		"a folder of others":            {process.Confine{Writes: []string{others}}, nil, "chown -R 61999:61999 " + others},
		"a file of others in it":        {process.Confine{Writes: []string{mixed}}, nil, theirs + " belongs to user 0"},
		"a file that it may not read":   {process.Confine{Reads: []string{certificate}}, nil, certificate + " is open to its owner alone"},
		"certificates it may not read":  {process.Confine{}, map[string]string{"SSL_CERT_FILE": certificate}, certificate},
		"a folder it cannot list":       {process.Confine{Reads: []string{closed}}, nil, private},
		"nothing, if it may read there": {process.Confine{Reads: []string{others, "/no/such/file"}}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tc.confine.User = stranger
			p := initialized(t, process.LaunchOptions{Confine: &tc.confine, Env: tc.env}, "")
			applied := p.Applied()
			if applied.OwnUser != (tc.why == "") || !strings.Contains(applied.NotOwnUser, tc.why) || !applied.OwnUser && applied.User != os.Geteuid() {
				t.Errorf("applied %+v", applied)
			}
			for _, path := range tc.confine.Writes { // It works all the same.
				may(t, p, "write "+filepath.Join(path, "db"), true)
			}
		})
	}
	t.Run("a script nobody gets to", func(t *testing.T) {
		path := put(t, filepath.Join(closed, "script"), "#!/bin/sh\nexec "+executable(t)+"\n")
		p, err := process.Launch(t.Context(), process.LaunchOptions{
			Name: "actor", Path: path, RunDir: runDir(t), Confine: &process.Confine{Reads: []string{filepath.Dir(executable(t))}, User: stranger},
			Env: map[string]string{"GORACE": "atexit_sleep_ms=0"},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Kill()
		if applied := p.Applied(); applied.OwnUser || !strings.Contains(applied.NotOwnUser, "is open to its owner alone") {
			t.Errorf("applied %+v", applied)
		}
	})
}

// A program that is open for writing is tried again.
func TestABusyProgramIsTriedAgain(t *testing.T) {
	path := script(t, "echo '{\"name\":\"busy\"}'")
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(30*time.Millisecond, func() { _ = file.Close() })
	if manifest, err := process.Describe(t.Context(), path, ""); err != nil || manifest.Name != "busy" {
		t.Errorf("%+v, %v", manifest, err)
	}
}
