package pipeline

import (
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
)

// TestANewerQuoteOutlivesDoubt loads an older quote while the near cache cannot vouch for the feed's newer one.
func TestANewerQuoteOutlivesDoubt(t *testing.T) {
	now := time.Now()
	n := newNear(10, 1<<20, func() time.Time { return now })
	quote := func(age time.Duration) *entry {
		e := negative("btc_current_price", nil, now, now.Add(30*time.Second))
		e.asOf = now.Add(-age)
		return e
	}
	fed, loaded := quote(time.Second), quote(time.Minute)
	n.put(fed, n.moment())
	n.suspect()
	n.trust(true) // Another host may have changed anything meanwhile.
	if n.trusted(fed) {
		t.Fatal("what was there before is trusted")
	}
	if holds := n.put(loaded, n.moment()); holds != fed || n.get([]byte(fed.key)) != fed {
		t.Error("an older quote takes the place of the feed's")
	}
	if !n.trusted(fed) {
		t.Error("the feed's quote stays in doubt although nothing newer is to be had")
	}
	if newer := quote(0); n.put(newer, n.moment()) != newer {
		t.Error("a newer quote is refused")
	}
}

// TestATickThatWouldGoBack delivers everything that is known instead, under the number of the tick.
func TestATickThatWouldGoBack(t *testing.T) {
	now := time.Now().UTC()
	r := New(Options{})
	defer r.Close()
	var got []Tick
	f := NewFeed(r, FeedOptions{Symbols: []string{"btc", "eth"}, Deliver: func(t Tick) { got = append(got, t) }})
	quote := func(symbol string, price float64, age time.Duration) sdk.Quote {
		return sdk.Quote{Symbol: symbol, VsCurrency: "usd", Price: sdk.Known(price), AsOf: now.Add(-age)}
	}
	f.newest["btc"] = quote("btc", 3, 0) // From when this host was on its own.
	f.log.board.apply(Tick{
		Epoch: "a", N: 7, At: now, Whole: true, QuotesSeq: 5,
		Quotes: []TickQuote{{Seq: 4, Quote: quote("btc", 1, 2*time.Second)}, {Seq: 2, Quote: quote("eth", 10, 2*time.Second)}},
	})
	next := Tick{
		Epoch: "a", N: 8, At: now, QuotesSeq: 6,
		Quotes: []TickQuote{{Seq: 5, Quote: quote("btc", 2, time.Second)}, {Seq: 3, Quote: quote("eth", 11, time.Second)}},
	}
	f.log.board.apply(next)
	f.deliver(next)
	if len(got) != 1 || !got[0].Whole || got[0].N != 8 || got[0].QuotesSeq != 6 || len(got[0].Quotes) != 2 {
		t.Fatalf("delivered %+v", got)
	}
	for i, want := range []TickQuote{{5, quote("btc", 3, 0)}, {3, quote("eth", 11, time.Second)}} {
		if q := got[0].Quotes[i]; q.Seq != want.Seq || q.Quote.Price != want.Quote.Price || !q.Quote.AsOf.Equal(want.Quote.AsOf) {
			t.Errorf("%s is %v under %d", want.Quote.Symbol, q.Quote.Price, q.Seq)
		}
	}
	if s := f.Stats(); s.WentBack != 1 {
		t.Errorf("%d went back", s.WentBack)
	}
}
