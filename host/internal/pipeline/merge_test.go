package pipeline

import (
	"encoding/json"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
)

func TestTheBetterSourceSpeaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFeedWorld()
		w.polled.know(rich("btc", 90, time.Minute), rich("eth", 9, time.Minute))
		h := feeding(w)
		defer h.end()
		expect := func(when, symbol, source string, price float64) {
			t.Helper()
			synctest.Wait()
			if gotPrice, got := h.price(symbol); got != source || gotPrice != price {
				t.Errorf("%s: %s is %v from %q, want %v from %q", when, symbol, gotPrice, got, price, source)
			}
		}
		expect("before the better one has said anything", "btc", "gecko", 90)
		h.stream.push(at("btc", 100, 0))
		expect("once it speaks", "btc", "binance", 100)
		expect("of what it does not know", "eth", "gecko", 9)

		// It speaks on, and what the other says is not taken, although it is newer.
		for range 60 {
			time.Sleep(time.Second)
			h.stream.push(at("btc", 101, 500*time.Millisecond))
			w.polled.know(at("btc", 91, 0))
		}
		expect("while it speaks", "btc", "binance", 101)
		_, opened := h.stream.standing()
		if polls := h.polled.count("quotes"); polls != 3 || opened != 1 {
			t.Errorf("%d polls and %d streams in a minute", polls, opened)
		}

		// It falls silent: the next one takes over within the time of silence, with a poll of its own.
		w.polled.know(at("btc", 92, 0))
		time.Sleep(14 * time.Second)
		expect("in a pause", "btc", "binance", 101)
		w.polled.know(at("btc", 93, 0))
		time.Sleep(3 * time.Second)
		expect("once it is silent", "btc", "gecko", 93)
		if polls := h.polled.count("quotes"); polls != 4 {
			t.Errorf("%d polls, want one more", polls)
		}

		// What it says late is dropped; with something newer it has the symbol back at once.
		late := h.feed.Stats().Late
		h.stream.push(at("btc", 94, 10*time.Second))
		expect("when it is late", "btc", "gecko", 93)
		if h.feed.Stats().Late != late+1 {
			t.Errorf("counted %+v", h.feed.Stats())
		}
		h.stream.push(at("btc", 95, 0))
		expect("when it is back", "btc", "binance", 95)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		s := h.feed.Stats().Sources
		if s[0].TakenOver == 0 || s[0].Silent || !s[0].Streaming || s[1].Streaming || s[1].Polls != 4 {
			t.Errorf("counted %+v", s)
		}
		h.check(t)
	})
}

func TestAPolledSourceMayBeTheBetterOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFeedWorld()
		w.polled.know(at("btc", 90, 0))
		h := feeding(w, func(_ *Options, f *FeedOptions) { slices.Reverse(f.Sources) })
		defer h.end()
		for second := range 120 {
			h.stream.push(at("btc", 100, 500*time.Millisecond))
			w.polled.know(at("btc", 90, 0))
			time.Sleep(time.Second)
			if _, source := h.price("btc"); source != "gecko" {
				t.Fatalf("%q speaks after %d s, between two polls", source, second)
			}
		}
		w.polled.fail.Store(&sdk.Error{Kind: sdk.Unavailable})
		for range 60 {
			h.stream.push(at("btc", 100, 0))
			time.Sleep(time.Second)
		}
		if _, source := h.price("btc"); source != "binance" {
			t.Errorf("%q speaks when it cannot be polled", source)
		}
		h.check(t)
	})
}

func TestASourceThatBreaks(t *testing.T) {
	tests := map[string]struct {
		fail func(s *feedSource)
		mend func(s *feedSource)
		// after is when the other source has to have taken over.
		after time.Duration
	}{
		"goes away": {
			func(s *feedSource) {
				s.set(func(s *feedSource) { s.refuse = sdk.Unavailable })
				s.end(sdk.Unavailable)
			},
			func(s *feedSource) { s.set(func(s *feedSource) { s.refuse = nil }) }, 30 * time.Second,
		},
		"falls silent": {
			func(s *feedSource) { s.set(func(s *feedSource) { s.mute = true }) },
			func(s *feedSource) { s.set(func(s *feedSource) { s.mute = false }) }, 30 * time.Second,
		},
		"bans this host for a minute": {
			func(s *feedSource) {
				banned := &sdk.Error{Kind: sdk.RateLimited, RetryAfter: time.Minute}
				s.set(func(s *feedSource) { s.refuse = banned })
				s.end(banned)
			},
			func(s *feedSource) { s.set(func(s *feedSource) { s.refuse = nil }) }, 30 * time.Second,
		},
		"panics": {
			func(s *feedSource) {
				s.set(func(s *feedSource) { s.panics = true })
				s.end(sdk.Unavailable)
			},
			func(s *feedSource) { s.set(func(s *feedSource) { s.panics = false }) }, 30 * time.Second,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := feeding(newFeedWorld())
				defer h.end()
				h.stream.push(at("btc", 100, 0), at("eth", 10, 0))
				synctest.Wait()
				_, before := h.stream.standing()
				tt.fail(h.stream)
				for range int(tt.after / time.Second) {
					time.Sleep(time.Second)
					h.polled.know(at("btc", 90, 0), at("eth", 9, 0))
				}
				synctest.Wait()
				for _, symbol := range []string{"btc", "eth"} {
					if price, source := h.price(symbol); source != "gecko" {
						t.Errorf("%s is %v from %q", symbol, price, source)
					}
				}
				if !h.feed.Stats().Sources[0].Silent {
					t.Errorf("the source is not said to be silent: %+v", h.feed.Stats().Sources)
				}
				tt.mend(h.stream)
				for range 61 {
					time.Sleep(time.Second)
					h.stream.push(at("btc", 101, 0), at("eth", 11, 0))
				}
				synctest.Wait()
				standing, opened := h.stream.standing()
				if standing != 1 || opened < before+1 || opened > before+30 {
					t.Errorf("%d streams stand, %d were opened", standing, opened-before)
				}
				for _, symbol := range []string{"btc", "eth"} {
					if price, source := h.price(symbol); source != "binance" {
						t.Errorf("%s is %v from %q", symbol, price, source)
					}
				}
				s := h.feed.Stats()
				if s.Sources[0].Breaks == 0 || s.Sources[0].Silent || s.Sources[0].Reason != "" || (name == "panics") != (s.Panics > 0) {
					t.Errorf("counted %+v", s)
				}
				h.check(t)
			})
		})
	}
}

func TestAHoleInAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := feeding(newFeedWorld())
		defer h.end()
		h.stream.push(at("btc", 100, 0))
		h.stream.send(sdk.QuoteBatch{Seq: 3, Quotes: []sdk.Quote{at("btc", 101, -time.Millisecond)}})
		synctest.Wait()
		if price, _ := h.price("btc"); price != 101 {
			t.Errorf("the quotes after the hole are lost: %v", price)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		standing, opened := h.stream.standing()
		if standing != 1 || opened != 2 || h.feed.Stats().Sources[0].Breaks != 1 {
			t.Errorf("%d streams stand, %d were opened", standing, opened)
		}
	})
}

func TestWhatIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := feeding(newFeedWorld())
		defer h.end()
		h.stream.push(at("btc", 100, 0))
		synctest.Wait()
		unknown, other := at("doge", 1, 0), at("btc", 1, -time.Millisecond)
		other.ID = "bitcoin-of-another-kind"
		none := at("btc", 0, -time.Millisecond)
		none.Price = sdk.Number{}
		euros := at("btc", 1, -time.Millisecond)
		euros.VsCurrency = "eur"
		for _, q := range []sdk.Quote{
			at("btc", 1, 0), at("btc", 1, time.Second), at("btc", 1, -61*time.Second), at("eth", 1, 25*time.Hour), none,
			at("btc", 0, -time.Millisecond), at("btc", -5, -time.Millisecond), unknown, other, euros,
		} {
			h.stream.push(q)
		}
		synctest.Wait()
		s := h.feed.Stats()
		if s.Ticks != 2 || s.Duplicate != 1 || s.Late != 1 || s.Future != 1 || s.Ancient != 1 || s.InvalidPrice != 1 {
			t.Errorf("counted %+v", s)
		}
		if d := h.r.Behaviour("binance").Dropped; d["not_asked"] != 3 || d["price"] != 1 || d["worthless"] != 1 || len(d) != 3 {
			t.Errorf("dropped at the gate are %v", d)
		}
		h.stream.push(at("btc", 102, -59*time.Second))
		synctest.Wait()
		if price, _ := h.price("btc"); price != 102 {
			t.Errorf("a clock that is a little ahead is not taken: %v", price)
		}
		h.check(t)
	})
}

func TestWhatAnExchangeDoesNotKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFeedWorld()
		w.polled.know(rich("btc", 90, time.Minute))
		h := feeding(w)
		defer h.end()
		q := at("btc", 100, 0)
		q.Note, q.Change24h = "figures are in USDT", sdk.Known(1)
		h.stream.push(q)
		synctest.Wait()
		cached, ok := h.cache.has("btc_current_price")
		if !ok {
			t.Fatal("the cache does not hold the quote")
		}
		var got sdk.Quote
		if err := json.Unmarshal(cached.Value, &got); err != nil {
			t.Fatal(err)
		}
		if got.Price.Or(0) != 100 || got.MarketCap.Or(0) != 1e12 || got.Change7d.Or(0) != 7 || got.Rank != 1 ||
			got.Supply.Circulating.Or(0) != 19e6 || got.ATH.Price.Or(0) != 180 || got.Change24h.Or(0) != 1 || got.High24h.IsKnown() {
			t.Errorf("the quote is %+v", got)
		}
		want := "figures are in USDT; market cap, rank, supply, change over 7d and all-time high are gecko's"
		if got.Note != want || got.Source != "binance" {
			t.Errorf("the note of %s is %q", got.Source, got.Note)
		}
		// What the other source said last is too old at some time.
		w.polled.fail.Store(&sdk.Error{Kind: sdk.Unavailable})
		time.Sleep(5*time.Minute + time.Second)
		h.stream.push(at("btc", 101, 0))
		synctest.Wait()
		ticks := h.all()
		if last := ticks[len(ticks)-1].Quotes[0].Quote; last.MarketCap.IsKnown() || last.Note != "" || last.Price.Or(0) != 101 {
			t.Errorf("after five minutes the quote is %+v", last)
		}
	})
}
