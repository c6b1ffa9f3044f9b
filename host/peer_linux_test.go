package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// fakeProcess is one in a made-up /proc.
type fakeProcess struct {
	pid, parent, group, session int
	name, program, environment  string
	hidden                      bool // what it runs cannot be read
	renounced                   bool
}

// procOf makes a /proc of processes.
func procOf(t *testing.T, processes ...fakeProcess) *procPeers {
	t.Helper()
	root := t.TempDir()
	for _, p := range processes {
		dir := filepath.Join(root, strconv.Itoa(p.pid))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		stat := fmt.Sprintf("%d (%s) S %d %d %d 0 -1 4194304 100\n", p.pid, p.name, p.parent, p.group, p.session)
		if err := os.WriteFile(filepath.Join(dir, "stat"), []byte(stat), 0o600); err != nil {
			t.Fatal(err)
		}
		status := fmt.Sprintf("Name:\tx\nNoNewPrivs:\t%d\nSeccomp:\t0\n", map[bool]int{true: 1}[p.renounced])
		if err := os.WriteFile(filepath.Join(dir, "status"), []byte(status), 0o600); err != nil {
			t.Fatal(err)
		}
		if p.hidden {
			continue
		}
		if err := os.Symlink(p.program, filepath.Join(dir, "exe")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "environ"), []byte(p.environment), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &procPeers{
		root: root, host: 100, uid: 1000, binaries: func() []string { return []string{"/opt/islands/plugins/cache"} },
		groups: func() []int { return []int{200, 210} },
	}
}

func TestWhoMayUseTheAdminSocket(t *testing.T) {
	const cli, shell = "/opt/islands/islands", "/bin/bash"
	peers := procOf(t,
		fakeProcess{pid: 1, parent: 0, group: 1, session: 1, name: "init", program: "/sbin/init"},
		fakeProcess{pid: 50, parent: 1, group: 50, session: 50, name: "bash", program: shell},
		fakeProcess{pid: 100, parent: 50, group: 100, session: 50, name: "islands", program: cli},
		fakeProcess{pid: 150, parent: 50, group: 150, session: 50, name: "islands", program: cli, environment: "PATH=/bin\x00HOME=/"},
		fakeProcess{pid: 200, parent: 100, group: 200, session: 50, name: "cache", program: "/opt/islands/plugins/cache"},
		fakeProcess{pid: 201, parent: 200, group: 200, session: 50, name: "curl", program: "/usr/bin/curl"},
		fakeProcess{pid: 202, parent: 1, group: 200, session: 50, name: "curl", program: "/usr/bin/curl"},
		fakeProcess{pid: 203, parent: 1, group: 203, session: 200, name: "curl", program: "/usr/bin/curl"},
		fakeProcess{pid: 204, parent: 200, group: 204, session: 204, name: "curl", program: "/usr/bin/curl"},
		fakeProcess{pid: 205, parent: 204, group: 205, session: 205, name: ") S 50 1 1 (", program: "/usr/bin/curl"},
		fakeProcess{pid: 206, parent: 1, group: 206, session: 206, name: "cache", program: "/opt/islands/plugins/cache (deleted)"},
		fakeProcess{pid: 207, parent: 1, group: 207, session: 207, name: "cache", program: "/memfd:cache (deleted)"},
		fakeProcess{pid: 208, parent: 1, group: 208, session: 208, name: "curl", program: "/usr/bin/curl", environment: "A=b\x00SERVICE_ISLANDS_ISLAND=x"},
		fakeProcess{pid: 210, parent: 1, group: 211, session: 211, name: "curl", program: "/usr/bin/curl", renounced: true},
		fakeProcess{pid: 209, parent: 1, group: 209, session: 209, name: "secretive", hidden: true},
	)
	for name, tt := range map[string]struct {
		pid, uid int
		why      string
	}{
		"the command line tool":         {150, 1000, ""},
		"a shell":                       {50, 1000, ""},
		"the host itself":               {100, 1000, ""},
		"of another namespace":          {0, 1000, ""},
		"root":                          {999, 0, ""},
		"an island":                     {200, 1000, "process group of an island"},
		"a child of an island":          {201, 1000, "process group of an island"},
		"an orphan in its group":        {202, 1000, "process group of an island"},
		"an orphan in its session":      {203, 1000, "process group of an island"},
		"a child with its own session":  {204, 1000, "the host started it"},
		"a grandchild with a sly name":  {205, 1000, "the host started it"},
		"an orphan of its program":      {206, 1000, "the program of an island"},
		"a sealed program":              {207, 1000, "the program of an island"},
		"an orphan of its environment":  {208, 1000, "the environment of an island"},
		"one that shed all signs":       {210, 1000, "gain no privileges"},
		"one that lets nobody look":     {209, 1000, "cannot be found out"},
		"one that is gone":              {998, 1000, "cannot be found out"},
		"a process without a file stat": {-1, 1000, "cannot be found out"},
	} {
		t.Run(name, func(t *testing.T) {
			why := peers.refuse(tt.pid, tt.uid)
			if (why == "") != (tt.why == "") || !strings.Contains(why, tt.why) {
				t.Errorf("refused because %q, want %q", why, tt.why)
			}
		})
	}
}
