package coingecko

import (
	"net/http"
	"strings"
	"time"

	"github.com/service-islands/islands/examples/marketsim/sim/internal/upstream"
)

// The service's own error codes.
const (
	codeMissingKey  = 10002
	codePaidOnly    = 10005
	codeProKeyHere  = 10010
	codeDemoKeyHere = 10011
	codeTooFarBack  = 10012
)

var messages = map[int]string{
	http.StatusTooManyRequests: "You've exceeded the Rate Limit. Please visit https://www.coingecko.com/en/api/pricing " +
		"to subscribe to our API plans for higher rate limits.",
	codeMissingKey: "API Key Missing. Please make sure you're using the right authentication method. " +
		"For Pro API, please visit: https://docs.coingecko.com/reference/authentication.",
	codePaidOnly: "This request is limited to PRO API subscribers. " +
		"Please visit https://www.coingecko.com/en/api/pricing to subscribe.",
	codeProKeyHere: "If you are using Pro API key, please change your root URL from api.coingecko.com to " +
		"pro-api.coingecko.com",
	codeDemoKeyHere: "If you are using Demo API key, please change your root URL from pro-api.coingecko.com to " +
		"api.coingecko.com",
	codeTooFarBack: "Your request exceeds the allowed time range. Public API users are limited to querying historical " +
		"data within the past 365 days.",
}

// plain is the first shape: {"error":"coin not found"}.
func plain(status int, message string) upstream.Reply {
	return upstream.JSON(status, upstream.Object{{Name: "error", Value: message}})
}

// coded is the second shape: {"status":{"error_code":10002,"error_message":"…"}}.
func coded(status, code int) upstream.Reply {
	return upstream.JSON(status, upstream.Object{{Name: "status", Value: upstream.Object{
		{Name: "error_code", Value: code},
		{Name: "error_message", Value: messages[code]},
	}}})
}

// nested is the third shape: {"error":{"status":{"timestamp":"…","error_code":10012,"error_message":"…"}}}.
func nested(status, code int, message string, now time.Time) upstream.Reply {
	return upstream.JSON(status, upstream.Object{{Name: "error", Value: upstream.Object{
		{Name: "status", Value: upstream.Object{
			{Name: "timestamp", Value: now.UTC().Format("2006-01-02T15:04:05.000-07:00")},
			{Name: "error_code", Value: code},
			{Name: "error_message", Value: message},
		}},
	}}})
}

// numbered is the fourth shape: {"status":500,"error":"Internal Server Error"}.
func numbered(status int) upstream.Reply {
	return upstream.JSON(status, upstream.Object{
		{Name: "status", Value: status},
		{Name: "error", Value: http.StatusText(status)},
	})
}

func wrongPath() upstream.Reply {
	return plain(http.StatusNotFound, "Incorrect path. Please check https://docs.coingecko.com/")
}

// Fail builds an error reply in the shape that the service uses for the status.
func (s *Service) Fail(r *upstream.Request, f upstream.Failure) upstream.Reply {
	style := f.Style
	if style == "" && f.Status == http.StatusForbidden {
		style = upstream.StyleHTML
	}
	var reply upstream.Reply
	switch {
	case style == upstream.StyleHTML:
		reply = upstream.Reply{Status: f.Status, Type: upstream.TypeHTML, Body: []byte(page(f.Status))}
	case style == upstream.StyleText:
		text := "Throttled"
		if f.Status != http.StatusTooManyRequests {
			text = http.StatusText(f.Status)
		}
		reply = upstream.Reply{Status: f.Status, Type: upstream.TypeText, Body: []byte(text)}
	case f.Status == http.StatusTooManyRequests:
		reply = coded(f.Status, f.Status)
	case f.Status == http.StatusUnauthorized || f.Status == http.StatusForbidden:
		reply = nested(f.Status, f.Status, http.StatusText(f.Status), r.Now)
	case f.Status >= http.StatusInternalServerError:
		reply = numbered(f.Status)
	default:
		reply = plain(f.Status, strings.ToLower(http.StatusText(f.Status)))
	}
	return reply.With("Retry-After", f.RetryAfter)
}

// page is what the network in front of the service answers.
func page(status int) string {
	title, heading, text := "api.coingecko.com", http.StatusText(status), "The request could not be served"
	switch status {
	case http.StatusTooManyRequests:
		title = "Access denied | api.coingecko.com used Cloudflare to restrict access"
		heading, text = "Error 1015", "You are being rate limited"
	case http.StatusForbidden:
		title = "Attention Required! | Cloudflare"
		heading, text = "Sorry, you have been blocked", "You are unable to access api.coingecko.com"
	}
	return "<!DOCTYPE html>\n<html><head><title>" + title + "</title></head><body><h1>" + heading + "</h1><p>" + text +
		"</p></body></html>\n"
}
