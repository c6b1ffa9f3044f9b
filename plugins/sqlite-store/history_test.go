package main

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
)

func quote(symbol string, asOf time.Time, price float64) sdk.Quote {
	return sdk.Quote{ID: "the-" + symbol, Symbol: symbol, VsCurrency: "usd", Source: "one", AsOf: asOf, Price: sdk.Known(price)}
}

func save(t *testing.T, s *store, quotes ...sdk.Quote) {
	t.Helper()
	if err := s.SaveQuotes(t.Context(), quotes); err != nil {
		t.Fatal(err)
	}
}

// history walks all pages.
func history(t *testing.T, s *store, req sdk.HistoryRequest) []sdk.Quote {
	t.Helper()
	var all []sdk.Quote
	for {
		page, err := s.History(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Quotes) > req.Limit {
			t.Fatalf("%d quotes in a page of %d", len(page.Quotes), req.Limit)
		}
		all = append(all, page.Quotes...)
		if page.Next == "" {
			return all
		}
		req.Cursor = page.Next
	}
}

func everything(symbol string) sdk.HistoryRequest {
	return sdk.HistoryRequest{Symbol: symbol, VsCurrency: "usd", Limit: 1000}
}

func TestAQuoteComesBackExactly(t *testing.T) {
	s := opened(t)
	full := sdk.Quote{
		ID: "bitcoin", Symbol: "btc", Name: "Bitcoin \u2028 <₿>", VsCurrency: "usd", Source: "one", AsOf: noon, Rank: 1,
		Price: sdk.Known(0.1 + 0.2), Change1h: sdk.Known(math.Copysign(0, -1)), Change24h: sdk.Known(math.SmallestNonzeroFloat64),
		Change7d: sdk.Known(math.MaxFloat64), Change30d: sdk.Known(1e-7), High24h: sdk.Known(0),
		Supply: sdk.Supply{Circulating: sdk.Known(19.9e6), Max: sdk.Known(21e6)},
		ATH:    sdk.Mark{Price: sdk.Known(126080.12345678901), Date: noon.Add(-time.Hour), Change: sdk.Known(-1.5)},
		Note:   "in USDT",
	}
	bare := sdk.Quote{Symbol: "btc", VsCurrency: "usd", Source: "one", AsOf: noon.Add(time.Nanosecond)}
	elsewhere := sdk.Quote{Symbol: "btc", VsCurrency: "usd", Source: "one", AsOf: noon.Add(time.Hour).In(time.FixedZone("", 7200))}
	save(t, s, elsewhere, bare, full)
	elsewhere.AsOf = elsewhere.AsOf.UTC()
	same(t, history(t, s, everything("btc")), []sdk.Quote{full, bare, elsewhere})
}

func TestSavingQuotesTwiceIsSavingThemOnce(t *testing.T) {
	s := opened(t)
	batch := []sdk.Quote{quote("btc", noon, 1), quote("btc", noon.Add(time.Second), 2), quote("eth", noon, 3)}
	save(t, s, batch...)
	save(t, s, batch...)
	save(t, s, append(batch, batch...)...)
	same(t, history(t, s, everything("btc")), batch[:2])
	if rows := value(t, s, "db_rows_written_total", nil); rows != 3 {
		t.Errorf("%v rows written, want 3", rows)
	}
}

func TestWhatAQuoteIsKnownBy(t *testing.T) {
	base := quote("btc", noon, 1)
	for _, test := range []struct {
		name   string
		change func(*sdk.Quote)
		want   int
	}{
		{"nothing else", func(*sdk.Quote) {}, 1},
		{"a figure alone", func(q *sdk.Quote) { q.Price = sdk.Known(2) }, 1},
		{"another id", func(q *sdk.Quote) { q.ID = "other" }, 2},
		{"no id", func(q *sdk.Quote) { q.ID = "" }, 2},
		{"another source", func(q *sdk.Quote) { q.Source = "two" }, 2},
		{"a nanosecond", func(q *sdk.Quote) { q.AsOf = q.AsOf.Add(1) }, 2},
		{"another currency", func(q *sdk.Quote) { q.VsCurrency = "eur" }, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := opened(t)
			other := base
			test.change(&other)
			save(t, s, base)
			save(t, s, other)
			got := history(t, s, everything("btc"))
			if len(got) != test.want {
				t.Errorf("%d quotes in the history, want %d", len(got), test.want)
			}
			if other.VsCurrency == "usd" {
				same(t, got[len(got)-1:], []sdk.Quote{other})
			}
		})
	}
}

