package report

import (
	"fmt"
	"strings"

	"github.com/service-islands/islands/plugins/report-generator/analysis"
	"github.com/service-islands/islands/sdk"
)

// outline is a report as people read it: what Markdown and HTML are made from.
type outline struct {
	Title      string
	Lead       []string
	Sections   []section
	Disclaimer string
}

// section is a part of an outline; what is empty is left out.
type section struct {
	Heading    string
	Paragraphs []string
	Tables     []table
	Items      []string
}

// table has a header and rows of as many cells.
type table struct {
	Header []string
	Rows   [][]string
}

// outlineOf lays out a crypto report.
func outlineOf(c content) outline {
	title := heading(c.Name, c.Symbol)
	return outline{
		Title: title + " in " + strings.ToUpper(string(c.VsCurrency)),
		Lead: []string{
			fmt.Sprintf("Price: %s. Verdict: %s, score %s, confidence %s.",
				money(c.Market.Price, c.VsCurrency), c.Verdict.Title(), analysis.Text(c.Verdict.Score), analysis.Text(c.Verdict.Confidence)),
			generated(c.GeneratedAt, c.MethodVersion),
		},
		Sections: []section{
			verdictSection(c.Verdict),
			marketSection(c.Market, c.VsCurrency),
			indicatorSection(c.Indicators),
			volatilitySection(c.Volatility),
			levelSection(c.Levels),
			sentimentSection(c.Sentiment),
			assetSection(c),
			provenanceSection([]namedOrigin{
				{quotePart, c.Provenance.Quote},
				{candlesPart, c.Provenance.Candles},
				{globalPart, c.Provenance.Global},
				{sentimentPart, c.Provenance.Sentiment},
			}),
			crossCheckSection(c.CrossCheck),
			warningSection(c.Warnings),
		},
		Disclaimer: c.Disclaimer,
	}
}

// technicalOutlineOf lays out a technical analysis.
func technicalOutlineOf(c technical) outline {
	return outline{
		Title: "Technical analysis of " + heading(c.Name, c.Symbol) + " in " + strings.ToUpper(string(c.VsCurrency)),
		Lead: []string{
			fmt.Sprintf("Verdict: %s, score %s, confidence %s. Asset id: %s. Candles of %s.", c.Verdict.Title(),
				analysis.Text(c.Verdict.Score), analysis.Text(c.Verdict.Confidence), orUnknown(c.ID), c.Interval),
			generated(c.GeneratedAt, c.MethodVersion),
		},
		Sections: []section{
			verdictSection(c.Verdict),
			indicatorSection(c.Indicators),
			volatilitySection(c.Volatility),
			levelSection(c.Levels),
			provenanceSection([]namedOrigin{{quotePart, c.Provenance.Quote}, {candlesPart, c.Provenance.Candles}}),
			warningSection(c.Warnings),
		},
		Disclaimer: c.Disclaimer,
	}
}

// heading is the name with its symbol, or the symbol alone.
func heading(name, symbol text) string {
	if name == "" {
		return strings.ToUpper(string(symbol))
	}
	return fmt.Sprintf("%s (%s)", name, strings.ToUpper(string(symbol)))
}

// generated says when and how a report was made.
func generated(at instant, version string) string {
	return fmt.Sprintf("Generated at %s by method %s.", at, version)
}

// money is an amount with its currency.
func money(n sdk.Number, currency text) string {
	if !n.IsKnown() {
		return "n/a"
	}
	return analysis.Text(n) + " " + string(currency)
}

// percent is a share.
func percent(n sdk.Number) string {
	if !n.IsKnown() {
		return "n/a"
	}
	return analysis.Text(n) + " %"
}

// orUnknown is a text, or "n/a".
func orUnknown(t text) string {
	if t == "" {
		return "n/a"
	}
	return string(t)
}

func verdictSection(v analysis.Verdict) section {
	return section{
		Heading: "Verdict",
		Tables: []table{{
			Header: []string{"Figure", "Value"},
			Rows: [][]string{
				{"Label", v.Title()},
				{"Score (-1 to 1)", analysis.Text(v.Score)},
				{"Confidence (0 to 1)", analysis.Text(v.Confidence)},
			},
		}},
		Items: v.Reasons,
	}
}

func marketSection(m market, currency text) section {
	share := percent
	cash := func(n sdk.Number) string { return money(n, currency) }
	extreme := func(m mark) string {
		return fmt.Sprintf("%s on %s, %s since", cash(m.Price), m.Date, share(m.Change))
	}
	return section{
		Heading: "Market",
		Tables: []table{{
			Header: []string{"Figure", "Value"},
			Rows: [][]string{
				{"Price", cash(m.Price)},
				{"Change in 1 hour", share(m.Change1h)},
				{"Change in 24 hours", share(m.Change24h)},
				{"Change in 7 days", share(m.Change7d)},
				{"Change in 30 days", share(m.Change30d)},
				{"Change in 1 year", share(m.Change1y)},
				{"High of 24 hours", cash(m.High24h)},
				{"Low of 24 hours", cash(m.Low24h)},
				{"Volume of 24 hours", cash(m.Volume24h)},
				{"Market capitalisation", cash(m.MarketCap)},
				{"Volume to market capitalisation", analysis.Text(m.VolumeToMarketCap)},
				{"Fully diluted valuation", cash(m.FullyDilutedValuation)},
				{"Circulating supply", analysis.Text(m.CirculatingSupply)},
				{"Total supply", analysis.Text(m.TotalSupply)},
				{"Maximum supply", analysis.Text(m.MaxSupply)},
				{"Dominance", share(m.Dominance)},
				{"Rank", analysis.Text(m.Rank.number())},
				{"All-time high", extreme(m.ATH)},
				{"All-time low", extreme(m.ATL)},
			},
		}},
	}
}

