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

// settings is what the island's config block may hold.
type settings struct {
	Path        string        `setting:"path" default:"data/store/islands.db" doc:"File of the database; made, with its folder, where it is missing."`
	BusyTimeout time.Duration `setting:"busy_timeout" default:"5s" doc:"How long to wait for another process that writes to the file."`
	Retention   time.Duration `setting:"retention" default:"0s" doc:"How long quotes stay in the history; 0s keeps them for ever."`
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

// Initialize implements [sdk.IslandComponent].
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
	s.stop = stop
	s.upkeep.Go(func() { db.upkeep(upkeep, set.Retention) })
	s.db.Store(db)
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

// do runs one operation on the database, counts it and gives its error a kind.
func (s *store) do(ctx context.Context, operation string, run func(db *database) error) error {
	err := s.attempt(ctx, operation, run)
	s.counts.add(operation, err)
	return err
}

func (s *store) attempt(ctx context.Context, operation string, run func(db *database) error) error {
	db := s.db.Load()
	if db == nil {
		return sdk.Errorf(sdk.Unavailable, "%s: the database is closed", operation)
	}
	if err := ctx.Err(); err != nil {
		return classify(ctx, operation, err)
	}
	err := run(db)
	if err == nil {
		return nil
	}
	err = classify(ctx, operation, err)
	if s.db.Load() != nil && errors.Is(err, sdk.Unavailable) {
		_, reason := kindOf(errors.Unwrap(err))
		db.failed(ctx, reason)
	}
	return err
}

// Health implements [sdk.IslandComponent].
func (s *store) Health(context.Context) sdk.Health {
	db := s.db.Load()
	if db == nil {
		const reason = "the database is closed"
		return sdk.Failed(reason, sdk.Part{Name: "database", Status: sdk.StatusFailed, Reason: reason, Details: map[string]any{"mode": "sqlite"}})
	}
	pool := db.pool()
	part := sdk.Part{Name: "database", Details: map[string]any{
		"mode": "sqlite", "pool_total": pool.total, "pool_idle": pool.idle, "pool_in_use": pool.inUse,
	}}
	if size, err := db.size(); err != nil {
		part.Status, part.Reason = sdk.StatusFailed, "the database file is gone"
	} else {
		part.Details["size_bytes"] = size
	}
	if reason := db.trouble.Load(); reason != nil {
		part.Status, part.Reason = sdk.StatusFailed, *reason
	}
	return sdk.Health{Status: part.Status, Reason: part.Reason, Parts: []sdk.Part{part}}
}

// Metrics implements [sdk.IslandComponent].
func (s *store) Metrics(context.Context) (sdk.Metrics, error) {
	var pool pool
	var rows uint64
	var size int64
	if db := s.db.Load(); db != nil {
		pool, rows = db.pool(), db.wrote.Load()
		if bytes, err := db.size(); err == nil { // Health tells of the error.
			size = bytes
		}
	}
	return sdk.Metrics{
		sdk.Gauge("db_pool_connections", "", "Connections to the database.", float64(pool.total)),
		sdk.Gauge("db_pool_idle", "", "Connections that nobody uses.", float64(pool.idle)),
		sdk.Gauge("db_pool_in_use", "", "Connections in use.", float64(pool.inUse)),
		sdk.Counter("db_pool_waits_total", "Operations that waited for a connection.", float64(pool.waits)),
		sdk.Counter("db_pool_wait_seconds_total", "How long operations waited for a connection.", pool.waited.Seconds()),
		sdk.Counter("db_rows_written_total", "Rows inserted, changed or forgotten.", float64(rows)),
		sdk.Gauge("db_size_bytes", "bytes", "Size of the database file and its write-ahead log.", float64(size)),
		s.counts.metric(),
	}, nil
}

// pool is how the connections are used.
type pool struct {
	total, idle, inUse int
	waits              int64
	waited             time.Duration
}

func (d *database) pool() pool {
	w, r := d.writer.Stats(), d.readers.Stats()
	return pool{
		total: w.OpenConnections + r.OpenConnections, idle: w.Idle + r.Idle, inUse: w.InUse + r.InUse,
		waits: w.WaitCount + r.WaitCount, waited: w.WaitDuration + r.WaitDuration,
	}
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
