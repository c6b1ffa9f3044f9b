package main

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // The driver "sqlite".

	"github.com/service-islands/islands/sdk"
)

const (
	maxReaders   = 4
	maxRows      = 200               // of one INSERT; all the INSERTs of a call are one transaction
	walLimit     = 64 << 20          // bytes that the write-ahead log keeps after a checkpoint
	migrations   = "migrations"      // the folder below
	versions     = "islands_version" // the table that holds which migrations were applied
	migrateTries = 3
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// database is an open file.
type database struct {
	path    string
	writer  *sql.DB // one connection
	readers *sql.DB
	now     func() time.Time
	log     *slog.Logger
	wrote   atomic.Uint64          // rows
	trouble atomic.Pointer[string] // why the database cannot be used; nil when it can
}

// open opens the file, makes it where there is none, and brings its schema up to date. The error is InvalidArgument
// where another try cannot help: the path leads to something that is not, and will not be, a database.
func open(ctx context.Context, set settings, now func() time.Time, log *slog.Logger) (_ *database, err error) {
	path, err := prepareFile(set.Path)
	if err != nil {
		return nil, unusable(set.Path, err)
	}
	d := &database{path: path, now: now, log: log}
	defer func() {
		if err != nil {
			err = unusable(path, errors.Join(err, d.closePools()))
		}
	}()
	if d.writer, err = openPool(path, set, 1, "synchronous(NORMAL)", fmt.Sprintf("journal_size_limit(%d)", walLimit)); err != nil {
		return nil, err
	}
	if err := d.migrate(ctx); err != nil {
		return nil, err
	}
	readers := max(2, min(runtime.GOMAXPROCS(0), maxReaders))
	if d.readers, err = openPool(path, set, readers, "query_only(1)"); err != nil {
		return nil, err
	}
	return d, d.readers.PingContext(ctx)
}

// prepareFile makes the file and its folder, readable by this user alone, and returns the file's absolute path. SQLite
// would make the file for everyone to read, and would not say why it cannot.
func prepareFile(path string) (string, error) {
	if path == "" {
		return "", fs.ErrInvalid
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	return path, file.Close()
}

// openPool prepares connections to the file; none is opened yet.
func openPool(path string, set settings, connections int, pragmas ...string) (*sql.DB, error) {
	values := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{
		fmt.Sprintf("busy_timeout(%d)", set.BusyTimeout.Milliseconds()),
		"journal_mode(WAL)", "foreign_keys(1)",
	}, pragmas...)}
	// A URL, because a path may hold any character, the question mark included.
	location := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: values.Encode()}
	pool, err := sql.Open("sqlite", location.String())
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections)
	return pool, nil
}

// migrate brings the schema up to date. Two processes that start on a new file at the same time may both try, and one of
// them finds the other's work in its way: it looks again.
func (d *database) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrationFiles, migrations)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		provider, err := goose.NewProvider(goose.DialectSQLite3, d.writer, files, goose.WithTableName(versions))
		if err != nil {
			return err
		}
		applied, err := provider.Up(ctx)
		if err == nil {
			for _, m := range applied {
				d.log.InfoContext(ctx, "schema migrated", "version", m.Source.Version, "duration", m.Duration)
			}
			return nil
		}
		if kind, _ := kindOf(err); kind != sdk.Internal || try == migrateTries {
			return err
		}
	}
}

// write runs one transaction; change returns how many rows it wrote.
func (d *database) write(ctx context.Context, change func(tx *sql.Tx) (int64, error)) error {
	tx, err := d.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	rows, err := change(tx)
	if err != nil {
		if undo := tx.Rollback(); undo != nil && !errors.Is(undo, sql.ErrTxDone) {
			return errors.Join(err, undo)
		}
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	d.wrote.Add(uint64(rows))
	if rows > 0 {
		d.cured(ctx)
	}
	return nil
}

// failed remembers why the database cannot be used.
func (d *database) failed(ctx context.Context, reason string) {
	if d.trouble.Swap(&reason) == nil {
		d.log.WarnContext(ctx, "database cannot be used", "reason", reason)
	}
}

// cured forgets it. Only a write proves a cure: reading works on a full disk too.
func (d *database) cured(ctx context.Context) {
	if d.trouble.Swap(nil) != nil {
		d.log.InfoContext(ctx, "database can be used again")
	}
}

// size returns how many bytes the file and its write-ahead log hold.
func (d *database) size() (int64, error) {
	file, err := os.Stat(d.path)
	if err != nil {
		return 0, err
	}
	total := file.Size()
	if wal, err := os.Stat(d.path + "-wal"); err == nil { // There is none before the first write.
		total += wal.Size()
	}
	return total, nil
}

// close moves what is in the write-ahead log into the file and closes it.
func (d *database) close(ctx context.Context) error {
	// Readers first: an open reader would keep the log from being emptied.
	err := d.readers.Close()
	var busy, logged, moved int
	if e := d.writer.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &logged, &moved); e != nil {
		err = errors.Join(err, fmt.Errorf("checkpoint: %w", e))
	}
	return errors.Join(err, d.writer.Close())
}

// closePools closes what open has opened so far.
func (d *database) closePools() error {
	var err error
	for _, pool := range []*sql.DB{d.writer, d.readers} {
		if pool != nil {
			err = errors.Join(err, pool.Close())
		}
	}
	return err
}

// upsert is an INSERT of many rows with a rule for those that are there already.
type upsert struct {
	table    string // with its columns
	columns  int
	conflict string
}

// run inserts the rows, whose values follow one another, and returns how many rows it wrote.
func (u upsert) run(ctx context.Context, tx *sql.Tx, values []any) (int64, error) {
	all := len(values) / u.columns
	full := all / maxRows * maxRows
	wrote, err := u.insert(ctx, tx, maxRows, values[:full*u.columns])
	if err != nil {
		return wrote, err
	}
	rest, err := u.insert(ctx, tx, all-full, values[full*u.columns:])
	return wrote + rest, err
}

// insert inserts the rows with one statement, so many at a time.
func (u upsert) insert(ctx context.Context, tx *sql.Tx, rows int, values []any) (wrote int64, err error) {
	if len(values) == 0 {
		return 0, nil
	}
	row := "(?" + strings.Repeat(", ?", u.columns-1) + ")"
	//nolint:gosec // The table, its columns and the rule are written in this package.
	statement, err := tx.PrepareContext(ctx, "INSERT INTO "+u.table+" VALUES "+
		row+strings.Repeat(", "+row, rows-1)+" ON CONFLICT "+u.conflict)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, statement.Close()) }()
	for chunk := range slices.Chunk(values, rows*u.columns) {
		n, err := affected(statement.ExecContext(ctx, chunk...))
		if err != nil {
			return wrote, err
		}
		wrote += n
	}
	return wrote, nil
}

// affected returns how many rows a statement changed.
func affected(result sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
