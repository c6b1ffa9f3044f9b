package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

var noon = time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)

func goodQuote() sdk.Quote {
	return sdk.Quote{ID: "bitcoin", Symbol: "btc", VsCurrency: "usd", Price: sdk.Known(100), AsOf: noon}
}

func TestWhichQuotesAreTaken(t *testing.T) {
	asked := newAskedFor([]sdk.Asset{{ID: "bitcoin", Symbol: "btc"}, {Symbol: "eth"}})
	for name, tc := range map[string]struct {
		change func(*sdk.Quote)
		want   fault
		taken  bool
	}{
		"good":             {func(*sdk.Quote) {}, faultNone, true},
		"by symbol":        {func(q *sdk.Quote) { q.ID = "" }, faultNone, true},
		"id given anew":    {func(q *sdk.Quote) { q.ID, q.Symbol = "ethereum", "eth" }, faultNone, true},
		"price unknown":    {func(q *sdk.Quote) { q.Price = sdk.Known(math.NaN()) }, faultNone, true},
		"a little ahead":   {func(q *sdk.Quote) { q.AsOf = noon.Add(aheadTolerance) }, faultNone, true},
		"a week old":       {func(q *sdk.Quote) { q.AsOf = noon.Add(-oldestQuote) }, faultNone, true},
		"other asset":      {func(q *sdk.Quote) { q.ID, q.Symbol = "dogecoin", "doge" }, faultNotAsked, false},
		"same symbol":      {func(q *sdk.Quote) { q.ID = "bitcoin-2" }, faultNotAsked, false},
		"other currency":   {func(q *sdk.Quote) { q.VsCurrency = "eur" }, faultNotAsked, false},
		"negative price":   {func(q *sdk.Quote) { q.Price = sdk.Known(-1) }, faultPrice, false},
		"price of nothing": {func(q *sdk.Quote) { q.Price = sdk.Known(0) }, faultWorthless, false},
		"future":           {func(q *sdk.Quote) { q.AsOf = noon.Add(aheadTolerance + 1) }, faultFuture, false},
		"ancient":          {func(q *sdk.Quote) { q.AsOf = noon.Add(-oldestQuote - 1) }, faultAncient, false},
		"no time":          {func(q *sdk.Quote) { q.AsOf = time.Time{} }, faultAncient, false},
		"broken symbol":    {func(q *sdk.Quote) { q.Symbol = "b\xfftc" }, faultText, false},
		"endless id":       {func(q *sdk.Quote) { q.ID = strings.Repeat("x", maxIDText+1) }, faultText, false},
		"endless name":     {func(q *sdk.Quote) { q.Name = strings.Repeat("x", maxNameText+1) }, faultText, true},
		"note of control":  {func(q *sdk.Quote) { q.Note = "\x1b[2J" }, faultText, true},
		"negative volume":  {func(q *sdk.Quote) { q.Volume24h = sdk.Known(-1) }, faultFigure, true},
		"negative cap":     {func(q *sdk.Quote) { q.MarketCap = sdk.Known(-1) }, faultFigure, true},
		"negative supply":  {func(q *sdk.Quote) { q.Supply.Max = sdk.Known(-1) }, faultFigure, true},
		"negative rank":    {func(q *sdk.Quote) { q.Rank = -1 }, faultFigure, true},
		"low above high":   {func(q *sdk.Quote) { q.Low24h, q.High24h = sdk.Known(2), sdk.Known(1) }, faultRange, true},
		"mark to come":     {func(q *sdk.Quote) { q.ATH.Date = noon.Add(time.Hour) }, faultFuture, true},
	} {
		t.Run(name, func(t *testing.T) {
			q := goodQuote()
			tc.change(&q)
			var v verdict
			got := v.quotes(asked, "usd", []sdk.Quote{q}, noon, false)
			if v.worst() != tc.want || (len(got) == 1) != tc.taken {
				t.Fatalf("taken are %v, the worst fault is %v", got, v.worst())
			}
			if v.worthless() != (!tc.taken && tc.want.lie()) {
				t.Errorf("refused is %v after %v", v.worthless(), v.worst())
			}
			if again := new(verdict); len(got) == 1 {
				if again.quotes(asked, "usd", got, noon, false); again.worst() != faultNone {
					t.Errorf("what was taken has the fault %v", again.worst())
				}
			}
		})
	}
	t.Run("more than asked", func(t *testing.T) {
		var v verdict
		flood := slices.Repeat([]sdk.Quote{goodQuote()}, 10_000)
		if got := v.quotes(asked, "usd", flood, noon, false); len(got) != 1 || v.faults[faultSurplus] != 9_999 {
			t.Errorf("%d are taken, %d dropped", len(got), v.faults[faultSurplus])
		}
	})
}

