package main

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/islandtest/servers"
)

// eventually waits until the store is well again.
func eventually(t *testing.T, s *store) {
	t.Helper()
	start := time.Now()
	for s.Health(t.Context()).Status != sdk.StatusOK {
		if time.Since(start) > 20*time.Second {
			t.Fatalf("the store is still %+v", s.Health(t.Context()))
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("well again after %v", time.Since(start))
}

func TestTheServerGoesAndComesBack(t *testing.T) {
	own := servers.Postgres(t)
	s := openedWith(t, map[string]any{"url": own.URL()}, nil)
	save(t, s, quote("btc", noon, 1))

	own.Stop()
	err := s.SaveQuotes(t.Context(), []sdk.Quote{quote("btc", noon, 1)})
	wantKind(t, err, sdk.Unavailable)
	for start := time.Now(); s.Health(t.Context()).Status == sdk.StatusOK; time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatal("health does not notice")
		}
	}
	if health := s.Health(t.Context()); health.Status != sdk.StatusFailed || health.Reason != "the database is unreachable" {
		t.Errorf("health is %+v", health)
	}
	tries := func() int64 {
		pool := s.db.Load().pool.Stat()
		return pool.AcquireCount() + pool.NewConnsCount()
	}
	before := tries()
	_, err = s.History(t.Context(), everything("btc"))
	wantKind(t, err, sdk.Unavailable)
	if n := tries() - before; n != 0 {
		t.Errorf("a call tried %d times to reach a server that is away", n)
	}

	own.Restart()
	eventually(t, s)
	same(t, history(t, s, everything("btc")), []sdk.Quote{quote("btc", noon, 1)})

	// So short an absence that no look may have noticed it: the pool's connections are broken all the same.
	own.Restart()
	start := time.Now()
	for s.SaveQuotes(t.Context(), []sdk.Quote{quote("btc", noon.Add(1), 2)}) != nil {
		if time.Since(start) > 10*time.Second {
			t.Fatal("the store does not recover")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestTheServerIsAwayAtTheStart(t *testing.T) {
	own := servers.Postgres(t)
	own.Stop()
	var printed lockedBuffer
	s := openedWith(t, map[string]any{"url": own.URL()}, slog.New(slog.NewTextHandler(&printed, nil)))
	wantKind(t, s.SaveQuotes(t.Context(), []sdk.Quote{quote("btc", noon, 1)}), sdk.Unavailable)
	if health := s.Health(t.Context()); health.Status != sdk.StatusFailed {
		t.Errorf("health is %+v", health)
	}
	own.Restart()
	eventually(t, s)
	save(t, s, quote("btc", noon, 1))
	same(t, history(t, s, everything("btc")), []sdk.Quote{quote("btc", noon, 1)})
	noSecrets(t, own.URL(), printed.String())
}

func TestAnotherDatabaseTakesItsPlace(t *testing.T) {
	set := values(t)
	s := openedWith(t, set, nil)
	save(t, s, quote("btc", noon, 1))
	run(t, set["url"].(string), "DROP TABLE quotes, series, candles, entries, "+versions)
	wantKind(t, s.SaveQuotes(t.Context(), []sdk.Quote{quote("btc", noon, 1)}), sdk.Unavailable)
	for start := time.Now(); s.SaveQuotes(t.Context(), []sdk.Quote{quote("btc", noon, 1)}) != nil; time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatal("the schema is not made again")
		}
	}
}

func TestABusyPoolIsNoOutage(t *testing.T) {
	set := values(t)
	set["max_connections"] = 1.0
	s := openedWith(t, set, nil)
	db := s.db.Load()
	conn, err := db.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = s.Recall(ctx, []string{"k"})
	wantKind(t, err, sdk.DeadlineExceeded)
	for range 2 { // Once the second is heard, the keeper is done with the first.
		db.suspect()
		for start := time.Now(); len(db.wake) > 0; time.Sleep(time.Millisecond) {
			if time.Since(start) > 10*time.Second {
				t.Fatal("the keeper does not look")
			}
		}
	}
	if health := s.Health(t.Context()); health.Status != sdk.StatusOK {
		t.Errorf("health is %+v", health)
	}
	conn.Release()
	recall(t, s, "k")
	if waits := value(t, s, "db_pool_wait_seconds_total", nil); waits <= 0 {
		t.Errorf("waited %v s", waits)
	}
}

func TestShutdownCutsWhatDoesNotEnd(t *testing.T) {
	s := openedWith(t, values(t), nil)
	entered := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- s.do(t.Context(), "sleep", func(ctx context.Context, db *database) error {
			conn, err := db.pool.Acquire(ctx)
			if err != nil {
				return err
			}
			defer conn.Release()
			close(entered)
			_, err = conn.Exec(ctx, "SELECT pg_sleep(20)")
			return err
		})
	}()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	wantKind(t, s.Shutdown(ctx), sdk.DeadlineExceeded)
	wantKind(t, <-ended, sdk.Unavailable)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("shutdown took %v", took)
	}
}
