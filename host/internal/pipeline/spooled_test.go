package pipeline

import (
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
)

// fakeSpool is a spool in memory, which a test can hand from one pipeline to the next.
type fakeSpool struct {
	mu        sync.Mutex
	contents  [][]byte
	confirmed uint64
	position  uint64
	full      error
}

func (s *fakeSpool) Append(contents ...[]byte) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full != nil {
		return 0, s.full
	}
	s.contents = append(s.contents, contents...)
	return uint64(len(s.contents)), nil
}

func (s *fakeSpool) Read(most int) (contents [][]byte, last uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for taken := 0; taken < most && s.position < uint64(len(s.contents)); s.position++ {
		contents = append(contents, s.contents[s.position])
		taken += len(s.contents[s.position])
	}
	return contents, s.position, nil
}

func (s *fakeSpool) Confirm(last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.confirmed = max(s.confirmed, last)
}

func (s *fakeSpool) Rewind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.position = s.confirmed
}

func (s *fakeSpool) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.contents) - int(s.confirmed)
}

func (s *fakeSpool) set(full error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
}

func spooling(s *fakeSpool) func(*Options, *FeedOptions) {
	return func(o *Options, _ *FeedOptions) { o.Spool = s }
}

// What was delivered while the store was away is stored by the next process, all of it.
func TestTheSpoolOutlivesThePipeline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		spool := &fakeSpool{}
		w := newFeedWorld()
		h := feeding(w, spooling(spool))
		h.set("store", false)
		inSpool := 0
		h.receiver.hook = func(tick Tick) {
			// It is in the spool before anybody has it.
			if len(tick.Quotes) > 0 && spool.waiting() <= inSpool {
				t.Error("a tick was delivered before the spool had it")
			}
			inSpool = spool.waiting()
		}
		for range 50 {
			h.stream.push(at("btc", 100, 0), at("eth", 10, 0))
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if s := h.feed.Stats().Store; s.Waiting < 90 || s.Dropped != 0 {
			t.Errorf("while the store is away: %+v", s)
		}
		h.end()
		want := quotesIn(h.all())
		if s := h.feed.Stats().Store; s.Dropped != 0 {
			t.Errorf("on the way down: %+v", s)
		}

		spool.Rewind() // As a spool that is opened anew.
		next := newFeedWorld()
		again := feeding(next, spooling(spool))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		got, _ := again.store.kept()
		for at, price := range want {
			if got[at] != price {
				t.Errorf("%v was delivered and is not stored", at)
			}
		}
		if spool.waiting() != 0 {
			t.Errorf("%d contents wait still", spool.waiting())
		}
		again.end()
	})
}

func TestASpoolThatIsFull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		spool, log := &fakeSpool{}, &strings.Builder{}
		h := feeding(newFeedWorld(), func(o *Options, f *FeedOptions) {
			spooling(spool)(o, f)
			o.Logger = hclog.New(&hclog.LoggerOptions{Output: log})
		})
		h.set("store", false)
		push := func(seconds int) {
			for range seconds {
				h.stream.push(at("btc", 100, 0))
				time.Sleep(time.Second)
			}
		}
		push(5)
		spool.set(errors.New("no space left on device"))
		push(10)
		spool.set(nil)
		push(10)
		h.set("store", true)
		push(10)
		synctest.Wait()
		h.end()
		want := quotesIn(h.all())
		if got, _ := h.store.kept(); !maps.Equal(got, want) {
			t.Errorf("%d quotes are stored, %d were delivered", len(got), len(want))
		}
		for line, n := range map[string]int{
			"[ERROR] Spool cannot be written": 1, "[INFO]  Spool can be written again": 1,
			"[ERROR] Database unavailable, cache-only mode enabled": 1, "[INFO]  Database available again, normal mode resumed": 1,
		} {
			if got := strings.Count(log.String(), line); got != n {
				t.Errorf("%d lines %q in:\n%s", got, line, log)
			}
		}
	})
}