func TestWhichCandlesAreTaken(t *testing.T) {
	req := sdk.CandlesRequest{Asset: sdk.Asset{ID: "bitcoin", Symbol: "btc"}, VsCurrency: "usd", Interval: sdk.Interval1h, Limit: 3}
	at := func(hour int) sdk.Candle {
		return sdk.Candle{
			OpenTime: noon.Add(time.Duration(hour) * time.Hour), Open: sdk.Known(10), High: sdk.Known(12), Low: sdk.Known(9), Close: sdk.Known(11),
			Volume: sdk.Known(1), Closed: hour < 0,
		}
	}
	with := func(change func(*sdk.Candle)) sdk.Candle {
		c := at(-1)
		change(&c)
		return c
	}
	closedToday := at(0)
	closedToday.Closed = true
	for name, tc := range map[string]struct {
		change func(*sdk.Candles)
		items  []sdk.Candle
		want   fault
		taken  int
	}{
		"good":              {nil, []sdk.Candle{at(-2), at(-1), at(0)}, faultNone, 3},
		"closes alone":      {nil, []sdk.Candle{{OpenTime: noon, Close: sdk.Known(1)}}, faultNone, 1},
		"more than asked":   {nil, []sdk.Candle{at(-4), at(-3), at(-2), at(-1), at(0)}, faultSurplus, 3},
		"out of order":      {nil, []sdk.Candle{at(-3), at(-1), at(-2)}, faultOrder, 2},
		"twice the same":    {nil, []sdk.Candle{at(-2), at(-2), at(-1)}, faultOrder, 2},
		"high below low":    {nil, []sdk.Candle{at(-3), with(func(c *sdk.Candle) { c.High = sdk.Known(8) })}, faultRange, 1},
		"low above open":    {nil, []sdk.Candle{at(-3), with(func(c *sdk.Candle) { c.Low = sdk.Known(10.5) })}, faultRange, 1},
		"not aligned":       {nil, []sdk.Candle{at(-3), with(func(c *sdk.Candle) { c.OpenTime = c.OpenTime.Add(1) })}, faultAlignment, 1},
		"no close":          {nil, []sdk.Candle{at(-3), with(func(c *sdk.Candle) { c.Close = sdk.Number{} })}, faultPrice, 1},
		"negative open":     {nil, []sdk.Candle{at(-3), with(func(c *sdk.Candle) { c.Open = sdk.Known(-1) })}, faultPrice, 1},
		"negative volume":   {nil, []sdk.Candle{with(func(c *sdk.Candle) { c.Volume = sdk.Known(-1) })}, faultFigure, 1},
		"closes tomorrow":   {nil, []sdk.Candle{at(-3), closedToday}, faultFuture, 1},
		"opens tomorrow":    {nil, []sdk.Candle{at(-3), at(24)}, faultFuture, 1},
		"mostly nonsense":   {nil, []sdk.Candle{at(24), at(25), at(-1)}, faultFuture, 0},
		"another asset":     {func(c *sdk.Candles) { c.ID = "dogecoin" }, []sdk.Candle{at(-1)}, faultNotAsked, 0},
		"another interval":  {func(c *sdk.Candles) { c.Interval = sdk.Interval1d }, []sdk.Candle{at(-1)}, faultNotAsked, 0},
		"another currency":  {func(c *sdk.Candles) { c.VsCurrency = "eur" }, []sdk.Candle{at(-1)}, faultNotAsked, 0},
		"of another time":   {func(c *sdk.Candles) { c.AsOf = noon.Add(time.Hour) }, []sdk.Candle{at(-1)}, faultFuture, 0},
		"of illegible name": {func(c *sdk.Candles) { c.Symbol = "\x00" }, []sdk.Candle{at(-1)}, faultText, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := sdk.Candles{ID: "bitcoin", Symbol: "btc", Interval: sdk.Interval1h, VsCurrency: "usd", Items: tc.items}
			if tc.change != nil {
				tc.change(&c)
			}
			var v verdict
			if got := v.candles(req, c, noon); len(got.Items) != tc.taken || v.worst() != tc.want {
				t.Errorf("%d candles are taken, the worst fault is %v", len(got.Items), v.worst())
			}
		})
	}
	if f := candleFault(sdk.Candle{OpenTime: time.Date(2026, time.February, 23, 0, 0, 0, 0, time.UTC), Close: sdk.Known(1)}, sdk.Interval1w, noon); f != faultNone {
		t.Errorf("a week that begins on Monday has the fault %v", f)
	}
}

