package pipeline

import (
	"mime"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/service-islands/islands/sdk"
)

// Fault is why something that an island answered is not taken. The list is closed and only grows.
type Fault string

// The faults there are.
const (
	FaultPrice     Fault = "price"      // zero or negative, or a high below its low
	FaultFigure    Fault = "figure"     // another figure that cannot be, such as a negative volume: it becomes unknown
	FaultMarketCap Fault = "market_cap" // zero or negative, of the whole market
	FaultFuture    Fault = "future"     // a stamp that lies ahead of this machine's clock
	FaultAncient   Fault = "ancient"    // a stamp older than anything that may still be served
	FaultNotAsked  Fault = "not_asked"  // a symbol, id, key, format or interval that nobody asked for
	FaultCurrency  Fault = "currency"   // another currency than the one asked for
	FaultTooMany   Fault = "too_many"   // more rows than were asked for or than there can be
	FaultTooLarge  Fault = "too_large"  // a text or document beyond its bound
	FaultText      Fault = "text"       // invalid UTF-8, or nothing where something must be
	FaultOrder     Fault = "order"      // out of order, or there already
	FaultUnaligned Fault = "unaligned"  // a candle that does not begin with an interval
	FaultMediaType Fault = "media_type" // a document that is not what its format says
)

// Bounds of what an island may answer.
const (
	// clockTolerance is how far a stamp may lie ahead of this machine's clock.
	clockTolerance = 2 * time.Minute
	// ancientAfter is the least age at which a quote is too old to be taken; a strategy that serves longer allows more.
	ancientAfter = 24 * time.Hour
	maxTextBytes = 256
	maxNoteBytes = 1024
	// maxCatalogue is ten times what the largest public catalogue holds.
	maxCatalogue  = 200_000
	maxDominance  = 1000
	maxDocuments  = 16
	maxBodiesSize = 4 << 20
)

// faultOfText checks texts that come from outside against one bound.
func faultOfText(bound int, texts ...string) Fault {
	for _, text := range texts {
		switch {
		case len(text) > bound:
			return FaultTooLarge
		case !utf8.ValidString(text):
			return FaultText
		}
	}
	return ""
}

// faultOfStamp checks a stamp; the zero one says nothing and is none. Oldest is the greatest age, 0 for any.
func faultOfStamp(at, now time.Time, oldest time.Duration) Fault {
	switch {
	case at.IsZero():
		return ""
	case at.After(now.Add(clockTolerance)):
		return FaultFuture
	case oldest > 0 && at.Before(now.Add(-oldest)):
		return FaultAncient
	}
	return ""
}

// askedFor is the set of the assets that an island was asked for.
type askedFor struct {
	ids        map[string]bool
	symbols    map[string]string // symbol → id, which may be empty
	vsCurrency string
	n          int
}

func newAskedFor(assets []sdk.Asset, vsCurrency string) askedFor {
	a := askedFor{
		ids: make(map[string]bool, len(assets)), symbols: make(map[string]string, len(assets)), vsCurrency: vsCurrency, n: len(assets),
	}
	for _, asset := range assets {
		if asset.ID != "" {
			a.ids[asset.ID] = true
		}
		a.symbols[asset.Symbol] = asset.ID
	}
	return a
}

// holds reports whether an asset was asked for: by its id or, where one side knows none, by its symbol.
func (a askedFor) holds(id, symbol string) bool {
	if id != "" && a.ids[id] {
		return true
	}
	asked, ok := a.symbols[symbol]
	return ok && (id == "" || asked == "")
}

// positive makes a figure unknown that must not be negative and is. It returns whether it was.
func positive(figures ...*sdk.Number) (cleared bool) {
	for _, n := range figures {
		if n.Or(0) < 0 {
			*n, cleared = sdk.Number{}, true
		}
	}
	return cleared
}

// admitQuote checks a quote and clears the figures of it that cannot be. A quote with a fault other than FaultFigure is
// not to be taken. A quote without a price has no fault: it is what a source says of an asset that does not trade.
func admitQuote(q *sdk.Quote, asked askedFor, now time.Time, oldest time.Duration) Fault {
	if fault := faultOfText(maxTextBytes, q.ID, q.Symbol, q.Name, q.VsCurrency); fault != "" {
		return fault
	}
	if fault := faultOfText(maxNoteBytes, q.Note); fault != "" {
		return fault
	}
	switch {
	case !asked.holds(q.ID, q.Symbol):
		return FaultNotAsked
	case q.VsCurrency != asked.vsCurrency:
		return FaultCurrency
	case q.Price.Or(1) <= 0:
		return FaultPrice
	}
	if fault := faultOfStamp(q.AsOf, now, oldest); fault != "" {
		return fault
	}
	cleared := positive(&q.High24h, &q.Low24h, &q.Volume24h, &q.MarketCap, &q.Supply.Circulating, &q.Supply.Total,
		&q.Supply.Max, &q.Supply.FullyDilutedValuation, &q.ATH.Price, &q.ATL.Price)
	if q.Rank < 0 {
		q.Rank, cleared = 0, true
	}
	if high, known := q.High24h.Float64(); known && q.Low24h.Or(high) > high {
		q.High24h, q.Low24h, cleared = sdk.Number{}, sdk.Number{}, true
	}
	if cleared {
		return FaultFigure
	}
	return ""
}

