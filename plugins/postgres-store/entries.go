package main

import (
	"cmp"
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/service-islands/islands/sdk"
)

// Remember implements [sdk.Store].
func (s *store) Remember(ctx context.Context, entries []sdk.Entry) error {
	return s.do(ctx, "remember", func(ctx context.Context, db *database) error {
		for _, e := range entries {
			if e.Key == "" {
				return sdk.Errorf(sdk.InvalidArgument, "an entry has no key")
			}
			if err := checkText("key", e.Key, maxKey); err != nil {
				return err
			}
		}
		key := func(a, b sdk.Entry) int { return cmp.Compare(a.Key, b.Key) }
		full := func(a, b sdk.Entry) int { return cmp.Or(key(a, b), a.StoredAt.Compare(b.StoredAt)) }
		var batch pgx.Batch
		for chunk := range lastOfEach(entries, full, key) {
			queueEntries(&batch, chunk)
		}
		return db.write(ctx, &batch)
	})
}

// queueEntries adds the statement that saves entries, no two of the same key.
func queueEntries(batch *pgx.Batch, entries []sdk.Entry) {
	var key []string
	var value [][]byte
	var storedAt, freshUntil, staleUntil []int64
	for _, e := range entries {
		bytes := e.Value
		if bytes == nil {
			bytes = []byte{} // The driver writes nil as NULL.
		}
		key, value = append(key, e.Key), append(value, bytes)
		storedAt, freshUntil = append(storedAt, nanos(e.StoredAt)), append(freshUntil, nanos(e.FreshUntil))
		staleUntil = append(staleUntil, nanos(e.StaleUntil))
	}
	batch.Queue(`INSERT INTO entries AS kept (key, value, stored_at, fresh_until, stale_until)
		SELECT * FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[])
		ON CONFLICT (key) DO UPDATE SET value = excluded.value, stored_at = excluded.stored_at,
			fresh_until = excluded.fresh_until, stale_until = excluded.stale_until
		WHERE excluded.stored_at >= kept.stored_at`,
		key, value, storedAt, freshUntil, staleUntil)
}

// Recall implements [sdk.Store].
func (s *store) Recall(ctx context.Context, keys []string) (entries []sdk.Entry, err error) {
	err = s.do(ctx, "recall", func(ctx context.Context, db *database) error {
		if err := checkTexts("key", keys); err != nil || len(keys) == 0 {
			return err
		}
		entries, err = db.recall(ctx, keys)
		return err
	})
	return entries, err
}

func (d *database) recall(ctx context.Context, keys []string) ([]sdk.Entry, error) {
	rows, err := d.pool.Query(ctx, `SELECT key, value, stored_at, fresh_until, stale_until FROM entries
		WHERE key = ANY($1) AND stale_until > $2`, keys, nanos(d.now()))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (e sdk.Entry, err error) {
		var storedAt, freshUntil, staleUntil int64
		err = row.Scan(&e.Key, &e.Value, &storedAt, &freshUntil, &staleUntil)
		e.StoredAt, e.FreshUntil, e.StaleUntil = timeOf(storedAt), timeOf(freshUntil), timeOf(staleUntil)
		return e, err
	})
}

// Forget implements [sdk.Store]. In a pattern * is any run and ? any one character; nothing else is special. Entries past
// StaleUntil are dropped too, and not counted.
func (s *store) Forget(ctx context.Context, patterns []string) (forgotten int, err error) {
	err = s.do(ctx, "forget", func(ctx context.Context, db *database) error {
		if err := checkTexts("pattern", patterns); err != nil || len(patterns) == 0 {
			return err
		}
		forgotten, err = db.forget(ctx, patterns)
		return err
	})
	return forgotten, err
}

func (d *database) forget(ctx context.Context, patterns []string) (forgotten int, err error) {
	keys, globs := []string{}, []string{}
	for _, p := range patterns {
		if isGlob(p) {
			globs = append(globs, likeOf(p))
		} else {
			keys = append(keys, p)
		}
	}
	args := []any{nanos(d.now()), keys}
	condition := "key = ANY($2)"
	if len(globs) > 0 { // Only then, because it makes the server read the whole table.
		condition += " OR key LIKE ANY($3)"
		args = append(args, globs)
	}
	var dropped int
	err = d.again(ctx, func() error {
		return d.pool.QueryRow(ctx, "WITH dropped AS (DELETE FROM entries WHERE "+condition+` RETURNING stale_until)
			SELECT count(*) FILTER (WHERE stale_until > $1), count(*) FROM dropped`, args...).Scan(&forgotten, &dropped)
	})
	if err != nil {
		return 0, err
	}
	d.wrote.Add(uint64(dropped))
	return forgotten, nil
}

// likeOf translates a glob into a pattern of LIKE.
func likeOf(glob string) string {
	return strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`, "*", "%", "?", "_").Replace(glob)
}

// checkTexts refuses what cannot be a key, or a pattern of keys.
func checkTexts(what string, texts []string) error {
	for _, text := range texts {
		if err := checkText(what, text, maxKey); err != nil {
			return err
		}
	}
	return nil
}
