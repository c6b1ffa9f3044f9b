package pipeline

import (
	"context"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// pickyStore refuses a batch that holds a quote it does not like.
type pickyStore struct {
	*fakeStore
	batches []int
}

func (s *pickyStore) SaveQuotes(ctx context.Context, quotes []sdk.Quote) error {
	s.batches = append(s.batches, len(quotes))
	for _, q := range quotes {
		if q.Symbol == "eth" {
			return sdk.Errorf(sdk.InvalidArgument, "no eth here")
		}
	}
	return s.fakeStore.SaveQuotes(ctx, quotes)
}

func TestEveryQuoteIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := feeding(newFeedWorld())
		push := func(seconds int) {
			for range seconds {
				h.stream.push(at("btc", 100, 0), at("eth", 10, 0))
				time.Sleep(time.Second)
			}
		}
		push(5)
		h.set("store", false)
		push(30)
		synctest.Wait()
		if s := h.feed.Stats().Store; s.Failures == 0 || s.Waiting < 20 || h.r.Stats().StoreAvailable {
			t.Errorf("while the store is away: %+v", s)
		}
		h.set("store", true)
		push(10)
		h.stream.push(at("btc", 101, 0))
		synctest.Wait()
		h.end()
		want := quotesIn(h.all())
		if got, _ := h.store.kept(); !maps.Equal(got, want) || len(want) != 91 {
			t.Errorf("%d quotes are stored, %d were delivered", len(got), len(want))
		}
		if s := h.feed.Stats().Store; s.Waiting != 0 || s.Dropped != 0 || s.Rows != 91 || !h.r.Stats().StoreAvailable {
			t.Errorf("in the end: %+v", s)
		}
	})
}

func TestTheQueueForTheStoreIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := feeding(newFeedWorld(), func(o *Options, _ *FeedOptions) { o.StoreQueue = 20 })
		h.set("store", false)
		for range 100 {
			h.stream.push(at("btc", 100, 0))
			time.Sleep(time.Second)
		}
		synctest.Wait()
		s := h.feed.Stats().Store
		if s.Waiting > 20 || s.Dropped < 70 || s.Dropped > 80 {
			t.Errorf("counted %+v", s)
		}
		began := time.Now()
		h.end()
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("the way down took %v", took)
		}
		if after := h.feed.Stats().Store.Dropped; after <= s.Dropped {
			t.Errorf("what is left is not counted: %d", after)
		}
	})
}

func TestARefusedRowIsParted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFeedWorld()
		picky := &pickyStore{fakeStore: w.store}
		h := feeding(w, func(o *Options, _ *FeedOptions) {
			island := o.Island
			o.Island = func(name string) (process.Island, error) {
				if name == "store" {
					return picky, nil
				}
				return island(name)
			}
		})
		defer h.end()
		for range 8 {
			h.stream.push(at("btc", 100, 0))
			time.Sleep(time.Millisecond)
		}
		h.stream.push(at("eth", 10, 0))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		got, _ := h.store.kept()
		if s := h.feed.Stats().Store; len(got) != 8 || s.Dropped != 1 || s.Rows != 8 {
			t.Errorf("%d rows are stored in batches of %v: %+v", len(got), picky.batches, s)
		}
	})
}

func TestClosedCandlesAreStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := feeding(newFeedWorld())
		defer h.end()
		minute := time.Now().Add(-72 * time.Hour).Truncate(time.Minute).UTC() // Only what is past has closed.
		series := func(symbol string, items ...sdk.Candle) sdk.Candles {
			return sdk.Candles{Symbol: symbol, Interval: sdk.Interval1m, VsCurrency: "usd", Items: items}
		}
		candle := func(after int, price float64, closed bool) sdk.Candle {
			return sdk.Candle{OpenTime: minute.Add(time.Duration(after) * time.Minute), Close: sdk.Known(price), Closed: closed}
		}
		h.set("store", false)
		h.stream.send(sdk.QuoteBatch{Candles: []sdk.Candles{
			series("btc", candle(1, 101, true)), series("btc", candle(0, 100, true), candle(2, 102, false)), series("doge", candle(0, 1, true)),
		}})
		h.stream.send(sdk.QuoteBatch{Candles: []sdk.Candles{series("btc", candle(1, 111, true)), series("eth", candle(0, 10, true))}})
		time.Sleep(5 * time.Second)
		h.set("store", true)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		_, kept := h.store.kept()
		got := map[string][]float64{}
		for _, s := range kept {
			for _, c := range s.Items {
				got[s.Symbol+" "+s.ID+" "+s.Source] = append(got[s.Symbol+" "+s.ID+" "+s.Source], c.Close.Or(0))
			}
		}
		if btc := got["btc bitcoin binance"]; len(got) != 2 || len(btc) != 2 || btc[0] != 100 || btc[1] != 111 || len(got["eth ethereum binance"]) != 1 {
			t.Errorf("stored are %v", got)
		}
		h.stream.set(func(s *feedSource) {
			if !s.asked[0].Candles {
				t.Error("the stream is not asked for candles")
			}
		})
		// A store that stays away does not let them pile up.
		h.set("store", false)
		for i := range 3000 {
			h.stream.send(sdk.QuoteBatch{Candles: []sdk.Candles{series("btc", candle(i-3000, 1, true))}})
			if i%500 == 0 {
				synctest.Wait()
			}
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if s := h.feed.Stats().Store; s.Waiting > 1000 || s.Dropped < 1400 {
			t.Errorf("counted %+v", s)
		}
	})
}
