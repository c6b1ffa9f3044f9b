//go:build unix

package servers

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// query asks the server for one text.
func query(t *testing.T, url, sql string) (string, error) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		return "", err
	}
	defer func() {
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	var text string
	err = conn.QueryRow(t.Context(), sql).Scan(&text)
	return text, err
}

// mustQuery fails the test where the answer is another one.
func mustQuery(t *testing.T, url, sql, want string) {
	t.Helper()
	if got, err := query(t, url, sql); err != nil || got != want {
		t.Fatalf("%s: got %q, %v; want %q", sql, got, err, want)
	}
}

func TestPostgresKeepsItsDataAcrossARestart(t *testing.T) {
	t.Parallel()
	postgres := Postgres(t)
	url, addr := postgres.URL(), postgres.Addr()
	mustQuery(t, url, "SELECT current_database() || ' ' || current_user", "islands islands")
	mustQuery(t, url, "SHOW fsync", "off")
	mustQuery(t, url, "SHOW listen_addresses", "127.0.0.1")
	mustQuery(t, url, "SHOW unix_socket_directories", "")
	mustQuery(t, url, "SHOW server_encoding", "UTF8")
	if _, err := query(t, url, "CREATE TABLE kept AS SELECT 'v' AS k"); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		t.Fatal(err)
	}

	postgres.Stop()
	postgres.Stop()
	if listening(addr) {
		t.Error("a stopped server listens")
	}
	postgres.Restart()
	if postgres.URL() != url {
		t.Errorf("got %s after the restart, want %s", postgres.URL(), url)
	}
	mustQuery(t, url, "SELECT k FROM kept", "v")
	postgres.Restart()
	mustQuery(t, url, "SELECT k FROM kept", "v")

	wrong := strings.Replace(url, postgres.password, "wrong", 1)
	if _, err := query(t, wrong, "SELECT 'in'"); err == nil {
		t.Error("a wrong password is let in")
	}
}

func TestPostgresLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	var dir, addr string
	if failure := fatal(t, func(tb testing.TB) {
		postgres := Postgres(tb)
		dir, addr = postgres.dir, postgres.Addr()
	}); failure != "" {
		t.Fatal(failure)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the files in %s are still there: %v", dir, err)
	}
	if listening(addr) {
		t.Error("the server still listens")
	}
}

func TestFindPostgresPrefersPathThenTheNewest(t *testing.T) {
	root := t.TempDir()
	install := func(folder string, programs ...string) string {
		t.Helper()
		folder = filepath.Join(root, folder)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, program := range programs {
			if err := os.WriteFile(filepath.Join(folder, program), []byte("#!/bin/sh\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		return folder
	}
	install("9.6/bin", "postgres", "initdb")
	newest := install("15/bin", "postgres", "initdb")
	install("16/bin", "postgres") // Half an installation.
	wrapper := install("wrapper", "postgres")
	elsewhere := install("elsewhere", "postgres", "initdb")
	linked := install("linked")
	if err := os.Symlink(filepath.Join(elsewhere, "postgres"), filepath.Join(linked, "postgres")); err != nil {
		t.Fatal(err)
	}

	for _, test := range []struct{ name, path, want string }{
		{"nothing in PATH", t.TempDir(), newest},
		{"a wrapper in PATH", wrapper, newest},
		{"the program in PATH", elsewhere, elsewhere},
		{"a link to it in PATH", linked, elsewhere},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("PATH", test.path)
			got, err := findPostgres(filepath.Join(root, "*", "bin"))
			if err != nil || got != test.want {
				t.Errorf("got %s, %v; want %s", got, err, test.want)
			}
		})
	}
}

func TestOwnedFolderIsReachable(t *testing.T) {
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", closed)
	dir, err := ownedFolder(&syscall.Credential{Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if parent := filepath.Dir(dir); parent != "/tmp" {
		t.Errorf("got a folder in %s, which another user cannot enter", parent)
	}
}
