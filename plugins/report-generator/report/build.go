package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/service-islands/islands/plugins/report-generator/analysis"
	"github.com/service-islands/islands/sdk"
)

const (
	maxCandles    = 5000 // More than thirteen years of days.
	maxListed     = 1000 // Ambiguous assets, warnings or other sources.
	maxDeviation  = 100  // Basis points between sources that go without saying.
	basisPoints   = 1e4
	quotePart     = "quote"
	candlesPart   = "candles"
	globalPart    = "global"
	sentimentPart = "sentiment"
)

// builder gathers a report.
type builder struct {
	req      sdk.ReportRequest
	series   analysis.Series
	warnings []string
}

// build makes the content of a full report. Unavailable when there is neither a price nor a closed day.
func build(req sdk.ReportRequest, disclaimer string) (content, error) {
	b, err := prepare(req)
	if err != nil {
		return content{}, err
	}
	c := content{
		ID: text(req.Asset.ID), Symbol: text(req.Asset.Symbol), Name: text(req.Asset.Name),
		VsCurrency: text(req.VsCurrency), GeneratedAt: instant(req.Now), ResolvedFrom: text(req.ResolvedFrom),
		Ambiguous: candidates(req.Ambiguous), MethodVersion: MethodVersion, Disclaimer: disclaimer,
		Market: b.market(),
	}
	if c.Name == "" && b.req.Quote != nil {
		c.Name = text(b.req.Quote.Name)
	}
	if !c.Market.Price.IsKnown() && len(b.series.Days) == 0 {
		return content{}, tooLittle(req, "neither a price nor a closed daily candle")
	}
	t := b.technical(c.Market.Price)
	c.Indicators, c.Volatility, c.Levels, c.Verdict = t.Indicators, t.Volatility, t.Levels, t.Verdict
	c.Sentiment = b.sentiment()
	c.CrossCheck = b.crossCheck(c.Market.Price)
	c.Provenance = provenance{
		Quote: b.quoteOrigin(), Candles: b.candlesOrigin(), Global: b.globalOrigin(), Sentiment: b.sentimentOrigin(),
	}
	c.Warnings = b.distinctWarnings()
	return c, nil
}

// buildTechnical makes the content of a technical analysis. Unavailable when there is no closed day.
func buildTechnical(req sdk.ReportRequest, disclaimer string) (technical, error) {
	b, err := prepare(req)
	if err != nil {
		return technical{}, err
	}
	if len(b.series.Days) == 0 {
		return technical{}, tooLittle(req, "no closed daily candle")
	}
	name := text(req.Asset.Name)
	price := sdk.Number{}
	if b.req.Quote != nil {
		price = positive(b.req.Quote.Price)
		if name == "" {
			name = text(b.req.Quote.Name)
		}
	}
	t := b.technical(price)
	return technical{
		ID: text(req.Asset.ID), Symbol: text(req.Asset.Symbol), Name: name, VsCurrency: text(req.VsCurrency),
		Interval: sdk.Interval1d, GeneratedAt: instant(req.Now), MethodVersion: MethodVersion,
		Indicators: t.Indicators, Volatility: t.Volatility, Levels: t.Levels, Verdict: t.Verdict,
		Provenance: technicalProvenance{Quote: b.quoteOrigin(), Candles: b.candlesOrigin()},
		Warnings:   b.distinctWarnings(), Disclaimer: disclaimer,
	}, nil
}

// tooLittle is the error for a request that gives nothing to report on.
func tooLittle(req sdk.ReportRequest, what string) error {
	return sdk.Errorf(sdk.Unavailable, "%s for %q in %q: %s was handed over", req.Report, req.Asset.Symbol, req.VsCurrency, what)
}

// prepare checks a request and sets aside the parts that do not belong to it.
func prepare(req sdk.ReportRequest) (*builder, error) {
	if req.Quote == nil && req.Candles == nil {
		return nil, tooLittle(req, "neither a quote nor candles")
	}
	if req.Asset.Symbol == "" || req.VsCurrency == "" || !instant(req.Now).known() {
		return nil, sdk.Errorf(sdk.InvalidArgument, "%s wants an asset with a symbol, a currency and a time", req.Report)
	}
	if req.Candles != nil && len(req.Candles.Items) > maxCandles {
		return nil, sdk.Errorf(sdk.InvalidArgument, "%s takes at most %d candles, not %d",
			req.Report, maxCandles, len(req.Candles.Items))
	}
	for _, list := range []struct {
		name string
		size int
	}{
		{"ambiguous assets", len(req.Ambiguous)},
		{"other quotes", len(req.CrossCheck)},
		{"warnings", len(req.Warnings)},
		{"stale parts", len(req.Stale)},
	} {
		if list.size > maxListed {
			return nil, sdk.Errorf(sdk.InvalidArgument, "%s takes at most %d %s, not %d", req.Report, maxListed, list.name, list.size)
		}
	}
	b := &builder{req: req, warnings: slices.Clone(req.Warnings)}
	if q := req.Quote; q != nil {
		if why := b.foreign(q.Symbol, q.VsCurrency); why != "" {
			b.warn("the quote of %s was not used: it is %s", source(q.Source), why)
			b.req.Quote = nil
		} else {
			b.note(quotePart, q.Note)
		}
	}
	if g := req.Global; g != nil {
		if why := b.foreign("", g.VsCurrency); why != "" {
			b.warn("the global figures of %s were not used: they are %s", source(g.Source), why)
			b.req.Global = nil
		}
	}
	b.series = analysis.SeriesOf(req.Candles, req.Asset.Symbol, req.VsCurrency, req.Now)
	if len(b.series.Days) == 0 {
		b.req.Candles = nil
	} else {
		b.note(candlesPart, req.Candles.Note)
	}
	return b, nil
}

