package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"github.com/service-islands/islands/sdk"
)

// parameter is a parameter of a query string.
type parameter uint8

// The parameters there are.
const (
	vsCurrencyParam parameter = iota
	formatParam
	sourceParam
	symbolsParam
	intervalParam
	limitParam
	fromParam
	toParam
	cursorParam
	searchParam
	channelsParam
	parameterCount
)

var parameterNames = [parameterCount]string{
	"vs_currency", "format", "source", "symbols", "interval", "limit", "from", "to", "cursor", "q", "channels",
}

// String returns the name that clients write.
func (p parameter) String() string { return parameterNames[p] }

// query holds the parameters of a request, empty for those that were not given.
type query [parameterCount]string

// readQuery reads the parameters of a request. One that the route does not know, one that is given twice and one without
// a value are faults of the client: better to say so than to answer another question than was meant.
func readQuery(c *fiber.Ctx, allowed ...parameter) (query, error) {
	var q query
	if len(c.Context().URI().QueryString()) == 0 {
		return q, nil
	}
	var faults []fault
	seen := 0
	for key, value := range c.Context().QueryArgs().All() {
		if seen++; seen > 4*int(parameterCount) {
			break // Nobody reads so many faults.
		}
		name := string(key)
		i := slices.IndexFunc(allowed, func(p parameter) bool { return p.String() == name })
		switch {
		case i < 0:
			faults = append(faults, unknownParameter(name, allowed))
		case len(value) == 0:
			faults = append(faults, fault{Parameter: name, Detail: "has no value"})
		case q[allowed[i]] != "":
			faults = append(faults, fault{Parameter: name, Detail: "is given more than once"})
		default:
			q[allowed[i]] = string(value)
		}
	}
	if len(faults) > 0 {
		return q, badQuery(nil, faults...)
	}
	return q, nil
}

// unknownParameter is the fault of a parameter that a route does not know.
func unknownParameter(name string, allowed []parameter) fault {
	names := make([]string, len(allowed))
	for i, p := range allowed {
		names[i] = p.String()
	}
	detail := "is not a parameter of this route"
	switch alike := closest(name, names, 1); {
	case len(alike) > 0:
		detail += fmt.Sprintf("; did you mean %s?", alike[0])
	case len(names) > 0:
		detail += "; it takes " + strings.Join(names, ", ")
	default:
		detail += ", which takes none"
	}
	return fault{Parameter: shown(name), Detail: detail}
}

// badQuery is the problem of a query string that cannot be meant.
func badQuery(suggestions []string, faults ...fault) *problem {
	return &problem{
		status: http.StatusBadRequest, code: "invalid_parameter", title: "Invalid query parameter",
		detail: "A query parameter is not one that this route understands.", faults: faults, suggestions: suggestions,
	}
}

// badValue is the problem of a parameter whose value cannot be meant. Wants says what could be.
func badValue(p parameter, value, wants string, suggestions ...string) *problem {
	return badQuery(suggestions, fault{Parameter: p.String(), Detail: fmt.Sprintf("wants %s, not %q", wants, shown(value))})
}

// shown is what a client wrote, as far as it is worth repeating.
func shown(s string) string {
	const most = 40
	s = strings.ToValidUTF8(s, "�")
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// maxSymbol is the longest symbol or id, in bytes.
const maxSymbol = 32

// parseSymbol returns a symbol in lower case, as a copy of its own. It reports false for one that is not made of 1 to 32
// letters, digits and hyphens.
func parseSymbol(text string) (string, bool) {
	if text == "" || len(text) > maxSymbol {
		return "", false
	}
	var lower [maxSymbol]byte
	for i := range len(text) {
		c := text[i]
		if !isAlphanumeric(c) && c != '-' {
			return "", false
		}
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		lower[i] = c
	}
	return string(lower[:len(text)]), true
}

// plainSymbol reports whether parseSymbol would return a text as it is.
func plainSymbol(text string) bool {
	for i := range len(text) {
		if c := text[i]; !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' {
			return false
		}
	}
	return text != "" && len(text) <= maxSymbol
}

// malformedSymbol is the problem of a symbol in the path that is none.
func malformedSymbol() *problem {
	return &problem{
		status: http.StatusBadRequest, code: "malformed_symbol", title: "Malformed symbol",
		detail: "A symbol is made of 1 to 32 letters, digits and hyphens, such as btc.",
	}
}

// symbol returns the symbol of the path.
func pathSymbol(c *fiber.Ctx) (string, error) {
	if symbol, ok := parseSymbol(c.Params("symbol")); ok {
		return symbol, nil
	}
	return "", malformedSymbol()
}

