package main

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/host/internal/supervisor"
	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// noon is now, in these tests.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// shown is what a show function prints of an answer.
func shown(t *testing.T, show func(*strings.Builder, []byte) error, answer any) string {
	t.Helper()
	encoded, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := show(&out, encoded); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// same compares with a text that begins with a line break, for readers.
func same(t *testing.T, got, want string) {
	t.Helper()
	if want = strings.TrimPrefix(want, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestStatusTable(t *testing.T) {
	t.Parallel()
	status := hostStatus{Islands: []islandStatus{
		{
			Name: "cache", Layer: sdk.LayerInfrastructure, Version: "1.0.0", State: supervisor.StateRunning, Status: sdk.StatusDegraded,
			Reason: "l2 is away", PID: 4242, Generation: 3, Since: noon.Add(-90 * time.Minute), Restarts: 2,
		},
		{
			Name: "postgres-store", Layer: sdk.LayerInfrastructure, State: supervisor.StateDisabled, Reason: "disabled",
			Since: noon.Add(-49 * time.Hour),
		},
		{
			Name: "coingecko-source", Layer: sdk.LayerExternalServices, Version: "1.0.0", State: supervisor.StateRunning, PID: 4243,
			Since: noon.Add(-5 * time.Second),
		},
		{
			Name: "mine", Layer: sdk.LayerBusinessLogic, State: supervisor.StateFailed, Status: sdk.StatusFailed,
			Reason: "cannot be started", LastError: "fork/exec /opt/mine:\n\tno such\x1b[2J file", Since: noon.Add(time.Second),
		},
		{
			Name: "yours", Layer: sdk.LayerBusinessLogic, State: supervisor.StateCrashLoop, Status: sdk.StatusFailed,
			Reason: strings.Repeat("é", 130),
		},
	}}
	got := shown(t, func(w *strings.Builder, answer []byte) error { return showStatus(w, answer, noon) }, status)
	same(t, got, `
ISLAND            LAYER              VERSION  STATE       STATUS    PID   SINCE  RESTARTS  REASON
cache             infrastructure     1.0.0    running     degraded  4242  1h30m  2         l2 is away
postgres-store    infrastructure     -        disabled    ok        -     2d1h   0         disabled
coingecko-source  external_services  1.0.0    running     ok        4243  5s     0
mine              business_logic     -        failed      failed    -     0s     0         cannot be started: fork/exec /opt/mine: no such`+"\ufffd"+`[2J file
yours             business_logic     -        crash_loop  failed    -     -      0         `+strings.Repeat("é", 119)+"…\n")
}

func TestInspectionOfARunningIsland(t *testing.T) {
	t.Parallel()
	all := inspection{
		Island: islandStatus{
			Name: "cache", Layer: sdk.LayerInfrastructure, Version: "1.0.0", State: supervisor.StateRunning, Status: sdk.StatusDegraded,
			Reason: "l2 is away", PID: 4242, Generation: 3, Since: noon.Add(-90 * time.Minute), Restarts: 2,
			Applied: process.Applied{NoCgroup: "none", User: 61200, OwnUser: true, Sealed: true, NotIsolated: "no Landlock", Confined: true, Writable: []string{"/a", "/b"}, Exposed: []string{"/etc/islands.hcl"}},
			Health: sdk.Degraded("l2 is away",
				sdk.Part{Name: "l1", Details: map[string]any{"entries": 1e21, "hit_rate": 0.25, "full": false}},
				sdk.Part{Name: "l2", Status: sdk.StatusFailed, Reason: "no answer", Details: map[string]any{"mode": "waits for it", "url": ""}},
			),
		},
		Crashes: []crashReport{
			{Island: "cache", At: noon.Add(-90 * time.Minute), Cause: supervisor.CauseHang, PID: 4100, UptimeSeconds: 3 * 3600, Code: -1},
			{Island: "cache", At: noon.Add(-26 * time.Hour), Cause: supervisor.CauseStart, Code: -1, Error: "no such file"},
		},
	}
	got := shown(t, func(w *strings.Builder, answer []byte) error { return showInspection(w, answer, noon) }, all)
	same(t, got, `
Island      cache
Layer       infrastructure
Version     1.0.0
State       running, for 1h30m
Since       2026-01-02T10:30:00Z
Status      degraded
Reason      l2 is away
Last error  -
PID         4242
Binary      -
Generation  3
Restarts    2
SHA-256     -
Sealed      yes
Isolated    no: no Landlock
User        61200, its own
Confined    yes, writes /a /b, but can read /etc/islands.hcl
Cgroup      no: none
Limits      -
Health      degraded: l2 is away

PART  STATUS  REASON     DETAILS
l1    ok      -          entries=1000000000000000000000 full=false hit_rate=0.25
l2    failed  no answer  mode="waits for it" url=""

CRASHED               AGO    CAUSE  PID   UPTIME  END
2026-01-02T10:30:00Z  1h30m  hang   4100  3h      hung and was killed
2026-01-01T10:00:00Z  1d2h   start  -     0s      did not start: no such file

"islands crash cache" shows what it wrote to its standard error.
`)
}

func TestInspectionOfAnIslandThatDoesNotRun(t *testing.T) {
	t.Parallel()
	all := inspection{Island: islandStatus{
		Name: "mine", Layer: sdk.LayerBusinessLogic, State: supervisor.StateFailed, Status: sdk.StatusFailed,
		Reason: "cannot be started", LastError: "no such file", Since: noon,
		Health: sdk.Healthy(sdk.Part{Name: "old news"}),
	}}
	got := shown(t, func(w *strings.Builder, answer []byte) error { return showInspection(w, answer, noon) }, all)
	same(t, got, `
Island      mine
Layer       business_logic
Version     -
State       failed, for 0s
Since       2026-01-02T12:00:00Z
Status      failed
Reason      cannot be started
Last error  no such file
PID         -
Binary      -
Generation  0
Restarts    0
SHA-256     -
Sealed      -
Isolated    -
User        -
Confined    -
Cgroup      -
Limits      -

No crashes.
`)
}

func TestCrashReports(t *testing.T) {
	t.Parallel()
	reports := crashReports{Crashes: []crashReport{
		{
			Island: "cache", At: noon.Add(-time.Minute), Cause: supervisor.CauseExit, Version: "1.0.0", PID: 7, UptimeSeconds: 0.2504,
			Code: 2, Stderr: "one\r\ntwo\n\n\x1b]0;owned\x07three\n",
		},
		{
			Island: "cache", At: noon.Add(-time.Hour), Cause: supervisor.CauseExit, Version: "1.0.0", PID: 6, UptimeSeconds: 61,
			Code: -1, Signal: "killed",
		},
	}}
	tests := []struct {
		name   string
		lines  int
		stderr string
	}{
		{"the last lines", 2, "Stderr   the last 2 of 4 lines; --lines 0 shows all\n\n  \ufffd]0;owned\ufffdthree\n"},
		{"exactly as many as there are", 4, "Stderr\n  one\n  two\n\n  \ufffd]0;owned\ufffdthree\n"},
		{"all", 0, "Stderr\n  one\n  two\n\n  \ufffd]0;owned\ufffdthree\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := shown(t, func(w *strings.Builder, answer []byte) error { return showCrashes(w, answer, noon, test.lines) }, reports)
			same(t, got, `
Island   cache
Crashed  2026-01-02T11:59:00Z, 1m ago
Cause    exit
End      exited with status 2
Version  1.0.0
PID      7
Uptime   250ms
`+test.stderr+`
Island   cache
Crashed  2026-01-02T11:00:00Z, 1h ago
Cause    exit
End      ended by signal: killed
Version  1.0.0
PID      6
Uptime   1m1s
Stderr   nothing
`)
		})
	}
}

func TestShortDurations(t *testing.T) {
	t.Parallel()
	tests := []struct {
		d    time.Duration
		want string
	}{
		{-time.Hour, "0s"},
		{0, "0s"},
		{999 * time.Millisecond, "0s"},
		{59 * time.Second, "59s"},
		{time.Minute, "1m"},
		{61 * time.Second, "1m1s"},
		{time.Hour + time.Second, "1h"},
		{time.Hour + 59*time.Minute, "1h59m"},
		{24 * time.Hour, "1d"},
		{24*time.Hour + time.Minute, "1d"},
		{400*24*time.Hour + 23*time.Hour, "400d23h"},
	}
	for _, test := range tests {
		if got := short(test.d); got != test.want {
			t.Errorf("%s: got %q, want %q", test.d, got, test.want)
		}
	}
}

func TestUptimesOutOfThisWorld(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[float64]string{-1: "0s", math.MaxFloat64: "53375d23h", 0.0004: "0s", 0.9: "900ms"} {
		if got := uptime(&crashReport{UptimeSeconds: seconds}); got != want {
			t.Errorf("%g s: got %q, want %q", seconds, got, want)
		}
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, reason, lastError, want string }{
		{"none", "", "", ""},
		{"one for everybody", "is starting", "", "is starting"},
		{"one for operators", "", "no such file", "no such file"},
		{"both", "cannot be started", "no such file", "cannot be started: no such file"},
		{"the same twice", "it says: no such file", "no such file", "it says: no such file"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := reasonOf(&islandStatus{Reason: test.reason, LastError: test.lastError}); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