func TestWhatElseIsTaken(t *testing.T) {
	for name, tc := range map[string]struct {
		judge func(v *verdict) int // returns how many parts are taken
		want  fault
		taken int
	}{
		"market":            {func(v *verdict) int { v.global("usd", sdk.Global{MarketCap: sdk.Known(1)}, noon); return v.taken }, faultNone, 1},
		"market of euros":   {func(v *verdict) int { v.global("usd", sdk.Global{VsCurrency: "eur"}, noon); return v.taken }, faultNotAsked, 0},
		"market of nothing": {func(v *verdict) int { v.global("usd", sdk.Global{}, noon); return v.taken }, faultFigure, 0},
		"market to come":    {func(v *verdict) int { v.global("usd", sdk.Global{AsOf: noon.Add(time.Hour)}, noon); return v.taken }, faultFuture, 0},
		"more than all there is": {func(v *verdict) int {
			return len(v.global("usd", sdk.Global{Dominance: map[string]sdk.Number{"btc": sdk.Known(50), "eth": sdk.Known(101)}}, noon).Dominance)
		}, faultFigure, 1},
		"endless shares": {func(v *verdict) int {
			shares := map[string]sdk.Number{}
			for i := range 2 * maxShares {
				shares[fmt.Sprint(i)] = sdk.Known(0)
			}
			return len(v.global("usd", sdk.Global{Dominance: shares}, noon).Dominance)
		}, faultSurplus, maxShares},
		"mood":        {func(v *verdict) int { v.sentiment(sdk.Sentiment{Value: sdk.Known(100)}, noon); return v.taken }, faultNone, 1},
		"no mood":     {func(v *verdict) int { v.sentiment(sdk.Sentiment{}, noon); return v.taken }, faultFigure, 0},
		"mood beyond": {func(v *verdict) int { v.sentiment(sdk.Sentiment{Value: sdk.Known(100.5)}, noon); return v.taken }, faultFigure, 0},
		"mood to come": {func(v *verdict) int {
			v.sentiment(sdk.Sentiment{AsOf: noon.Add(time.Hour), Value: sdk.Known(1)}, noon)
			return v.taken
		}, faultFuture, 0},
		"assets twice": {func(v *verdict) int {
			return len(v.catalogue([]sdk.Asset{{ID: "a", Symbol: "a"}, {ID: "a", Symbol: "b"}}))
		}, faultSurplus, 1},
		"assets of no name": {func(v *verdict) int { return len(v.catalogue([]sdk.Asset{{ID: "a"}})) }, faultText, 0},
		"endless catalogue": {func(v *verdict) int { return len(v.catalogue(make([]sdk.Asset, maxCatalogue+1))) }, faultSize, 0},
		"look-ups":          {func(v *verdict) int { return len(v.lookups([]string{"a"}, make([]sdk.Lookup, 2), noon)) }, faultSurplus, 0},
		"another key": {func(v *verdict) int {
			found := v.lookups([]string{"a"}, []sdk.Lookup{{Found: true, Entry: sdk.Entry{Key: "b"}, Version: 7}}, noon)
			if found[0].Found || found[0].Version != 7 {
				return 1
			}
			return 0
		}, faultNotAsked, 0},
		"rows of another key": {func(v *verdict) int { return len(v.recalled([]string{"a"}, []sdk.Entry{{Key: "b"}, {Key: "a"}}, noon)) }, faultNotAsked, 1},
		"rows twice":          {func(v *verdict) int { return len(v.recalled([]string{"a"}, []sdk.Entry{{Key: "a"}, {Key: "a"}}, noon)) }, faultNotAsked, 1},
		"rows to come": {func(v *verdict) int {
			return len(v.recalled([]string{"a"}, []sdk.Entry{{Key: "a", StoredAt: noon.Add(time.Hour)}}, noon))
		}, faultFuture, 0},
		"stale before fresh": {func(v *verdict) int {
			return len(v.recalled([]string{"a"}, []sdk.Entry{{Key: "a", FreshUntil: noon, StaleUntil: noon.Add(-1)}}, noon))
		}, faultOrder, 0},
		"history of another": {func(v *verdict) int {
			return len(v.history(sdk.HistoryRequest{Symbol: "eth", VsCurrency: "usd"}, sdk.HistoryPage{Quotes: []sdk.Quote{goodQuote()}}, noon).Quotes)
		}, faultNotAsked, 0},
		"history of another time": {func(v *verdict) int {
			return len(v.history(sdk.HistoryRequest{Symbol: "btc", VsCurrency: "usd", From: noon.Add(1)}, sdk.HistoryPage{Quotes: []sdk.Quote{goodQuote()}}, noon).Quotes)
		}, faultNotAsked, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var v verdict
			if got := tc.judge(&v); got != tc.taken || v.worst() != tc.want {
				t.Errorf("%d are taken, the worst fault is %v", got, v.worst())
			}
		})
	}
}

