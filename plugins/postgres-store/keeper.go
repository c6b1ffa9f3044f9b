package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/service-islands/islands/sdk"
)

const (
	lookEvery  = 5 * time.Second // at a database that answers
	firstWait  = 250 * time.Millisecond
	longWait   = 5 * time.Second // at most, between tries to reach one that does not
	purgeEvery = time.Minute
	purgeRows  = 5000 // of one statement, so that no lock is held for long
)

// keep looks after the database until the context ends. It calls looked after its first look.
func (d *database) keep(ctx context.Context, looked func()) {
	defer d.hangUp(ctx)
	wait := firstWait
	for {
		err := d.look(ctx)
		if ctx.Err() != nil {
			looked()
			return
		}
		var again <-chan struct{} // Only what answers may be looked at out of turn.
		pause := lookEvery
		if err == nil {
			d.cured(ctx)
			wait, again = firstWait, d.wake
		} else {
			_, reason := kindOf(err)
			d.failed(ctx, reason)
			pause = wait/2 + rand.N(wait/2) // Hosts that lost the same server should not return as one.
			wait = min(2*wait, longWait)
		}
		looked()
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-again:
		}
		timer.Stop()
	}
}

// suspect asks the keeper to look now, because a call failed.
func (d *database) suspect() {
	select {
	case d.wake <- struct{}{}:
	default: // It will.
	}
}

// look finds out whether the database can be used, and makes it so where that is a matter of its schema.
func (d *database) look(ctx context.Context) error {
	held := d.line != nil
	err := d.ask(ctx)
	if err != nil && held {
		// The pool's connections are as old as the one that broke. That may be all that is wrong, so ask once more.
		d.pool.Reset()
		err = d.ask(ctx)
	}
	if err != nil || d.migrated.Load() {
		return err
	}
	if err := d.migrate(ctx, d.line); err != nil {
		d.hangUp(ctx)
		return err
	}
	d.migrated.Store(true)
	return nil
}

// errReadOnly is what a standby, or a server that was told so, gives rise to.
var errReadOnly = sdk.Errorf(sdk.Unavailable, "the database is read-only")

// ask asks the server something, over the keeper's connection.
func (d *database) ask(ctx context.Context) (err error) {
	bounded, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	defer func() {
		if err != nil {
			d.hangUp(ctx)
		}
	}()
	if d.line == nil {
		if d.line, err = pgx.ConnectConfig(bounded, d.pool.Config().ConnConfig); err != nil {
			return err
		}
	}
	var readOnly string
	if err := d.line.QueryRow(bounded, "SELECT current_setting('transaction_read_only')").Scan(&readOnly); err != nil {
		return err
	}
	if readOnly == "on" {
		return errReadOnly
	}
	return nil
}

// hangUp closes the keeper's connection.
func (d *database) hangUp(ctx context.Context) {
	if d.line == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hangUpTimeout)
	defer cancel()
	_ = d.line.Close(ctx) // It is given up because it failed, or is not needed: how it ends changes nothing.
	d.line = nil
}

// failed remembers why the database cannot be used.
func (d *database) failed(ctx context.Context, reason string) {
	if old := d.trouble.Swap(&reason); old == nil || *old != reason {
		d.log.WarnContext(ctx, "database cannot be used", "reason", reason)
	}
}

// cured forgets it.
func (d *database) cured(ctx context.Context) {
	if d.trouble.Swap(nil) != nil {
		d.log.InfoContext(ctx, "database can be used")
	}
}

// tidy drops what is past its time every now and then, until the context ends.
func (d *database) tidy(ctx context.Context, retention time.Duration) {
	tick := time.NewTicker(purgeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if d.trouble.Load() != nil {
			continue
		}
		if err := d.purge(ctx, retention); err != nil && ctx.Err() == nil {
			_, reason := kindOf(err)
			d.log.WarnContext(ctx, "purge stopped", "reason", reason)
			d.suspect()
		}
	}
}

// purge drops entries past StaleUntil, and quotes older than the retention unless that is zero.
func (d *database) purge(ctx context.Context, retention time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, purgeEvery)
	defer cancel()
	now := d.now()
	err := d.purgeTable(ctx, `DELETE FROM entries WHERE key IN (
		SELECT key FROM entries WHERE stale_until <= $1 LIMIT $2) AND stale_until <= $1`, nanos(now))
	if retention == 0 {
		return err
	}
	return errors.Join(err, d.purgeTable(ctx, `DELETE FROM quotes WHERE id IN (
		SELECT id FROM quotes WHERE as_of < $1 LIMIT $2)`, nanos(now.Add(-retention))))
}

// purgeTable runs a statement that drops a bounded number of rows until nothing is left for it.
func (d *database) purgeTable(ctx context.Context, statement string, bound int64) error {
	for {
		var dropped int64
		err := d.again(ctx, func() error {
			tag, err := d.pool.Exec(ctx, statement, bound, purgeRows)
			dropped = tag.RowsAffected()
			return err
		})
		if err != nil || dropped < purgeRows {
			return err
		}
	}
}
