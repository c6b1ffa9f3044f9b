package main

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/service-islands/islands/sdk"
)

// restrictedLocation is what a 451 says.
const restrictedLocation = "restricted location"

const (
	// unknownBan is how long a ban is taken to last that does not say: the shortest there is.
	unknownBan = 2 * time.Minute
	// refusedFor is how long to stay away after a refusal that has nothing to do with weight.
	refusedFor = time.Minute
)

// errorCodes are Binance's own codes and what they mean.
var errorCodes = map[int]sdk.Kind{
	-1003: sdk.RateLimited,
	-1100: sdk.InvalidArgument, // illegal characters
	-1101: sdk.InvalidArgument, // too many parameters
	-1102: sdk.InvalidArgument, // a parameter is missing
	-1120: sdk.InvalidArgument, // no such interval
	-1121: sdk.NotFound,        // no such symbol
}

// bannedUntil finds the end of a ban, in milliseconds, in what Binance says about it.
var bannedUntil = regexp.MustCompile(`banned until (\d{10,15})`)

// classify says what an error reply means, nil where the status says it all. A RetryAfter silences the client.
func classify(status int, header http.Header, body []byte, now time.Time) error {
	var reply struct {
		Code int    `json:"code"`
		Text string `json:"msg"`
	}
	// A page of the firewall is no JSON; then the status is what there is.
	readable := json.Unmarshal(body, &reply) == nil
	switch status {
	case http.StatusTeapot:
		return banned(header, reply.Text, now)
	case http.StatusUnavailableForLegalReasons:
		return &sdk.Error{Kind: sdk.PermissionDenied, Message: restrictedLocation, RetryAfter: refusedFor}
	case http.StatusForbidden:
		return &sdk.Error{Kind: sdk.PermissionDenied, Message: "refused by the firewall", RetryAfter: refusedFor}
	}
	if kind, ok := errorCodes[reply.Code]; readable && ok {
		return sdk.Errorf(kind, "%d %s", reply.Code, reply.Text)
	}
	if status == http.StatusNotFound || status == http.StatusGone {
		// Binance answers an unknown symbol with a code; without one it is the path that is unknown.
		return sdk.Errorf(sdk.BadUpstream, `no such path; is the setting "url" right?`)
	}
	return nil
}

// banned is the error of a 418, with the time that is left of the ban.
func banned(header http.Header, text string, now time.Time) error {
	var left time.Duration
	if found := bannedUntil.FindStringSubmatch(text); found != nil {
		if ms, err := strconv.ParseInt(found[1], 10, 64); err == nil {
			left = time.UnixMilli(ms).Sub(now)
		}
	}
	// Where a Retry-After is longer, the client goes by that.
	if left <= 0 && header.Get("Retry-After") == "" {
		left = unknownBan
	}
	return &sdk.Error{
		Kind: sdk.RateLimited, Message: "banned for having gone on after a 429", RetryAfter: max(left, time.Second),
	}
}