func TestWhichDocumentsAreTaken(t *testing.T) {
	document := func(format, contentType, body string) sdk.Document {
		return sdk.Document{Format: format, ContentType: contentType, Body: []byte(body)}
	}
	for name, tc := range map[string]struct {
		document sdk.Document
		want     fault
	}{
		"json":             {document("json", "application/json", "{}"), faultNone},
		"with a charset":   {document("html", "text/html; charset=utf-8", "<p>"), faultNone},
		"of its own kind":  {document("csv", "text/csv", "a,b"), faultNone},
		"not declared":     {document("pdf", "application/pdf", ""), faultFormat},
		"json as html":     {document("json", "text/html", "<script>"), faultFormat},
		"csv as svg":       {document("csv", "image/svg+xml", "<svg>"), faultFormat},
		"header smuggling": {document("json", "application/json\r\nSet-Cookie: a=b", "{}"), faultText},
		"too large":        {document("json", "application/json", strings.Repeat(" ", maxDocument+1)), faultSize},
		"no text":          {document("md", "text/markdown", "\xff"), faultText},
	} {
		t.Run(name, func(t *testing.T) {
			var v verdict
			got := v.report([]string{"json", "html", "csv", "md"}, sdk.Report{Documents: []sdk.Document{tc.document}})
			if v.worst() != tc.want || (len(got.Documents) == 1) != (tc.want == faultNone) {
				t.Errorf("the fault is %v", v.worst())
			}
		})
	}
}

// liar is a source whose every quote is in the future.
type liar struct{ *fakeSource }

func (l liar) Quotes(ctx context.Context, req sdk.QuotesRequest) ([]sdk.Quote, error) {
	quotes, err := l.fakeSource.Quotes(ctx, req)
	for i := range quotes {
		quotes[i].AsOf = time.Now().Add(time.Hour)
	}
	return quotes, err
}

