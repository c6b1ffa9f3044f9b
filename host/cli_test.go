package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	oneStatus = `{"islands":[
		{"name":"cache","layer":"infrastructure","version":"1.0.0","state":"running","status":"ok","reason":"","pid":4242,
		 "generation":1,"since":"2026-01-02T03:04:05Z","restarts":0,"last_error":"",
		 "health":{"status":"ok","reason":"","parts":[{"name":"l1","status":"ok","reason":"","details":{"entries":3}}]},"of_tomorrow":7},
		{"name":"fear-greed","layer":"external_services","version":"","state":"disabled","status":"ok","reason":"disabled","pid":0,
		 "generation":0,"since":"2026-01-02T03:04:05Z","restarts":0,"last_error":"","health":{"status":"ok","reason":""}}]}`
	oneCrash = `{"crashes":[{"island":"cache","at":"2026-01-02T03:04:05Z","cause":"exit","version":"1.0.0","pid":7,
		"uptime_seconds":1.5,"code":-1,"signal":"killed","error":"","stderr":"one\ntwo\n"}]}`
)

func TestCommandsAskTheHost(t *testing.T) {
	t.Parallel()
	all := map[string]string{
		"/admin/status":                `{"islands":[]}`,
		"/admin/islands/cache/crashes": `{"crashes":[]}`,
		"/admin/islands/cache/restart": `{"island":"cache","result":"restarted"}`,
		"/admin/islands/cache/reset":   `{"island":"cache","result":"reset"}`,
		"/admin/islands/cache/swap":    `{"island":"cache","result":"swapped"}`,
		"/admin/cache/invalidate":      `{"invalidated":2}`,
		"/admin/cache/tiers/l1":        `{"tier":"l1","enabled":true}`,
		"/admin/cache/tiers/l2":        `{"tier":"l2","enabled":false}`,
	}
	tests := []struct {
		name string
		args string
		with map[string]string // other answers
		asks []string
		want string
	}{
		{
			"status of a host without islands", "status", nil,
			[]string{"GET /admin/status"},
			"ISLAND  LAYER  VERSION  STATE  STATUS  PID  SINCE  RESTARTS  REASON\n",
		},
		{"status as JSON", "status --json", nil, []string{"GET /admin/status"}, "{\n  \"islands\": []\n}\n"},
		{
			"JSON keeps what this program does not know", "status --json",
			map[string]string{"/admin/status": `{"islands":[],"of_tomorrow":1e400}`},
			[]string{"GET /admin/status"},
			"{\n  \"islands\": [],\n  \"of_tomorrow\": 1e400\n}\n",
		},
		{
			"crashes of one that never did", "crash cache", nil,
			[]string{"GET /admin/islands/cache/crashes"},
			"No crashes.\n",
		},
		{"crashes as JSON", "crash cache --json", nil, []string{"GET /admin/islands/cache/crashes"}, "{\n  \"crashes\": []\n}\n"},
		{"restart", "restart cache", nil, []string{"POST /admin/islands/cache/restart {}"}, "cache restarted\n"},
		{"swap", "swap cache", nil, []string{`POST /admin/islands/cache/swap {"sha256":"","to":""}`}, "cache swapped\n"},
		{
			"swap to another", "swap cache --to /opt/cache --sha256 AB", nil,
			[]string{`POST /admin/islands/cache/swap {"sha256":"ab","to":"/opt/cache"}`},
			"cache swapped\n",
		},
		{
			"restart as JSON", "restart --json cache", nil,
			[]string{"POST /admin/islands/cache/restart {}"},
			"{\n  \"island\": \"cache\",\n  \"result\": \"restarted\"\n}\n",
		},
		{"reset", "reset cache", nil, []string{"POST /admin/islands/cache/reset {}"}, "cache reset\n"},
		{
			"invalidate keys and globs", "cache invalidate btc_current_price crypto_report_*", nil,
			[]string{`POST /admin/cache/invalidate {"patterns":["btc_current_price","crypto_report_*"]}`},
			"2 keys forgotten\n",
		},
		{
			"invalidate one", "cache invalidate a",
			map[string]string{"/admin/cache/invalidate": `{"invalidated":1}`},
			[]string{`POST /admin/cache/invalidate {"patterns":["a"]}`},
			"1 key forgotten\n",
		},
		{"take a tier out", "cache disable l2", nil, []string{`POST /admin/cache/tiers/l2 {"enabled":false}`}, "l2 disabled\n"},
		{"take a tier in", "cache enable l1", nil, []string{`POST /admin/cache/tiers/l1 {"enabled":true}`}, "l1 enabled\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFakeHost(t, func(w http.ResponseWriter, r *http.Request) {
				if _, other := test.with[r.URL.Path]; other {
					answers(test.with)(w, r)
					return
				}
				answers(all)(w, r)
			})
			got := runProgram(t.Context(), append(strings.Fields(test.args), "--config", f.config)...)
			if got.status != exitOK || got.errs != "" || got.out != test.want {
				t.Errorf("got %d\n%s%s\nwant 0\n%s", got.status, got.out, got.errs, test.want)
			}
			if !slices.Equal(f.asked, test.asks) {
				t.Errorf("asked %q, want %q", f.asked, test.asks)
			}
		})
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	f := newFakeHost(t, answers(map[string]string{
		"/admin/status":                     oneStatus,
		"/admin/islands/cache/crashes":      oneCrash,
		"/admin/islands/fear-greed/crashes": `{"crashes":[]}`,
	}))
	t.Run("for people", func(t *testing.T) {
		got := runProgram(t.Context(), "inspect", "cache", "--config", f.config)
		if got.status != exitOK {
			t.Fatalf("got %+v", got)
		}
		for _, want := range []string{"4242", "entries=3", "ended by signal: killed", `"islands crash cache"`} {
			if !strings.Contains(got.out, want) {
				t.Errorf("%q is missing in\n%s", want, got.out)
			}
		}
	})
	t.Run("as JSON", func(t *testing.T) {
		got := runProgram(t.Context(), "inspect", "--json", "cache", "--config", f.config)
		var all struct {
			Island struct {
				Name       string `json:"name"`
				OfTomorrow int    `json:"of_tomorrow"`
			} `json:"island"`
			Crashes []crashReport `json:"crashes"`
		}
		if err := json.Unmarshal([]byte(got.out), &all); err != nil {
			t.Fatalf("%v in %+v", err, got)
		}
		if all.Island.Name != "cache" || all.Island.OfTomorrow != 7 || len(all.Crashes) != 1 || all.Crashes[0].PID != 7 {
			t.Errorf("got %+v", all)
		}
	})
	t.Run("a disabled island", func(t *testing.T) {
		got := runProgram(t.Context(), "inspect", "fear-greed", "--config", f.config)
		if got.status != exitOK || !strings.Contains(got.out, "disabled") || !strings.Contains(got.out, "No crashes.") {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("parts of another version", func(t *testing.T) {
		for name, other := range map[string]map[string]string{
			"crashes": {"/admin/status": oneStatus, "/admin/islands/cache/crashes": `[]`},
			"status":  {"/admin/status": `[]`},
			"island":  {"/admin/status": `{"islands":[3]}`},
		} {
			f := newFakeHost(t, answers(other))
			got := runProgram(t.Context(), "inspect", "cache", "--config", f.config)
			if got.status != exitFailure || !strings.Contains(got.errs, "the host's answer is not understood") {
				t.Errorf("%s: got %+v", name, got)
			}
		}
	})
	t.Run("a host that lists no crashes", func(t *testing.T) {
		f := newFakeHost(t, answers(map[string]string{"/admin/status": oneStatus, "/admin/islands/cache/crashes": `{}`}))
		got := runProgram(t.Context(), "inspect", "cache", "--json", "--config", f.config)
		if got.status != exitOK || !strings.Contains(got.out, `"crashes": []`) {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("an unknown island", func(t *testing.T) {
		got := runProgram(t.Context(), "inspect", "cachet", "--config", f.config)
		if want := "islands: no island \"cachet\": did you mean cache?\n"; got.status != exitFailure || got.errs != want {
			t.Errorf("got %+v, want %q", got, want)
		}
	})
}

// brokenWriter is an output that nobody reads any more.
type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, fs.ErrClosed }

func TestOutputThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	f := newFakeHost(t, answers(map[string]string{
		"/admin/status": oneStatus, "/admin/islands/cache/crashes": oneCrash,
		"/admin/islands/cache/restart": `{}`, "/admin/cache/invalidate": `{}`, "/admin/cache/tiers/l1": `{}`,
	}))
	for _, command := range []string{
		"status", "status --json", "inspect cache", "crash cache", "restart cache", "cache invalidate a", "cache enable l1", "version",
	} {
		var errs bytes.Buffer
		args := strings.Fields(command)
		if command != "version" {
			args = append(args, "--config", f.config)
		}
		if status := execute(t.Context(), args, brokenWriter{}, &errs); status != exitFailure {
			t.Errorf("%s: got %d %s", command, status, errs.String())
		}
	}
}

func TestMistakesInTheCommandLine(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args  string
		want  string
		usage string
	}{
		{"", `"islands" wants a command`, "islands [command]"},
		{"stauts", `unknown command "stauts" for "islands": did you mean status?`, "islands [command]"},
		{"frobnicate", `unknown command "frobnicate" for "islands"` + "\n", "islands [command]"},
		{"status --jsn", "unknown flag: --jsn: did you mean --json?", "islands status [flags]"},
		{"status --nothing-like-it", "unknown flag: --nothing-like-it\n", "islands status [flags]"},
		{"status -x", "unknown shorthand flag: 'x' in -x\n", "islands status [flags]"},
		{"status --timeout soon", `invalid argument "soon" for "--timeout"`, "islands status [flags]"},
		{"status --timeout -1s", "--timeout wants more than -1s", "islands status [flags]"},
		{"status cache", `unknown command "cache" for "islands status"`, "islands status [flags]"},
		{"inspect", `"islands inspect" wants the name of one island`, "islands inspect NAME"},
		{"restart a b", `"islands restart" wants the name of one island`, "islands restart NAME"},
		{"crash ../status", `"../status" cannot be the name of an island`, "islands crash NAME"},
		{"reset Cache", `"Cache" cannot be the name of an island`, "islands reset NAME"},
		{"crash cache --lines -1", "--lines wants 0 or more, not -1", "islands crash NAME"},
		{"cache", `"islands cache" wants a command`, "islands cache [command]"},
		{"cache invalidat x", `unknown command "invalidat" for "islands cache": did you mean invalidate?`, "islands cache [command]"},
		{"cache invalidate", "requires at least 1 arg", "islands cache invalidate PATTERN..."},
		{"cache disable l3", `invalid argument "l3" for "islands cache disable"`, "islands cache disable l1|l2"},
		{"cache enable", "accepts 1 arg", "islands cache enable l1|l2"},
		{"help stauts", `unknown command "stauts" for "islands": did you mean status?`, "islands [command]"},
		{"help cache x", `unknown command "x" for "islands cache"`, "islands cache [command]"},
		{"version now", `unknown command "now" for "islands version"`, "islands version"},
		{"run now", `unknown command "now" for "islands run"`, "islands run [flags]"},
		{"validate a b", "accepts at most 1 arg", "islands validate [FILE]"},
	}
	path := configFor(t, shortDir(t))
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			args := strings.Fields(test.args)
			if strings.Contains(test.args, "--lines") {
				args = append(args, "--config", path)
			}
			got := runProgram(t.Context(), args...)
			if got.status != exitUsage || got.out != "" || !strings.HasPrefix(got.errs, "islands: "+test.want) {
				t.Errorf("got %+v, want status 2 and %q", got, test.want)
			}
			if !strings.Contains(got.errs, "Usage:\n") || !strings.Contains(got.errs, "\n  "+test.usage) {
				t.Errorf("no usage %q in\n%s", test.usage, got.errs)
			}
		})
	}
}

