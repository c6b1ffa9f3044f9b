package pipeline

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
)

func TestAFeedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := feeding(newFeedWorld())
		defer h.end()
		h.stream.push(at("eth", 10, 0), at("btc", 100, 0))
		synctest.Wait()
		time.Sleep(time.Second)
		h.stream.push(at("btc", 101, 0))
		synctest.Wait()
		ticks := h.all()
		if len(ticks) != 3 {
			t.Fatalf("%d ticks: %+v", len(ticks), ticks)
		}
		first, both, one := ticks[0], ticks[1], ticks[2]
		if !first.Whole || first.N != 1 || first.Epoch == "" || len(first.Quotes) != 0 {
			t.Errorf("begins with %+v", first)
		}
		if !slices.Equal(symbolsOf(both), []string{"btc", "eth"}) || both.QuotesSeq != 1 || both.Whole {
			t.Errorf("then %+v", both)
		}
		if !slices.Equal(symbolsOf(one), []string{"btc"}) || one.QuotesSeq != 2 || one.Quotes[0].Seq != 2 || one.N != 3 {
			t.Errorf("then %+v", one)
		}
		q := one.Quotes[0].Quote
		if q.ID != "bitcoin" || q.Source != "binance" || q.Price.Or(0) != 101 {
			t.Errorf("the quote is %+v", q)
		}
		s := h.feed.Stats()
		if s.Mode != FeedSolo || s.Reason != "" || s.N != 3 || s.Ticks != 3 || s.Quotes != 3 || s.SoloSpells != 0 {
			t.Errorf("counted %+v", s)
		}
		answer, err := h.r.Quote(t.Context(), "btc", "usd", "")
		if got := body(t, answer, err); answer.Tier != TierNear || !strings.Contains(got, `"price":101`) {
			t.Errorf("a request gets %s from %s", got, answer.Tier)
		}
		h.check(t)
	})
}

func TestTheCacheIsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := feeding(newFeedWorld())
		defer h.end()
		delivered := 0
		h.set("reporter", true)
		h.receiver.mu.Lock()
		h.hook = func(tick Tick) {
			for _, q := range tick.Quotes {
				delivered++
				cached, ok := h.cache.has(feedKey(q.Quote.Symbol))
				var got sdk.Quote
				if err := json.Unmarshal(cached.Value, &got); !ok || err != nil || got.AsOf.Before(q.Quote.AsOf) {
					t.Errorf("the cache holds %+v, %v", got, err)
				}
				e := h.r.near.get([]byte(feedKey(q.Quote.Symbol)))
				if e == nil || e.asOf.Before(q.Quote.AsOf) || !e.storedAt.Equal(tick.At) || !e.freshUntil.Equal(tick.At.Add(30*time.Second)) {
					t.Errorf("the near cache holds %+v", e)
				}
			}
		}
		h.receiver.mu.Unlock()
		for i := range 100 {
			h.stream.push(at("btc", 100+float64(i), 0), at("eth", 10, 0))
			if i%10 == 0 {
				time.Sleep(time.Second)
			}
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if delivered < 20 {
			t.Errorf("%d quotes were delivered", delivered)
		}
		h.check(t)
	})
}

func TestACacheThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := feeding(newFeedWorld())
		defer h.end()
		h.set("cache", false)
		h.stream.push(at("btc", 100, 0))
		synctest.Wait()
		if price, _ := h.price("btc"); price != 100 {
			t.Errorf("btc is %v", price)
		}
		if s := h.feed.Stats(); s.FillFailures != 1 || h.r.Stats().CacheAvailable {
			t.Errorf("counted %+v", s)
		}
		h.set("cache", true)
		h.stream.push(at("btc", 101, -time.Millisecond))
		synctest.Wait()
		if _, ok := h.cache.has("btc_current_price"); !ok {
			t.Error("the cache does not hold the quote after it is back")
		}
		if h.r.Stats().CacheAvailable {
			t.Error("one answer is enough to count as available again, whatever was a moment ago")
		}
		time.Sleep(steadyAfter)
		h.stream.push(at("btc", 102, 0))
		synctest.Wait()
		if !h.r.Stats().CacheAvailable {
			t.Error("the cache does not count as available after it is back")
		}
	})
}

// TestAnInvalidationBetween has the key invalidated while a tick is under way: its quote is there all the same.
func TestAnInvalidationBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFeedWorld()
		h := feeding(w)
		defer h.end()
		began, version := h.r.near.moment(), h.r.watched.version.Load()
		if _, err := h.r.Invalidate(t.Context(), []string{"btc_current_price"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // The cache's word of it has arrived.
		q := at("btc", 100, 0)
		h.feed.remember(t.Context(), []sdk.Quote{q}, time.Now(), began, version)
		if cached, _ := h.cache.has("btc_current_price"); !strings.Contains(string(cached.Value), `"price":100`) {
			t.Errorf("the cache holds %q", cached.Value)
		}
		if e := h.r.near.get([]byte("btc_current_price")); e == nil || !e.asOf.Equal(q.AsOf) {
			t.Errorf("the near cache holds %+v", e)
		}
		if s := h.feed.Stats(); s.FillRefusals != 1 || s.Fills != 2 {
			t.Errorf("counted %+v", s)
		}
	})
}