// symbols returns the list of ?symbols=, duplicates folded.
func (q *query) symbols(most int) ([]string, error) {
	text := q[symbolsParam]
	if text == "" {
		return nil, badQuery(nil, fault{Parameter: "symbols", Detail: "is required: symbols separated by commas, such as btc,eth"})
	}
	if n := strings.Count(text, ",") + 1; n > most {
		return nil, badQuery(nil, fault{Parameter: "symbols", Detail: fmt.Sprintf("holds %d symbols; at most %d may be asked for at once", n, most)})
	}
	var out []string
	seen := make(map[string]bool)
	for item := range strings.SplitSeq(text, ",") {
		symbol, ok := parseSymbol(item)
		if !ok {
			return nil, badValue(symbolsParam, item, "symbols made of 1 to 32 letters, digits and hyphens, separated by commas")
		}
		if !seen[symbol] {
			seen[symbol] = true
			out = append(out, symbol)
		}
	}
	return out, nil
}

// vsCurrency returns the currency to answer in.
func (q *query) vsCurrency() (string, error) {
	text := q[vsCurrencyParam]
	if text == "" {
		return currencies[0], nil
	}
	for _, currency := range currencies {
		if strings.EqualFold(text, currency) {
			return currency, nil
		}
	}
	return "", badValue(vsCurrencyParam, text, "a currency such as usd, eur or btc", closest(strings.ToLower(text), currencies, 5)...)
}

// interval returns the length of the candles. Its case matters: 1m is a minute.
func (q *query) interval() (sdk.Interval, error) {
	text := q[intervalParam]
	if text == "" {
		return sdk.Interval1d, nil
	}
	names := make([]string, 0, len(sdk.Intervals()))
	for _, interval := range sdk.Intervals() {
		if text == string(interval) {
			return interval, nil
		}
		names = append(names, string(interval))
	}
	return "", badValue(intervalParam, text, "one of "+strings.Join(names, ", "), names...)
}

// maxLimit bounds ?limit=.
const maxLimit = 1000

// limit returns how many items to answer with, from 1 to 1000.
func (q *query) limit(instead int) (int, error) {
	text := q[limitParam]
	if text == "" {
		return instead, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxLimit || text[0] == '+' {
		return 0, badValue(limitParam, text, "a whole number from 1 to "+strconv.Itoa(maxLimit))
	}
	return n, nil
}

// span returns the time asked for: the 24 hours before to or now unless from is given.
func (q *query) span(now time.Time) (from, to time.Time, err error) {
	to = now.UTC()
	if q[toParam] != "" {
		if to, err = parseMoment(toParam, q[toParam]); err != nil {
			return from, to, err
		}
	}
	from = to.Add(-24 * time.Hour)
	if q[fromParam] != "" {
		if from, err = parseMoment(fromParam, q[fromParam]); err != nil {
			return from, to, err
		}
	}
	if !from.Before(to) {
		return from, to, badQuery(nil, fault{Parameter: "from", Detail: "must lie before to, which is now unless it is given"})
	}
	return from, to, nil
}

// parseMoment reads a time in RFC 3339, or in seconds or milliseconds since 1970. A number of 12 digits or more is taken
// for milliseconds: as seconds it would lie beyond the year 5000.
func parseMoment(p parameter, text string) (time.Time, error) {
	const firstMillis, lastSecond = 1e11, 253402300799 // The latter is the end of the year 9999.
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 && text[0] != '+' {
		switch {
		case n < firstMillis:
			return time.Unix(n, 0).UTC(), nil
		case n/1000 <= lastSecond:
			return time.UnixMilli(n).UTC(), nil
		}
	}
	// A plus sign that a client forgot to escape arrives as a space.
	t, err := time.Parse(time.RFC3339, strings.Replace(text, " ", "+", 1))
	if err != nil || t.Unix() < 0 || t.Unix() > lastSecond {
		return time.Time{}, badValue(p, text, "a time such as 2026-01-31T12:00:00Z, or seconds or milliseconds since 1970")
	}
	return t.UTC(), nil
}

// search returns what to look for in the catalogue: at most 64 printable characters, empty for everything.
func (q *query) search() (string, error) {
	text := q[searchParam]
	if !utf8.ValidString(text) || utf8.RuneCountInString(text) > 64 || strings.ContainsFunc(text, unprintable) {
		return "", badValue(searchParam, text, "at most 64 printable characters")
	}
	return strings.TrimSpace(text), nil
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// cursor returns where a page of the history begins; the store judges its meaning.
func (q *query) cursor() (string, error) {
	text := q[cursorParam]
	if len(text) > 512 || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", badValue(cursorParam, text, "what a page named as its next")
	}
	return text, nil
}

// closest lists those names that are likely to be meant by a word, the likeliest first.
func closest(word string, names []string, most int) []string {
	type candidate struct {
		name     string
		distance int
	}
	if len(word) > maxSymbol {
		return nil
	}
	var candidates []candidate
	for _, name := range names {
		if d := distance(word, name); d <= max(1, len(name)/3) {
			candidates = append(candidates, candidate{name, d})
		}
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int { return a.distance - b.distance })
	out := make([]string, 0, most)
	for _, c := range candidates[:min(most, len(candidates))] {
		out = append(out, c.name)
	}
	return out
}

// distance is how many bytes must be inserted, removed or replaced to make one word of the other (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
