package process_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// trip is one call with everything it carries in both directions.
type trip struct {
	name string
	// make returns what is sent, what the island answers, and what the island ought to be asked when that differs.
	make func(f *filler) (sent, answer, asked any)
	call func(ctx context.Context, island process.Island, sent any) (any, error)
}

// same is for a call whose request arrives as it was sent.
func same[Req, Resp any](f *filler) (sent, answer, asked any) {
	req := filled[Req](f)
	return req, filled[Resp](f), req
}

// trips lists every call of the contract but those without a noun.
func trips() []trip {
	return []trip{
		{"Quotes", same[sdk.QuotesRequest, []sdk.Quote], func(ctx context.Context, i process.Island, sent any) (any, error) {
			return i.Quotes(ctx, sent.(sdk.QuotesRequest))
		}},
		{"Candles", same[sdk.CandlesRequest, sdk.Candles], func(ctx context.Context, i process.Island, sent any) (any, error) {
			return i.Candles(ctx, sent.(sdk.CandlesRequest))
		}},
		{"Global", same[sdk.GlobalRequest, sdk.Global], func(ctx context.Context, i process.Island, sent any) (any, error) {
			return i.Global(ctx, sent.(sdk.GlobalRequest))
		}},
		{"Sentiment", same[sdk.SentimentRequest, sdk.Sentiment], func(ctx context.Context, i process.Island, sent any) (any, error) {
			return i.Sentiment(ctx, sent.(sdk.SentimentRequest))
		}},
		{"Catalogue", same[sdk.CatalogueRequest, []sdk.Asset], func(ctx context.Context, i process.Island, sent any) (any, error) {
			return i.Catalogue(ctx, sent.(sdk.CatalogueRequest))
		}},
		{"Stream", same[sdk.StreamRequest, []sdk.QuoteBatch], func(ctx context.Context, i process.Island, sent any) (any, error) {
			return collected(2, func(emit func(sdk.QuoteBatch) error) error { return i.Stream(ctx, sent.(sdk.StreamRequest), emit) })
		}},
		{"Lookup", func(f *filler) (any, any, any) {
			keys, found := []string{"a", "b"}, []sdk.Lookup{filled[sdk.Lookup](f), filled[sdk.Lookup](f)}
			found[1].Version = found[0].Version // One version for the whole look-up.
			return keys, found, keys
		}, func(ctx context.Context, i process.Island, sent any) (any, error) {
			return i.Lookup(ctx, sent.([]string))
		}},
		{"Fill", same[[]sdk.Entry, int], func(ctx context.Context, i process.Island, sent any) (any, error) {
			return i.Fill(ctx, sent.([]sdk.Entry))
		}},
		{"Invalidate", same[[]string, int], func(ctx context.Context, i process.Island, sent any) (any, error) {
			return i.Invalidate(ctx, sent.([]string))
		}},
		{"Watch", func(f *filler) (any, any, any) { return nil, filled[[]sdk.CacheEvent](f), nil }, func(ctx context.Context, i process.Island, _ any) (any, error) {
			return collected(2, func(emit func(sdk.CacheEvent) error) error { return i.Watch(ctx, emit) })
		}},
		{"SetTier", func(*filler) (any, any, any) { return nil, struct{}{}, "l1true" }, func(ctx context.Context, i process.Island, _ any) (any, error) {
			return struct{}{}, i.SetTier(ctx, "l1", true)
		}},
		{"Acquire", same[sdk.LeaseRequest, sdk.Lease], func(ctx context.Context, i process.Island, sent any) (any, error) {
			return i.Acquire(ctx, sent.(sdk.LeaseRequest))
		}},
		{"Release", func(f *filler) (any, any, any) {
			req := filled[sdk.LeaseRequest](f)
			req.TTL = 0 // Nothing to a release.
			return req, struct{}{}, req
		}, func(ctx context.Context, i process.Island, sent any) (any, error) {
			return struct{}{}, i.Release(ctx, sent.(sdk.LeaseRequest))
		}},
		{"Publish", func(f *filler) (any, any, any) {
			msg := filled[sdk.Message](f)
			msg.ID = "" // The answer, not the question.
			return msg, "id", msg
		}, func(ctx context.Context, i process.Island, sent any) (any, error) {
			return i.Publish(ctx, sent.(sdk.Message))
		}},
		{"Subscribe", func(f *filler) (any, any, any) {
			msgs := filled[[]sdk.Message](f)
			for i := range msgs {
				msgs[i].Channel = "channel" // The one that was asked for.
			}
			return nil, msgs, "channel after"
		}, func(ctx context.Context, i process.Island, _ any) (any, error) {
			return collected(2, func(emit func(sdk.Message) error) error { return i.Subscribe(ctx, "channel", "after", emit) })
		}},
		{"Take", func(f *filler) (any, any, any) { req := filled[sdk.BudgetRequest](f); return req, struct{}{}, req }, func(ctx context.Context, i process.Island, sent any) (any, error) {
			return struct{}{}, i.Take(ctx, sent.(sdk.BudgetRequest))
		}},
		{"SaveQuotes", func(f *filler) (any, any, any) { req := filled[[]sdk.Quote](f); return req, struct{}{}, req }, func(ctx context.Context, i process.Island, sent any) (any, error) {
			return struct{}{}, i.SaveQuotes(ctx, sent.([]sdk.Quote))
		}},
		{"SaveCandles", func(f *filler) (any, any, any) { req := filled[[]sdk.Candles](f); return req, struct{}{}, req }, func(ctx context.Context, i process.Island, sent any) (any, error) {
			return struct{}{}, i.SaveCandles(ctx, sent.([]sdk.Candles))
		}},
		{"History", same[sdk.HistoryRequest, sdk.HistoryPage], func(ctx context.Context, i process.Island, sent any) (any, error) {
			return i.History(ctx, sent.(sdk.HistoryRequest))
		}},
		{"StoredCandles", func(f *filler) (any, any, any) {
			req := filled[sdk.CandlesRequest](f)
			req.Retries = 0 // A store has no upstream to try again.
			return req, filled[sdk.Candles](f), req
		}, func(ctx context.Context, i process.Island, sent any) (any, error) {
			return i.StoredCandles(ctx, sent.(sdk.CandlesRequest))
		}},
		{"Remember", func(f *filler) (any, any, any) { req := filled[[]sdk.Entry](f); return req, struct{}{}, req }, func(ctx context.Context, i process.Island, sent any) (any, error) {
			return struct{}{}, i.Remember(ctx, sent.([]sdk.Entry))
		}},
		{"Recall", same[[]string, []sdk.Entry], func(ctx context.Context, i process.Island, sent any) (any, error) {
			return i.Recall(ctx, sent.([]string))
		}},
		{"Forget", same[[]string, int], func(ctx context.Context, i process.Island, sent any) (any, error) {
			return i.Forget(ctx, sent.([]string))
		}},
		{"Report", same[sdk.ReportRequest, sdk.Report], func(ctx context.Context, i process.Island, sent any) (any, error) {
			return i.Report(ctx, sent.(sdk.ReportRequest))
		}},
		{"Metrics", func(f *filler) (any, any, any) { return nil, filled[sdk.Metrics](f), nil }, func(ctx context.Context, i process.Island, _ any) (any, error) {
			return i.Metrics(ctx)
		}},
		{"Health", func(f *filler) (any, any, any) { return nil, filled[sdk.Health](f), nil }, func(ctx context.Context, i process.Island, _ any) (any, error) {
			return i.Health(ctx), nil
		}},
	}
}

