package pipeline

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

func TestAdmitQuote(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	asked := newAskedFor([]sdk.Asset{{ID: "bitcoin", Symbol: "btc"}, {Symbol: "doge"}}, "usd")
	for name, test := range map[string]struct {
		change func(q *sdk.Quote)
		want   Fault
	}{
		"as asked for":       {func(*sdk.Quote) {}, ""},
		"by symbol alone":    {func(q *sdk.Quote) { q.ID = "" }, ""},
		"an id of its own":   {func(q *sdk.Quote) { q.ID, q.Symbol = "dogecoin", "doge" }, ""},
		"not traded":         {func(q *sdk.Quote) { q.Price = sdk.Number{} }, ""},
		"NaN":                {func(q *sdk.Quote) { q.Price = sdk.Known(math.NaN()) }, ""},
		"no stamp":           {func(q *sdk.Quote) { q.AsOf = time.Time{} }, ""},
		"zero":               {func(q *sdk.Quote) { q.Price = sdk.Known(0) }, FaultPrice},
		"negative":           {func(q *sdk.Quote) { q.Price = sdk.Known(-1) }, FaultPrice},
		"a little ahead":     {func(q *sdk.Quote) { q.AsOf = now.Add(clockTolerance) }, ""},
		"future":             {func(q *sdk.Quote) { q.AsOf = now.Add(clockTolerance + 1) }, FaultFuture},
		"ancient":            {func(q *sdk.Quote) { q.AsOf = now.Add(-25 * time.Hour) }, FaultAncient},
		"another symbol":     {func(q *sdk.Quote) { q.ID, q.Symbol = "", "eth" }, FaultNotAsked},
		"another id":         {func(q *sdk.Quote) { q.ID = "bitcoin-cash" }, FaultNotAsked},
		"another currency":   {func(q *sdk.Quote) { q.VsCurrency = "eur" }, FaultCurrency},
		"a huge name":        {func(q *sdk.Quote) { q.Name = strings.Repeat("x", 1<<20) }, FaultTooLarge},
		"a huge note":        {func(q *sdk.Quote) { q.Note = strings.Repeat("x", 1<<20) }, FaultTooLarge},
		"not UTF-8":          {func(q *sdk.Quote) { q.Name = "\xff" }, FaultText},
		"negative volume":    {func(q *sdk.Quote) { q.Volume24h = sdk.Known(-1) }, FaultFigure},
		"negative cap":       {func(q *sdk.Quote) { q.MarketCap = sdk.Known(-1) }, FaultFigure},
		"high below its low": {func(q *sdk.Quote) { q.High24h, q.Low24h = sdk.Known(1), sdk.Known(2) }, FaultFigure},
	} {
		t.Run(name, func(t *testing.T) {
			q := sdk.Quote{ID: "bitcoin", Symbol: "btc", VsCurrency: "usd", Price: sdk.Known(1), AsOf: now}
			test.change(&q)
			if got := admitQuote(&q, asked, now, ancientAfter); got != test.want {
				t.Errorf("the fault is %q, not %q", got, test.want)
			}
			if q.Volume24h.Or(0) < 0 || q.MarketCap.Or(0) < 0 || (test.want == FaultFigure && q.High24h.IsKnown()) {
				t.Errorf("kept is %+v", q)
			}
		})
	}
}

