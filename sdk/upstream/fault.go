package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"unicode"

	"github.com/service-islands/islands/sdk"
)

// maxQuote bounds how much of an upstream's words an error repeats, in bytes.
const maxQuote = 300

// Faults of the client's own within one attempt.
var (
	errTooLarge = errors.New("reply too large")
	errTarget   = errors.New("not an address")
)

// transportFault says what an attempt without a usable reply means, and whether another could fare better.
func (c *call) transportFault(ctx context.Context, err error) (*sdk.Error, bool) {
	// The cause is never wrapped: a url.Error holds the whole address, the query included.
	fault := func(kind sdk.Kind, format string, args ...any) *sdk.Error {
		return &sdk.Error{Kind: kind, Message: c.label + ": " + c.client.clean(fmt.Sprintf(format, args...))}
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return &sdk.Error{Kind: sdk.Canceled, Message: c.label + ": " + context.Canceled.Error(), Err: context.Canceled}, false
	case ctx.Err() != nil:
		return &sdk.Error{
			Kind: sdk.DeadlineExceeded, Message: c.label + ": no answer before the deadline", Err: context.DeadlineExceeded,
		}, false
	case errors.Is(err, context.DeadlineExceeded):
		return fault(sdk.Unavailable, "no answer within %s", c.client.opts.Timeout), true
	case errors.Is(err, errTooLarge):
		return fault(sdk.BadUpstream, "a reply of more than %d bytes", c.client.opts.MaxBody), false
	case errors.Is(err, errRedirect):
		return fault(sdk.BadUpstream, "%v", errRedirect), false
	case errors.Is(err, errTarget):
		return fault(sdk.InvalidArgument, "%v", errTarget), false
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fault(sdk.BadUpstream, "the reply was cut off"), true
	default:
		return fault(sdk.Unavailable, "%s", plainCause(err)), true
	}
}

// plainCause says why a connection failed, without addresses.
func plainCause(err error) string {
	var dns *net.DNSError
	var op *net.OpError
	var link *url.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, io.EOF):
		return "connection closed without a reply"
	case errors.As(err, &dns):
		if dns.IsNotFound {
			return "the host's name is not known"
		}
		return "the host's name cannot be looked up"
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error()
	case errors.As(err, &link):
		return link.Err.Error()
	default:
		return err.Error()
	}
}

// classify says what an error reply means, in the words of Options.Classify if it knows, else by the status; and what
// reason a silence that follows from it has.
func (c *call) classify(got reply) (fault *sdk.Error, reason string) {
	opts := c.client.opts
	prefix := fmt.Sprintf("%s: %d", c.label, got.status)
	fault = &sdk.Error{Kind: kindOfStatus(got.status), Message: prefix + " " + http.StatusText(got.status)}
	if fault.Kind == sdk.NotFound && !isDocument(got.body) {
		fault.Kind = sdk.BadUpstream
		fault.Message += " without a word in JSON; is the address right?"
	}
	if opts.Classify != nil {
		if err := opts.Classify(got.status, got.header, got.body); err != nil {
			text := c.client.clean(err.Error())
			fault = &sdk.Error{Kind: sdk.KindOf(err), RetryAfter: sdk.RetryAfter(err), Message: prefix + ": " + text}
			if fault.RetryAfter > 0 {
				reason = text
			}
		}
	}
	if c.req.Fixed && fault.Kind == sdk.NotFound {
		fault.Kind = sdk.BadUpstream
		fault.Message += "; is the address right?"
	}
	if reason == "" {
		reason = fmt.Sprintf("%s, status %d", fault.Kind, got.status)
	}
	return fault, reason
}

// isDocument reports whether a body is an object or an array of JSON. The text "404" is JSON too, and says nothing.
func isDocument(body []byte) bool {
	body = bytes.TrimLeft(body, " \t\r\n")
	return len(body) > 0 && (body[0] == '{' || body[0] == '[') && json.Valid(body)
}

// kindOfStatus is what a status means where nothing more is known.
func kindOfStatus(status int) sdk.Kind {
	switch {
	case status == http.StatusBadRequest, status == http.StatusUnprocessableEntity:
		return sdk.InvalidArgument
	case status == http.StatusUnauthorized:
		return sdk.Unauthenticated
	case status == http.StatusForbidden, status == http.StatusUnavailableForLegalReasons:
		return sdk.PermissionDenied
	case status == http.StatusNotFound, status == http.StatusGone:
		return sdk.NotFound
	case status == http.StatusTooManyRequests, status == http.StatusTeapot:
		return sdk.RateLimited
	case status == http.StatusRequestTimeout, status >= 500:
		return sdk.Unavailable
	default:
		return sdk.BadUpstream
	}
}

// clean makes text from outside fit for an error: without secrets and control characters, and short.
func (c *Client) clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	for _, secret := range c.opts.Headers {
		// A secret of a letter or two would riddle the text and hide nothing.
		if len(secret.Reveal()) > 3 {
			text = strings.ReplaceAll(text, secret.Reveal(), secret.String())
			text = strings.ReplaceAll(text, url.QueryEscape(secret.Reveal()), secret.String())
		}
	}
	// Cut last: half a secret would not be found.
	if len(text) > maxQuote {
		text = strings.ToValidUTF8(text[:maxQuote], "") + "…"
	}
	return text
}
