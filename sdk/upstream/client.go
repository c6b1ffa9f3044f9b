package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/sdk"
)

// The defaults of Options.
const (
	DefaultTimeout   = 3 * time.Second
	DefaultMaxBody   = 8 << 20
	DefaultUserAgent = "islands (+https://github.com/service-islands/islands)"
)

// maxErrorBody bounds how much of an error reply is read.
const maxErrorBody = 64 << 10

// Options say which upstream to ask and how politely. Only BaseURL is needed.
type Options struct {
	// BaseURL that each request's path is appended to, such as "https://api.example.com/v3". See CheckURL.
	BaseURL string
	// UserAgent of each call; DefaultUserAgent when empty, because some upstreams refuse calls without one.
	UserAgent string
	// Headers to send with each call, empty ones left out. Their values are taken for secrets: they never show.
	Headers map[string]sdk.Secret
	// Limit is the budget; the zero Limit has none.
	Limit Limit
	// Timeout bounds one attempt, the reading of its body included; DefaultTimeout when zero.
	Timeout time.Duration
	// MaxBody bounds a reply in bytes, after decompression; DefaultMaxBody when zero.
	MaxBody int64
	// Logger receives a warning for each 429 and each retry; none when nil.
	Logger *slog.Logger
	// Classify reads the upstream's own error replies: every status but 2xx. It returns an *sdk.Error, whose RetryAfter
	// silences the client for that long, with its message as the reason that anonymous clients may see; or nil to go by
	// the status alone, where a 404 or 410 is NotFound with a body of JSON and BadUpstream without. The body is at most
	// 64 KiB. What it quotes of the body is shortened by the client, after keys have been taken out; it must not be cut
	// before.
	Classify func(status int, header http.Header, body []byte) error
	// OnReply sees the header of every reply, before its body is read. It may call Silence.
	OnReply func(status int, header http.Header)
	// Transport to send with; one of the client's own when nil.
	Transport http.RoundTripper
}

// Limit is a budget of weight. A call weighs 1 unless its Request says otherwise.
type Limit struct {
	// PerMinute is the most that any minute may hold; 0 for no limit.
	PerMinute int
	// Burst is how much of it may be spent at once; six tenths of PerMinute when 0. The rest refills over the minute.
	Burst int
}

// Request is one GET.
type Request struct {
	// Path below the base URL, escaped, with a leading slash.
	Path string
	// Query of the URL; nil for none.
	Query url.Values
	// Fixed is true for a path that exists whatever is asked for, such as that of a list: what would be NotFound is
	// BadUpstream then, because it is the base URL that is wrong.
	Fixed bool
	// Weight that the call takes from the budget; 0 counts as 1.
	Weight int
	// Retries is how often to try again within the deadline after a 429, a 5xx or a broken connection; at most 3.
	Retries int
}

// Client asks one upstream. All methods may be called concurrently.
type Client struct {
	opts    Options
	base    string
	baseErr error
	http    *http.Client
	gate    *gate
	stats   *stats
	closed  atomic.Bool
}

// New returns a client. It neither connects nor fails: a BaseURL that cannot be used is an InvalidArgument error of
// every call.
func New(opts Options) *Client {
	if opts.UserAgent == "" {
		opts.UserAgent = DefaultUserAgent
	}
	if opts.Timeout <= 0 {
		opts.Timeout = DefaultTimeout
	}
	if opts.MaxBody <= 0 {
		opts.MaxBody = DefaultMaxBody
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Transport == nil {
		opts.Transport = newTransport()
	}
	return &Client{
		opts:    opts,
		base:    strings.TrimRight(opts.BaseURL, "/"),
		baseErr: CheckURL("url", opts.BaseURL),
		http:    &http.Client{Transport: opts.Transport, CheckRedirect: sameHost},
		gate:    newGate(opts.Limit),
		stats:   newStats(),
	}
}

// newTransport returns a transport whose connections are the client's own, so that Close can end them.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           8,
		MaxIdleConnsPerHost:    8,
		MaxConnsPerHost:        32,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
	}
}