func TestASourceThatLiesCountsAsFailing(t *testing.T) {
	w := newWorld()
	r := w.requests(func(o *Options) {
		island := o.Island
		o.Island = func(name string) (process.Island, error) {
			if name == "gecko" {
				return liar{w.gecko}, nil
			}
			return island(name)
		}
	})
	defer r.Close()
	answer, err := r.Quote(t.Context(), "btc", "usd", "")
	if err != nil || answer.Noun().(sdk.Quote).Source != "binance" {
		t.Fatalf("the answer is %v, %v", answer.Noun(), err)
	}
	if _, err := r.Quote(t.Context(), "eth", "usd", "gecko"); !errors.Is(err, sdk.BadUpstream) {
		t.Errorf("asked alone it gives %v", err)
	}
	if s := r.Behaviour("gecko"); s.Dropped["future"] != 2 || s.Refused != 2 {
		t.Errorf("the gate has counted %+v", s)
	}
	for _, s := range r.Sources() {
		if s.Failing != (s.Name == "gecko") {
			t.Errorf("the source is seen as %+v", s)
		}
	}
}

// forgetful is a cache that answers with fewer results than it was asked for.
type forgetful struct{ process.Island }

func (forgetful) Lookup(context.Context, []string) ([]sdk.Lookup, error) { return []sdk.Lookup{}, nil }

func TestACacheThatAnswersSomethingElse(t *testing.T) {
	w := newWorld()
	r := w.requests(func(o *Options) {
		island := o.Island
		o.Island = func(name string) (process.Island, error) {
			if name == "cache" {
				return forgetful{w.cache}, nil
			}
			return island(name)
		}
	})
	defer r.Close()
	if _, err := r.Quote(t.Context(), "btc", "usd", ""); err != nil {
		t.Fatalf("nobody answers: %v", err)
	}
	if s := r.Behaviour("cache"); s.Refused == 0 {
		t.Errorf("the gate has counted %+v", s)
	}
}

func FuzzQuotesTaken(f *testing.F) {
	asked := newAskedFor([]sdk.Asset{{ID: "bitcoin", Symbol: "btc"}, {Symbol: "eth"}})
	for _, seed := range []string{`[{"id":"bitcoin","symbol":"btc","price":1,"as_of":"2026-03-02T12:00:00Z"}]`, `[{"price":-1}]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var quotes []sdk.Quote
		if json.Unmarshal(text, &quotes) != nil {
			return
		}
		var v verdict
		for _, q := range v.quotes(asked, "usd", quotes, noon, false) {
			if !legible(q.Symbol, maxSymbolText) || !legible(q.Note, maxNoteText) || q.Price.Or(1) <= 0 || q.Volume24h.Or(0) < 0 ||
				q.AsOf.After(noon.Add(aheadTolerance)) || (q.VsCurrency != "" && q.VsCurrency != "usd") {
				t.Errorf("taken is %+v", q)
			}
		}
		if v.taken > 2 {
			t.Errorf("%d quotes of two assets are taken", v.taken)
		}
	})
}

func FuzzCandlesTaken(f *testing.F) {
	f.Add([]byte(`{"candles":[{"open_time":"2026-03-02T11:00:00Z","close":1,"closed":true},{"open_time":"2026-03-02T12:00:00Z","close":1}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var series sdk.Candles
		if json.Unmarshal(text, &series) != nil {
			return
		}
		req := sdk.CandlesRequest{Asset: sdk.Asset{ID: "bitcoin", Symbol: "btc"}, VsCurrency: "usd", Interval: sdk.Interval1h, Limit: 10}
		var v verdict
		got := v.candles(req, series, noon)
		for i, c := range got.Items {
			if i > 0 && !c.OpenTime.After(got.Items[i-1].OpenTime) || c.Close.Or(0) <= 0 || c.OpenTime.After(noon.Add(aheadTolerance)) {
				t.Errorf("taken is %+v", got.Items)
			}
		}
		if len(got.Items) > 10 {
			t.Errorf("%d candles are taken", len(got.Items))
		}
	})
}