// warn adds a warning.
func (b *builder) warn(format string, args ...any) {
	b.warnings = append(b.warnings, fmt.Sprintf(format, args...))
}

// note passes a source's own note on.
func (b *builder) note(part, note string) {
	if note != "" {
		b.warn("%s: %s", part, note)
	}
}

// foreign says why a quote is not one of this report's asset and currency, empty when it is.
func (b *builder) foreign(symbol, currency string) string {
	switch {
	case symbol != "" && !strings.EqualFold(symbol, b.req.Asset.Symbol):
		return fmt.Sprintf("of %s, not %s", symbol, b.req.Asset.Symbol)
	case currency != "" && !strings.EqualFold(currency, b.req.VsCurrency):
		return fmt.Sprintf("in %s, not %s", currency, b.req.VsCurrency)
	default:
		return ""
	}
}

// source names a source that may be nameless.
func source(name string) string {
	if name == "" {
		return "a source without a name"
	}
	return name
}

// distinctWarnings is every warning once, in the order in which they came up.
func (b *builder) distinctWarnings() []string {
	seen := make(map[string]bool, len(b.warnings))
	out := make([]string, 0, len(b.warnings))
	for _, w := range b.warnings {
		if w != "" && !seen[w] {
			seen[w] = true
			out = append(out, w)
		}
	}
	return out
}

// technical analyses the candles around a price.
func (b *builder) technical(price sdk.Number) analysis.Technical {
	if days := b.series.Days; len(days) > 0 && b.req.Quote != nil && !b.req.Quote.AsOf.IsZero() {
		if b.req.Quote.AsOf.Before(days[len(days)-1].Opens.Add(sdk.Interval1d.Duration())) {
			price = sdk.Number{}
		}
	}
	t := analysis.Of(b.series, price, b.stale(candlesPart))
	b.warnings = append(b.warnings, t.Warnings...)
	return t
}

// stale reports whether the host calls a part stale.
func (b *builder) stale(part string) bool { return slices.Contains(b.req.Stale, part) }

// positive is the number if it is above zero.
func positive(n sdk.Number) sdk.Number {
	if n.Or(0) > 0 {
		return n
	}
	return sdk.Number{}
}

// amount is the number if it is not below zero.
func amount(n sdk.Number) sdk.Number {
	if n.Or(-1) >= 0 {
		return n
	}
	return sdk.Number{}
}

// ratio divides, and is unknown when one of the numbers is, or the divisor is zero.
func ratio(a, b sdk.Number, factor float64) sdk.Number {
	over, known := a.Float64()
	under, alsoKnown := b.Float64()
	if !known || !alsoKnown || under == 0 {
		return sdk.Number{}
	}
	return sdk.Known(over / under * factor)
}

// market is what the quote says, and one warning for all it does not.
func (b *builder) market() market {
	q := b.req.Quote
	if q == nil {
		b.warn("no quote was available, so every market figure is null")
		return market{}
	}
	m := market{
		Price:    positive(q.Price),
		Change1h: q.Change1h, Change24h: q.Change24h, Change7d: q.Change7d, Change30d: q.Change30d, Change1y: q.Change1y,
		High24h: positive(q.High24h), Low24h: positive(q.Low24h),
		Volume24h: amount(q.Volume24h), MarketCap: amount(q.MarketCap),
		FullyDilutedValuation: amount(q.Supply.FullyDilutedValuation),
		CirculatingSupply:     amount(q.Supply.Circulating), TotalSupply: amount(q.Supply.Total), MaxSupply: amount(q.Supply.Max),
		Rank: rank(q.Rank),
		ATH:  mark{Price: positive(q.ATH.Price), Date: instant(q.ATH.Date), Change: q.ATH.Change},
		ATL:  mark{Price: positive(q.ATL.Price), Date: instant(q.ATL.Date), Change: q.ATL.Change},
	}
	m.VolumeToMarketCap = ratio(m.Volume24h, m.MarketCap, 1)
	m.Dominance = b.dominance(m.MarketCap)
	var missing []string
	for _, f := range m.figures() {
		if !f.Number.IsKnown() && f.Name != "dominance" { // Dominance has its own warnings.
			missing = append(missing, f.Name)
		}
	}
	for _, extreme := range []struct {
		name string
		mark mark
	}{{"ath", m.ATH}, {"atl", m.ATL}} {
		if !extreme.mark.Price.IsKnown() || !extreme.mark.Date.known() || !extreme.mark.Change.IsKnown() {
			missing = append(missing, extreme.name)
		}
	}
	if len(missing) > 0 {
		b.warn("the quote of %s gives no usable %s", source(q.Source), strings.Join(missing, ", "))
	}
	return m
}

