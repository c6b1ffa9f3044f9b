package binance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/service-islands/islands/examples/marketsim/market"
	"github.com/service-islands/islands/examples/marketsim/sim/internal/upstream"
)

// The service's own error codes.
const (
	codeUnknown     = -1000
	codeTooMuch     = -1003
	codeIllegal     = -1100
	codeTooMany     = -1101
	codeMandatory   = -1102
	codeInterval    = -1120
	codeSymbol      = -1121
	codeCombination = -1128
	codeInvalid     = -1130
)

// problem is {"code":-1121,"msg":"Invalid symbol."}.
func problem(status, code int, message string) upstream.Reply {
	return upstream.JSON(status, upstream.Object{{Name: "code", Value: code}, {Name: "msg", Value: message}})
}

func wrong(code int, message string) *upstream.Reply {
	reply := problem(http.StatusBadRequest, code, message)
	return &reply
}

// Fail builds an error reply as the service, or the network in front of it, answers the status.
func (s *Service) Fail(_ *upstream.Request, f upstream.Failure) upstream.Reply {
	style := f.Style
	if style == "" && (f.Status == http.StatusForbidden || f.Status == http.StatusNotFound) {
		style = upstream.StyleHTML
	}
	text := http.StatusText(f.Status)
	var reply upstream.Reply
	switch {
	case style == upstream.StyleHTML:
		reply = upstream.Reply{Status: f.Status, Type: upstream.TypeHTML, Body: []byte(
			"<html>\n<head><title>" + strconv.Itoa(f.Status) + " " + text + "</title></head>\n<body>\n<center><h1>" +
				strconv.Itoa(f.Status) + " " + text + "</h1></center>\n</body>\n</html>\n")}
	case style == upstream.StyleText:
		reply = upstream.Reply{Status: f.Status, Type: upstream.TypeText, Body: []byte(text)}
	case f.Status == http.StatusTooManyRequests:
		reply = problem(f.Status, codeTooMuch, "Too much request weight used; current limit is "+
			strconv.Itoa(max(s.weight, 0))+" request weight per 1 MINUTE. "+
			"Please use WebSocket Streams for live updates to avoid polling the API.")
	case f.Status == http.StatusTeapot:
		reply = problem(f.Status, codeTooMuch, "Way too much request weight used; IP banned until "+
			strconv.FormatInt(f.Until.UnixMilli(), 10)+". Please use WebSocket Streams for live updates to avoid bans.")
	case f.Status == http.StatusUnavailableForLegalReasons:
		reply = problem(f.Status, 0, "Service unavailable from a restricted location according to 'b. Eligibility' in "+
			"https://www.binance.com/en/terms. Please contact customer service if you believe you received this message "+
			"in error.")
	default:
		reply = problem(f.Status, codeUnknown, "An unknown error occurred while processing the request.")
	}
	return reply.With("Retry-After", f.RetryAfter)
}

// checkNames refuses parameters that the route does not know, and repeated ones.
func checkNames(q url.Values, known []string) *upstream.Reply {
	sent, expected := 0, 0
	for name, values := range q {
		sent += len(values)
		if slices.Contains(known, name) {
			expected++
		}
	}
	if sent > expected {
		return wrong(codeTooMany, fmt.Sprintf("Too many parameters; expected '%d' and received '%d'.", expected, sent))
	}
	return nil
}

const (
	symbolRange = "^[A-Z0-9-_.]{1,20}$"
	numberRange = "^[0-9]{1,20}$"
	listRange   = `^\[("[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}){0,1}\]$`
)

var symbolPattern = regexp.MustCompile(`^[A-Z0-9\-_.]{1,20}$`)

func illegal(name, legal string) *upstream.Reply {
	return wrong(codeIllegal, "Illegal characters found in parameter '"+name+"'; legal range is '"+legal+"'.")
}

func mandatory(name string) *upstream.Reply {
	return wrong(codeMandatory, "Mandatory parameter '"+name+"' was not sent, was empty/null, or malformed.")
}

// number reads a parameter of digits; def when it was not sent.
func number(q url.Values, name string, def int64) (int64, *upstream.Reply) {
	text := q.Get(name)
	if text == "" {
		return def, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, illegal(name, numberRange)
	}
	return int64(n), nil
}

// lookUp checks a symbol and finds its pair. A pair that is not listed yet is unknown.
func (s *Service) lookUp(r *upstream.Request, name, symbol string) (*market.Pair, *upstream.Reply) {
	if !symbolPattern.MatchString(symbol) {
		return nil, illegal(name, symbolRange)
	}
	p, ok := s.market.Pair(symbol)
	if !ok || r.Now.Before(p.Listed) {
		return nil, wrong(codeSymbol, "Invalid symbol.")
	}
	return p, nil
}

// pair reads the mandatory parameter symbol.
func (s *Service) pair(r *upstream.Request) (*market.Pair, *upstream.Reply) {
	symbol := r.Query.Get("symbol")
	if symbol == "" {
		return nil, mandatory("symbol")
	}
	return s.lookUp(r, "symbol", symbol)
}

// symbolsOf reads the parameter symbols, a JSON array of strings.
func symbolsOf(q url.Values) ([]string, bool) {
	var symbols []string
	text := q.Get("symbols")
	if strings.ContainsAny(text, " \t\n") || json.Unmarshal([]byte(text), &symbols) != nil || len(symbols) == 0 {
		return nil, false
	}
	return symbols, true
}

// pairs reads symbol or symbols; with neither it returns every listed pair. One says that the answer is a single object.
func (s *Service) pairs(r *upstream.Request) (pairs []*market.Pair, one bool, refusal *upstream.Reply) {
	symbol, list := r.Query.Get("symbol"), r.Query.Get("symbols")
	switch {
	case symbol != "" && list != "":
		return nil, false, wrong(codeCombination, "Combination of optional parameters invalid.")
	case symbol != "":
		p, refusal := s.lookUp(r, "symbol", symbol)
		return []*market.Pair{p}, true, refusal
	case list != "":
		symbols, ok := symbolsOf(r.Query)
		if !ok {
			return nil, false, illegal("symbols", listRange)
		}
		for _, symbol := range symbols {
			p, refusal := s.lookUp(r, "symbols", symbol)
			if refusal != nil {
				return nil, false, refusal
			}
			if slices.Contains(pairs, p) {
				return nil, false, wrong(codeTooMany, "Duplicate values for parameter 'symbols'.")
			}
			pairs = append(pairs, p)
		}
		return pairs, false, nil
	}
	for _, p := range s.market.Pairs() {
		if !r.Now.Before(p.Listed) {
			pairs = append(pairs, p)
		}
	}
	return pairs, false, nil
}
