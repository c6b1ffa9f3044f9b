package pipeline

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/service-islands/islands/sdk"
)

// fault is why something that an island answered is not taken.
type fault uint8

// The faults there are.
const (
	faultNone      fault = iota
	faultNotAsked        // an asset, a key, a currency or an interval nobody asked for
	faultSurplus         // more than was asked for, or the same twice
	faultPrice           // a price that is negative, or none where there must be one
	faultWorthless       // a price of zero: what is no longer traded
	faultFigure          // a figure that cannot be: a negative volume, a share above all there is
	faultFuture          // a time that has not come yet
	faultAncient         // too long ago to be told as news
	faultOrder           // not in the order of time
	faultRange           // a candle whose parts contradict each other
	faultAlignment       // a candle that begins at no interval's start
	faultText            // text that is too long, no text, or holds what cannot be shown
	faultSize            // too large
	faultFormat          // a document in a format or of a content type that was not declared
	faults
)

// faultNames are the faults as figures and logs name them.
var faultNames = [faults]string{
	"none", "not_asked", "surplus", "price", "worthless", "figure", "future", "ancient", "order", "range", "alignment", "text",
	"size", "format",
}

// String returns the fault's name in figures, such as "not_asked".
func (f fault) String() string { return faultNames[f] }

// lie reports whether a well-meaning source would never give the fault. What is no longer traded is no lie: its last price
// is old or zero, and whoever asks for it must not thereby silence the source for all others.
func (f fault) lie() bool {
	return f != faultNone && f != faultWorthless && f != faultAncient && f != faultSurplus
}

// Bounds on what an island may say.
const (
	aheadTolerance = 2 * time.Minute    // of a source's clock before this host's
	oldestQuote    = 7 * 24 * time.Hour // a quote beyond that is history
	maxIDText      = 128
	maxSymbolText  = 64
	maxNameText    = 256
	maxNoteText    = 1024
	maxLabelText   = 64
	maxShares      = 1000
	maxDocuments   = 16
	maxDocument    = 4 << 20
	maxRemembered  = 8 << 20
	maxCatalogue   = 200_000
	maxStreamed    = 1000 // candles in a batch
)

// verdict is what became of the parts of one answer.
type verdict struct {
	faults [faults]uint64
	// taken parts are whole rows, and so are the false ones; a row that was taken may have lost a figure.
	taken, lies int
}

// drop counts a row that is not taken.
func (v *verdict) drop(f fault) {
	v.faults[f]++
	if f.lie() {
		v.lies++
	}
}

// worthless reports whether nothing of an answer was taken, and lies were among it.
func (v *verdict) worthless() bool { return v.taken == 0 && v.lies > 0 }

// worst is the fault that was found most often.
func (v *verdict) worst() fault {
	worst := faultNone
	for f, n := range v.faults {
		if n > v.faults[worst] {
			worst = fault(f)
		}
	}
	return worst
}

// legible reports whether text may be shown: valid, no longer than a bound in bytes, and without control characters.
func legible(text string, most int) bool {
	return len(text) <= most && utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
	})
}

// clean empties text that may not be shown.
func (v *verdict) clean(text *string, most int) {
	if !legible(*text, most) {
		v.faults[faultText]++
		*text = ""
	}
}

// notNegative forgets figures that cannot be below zero and are.
func (v *verdict) notNegative(figures ...*sdk.Number) {
	for _, n := range figures {
		if n.Or(0) < 0 {
			v.faults[faultFigure]++
			*n = sdk.Number{}
		}
	}
}

// askedFor finds the assets that were asked for.
type askedFor struct {
	byID, bySymbol map[string]int
	assets         []sdk.Asset
}

func newAskedFor(assets []sdk.Asset) askedFor {
	a := askedFor{byID: make(map[string]int, len(assets)), bySymbol: make(map[string]int, len(assets)), assets: assets}
	for i, asset := range assets {
		if asset.ID != "" {
			a.byID[asset.ID] = i
		}
		a.bySymbol[asset.Symbol] = i
	}
	return a
}

// find returns the place of the asset that an id and a symbol mean.
func (a askedFor) find(id, symbol string) (int, bool) {
	if id != "" {
		if i, ok := a.byID[id]; ok {
			return i, true
		}
	}
	i, ok := a.bySymbol[symbol]
	return i, ok && (id == "" || a.assets[i].ID == "")
}

// quoteFault is why a quote is not taken, whoever asked for it.
func quoteFault(q sdk.Quote, now time.Time) fault {
	price, known := q.Price.Float64()
	switch {
	case !legible(q.ID, maxIDText) || !legible(q.Symbol, maxSymbolText):
		return faultText
	case known && price < 0:
		return faultPrice
	case known && price == 0:
		return faultWorthless
	case q.AsOf.After(now.Add(aheadTolerance)):
		return faultFuture
	case q.AsOf.Before(now.Add(-oldestQuote)):
		return faultAncient
	default:
		return faultNone
	}
}