// CheckURL reports, as an InvalidArgument error that names the setting, whether a value can be a BaseURL: absolute,
// http or https, without query and fragment.
func CheckURL(setting, value string) error {
	u, err := url.Parse(value)
	if err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.RawQuery == "" && u.Fragment == "" {
		return nil
	}
	// The value is not repeated: it may hold a password or, by a slip, a key.
	return &sdk.Error{
		Kind: sdk.InvalidArgument, Setting: setting,
		Message: fmt.Sprintf("setting %q wants the base of a service, such as \"https://api.example.com/v1\", without ? and #", setting),
	}
}

// errRedirect is what a redirect ends with that leads to another host, or to too many places.
var errRedirect = errors.New("redirects to another host are refused")

// sameHost lets redirects pass that stay on the host.
func sameHost(next *http.Request, via []*http.Request) error {
	first := via[0].URL
	if len(via) > 3 || next.URL.Host != first.Host || next.URL.Scheme != first.Scheme {
		return errRedirect
	}
	return nil
}

// GetJSON asks for a path and decodes the reply into v. Its errors are *sdk.Error:
// RateLimited with RetryAfter when the budget is used up, the upstream says 429 or a silence holds; Unavailable when it
// cannot be reached, answers 5xx or takes longer than the timeout; BadUpstream when the reply is too large, cut off or
// not the JSON that v wants; DeadlineExceeded and Canceled by ctx; and what Classify or the status says.
func (c *Client) GetJSON(ctx context.Context, req Request, v any) error {
	call := &call{client: c, req: req, label: http.MethodGet + " " + req.Path}
	target, err := c.target(req)
	if err != nil {
		return err
	}
	call.target = target
	return call.run(ctx, v)
}

// target returns the address that a request goes to.
func (c *Client) target(req Request) (string, error) {
	if c.baseErr != nil {
		return "", c.baseErr
	}
	if !strings.HasPrefix(req.Path, "/") || strings.ContainsAny(req.Path, "?#") {
		return "", sdk.Errorf(sdk.Internal, "path %q must begin with a slash and hold no query", req.Path)
	}
	if len(req.Query) == 0 {
		return c.base + req.Path, nil
	}
	return c.base + req.Path + "?" + req.Query.Encode(), nil
}

// reply is what came back in one attempt.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// exchange sends one attempt and reads its reply, within the timeout.
func (c *Client) exchange(ctx context.Context, target string) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return reply{}, errTarget
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.opts.UserAgent)
	for name, value := range c.opts.Headers {
		if value != "" {
			req.Header.Set(name, value.Reveal())
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	if c.opts.OnReply != nil {
		c.opts.OnReply(resp.StatusCode, resp.Header)
	}
	out := reply{status: resp.StatusCode, header: resp.Header}
	if out.status/100 != 2 {
		// An error page that is cut off or too long still has a status, which is what matters.
		out.body, err = io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
		if ctx.Err() == nil {
			err = nil
		}
		return out, err
	}
	out.body, err = io.ReadAll(io.LimitReader(resp.Body, c.opts.MaxBody+1))
	if err == nil && int64(len(out.body)) > c.opts.MaxBody {
		err = errTooLarge
	}
	return out, err
}

// decode reads a reply's body into v.
func decode(body []byte, v any) error {
	err := json.Unmarshal(body, v)
	if err == nil {
		return nil
	}
	if first := bytes.TrimLeft(body, " \t\r\n"); len(first) > 0 && first[0] == '<' {
		return errors.New("a page instead of JSON")
	}
	return fmt.Errorf("not the JSON that was expected: %w", err)
}

// Silence stops every call until a point in time: they are refused at once, with an error of that kind, the reason and
// RetryAfter. A silence that already lasts longer stays. The reason may be shown to anonymous clients.
func (c *Client) Silence(until time.Time, kind sdk.Kind, reason string) {
	c.gate.silence(silence{until: until, kind: kind, reason: reason})
}

// Close ends idle connections and refuses calls from now on. It is safe twice.
func (c *Client) Close() {
	c.closed.Store(true)
	c.http.CloseIdleConnections()
}
