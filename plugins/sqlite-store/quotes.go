package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/service-islands/islands/sdk"
)

// saveQuotes lets the later save of the same quote win, and leaves alone what would not change.
var saveQuotes = upsert{
	table:   "quotes (asset, symbol, vs_currency, source, as_of, price, quote)",
	columns: 7,
	conflict: `(asset, vs_currency, source, as_of) DO UPDATE
		SET symbol = excluded.symbol, price = excluded.price, quote = excluded.quote WHERE quote <> excluded.quote`,
}

// SaveQuotes implements [sdk.Store].
func (s *store) SaveQuotes(ctx context.Context, quotes []sdk.Quote) error {
	return s.do(ctx, "save_quotes", func(db *database) error {
		values := make([]any, 0, len(quotes)*saveQuotes.columns)
		for i := range quotes {
			if err := ctx.Err(); err != nil {
				return err
			}
			row, err := quoteRow(quotes[i])
			if err != nil {
				return err
			}
			values = append(values, row...)
		}
		return db.write(ctx, func(tx *sql.Tx) (int64, error) { return saveQuotes.run(ctx, tx, values) })
	})
}

// quoteRow returns the columns of a quote.
func quoteRow(q sdk.Quote) ([]any, error) {
	asset, err := assetKey(q.ID, q.Symbol)
	if err != nil {
		return nil, fmt.Errorf("quote: %w", err)
	}
	if err := checkName("vs_currency", q.VsCurrency); err != nil {
		return nil, fmt.Errorf("quote of %s: %w", asset, err)
	}
	if err := checkName("source", q.Source); err != nil {
		return nil, fmt.Errorf("quote of %s: %w", asset, err)
	}
	asOf, err := keyTime("as_of", q.AsOf)
	if err != nil {
		return nil, fmt.Errorf("quote of %s: %w", asset, err)
	}
	q.AsOf, q.ATH.Date, q.ATL.Date = q.AsOf.UTC(), q.ATH.Date.UTC(), q.ATL.Date.UTC()
	text, err := json.Marshal(q)
	if err != nil {
		return nil, sdk.Errorf(sdk.InvalidArgument, "quote of %s: %w", asset, err)
	}
	return []any{asset, q.Symbol, q.VsCurrency, q.Source, asOf, nullable(q.Price), string(text)}, nil
}

// History implements [sdk.Store]. A zero To sets no end.
func (s *store) History(ctx context.Context, req sdk.HistoryRequest) (page sdk.HistoryPage, err error) {
	err = s.do(ctx, "history", func(db *database) error {
		after, to, err := historyRange(req)
		if err != nil {
			return err
		}
		page, err = db.history(ctx, req, after, to)
		return err
	})
	return page, err
}

// historyRange returns the place after which a page begins, and the time before which it ends.
func historyRange(req sdk.HistoryRequest) (after place, to int64, err error) {
	if err := checkName("symbol", req.Symbol); err != nil {
		return place{}, 0, err
	}
	if err := checkName("vs_currency", req.VsCurrency); err != nil {
		return place{}, 0, err
	}
	if err := checkLimit(req.Limit); err != nil {
		return place{}, 0, err
	}
	to = nanos(req.To)
	if req.To.IsZero() {
		to = nanos(latest)
	}
	if req.Cursor == "" {
		// The ids begin at 1, so this is just before the first row of that time.
		return place{asOf: nanos(req.From)}, to, nil
	}
	after, err = parseCursor(req.Cursor, req.Symbol, req.VsCurrency)
	return after, to, err
}

func (d *database) history(ctx context.Context, req sdk.HistoryRequest, after place, to int64) (sdk.HistoryPage, error) {
	rows, err := d.readers.QueryContext(ctx, `SELECT as_of, id, quote FROM quotes
		WHERE symbol = ? AND vs_currency = ? AND as_of >= ? AND as_of < ? AND (as_of, id) > (?, ?)
		ORDER BY as_of, id LIMIT ?`,
		req.Symbol, req.VsCurrency, nanos(req.From), to, after.asOf, after.id, req.Limit+1)
	if err != nil {
		return sdk.HistoryPage{}, err
	}
	defer rows.Close()
	var page sdk.HistoryPage
	var last place
	for rows.Next() {
		if len(page.Quotes) == req.Limit {
			page.Next = last.cursor(req.Symbol, req.VsCurrency)
			break
		}
		var text []byte
		if err := rows.Scan(&last.asOf, &last.id, &text); err != nil {
			return sdk.HistoryPage{}, err
		}
		var q sdk.Quote
		if err := json.Unmarshal(text, &q); err != nil {
			return sdk.HistoryPage{}, fmt.Errorf("quote in row %d: %w", last.id, err)
		}
		page.Quotes = append(page.Quotes, q)
	}
	return page, rows.Err()
}