// named joins figures with their names.
func named(figures analysis.Figures) string {
	parts := make([]string, len(figures))
	for i, f := range figures {
		parts[i] = f.Name + " " + analysis.Text(f.Number)
	}
	return strings.Join(parts, ", ")
}

func indicatorSection(i analysis.Indicators) section {
	t := table{Header: []string{"Indicator", "Parameters", "Value", "Signal", "Days seen"}}
	for _, r := range i.All() {
		value := analysis.Text(r.Value.Number)
		if r.Value.Parts != nil {
			value = named(r.Value.Parts)
		}
		t.Rows = append(t.Rows, []string{
			r.Name, orUnknown(text(named(r.Params))), value, orUnknown(text(r.Signal)), fmt.Sprint(r.Samples),
		})
	}
	return section{
		Heading:    "Indicators",
		Paragraphs: []string{"From closed daily candles alone; parameters are in days."},
		Tables:     []table{t},
	}
}

func volatilitySection(v analysis.Volatility) section {
	return section{
		Heading:    "Volatility",
		Paragraphs: []string{"Realised volatility is annualised; a drawdown is the largest fall from a close to a later one."},
		Tables: []table{{
			Header: []string{"Figure", "Value"},
			Rows: [][]string{
				{"Realised volatility, 7 days", percent(v.Realised7d)},
				{"Realised volatility, 30 days", percent(v.Realised30d)},
				{"Maximum drawdown, 30 days", percent(v.MaxDrawdown30d)},
				{"Maximum drawdown, 90 days", percent(v.MaxDrawdown90d)},
				{"Maximum drawdown, 365 days", percent(v.MaxDrawdown365d)},
			},
		}},
	}
}

func levelSection(l analysis.Levels) section {
	list := func(levels []sdk.Number) string {
		parts := make([]string, len(levels))
		for i, level := range levels {
			parts[i] = analysis.Text(level)
		}
		if len(parts) == 0 {
			return "n/a"
		}
		return strings.Join(parts, "; ")
	}
	t := table{
		Header: []string{"Level", "Price"},
		Rows:   [][]string{{"Resistance, nearest first", list(l.Resistance)}, {"Support, nearest first", list(l.Support)}},
	}
	for _, p := range l.Pivots {
		t.Rows = append(t.Rows, []string{strings.ToUpper(p.Name[:1]) + p.Name[1:], analysis.Text(p.Number)})
	}
	return section{Heading: "Levels", Tables: []table{t}}
}

func sentimentSection(s sentiment) section {
	return section{
		Heading: "Sentiment",
		Tables: []table{{
			Header: []string{"Figure", "Value"},
			Rows: [][]string{
				{"Value (0 is fear, 100 is greed)", analysis.Text(s.Value)},
				{"Label", orUnknown(s.Label)},
				{"As of", s.AsOf.String()},
			},
		}},
	}
}

func assetSection(c content) section {
	s := section{
		Heading: "Asset",
		Tables: []table{{
			Header: []string{"Figure", "Value"},
			Rows: [][]string{
				{"Id", orUnknown(c.ID)},
				{"Symbol", orUnknown(c.Symbol)},
				{"Name", orUnknown(c.Name)},
				{"Asked for", orUnknown(c.ResolvedFrom)},
			},
		}},
	}
	if len(c.Ambiguous) == 0 {
		return s
	}
	s.Paragraphs = []string{"Other assets go by the same symbol:"}
	others := table{Header: []string{"Id", "Symbol", "Name", "Rank", "Market capitalisation in usd"}}
	for _, a := range c.Ambiguous {
		others.Rows = append(others.Rows, []string{
			orUnknown(a.ID), orUnknown(a.Symbol), orUnknown(a.Name), analysis.Text(a.Rank.number()), analysis.Text(a.MarketCap),
		})
	}
	s.Tables = append(s.Tables, others)
	return s
}

// namedOrigin is where a part comes from, with the part's name.
type namedOrigin struct {
	part string
	origin
}

func provenanceSection(parts []namedOrigin) section {
	t := table{Header: []string{"Part", "Source", "As of", "Stale"}}
	for _, p := range parts {
		stale := "n/a"
		switch {
		case p.Stale == nil:
		case *p.Stale:
			stale = "yes"
		default:
			stale = "no"
		}
		t.Rows = append(t.Rows, []string{p.part, orUnknown(p.Source), p.AsOf.String(), stale})
	}
	return section{Heading: "Provenance", Tables: []table{t}}
}

func crossCheckSection(c crossCheck) section {
	return section{
		Heading: "Cross-check",
		Tables: []table{{
			Header: []string{"Figure", "Value"},
			Rows: [][]string{
				{"Sources", orUnknown(text(strings.Join(c.Sources, ", ")))},
				{"Largest deviation in basis points", analysis.Text(c.DeviationBPS)},
			},
		}},
	}
}

func warningSection(warnings []string) section {
	if len(warnings) == 0 {
		return section{Heading: "Warnings", Paragraphs: []string{"None."}}
	}
	return section{Heading: "Warnings", Items: warnings}
}
