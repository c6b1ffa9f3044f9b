package gateway

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/service-islands/islands/sdk"
)

// EncodeQuote returns a quote as clients see it.
func EncodeQuote(q sdk.Quote, stale bool) []byte {
	return appendQuote(make([]byte, 0, 512), q, stale)
}

func appendQuote(b []byte, q sdk.Quote, stale bool) []byte {
	b = appendText(append(b, `{"id":`...), q.ID)
	b = appendText(append(b, `,"symbol":`...), q.Symbol)
	b = appendText(append(b, `,"name":`...), q.Name)
	b = appendText(append(b, `,"vs_currency":`...), q.VsCurrency)
	b = q.Price.AppendJSON(append(b, `,"price":`...))
	b = q.Change1h.AppendJSON(append(b, `,"change_1h":`...))
	b = q.Change24h.AppendJSON(append(b, `,"change_24h":`...))
	b = q.Change7d.AppendJSON(append(b, `,"change_7d":`...))
	b = q.Change30d.AppendJSON(append(b, `,"change_30d":`...))
	b = q.Change1y.AppendJSON(append(b, `,"change_1y":`...))
	b = q.High24h.AppendJSON(append(b, `,"high_24h":`...))
	b = q.Low24h.AppendJSON(append(b, `,"low_24h":`...))
	b = q.Volume24h.AppendJSON(append(b, `,"volume_24h":`...))
	b = q.MarketCap.AppendJSON(append(b, `,"market_cap":`...))
	b = appendCount(append(b, `,"rank":`...), q.Rank)
	b = appendText(append(b, `,"source":`...), q.Source)
	b = appendTime(append(b, `,"as_of":`...), q.AsOf)
	b = appendText(append(b, `,"note":`...), q.Note)
	b = strconv.AppendBool(append(b, `,"stale":`...), stale)
	return append(b, '}')
}

// EncodeGlobal returns the figures of the whole market as clients see them. Symbols of the dominance are in alphabetical
// order.
func EncodeGlobal(g sdk.Global, stale bool) []byte {
	b := make([]byte, 0, 512)
	b = appendText(append(b, `{"vs_currency":`...), g.VsCurrency)
	b = g.MarketCap.AppendJSON(append(b, `,"market_cap":`...))
	b = g.Volume24h.AppendJSON(append(b, `,"volume_24h":`...))
	b = g.MarketCapChange24h.AppendJSON(append(b, `,"market_cap_change_24h":`...))
	b = append(b, `,"dominance":{`...)
	for i, symbol := range slices.Sorted(maps.Keys(g.Dominance)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, symbol), ':')
		b = g.Dominance[symbol].AppendJSON(b)
	}
	b = appendCount(append(b, `},"active_assets":`...), g.ActiveAssets)
	b = appendCount(append(b, `,"markets":`...), g.Markets)
	b = appendText(append(b, `,"source":`...), g.Source)
	b = appendTime(append(b, `,"as_of":`...), g.AsOf)
	b = strconv.AppendBool(append(b, `,"stale":`...), stale)
	return append(b, '}')
}

