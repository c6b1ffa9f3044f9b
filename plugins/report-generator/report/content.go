package report

import (
	"encoding/json"
	"time"

	"github.com/service-islands/islands/plugins/report-generator/analysis"
	"github.com/service-islands/islands/sdk"
)

// MethodVersion changes when the same request would give other figures than before.
const MethodVersion = "1.0.0"

// text is a string that is null when empty.
type text string

// MarshalJSON writes a string or null.
func (t text) MarshalJSON() ([]byte, error) {
	if t == "" {
		return []byte("null"), nil
	}
	return json.Marshal(string(t))
}

// instant is a time that is null when it is zero, or beyond what RFC 3339 can write.
type instant time.Time

// known reports whether the instant is one.
func (i instant) known() bool {
	t := time.Time(i).UTC()
	return !t.IsZero() && t.Year() >= 0 && t.Year() <= 9999
}

// String writes RFC 3339 in UTC, "n/a" for an unknown instant.
func (i instant) String() string {
	if !i.known() {
		return "n/a"
	}
	return time.Time(i).UTC().Format(time.RFC3339Nano)
}

// MarshalJSON writes RFC 3339 in UTC, or null.
func (i instant) MarshalJSON() ([]byte, error) {
	if !i.known() {
		return []byte("null"), nil
	}
	return json.Marshal(i.String())
}

// rank is a place by market capitalisation, null when it is not known.
type rank int

// MarshalJSON writes a number or null.
func (r rank) MarshalJSON() ([]byte, error) { return r.number().MarshalJSON() }

// number is the rank as a figure.
func (r rank) number() sdk.Number {
	if r <= 0 {
		return sdk.Number{}
	}
	return sdk.Known(float64(r))
}

// content is a crypto report.
type content struct {
	ID            text                `json:"id"`
	Symbol        text                `json:"symbol"`
	Name          text                `json:"name"`
	VsCurrency    text                `json:"vs_currency"`
	GeneratedAt   instant             `json:"generated_at"`
	ResolvedFrom  text                `json:"resolved_from"`
	Ambiguous     []candidate         `json:"ambiguous"`
	MethodVersion string              `json:"method_version"`
	Market        market              `json:"market"`
	Indicators    analysis.Indicators `json:"indicators"`
	Volatility    analysis.Volatility `json:"volatility"`
	Levels        analysis.Levels     `json:"levels"`
	Sentiment     sentiment           `json:"sentiment"`
	Verdict       analysis.Verdict    `json:"verdict"`
	Provenance    provenance          `json:"provenance"`
	CrossCheck    crossCheck          `json:"cross_check"`
	Warnings      []string            `json:"warnings"`
	Disclaimer    string              `json:"disclaimer"`
}

// technical is a technical analysis: the part of a crypto report that daily candles give.
type technical struct {
	ID            text                `json:"id"`
	Symbol        text                `json:"symbol"`
	Name          text                `json:"name"`
	VsCurrency    text                `json:"vs_currency"`
	Interval      sdk.Interval        `json:"interval"`
	GeneratedAt   instant             `json:"generated_at"`
	MethodVersion string              `json:"method_version"`
	Indicators    analysis.Indicators `json:"indicators"`
	Volatility    analysis.Volatility `json:"volatility"`
	Levels        analysis.Levels     `json:"levels"`
	Verdict       analysis.Verdict    `json:"verdict"`
	Provenance    technicalProvenance `json:"provenance"`
	Warnings      []string            `json:"warnings"`
	Disclaimer    string              `json:"disclaimer"`
}

// candidate is another asset of the same symbol. Market capitalisation is in US dollars.
type candidate struct {
	ID        text       `json:"id"`
	Symbol    text       `json:"symbol"`
	Name      text       `json:"name"`
	Rank      rank       `json:"rank"`
	MarketCap sdk.Number `json:"market_cap"`
}

// market is the quote. Changes and dominance are in percent, volume_to_market_cap is a ratio, money is in vs_currency.
type market struct {
	Price                 sdk.Number `json:"price"`
	Change1h              sdk.Number `json:"change_1h"`
	Change24h             sdk.Number `json:"change_24h"`
	Change7d              sdk.Number `json:"change_7d"`
	Change30d             sdk.Number `json:"change_30d"`
	Change1y              sdk.Number `json:"change_1y"`
	High24h               sdk.Number `json:"high_24h"`
	Low24h                sdk.Number `json:"low_24h"`
	Volume24h             sdk.Number `json:"volume_24h"`
	MarketCap             sdk.Number `json:"market_cap"`
	VolumeToMarketCap     sdk.Number `json:"volume_to_market_cap"`
	FullyDilutedValuation sdk.Number `json:"fully_diluted_valuation"`
	CirculatingSupply     sdk.Number `json:"circulating_supply"`
	TotalSupply           sdk.Number `json:"total_supply"`
	MaxSupply             sdk.Number `json:"max_supply"`
	Dominance             sdk.Number `json:"dominance"`
	Rank                  rank       `json:"rank"`
	ATH                   mark       `json:"ath"`
	ATL                   mark       `json:"atl"`
}

// figures lists the numbers of a quote in the order of their keys.
func (m market) figures() analysis.Figures {
	return analysis.Figures{
		{Name: "price", Number: m.Price},
		{Name: "change_1h", Number: m.Change1h},
		{Name: "change_24h", Number: m.Change24h},
		{Name: "change_7d", Number: m.Change7d},
		{Name: "change_30d", Number: m.Change30d},
		{Name: "change_1y", Number: m.Change1y},
		{Name: "high_24h", Number: m.High24h},
		{Name: "low_24h", Number: m.Low24h},
		{Name: "volume_24h", Number: m.Volume24h},
		{Name: "market_cap", Number: m.MarketCap},
		{Name: "volume_to_market_cap", Number: m.VolumeToMarketCap},
		{Name: "fully_diluted_valuation", Number: m.FullyDilutedValuation},
		{Name: "circulating_supply", Number: m.CirculatingSupply},
		{Name: "total_supply", Number: m.TotalSupply},
		{Name: "max_supply", Number: m.MaxSupply},
		{Name: "dominance", Number: m.Dominance},
		{Name: "rank", Number: m.Rank.number()},
	}
}

// mark is an extreme price.
type mark struct {
	Price  sdk.Number `json:"price"`
	Date   instant    `json:"date"`
	Change sdk.Number `json:"change"`
}

// sentiment is how the market feels.
type sentiment struct {
	Value sdk.Number `json:"value"`
	Label text       `json:"label"`
	AsOf  instant    `json:"as_of"`
}

// origin is where a part comes from; all of it null for a part that is not there.
type origin struct {
	Source text    `json:"source"`
	AsOf   instant `json:"as_of"`
	Stale  *bool   `json:"stale"`
}

// provenance is where each part comes from.
type provenance struct {
	Quote     origin `json:"quote"`
	Candles   origin `json:"candles"`
	Global    origin `json:"global"`
	Sentiment origin `json:"sentiment"`
}

// technicalProvenance is where each part of a technical analysis comes from.
type technicalProvenance struct {
	Quote   origin `json:"quote"`
	Candles origin `json:"candles"`
}

// crossCheck is how far other sources' prices are from the quote's.
type crossCheck struct {
	// Sources that were compared, the quote's own first; empty when there was nothing to compare.
	Sources      []string   `json:"sources"`
	DeviationBPS sdk.Number `json:"deviation_bps"`
}