// tidyQuote forgets what of a quote cannot be.
func (v *verdict) tidyQuote(q *sdk.Quote, now time.Time) {
	v.clean(&q.Name, maxNameText)
	v.clean(&q.Note, maxNoteText)
	v.notNegative(&q.High24h, &q.Low24h, &q.Volume24h, &q.MarketCap, &q.ATH.Price, &q.ATL.Price)
	v.notNegative(&q.Supply.Circulating, &q.Supply.Total, &q.Supply.Max, &q.Supply.FullyDilutedValuation)
	if q.High24h.IsKnown() && q.Low24h.IsKnown() && q.High24h.Or(0) < q.Low24h.Or(0) {
		v.faults[faultRange]++
		q.High24h, q.Low24h = sdk.Number{}, sdk.Number{}
	}
	if q.Rank < 0 {
		v.faults[faultFigure]++
		q.Rank = 0
	}
	for _, mark := range []*sdk.Mark{&q.ATH, &q.ATL} {
		if mark.Date.After(now.Add(aheadTolerance)) {
			v.faults[faultFuture]++
			mark.Date = time.Time{}
		}
	}
}

// quotes takes what answers a question for quotes. Surplus is whether an asset may come more than once, the later one
// being the newer.
func (v *verdict) quotes(asked askedFor, vsCurrency string, quotes []sdk.Quote, now time.Time, surplus bool) []sdk.Quote {
	var seen map[int]bool
	if !surplus {
		seen = make(map[int]bool, len(asked.assets))
	}
	taken := quotes[:0:0]
	for _, q := range quotes {
		at, ok := asked.find(q.ID, q.Symbol)
		f := quoteFault(q, now)
		switch {
		case f == faultText: // It is not looked at any further.
		case !ok || (q.VsCurrency != "" && q.VsCurrency != vsCurrency):
			f = faultNotAsked
		case f == faultNone && seen[at]:
			f = faultSurplus
		}
		if f != faultNone {
			v.drop(f)
			continue
		}
		if seen != nil {
			seen[at] = true
		}
		v.tidyQuote(&q, now)
		v.taken++
		taken = append(taken, q)
	}
	return taken
}

// candles takes what answers a question for candles, as many as were asked for.
func (v *verdict) candles(req sdk.CandlesRequest, c sdk.Candles, now time.Time) sdk.Candles {
	v.clean(&c.Note, maxNoteText)
	items := c.Items
	c.Items = nil
	_, ok := newAskedFor([]sdk.Asset{req.Asset}).find(c.ID, c.Symbol)
	switch {
	case !legible(c.ID, maxIDText) || !legible(c.Symbol, maxSymbolText):
		v.drop(faultText)
		return c
	case (c.ID != "" || c.Symbol != "") && !ok,
		c.Interval != "" && c.Interval != req.Interval, c.VsCurrency != "" && c.VsCurrency != req.VsCurrency:
		v.drop(faultNotAsked)
		return c
	case c.AsOf.After(now.Add(aheadTolerance)):
		v.drop(faultFuture)
		return c
	}
	c.Interval, c.VsCurrency = req.Interval, req.VsCurrency
	if over := len(items) - req.Limit; over > 0 {
		v.faults[faultSurplus] += uint64(over)
		items = items[over:]
	}
	c.Items = v.run(items, req.Interval, now)
	// Figures are computed over the whole run, so that one full of holes misleads more than none.
	if v.lies > v.taken {
		c.Items, v.taken = nil, 0
	}
	return c
}

// run takes the candles of one series that can be.
func (v *verdict) run(items []sdk.Candle, interval sdk.Interval, now time.Time) []sdk.Candle {
	taken := make([]sdk.Candle, 0, len(items))
	for _, c := range items {
		f := candleFault(c, interval, now)
		if f == faultNone && len(taken) > 0 && !c.OpenTime.After(taken[len(taken)-1].OpenTime) {
			f = faultOrder
		}
		if f != faultNone {
			v.drop(f)
			continue
		}
		v.notNegative(&c.Volume)
		v.taken++
		taken = append(taken, c)
	}
	return taken
}

// firstMonday is where weeks are counted from.
var firstMonday = time.Date(1970, time.January, 5, 0, 0, 0, 0, time.UTC)

