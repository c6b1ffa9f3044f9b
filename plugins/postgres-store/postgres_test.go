package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/islandtest/servers"
)

// suite stands in for a test where a server outlives them all.
type suite struct {
	testing.TB
	cleanups []func()
}

func (s *suite) Helper()                        {}
func (s *suite) Cleanup(f func())               { s.cleanups = append(s.cleanups, f) }
func (s *suite) Failed() bool                   { return false }
func (s *suite) Logf(string, ...any)            {}
func (s *suite) Errorf(format string, a ...any) { fmt.Fprintf(os.Stderr, format+"\n", a...) }
func (s *suite) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

// server is shared by all tests that do not stop it; each has a database of its own.
var server *servers.PostgresServer

func TestMain(m *testing.M) {
	s := &suite{}
	server = servers.Postgres(s)
	code := m.Run()
	for _, cleanup := range s.cleanups {
		cleanup()
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

var databases atomic.Int64

// run runs a statement outside of the store.
func run(t *testing.T, address, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.Exec(t.Context(), statement)
	if err := errors.Join(err, conn.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// values of a config block with a database of the test's own.
func values(t *testing.T) map[string]any {
	t.Helper()
	name := fmt.Sprintf("test_%d", databases.Add(1))
	run(t, server.URL(), "CREATE DATABASE "+name)
	address, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	address.Path = name
	return map[string]any{"url": address.String()}
}

// emptied is the database of the tests that need no other; to empty it is quicker than to make a new one.
var emptied map[string]any

// opened returns a store on an empty database; it is closed when the test ends.
func opened(t *testing.T) *store {
	t.Helper()
	if emptied == nil {
		emptied = values(t)
	}
	s := openedWith(t, emptied, nil)
	run(t, emptied["url"].(string), "TRUNCATE quotes, series, candles, entries")
	return s
}

func openedWith(t *testing.T, values map[string]any, log *slog.Logger) *store {
	t.Helper()
	s := newStore()
	s.now = func() time.Time { return noon }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel() // What the store starts must outlive this.
	if err := s.Initialize(ctx, sdk.Config{Name: "store", Values: values, Logger: log}); err != nil {
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
	s := openedWith(t, set, nil)
	save(t, s, quote("btc", noon, 1))
	remember(t, s, entry("k", "v"))
	if err := s.SaveCandles(t.Context(), []sdk.Candles{daily("one", noon, candle(1, 1, true))}); err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}

	s = openedWith(t, set, nil)
	same(t, history(t, s, everything("btc")), []sdk.Quote{quote("btc", noon, 1)})
	same(t, recall(t, s, "k"), []sdk.Entry{entry("k", "v")})
	got, err := s.StoredCandles(t.Context(), days(1))
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, daily("one", noon, candle(1, 1, true)))
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
	var n int
	err := stores[0].db.Load().pool.QueryRow(t.Context(), "SELECT count(*) FROM "+versions+" WHERE version_id = 1").Scan(&n)
	if err != nil || n != 1 {
		t.Errorf("the first migration is noted %d times, %v", n, err)
	}
	for _, s := range stores {
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// lockedBuffer collects what several goroutines log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// noSecrets fails the test where a text holds any part of the address.
func noSecrets(t *testing.T, address, text string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	for _, secret := range []string{password, ":" + u.Port(), u.Hostname(), "user=", u.User.Username() + "@"} {
		if secret != "" && strings.Contains(text, secret) {
			t.Errorf("%q is shown in: %s", secret, text)
		}
	}
}

func TestFailuresShowNoSecret(t *testing.T) {
	set := values(t)
	address := set["url"].(string)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // Takes connections and says nothing.
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := deaf.Close(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, url, reason string }{
		{"wrong password", strings.Replace(address, password, "not-the-password", 1), "refuses the login"},
		{"no such user", strings.Replace(address, u.User.Username()+":", "nobody-here:", 1), "refuses the login"},
		{"no such database", strings.Replace(address, u.Path, "/no-such-database", 1), "no such database"},
		{"nobody listens", strings.Replace(address, u.Host, deaf.Addr().String(), 1), "unreachable"},
		{"no such host", strings.Replace(address, u.Host, "no-such-host.invalid:5432", 1), "unreachable"},
		{"silence", strings.Replace(address, u.Host, silent.Addr().String(), 1), "does not answer"},
		{"read-only", address + "&default_transaction_read_only=on", "read-only"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var printed lockedBuffer
			set := map[string]any{"url": test.url}
			if test.name == "silence" {
				set["connect_timeout"] = "200ms"
			}
			s := openedWith(t, set, slog.New(slog.NewTextHandler(&printed, nil)))
			err := s.SaveQuotes(t.Context(), []sdk.Quote{quote("btc", noon, 1)})
			wantKind(t, err, sdk.Unavailable)
			health := s.Health(t.Context())
			if health.Status != sdk.StatusFailed || !strings.Contains(health.Reason, test.reason) {
				t.Errorf("health is %+v, want %q", health, test.reason)
			}
			text := fmt.Sprintf("%v %+v %#v %+v %s", err, err, errors.Unwrap(err), health, printed.String())
			noSecrets(t, test.url, text)
		})
	}
}

func TestSettingsThatAreWrong(t *testing.T) {
	for _, test := range []struct {
		name, setting string
		values        map[string]any
	}{
		{"no url", "url", nil},
		{"an empty url", "url", map[string]any{"url": ""}},
		{"not a url", "url", map[string]any{"url": "s3cret words"}},
		{"another database's", "url", map[string]any{"url": "mysql://user:s3cret@localhost/db"}},
		{"a bad port", "url", map[string]any{"url": "postgres://user:s3cret@localhost:port/db"}},
		{"a missing certificate", "url", map[string]any{"url": "postgres://user:s3cret@localhost/db?sslrootcert=/s3cret&sslmode=verify-full"}},
		{"no connections", "max_connections", map[string]any{"url": "postgres://localhost/", "max_connections": 0.0}},
		{"too many connections", "max_connections", map[string]any{"url": "postgres://localhost/", "max_connections": 1001.0}},
		{"no time", "connect_timeout", map[string]any{"url": "postgres://localhost/", "connect_timeout": "0s"}},
		{"unknown", "uri", map[string]any{"url": "postgres://localhost/", "uri": "x"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStore()
			err := s.Initialize(t.Context(), sdk.Config{Values: test.values})
			wantKind(t, err, sdk.InvalidArgument)
			var e *sdk.Error
			if !errors.As(err, &e) || e.Setting != test.setting {
				t.Errorf("got %#v, want setting %q named", err, test.setting)
			}
			if text := fmt.Sprintf("%v %+v %v", err, err, errors.Unwrap(err)); strings.Contains(text, "s3cret") {
				t.Errorf("a secret is shown in %s", text)
			}
			if err := s.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
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
			if err := db.pool.QueryRow(t.Context(), "SELECT count(*) FROM entries").Scan(&entries); err != nil || entries != test.entries {
				t.Errorf("%d entries are left, %v; want %d", entries, err, test.entries)
			}
		})
	}
}
