package gateway

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/service-islands/islands/sdk"
)

// problem is an error as clients see it, after RFC 9457. All its words are the gateway's own, or what the client wrote.
type problem struct {
	status      int
	code        string
	title       string
	detail      string
	retryable   bool
	retryAfter  time.Duration
	policy      string // of the limit that RateLimit names; upstream when empty
	faults      []fault
	suggestions []string
}

// fault is what is wrong with one part of a request.
type fault struct {
	// Parameter of the query string, or member of the body.
	Parameter string `json:"parameter"`
	Detail    string `json:"detail"`
}

// Error returns the title.
func (p *problem) Error() string { return p.title }

// kindProblems says how each kind of failure is shown: the one table of HTTP statuses.
var kindProblems = [...]problem{
	sdk.Internal: {
		status: http.StatusInternalServerError, title: "Internal error",
		detail: "Something went wrong inside. The request id helps to find out what.",
	},
	sdk.InvalidArgument: {
		status: http.StatusBadRequest, title: "Invalid request",
		detail: "The request asks for something that cannot be meant.",
	},
	sdk.NotFound: {
		status: http.StatusNotFound, title: "Not found",
		detail: "There is no such thing.",
	},
	sdk.RateLimited: {
		status: http.StatusServiceUnavailable, title: "Upstream limit reached", retryable: true,
		detail: "The services that could answer take no more calls right now, and nothing is remembered that could be served instead.",
	},
	sdk.Unavailable: {
		status: http.StatusServiceUnavailable, title: "Unavailable", retryable: true,
		detail: "Nothing can answer this right now, and nothing is remembered that could be served instead.",
	},
	sdk.DeadlineExceeded: {
		status: http.StatusGatewayTimeout, title: "Time is up", retryable: true,
		detail: "The answer took longer than a request may take.",
	},
	sdk.Canceled: {
		status: http.StatusServiceUnavailable, title: "Canceled", retryable: true,
		detail: "The request was given up before there was an answer.",
	},
	sdk.Unauthenticated: {
		status: http.StatusBadGateway, title: "Upstream refused",
		detail: "A service that could answer does not accept this installation's credentials.",
	},
	sdk.PermissionDenied: {
		status: http.StatusServiceUnavailable, title: "Upstream refused", retryable: true,
		detail: "The services that could answer refuse to serve this installation right now.",
	},
	sdk.BadUpstream: {
		status: http.StatusBadGateway, title: "Upstream answered nonsense", retryable: true,
		detail: "A service that should answer sent something that makes no sense.",
	},
	sdk.Unsupported: {
		status: http.StatusBadRequest, title: "Not offered",
		detail: "None of the configured sources offers this combination of asset, currency and interval.",
	},
	sdk.Conflict: {
		status: http.StatusConflict, title: "Conflict",
		detail: "Something else holds what is needed for this.",
	},
	sdk.ResourceExhausted: {
		status: http.StatusServiceUnavailable, title: "Too busy", retryable: true,
		detail: "Too much is under way to take this on right now.",
	},
}

// problemOf returns how an error is shown.
func problemOf(err error) *problem {
	var ready *problem
	if errors.As(err, &ready) {
		return ready
	}
	var ours *fiber.Error
	if errors.As(err, &ours) {
		return requestProblem(ours.Code)
	}
	kind := sdk.KindOf(err)
	if int(kind) >= len(kindProblems) {
		kind = sdk.Internal
	}
	p := kindProblems[kind]
	p.code = strings.ReplaceAll(kind.String(), " ", "_")
	p.retryAfter = sdk.RetryAfter(err)
	var suggester interface{ Suggested() []string }
	if errors.As(err, &suggester) {
		p.suggestions = suggester.Suggested()
	}
	return &p
}

// unknownAsset says of a NotFound that it is the asset that is not known.
func unknownAsset(err error) error {
	if !errors.Is(err, sdk.NotFound) {
		return err
	}
	p := problemOf(err)
	p.code, p.title = "unknown_asset", "Unknown asset"
	p.detail = "No asset with this symbol or id is known; /api/symbols?q= searches those that are."
	return p
}

