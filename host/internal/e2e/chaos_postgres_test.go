package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/service-islands/islands/sdk/islandtest/servers"
)

// sql carries statements out as the superuser, past whatever is wrong.
func sql(t *testing.T, server *servers.PostgresServer, statements ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, statement := range append([]string{"SET default_transaction_read_only = off"}, statements...) {
		if _, err := conn.Exec(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// storedIn returns every quote that a server holds.
func storedIn(t *testing.T, server *servers.PostgresServer) map[heard]bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, "SELECT symbol, as_of, price FROM quotes")
	if err != nil {
		t.Fatal(err)
	}
	stored := map[heard]bool{}
	var q heard
	if _, err := pgx.ForEachRow(rows, []any{&q.symbol, &q.asOf, &q.price}, func() error {
		stored[q] = true
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return stored
}

// allStored waits until a store holds every one of the quotes that a client of the feed has heard.
func allStored(t *testing.T, quotes []heard, stored func() map[heard]bool) {
	t.Helper()
	if len(quotes) == 0 {
		t.Fatal("nothing was heard")
	}
	eventually(t, 90*time.Second, "every quote that was delivered is stored", func() error {
		there := stored()
		var missing []heard
		for _, q := range quotes {
			if !there[q] {
				missing = append(missing, q)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("%d of %d are missing, such as %v", len(missing), len(quotes), missing[0])
		}
		return nil
	})
	t.Logf("all of the %d quotes that were delivered are stored", len(quotes))
}

// occupy takes every connection that a server has to give, by beginning to log in and never going on.
func occupy(t *testing.T, server *servers.PostgresServer) (release func()) {
	t.Helper()
	parameters := "user\x00islands\x00database\x00islands\x00\x00"
	hello := binary.BigEndian.AppendUint32(nil, uint32(8+len(parameters)))
	hello = append(binary.BigEndian.AppendUint32(hello, 3<<16), parameters...)
	var conns []net.Conn
	release = func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}
	for range 110 {
		conn, err := net.DialTimeout("tcp", server.Addr(), 10*time.Second)
		if err != nil {
			break
		}
		conns = append(conns, conn)
		if _, err := conn.Write(hello); err != nil {
			break
		}
	}
	t.Cleanup(release)
	return release
}

// kicked ends all sessions of others.
const kicked = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = 'islands'"

// TestChaosPostgres breaks a real Postgres in every way under load: no warm request fails, cold ones are answered without it, the
// change to the cache alone and the change back are logged once each, and afterwards every quote that a client of the feed was
// given is in the database, counted.
func TestChaosPostgres(t *testing.T) {
	t.Parallel()
	m, server := startMarket(t), servers.Postgres(t)
	first, second := startWire(t, server.Addr()), startWire(t, server.Addr())
	address, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	address.Host = first.addr() + "," + second.addr()
	second.cut()
	h := startHost(t, m, map[string]string{"DATABASE_URL": address.String()})
	requests := startLoad(t, h, 2, "/api/crypto-report/btc", "/api/market-data/eth")
	feed := startEar(t, h)
	cold := m.traded(t)
	const out, back = "Database unavailable, cache-only mode enabled", "Database available again, normal mode resumed"
	for _, fault := range []struct {
		name string
		// gone is whether the database is lost for as long as the fault lasts; otherwise it may be, for a moment, or not.
		gone   bool
		breaks func(t *testing.T) (mend func())
	}{
		{"killed", true, func(*testing.T) func() {
			server.Stop()
			return server.Restart
		}},
		{"restarted", false, func(*testing.T) func() {
			server.Restart()
			return func() {}
		}},
		{"exhausted", true, func(t *testing.T) func() {
			t.Helper()
			sql(t, server, "ALTER SYSTEM SET authentication_timeout = '10min'", "SELECT pg_reload_conf()")
			first.cut() // Those who are there go, and do not come back before the others.
			release := occupy(t, server)
			first.mend()
			return release
		}},
		{"read-only", true, func(t *testing.T) func() {
			t.Helper()
			sql(t, server, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
			return func() {
				sql(t, server, "ALTER SYSTEM SET default_transaction_read_only = off", "SELECT pg_reload_conf()")
			}
		}},
		// A disk of the test's own would need root; the server says the same of one that is full.
		{"full", true, func(t *testing.T) func() {
			t.Helper()
			sql(t, server, `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$`,
				"CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON quotes EXECUTE FUNCTION full_disk()",
				"CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON entries EXECUTE FUNCTION full_disk()",
				"CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON candles EXECUTE FUNCTION full_disk()")
			return func() { sql(t, server, "DROP FUNCTION full_disk CASCADE") }
		}},
		{"kicked", false, func(t *testing.T) func() {
			t.Helper()
			sql(t, server, kicked)
			return func() {}
		}},
		{"slow", false, func(*testing.T) func() { return first.spoil("latency", `{"latency":300,"jitter":100}`) }},
		{"failover", false, func(*testing.T) func() {
			first.cut()
			second.mend()
			return func() {}
		}},
	} {
		t.Run(fault.name, func(t *testing.T) {
			// On a busy machine a tier may be lost once more on its way back. That is no part of this fault.
			eventually(t, 60*time.Second, "all is well before", func() error {
				if gone, came := h.said(out), h.said(back); gone != came || at(t, h.get(t, "/health/database").json(t), "mode") != "normal" {
					return fmt.Errorf("lost %d times, back %d times", gone, came)
				}
				return nil
			})
			outs, backs := h.said(out), h.said(back)
			ticks := feed.count()
			mend := fault.breaks(t)
			if fault.gone {
				eventually(t, 60*time.Second, "the loss is logged", func() error {
					if n := h.said(out); n != outs+1 {
						return fmt.Errorf("%d times", n-outs)
					}
					return nil
				})
			}
			cold = coldly(t, h, cold, 2)
			eventually(t, 60*time.Second, "the feed goes on", func() error {
				if n := feed.count() - ticks; n < 3 {
					return fmt.Errorf("%d ticks", n)
				}
				return nil
			})
			mend()
			eventually(t, 60*time.Second, "the way back", func() error {
				gone, came := h.said(out)-outs, h.said(back)-backs
				if r := h.get(t, "/health/database"); gone != came || at(t, r.json(t), "mode") != "normal" {
					return fmt.Errorf("lost %d times, back %d times, %s", gone, came, r.body)
				}
				return nil
			})
			if gone := h.said(out) - outs; gone > 1 {
				t.Errorf("the loss was logged %d times", gone)
			}
			cold = coldly(t, h, cold, 1)
		})
	}
	requests.stop()
	allStored(t, feed.stop(), func() map[heard]bool { return storedIn(t, server) })
	for _, line := range h.tail(1 << 30) {
		if strings.Contains(line, address.User.String()) {
			t.Errorf("the password is in the log: %s", line)
		}
	}
}