func TestASpoolOfAnotherVersion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		spool := &fakeSpool{contents: [][]byte{[]byte(`{"v":2,"quotes":[{}]}`), []byte("no JSON"), []byte(`{"v":1,"quotes":[]}`)}}
		h := feeding(newFeedWorld(), spooling(spool))
		h.stream.push(at("btc", 100, 0))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got, _ := h.store.kept(); len(got) != 1 || spool.waiting() != 0 || h.feed.Stats().Store.Dropped != 2 {
			t.Errorf("%v are stored, %d wait, %+v", got, spool.waiting(), h.feed.Stats().Store)
		}
		h.end()
	})
}

// What a request loads while the store is away waits with what the feed delivers.
func TestWhatRequestsLoadWaitsToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		spool := &fakeSpool{}
		r, end := running(w, func(o *Options) { o.Spool = spool })
		defer end()
		w.set("store", false)
		if _, err := r.Quote(t.Context(), "btc", "usd", ""); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Candles(t.Context(), "btc", "usd", sdk.Interval1d, 30); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if spool.waiting() == 0 {
			t.Fatal("nothing waits")
		}
		w.set("store", true)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		quotes, candles := w.store.kept()
		if len(quotes) != 1 || len(candles) != 1 || spool.waiting() != 0 {
			t.Errorf("%d quotes and %d series are stored, %d wait", len(quotes), len(candles), spool.waiting())
		}
	})
}

// Nothing of a quote or a series is lost on the way through the spool.
func TestTheFormOfTheSpoolIsWhole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		spool := &fakeSpool{}
		r, end := running(w, func(o *Options) { o.Spool = spool })
		defer end()
		w.set("store", false)
		minute := time.Now().Truncate(time.Minute).UTC()
		quote := rich("btc", 100, 0)
		quote.ID, quote.Name, quote.Source, quote.Note = "bitcoin", "Bitcoin", "gecko", "figures are in USDT"
		series := sdk.Candles{
			ID: "bitcoin", Symbol: "btc", VsCurrency: "usd", Source: "binance", Interval: sdk.Interval1m,
			Items: []sdk.Candle{{OpenTime: minute, Open: sdk.Known(1), High: sdk.Known(3), Low: sdk.Known(0.5), Close: sdk.Known(2), Volume: sdk.Known(7), Closed: true}},
		}
		r.ledger.add([]sdk.Quote{quote})
		r.ledger.addCandles([]sdk.Candles{series})
		w.set("store", true)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		w.store.mu.Lock()
		defer w.store.mu.Unlock()
		same := cmp.Options{cmpopts.EquateEmpty(), cmp.Comparer(func(a, b sdk.Number) bool { return a == b })}
		if diff := cmp.Diff([]sdk.Quote{quote}, w.store.quotes, same); diff != "" {
			t.Errorf("quotes (-given +stored):\n%s", diff)
		}
		if diff := cmp.Diff([]sdk.Candles{series}, w.store.candles, same); diff != "" {
			t.Errorf("candles (-given +stored):\n%s", diff)
		}
	})
}

func TestAModeThatFlapsIsToldOnce(t *testing.T) {
	t.Parallel()
	log := &strings.Builder{}
	now := time.Unix(1000, 0)
	m := newMode(Options{Logger: hclog.New(&hclog.LoggerOptions{Output: log}), Now: func() time.Time { return now }}, "gone", "back")
	for range 20 { // Half a second each.
		m.set(false, sdk.Unavailable)
		now = now.Add(500 * time.Millisecond)
		m.set(true, nil)
		if !m.works() || m.available() {
			t.Fatalf("works %v, available %v", m.works(), m.available())
		}
	}
	now = now.Add(steadyAfter)
	m.set(true, nil)
	if !m.available() || strings.Count(log.String(), "gone") != 1 || strings.Count(log.String(), "back") != 1 || m.changes.Load() != 2 {
		t.Errorf("available %v after %d changes:\n%s", m.available(), m.changes.Load(), log)
	}
}
