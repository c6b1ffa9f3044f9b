package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// applied is what the host says of how an island's process was started.
type applied struct {
	Sealed     bool     `json:"sealed"`
	Confined   bool     `json:"confined"`
	Unconfined string   `json:"unconfined"`
	User       int      `json:"user"`
	OwnUser    bool     `json:"own_user"`
	NotOwnUser string   `json:"not_own_user"`
	Writable   []string `json:"writable"`
	Exposed    []string `json:"exposed"`
}

// appliedTo asks for how the islands were started.
func (h *host) appliedTo(t *testing.T) map[string]applied {
	t.Helper()
	var status struct {
		Islands []struct {
			Name    string  `json:"name"`
			PID     int     `json:"pid"`
			Applied applied `json:"applied"`
		} `json:"islands"`
	}
	if err := json.Unmarshal([]byte(h.cli(t, "status", "--json")), &status); err != nil {
		t.Fatal(err)
	}
	all := map[string]applied{}
	for _, island := range status.Islands {
		if island.PID != 0 {
			all[island.Name] = island.Applied
		}
	}
	return all
}

// TestIslandsAreConfined starts the shipped composition on a data folder that the host makes itself, twice: every island is
// bound to its own files and, under root, is a user of its own whose files are found again.
func TestIslandsAreConfined(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		return // Nothing confines an island elsewhere, and "islands inspect" says so.
	}
	parent := dataDir(t)
	if err := os.Chmod(parent, 0o711); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(parent, "d")
	m := startMarket(t)
	users := map[int]string{}
	for life := range 2 {
		h := startHost(t, m, map[string]string{"ISLANDS_DATA_DIR": data})
		h.ok(t, "/api/crypto-report/btc")
		h.ok(t, "/health/database")
		all := h.appliedTo(t)
		if len(all) != 6 {
			t.Fatalf("%d islands run", len(all))
		}
		for name, a := range all {
			if !a.Sealed || !a.Confined || len(a.Exposed) > 0 {
				t.Errorf("%s: %+v", name, a)
			}
			if root := os.Geteuid() == 0; a.OwnUser != root || root && users[a.User] != "" && users[a.User] != name {
				t.Errorf("%s: %+v; users %v", name, a, users)
			}
			users[a.User] = name
		}
		store := filepath.Join(data, "store")
		if got := all["sqlite-store"].Writable; len(got) != 1 || got[0] != store {
			t.Errorf("the store may write %v", got)
		}
		info, err := os.Stat(filepath.Join(store, "islands.db"))
		if err != nil {
			t.Fatal(err)
		}
		if owner := info.Sys().(*syscall.Stat_t).Uid; int(owner) != all["sqlite-store"].User {
			t.Errorf("life %d: the store's file belongs to user %d, the store is user %d", life, owner, all["sqlite-store"].User)
		}
		if out := h.cli(t, "inspect", "sqlite-store"); !strings.Contains(out, "writes "+store) {
			t.Errorf("inspect says\n%s", out)
		}
		h.stop(t)
	}
}

// TestHostWithoutPrivileges runs the shipped composition as nobody, when this is root: nothing of it needs root, and islands
// are confined just so, as the same user.
func TestHostWithoutPrivileges(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return // Then all the other tests run so.
	}
	const nobody = 65534
	data := dataDir(t)
	shipped := edited(t, func(text string) string { return text + "\n" })
	folder := filepath.Dir(shipped)
	for path, mode := range map[string]os.FileMode{
		bin: 0o755, filepath.Join(bin, "plugins"): 0o755, filepath.Dir(folder): 0o711, folder: 0o711, shipped: 0o644,
	} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(data, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	m := startMarket(t)
	h := startHost(t, m, map[string]string{"ISLANDS_DATA_DIR": data, "ISLANDS_CONFIG": shipped, asUser: strconv.Itoa(nobody)})
	h.ok(t, "/api/crypto-report/btc")
	h.ok(t, "/health/database")
	all := h.appliedTo(t)
	if len(all) != 6 {
		t.Fatalf("%d islands run", len(all))
	}
	for name, a := range all {
		if !a.Sealed || !a.Confined || a.OwnUser || a.User != nobody || len(a.Exposed) > 0 {
			t.Errorf("%s: %+v", name, a)
		}
	}
	h.cli(t, "restart", "sqlite-store")
	h.ok(t, "/health/database")
	h.stop(t)
	left, err := filepath.Glob(filepath.Join(data, "run", "i*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
