package sdk

import (
	"math"
	"slices"
	"strconv"
	"time"
)

// Number is a figure that may be unknown. The zero value is unknown: a figure that no source gave stays unknown and is
// shown as null, never as 0. NaN and infinities are unknown too.
type Number struct {
	value float64
	known bool
}

// Known is a figure that is known, unless f is NaN or infinite.
func Known(f float64) Number {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Number{}
	}
	return Number{value: f, known: true}
}

// Float64 returns the figure and whether it is known.
func (n Number) Float64() (float64, bool) { return n.value, n.known }

// Or returns the figure, or instead when it is unknown.
func (n Number) Or(instead float64) float64 {
	if n.known {
		return n.value
	}
	return instead
}

// IsKnown reports whether the figure is known.
func (n Number) IsKnown() bool { return n.known }

// String returns the shortest plain decimal that reads back exactly, or "null".
func (n Number) String() string { return string(n.AppendJSON(nil)) }

// AppendJSON appends the figure as a JSON number in plain decimal, never with an exponent, or null.
func (n Number) AppendJSON(b []byte) []byte {
	if !n.known {
		return append(b, "null"...)
	}
	return strconv.AppendFloat(b, n.value, 'f', -1, 64)
}

// MarshalJSON writes a JSON number in plain decimal, or null.
func (n Number) MarshalJSON() ([]byte, error) { return n.AppendJSON(nil), nil }

// UnmarshalJSON reads a JSON number, a string that holds one, or null.
func (n *Number) UnmarshalJSON(text []byte) error {
	s := string(text)
	if s == "null" {
		*n = Number{}
		return nil
	}
	if len(s) >= 2 && s[0] == '"' {
		s = s[1 : len(s)-1]
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return Errorf(InvalidArgument, "%.40q is not a number", s)
	}
	*n = Known(f)
	return nil
}

// Asset is a coin or token.
type Asset struct {
	// ID in the words of the catalogue it came from, such as "bitcoin". Empty when no catalogue could be asked; a source
	// then goes by Symbol.
	ID string `json:"id"`
	// Symbol in lower case, such as "btc". Several assets may share one.
	Symbol string `json:"symbol"`
	// Name for people, such as "Bitcoin". May be empty.
	Name string `json:"name"`
	// Rank by market capitalisation, from 1; 0 when unknown.
	Rank int `json:"rank"`
	// MarketCap in US dollars.
	MarketCap Number `json:"market_cap"`
}

// Quote is what one asset is worth now. Changes are in percent; money is in VsCurrency.
type Quote struct {
	// ID is that of the asset that was asked for; it may be empty.
	ID string `json:"id"`
	// Symbol is that of the asset that was asked for, in lower case.
	Symbol string `json:"symbol"`
	// Name for people; may be empty.
	Name       string `json:"name"`
	VsCurrency string `json:"vs_currency"` // lower case, such as "usd"
	// Price of one unit of the asset, in VsCurrency.
	Price Number `json:"price"`
	// Change1h and the others are by how much the price has changed since then, in percent of the price then.
	Change1h Number `json:"change_1h"`
	// Change24h since a day ago.
	Change24h Number `json:"change_24h"`
	// Change7d since a week ago.
	Change7d Number `json:"change_7d"`
	// Change30d since thirty days ago.
	Change30d Number `json:"change_30d"`
	// Change1y since a year ago.
	Change1y Number `json:"change_1y"`
	// High24h is the highest price of the last 24 hours, in VsCurrency.
	High24h Number `json:"high_24h"`
	// Low24h is the lowest price of the last 24 hours, in VsCurrency.
	Low24h    Number `json:"low_24h"`
	Volume24h Number `json:"volume_24h"` // in VsCurrency
	// MarketCap is the price of all units in circulation, in VsCurrency.
	MarketCap Number `json:"market_cap"`
	Rank      int    `json:"rank"` // 0 when unknown
	// Supply is how much of the asset there is.
	Supply Supply `json:"supply"`
	// ATH is the highest price ever.
	ATH Mark `json:"ath"`
	// ATL is the lowest price ever.
	ATL Mark `json:"atl"`
	// Source is the name of the island that gave the quote.
	Source string `json:"source"`
	// AsOf is when the upstream last changed the quote, UTC.
	AsOf time.Time `json:"as_of"`
	// Note says what a reader should know about the figures, such as that they are in USDT. May be empty.
	Note string `json:"note,omitempty"`
}

// Supply is how much of an asset there is, in units of the asset.
type Supply struct {
	// Circulating is what is in the hands of people.
	Circulating Number `json:"circulating"`
	// Total is what there is, what is locked included.
	Total Number `json:"total"`
	// Max is what there can ever be.
	Max                   Number `json:"max"`
	FullyDilutedValuation Number `json:"fully_diluted_valuation"` // in the quote's currency
}