// EncodeCandles returns the newest candles, at most limit, oldest first, as clients see them.
func EncodeCandles(c sdk.Candles, limit int, stale bool) []byte {
	items := c.Items[max(0, len(c.Items)-max(0, limit)):]
	b := make([]byte, 0, 256+len(items)*192)
	b = appendText(append(b, `{"symbol":`...), c.Symbol)
	b = appendText(append(b, `,"interval":`...), string(c.Interval))
	b = appendText(append(b, `,"vs_currency":`...), c.VsCurrency)
	b = appendText(append(b, `,"source":`...), c.Source)
	b = appendTime(append(b, `,"as_of":`...), c.AsOf)
	b = appendText(append(b, `,"note":`...), c.Note)
	b = strconv.AppendBool(append(b, `,"stale":`...), stale)
	b = append(b, `,"candles":[`...)
	for i, candle := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendTime(append(b, `{"open_time":`...), candle.OpenTime)
		b = append(b, `,"open_time_ms":`...)
		if candle.OpenTime.IsZero() {
			b = append(b, "null"...)
		} else {
			b = strconv.AppendInt(b, candle.OpenTime.UnixMilli(), 10)
		}
		b = candle.Open.AppendJSON(append(b, `,"open":`...))
		b = candle.High.AppendJSON(append(b, `,"high":`...))
		b = candle.Low.AppendJSON(append(b, `,"low":`...))
		b = candle.Close.AppendJSON(append(b, `,"close":`...))
		b = candle.Volume.AppendJSON(append(b, `,"volume":`...))
		b = strconv.AppendBool(append(b, `,"closed":`...), candle.Closed)
		b = append(b, '}')
	}
	return append(b, "]}"...)
}

// encodeHistory returns a page of stored quotes as clients see it.
func encodeHistory(req sdk.HistoryRequest, page sdk.HistoryPage) []byte {
	b := make([]byte, 0, 256+len(page.Quotes)*512)
	b = appendText(append(b, `{"symbol":`...), req.Symbol)
	b = appendText(append(b, `,"vs_currency":`...), req.VsCurrency)
	b = append(b, `,"quotes":[`...)
	for i, q := range page.Quotes {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuote(b, q, false)
	}
	b = appendText(append(b, `],"next":`...), page.Next)
	return append(b, '}')
}

// encodeSymbols returns assets of the catalogue as clients see them.
func encodeSymbols(assets []sdk.Asset, ambiguous map[string]bool) []byte {
	b := append(make([]byte, 0, 64+len(assets)*128), `{"symbols":[`...)
	for i, a := range assets {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(append(b, `{"id":`...), a.ID)
		b = appendText(append(b, `,"symbol":`...), a.Symbol)
		b = appendText(append(b, `,"name":`...), a.Name)
		b = appendCount(append(b, `,"rank":`...), a.Rank)
		b = a.MarketCap.AppendJSON(append(b, `,"market_cap":`...))
		b = strconv.AppendBool(append(b, `,"ambiguous":`...), ambiguous[a.Symbol])
		b = append(b, '}')
	}
	return append(b, "]}"...)
}

// appendText appends a string that may be unknown: an empty one is null.
func appendText(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

// appendString appends a JSON string; what is not UTF-8 in it is replaced.
func appendString(b []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil {
		return append(b, "null"...) // A string always marshals.
	}
	return append(b, quoted...)
}

// appendCount appends a count that may be unknown: zero is null.
func appendCount(b []byte, n int) []byte {
	if n == 0 {
		return append(b, "null"...)
	}
	return strconv.AppendInt(b, int64(n), 10)
}

// appendTime appends a time in RFC 3339 and UTC; the zero time is null.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

// encodeAny returns a value as JSON whose numbers are plain decimals, which encoding/json does not promise.
func encodeAny(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return plainNumbers(b), nil
}

// plainNumbers rewrites the numbers of a JSON text that have an exponent. Almost always there are none, and the text is
// returned as it is.
func plainNumbers(text []byte) []byte {
	var out []byte
	kept, inString := 0, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case !inString && (c == '-' || (c >= '0' && c <= '9')):
			end := i + 1
			exponent := false
			for end < len(text) && isNumberByte(text[end]) {
				exponent = exponent || text[end] == 'e' || text[end] == 'E'
				end++
			}
			if exponent {
				if f, err := strconv.ParseFloat(string(text[i:end]), 64); err == nil {
					out = append(out, text[kept:i]...)
					out = strconv.AppendFloat(out, f, 'f', -1, 64)
					kept = end
				}
			}
			i = end - 1
		}
	}
	if kept == 0 {
		return text
	}
	return append(out, text[kept:]...)
}

func isNumberByte(c byte) bool {
	return (c >= '0' && c <= '9') || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-'
}
