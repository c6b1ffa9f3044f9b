package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/sdk"
)

// callTimeout bounds a call whose own context does not.
const callTimeout = 30 * time.Second

// settings is what the island's config block may hold.
type settings struct {
	URL            sdk.Secret    `setting:"url" doc:"URL of the database, such as postgres://user:password@host:5432/database."`
	MaxConnections int           `setting:"max_connections" default:"10" doc:"Connections for calls at most, 1 to 1000; one more looks after the server."`
	ConnectTimeout time.Duration `setting:"connect_timeout" default:"5s" doc:"How long one attempt to connect may take."`
	Retention      time.Duration `setting:"retention" default:"0s" doc:"How long quotes stay in the history; 0s keeps them for ever."`
}

var (
	_ sdk.IslandComponent = (*store)(nil)
	_ sdk.Store           = (*store)(nil)
)

// store is the island.
type store struct {
	now    func() time.Time
	life   sync.Mutex // held by Initialize and Shutdown
	ended  bool
	db     atomic.Pointer[database] // nil before Initialize and after Shutdown
	stop   context.CancelFunc       // ends the upkeep
	upkeep sync.WaitGroup
	counts counts
}

func newStore() *store { return &store{now: time.Now} }

// Initialize implements [sdk.IslandComponent]. It waits for the first attempt to connect, but not for its success.
func (s *store) Initialize(ctx context.Context, cfg sdk.Config) error {
	var set settings
	if err := cfg.Decode(&set); err != nil {
		return err
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s.life.Lock()
	defer s.life.Unlock()
	if s.ended || s.db.Load() != nil {
		return sdk.Errorf(sdk.Internal, "the store was initialized before")
	}
	db, err := open(ctx, set, s.now, log)
	if err != nil {
		return err
	}
	upkeep, stop := context.WithCancel(context.WithoutCancel(ctx))
	looked := make(chan struct{})
	s.stop = stop
	s.upkeep.Go(func() { db.keep(upkeep, sync.OnceFunc(func() { close(looked) })) })
	s.upkeep.Go(func() { db.tidy(upkeep, set.Retention) })
	s.db.Store(db)
	select {
	case <-looked:
	case <-ctx.Done():
	}
	return nil
}

// Shutdown implements [sdk.IslandComponent].
func (s *store) Shutdown(ctx context.Context) error {
	s.life.Lock()
	defer s.life.Unlock()
	s.ended = true
	db := s.db.Swap(nil)
	if db == nil {
		return nil
	}
	s.stop()
	s.upkeep.Wait()
	return classify(ctx, "shutdown", db.close(ctx))
}

// operation is what a call does with the database.
type operation func(ctx context.Context, db *database) error

// do runs one operation on the database, counts it and gives its error a kind.
func (s *store) do(ctx context.Context, name string, run operation) error {
	err := s.attempt(ctx, name, run)
	s.counts.add(name, err)
	return err
}

func (s *store) attempt(ctx context.Context, name string, run operation) error {
	db := s.db.Load()
	if db == nil {
		return sdk.Errorf(sdk.Unavailable, "%s: the database is closed", name)
	}
	if err := ctx.Err(); err != nil {
		return classify(ctx, name, err)
	}
	if reason := db.trouble.Load(); reason != nil {
		return sdk.Errorf(sdk.Unavailable, "%s: %s", name, *reason)
	}
	bounded, cancel := db.bound(ctx)
	defer cancel()
	err := run(bounded, db)
	if err == nil {
		return nil
	}
	switch sqlState(err) {
	case noTable, noColumn:
		db.migrated.Store(false) // Another database took this one's place.
	}
	err = classify(ctx, name, err)
	if errors.Is(err, sdk.Unavailable) || errors.Is(err, sdk.DeadlineExceeded) {
		db.suspect()
	}
	return err
}

// Health implements [sdk.IslandComponent].
func (s *store) Health(context.Context) sdk.Health {
	part := sdk.Part{Name: "database", Details: map[string]any{"mode": "postgres"}}
	if db := s.db.Load(); db == nil {
		part.Status, part.Reason = sdk.StatusFailed, "the database is closed"
	} else {
		pool := db.pool.Stat()
		part.Details["pool_total"] = int(pool.TotalConns())
		part.Details["pool_idle"] = int(pool.IdleConns())
		part.Details["pool_in_use"] = int(pool.AcquiredConns())
		part.Details["pool_max"] = int(pool.MaxConns())
		if reason := db.trouble.Load(); reason != nil {
			part.Status, part.Reason = sdk.StatusFailed, *reason
		}
	}
	return sdk.Health{Status: part.Status, Reason: part.Reason, Parts: []sdk.Part{part}}
}

// Metrics implements [sdk.IslandComponent].
func (s *store) Metrics(context.Context) (sdk.Metrics, error) {
	var total, idle, inUse int32
	var waits int64
	var waited time.Duration
	var rows uint64
	if db := s.db.Load(); db != nil {
		pool := db.pool.Stat()
		total, idle, inUse = pool.TotalConns(), pool.IdleConns(), pool.AcquiredConns()
		waits, waited, rows = pool.EmptyAcquireCount(), pool.EmptyAcquireWaitTime(), db.wrote.Load()
	}
	return sdk.Metrics{
		sdk.Gauge("db_pool_connections", "", "Connections to the database.", float64(total)),
		sdk.Gauge("db_pool_idle", "", "Connections that nobody uses.", float64(idle)),
		sdk.Gauge("db_pool_in_use", "", "Connections in use.", float64(inUse)),
		sdk.Counter("db_pool_waits_total", "Operations that waited for a connection, or for a new one to be made.", float64(waits)),
		sdk.Counter("db_pool_wait_seconds_total", "How long operations waited for a connection.", waited.Seconds()),
		sdk.Counter("db_rows_written_total", "Rows inserted, changed or forgotten.", float64(rows)),
		s.counts.metric(),
	}, nil
}

// counts counts operations by their outcome.
type counts struct {
	mu sync.Mutex
	n  map[[2]string]uint64 // operation, outcome
}

func (c *counts) add(operation string, err error) {
	outcome := "ok"
	if err != nil {
		outcome = strings.ReplaceAll(sdk.KindOf(err).String(), " ", "_")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[[2]string]uint64{}
	}
	c.n[[2]string{operation, outcome}]++
}

func (c *counts) metric() sdk.Metric {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := sdk.Metric{
		Name: "db_operations_total", Type: sdk.CounterType,
		Help: "Calls by operation and outcome: ok, or the kind of the error.",
	}
	for _, key := range slices.SortedFunc(maps.Keys(c.n), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		m.Samples = append(m.Samples, sdk.Sample{
			Labels: map[string]string{"operation": key[0], "outcome": key[1]}, Value: float64(c.n[key]),
		})
	}
	return m
}