func TestHistoryKeepsOrderOverPagesOfEqualTimes(t *testing.T) {
	s := opened(t)
	var quotes []sdk.Quote
	for i := range 2500 {
		q := quote("btc", noon.Add(time.Duration(i/600)*time.Second), float64(i))
		q.Source = fmt.Sprintf("source-%04d", (i*7919)%2500)
		quotes = append(quotes, q)
	}
	save(t, s, quotes...)
	save(t, s, quote("eth", noon, 1))
	for _, limit := range []int{1000, 600, 199} {
		t.Run(fmt.Sprint("limit ", limit), func(t *testing.T) {
			req := everything("btc")
			req.Limit = limit
			got := history(t, s, req)
			if len(got) != len(quotes) {
				t.Fatalf("%d quotes, want %d", len(got), len(quotes))
			}
			seen := map[string]bool{}
			for i, q := range got {
				if i > 0 && q.AsOf.Before(got[i-1].AsOf) {
					t.Fatalf("quote %d is older than the one before", i)
				}
				seen[q.Source] = true
			}
			if len(seen) != len(quotes) {
				t.Errorf("%d different quotes, want %d", len(seen), len(quotes))
			}
		})
	}
}

func TestHistoryRanges(t *testing.T) {
	s := opened(t)
	var quotes []sdk.Quote
	for i := range 5 {
		quotes = append(quotes, quote("btc", noon.Add(time.Duration(i)*time.Minute), float64(i)))
	}
	save(t, s, quotes...)
	at := func(i int) time.Time { return noon.Add(time.Duration(i) * time.Minute) }
	for _, test := range []struct {
		name     string
		from, to time.Time
		want     []sdk.Quote
	}{
		{"all", time.Time{}, time.Time{}, quotes},
		{"from is inside", at(1), time.Time{}, quotes[1:]},
		{"to is outside", time.Time{}, at(3), quotes[:3]},
		{"both", at(1), at(3), quotes[1:3]},
		{"to the nanosecond", at(1).Add(1), at(3).Add(1), quotes[2:4]},
		{"empty", at(2), at(2), nil},
		{"backwards", at(3), at(1), nil},
		{"far away", time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), quotes},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, limit := range []int{1, 2, 1000} {
				same(t, history(t, s, sdk.HistoryRequest{Symbol: "btc", VsCurrency: "usd", From: test.from, To: test.to, Limit: limit}), test.want)
			}
		})
	}
}

func TestAPageThatIsJustFullIsTheLast(t *testing.T) {
	s := opened(t)
	save(t, s, quote("btc", noon, 1), quote("btc", noon.Add(1), 2))
	page, err := s.History(t.Context(), sdk.HistoryRequest{Symbol: "btc", VsCurrency: "usd", Limit: 2})
	if err != nil || len(page.Quotes) != 2 || page.Next != "" {
		t.Errorf("got %d quotes, next %q, %v; want 2 and no next", len(page.Quotes), page.Next, err)
	}
}

func FuzzParseCursor(f *testing.F) {
	f.Add("", "btc", "usd")
	f.Add(place{asOf: noon.UnixNano(), id: 7}.cursor("btc", "usd"), "btc", "usd")
	f.Fuzz(func(t *testing.T, cursor, symbol, vsCurrency string) {
		p, err := parseCursor(cursor, symbol, vsCurrency)
		if err == nil && p.cursor(symbol, vsCurrency) != cursor {
			t.Errorf("%q is read as %v, which is written %q", cursor, p, p.cursor(symbol, vsCurrency))
		}
	})
}
