package conformance

import (
	"context"
	"math"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// oddCalls are calls of the subject's roles that make no sense, by name, with a text where one may be.
func (b *bench) oddCalls(island process.Island, text string) map[string]func(context.Context) error {
	all := map[sdk.Role]map[string]func(context.Context) error{
		sdk.RoleQuotes: {
			"Quotes": func(ctx context.Context) error {
				return second(island.Quotes(ctx, sdk.QuotesRequest{Assets: []sdk.Asset{{ID: text, Symbol: text}, {}}, VsCurrency: text, Retries: -1}))
			},
			"Quotes in a currency that is offered": func(ctx context.Context) error {
				return second(island.Quotes(ctx, sdk.QuotesRequest{Assets: []sdk.Asset{{ID: text, Symbol: text}}, VsCurrency: b.VsCurrency}))
			},
		},
		sdk.RoleCandles: {
			"Candles": func(ctx context.Context) error {
				return second(island.Candles(ctx, sdk.CandlesRequest{Asset: sdk.Asset{ID: text, Symbol: text}, VsCurrency: text, Interval: sdk.Interval(text), Limit: math.MinInt32, Retries: -1}))
			},
			"Candles without an asset": func(ctx context.Context) error {
				return second(island.Candles(ctx, sdk.CandlesRequest{VsCurrency: b.VsCurrency, Interval: b.Intervals[0], Limit: math.MaxInt32}))
			},
		},
		sdk.RoleGlobal: {"Global": func(ctx context.Context) error {
			return second(island.Global(ctx, sdk.GlobalRequest{VsCurrency: text, Retries: -1}))
		}},
		sdk.RoleStream: {"Stream": func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
			defer cancel()
			return island.Stream(ctx, sdk.StreamRequest{Assets: []sdk.Asset{{ID: text, Symbol: text}, {}}, VsCurrency: text}, func(sdk.QuoteBatch) error { return nil })
		}},
		sdk.RoleCache: {
			"Lookup": func(ctx context.Context) error { return second(island.Lookup(ctx, []string{text, ""})) },
			"Fill":   func(ctx context.Context) error { return second(island.Fill(ctx, []sdk.Entry{{Key: text}})) },
			"Invalidate": func(ctx context.Context) error {
				return second(island.Invalidate(ctx, []string{b.name("none") + text}))
			},
			"SetTier": func(ctx context.Context) error { return island.SetTier(ctx, text, true) },
		},
		sdk.RoleCoordinator: {
			"Acquire": func(ctx context.Context) error {
				return second(island.Acquire(ctx, sdk.LeaseRequest{Name: text, Owner: text, TTL: -time.Second}))
			},
			"Publish": func(ctx context.Context) error {
				return second(island.Publish(ctx, sdk.Message{Channel: b.name("odd"), Payload: []byte(text)}))
			},
			"Take": func(ctx context.Context) error {
				return island.Take(ctx, sdk.BudgetRequest{Name: text, N: -1, Limit: -1, Window: -1})
			},
		},
		sdk.RoleStore: {
			"SaveQuotes": func(ctx context.Context) error { return island.SaveQuotes(ctx, []sdk.Quote{{Symbol: text}}) },
			"SaveCandles": func(ctx context.Context) error {
				return island.SaveCandles(ctx, []sdk.Candles{{Symbol: text, Interval: sdk.Interval(text)}})
			},
			"History": func(ctx context.Context) error {
				return second(island.History(ctx, sdk.HistoryRequest{Symbol: text, VsCurrency: text, Limit: -1, Cursor: text}))
			},
			"Recall": func(ctx context.Context) error { return second(island.Recall(ctx, []string{text})) },
		},
		sdk.RoleReporter: {
			"Report": func(ctx context.Context) error {
				return second(island.Report(ctx, sdk.ReportRequest{Report: text, Asset: sdk.Asset{ID: text, Symbol: text}, VsCurrency: text}))
			},
			"Report of nothing": func(ctx context.Context) error {
				for _, spec := range b.Manifest.Reports {
					odd := sdk.ReportRequest{
						Report: spec.Name, Quote: &sdk.Quote{Name: text}, Candles: &sdk.Candles{Items: make([]sdk.Candle, 3), Note: text},
						Global: &sdk.Global{}, Sentiment: &sdk.Sentiment{Label: text},
					}
					if err := second(island.Report(ctx, odd)); err != nil {
						return err
					}
				}
				return nil
			},
		},
	}
	calls := map[string]func(context.Context) error{}
	for _, role := range b.Roles {
		for name, call := range all[role] {
			calls[name] = call
		}
	}
	return calls
}
