package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// standIn is a debugger that prints what a real one does, and starts the program in its own place.
const standIn = "#!/bin/sh\necho 'API server listening at: 127.0.0.1:4040'\n[ \"$1\" = exec ] || exit 9\nshift\nexec \"$@\"\n"

// TestAttach puts an island under a debugger and holds it at a breakpoint for longer than an island may hang: it is not killed, and
// answers when it goes on. At the end the former binary answers, and no request fails on the way in or out.
func TestAttach(t *testing.T) {
	t.Parallel()
	debugger := writeProgram(t, "dlv", standIn)
	h := startHost(t, startMarket(t), map[string]string{"ISLANDS_CONFIG": edited(t, func(text string) string {
		return strings.Replace(text, `"plugins/report-generator"`, `"plugins/report-generator"`+
			"\n  health {\n    interval = \"1s\"\n    timeout = \"500ms\"\n    misses = 2\n  }", 1)
	})})
	requests := startLoad(t, h, 2, "/api/crypto-report/btc")
	plain := h.pids(t)["report-generator"]
	a := launch(t, h.env, "islands", "attach", "report-generator", "--config", h.config(), "--", debugger, "exec")
	a.says(t, "report-generator runs under dlv: generation 2")
	a.says(t, "API server listening at: 127.0.0.1:4040")
	h.says(t, "Island runs under a debugger", `"island":"report-generator"`)
	h.says(t, "debugger printed", "127.0.0.1:4040", `"island":"report-generator"`)
	requests.stop()
	if out := h.cli(t, "status"); !strings.Contains(out, "UNDER A DEBUGGER") {
		t.Errorf("the status says nothing of it: %s", out)
	}
	if out := h.cli(t, "inspect", "report-generator"); !strings.Contains(out, debugger) || !strings.Contains(out, "a debugger opens it by its name") {
		t.Errorf("%s", out)
	}
	if out, err := h.tryCLI(t, "attach", "report-generator", "--", debugger, "exec"); err == nil || !strings.Contains(out, "already") {
		t.Errorf("a second debugger: %v: %s", err, out)
	}
	held := h.pids(t)["report-generator"]
	if err := gone(plain); err != nil || held == 0 {
		t.Errorf("process %d: %v, now %d", plain, err, held)
	}

	if err := syscall.Kill(held, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(6 * time.Second) // Twice as long as an island may hang by that configuration.
	if err := syscall.Kill(held, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "a report of the island that goes on", func() error {
		if r := h.get(t, "/api/crypto-report/sol"); r.status != http.StatusOK {
			return fmt.Errorf("%d %s", r.status, r.body)
		}
		return nil
	})
	if now := h.pids(t)["report-generator"]; now != held {
		t.Errorf("process %d became %d", held, now)
	}

	h.cli(t, "reload") // What does not concern the island leaves it where it is.
	if now := h.pids(t)["report-generator"]; now != held {
		t.Errorf("process %d became %d by a reload", held, now)
	}
	requests = startLoad(t, h, 2, "/api/crypto-report/btc")
	_ = a.cmd.Process.Signal(syscall.SIGINT)
	a.says(t, "runs without a debugger again: generation 3")
	<-a.done
	requests.stop()
	if code := a.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if err := gone(held); err != nil {
		t.Error(err)
	}
	if out := h.cli(t, "status"); strings.Contains(out, "UNDER A DEBUGGER") {
		t.Errorf("the status still says: %s", out)
	}
	if how := h.appliedTo(t)["report-generator"]; !how.Sealed || !how.Confined {
		t.Errorf("%+v", how)
	}

	// What the host's user writes for an island meanwhile is the island's afterwards.
	before := h.appliedTo(t)["sqlite-store"]
	a = launch(t, h.env, "islands", "attach", "sqlite-store", "--config", h.config(), "--", debugger, "exec")
	a.says(t, "sqlite-store runs under dlv")
	if how := h.appliedTo(t)["sqlite-store"]; how.OwnUser || how.Confined {
		t.Errorf("under a debugger: %+v", how)
	}
	h.ok(t, "/api/crypto-report/ada")
	_ = a.cmd.Process.Signal(syscall.SIGINT)
	a.says(t, "runs without a debugger again")
	<-a.done
	if how := h.appliedTo(t)["sqlite-store"]; !how.Confined || how.OwnUser != before.OwnUser || how.User != before.User {
		t.Errorf("it was %+v and is %+v", before, how)
	}
	h.ok(t, "/health/database")
}

// TestAttachRefuses leaves the island as it is when it cannot be put under a debugger.
func TestAttachRefuses(t *testing.T) {
	t.Parallel()
	token := strings.Repeat("t0ken", 8)
	h := startHost(t, startMarket(t), map[string]string{"ISLANDS_ADMIN_TOKEN": token})
	before := h.pids(t)["report-generator"]
	for name, tc := range map[string]struct {
		args []string
		says string
	}{
		"no debugger":             {[]string{"attach", "report-generator"}, "wants a debugger"},
		"no such debugger":        {[]string{"attach", "report-generator", "--", "no-such-debugger"}, "no-such-debugger"},
		"one that starts nothing": {[]string{"attach", "report-generator", "--", writeProgram(t, "broken", "#!/bin/sh\necho no symbols >&2\nexit 9\n")}, "no symbols"},
		"no such island":          {[]string{"attach", "report", "--", "sh"}, "no island"},
	} {
		t.Run(name, func(t *testing.T) {
			if out, err := h.tryCLI(t, tc.args...); err == nil || !strings.Contains(out, tc.says) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	if now := h.pids(t)["report-generator"]; now != before {
		t.Errorf("process %d became %d", before, now)
	}
	// Who has the token of the API may do all else, and not say what is executed.
	for path, want := range map[string]int{"attach": http.StatusNotFound, "keep": http.StatusNotFound, "reset": http.StatusOK} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.url+"/admin/islands/report-generator/"+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s over HTTP: %d, want %d", path, resp.StatusCode, want)
		}
	}
}

// withConfig puts the flag for the configuration before what is another program's.
func withConfig(args []string, path string) []string {
	flags := []string{"--config", path}
	if at := slices.Index(args, "--"); at >= 0 {
		return slices.Insert(slices.Clone(args), at, flags...)
	}
	return append(slices.Clone(args), flags...)
}
