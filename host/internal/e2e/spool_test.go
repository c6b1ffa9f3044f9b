package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk/islandtest/servers"
)

// stored asks a host for everything that its store has of a symbol since a moment: the price by the time that it is of.
func (h *host) stored(t *testing.T, symbol string, since time.Time) (map[int64]float64, error) {
	t.Helper()
	out := map[int64]float64{}
	for next := ""; ; {
		path := "/api/history/" + symbol + "?limit=1000&from=" + url.QueryEscape(since.UTC().Format(time.RFC3339Nano))
		if next != "" {
			path += "&cursor=" + url.QueryEscape(next)
		}
		r := h.get(t, path)
		if r.status != http.StatusOK {
			return nil, fmt.Errorf("GET %s: %d %s", path, r.status, r.body)
		}
		var page struct {
			Quotes []quote `json:"quotes"`
			Next   string  `json:"next"`
		}
		if err := json.Unmarshal(r.body, &page); err != nil {
			return nil, err
		}
		for _, q := range page.Quotes {
			out[q.AsOf.UnixNano()] = q.Price
		}
		if next = page.Next; next == "" {
			return out, nil
		}
	}
}

// allStored waits until every quote that was heard is in the store.
func (h *host) allStored(t *testing.T, since time.Time, quotes ...[]heard) {
	t.Helper()
	want := map[string]map[int64]bool{}
	n := 0
	for _, list := range quotes {
		for _, q := range list {
			if want[q.symbol] == nil {
				want[q.symbol] = map[int64]bool{}
			}
			// What a source says of a moment that it has spoken of before, after a restart, changes nothing in the store.
			want[q.symbol][q.asOf] = true
			n++
		}
	}
	eventually(t, 60*time.Second, "all stored", func() error {
		for symbol, list := range want {
			got, err := h.stored(t, symbol, since)
			if err != nil {
				return err
			}
			missing := 0
			var one int64
			for asOf := range list {
				if _, ok := got[asOf]; !ok {
					missing, one = missing+1, asOf
				}
			}
			if missing > 0 {
				return fmt.Errorf("%d of %d quotes of %s are missing, such as that of %v", missing, len(list), symbol, time.Unix(0, one).UTC())
			}
		}
		return nil
	})
	t.Logf("all of %d delivered quotes of %d symbols are stored", n, len(want))
}

// spooled is how many records wait for the store.
func (h *host) spooled(t *testing.T) float64 {
	t.Helper()
	n, _ := at(t, h.get(t, "/health/database").json(t), "spool.records").(float64)
	return n
}