func TestAdmitCandles(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	candle := func(minutes int) sdk.Candle {
		return sdk.Candle{OpenTime: now.Add(time.Duration(minutes) * time.Minute), Close: sdk.Known(1), Closed: minutes < 0}
	}
	with := func(c sdk.Candle, change func(c *sdk.Candle)) sdk.Candle {
		change(&c)
		return c
	}
	for name, test := range map[string]struct {
		items  []sdk.Candle
		change func(c *sdk.Candles)
		kept   int
		want   []Fault
	}{
		"in order":        {items: []sdk.Candle{candle(-2), candle(-1), candle(0)}, kept: 3},
		"out of order":    {items: []sdk.Candle{candle(-1), candle(-2), candle(0)}, kept: 2, want: []Fault{FaultOrder}},
		"twice":           {items: []sdk.Candle{candle(-1), candle(-1)}, kept: 1, want: []Fault{FaultOrder}},
		"future":          {items: []sdk.Candle{candle(0), candle(3)}, kept: 1, want: []Fault{FaultFuture}},
		"closed too soon": {items: []sdk.Candle{with(candle(2), func(c *sdk.Candle) { c.Closed = true })}, want: []Fault{FaultFuture}},
		"not aligned":     {items: []sdk.Candle{with(candle(-1), func(c *sdk.Candle) { c.OpenTime = c.OpenTime.Add(1) })}, want: []Fault{FaultUnaligned}},
		"high below low": {
			items: []sdk.Candle{with(candle(-1), func(c *sdk.Candle) { c.High, c.Low = sdk.Known(1), sdk.Known(2) })}, want: []Fault{FaultPrice},
		},
		"no price":         {items: []sdk.Candle{with(candle(-1), func(c *sdk.Candle) { c.Close = sdk.Number{} })}, want: []Fault{FaultPrice}},
		"more than asked":  {items: []sdk.Candle{candle(-4), candle(-3), candle(-2), candle(-1)}, kept: 3, want: []Fault{FaultTooMany}},
		"another interval": {items: []sdk.Candle{candle(-1)}, change: func(c *sdk.Candles) { c.Interval = sdk.Interval1h }, want: []Fault{FaultNotAsked}},
		"another asset":    {items: []sdk.Candle{candle(-1)}, change: func(c *sdk.Candles) { c.Symbol = "eth" }, want: []Fault{FaultNotAsked}},
		"another currency": {items: []sdk.Candle{candle(-1)}, change: func(c *sdk.Candles) { c.VsCurrency = "eur" }, want: []Fault{FaultCurrency}},
	} {
		t.Run(name, func(t *testing.T) {
			series := sdk.Candles{Symbol: "btc", Interval: sdk.Interval1m, VsCurrency: "usd", Items: test.items}
			if test.change != nil {
				test.change(&series)
			}
			faults := admitCandles(&series, newAskedFor([]sdk.Asset{{Symbol: "btc"}}, "usd"), sdk.Interval1m, 3, now)
			if len(series.Items) != test.kept || len(faults) != len(test.want) || (len(faults) > 0 && faults[0] != test.want[0]) {
				t.Errorf("kept are %d with the faults %q, not %d with %q", len(series.Items), faults, test.kept, test.want)
			}
		})
	}
}

func TestFaultOfReport(t *testing.T) {
	doc := func(format, contentType string, size int) sdk.Document {
		return sdk.Document{Format: format, ContentType: contentType, Body: make([]byte, size)}
	}
	for name, test := range map[string]struct {
		docs []sdk.Document
		want Fault
	}{
		"as declared":         {[]sdk.Document{doc("json", "application/json", 1), doc("md", "text/markdown; charset=utf-8", 1)}, ""},
		"not declared":        {[]sdk.Document{doc("html", "text/html", 1)}, FaultNotAsked},
		"a page as JSON":      {[]sdk.Document{doc("json", "text/html", 1)}, FaultMediaType},
		"a split header":      {[]sdk.Document{doc("json", "application/json\r\nX: y", 1)}, FaultMediaType},
		"no content type":     {[]sdk.Document{doc("json", "", 1)}, FaultMediaType},
		"one format twice":    {[]sdk.Document{doc("json", "application/json", 1), doc("json", "application/json", 1)}, FaultOrder},
		"large":               {[]sdk.Document{doc("json", "application/json", maxBodiesSize)}, ""},
		"too large":           {[]sdk.Document{doc("json", "application/json", maxBodiesSize+1)}, FaultTooLarge},
		"too large as a sum":  {[]sdk.Document{doc("json", "application/json", maxBodiesSize), doc("md", "text/markdown", 1)}, FaultTooLarge},
		"too many":            {make([]sdk.Document, maxDocuments+1), FaultTooMany},
		"a huge content type": {[]sdk.Document{doc("json", strings.Repeat("x", 1000), 1)}, FaultTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			if got := faultOfReport(sdk.Report{Documents: test.docs}, []string{"json", "md"}); got != test.want {
				t.Errorf("the fault is %q, not %q", got, test.want)
			}
		})
	}
}

// liar answers quotes and cache entries as it is told to.
type liar struct {
	process.Island
	quotes  []sdk.Quote
	lookups []sdk.Lookup
	calls   int
}

func (l *liar) Quotes(context.Context, sdk.QuotesRequest) ([]sdk.Quote, error) {
	l.calls++
	return l.quotes, nil
}

func (l *liar) Lookup(context.Context, []string) ([]sdk.Lookup, error) { return l.lookups, nil }