func TestASlowLoadDoesNotOverwriteATick(t *testing.T) {
	for name, fails := range map[string]bool{"it brings an older quote": false, "it fails": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newFeedWorld()
				w.polled.know(at("btc", 90, time.Minute))
				h := feeding(w, func(_ *Options, f *FeedOptions) {
					f.Sources = f.Sources[:1]
				})
				defer h.end()
				w.polled.delay = 2 * time.Second
				if fails {
					w.polled.fail.Store(&sdk.Error{Kind: sdk.Unavailable})
					w.stream.fail.Store(&sdk.Error{Kind: sdk.Unavailable})
				}
				type outcome struct {
					answer Answer
					err    error
				}
				asked := make(chan outcome)
				go func() {
					a, err := h.r.Quote(t.Context(), "btc", "usd", "")
					asked <- outcome{a, err}
				}()
				time.Sleep(time.Second)
				h.stream.push(at("btc", 100, 0))
				got := <-asked
				if text := body(t, got.answer, got.err); !strings.Contains(text, `"price":100`) {
					t.Errorf("the request gets %s", text)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				cached, _ := h.cache.has("btc_current_price")
				if text := string(cached.Value); !strings.Contains(text, `"price":100`) {
					t.Errorf("the cache holds %s", text)
				}
				if e := h.r.near.get([]byte("btc_current_price")); e == nil || e.err != nil || e.noun.(sdk.Quote).Price.Or(0) != 100 {
					t.Errorf("the near cache holds %+v", e)
				}
			})
		})
	}
}

// TestAWriteThatWasOvertaken lets a tick come between the load of a request and the writing of what it brought.
func TestAWriteThatWasOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFeedWorld()
		h := feeding(w, func(_ *Options, f *FeedOptions) { f.Sources = f.Sources[:1] })
		defer h.end()
		q := question{key: "btc_current_price"}
		c := newClimb(h.r, h.r.routes.Load().kinds.quote, []question{q}, []*flight{h.r.takeOff(q.key)})
		c.askCache(t.Context())
		old := at("btc", 90, time.Minute)
		now := time.Now()
		c.steps[0].best = h.r.routes.Load().kinds.quote.entry(q.key, old, now, now.Add(30*time.Second), now.Add(time.Hour))
		c.steps[0].tier, c.steps[0].writeCache, c.steps[0].writeStore = TierMiss, true, true
		h.stream.push(at("btc", 100, 0))
		synctest.Wait()
		c.remember(t.Context())
		cached, _ := h.cache.has(q.key)
		if text := string(cached.Value); !strings.Contains(text, `"price":100`) {
			t.Errorf("the cache holds %s", text)
		}
		if _, ok := h.store.entries[q.key]; ok {
			t.Error("the store remembers what was overtaken")
		}
		// Once the feed's own quote is no longer fresh, what a request loads is better than nothing.
		time.Sleep(time.Minute)
		now = time.Now()
		c.now = now
		c.steps[0].best = h.r.routes.Load().kinds.quote.entry(q.key, old, now, now.Add(30*time.Second), now.Add(time.Hour))
		c.remember(t.Context())
		if cached, _ := h.cache.has(q.key); !strings.Contains(string(cached.Value), `"price":90`) {
			t.Errorf("the cache holds %s", cached.Value)
		}
		c.land(c.steps[0], outcome{err: errors.New("not asked for")})
	})
}

func TestGlobalFigures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := feeding(newFeedWorld(), func(o *Options, _ *FeedOptions) { o.Global.Sources = []string{"gecko"} })
		defer h.end()
		time.Sleep(16 * time.Minute)
		synctest.Wait()
		var seqs []uint64
		var last time.Time
		for _, tick := range h.all() {
			if tick.Global == nil {
				continue
			}
			seqs = append(seqs, tick.GlobalSeq)
			if !tick.Global.AsOf.After(last) {
				t.Errorf("%v after %v", tick.Global.AsOf, last)
			}
			last = tick.Global.AsOf
		}
		if !slices.Equal(seqs, []uint64{1, 2, 3, 4}) || h.polled.count("global") != 4 {
			t.Errorf("global ticks %v of %d answers in 16 minutes", seqs, h.polled.count("global"))
		}
		h.check(t)
	})
}

func TestSymbolsOfAFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFeedWorld()
		w.polled.fail.Store(&sdk.Error{Kind: sdk.Unavailable})
		w.stream.fail.Store(&sdk.Error{Kind: sdk.Unavailable})
		h := feeding(w, func(_ *Options, f *FeedOptions) {
			f.Symbols = []string{"btc", "nothing", "universe", "ethereum", "eth", "btc"}
		})
		defer h.end()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		// Nobody knows the catalogue: each symbol stands for itself.
		h.stream.push(at("btc", 100, 0))
		synctest.Wait()
		if price, _ := h.price("btc"); price != 100 {
			t.Errorf("btc is %v without a catalogue", price)
		}
		w.polled.fail.Store(nil)
		w.stream.fail.Store(nil)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		set, _ := h.feed.assets.now()
		var asked []string
		for _, a := range set.asked {
			asked = append(asked, a.Symbol+"="+a.ID)
		}
		slices.Sort(asked)
		if !slices.Equal(asked, []string{"btc=bitcoin", "eth=ethereum"}) {
			t.Errorf("asks for %v", asked)
		}
		h.stream.set(func(s *feedSource) {
			if last := s.asked[len(s.asked)-1].Assets; len(last) != 2 || len(s.streams) != 1 {
				t.Errorf("the stream is of %+v, %d stand", last, len(s.streams))
			}
		})
		if s := h.feed.Stats(); s.Symbols != 2 || s.Sources[0].Breaks != 0 {
			t.Errorf("counted %+v", s)
		}
	})
}
