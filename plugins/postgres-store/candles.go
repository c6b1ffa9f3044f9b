package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/service-islands/islands/sdk"
)

// SaveCandles implements [sdk.Store]. A closed candle replaces an open one and never the reverse; of two alike the later
// asked wins.
func (s *store) SaveCandles(ctx context.Context, series []sdk.Candles) error {
	return s.do(ctx, "save_candles", func(ctx context.Context, db *database) error {
		for i := range series {
			if err := checkCandles(series[i]); err != nil {
				return err
			}
		}
		sorted := slices.SortedStableFunc(slices.Values(series), compareSeries)
		var batch pgx.Batch
		for i := range sorted {
			// Of the same time the closed one comes last, and so is the one that is kept.
			full := func(a, b sdk.Candle) int { return cmp.Or(compareTime(a, b), compareClosed(a, b)) }
			for chunk := range lastOfEach(sorted[i].Items, full, compareTime) {
				if err := queueCandles(&batch, sorted[i], chunk); err != nil {
					return err
				}
			}
		}
		return db.write(ctx, &batch)
	})
}

// compareSeries orders series by what they are known by.
func compareSeries(a, b sdk.Candles) int {
	return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Symbol, b.Symbol), cmp.Compare(a.VsCurrency, b.VsCurrency),
		cmp.Compare(a.Interval, b.Interval), cmp.Compare(a.Source, b.Source))
}

func compareTime(a, b sdk.Candle) int { return a.OpenTime.Compare(b.OpenTime) }

func compareClosed(a, b sdk.Candle) int {
	switch {
	case a.Closed == b.Closed:
		return 0
	case b.Closed:
		return -1
	default:
		return 1
	}
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

// queueCandles adds the statement that saves checked candles, no two of the same time, and their series.
func queueCandles(batch *pgx.Batch, c sdk.Candles, items []sdk.Candle) error {
	asset, err := assetKey(c.ID, c.Symbol)
	if err != nil {
		return err
	}
	var openTime []int64
	var open, high, low, closing, volume []*float64
	var closed []bool
	for _, item := range items {
		openTime, closed = append(openTime, nanos(item.OpenTime)), append(closed, item.Closed)
		open, high, low = append(open, nullable(item.Open)), append(high, nullable(item.High)), append(low, nullable(item.Low))
		closing, volume = append(closing, nullable(item.Close)), append(volume, nullable(item.Volume))
	}
	batch.Queue(`WITH saved AS (
			INSERT INTO series AS kept (asset, asset_id, symbol, vs_currency, source, interval, as_of, note)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (asset, vs_currency, interval, source) DO UPDATE SET
				symbol = CASE WHEN excluded.as_of >= kept.as_of THEN excluded.symbol ELSE kept.symbol END,
				note = CASE WHEN excluded.as_of >= kept.as_of THEN excluded.note ELSE kept.note END,
				as_of = greatest(kept.as_of, excluded.as_of)
			RETURNING id)
		INSERT INTO candles AS kept (series, as_of, open_time, open, high, low, close, volume, closed)
		SELECT saved.id, $7::bigint, item.* FROM saved, unnest(
			$9::bigint[], $10::float8[], $11::float8[], $12::float8[], $13::float8[], $14::float8[], $15::boolean[]) AS item
		ON CONFLICT (series, open_time) DO UPDATE SET as_of = excluded.as_of, open = excluded.open, high = excluded.high,
			low = excluded.low, close = excluded.close, volume = excluded.volume, closed = excluded.closed
		WHERE excluded.closed > kept.closed OR (excluded.closed = kept.closed AND excluded.as_of >= kept.as_of)`,
		asset, c.ID, c.Symbol, c.VsCurrency, c.Source, string(c.Interval), nanos(c.AsOf), c.Note,
		openTime, open, high, low, closing, volume, closed)
	return nil
}

// StoredCandles implements [sdk.Store]. An asset without an id is looked for by its symbol, whatever the id it was saved
// with. Of sources whose newest candles are of the same time, the one that was asked last answers.
func (s *store) StoredCandles(ctx context.Context, req sdk.CandlesRequest) (found sdk.Candles, err error) {
	err = s.do(ctx, "stored_candles", func(ctx context.Context, db *database) error {
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
	rows, err := d.pool.Query(ctx, `WITH chosen AS (
			SELECT s.* FROM series AS s, LATERAL (
				SELECT open_time FROM candles WHERE series = s.id ORDER BY open_time DESC LIMIT 1) AS newest
			WHERE s.`+column+` = $1 AND s.vs_currency = $2 AND s.interval = $3
			ORDER BY newest.open_time DESC, s.as_of DESC, s.source, s.asset LIMIT 1)
		SELECT s.asset_id, s.symbol, s.source, s.as_of, s.note,
			c.open_time, c.open, c.high, c.low, c.close, c.volume, c.closed
		FROM chosen AS s JOIN candles AS c ON c.series = s.id ORDER BY c.open_time DESC LIMIT $4`,
		name, req.VsCurrency, string(req.Interval), req.Limit)
	if err != nil {
		return sdk.Candles{}, err
	}
	defer rows.Close()
	found := sdk.Candles{VsCurrency: req.VsCurrency, Interval: req.Interval}
	for rows.Next() {
		var asOf, openTime int64
		var figures [5]*float64
		var candle sdk.Candle
		if err := rows.Scan(&found.ID, &found.Symbol, &found.Source, &asOf, &found.Note,
			&openTime, &figures[0], &figures[1], &figures[2], &figures[3], &figures[4], &candle.Closed); err != nil {
			return sdk.Candles{}, err
		}
		found.AsOf, candle.OpenTime = timeOf(asOf), timeOf(openTime)
		for i, into := range []*sdk.Number{&candle.Open, &candle.High, &candle.Low, &candle.Close, &candle.Volume} {
			if figures[i] != nil {
				*into = sdk.Known(*figures[i])
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
