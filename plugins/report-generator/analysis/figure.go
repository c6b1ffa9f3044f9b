package analysis

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/service-islands/islands/sdk"
)

// Figure is a named number.
type Figure struct {
	Name   string
	Number sdk.Number
}

// Figures is a JSON object of numbers that keeps its order. Names are plain ASCII.
type Figures []Figure

// MarshalJSON writes the object.
func (f Figures) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, figure := range f {
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendQuote(out, figure.Name)
		out = append(out, ':')
		out = figure.Number.AppendJSON(out)
	}
	return append(out, '}'), nil
}

// Value is what an indicator says: one number or several, or null.
type Value struct {
	Number sdk.Number
	Parts  Figures
}

// MarshalJSON writes a number, an object, or null.
func (v Value) MarshalJSON() ([]byte, error) {
	if v.Parts != nil {
		return v.Parts.MarshalJSON()
	}
	return v.Number.MarshalJSON()
}

// Known reports whether the value is one.
func (v Value) Known() bool { return v.Parts != nil || v.Number.IsKnown() }

// Signal is what an indicator advises: Buy, Sell, Neutral, or empty where it has nothing to say.
type Signal string

// The signals there are.
const (
	Buy     Signal = "buy"
	Sell    Signal = "sell"
	Neutral Signal = "neutral"
)

// MarshalJSON writes the signal, or null for none.
func (s Signal) MarshalJSON() ([]byte, error) {
	if s == "" {
		return []byte("null"), nil
	}
	return json.Marshal(string(s))
}

// signalOf is Buy or Sell when one of them is true, and Neutral otherwise.
func signalOf(buy, sell bool) Signal {
	switch {
	case buy:
		return Buy
	case sell:
		return Sell
	default:
		return Neutral
	}
}

// Text writes a number for people: two decimals from 1000 on, four from 1 on, six significant digits below, no trailing
// zeros, thousands apart by commas; "n/a" when it is unknown.
func Text(n sdk.Number) string {
	f, known := n.Float64()
	if !known {
		return "n/a"
	}
	var text string
	switch size := math.Abs(f); {
	case size >= 1000:
		text = strconv.FormatFloat(f, 'f', 2, 64)
	case size >= 1:
		text = strconv.FormatFloat(f, 'f', 4, 64)
	default:
		rounded, err := strconv.ParseFloat(strconv.FormatFloat(f, 'e', 5, 64), 64)
		if err != nil {
			return "n/a"
		}
		text = strconv.FormatFloat(rounded, 'f', -1, 64)
	}
	whole, fraction, _ := strings.Cut(text, ".")
	fraction = strings.TrimRight(fraction, "0")
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	switch {
	case fraction != "":
		return sign + whole + "." + fraction
	case whole == "0":
		return "0" // There is no minus nothing.
	default:
		return sign + whole
	}
}