// candleFault is why a candle is not taken.
func candleFault(c sdk.Candle, interval sdk.Interval, now time.Time) fault {
	if !interval.Valid() {
		return faultNotAsked
	}
	latest := now.Add(aheadTolerance)
	switch {
	case c.OpenTime.Sub(firstMonday)%interval.Duration() != 0:
		return faultAlignment
	case c.OpenTime.After(latest), c.Closed && c.OpenTime.Add(interval.Duration()).After(latest):
		return faultFuture
	case c.Close.Or(0) <= 0:
		return faultPrice
	}
	for _, n := range []sdk.Number{c.Open, c.High, c.Low} {
		if f, known := n.Float64(); known && f <= 0 {
			return faultPrice
		}
	}
	// Sources round: the last digits may differ.
	const rounding = 1e-9
	highest := max(c.Open.Or(0), c.Low.Or(0), c.Close.Or(0)) * (1 - rounding)
	if high, known := c.High.Float64(); known && high < highest {
		return faultRange
	}
	if low, known := c.Low.Float64(); known && low*(1-rounding) > min(c.Open.Or(low), c.Close.Or(low)) {
		return faultRange
	}
	return faultNone
}

// global takes the state of the whole market.
func (v *verdict) global(vsCurrency string, g sdk.Global, now time.Time) sdk.Global {
	switch {
	case g.VsCurrency != "" && g.VsCurrency != vsCurrency:
		v.drop(faultNotAsked)
		return sdk.Global{}
	case g.AsOf.After(now.Add(aheadTolerance)):
		v.drop(faultFuture)
		return sdk.Global{}
	}
	g.VsCurrency = vsCurrency
	v.notNegative(&g.MarketCap, &g.Volume24h)
	if g.ActiveAssets < 0 || g.Markets < 0 {
		v.faults[faultFigure]++
		g.ActiveAssets, g.Markets = max(0, g.ActiveAssets), max(0, g.Markets)
	}
	shares := make(map[string]sdk.Number, min(len(g.Dominance), maxShares))
	for symbol, share := range g.Dominance {
		f, known := share.Float64()
		switch {
		case !legible(symbol, maxSymbolText):
			v.faults[faultText]++
		case known && (f < 0 || f > 100):
			v.faults[faultFigure]++
		case len(shares) == maxShares:
			v.faults[faultSurplus]++
		default:
			shares[symbol] = share
		}
	}
	g.Dominance = shares
	if !g.MarketCap.IsKnown() && !g.Volume24h.IsKnown() && len(g.Dominance) == 0 {
		v.drop(faultFigure)
		return sdk.Global{}
	}
	v.taken++
	return g
}

// sentiment takes how the market feels.
func (v *verdict) sentiment(s sdk.Sentiment, now time.Time) sdk.Sentiment {
	v.clean(&s.Label, maxLabelText)
	f, known := s.Value.Float64()
	switch {
	case !known || f < 0 || f > 100:
		v.drop(faultFigure)
	case s.AsOf.After(now.Add(aheadTolerance)):
		v.drop(faultFuture)
	default:
		v.taken++
		return s
	}
	return sdk.Sentiment{}
}

// catalogue takes the assets there are.
func (v *verdict) catalogue(assets []sdk.Asset) []sdk.Asset {
	if len(assets) > maxCatalogue {
		v.drop(faultSize)
		return nil
	}
	ids := make(map[string]bool, len(assets))
	taken := make([]sdk.Asset, 0, len(assets))
	for _, a := range assets {
		switch {
		case a.Symbol == "" || !legible(a.ID, maxIDText) || !legible(a.Symbol, maxSymbolText):
			v.drop(faultText)
			continue
		case a.ID != "" && ids[a.ID]:
			v.drop(faultSurplus)
			continue
		}
		v.clean(&a.Name, maxNameText)
		v.notNegative(&a.MarketCap)
		if a.Rank < 0 {
			v.faults[faultFigure]++
			a.Rank = 0
		}
		ids[a.ID] = true
		v.taken++
		taken = append(taken, a)
	}
	return taken
}

// batch takes what a stream said. A stream may repeat itself.
func (v *verdict) batch(asked askedFor, vsCurrency string, b sdk.QuoteBatch, now time.Time) sdk.QuoteBatch {
	b.Quotes = v.quotes(asked, vsCurrency, b.Quotes, now, true)
	series, left := b.Candles, maxStreamed
	b.Candles = nil
	for _, s := range series {
		_, ok := asked.find(s.ID, s.Symbol)
		switch {
		case !legible(s.ID, maxIDText) || !legible(s.Symbol, maxSymbolText):
			v.drop(faultText)
			continue
		case !ok || !s.Interval.Valid() || (s.VsCurrency != "" && s.VsCurrency != vsCurrency):
			v.drop(faultNotAsked)
			continue
		case left < len(s.Items):
			v.drop(faultSurplus)
			continue
		}
		left -= len(s.Items)
		v.clean(&s.Note, maxNoteText)
		if s.Items = v.run(s.Items, s.Interval, now); len(s.Items) > 0 {
			b.Candles = append(b.Candles, s)
		}
	}
	return b
}
