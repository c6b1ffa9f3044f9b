package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/service-islands/islands/sdk"
)

// quoteRow is a row of the table quotes.
type quoteRow struct {
	asset, symbol, vsCurrency, source string

	asOf  int64
	price *float64
	text  string
}

// compareQuotes orders rows by what a quote is known by.
func compareQuotes(a, b quoteRow) int {
	return cmp.Or(cmp.Compare(a.asset, b.asset), cmp.Compare(a.vsCurrency, b.vsCurrency), cmp.Compare(a.source, b.source),
		cmp.Compare(a.asOf, b.asOf))
}

// SaveQuotes implements [sdk.Store]. The later save of the same quote wins.
func (s *store) SaveQuotes(ctx context.Context, quotes []sdk.Quote) error {
	return s.do(ctx, "save_quotes", func(ctx context.Context, db *database) error {
		rows := make([]quoteRow, len(quotes))
		for i := range quotes {
			err := ctx.Err()
			if err != nil {
				return err
			}
			if rows[i], err = rowOf(quotes[i]); err != nil {
				return err
			}
		}
		var batch pgx.Batch
		for chunk := range lastOfEach(rows, compareQuotes, compareQuotes) {
			queueQuotes(&batch, chunk)
		}
		return db.write(ctx, &batch)
	})
}

// rowOf returns the row of a quote.
func rowOf(q sdk.Quote) (quoteRow, error) {
	asset, err := assetKey(q.ID, q.Symbol)
	if err != nil {
		return quoteRow{}, fmt.Errorf("quote: %w", err)
	}
	if err := checkName("vs_currency", q.VsCurrency); err != nil {
		return quoteRow{}, fmt.Errorf("quote of %s: %w", asset, err)
	}
	if err := checkName("source", q.Source); err != nil {
		return quoteRow{}, fmt.Errorf("quote of %s: %w", asset, err)
	}
	asOf, err := keyTime("as_of", q.AsOf)
	if err != nil {
		return quoteRow{}, fmt.Errorf("quote of %s: %w", asset, err)
	}
	q.AsOf, q.ATH.Date, q.ATL.Date = q.AsOf.UTC(), q.ATH.Date.UTC(), q.ATL.Date.UTC()
	text, err := json.Marshal(q)
	if err != nil {
		return quoteRow{}, sdk.Errorf(sdk.InvalidArgument, "quote of %s: %w", asset, err)
	}
	return quoteRow{asset, q.Symbol, q.VsCurrency, q.Source, asOf, nullable(q.Price), string(text)}, nil
}

// queueQuotes adds the statement that saves the rows.
func queueQuotes(batch *pgx.Batch, rows []quoteRow) {
	var asset, symbol, vsCurrency, source, text []string
	var asOf []int64
	var price []*float64
	for _, r := range rows {
		asset, symbol, vsCurrency = append(asset, r.asset), append(symbol, r.symbol), append(vsCurrency, r.vsCurrency)
		source, asOf = append(source, r.source), append(asOf, r.asOf)
		price, text = append(price, r.price), append(text, r.text)
	}
	batch.Queue(`INSERT INTO quotes AS kept (asset, symbol, vs_currency, source, as_of, price, quote)
		SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::float8[], $7::text[])
		ON CONFLICT (asset, vs_currency, source, as_of) DO UPDATE
		SET symbol = excluded.symbol, price = excluded.price, quote = excluded.quote WHERE kept.quote <> excluded.quote`,
		asset, symbol, vsCurrency, source, asOf, price, text)
}

// History implements [sdk.Store]. A zero To sets no end.
func (s *store) History(ctx context.Context, req sdk.HistoryRequest) (page sdk.HistoryPage, err error) {
	err = s.do(ctx, "history", func(ctx context.Context, db *database) error {
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
	rows, err := d.pool.Query(ctx, `SELECT as_of, id, quote FROM quotes
		WHERE symbol = $1 AND vs_currency = $2 AND as_of >= $3 AND as_of < $4 AND (as_of, id) > ($5, $6)
		ORDER BY as_of, id LIMIT $7`,
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
			continue // The last row of the answer, which the driver wants read.
		}
		var text []byte
		if err := rows.Scan(&last.asOf, &last.id, &text); err != nil {
			return sdk.HistoryPage{}, err
		}
		var q sdk.Quote
		if err := json.Unmarshal(text, &q); err != nil {
			return sdk.HistoryPage{}, sdk.Errorf(sdk.Internal, "quote in row %d: %w", last.id, err)
		}
		page.Quotes = append(page.Quotes, q)
	}
	return page, rows.Err()
}
