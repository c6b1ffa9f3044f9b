package main

import (
	"cmp"
	"context"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/upstream"
)

// globalReply is the reply of /global.
type globalReply struct {
	Data struct {
		Active    sdk.Number            `json:"active_cryptocurrencies"`
		Markets   sdk.Number            `json:"markets"`
		Caps      map[string]sdk.Number `json:"total_market_cap"`
		Volumes   map[string]sdk.Number `json:"total_volume"`
		Dominance map[string]sdk.Number `json:"market_cap_percentage"`
		ChangeUSD sdk.Number            `json:"market_cap_change_percentage_24h_usd"`
		UpdatedAt sdk.Number            `json:"updated_at"` // seconds
	} `json:"data"`
}

// Global asks for the state of the whole market. The change of the market cap is known in US dollars only.
func (s *source) Global(ctx context.Context, req sdk.GlobalRequest) (sdk.Global, error) {
	var reply globalReply
	if err := s.Client.GetJSON(ctx, upstream.Request{Path: "/global", Fixed: true, Retries: req.Retries}, &reply); err != nil {
		return sdk.Global{}, err
	}
	return reply.global(req.VsCurrency, s.name, s.now())
}

// global turns the reply into the figures in one currency.
func (r globalReply) global(vs, source string, now time.Time) (sdk.Global, error) {
	d := r.Data
	if len(d.Caps) == 0 {
		return sdk.Global{}, sdk.Errorf(sdk.BadUpstream, "GET /global: no market capitalisation in any currency")
	}
	capital, ok := d.Caps[vs]
	if !ok {
		return sdk.Global{}, sdk.Errorf(sdk.Unsupported, "no global figures in %q", vs)
	}
	out := sdk.Global{
		VsCurrency: vs, MarketCap: capital, Volume24h: d.Volumes[vs], Dominance: d.Dominance,
		ActiveAssets: count(d.Active), Markets: count(d.Markets), Source: source, AsOf: now.UTC(),
	}
	if vs == "usd" {
		out.MarketCapChange24h = d.ChangeUSD
	}
	if at := d.UpdatedAt.Or(0); at > 0 && at < maxMillis/1000 {
		out.AsOf = time.Unix(int64(at), 0).UTC()
	}
	return out, nil
}

// count is a count, 0 where there is none.
func count(n sdk.Number) int { return int(min(max(n.Or(0), 0), math.MaxInt32)) }

// listRow is one coin in the reply of /coins/list.
type listRow struct {
	ID     string `json:"id"`
	Symbol string `json:"symbol"`
	Name   string `json:"name"`
}

// Catalogue asks for the list of every coin and for the ranks of the largest.
func (s *source) Catalogue(ctx context.Context, req sdk.CatalogueRequest) ([]sdk.Asset, error) {
	var list []listRow
	query := url.Values{"include_platform": {"false"}}
	err := s.Client.GetJSON(ctx, upstream.Request{Path: "/coins/list", Fixed: true, Query: query, Retries: req.Retries}, &list)
	if err != nil {
		return nil, err
	}
	var ranked []marketRow
	for page := 1; page <= s.pages; page++ {
		rows, err := s.markets(ctx, url.Values{}, page, "usd", req.Retries)
		if err != nil {
			return nil, err
		}
		ranked = append(ranked, rows...)
		if len(rows) < perPage {
			break
		}
	}
	return merge(list, ranked), nil
}

// merge joins the list of all coins with the ranks of the largest: highest market cap first, then by rank and id. A coin
// without id or symbol could not be asked for, so it is left out.
func merge(list []listRow, ranked []marketRow) []sdk.Asset {
	assets := make(map[string]sdk.Asset, len(list)+len(ranked))
	add := func(a sdk.Asset) {
		a.Symbol = strings.ToLower(a.Symbol)
		if a.ID != "" && a.Symbol != "" {
			assets[a.ID] = a
		}
	}
	for _, r := range list {
		add(sdk.Asset{ID: r.ID, Symbol: r.Symbol, Name: r.Name})
	}
	for _, r := range ranked {
		add(sdk.Asset{ID: r.ID, Symbol: r.Symbol, Name: r.Name, Rank: rank(r.Rank), MarketCap: r.MarketCap})
	}
	out := make([]sdk.Asset, 0, len(assets))
	for _, a := range assets {
		out = append(out, a)
	}
	unranked := func(a sdk.Asset) int {
		if a.Rank == 0 {
			return math.MaxInt
		}
		return a.Rank
	}
	slices.SortFunc(out, func(a, b sdk.Asset) int {
		return cmp.Or(
			cmp.Compare(b.MarketCap.Or(-1), a.MarketCap.Or(-1)),
			cmp.Compare(unranked(a), unranked(b)),
			strings.Compare(a.ID, b.ID),
		)
	})
	return out
}