func TestHelpSaysTheExitStatuses(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"help"}, {"--help"}, {"-h"}} {
		got := runProgram(t.Context(), args...)
		if got.status != exitOK || got.errs != "" || !strings.Contains(got.out, "Exit status:") {
			t.Errorf("%s: got %+v", args, got)
		}
		for _, status := range []int{exitOK, exitFailure, exitUsage} {
			if !strings.Contains(got.out, "\n  "+strconv.Itoa(status)+"  ") {
				t.Errorf("%s: exit status %d is not explained in\n%s", args, status, got.out)
			}
		}
	}
	if got := runProgram(t.Context(), "help", "cache", "disable"); got.status != exitOK || !strings.Contains(got.out, "islands cache disable l1|l2") {
		t.Errorf("got %+v", got)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	flag, command := runProgram(t.Context(), "--version"), runProgram(t.Context(), "version")
	if flag != command || flag.status != exitOK || !strings.HasPrefix(flag.out, "islands ") || strings.Count(flag.out, "\n") != 1 {
		t.Errorf("got %+v and %+v, want the same line", flag, command)
	}
	tests := []struct {
		name string
		info *debug.BuildInfo
		want string
	}{
		{"a release", &debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
			{Key: "GOARCH", Value: "amd64"}, {Key: "GOOS", Value: "linux"},
		}}, "v1.2.3 go1.26.0 linux/amd64"},
		{"a working tree", &debug.BuildInfo{GoVersion: "go1.26.0", Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"},
		}}, "(devel) 0123456789ab (modified) go1.26.0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := versionOf(test.info); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	if got := versionOf(nil); !strings.HasPrefix(got, "(unknown) go") {
		t.Errorf("got %q without build information", got)
	}
}

func TestUnknownIslandListsNotTooMany(t *testing.T) {
	t.Parallel()
	known := make([]string, 100)
	for i := range known {
		known[i] = "island-" + strconv.Itoa(i)
	}
	got := unknownIsland("zzz", known).Error()
	if !strings.HasSuffix(got, "island-18, island-19, …") {
		t.Errorf("got %q", got)
	}
}