// Mark is an extreme price and when it was reached; the zero Date is unknown.
type Mark struct {
	// Price at the mark, in the currency of the quote.
	Price  Number    `json:"price"`
	Date   time.Time `json:"date"`
	Change Number    `json:"change"` // in percent, from the mark to now
}

// Interval is the length of a candle, in Binance's case-sensitive words.
type Interval string

// The intervals there are.
const (
	Interval1m  Interval = "1m"
	Interval5m  Interval = "5m"
	Interval15m Interval = "15m"
	Interval30m Interval = "30m"
	Interval1h  Interval = "1h"
	Interval4h  Interval = "4h"
	Interval12h Interval = "12h"
	Interval1d  Interval = "1d"
	Interval1w  Interval = "1w"
)

// Intervals lists the intervals there are, shortest first.
func Intervals() []Interval {
	return []Interval{
		Interval1m, Interval5m, Interval15m, Interval30m, Interval1h, Interval4h, Interval12h, Interval1d, Interval1w,
	}
}

// Valid reports whether the interval is one of Intervals.
func (i Interval) Valid() bool { return slices.Contains(Intervals(), i) }

// Duration returns how long a candle lasts, 0 for an unknown interval.
func (i Interval) Duration() time.Duration {
	switch i {
	case Interval1m:
		return time.Minute
	case Interval5m:
		return 5 * time.Minute
	case Interval15m:
		return 15 * time.Minute
	case Interval30m:
		return 30 * time.Minute
	case Interval1h:
		return time.Hour
	case Interval4h:
		return 4 * time.Hour
	case Interval12h:
		return 12 * time.Hour
	case Interval1d:
		return 24 * time.Hour
	case Interval1w:
		return 7 * 24 * time.Hour
	default:
		return 0
	}
}

// Candle is how a price moved in one interval. Open, High, Low and Volume are unknown where a source gives closes only.
type Candle struct {
	// OpenTime is the start of the interval, UTC, aligned to it.
	OpenTime time.Time `json:"open_time"`
	// Open, High, Low and Close are prices in the quote currency of the run.
	Open   Number `json:"open"`
	High   Number `json:"high"`
	Low    Number `json:"low"`
	Close  Number `json:"close"`
	Volume Number `json:"volume"` // in units of the asset
	// Closed is false for the candle that still moves.
	Closed bool `json:"closed"`
}

// Candles is a run of candles of one asset, oldest first, without duplicates.
type Candles struct {
	// ID and Symbol are those of the asset that was asked for.
	ID     string `json:"id"`
	Symbol string `json:"symbol"`
	// Interval of each candle.
	Interval Interval `json:"interval"`
	// VsCurrency of the prices, lower case, such as "usd".
	VsCurrency string `json:"vs_currency"`
	// Source is the name of the island that gave the candles.
	Source string `json:"source"`
	// AsOf is how recent the candles are, UTC: when the source was asked, or the newest stamp of what it served if that is
	// older.
	AsOf time.Time `json:"as_of"`
	// Items are the candles, oldest first.
	Items []Candle `json:"candles"`
	// Note says what a reader should know, such as that there are closes only. May be empty.
	Note string `json:"note,omitempty"`
}

// Global is the state of the whole market.
type Global struct {
	// VsCurrency of the money, lower case, such as "usd".
	VsCurrency string `json:"vs_currency"`
	// MarketCap of all assets, in VsCurrency.
	MarketCap Number `json:"market_cap"`
	// Volume24h of all markets in the last 24 hours, in VsCurrency.
	Volume24h          Number            `json:"volume_24h"`
	MarketCapChange24h Number            `json:"market_cap_change_24h"` // in percent
	Dominance          map[string]Number `json:"dominance"`             // symbol → percent of MarketCap
	// ActiveAssets is how many assets are traded, 0 when unknown.
	ActiveAssets int `json:"active_assets"`
	// Markets is how many there are, 0 when unknown.
	Markets int `json:"markets"`
	// Source is the name of the island that gave the figures.
	Source string `json:"source"`
	// AsOf is when the upstream last changed them, UTC.
	AsOf time.Time `json:"as_of"`
}

// Sentiment is how greedy or fearful the market feels.
type Sentiment struct {
	// Value from 0 (fear) to 100 (greed).
	Value Number `json:"value"`
	// Label in the source's own words, such as "Extreme Fear".
	Label string `json:"label"`
	// Source is the name of the island that gave the value.
	Source string `json:"source"`
	// AsOf is when the upstream last changed it, UTC.
	AsOf time.Time `json:"as_of"`
}
