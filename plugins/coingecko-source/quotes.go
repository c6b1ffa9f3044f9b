package main

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/upstream"
)

// perPage is the most that /coins/markets answers at once.
const perPage = 250

// resolved is the note of figures whose asset was found by its symbol.
const resolved = "the symbol was taken for the coin with the highest market capitalisation"

// marketRow is one coin in the reply of /coins/markets. Almost everything may be null.
type marketRow struct {
	ID         string     `json:"id"`
	Symbol     string     `json:"symbol"`
	Name       string     `json:"name"`
	Price      sdk.Number `json:"current_price"`
	MarketCap  sdk.Number `json:"market_cap"`
	Rank       sdk.Number `json:"market_cap_rank"`
	FDV        sdk.Number `json:"fully_diluted_valuation"`
	Volume     sdk.Number `json:"total_volume"`
	High24h    sdk.Number `json:"high_24h"`
	Low24h     sdk.Number `json:"low_24h"`
	Change1h   sdk.Number `json:"price_change_percentage_1h_in_currency"`
	Change24h  sdk.Number `json:"price_change_percentage_24h_in_currency"`
	Change7d   sdk.Number `json:"price_change_percentage_7d_in_currency"`
	Change30d  sdk.Number `json:"price_change_percentage_30d_in_currency"`
	Change1y   sdk.Number `json:"price_change_percentage_1y_in_currency"`
	Supply     sdk.Number `json:"circulating_supply"`
	Total      sdk.Number `json:"total_supply"`
	Max        sdk.Number `json:"max_supply"`
	ATH        sdk.Number `json:"ath"`
	ATHChange  sdk.Number `json:"ath_change_percentage"`
	ATHDate    string     `json:"ath_date"`
	ATL        sdk.Number `json:"atl"`
	ATLChange  sdk.Number `json:"atl_change_percentage"`
	ATLDate    string     `json:"atl_date"`
	LastUpdate string     `json:"last_updated"`
}

// quote turns the row into the quote of an asset. What is null stays unknown.
func (r marketRow) quote(asset sdk.Asset, vs, source string, now time.Time) sdk.Quote {
	q := sdk.Quote{
		ID: r.ID, Symbol: asset.Symbol, Name: r.Name, VsCurrency: vs, Source: source,
		Price: r.Price, Volume24h: r.Volume, MarketCap: r.MarketCap, Rank: rank(r.Rank),
		Change1h: r.Change1h, Change24h: r.Change24h, Change7d: r.Change7d, Change30d: r.Change30d, Change1y: r.Change1y,
		High24h: r.High24h, Low24h: r.Low24h,
		Supply: sdk.Supply{Circulating: r.Supply, Total: r.Total, Max: r.Max, FullyDilutedValuation: r.FDV},
		ATH:    sdk.Mark{Price: r.ATH, Date: date(r.ATHDate), Change: r.ATHChange},
		ATL:    sdk.Mark{Price: r.ATL, Date: date(r.ATLDate), Change: r.ATLChange},
		AsOf:   date(r.LastUpdate),
	}
	if q.Symbol == "" {
		q.Symbol = strings.ToLower(r.Symbol)
	}
	if q.AsOf.IsZero() {
		q.AsOf = now.UTC()
	}
	if asset.ID == "" {
		q.Note = resolved
	}
	return q
}

// rank is a rank from 1, or 0 where there is none.
func rank(n sdk.Number) int {
	f := n.Or(0)
	if f < 1 || f > 1e9 {
		return 0
	}
	return int(f)
}

// date reads a stamp such as "2025-10-06T18:57:42.558Z"; the zero time where there is none.
func date(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// Quotes asks for up to 250 assets in one call, and in a second one for those that have no id.
func (s *source) Quotes(ctx context.Context, req sdk.QuotesRequest) ([]sdk.Quote, error) {
	if len(req.Assets) > perPage {
		return nil, sdk.Errorf(sdk.InvalidArgument, "%d assets at once; at most %d", len(req.Assets), perPage)
	}
	var ids, symbols []string
	for _, a := range req.Assets {
		switch {
		case listable(a.ID):
			ids = append(ids, a.ID)
		case a.ID == "" && listable(a.Symbol):
			symbols = append(symbols, strings.ToLower(a.Symbol))
		}
	}
	now := s.now()
	byID, err := s.find(ctx, "ids", ids, req.VsCurrency, req.Retries)
	if err != nil {
		return nil, err
	}
	bySymbol, err := s.find(ctx, "symbols", symbols, req.VsCurrency, req.Retries)
	if err != nil {
		return nil, err
	}
	var out []sdk.Quote
	for _, a := range req.Assets {
		row, ok := byID[a.ID]
		if a.ID == "" {
			row, ok = bySymbol[strings.ToLower(a.Symbol)]
		}
		if ok {
			out = append(out, row.quote(a, req.VsCurrency, s.name, now))
		}
	}
	return out, nil
}

// listable reports whether a word can stand in a list of them: a comma or a space in one would drop its neighbours.
func listable(word string) bool {
	return word != "" && len(word) <= 200 && !strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r == ',' })
}

// find asks /coins/markets for the coins of these ids or symbols. Of several coins with one symbol it keeps the one with
// the highest market capitalisation.
func (s *source) find(ctx context.Context, by string, words []string, vs string, retries int) (map[string]marketRow, error) {
	if len(words) == 0 {
		return nil, nil
	}
	slices.Sort(words)
	query := url.Values{by: {strings.Join(slices.Compact(words), ",")}, "price_change_percentage": {"1h,24h,7d,30d,1y"}}
	if by == "symbols" {
		query.Set("include_tokens", "top")
	}
	rows, err := s.markets(ctx, query, 1, vs, retries)
	if err != nil {
		return nil, err
	}
	found := make(map[string]marketRow, len(rows))
	for _, row := range rows {
		word := row.ID
		if by == "symbols" {
			word = strings.ToLower(row.Symbol)
		}
		if before, ok := found[word]; !ok || row.MarketCap.Or(-1) > before.MarketCap.Or(-1) {
			found[word] = row
		}
	}
	return found, nil
}

// markets asks for one page of /coins/markets.
func (s *source) markets(ctx context.Context, query url.Values, page int, vs string, retries int) ([]marketRow, error) {
	query.Set("vs_currency", vs)
	query.Set("order", "market_cap_desc")
	query.Set("per_page", strconv.Itoa(perPage))
	query.Set("page", strconv.Itoa(page))
	query.Set("sparkline", "false")
	query.Set("precision", "full")
	var rows []marketRow
	err := s.Client.GetJSON(ctx, upstream.Request{Path: "/coins/markets", Fixed: true, Query: query, Retries: retries}, &rows)
	return rows, err
}
