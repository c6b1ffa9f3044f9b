package main

import (
	"context"
	"database/sql"
	"time"
)

const (
	purgeEvery = time.Minute
	probeEvery = 2 * time.Second // while there is trouble
	purgeRows  = 5000            // of one transaction, so that writers need not wait for long
)

// upkeep drops what is past its time, and finds out when the database can be written again, until the context ends.
func (d *database) upkeep(ctx context.Context, retention time.Duration) {
	purge, probe := time.NewTicker(purgeEvery), time.NewTicker(probeEvery)
	defer purge.Stop()
	defer probe.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-purge.C:
			d.tend(ctx, "purge", d.purge(ctx, retention))
		case <-probe.C:
			if d.trouble.Load() != nil {
				d.tend(ctx, "probe", d.probe(ctx))
			}
		}
	}
}

// tend remembers why a piece of upkeep failed.
func (d *database) tend(ctx context.Context, what string, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	_, reason := kindOf(err)
	d.failed(ctx, what+": "+reason)
}

// purge drops entries past StaleUntil, and quotes older than the retention unless that is zero.
func (d *database) purge(ctx context.Context, retention time.Duration) error {
	now := d.now()
	if err := d.purgeTable(ctx, "entries", "stale_until <= ?", nanos(now)); err != nil || retention == 0 {
		return err
	}
	return d.purgeTable(ctx, "quotes", "as_of < ?", nanos(now.Add(-retention)))
}

// purgeTable drops the rows of a condition, a bounded number at a time.
func (d *database) purgeTable(ctx context.Context, table, condition string, bound int64) error {
	for {
		var dropped int64
		err := d.write(ctx, func(tx *sql.Tx) (_ int64, err error) {
			dropped, err = affected(tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE rowid IN (SELECT rowid FROM "+
				table+" WHERE "+condition+" LIMIT ?)", bound, purgeRows))
			return 0, err
		})
		if err != nil || dropped < purgeRows {
			return err
		}
	}
}

// probe writes one page without changing anything.
func (d *database) probe(ctx context.Context) error {
	err := d.write(ctx, func(tx *sql.Tx) (int64, error) {
		_, err := tx.ExecContext(ctx, "PRAGMA user_version = 0")
		return 0, err
	})
	if err == nil {
		d.cured(ctx)
	}
	return err
}