// requestProblem is the problem of a request that did not get as far as a route.
func requestProblem(status int) *problem {
	switch status {
	case http.StatusNotFound:
		return &problem{status: status, code: "unknown_route", title: "Unknown route", detail: "There is nothing at this path."}
	case http.StatusMethodNotAllowed:
		return &problem{
			status: status, code: "method_not_allowed", title: "Method not allowed",
			detail: "This path does not take this method; the Allow header lists those it takes.",
		}
	case http.StatusRequestEntityTooLarge:
		return &problem{status: status, code: "body_too_large", title: "Body too large", detail: "A body may hold 64 KiB at most."}
	case http.StatusRequestHeaderFieldsTooLarge:
		return &problem{
			status: status, code: "header_too_large", title: "Header too large",
			detail: "The request line and the header may hold 16 KiB together at most.",
		}
	case http.StatusRequestTimeout:
		return &problem{
			status: status, code: "request_timeout", title: "Request took too long", retryable: true,
			detail: "The request did not arrive in time.",
		}
	default:
		return &problem{
			status: http.StatusBadRequest, code: "malformed_request", title: "Malformed request",
			detail: "This is not a request that HTTP/1.1 allows.",
		}
	}
}

// problemBody is the shape of a problem.
type problemBody struct {
	Type        string   `json:"type"`
	Title       string   `json:"title"`
	Status      int      `json:"status"`
	Detail      string   `json:"detail"`
	Instance    string   `json:"instance"`
	Code        string   `json:"code"`
	RequestID   string   `json:"request_id"`
	Retryable   bool     `json:"retryable"`
	Errors      []fault  `json:"errors,omitempty"`
	Suggestions []string `json:"suggestions,omitempty"`
}

// problemType is what the types of problems begin with; the code follows.
const problemType = "urn:service-islands:problem:"

// Bounds of Retry-After: an error that does not say is worth another try soon, one that says days is not the only way
// to an answer.
const (
	defaultRetryAfter = 5 * time.Second
	maxRetryAfter     = time.Hour
)

// writeProblem answers with a problem.
func (g *Gateway) writeProblem(rctx *fasthttp.RequestCtx, rc *requestContext, p *problem) {
	body, err := json.Marshal(problemBody{
		Type: problemType + p.code, Title: p.title, Status: p.status, Detail: p.detail,
		Instance: instance(rctx.URI().PathOriginal()), Code: p.code, RequestID: rc.id.String(), Retryable: p.retryable,
		Errors: p.faults, Suggestions: p.suggestions,
	})
	if err != nil {
		g.opts.Logger.Error("problem cannot be encoded", "error", err, "request_id", rc.id.String())
		body = []byte(`{"title":"Internal error"}`)
	}
	h := &rctx.Response.Header
	rctx.SetStatusCode(p.status)
	rctx.Response.SetBodyRaw(body)
	h.SetContentType("application/problem+json")
	h.Set("Cache-Control", "no-store")
	if p.status == http.StatusTooManyRequests || p.status == http.StatusServiceUnavailable {
		seconds := retrySeconds(p.retryAfter)
		h.Set("Retry-After", seconds)
		policy := p.policy
		if policy == "" {
			policy = "upstream"
		}
		h.Set("RateLimit", `"`+policy+`";r=0;t=`+seconds)
	}
}

func retrySeconds(after time.Duration) string {
	if after <= 0 {
		after = defaultRetryAfter
	}
	after = min(after, maxRetryAfter)
	return strconv.FormatInt(int64((after+time.Second-1)/time.Second), 10)
}

// instance is the path of a request as a reference that a URI may hold, cut when it is long.
func instance(path []byte) string {
	const most = 128
	const hex = "0123456789ABCDEF"
	path = path[:min(most, len(path))]
	b := make([]byte, 0, len(path))
	for i, c := range path {
		escapes := c == '%' && i+2 < len(path) && isHex(path[i+1]) && isHex(path[i+2])
		if escapes || isAlphanumeric(c) || strings.IndexByte("/-._~!$&'()*+,;=:@", c) >= 0 {
			b = append(b, c)
			continue
		}
		b = append(b, '%', hex[c>>4], hex[c&15])
	}
	return string(b)
}

func isHex(c byte) bool {
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')
}
