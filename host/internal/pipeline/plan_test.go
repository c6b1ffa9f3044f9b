package pipeline

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// plans are the options of a feed that tests begin with, and change.
func plans(change ...func(o *FeedOptions)) FeedOptions {
	opts := FeedOptions{
		Symbols: []string{"btc", "eth"}, Sources: []string{"binance", "gecko"}, Streams: func(name string) bool { return name == "binance" },
	}
	for _, f := range change {
		f(&opts)
	}
	return opts
}

func carrying(names ...string) func(o *FeedOptions) {
	return func(o *FeedOptions) { o.Symbols = names }
}

func heardFrom(names ...string) func(o *FeedOptions) {
	return func(o *FeedOptions) { o.Sources = names }
}

func TestSymbolsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := feeding(newFeedWorld())
		defer h.end()
		step := func(price float64) {
			h.stream.push(at("btc", price, 0), at("eth", price/10, 0), at("coin7", price/100, 0))
			synctest.Wait()
			time.Sleep(time.Second)
		}
		step(100)
		epoch, n, _ := h.state()

		h.polled.know(at("coin7", 7, 0)) // What a poll at once brings.
		h.feed.Reconfigure(plans(carrying("btc", "eth", "coin7")))
		synctest.Wait()
		if price, source := h.price("coin7"); price != 7 || source != "gecko" {
			t.Errorf("the new symbol is worth %v, says %q", price, source)
		}
		time.Sleep(time.Second)
		step(200)
		if price, source := h.price("coin7"); price != 2 || source != "binance" {
			t.Errorf("the new symbol is worth %v, says %q", price, source)
		}
		if now, _, _ := h.state(); now != epoch {
			t.Error("a new epoch began")
		}

		_, before, _ := h.state()
		h.feed.Reconfigure(plans())
		synctest.Wait()
		time.Sleep(time.Second)
		_, after, asOf := h.state()
		if _, there := asOf["coin7"]; there || len(asOf) != 2 {
			t.Errorf("what is left: %v", asOf)
		}
		if after != before+1 || !h.all()[len(h.all())-1].Whole {
			t.Errorf("tick %d follows %d", after, before)
		}
		step(300)
		if _, there := func() (any, bool) { _, _, asOf := h.state(); v, ok := asOf["coin7"]; return v, ok }(); there {
			t.Error("the symbol came back")
		}
		if now, last, _ := h.state(); now != epoch || last <= n {
			t.Errorf("tick %d of %s", last, now)
		}
		if price, _ := h.price("btc"); price != 300 {
			t.Errorf("btc is worth %v", price)
		}
		if got := h.feed.Stats().Symbols; got != 2 {
			t.Errorf("%d symbols", got)
		}
		h.check(t)
	})
}

func TestOtherSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := feeding(newFeedWorld())
		defer h.end()
		says := func(price float64, source string) {
			t.Helper()
			synctest.Wait()
			if got, who := h.price("btc"); got != price || who != source {
				t.Errorf("btc is worth %v, says %q; want %v and %q", got, who, price, source)
			}
		}
		h.stream.push(at("btc", 100, 0))
		says(100, "binance")
		epoch, _, _ := h.state()
		time.Sleep(time.Second)

		h.polled.know(rich("btc", 90, 0))
		h.feed.Reconfigure(plans(heardFrom("gecko", "binance")))
		says(90, "gecko")
		time.Sleep(time.Second)
		h.stream.push(at("btc", 110, 0)) // It is second in line now.
		says(90, "gecko")

		h.feed.Reconfigure(plans(heardFrom("binance")))
		synctest.Wait()
		if standing, _ := h.stream.standing(); standing != 1 {
			t.Errorf("%d streams stand", standing)
		}
		time.Sleep(time.Second)
		h.stream.push(at("btc", 120, 0))
		says(120, "binance")
		polls := h.polled.count("quotes")
		time.Sleep(10 * time.Minute)
		if got := h.polled.count("quotes"); got != polls {
			t.Errorf("a source that is gone was polled %d times", got-polls)
		}
		stats := h.feed.Stats()
		if len(stats.Sources) != 1 || stats.Sources[0].Batches < 3 {
			t.Errorf("the sources are %+v", stats.Sources)
		}
		if now, _, _ := h.state(); now != epoch {
			t.Error("a new epoch began")
		}

		_, opened := h.stream.standing()
		h.feed.Reconfigure(plans(heardFrom("binance")))
		synctest.Wait()
		if _, again := h.stream.standing(); again != opened {
			t.Error("a stream was opened anew although nothing changed")
		}
		h.check(t)
	})
}

func TestPollAndSilenceChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := feeding(newFeedWorld())
		defer h.end()
		count := func(within time.Duration) int64 {
			before := h.polled.count("quotes")
			time.Sleep(within)
			synctest.Wait()
			return h.polled.count("quotes") - before
		}
		if got := count(5 * time.Minute); got < 9 || got > 11 {
			t.Errorf("%d polls in 5 minutes, every 30 s", got)
		}
		h.feed.Reconfigure(plans(func(o *FeedOptions) { o.Poll, o.Silence = 5*time.Second, 2*time.Second }))
		synctest.Wait()
		if got := count(5 * time.Minute); got < 58 || got > 62 {
			t.Errorf("%d polls in 5 minutes, every 5 s", got)
		}
		h.check(t)
	})
}

// TestReconfigureACluster changes what hosts feed that share a log: the epoch goes on, no host loses a tick or gets one twice.
func TestReconfigureACluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		hosts := []*fed{c.start(), c.start()}
		c.run(2 * time.Second)
		epoch, _, _ := hosts[0].state()
		plan := func(change ...func(o *FeedOptions)) {
			for _, h := range hosts {
				h.feed.Reconfigure(plans(append(change, func(o *FeedOptions) { o.Coordinator = "coordinator" })...))
				c.run(time.Second)
			}
			c.run(time.Second)
		}
		c.polled.know(at("coin7", 7, 0))
		for range 5 {
			plan(carrying("btc", "eth", "coin7"))
			c.polled.know(at("coin7", 7, 0))
			c.run(time.Minute / 10)
			for i, h := range hosts {
				if _, _, asOf := h.state(); len(asOf) != 3 {
					t.Errorf("host %d knows %v", i, asOf)
				}
			}
			plan(carrying("btc", "eth"))
			plan(heardFrom("gecko", "binance"))
			plan(heardFrom("binance", "gecko"))
		}
		c.run(10 * time.Second)
		for i, h := range hosts {
			now, _, asOf := h.state()
			if now != epoch {
				t.Errorf("host %d is in another epoch", i)
			}
			var left []string
			for symbol := range asOf {
				left = append(left, symbol)
			}
			slices.Sort(left)
			if !slices.Equal(left, []string{"btc", "eth"}) {
				t.Errorf("host %d knows %v", i, left)
			}
		}
		c.agree(t)
		for _, h := range hosts {
			h.end()
		}
	})
}

// TestADeskThatIsOpenedAnewKnowsWhatWasSaid changes a pause while one source is away: what it said before still completes
// what the other says.
func TestADeskThatIsOpenedAnewKnowsWhatWasSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFeedWorld()
		w.polled.know(rich("btc", 100, time.Second))
		h := feeding(w)
		defer h.end()
		h.stream.push(at("btc", 101, 0))
		synctest.Wait()
		time.Sleep(time.Second)
		h.set("gecko", false)
		h.feed.Reconfigure(plans(func(o *FeedOptions) { o.Poll = 20 * time.Second }))
		synctest.Wait()
		time.Sleep(time.Second)
		h.stream.push(at("btc", 102, 0))
		synctest.Wait()
		all := h.all()
		last := all[len(all)-1].Quotes[0].Quote
		if last.Price.Or(0) != 102 || last.MarketCap.Or(0) != 1e12 {
			t.Errorf("the quote is %+v", last)
		}
		h.check(t)
	})
}