func TestASourceOfNonsenseIsPassedOver(t *testing.T) {
	bad := &liar{quotes: []sdk.Quote{{ID: "bitcoin", Symbol: "btc", VsCurrency: "usd", Price: sdk.Known(-1), AsOf: time.Now()}}}
	good := newFakeSource("binance")
	r := New(Options{
		Island: func(name string) (process.Island, error) {
			if name == "liar" {
				return bad, nil
			}
			return good, nil
		},
		Quotes:    Line{Sources: []string{"liar", "binance"}, Strategy: Strategy{TTL: time.Minute}},
		Catalogue: Line{Sources: []string{"binance"}, Strategy: Strategy{TTL: time.Hour}},
		Encode:    Encoders{Quote: func(sdk.Quote, bool) Representation { return Representation{} }},
	})
	defer r.Close()
	answer, err := r.Quote(t.Context(), "btc", "usd", "")
	if err != nil {
		t.Fatal(err)
	}
	if quote := answer.Noun().(sdk.Quote); quote.Source != "binance" || quote.Price.Or(0) != 100 {
		t.Errorf("answered is %+v", quote)
	}
	faults := r.Faults()
	if len(faults) != 1 || faults[0].Island != "liar" || faults[0].Fault != FaultPrice || faults[0].Count != 1 {
		t.Errorf("counted are %+v", faults)
	}
	for _, s := range r.Sources() {
		if s.Name == "liar" && (!s.Failing || s.LastError != sdk.BadUpstream.String()) {
			t.Errorf("the liar does well: %+v", s)
		}
	}
}

func TestWhatAnIslandWasNotAskedFor(t *testing.T) {
	bad := &liar{quotes: []sdk.Quote{{Symbol: "btc", VsCurrency: "usd", Price: sdk.Known(1), AsOf: time.Now().Add(-48 * time.Hour)}}}
	b := newBoundary(Options{Island: func(string) (process.Island, error) { return bad, nil }}.withDefaults())
	island, err := b.island("liar")
	if err != nil {
		t.Fatal(err)
	}
	req := sdk.QuotesRequest{Assets: []sdk.Asset{{Symbol: "btc"}}, VsCurrency: "usd"}
	if quotes, err := island.Quotes(t.Context(), req); err != nil || len(quotes) != 0 {
		t.Errorf("an asset that is no longer traded makes its source fail: %v, %v", quotes, err)
	}
	fresh := sdk.Quote{Symbol: "btc", VsCurrency: "usd", Price: sdk.Known(1), AsOf: time.Now()}
	bad.quotes = make([]sdk.Quote, 10_000)
	for i := range bad.quotes {
		bad.quotes[i] = fresh
	}
	if quotes, err := island.Quotes(t.Context(), req); err != nil || len(quotes) != 1 {
		t.Errorf("%d quotes for one asset, %v", len(quotes), err)
	}
	bad.lookups = []sdk.Lookup{{Found: true, Entry: sdk.Entry{Key: "a"}}, {Found: true, Entry: sdk.Entry{Key: "other"}}}
	found, err := island.Lookup(t.Context(), []string{"a", "b"})
	if err != nil || !found[0].Found || found[1].Found {
		t.Errorf("found are %+v, %v", found, err)
	}
	if _, err := island.Lookup(t.Context(), []string{"a"}); !errors.Is(err, sdk.Internal) {
		t.Errorf("two entries for one key are taken: %v", err)
	}
}

func FuzzAdmitQuote(f *testing.F) {
	f.Add("bitcoin", "btc", "usd", 1.0, 2.0, -3.0, int64(0))
	f.Add("", "\xff", "", math.Inf(1), math.NaN(), 0.0, int64(1)<<62)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	asked := newAskedFor([]sdk.Asset{{ID: "bitcoin", Symbol: "btc"}}, "usd")
	f.Fuzz(func(t *testing.T, id, symbol, vsCurrency string, price, high, volume float64, at int64) {
		q := sdk.Quote{
			ID: id, Symbol: symbol, VsCurrency: vsCurrency, Price: sdk.Known(price), High24h: sdk.Known(high),
			Low24h: sdk.Known(volume), Volume24h: sdk.Known(volume), AsOf: time.Unix(at%(1<<40), 0),
		}
		fault := admitQuote(&q, asked, now, ancientAfter)
		if fault != "" && fault != FaultFigure {
			return
		}
		low := q.Low24h.Or(0)
		if q.Price.Or(1) <= 0 || q.Volume24h.Or(0) < 0 || low < 0 || q.High24h.Or(low) < low || q.VsCurrency != "usd" ||
			q.AsOf.After(now.Add(clockTolerance)) || (q.ID != "bitcoin" && (q.Symbol != "btc" || q.ID != "")) {
			t.Errorf("taken is %+v", q)
		}
	})
}