// dominance is the share of the whole market, in percent.
func (b *builder) dominance(marketCap sdk.Number) sdk.Number {
	g := b.req.Global
	switch {
	case g == nil:
		b.warn("without figures of the whole market, dominance is null")
	case !positive(g.MarketCap).IsKnown() || !marketCap.IsKnown():
		b.warn("dominance is null, because a market capitalisation that it takes is not known")
	default:
		return ratio(marketCap, g.MarketCap, 100)
	}
	return sdk.Number{}
}

// sentiment is how the market feels; a value that is not in 0 to 100 is none.
func (b *builder) sentiment() sentiment {
	s := b.req.Sentiment
	if s == nil {
		b.warn("no sentiment was available, so it is null")
		return sentiment{}
	}
	out := sentiment{Value: amount(s.Value), Label: text(s.Label), AsOf: instant(s.AsOf)}
	if out.Value.Or(0) > 100 {
		out.Value = sdk.Number{}
	}
	if !out.Value.IsKnown() {
		b.warn("the sentiment of %s has no value from 0 to 100", source(s.Source))
	}
	return out
}

// crossCheck compares the price with those of other sources.
func (b *builder) crossCheck(price sdk.Number) crossCheck {
	out := crossCheck{Sources: []string{}}
	own, known := price.Float64()
	if !known {
		b.warn("there is no price to cross-check")
		return out
	}
	worst := 0.0
	for _, other := range b.req.CrossCheck {
		if other.Source == b.req.Quote.Source {
			continue
		}
		if why := b.foreign(other.Symbol, other.VsCurrency); why != "" {
			b.warn("the quote of %s was not compared: it is %s", source(other.Source), why)
			continue
		}
		theirs, usable := positive(other.Price).Float64()
		if !usable {
			b.warn("the quote of %s was not compared: it has no usable price", source(other.Source))
			continue
		}
		deviation := math.Abs(theirs-own) / own * basisPoints
		if deviation > maxDeviation {
			b.warn("%s says %s %s, %s basis points away from %s of %s", source(other.Source), analysis.Text(other.Price),
				b.req.VsCurrency, analysis.Text(sdk.Known(deviation)), analysis.Text(price), source(b.req.Quote.Source))
		}
		if len(out.Sources) == 0 {
			out.Sources = append(out.Sources, b.req.Quote.Source)
		}
		out.Sources = append(out.Sources, other.Source)
		worst = max(worst, deviation)
	}
	if len(out.Sources) == 0 {
		b.warn("no other source gave a price, so this one is not cross-checked")
		return out
	}
	out.DeviationBPS = sdk.Known(worst)
	return out
}

// candidates lists the other assets of the same symbol.
func candidates(assets []sdk.Asset) []candidate {
	out := make([]candidate, len(assets))
	for i, a := range assets {
		out[i] = candidate{
			ID: text(a.ID), Symbol: text(a.Symbol), Name: text(a.Name), Rank: rank(a.Rank), MarketCap: amount(a.MarketCap),
		}
	}
	return out
}

// origin is where a part comes from, with a warning when it is stale.
func (b *builder) origin(part, source string, asOf instant) origin {
	stale := b.stale(part)
	if stale {
		b.warn("%s stale (as of %s)", staleParts[part], asOf)
	}
	return origin{Source: text(source), AsOf: asOf, Stale: &stale}
}

// staleParts begin the sentence that calls a part stale.
var staleParts = map[string]string{
	quotePart: "quote is", candlesPart: "candles are", globalPart: "global figures are", sentimentPart: "sentiment is",
}

func (b *builder) quoteOrigin() origin {
	if b.req.Quote == nil {
		return origin{}
	}
	return b.origin(quotePart, b.req.Quote.Source, instant(b.req.Quote.AsOf))
}

func (b *builder) candlesOrigin() origin {
	if b.req.Candles == nil {
		return origin{}
	}
	return b.origin(candlesPart, b.req.Candles.Source, instant(b.req.Candles.AsOf))
}

func (b *builder) globalOrigin() origin {
	if b.req.Global == nil {
		return origin{}
	}
	return b.origin(globalPart, b.req.Global.Source, instant(b.req.Global.AsOf))
}

func (b *builder) sentimentOrigin() origin {
	if b.req.Sentiment == nil {
		return origin{}
	}
	return b.origin(sentimentPart, b.req.Sentiment.Source, instant(b.req.Sentiment.AsOf))
}
