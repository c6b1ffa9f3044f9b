package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"strings"

	"github.com/service-islands/islands/sdk"
)

// saveEntries lets the newest StoredAt win.
var saveEntries = upsert{
	table:   "entries (key, value, stored_at, fresh_until, stale_until)",
	columns: 5,
	conflict: `(key) DO UPDATE SET value = excluded.value, stored_at = excluded.stored_at,
		fresh_until = excluded.fresh_until, stale_until = excluded.stale_until
		WHERE excluded.stored_at >= stored_at`,
}

// Remember implements [sdk.Store].
func (s *store) Remember(ctx context.Context, entries []sdk.Entry) error {
	return s.do(ctx, "remember", func(db *database) error {
		values := make([]any, 0, len(entries)*saveEntries.columns)
		for _, e := range entries {
			if e.Key == "" {
				return sdk.Errorf(sdk.InvalidArgument, "an entry has no key")
			}
			if err := checkText("key", e.Key, maxKey); err != nil {
				return err
			}
			value := e.Value
			if value == nil {
				value = []byte{} // The driver writes nil as NULL.
			}
			values = append(values, e.Key, value, nanos(e.StoredAt), nanos(e.FreshUntil), nanos(e.StaleUntil))
		}
		return db.write(ctx, func(tx *sql.Tx) (int64, error) { return saveEntries.run(ctx, tx, values) })
	})
}

// Recall implements [sdk.Store].
func (s *store) Recall(ctx context.Context, keys []string) (entries []sdk.Entry, err error) {
	err = s.do(ctx, "recall", func(db *database) error {
		wanted, err := textList("key", keys)
		if err != nil || len(keys) == 0 {
			return err
		}
		entries, err = db.recall(ctx, wanted)
		return err
	})
	return entries, err
}

func (d *database) recall(ctx context.Context, keys string) ([]sdk.Entry, error) {
	rows, err := d.readers.QueryContext(ctx, `SELECT key, value, stored_at, fresh_until, stale_until FROM entries
		WHERE key IN (SELECT value FROM json_each(?)) AND stale_until > ?`, keys, nanos(d.now()))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var entries []sdk.Entry
	for rows.Next() {
		var e sdk.Entry
		var storedAt, freshUntil, staleUntil int64
		if err := rows.Scan(&e.Key, &e.Value, &storedAt, &freshUntil, &staleUntil); err != nil {
			return nil, err
		}
		e.StoredAt, e.FreshUntil, e.StaleUntil = timeOf(storedAt), timeOf(freshUntil), timeOf(staleUntil)
		entries = append(entries, e)
	}
	return entries, rows.Err()
}

// Forget implements [sdk.Store]. In a pattern * is any run and ? any one character; nothing else is special. Entries past
// StaleUntil are dropped too, and not counted.
func (s *store) Forget(ctx context.Context, patterns []string) (forgotten int, err error) {
	err = s.do(ctx, "forget", func(db *database) error {
		var keys, globs []string
		for _, p := range patterns {
			if isGlob(p) {
				globs = append(globs, p)
			} else {
				keys = append(keys, p)
			}
		}
		wanted, err := textList("pattern", keys)
		if err != nil {
			return err
		}
		if _, err := textList("pattern", globs); err != nil {
			return err
		}
		return db.write(ctx, func(tx *sql.Tx) (int64, error) {
			n, err := forget(ctx, tx, nanos(db.now()), wanted, globs)
			forgotten = int(n)
			return n, err
		})
	})
	if err != nil {
		return 0, err
	}
	return forgotten, nil
}

func forget(ctx context.Context, tx *sql.Tx, now int64, keys string, globs []string) (int64, error) {
	if _, err := tx.ExecContext(ctx, "DELETE FROM entries WHERE stale_until <= ?", now); err != nil {
		return 0, err
	}
	forgotten, err := affected(tx.ExecContext(ctx, "DELETE FROM entries WHERE key IN (SELECT value FROM json_each(?))", keys))
	if err != nil {
		return 0, err
	}
	for _, glob := range globs {
		// A [ opens a set in SQLite's globs and is written as a set of itself.
		n, err := affected(tx.ExecContext(ctx, "DELETE FROM entries WHERE key GLOB ?", strings.ReplaceAll(glob, "[", "[[]")))
		if err != nil {
			return 0, err
		}
		forgotten += n
	}
	return forgotten, nil
}

// textList returns texts as a JSON list, so that one statement takes any number of them.
func textList(what string, texts []string) (string, error) {
	for _, text := range texts {
		if err := checkText(what, text, maxKey); err != nil {
			return "", err
		}
	}
	list, err := json.Marshal(texts)
	return string(list), err
}
