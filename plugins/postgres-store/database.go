package main

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/service-islands/islands/sdk"
)

const (
	versions       = "islands_version" // the table that holds which migrations were applied
	migrateLock    = 0x69736c616e6473  // the advisory lock of those who migrate: "islands" in ASCII
	migrateTimeout = 5 * time.Minute
	hangUpTimeout  = time.Second
	cancelTimeout  = 500 * time.Millisecond // for the server to end a statement whose call ended
	maxTries       = 5                      // of a transaction that others' keep undoing
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// database is a server that may be away.
type database struct {
	pool     *pgxpool.Pool
	line     *pgx.Conn     // the keeper's own connection, nil when it has none
	patience time.Duration // for one connection
	now      func() time.Time
	log      *slog.Logger
	// bound returns a call's context with an end of its own, which cut brings about for all calls that still run.
	bound    func(ctx context.Context) (context.Context, context.CancelFunc)
	cut      context.CancelFunc
	wake     chan struct{} // tells the keeper to look now
	migrated atomic.Bool
	trouble  atomic.Pointer[string] // why the database cannot be used; nil when it can
	wrote    atomic.Uint64          // rows
}

// connecting is the trouble there is until the keeper first got through.
const connecting = "the database is being connected"

// open prepares a pool; no connection is made yet. The error is InvalidArgument: a setting is wrong.
func open(ctx context.Context, set settings, now func() time.Time, log *slog.Logger) (*database, error) {
	wrong := func(setting, message string) error {
		return &sdk.Error{Kind: sdk.InvalidArgument, Setting: setting, Message: "setting \"" + setting + "\" " + message}
	}
	config, err := pgxpool.ParseConfig(set.URL.Reveal())
	switch {
	case err != nil || set.URL == "":
		// What the parser says repeats parts of the URL.
		return nil, wrong("url", `is not a URL such as "postgres://user:password@host:5432/database"`)
	case set.MaxConnections < 1 || set.MaxConnections > 1000:
		return nil, wrong("max_connections", "wants 1 to 1000")
	case set.ConnectTimeout <= 0:
		return nil, wrong("connect_timeout", `wants a duration above 0, such as "5s"`)
	}
	config.MaxConns = int32(set.MaxConnections)
	config.MinConns, config.MinIdleConns = 0, 0
	config.ConnConfig.ConnectTimeout = set.ConnectTimeout
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = manifest.Name
	}
	// A call that ends asks the server to end its statement, which keeps the connection and frees the server.
	config.ConnConfig.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: cancelTimeout}
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, wrong("url", "cannot be used")
	}
	d := &database{pool: pool, patience: set.ConnectTimeout, now: now, log: log, wake: make(chan struct{}, 1)}
	life, cut := context.WithCancel(context.WithoutCancel(ctx))
	d.cut = cut
	d.bound = func(ctx context.Context) (context.Context, context.CancelFunc) {
		bounded, cancel := context.WithTimeout(ctx, callTimeout)
		stop := context.AfterFunc(life, cancel)
		return bounded, func() {
			stop()
			cancel()
		}
	}
	reason := connecting
	d.trouble.Store(&reason)
	return d, nil
}

// migrate brings the schema up to date. The connection holds the lock meanwhile.
func (d *database) migrate(ctx context.Context, conn *pgx.Conn) (err error) {
	ctx, cancel := context.WithTimeout(ctx, migrateTimeout)
	defer cancel()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(migrateLock)); err != nil {
		return err
	}
	defer func() {
		// When it fails the connection is gone, and the lock with it.
		_, unlock := conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", int64(migrateLock))
		err = errors.Join(err, unlock)
	}()
	db := stdlib.OpenDB(*conn.Config())
	db.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, db.Close()) }()
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithTableName(versions))
	if err != nil {
		return err
	}
	applied, err := provider.Up(ctx)
	for _, m := range applied {
		if m.Error == nil {
			d.log.InfoContext(ctx, "schema migrated", "version", m.Source.Version, "duration", m.Duration)
		}
	}
	return err
}

// write runs a batch of statements as one transaction.
func (d *database) write(ctx context.Context, batch *pgx.Batch) error {
	if batch.Len() == 0 {
		return nil
	}
	var rows int64
	err := d.again(ctx, func() error {
		rows = 0
		return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
			results := tx.SendBatch(ctx, batch)
			for range batch.Len() {
				tag, err := results.Exec()
				if err != nil {
					return errors.Join(err, results.Close())
				}
				rows += tag.RowsAffected()
			}
			return results.Close()
		})
	})
	if err == nil {
		d.wrote.Add(uint64(rows))
	}
	return err
}

// again runs a transaction, and runs it again when it met another in a deadlock, which undid it.
func (d *database) again(ctx context.Context, run func() error) error {
	for try := 1; ; try++ {
		err := run()
		if code := sqlState(err); code != deadlock && code != serialization || try == maxTries || ctx.Err() != nil {
			return err
		}
	}
}

// close waits until no call uses a connection, or cuts the calls when the context ends, and closes the pool.
func (d *database) close(ctx context.Context) error {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		d.pool.Close()
	}()
	defer d.cut()
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		d.cut()
		<-closed
		return ctx.Err()
	}
}
