package e2e

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// nobody is the user that owns nothing.
const nobody = 65534

// innocent are the variables that an island may see: what a program needs, what Serve needs, and what its own block gives it.
var innocent = []string{"PATH", "HOME", "TMPDIR", "GOMEMLIMIT", "GOMAXPROCS", "ISLANDS_LIFELINE_FD", "ISLANDS_LOG_LEVEL", "SERVICE_ISLANDS_ISLAND", "TROUBLE"}

// TestChaosSpy has an island try what no island should be able to do to its host, its neighbours and the machine, once with a
// host of the test's own user and, where that is root, once with one of a plain user's. What must be refused is held against a
// table; the rest is printed, for the threat model.
func TestChaosSpy(t *testing.T) {
	t.Parallel()
	users := map[string]int{"own": os.Getuid()}
	if os.Getuid() == 0 {
		users = map[string]int{"root": 0, "plain": nobody}
	}
	for name, user := range users {
		t.Run(name, func(t *testing.T) { spied(t, user) })
	}
}

// spied runs a host as a user and has an island of it spy.
func spied(t *testing.T, user int) {
	t.Helper()
	const token, secret = "the-token-of-the-operator", "the-secret-of-an-island"
	m, d := startMarket(t), startDirector(t, "spy")
	config := d.troubled(t, "spy")
	folder, data := dataDir(t), dataDir(t)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), `env    = { TROUBLE =`, `config {
    secret = "`+secret+`"
  }
  env    = { TROUBLE =`, 1))
	config = filepath.Join(folder, "islands.hcl")
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if user != os.Getuid() {
		for _, path := range []string{folder, data, config} {
			if err := os.Chown(path, user, user); err != nil {
				t.Fatal(err)
			}
		}
	}
	h := startHost(t, m, map[string]string{
		asUser:           strconv.Itoa(user),
		"ISLANDS_CONFIG": config, "ISLANDS_DATA_DIR": data, "ISLANDS_ADMIN_TOKEN": token, "DATABASE_PASSWORD": "the-password",
	})
	h.ok(t, "/api/crypto-report/btc")
	// There is to be a crash report to read.
	first := h.pids(t)
	_ = syscall.Kill(first["report-generator"], syscall.SIGKILL)
	before := allRun(t, h, map[string]int{"report-generator": first["report-generator"]})
	sockets, err := filepath.Glob(filepath.Join(data, "run", "i*", "*", "plugin*"))
	if err != nil || len(sockets) == 0 {
		t.Fatalf("%v, %v", sockets, err)
	}
	d.order(t, "spy", "spy "+data+" "+strings.Join(sockets, ","))
	var found map[string]string
	if err := json.Unmarshal([]byte(d.hear(t, "spy")), &found); err != nil {
		t.Fatal(err)
	}
	for _, what := range slices.Sorted(maps.Keys(found)) {
		t.Logf("%-24s %s", what, found[what])
	}
	refused := []string{"admin socket", "sibling's socket"}
	for _, of := range []string{"host's ", "sibling's "} {
		for _, what := range []string{"memory", "environment", "files", "root", "trace", "signal"} {
			refused = append(refused, of+what)
		}
	}
	applied := h.appliedTo(t)["spy"]
	if applied.Confined {
		refused = append(refused, "list run directory", "list data directory", "write run directory", "write data directory", "lock",
			"configuration", "crash reports", "spool", "database", "passwords", "kernel settings", "own program", "sibling's socket file")
	}
	if applied.OwnUser {
		refused = append(refused, "host's limits", "host's priority", "sibling's limits", "sibling's priority")
	}
	t.Logf("the spy was started as %+v", applied)
	for _, what := range refused {
		if !strings.HasPrefix(found[what], "refused: ") {
			t.Errorf("%s: %s", what, found[what])
		}
	}
	for name := range strings.FieldsSeq(found["environment"]) {
		if !slices.Contains(innocent, name) && !strings.HasPrefix(name, "PLUGIN_") {
			t.Errorf("the environment holds %s", name)
		}
	}
	if now := h.pids(t); !maps.Equal(now, before) {
		t.Errorf("%v became %v", before, now)
	}
}