// admitCandles keeps the candles of a series that can be; the newest limit of them, 0 for any number. It returns one
// fault for each that was left out, and one for all when the series as a whole is not what was asked for.
func admitCandles(c *sdk.Candles, asked askedFor, interval sdk.Interval, limit int, now time.Time) (faults []Fault) {
	whole := faultOfText(maxTextBytes, c.ID, c.Symbol, c.VsCurrency)
	if whole == "" {
		whole = faultOfText(maxNoteBytes, c.Note)
	}
	if whole == "" {
		whole = faultOfStamp(c.AsOf, now, 0)
	}
	switch {
	case whole != "":
	case !asked.holds(c.ID, c.Symbol) || !c.Interval.Valid() || (interval != "" && c.Interval != interval):
		whole = FaultNotAsked
	case c.VsCurrency != asked.vsCurrency:
		whole = FaultCurrency
	}
	if whole != "" {
		c.Items = nil
		return []Fault{whole}
	}
	var last time.Time
	kept := make([]sdk.Candle, 0, len(c.Items))
	for _, item := range c.Items {
		fault := faultOfCandle(&item, c.Interval, now)
		if fault == "" && !last.IsZero() && !item.OpenTime.After(last) {
			fault = FaultOrder
		}
		if fault != "" {
			faults = append(faults, fault)
			continue
		}
		last = item.OpenTime
		kept = append(kept, item)
	}
	if limit > 0 && len(kept) > limit {
		kept = kept[len(kept)-limit:]
		faults = append(faults, FaultTooMany)
	}
	c.Items = kept
	return faults
}

// faultOfCandle checks one candle and clears a volume that cannot be.
func faultOfCandle(c *sdk.Candle, interval sdk.Interval, now time.Time) Fault {
	length := interval.Duration()
	latest := now.Add(clockTolerance)
	high, low := c.High.Or(1), c.Low.Or(0)
	positive(&c.Volume)
	switch {
	case c.Close.Or(0) <= 0 || c.Open.Or(1) <= 0 || high <= 0 || low < 0:
		return FaultPrice
	case c.High.IsKnown() && c.Low.IsKnown() && high < low:
		return FaultPrice
	case !c.OpenTime.Equal(c.OpenTime.Truncate(length)):
		return FaultUnaligned
	case c.OpenTime.After(latest), c.Closed && c.OpenTime.Add(length).After(latest):
		return FaultFuture
	}
	return ""
}

// admitGlobal checks the figures of the whole market; with a fault other than FaultFigure they are not to be taken.
func admitGlobal(g *sdk.Global, vsCurrency string, now time.Time, oldest time.Duration) Fault {
	if fault := faultOfText(maxTextBytes, g.VsCurrency); fault != "" {
		return fault
	}
	switch {
	case g.VsCurrency != vsCurrency:
		return FaultCurrency
	case g.MarketCap.Or(1) <= 0:
		return FaultMarketCap
	case len(g.Dominance) > maxDominance:
		return FaultTooMany
	}
	if fault := faultOfStamp(g.AsOf, now, oldest); fault != "" {
		return fault
	}
	cleared := positive(&g.Volume24h)
	for symbol, share := range g.Dominance {
		if faultOfText(maxTextBytes, symbol) != "" || share.Or(0) < 0 || share.Or(0) > 100 {
			delete(g.Dominance, symbol)
			cleared = true
		}
	}
	if g.ActiveAssets < 0 || g.Markets < 0 {
		g.ActiveAssets, g.Markets, cleared = max(0, g.ActiveAssets), max(0, g.Markets), true
	}
	if cleared {
		return FaultFigure
	}
	return ""
}

// admitSentiment checks how the market feels.
func admitSentiment(s sdk.Sentiment, now time.Time) Fault {
	if fault := faultOfText(maxTextBytes, s.Label); fault != "" {
		return fault
	}
	if v := s.Value.Or(0); v < 0 || v > 100 {
		return FaultFigure
	}
	return faultOfStamp(s.AsOf, now, 0)
}

// admitCatalogue keeps the assets that can be, and returns one fault for each that was left out.
func admitCatalogue(assets []sdk.Asset) (kept []sdk.Asset, faults []Fault) {
	if len(assets) > maxCatalogue {
		assets, faults = assets[:maxCatalogue], append(faults, FaultTooMany)
	}
	ids := make(map[string]bool, len(assets))
	kept = make([]sdk.Asset, 0, len(assets))
	for _, a := range assets {
		fault := faultOfText(maxTextBytes, a.ID, a.Symbol, a.Name)
		switch {
		case fault != "":
		case a.Symbol == "":
			fault = FaultText
		case a.ID != "" && ids[a.ID]:
			fault = FaultOrder
		}
		if fault != "" {
			faults = append(faults, fault)
			continue
		}
		positive(&a.MarketCap)
		a.Rank = max(0, a.Rank)
		if a.ID != "" {
			ids[a.ID] = true
		}
		kept = append(kept, a)
	}
	return kept, faults
}

// mediaTypes are the content types of the formats that everybody knows.
var mediaTypes = map[string]string{"json": "application/json", "md": "text/markdown", "html": "text/html", "csv": "text/csv"}

// faultOfReport checks a report's documents. Formats are those that the reporter declares; nil for any.
func faultOfReport(report sdk.Report, formats []string) Fault {
	if len(report.Documents) > maxDocuments {
		return FaultTooMany
	}
	size := 0
	seen := make(map[string]bool, len(report.Documents))
	for _, d := range report.Documents {
		if fault := faultOfText(maxTextBytes, d.Format, d.ContentType); fault != "" {
			return fault
		}
		if formats != nil && !slices.Contains(formats, d.Format) {
			return FaultNotAsked
		}
		if seen[d.Format] {
			return FaultOrder
		}
		seen[d.Format] = true
		media, _, err := mime.ParseMediaType(d.ContentType)
		if want := mediaTypes[d.Format]; err != nil || (want != "" && media != want) || strings.ContainsAny(d.ContentType, "\r\n") {
			return FaultMediaType
		}
		if size += len(d.Body); size > maxBodiesSize {
			return FaultTooLarge
		}
	}
	return ""
}
