package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/service-islands/islands/config"
)

// Bounds of one exchange with a running host.
const (
	// maxAnswer holds every kept crash of an island, even when each byte of its output has to be escaped.
	maxAnswer = 16 << 20
	// answerTimeout is for a question, which a host answers from memory.
	answerTimeout = 10 * time.Second
	// changeTimeout is for a change. A host gives itself a minute for one and should be the first to give up, because it
	// can say why.
	changeTimeout = 75 * time.Second
)

// errTooSlow ends an exchange that takes too long.
var errTooSlow = errors.New("too slow")

// adminClient speaks with a running host over its admin socket. The file system says who may.
type adminClient struct {
	socket  string
	islands []string // of the configuration, for suggestions
	enabled []string // those of them that are
	timeout time.Duration
	http    http.Client
}

// openAdmin finds the admin socket of the host that runs, or would run, with a configuration. A mistake in the
// configuration is a usageError.
func openAdmin(path string, timeout time.Duration) (*adminClient, error) {
	// To find a socket takes no manifest, so it also works where the binaries are not.
	cfg, err := config.Load(path, config.Options{})
	if err != nil {
		return nil, usageError{err}
	}
	socket, err := adminSocket(cfg.Host.DataDir)
	if err != nil {
		return nil, usageError{err}
	}
	a := &adminClient{socket: socket, timeout: timeout}
	for _, island := range cfg.Islands {
		a.islands = append(a.islands, island.Name)
		if island.Enabled {
			a.enabled = append(a.enabled, island.Name)
		}
	}
	a.http.Transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
	}
	a.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return a, nil
}

// ask returns the JSON that the host answers to a question.
func (a *adminClient) ask(ctx context.Context, path string) ([]byte, error) {
	return a.exchange(ctx, http.MethodGet, path, nil)
}

// change tells the host to do something and returns the JSON that it answers once that is done.
func (a *adminClient) change(ctx context.Context, path string, body any) ([]byte, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return a.exchange(ctx, http.MethodPost, path, encoded)
}

func (a *adminClient) exchange(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, a.timeout, errTooSlow)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://islands"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return nil, a.unanswered(ctx, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, a.unanswered(ctx, err)
	case len(answer) > maxAnswer:
		return nil, fmt.Errorf("the answer on %s is larger than %d MiB: is it a host's socket?", a.socket, maxAnswer>>20)
	case resp.StatusCode/100 != 2:
		return nil, newRefusal(resp.StatusCode, answer)
	case !json.Valid(answer):
		return nil, fmt.Errorf("the answer on %s is not JSON: is it a host's socket?", a.socket)
	}
	return answer, nil
}

// unanswered says why there is no answer.
func (a *adminClient) unanswered(ctx context.Context, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // The URL is made up and would only confuse.
	}
	var op *net.OpError
	switch {
	case errors.Is(context.Cause(ctx), errTooSlow):
		return fmt.Errorf("the host on %s did not answer within %s: ask \"islands status\" what became of it, or allow more with --timeout",
			a.socket, a.timeout)
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted: %w", ctx.Err())
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the admin socket %s is another user's: ask as the user who runs the host", a.socket)
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Errorf("no host answers on %s: is it running, with the same configuration and environment?", a.socket)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the host on %s hung up before it had answered", a.socket)
	default:
		return fmt.Errorf("ask the host on %s: %w", a.socket, err)
	}
}

// refusal is a problem (RFC 9457) that a host answered with.
type refusal struct {
	status    int
	Title     string `json:"title"`
	Detail    string `json:"detail"`
	RequestID string `json:"request_id"`
	Errors    []struct {
		Parameter string `json:"parameter"`
		Detail    string `json:"detail"`
	} `json:"errors"`
	Suggestions []string `json:"suggestions"`
}

// newRefusal reads a problem. Whatever cannot be read of it is left out: the status says the most important.
func newRefusal(status int, answer []byte) *refusal {
	r := &refusal{}
	if err := json.Unmarshal(answer, r); err != nil {
		r = &refusal{}
	}
	r.status = status
	return r
}

// Error tells everything that helps an operator, in one line for each part that is wrong.
func (r *refusal) Error() string {
	var text strings.Builder
	switch {
	case r.Title != "" && r.Detail != "":
		text.WriteString(r.Title + ": " + r.Detail)
	case r.Title+r.Detail != "":
		text.WriteString(r.Title + r.Detail)
	default:
		fmt.Fprintf(&text, "the host answered with HTTP status %d", r.status)
	}
	if r.status >= http.StatusInternalServerError && r.RequestID != "" {
		fmt.Fprintf(&text, " (its log says more about request_id %s)", r.RequestID)
	}
	for _, fault := range r.Errors {
		text.WriteString("\n  " + strings.TrimPrefix(fault.Parameter+": ", ": ") + fault.Detail)
	}
	if len(r.Suggestions) > 0 {
		text.WriteString("\n  did you mean " + strings.Join(r.Suggestions, ", ") + "?")
	}
	return printable(text.String())
}