// TestNothingDeliveredIsLost takes the database away while the feed runs, kills the host and its store in the middle, and
// counts: every quote that a client has heard is stored in the end.
func TestNothingDeliveredIsLost(t *testing.T) {
	t.Parallel()
	t.Run("postgres", func(t *testing.T) {
		pg := servers.Postgres(t)
		m := startMarket(t)
		env := map[string]string{"ISLANDS_DATA_DIR": dataDir(t), "DATABASE_URL": pg.URL()}
		h := startHost(t, m, env)
		began := time.Now().Add(-time.Hour) // What a source says may be minutes old.
		first := startEar(t, h)
		h.heardSome(t, first, 3)
		pg.Stop()
		h.heardSome(t, first, 8)
		h.says(t, "Database unavailable, cache-only mode enabled")
		if mode := at(t, h.get(t, "/health/database").json(t), "mode"); mode != "cache_only" {
			t.Errorf("the mode is %v", mode)
		}
		if h.spooled(t) == 0 {
			t.Error("nothing waits on disk")
		}
		if err := syscall.Kill(h.pids(t)["postgres-store"], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		h.heardSome(t, first, 2)
		if err := h.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-h.done
		before := first.stop()

		h = startHost(t, m, env)
		second := startEar(t, h)
		h.heardSome(t, second, 3)
		pg.Restart()
		h.heardSome(t, second, 3)
		after := second.stop()
		h.allStored(t, began, before, after)
		eventually(t, 30*time.Second, "the spool is empty", func() error {
			if n := h.spooled(t); n > 1 {
				return fmt.Errorf("%v wait", n)
			}
			return nil
		})
		h.says(t, "Database available again, normal mode resumed")
		if body := h.get(t, "/health/database").json(t); at(t, body, "mode") != "normal" || at(t, body, "changes").(float64) < 2 {
			t.Errorf("%v", body)
		}
	})
	t.Run("sqlite", func(t *testing.T) {
		m := startMarket(t)
		env := map[string]string{"ISLANDS_DATA_DIR": dataDir(t)}
		h := startHost(t, m, env)
		began := time.Now().Add(-time.Hour) // What a source says may be minutes old.
		var all [][]heard
		for range 3 {
			e := startEar(t, h)
			h.heardSome(t, e, 2)
			if err := syscall.Kill(h.pids(t)["sqlite-store"], syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			h.heardSome(t, e, 2)
			if err := h.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-h.done
			all = append(all, e.stop())
			h = startHost(t, m, env)
		}
		h.allStored(t, began, all...)
	})
	t.Run("a damaged spool", func(t *testing.T) {
		pg := servers.Postgres(t)
		m := startMarket(t)
		env := map[string]string{"ISLANDS_DATA_DIR": dataDir(t), "DATABASE_URL": pg.URL()}
		h := startHost(t, m, env)
		began := time.Now().Add(-time.Hour)
		first := startEar(t, h)
		h.heardSome(t, first, 2)
		pg.Stop()
		h.heardSome(t, first, 8)
		eventually(t, 30*time.Second, "some wait on disk", func() error {
			if n := h.spooled(t); n < 4 {
				return fmt.Errorf("%v wait", n)
			}
			return nil
		})
		if err := h.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-h.done
		before := first.stop()
		segments, _ := filepath.Glob(filepath.Join(h.data, "spool", "*.seg"))
		if len(segments) == 0 {
			t.Fatal("no segment")
		}
		for _, path := range segments {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := len(text) / 2; i < len(text); i += 97 {
				text[i] ^= 0x10
			}
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		h = startHost(t, m, env)
		second := startEar(t, h)
		h.heardSome(t, second, 2)
		pg.Restart()
		h.heardSome(t, second, 2)
		after := second.stop()
		h.allStored(t, began, after)
		eventually(t, 30*time.Second, "what is damaged is counted", func() error {
			body := h.get(t, "/health/database").json(t)
			if lost, _ := at(t, body, "spool.lost").(float64); lost == 0 {
				return fmt.Errorf("%v", body)
			}
			return nil
		})
		h.noneInvented(t, began, before, after)
	})
}

// noneInvented holds the store against what was heard: what it has of a moment is what was said of that.
func (h *host) noneInvented(t *testing.T, since time.Time, quotes ...[]heard) {
	t.Helper()
	said := map[string]map[int64][]float64{}
	for _, q := range slices.Concat(quotes...) {
		if said[q.symbol] == nil {
			said[q.symbol] = map[int64][]float64{}
		}
		said[q.symbol][q.asOf] = append(said[q.symbol][q.asOf], q.price)
	}
	compared := 0
	for symbol, prices := range said {
		got, err := h.stored(t, symbol, since)
		if err != nil {
			t.Fatal(err)
		}
		for asOf, price := range got {
			if heard, ok := prices[asOf]; ok {
				compared++
				if !slices.Contains(heard, price) {
					t.Errorf("%s of %v is stored as %v, and %v was said", symbol, time.Unix(0, asOf).UTC(), price, heard)
				}
			}
		}
	}
	if compared == 0 {
		t.Error("nothing of what was heard is stored")
	}
}

// TestASpoolWithoutADisk takes the folder of the spool away while the feed runs: the feed goes on, the host says so once and
// is degraded, and comes back by itself. Nothing is lost as long as the process lives.
func TestASpoolWithoutADisk(t *testing.T) {
	m := startMarket(t)
	data := dataDir(t)
	h := startHost(t, m, map[string]string{"ISLANDS_DATA_DIR": data, "ISLANDS_CONFIG": edited(t, func(text string) string {
		return strings.Replace(text, "\nhost {\n", "\nhost {\n  spool { max_size = \"1MiB\" }\n", 1) // Its segments are small.
	})})
	began := time.Now().Add(-time.Hour)
	e := startEar(t, h)
	h.heardSome(t, e, 2)
	folder := filepath.Join(data, "spool")
	if err := os.Rename(folder, folder+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(folder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, 120*time.Second, "the spool cannot be written", func() error {
		body := h.get(t, "/health/database").json(t)
		if at(t, body, "status") != "degraded" || fmt.Sprint(at(t, body, "spool.writable")) != "false" {
			return fmt.Errorf("%v", body)
		}
		return nil
	})
	h.says(t, "Spool cannot be written, what waits for the database is in memory alone")
	h.heardSome(t, e, 3)
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(folder+".away", folder); err != nil {
		t.Fatal(err)
	}
	h.says(t, "Spool can be written again")
	eventually(t, 30*time.Second, "the database is well again", func() error {
		body := h.get(t, "/health/database").json(t)
		if at(t, body, "status") != "ok" || fmt.Sprint(at(t, body, "spool.writable")) != "true" {
			return fmt.Errorf("%v", body)
		}
		return nil
	})
	h.allStored(t, began, e.stop())
	if n := strings.Count(strings.Join(h.tail(10_000), "\n"), "Spool cannot be written"); n != 1 {
		t.Errorf("it was told %d times", n)
	}
}

// heardSome waits until so many more ticks have come.
func (h *host) heardSome(t *testing.T, e *ear, n int) {
	t.Helper()
	began := e.count()
	eventually(t, 60*time.Second, fmt.Sprint(n, " more ticks"), func() error {
		if got := e.count() - began; got < n {
			return fmt.Errorf("%d", got)
		}
		return nil
	})
}
