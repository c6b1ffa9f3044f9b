package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
)

// values of a config block with a file of the test's own.
func values(t *testing.T) map[string]any {
	t.Helper()
	return map[string]any{"path": filepath.Join(t.TempDir(), "islands.db")}
}

// opened returns a store on a file of its own; it is closed when the test ends.
func opened(t *testing.T) *store {
	t.Helper()
	return openedWith(t, values(t))
}

func openedWith(t *testing.T, values map[string]any) *store {
	t.Helper()
	s := newStore()
	s.now = func() time.Time { return noon }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel() // What the store starts must outlive this.
	if err := s.Initialize(ctx, sdk.Config{Name: "store", Values: values}); err != nil {
		t.Fatal(err)
	}
	// The tests move the clock.
	s.db.Load().now = func() time.Time { return s.now() }
	t.Cleanup(func() {
		if err := s.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestARestartKeepsWhatWasSaved(t *testing.T) {
	set := values(t)
	s := openedWith(t, set)
	save(t, s, quote("btc", noon, 1))
	remember(t, s, entry("k", "v"))
	if err := s.SaveCandles(t.Context(), []sdk.Candles{daily("one", noon, candle(1, 1, true))}); err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := set["path"].(string)
	if wal, err := os.Stat(path + "-wal"); err == nil && wal.Size() > 0 {
		t.Errorf("%d bytes are left in the write-ahead log", wal.Size())
	}

	s = openedWith(t, set)
	same(t, history(t, s, everything("btc")), []sdk.Quote{quote("btc", noon, 1)})
	same(t, recall(t, s, "k"), []sdk.Entry{entry("k", "v")})
	got, err := s.StoredCandles(t.Context(), days(1))
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, daily("one", noon, candle(1, 1, true)))
}

func TestACrashKeepsWhatWasSaved(t *testing.T) {
	set := values(t)
	s := openedWith(t, set)
	save(t, s, quote("btc", noon, 1))
	// What a process leaves behind that ends at once.
	crashed := filepath.Join(t.TempDir(), "islands.db")
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(set["path"].(string) + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(crashed+suffix, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = openedWith(t, map[string]any{"path": crashed})
	same(t, history(t, s, everything("btc")), []sdk.Quote{quote("btc", noon, 1)})
}

func TestTheFileIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	path := filepath.Join(dir, "is?lands #1%41.db")
	openedWith(t, map[string]any{"path": path})
	for _, test := range []struct {
		path string
		want os.FileMode
	}{{dir, 0o700}, {filepath.Dir(dir), 0o700}, {path, 0o600}, {path + "-wal", 0o600}} {
		info, err := os.Stat(test.path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != test.want {
			t.Errorf("%s has mode %v, want %v", test.path, got, test.want)
		}
	}
}

func TestPathsThatLeadNowhere(t *testing.T) {
	dir := t.TempDir()
	noise := filepath.Join(dir, "noise")
	if err := os.WriteFile(noise, []byte(fmt.Sprintf("%8000d", 7)), 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(dir, "damaged")
	s := openedWith(t, map[string]any{"path": damaged})
	save(t, s, quote("btc", noon, 1))
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(damaged)
	if err != nil {
		t.Fatal(err)
	}
	copy(content[100:], make([]byte, 3000))
	if err := os.WriteFile(damaged, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, path, named string }{
		{"no path", "", `""`},
		{"a folder", dir, dir},
		{"below a file", filepath.Join(noise, "islands.db"), noise},
		{"not a database", noise, noise},
		{"a damaged database", damaged, damaged},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStore()
			err := s.Initialize(t.Context(), sdk.Config{Values: map[string]any{"path": test.path}})
			wantKind(t, err, sdk.InvalidArgument)
			var e *sdk.Error
			if !errors.As(err, &e) || e.Setting != "path" {
				t.Errorf("got %#v, want the setting named", err)
			}
			if got := err.Error(); !strings.Contains(got, test.named) {
				t.Errorf("%s does not name %s", got, test.named)
			}
			t.Log(err)
			if err := s.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMigratingTwiceAndTogether(t *testing.T) {
	set := values(t)
	var stores [4]*store
	var starts sync.WaitGroup
	for i := range stores {
		stores[i] = newStore()
		starts.Go(func() {
			if err := stores[i].Initialize(t.Context(), sdk.Config{Values: set}); err != nil {
				t.Error(err)
			}
		})
	}
	starts.Wait()
	for i, s := range stores {
		save(t, s, quote("btc", noon.Add(time.Duration(i)), 1))
	}
	if got := len(history(t, stores[0], everything("btc"))); got != len(stores) {
		t.Errorf("%d quotes, want %d", got, len(stores))
	}
	for _, s := range stores {
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
	var n int
	db := openedWith(t, set).db.Load()
	if err := db.readers.QueryRow("SELECT count(*) FROM " + versions + " WHERE version_id = 1").Scan(&n); err != nil || n != 1 {
		t.Errorf("the first migration is noted %d times, %v", n, err)
	}
}

// lock takes the file's write lock, as another process would.
func lock(t *testing.T, path string) (unlock func()) {
	t.Helper()
	other, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	other.SetMaxOpenConns(1)
	if _, err := other.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		_, err := other.Exec("ROLLBACK")
		if err := errors.Join(err, other.Close()); err != nil {
			t.Error(err)
		}
	})
}

func TestAnotherProcessHoldsTheLock(t *testing.T) {
	set := values(t)
	set["busy_timeout"] = "50ms"
	s := openedWith(t, set)
	unlock := lock(t, set["path"].(string))
	defer unlock()
	wantKind(t, s.SaveQuotes(t.Context(), []sdk.Quote{quote("btc", noon, 1)}), sdk.Unavailable)
	if got := history(t, s, everything("btc")); got != nil {
		t.Errorf("got %v", got)
	}
	health := s.Health(t.Context())
	if health.Status != sdk.StatusFailed || health.Reason != "the database is locked by another process" {
		t.Errorf("health is %+v", health)
	}
	unlock()
	if err := s.db.Load().probe(t.Context()); err != nil {
		t.Error(err)
	}
	if health := s.Health(t.Context()); health.Status != sdk.StatusOK {
		t.Errorf("after the lock is gone health is %+v", health)
	}
	save(t, s, quote("btc", noon, 1))
}

func TestWaitingForTheLockEndsWithTheContext(t *testing.T) {
	set := values(t)
	s := openedWith(t, set)
	unlock := lock(t, set["path"].(string))
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	start := time.Now()
	wantKind(t, s.SaveQuotes(ctx, []sdk.Quote{quote("btc", noon, 1)}), sdk.DeadlineExceeded)
	if took := time.Since(start); took > time.Second {
		t.Errorf("waited %v", took)
	}
}

func TestPurge(t *testing.T) {
	for _, test := range []struct {
		name            string
		retention       time.Duration
		quotes, entries int
	}{
		{"for ever", 0, 3, 1},
		{"an hour", time.Hour, 2, 1},
		{"a minute", time.Minute, 1, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := opened(t)
			save(t, s, quote("btc", noon.Add(-2*time.Hour), 1), quote("btc", noon.Add(-time.Hour), 2), quote("btc", noon, 3))
			past := entry("past", "v")
			past.StaleUntil = noon
			remember(t, s, past, entry("kept", "v"))
			db := s.db.Load()
			if err := db.purge(t.Context(), test.retention); err != nil {
				t.Fatal(err)
			}
			if got := len(history(t, s, everything("btc"))); got != test.quotes {
				t.Errorf("%d quotes are left, want %d", got, test.quotes)
			}
			var entries int
			if err := db.readers.QueryRow("SELECT count(*) FROM entries").Scan(&entries); err != nil || entries != test.entries {
				t.Errorf("%d entries are left, %v; want %d", entries, err, test.entries)
			}
		})
	}
}

func TestAFileThatIsGone(t *testing.T) {
	set := values(t)
	s := openedWith(t, set)
	if size := value(t, s, "db_size_bytes", nil); size < 4096 {
		t.Errorf("the database has %v bytes", size)
	}
	if err := os.Remove(set["path"].(string)); err != nil {
		t.Fatal(err)
	}
	if health := s.Health(t.Context()); health.Status != sdk.StatusFailed {
		t.Errorf("health is %+v", health)
	}
}
