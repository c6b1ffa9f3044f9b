package pipeline

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/service-islands/islands/sdk"
)

func sampleTick() Tick {
	asOf := time.Date(2026, 5, 18, 12, 0, 0, 123456789, time.UTC)
	quote := sdk.Quote{
		ID: "bitcoin", Symbol: "btc", Name: "Bitcoin", VsCurrency: "usd", Price: sdk.Known(0.1 + 0.2), Change24h: sdk.Known(-1e-9),
		MarketCap: sdk.Known(1.5e12), Rank: 1, Source: "binance", AsOf: asOf, Note: "figures are in USDT",
		ATH: sdk.Mark{Price: sdk.Known(2), Date: asOf},
	}
	return Tick{
		Epoch: "an epoch", N: 7, At: asOf.Add(time.Second), Quotes: []TickQuote{{Seq: 3, Quote: quote}}, QuotesSeq: 6,
		Global: &sdk.Global{VsCurrency: "usd", MarketCap: sdk.Known(2e12), Dominance: map[string]sdk.Number{"btc": sdk.Known(50)}, AsOf: asOf}, GlobalSeq: 2,
	}
}

func TestARecordReadsBack(t *testing.T) {
	want := sampleTick()
	rec := recordOf(recordTick, want)
	payload, err := rec.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeRecord(payload)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.tick(), cmp.Comparer(func(a, b sdk.Number) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestRecordsThatAreNotTaken(t *testing.T) {
	tests := map[string]func(r *record){
		"an unknown kind":          func(r *record) { r.Kind = "song" },
		"no epoch":                 func(r *record) { r.Epoch = "" },
		"a long epoch":             func(r *record) { r.Epoch = strings.Repeat("x", 65) },
		"no number":                func(r *record) { r.N = 0 },
		"quotes without a place":   func(r *record) { r.QuotesSeq = 0 },
		"a place without quotes":   func(r *record) { r.Quotes = nil },
		"a state without a place":  func(r *record) { r.Kind, r.QuotesSeq = recordState, 0 },
		"global without a place":   func(r *record) { r.GlobalSeq = 0 },
		"a place without global":   func(r *record) { r.Global = nil },
		"a quote without a place":  func(r *record) { r.Quotes[0].Seq = 0 },
		"a quote without a symbol": func(r *record) { r.Quotes[0].Quote.Symbol = "" },
		"a quote without a price":  func(r *record) { r.Quotes[0].Quote.Price = sdk.Number{} },
		"a quote without a time":   func(r *record) { r.Quotes[0].Quote.AsOf = time.Time{} },
		"a symbol twice":           func(r *record) { r.Quotes = append(r.Quotes, r.Quotes[0]) },
		"too many quotes":          func(r *record) { r.Quotes = make([]TickQuote, maxInRecord+1) },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			rec := recordOf(recordTick, sampleTick())
			spoil(&rec)
			payload, err := rec.encode()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := decodeRecord(payload); err == nil {
				t.Errorf("taken: %+v", got)
			}
		})
	}
	for _, payload := range []string{"", "null", "[]", `{"v":2,"kind":"marker"}`, `{"v":1,"kind":"marker"`, strings.Repeat(" ", maxRecord+1)} {
		if got, err := decodeRecord([]byte(payload)); err == nil {
			t.Errorf("%.30q is taken: %+v", payload, got)
		}
	}
}

// FuzzRecord reads anything, and what is taken can be applied and written again.
func FuzzRecord(f *testing.F) {
	for _, kind := range []string{recordTick, recordState, recordBeat, recordMarker, recordOffer} {
		rec := recordOf(kind, sampleTick())
		payload, err := rec.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload)
	}
	f.Add([]byte(`{"v":1,"kind":"beat","epoch":"e","n":18446744073709551615}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		rec, err := decodeRecord(payload)
		if err != nil {
			return
		}
		l := follower{}
		for range 2 {
			if news, ok := l.place(rec); ok && news != nil && (news.Epoch != l.board.epoch || news.N != l.board.n) {
				t.Errorf("the board is at %d of %s", l.board.n, l.board.epoch)
			}
		}
		again, err := rec.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeRecord(again); err != nil {
			t.Errorf("what was taken is refused when it is written again: %v", err)
		}
	})
}

// BenchmarkBatchToDeliver is the way of a batch of a hundred quotes from a stream to Deliver, alone and through a log.
func BenchmarkBatchToDeliver(b *testing.B) {
	const symbols = 100
	for name, shared := range map[string]bool{"alone": false, "through the log": true} {
		b.Run(name, func(b *testing.B) {
			w := newFeedWorld()
			w.cache.shared.Store(shared)
			w.coordinator = newFakeCoordinator(newFakeRedis())
			opts := FeedOptions{Sources: []string{"binance"}, Streams: func(string) bool { return true }, Coordinator: "coordinator"}
			for i := range symbols {
				opts.Symbols = append(opts.Symbols, fmt.Sprintf("fill%d", i))
			}
			w.gecko.extra, w.binan.extra = symbols, symbols
			w.polled.extra, w.stream.extra = symbols, symbols
			delivered := make(chan struct{}, 1)
			opts.Deliver = func(t Tick) {
				if len(t.Quotes) > 0 {
					delivered <- struct{}{}
				}
			}
			r := w.requests(func(o *Options) { o.Island, o.Global.Sources, o.Store = w.island, nil, "" })
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan struct{}, 2)
			feed := NewFeed(r, opts)
			for _, run := range []func(context.Context){r.Run, feed.Run} {
				go func() {
					run(ctx)
					ended <- struct{}{}
				}()
			}
			defer func() {
				cancel()
				<-ended
				<-ended
				r.Close()
			}()
			for standing := 0; standing == 0; standing, _ = w.stream.standing() {
				time.Sleep(time.Millisecond)
			}
			b.ReportAllocs()
			for b.Loop() {
				batch := make([]sdk.Quote, symbols)
				for i := range batch {
					batch[i] = at(opts.Symbols[i], 100, 0)
				}
				w.stream.push(batch...)
				<-delivered
			}
		})
	}
}
