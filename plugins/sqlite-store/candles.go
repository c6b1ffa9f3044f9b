package main

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/service-islands/islands/sdk"
)

// saveCandles lets a closed candle replace an open one and never the reverse; of two alike the later asked wins.
var saveCandles = upsert{
	table:   "candles (series, open_time, as_of, open, high, low, close, volume, closed)",
	columns: 9,
	conflict: `(series, open_time) DO UPDATE SET as_of = excluded.as_of, open = excluded.open, high = excluded.high,
		low = excluded.low, close = excluded.close, volume = excluded.volume, closed = excluded.closed
		WHERE excluded.closed > closed OR (excluded.closed = closed AND excluded.as_of >= as_of)`,
}

// SaveCandles implements [sdk.Store].
func (s *store) SaveCandles(ctx context.Context, series []sdk.Candles) error {
	return s.do(ctx, "save_candles", func(db *database) error {
		for i := range series {
			if err := checkCandles(series[i]); err != nil {
				return err
			}
		}
		return db.write(ctx, func(tx *sql.Tx) (int64, error) {
			var wrote int64
			for i := range series {
				n, err := saveSeries(ctx, tx, series[i])
				wrote += n
				if err != nil {
					return wrote, err
				}
			}
			return wrote, nil
		})
	})
}

// checkCandles refuses what cannot be kept.
func checkCandles(c sdk.Candles) error {
	asset, err := assetKey(c.ID, c.Symbol)
	if err != nil {
		return fmt.Errorf("candles: %w", err)
	}
	if err := checkName("vs_currency", c.VsCurrency); err != nil {
		return fmt.Errorf("candles of %s: %w", asset, err)
	}
	if err := checkName("source", c.Source); err != nil {
		return fmt.Errorf("candles of %s: %w", asset, err)
	}
	if err := checkInterval(c.Interval); err != nil {
		return fmt.Errorf("candles of %s: %w", asset, err)
	}
	if err := checkText("note", c.Note, maxKey); err != nil {
		return fmt.Errorf("candles of %s: %w", asset, err)
	}
	for _, candle := range c.Items {
		if _, err := keyTime("open_time", candle.OpenTime); err != nil {
			return fmt.Errorf("candles of %s: %w", asset, err)
		}
	}
	return nil
}

func checkInterval(interval sdk.Interval) error {
	if !interval.Valid() {
		return sdk.Errorf(sdk.InvalidArgument, "no interval %.20q; there are: %v", interval, sdk.Intervals())
	}
	return nil
}

// saveSeries saves checked candles and returns how many rows it wrote.
func saveSeries(ctx context.Context, tx *sql.Tx, c sdk.Candles) (int64, error) {
	if len(c.Items) == 0 {
		return 0, nil
	}
	asset, err := assetKey(c.ID, c.Symbol)
	if err != nil {
		return 0, err
	}
	asOf := nanos(c.AsOf)
	var series int64
	err = tx.QueryRowContext(ctx, `INSERT INTO series
		(asset, asset_id, symbol, vs_currency, source, interval, as_of, note) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (asset, vs_currency, interval, source) DO UPDATE SET
			symbol = CASE WHEN excluded.as_of >= as_of THEN excluded.symbol ELSE symbol END,
			note = CASE WHEN excluded.as_of >= as_of THEN excluded.note ELSE note END,
			as_of = max(as_of, excluded.as_of)
		RETURNING id`,
		asset, c.ID, c.Symbol, c.VsCurrency, c.Source, string(c.Interval), asOf, c.Note).Scan(&series)
	if err != nil {
		return 0, err
	}
	values := make([]any, 0, len(c.Items)*saveCandles.columns)
	for _, candle := range c.Items {
		values = append(values, series, nanos(candle.OpenTime), asOf, nullable(candle.Open), nullable(candle.High),
			nullable(candle.Low), nullable(candle.Close), nullable(candle.Volume), candle.Closed)
	}
	return saveCandles.run(ctx, tx, values)
}

// StoredCandles implements [sdk.Store]. An asset without an id is looked for by its symbol, whatever the id it was saved
// with. Of sources whose newest candles are of the same time, the one that was asked last answers.
func (s *store) StoredCandles(ctx context.Context, req sdk.CandlesRequest) (found sdk.Candles, err error) {
	err = s.do(ctx, "stored_candles", func(db *database) error {
		if _, err := assetKey(req.Asset.ID, req.Asset.Symbol); err != nil {
			return err
		}
		if err := checkName("vs_currency", req.VsCurrency); err != nil {
			return err
		}
		if err := checkInterval(req.Interval); err != nil {
			return err
		}
		if err := checkLimit(req.Limit); err != nil {
			return err
		}
		found, err = db.storedCandles(ctx, req)
		return err
	})
	return found, err
}

// storedCandles answers with one statement, so that all it reads is of one moment.
func (d *database) storedCandles(ctx context.Context, req sdk.CandlesRequest) (sdk.Candles, error) {
	column, name := "asset", "id:"+req.Asset.ID
	if req.Asset.ID == "" {
		column, name = "symbol", req.Asset.Symbol
	}
	//nolint:gosec // The column is one of the two above.
	rows, err := d.readers.QueryContext(ctx, `WITH chosen AS (
			SELECT *, (SELECT max(open_time) FROM candles WHERE candles.series = s.id) AS newest FROM series AS s
			WHERE `+column+` = ? AND vs_currency = ? AND interval = ?
			ORDER BY newest DESC, as_of DESC, source, asset LIMIT 1)
		SELECT s.asset_id, s.symbol, s.source, s.as_of, s.note,
			c.open_time, c.open, c.high, c.low, c.close, c.volume, c.closed
		FROM chosen AS s JOIN candles AS c ON c.series = s.id ORDER BY c.open_time DESC LIMIT ?`,
		name, req.VsCurrency, string(req.Interval), req.Limit)
	if err != nil {
		return sdk.Candles{}, err
	}
	defer rows.Close()
	found := sdk.Candles{VsCurrency: req.VsCurrency, Interval: req.Interval}
	for rows.Next() {
		var asOf, openTime int64
		var figures [5]sql.NullFloat64
		var candle sdk.Candle
		if err := rows.Scan(&found.ID, &found.Symbol, &found.Source, &asOf, &found.Note,
			&openTime, &figures[0], &figures[1], &figures[2], &figures[3], &figures[4], &candle.Closed); err != nil {
			return sdk.Candles{}, err
		}
		found.AsOf, candle.OpenTime = timeOf(asOf), timeOf(openTime)
		for i, into := range []*sdk.Number{&candle.Open, &candle.High, &candle.Low, &candle.Close, &candle.Volume} {
			if figures[i].Valid {
				*into = sdk.Known(figures[i].Float64)
			}
		}
		found.Items = append(found.Items, candle)
	}
	if err := rows.Err(); err != nil {
		return sdk.Candles{}, err
	}
	if len(found.Items) == 0 {
		return sdk.Candles{}, sdk.Errorf(sdk.NotFound, "no %s candles of %s in %s are stored", req.Interval, name, req.VsCurrency)
	}
	slices.Reverse(found.Items)
	return found, nil
}