func TestEveryNounSurvivesTheWire(t *testing.T) {
	e, island := loopback(t)
	// Whether a list is nil or empty is not told apart on the wire; everything else is.
	options := cmp.Options{cmpopts.EquateEmpty(), cmp.Comparer(func(a, b sdk.Number) bool { return a == b })}
	for _, tr := range trips() {
		t.Run(tr.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			for round := range 30 {
				f := &filler{n: round * 1000}
				if round > 0 { // The first is full, the others have gaps.
					f.empty = func() bool { return random.IntN(4) == 0 }
				}
				sent, answer, asked := tr.make(f)
				if v := reflect.ValueOf(answer); v.Kind() == reflect.Slice && v.Len() == 0 && (tr.name == "Stream" || tr.name == "Watch" || tr.name == "Subscribe") {
					continue // A stream without a message is another test's.
				}
				e.mu.Lock()
				e.answer = answer
				e.mu.Unlock()
				got, err := tr.call(t.Context(), island, sent)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(asked, e.asked, options); diff != "" {
					t.Errorf("the island was asked something else (-sent +asked):\n%s", diff)
				}
				if diff := cmp.Diff(answer, got, options); diff != "" {
					t.Errorf("the caller got something else (-answered +got):\n%s", diff)
				}
			}
		})
	}
}

func TestEveryMethodOfTheContractIsTried(t *testing.T) {
	tried := map[string]bool{"Initialize": true, "Shutdown": true, "Reports": true}
	for _, tr := range trips() {
		tried[tr.name] = true
	}
	contract := reflect.TypeFor[process.Island]()
	for i := range contract.NumMethod() {
		if name := contract.Method(i).Name; !tried[name] {
			t.Errorf("%s is not among the trips", name)
		}
	}
}

func TestManifestSurvivesTheWire(t *testing.T) {
	f := &filler{}
	manifest := filled[sdk.Manifest](f)
	e := &echo{reports: filled[[]sdk.ReportSpec](f)}
	island, stop, err := process.Loopback(manifest, e)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if diff := cmp.Diff(e.reports, island.Reports()); diff != "" {
		t.Error(diff)
	}
}

func TestSettingsSurviveTheWire(t *testing.T) {
	e := &echo{}
	island, stop, err := process.Loopback(sdk.Manifest{Name: "echo"}, e)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	values := map[string]any{"text": "ü\x00", "yes": true, "n": 1.5, "whole": float64(1 << 52), "list": []any{"a", "b"}}
	if err := island.Initialize(t.Context(), sdk.Config{Name: "name", Values: values}); err != nil {
		t.Fatal(err)
	}
	asked := e.asked.(sdk.Config)
	got := map[string]any{}
	for name, value := range asked.Values {
		if text, ok := value.(fmt.Stringer); ok { // json.Number keeps every digit.
			value = text.String()
		}
		got[name] = value
	}
	want := map[string]any{"text": "ü\x00", "yes": true, "n": "1.5", "whole": "4503599627370496", "list": []any{"a", "b"}}
	if diff := cmp.Diff(want, got); diff != "" || asked.Name != "name" {
		t.Error(asked.Name, diff)
	}
}
