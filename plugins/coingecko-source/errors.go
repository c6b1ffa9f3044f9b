package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/service-islands/islands/sdk"
)

// errorCodes are CoinGecko's own codes and what they mean.
var errorCodes = map[int]sdk.Kind{
	429:   sdk.RateLimited,
	10002: sdk.Unauthenticated, // no key
	10005: sdk.Unsupported,     // for subscribers only
	10010: sdk.Unauthenticated, // a pro key on the public host
	10011: sdk.Unauthenticated, // a demo key on the pro host
	10012: sdk.Unsupported,     // beyond the past 365 days
}

// fault is an error reply in any of its shapes.
type fault struct {
	code    int
	message string
}

// faultStatus is the object that names code and message.
type faultStatus struct {
	Code    int    `json:"error_code"`
	Message string `json:"error_message"`
}

// readFault reads {"error":"…"}, {"status":{…}}, {"error":{"status":{…}}} and {"status":500,"error":"…"}. Of anything
// else it knows nothing.
func readFault(body []byte) fault {
	var outer struct {
		Status json.RawMessage `json:"status"`
		Error  json.RawMessage `json:"error"`
	}
	if json.Unmarshal(body, &outer) != nil {
		return fault{}
	}
	var inner struct {
		Status faultStatus `json:"status"`
	}
	var status faultStatus
	if json.Unmarshal(outer.Status, &status) == nil && status.Code != 0 {
		return fault{code: status.Code, message: status.Message}
	}
	if json.Unmarshal(outer.Error, &inner) == nil && inner.Status.Code != 0 {
		return fault{code: inner.Status.Code, message: inner.Status.Message}
	}
	var message string
	if json.Unmarshal(outer.Error, &message) != nil {
		return fault{}
	}
	return fault{message: message}
}

// missing reports whether the reply says, in CoinGecko's own words, that there is no such coin. That there is no such
// path is said in the same shapes, and other servers write {"error":"Not Found"} too.
func (f fault) missing(status int) bool {
	text := strings.ToLower(f.message)
	switch {
	case strings.HasPrefix(text, "incorrect path"):
		return false
	case f.code == status:
		return true
	default:
		return text == "coin not found" || strings.HasPrefix(text, "could not find coin")
	}
}

// classify says what an error reply means, nil where the status says it all.
func classify(status int, body []byte) error {
	f := readFault(body)
	if kind, ok := errorCodes[f.code]; ok {
		return sdk.Errorf(kind, "%s", f.message)
	}
	switch {
	case status == http.StatusTooManyRequests:
		// The text "Throttled", a page, or a shape yet unknown: the status is what counts.
		return sdk.Errorf(sdk.RateLimited, "too many calls")
	case bytes.Contains(body, []byte("Error 1015")) || bytes.Contains(body, []byte("You are being rate limited")):
		return sdk.Errorf(sdk.RateLimited, "the page of a rate limiter")
	case strings.Contains(f.message, "vs_currency"):
		return sdk.Errorf(sdk.Unsupported, "%s", f.message)
	case status == http.StatusNotFound, status == http.StatusGone:
		if f.missing(status) {
			return sdk.Errorf(sdk.NotFound, "%s", f.message)
		}
		return sdk.Errorf(sdk.BadUpstream, `%s; is the setting "url" right?`, cmp.Or(f.message, "not in CoinGecko's words"))
	case f.message == "":
		return nil
	case status == http.StatusBadRequest, status == http.StatusUnprocessableEntity:
		return sdk.Errorf(sdk.InvalidArgument, "%s", f.message)
	default:
		return nil
	}
}
