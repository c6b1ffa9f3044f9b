package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/upstream"
)

const (
	// refusedFor is how long to stay away after a refusal by the firewall.
	refusedFor = time.Minute
	// limitedFor is how long to stay away when there were too many calls. It doubles with each refusal in a row.
	limitedFor, mostLimited = 10 * time.Second, 5 * time.Minute
	// lockedFor is how long Kraken locks out who goes on after too many errors.
	lockedFor = 15 * time.Minute
	// mostWords bounds what is repeated of Kraken's words, in bytes.
	mostWords = 120
)

// answer is the outside of every answer. Errors is there even when it is empty.
type answer struct {
	Errors *[]string       `json:"error"`
	Result json.RawMessage `json:"result"`
}

// trouble is what Kraken's words say is wrong, until a call gets through.
type trouble struct {
	mu      sync.Mutex
	text    string
	limited int // refusals in a row
}

func (t *trouble) reason() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text
}

func (t *trouble) over() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text, t.limited = "", 0
}

// begins notes trouble and returns how long to stay away, if it is about too many calls.
func (t *trouble) begins(err *sdk.Error) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = err.Message
	if err.Kind != sdk.RateLimited {
		return 0
	}
	t.limited++
	if err.RetryAfter > 0 {
		return err.RetryAfter
	}
	return min(mostLimited, limitedFor<<min(t.limited-1, 10))
}

const (
	// retryAfterWords is how long to wait before another try when Kraken says that it is busy. It doubles with each.
	retryAfterWords = 500 * time.Millisecond
	// mostRetries is the most that the client would do.
	mostRetries = 3
)

// ask calls a public method, such as "Ticker", and reads its result. The client tries again by itself after a status that asks
// for it; an answer in words that does, such as EService:Busy, is tried again here.
func (s *source) ask(ctx context.Context, method string, query url.Values, retries int, result any) error {
	if s.client == nil {
		return sdk.Errorf(sdk.Unavailable, "not initialized")
	}
	for tries := 0; ; tries++ {
		told, err := s.askOnce(ctx, method, query, retries-tries, result)
		pause := retryAfterWords << tries
		deadline, bounded := ctx.Deadline()
		if err == nil || !told || !errors.Is(err, sdk.Unavailable) || tries >= min(retries, mostRetries) ||
			bounded && time.Until(deadline) <= pause {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// askOnce asks, and tells whether what is wrong was told in words.
func (s *source) askOnce(ctx context.Context, method string, query url.Values, retries int, result any) (told bool, err error) {
	var a answer
	err = s.client.GetJSON(ctx, upstream.Request{Path: "/0/public/" + method, Fixed: true, Query: query, Retries: retries}, &a)
	if err != nil {
		return false, err
	}
	bad := a.fault(s.now())
	if bad == nil && json.Unmarshal(a.Result, result) != nil {
		bad = sdk.Errorf(sdk.BadUpstream, "the result is not what it should be")
	}
	if bad == nil {
		s.trouble.over()
		return false, nil
	}
	s.told[bad.Kind].Add(1)
	bad.Message = "GET /0/public/" + method + ": " + bad.Message
	if bad.Kind == sdk.NotFound || bad.Kind == sdk.InvalidArgument {
		s.trouble.over() // It works, and does not have what was asked for.
		return true, bad
	}
	if bad.RetryAfter = s.trouble.begins(bad); bad.RetryAfter > 0 {
		s.client.Silence(s.now().Add(bad.RetryAfter), bad.Kind, bad.Message)
	}
	return true, bad
}

// fault is what is wrong with an answer, nil for nothing.
func (a answer) fault(now time.Time) *sdk.Error {
	if a.Errors == nil {
		return sdk.Errorf(sdk.BadUpstream, `an answer without "error"; is the setting "url" right?`)
	}
	for _, words := range *a.Errors {
		if !strings.HasPrefix(words, "W") { // A warning comes with a result.
			return meaning(words, now)
		}
	}
	if len(a.Result) == 0 {
		return sdk.Errorf(sdk.BadUpstream, "an answer without a result")
	}
	return nil
}

// meaning translates an error in Kraken's words: a severity, a category, and after the colon what it is about.
func meaning(words string, now time.Time) *sdk.Error {
	shown := strings.ToValidUTF8(words[:min(len(words), mostWords)], "")
	err := func(kind sdk.Kind, after time.Duration) *sdk.Error {
		return &sdk.Error{Kind: kind, RetryAfter: after, Message: shown}
	}
	category, detail, _ := strings.Cut(words, ":")
	detail = strings.TrimSpace(detail)
	switch {
	case strings.HasPrefix(detail, "Throttled"):
		_, stamp, _ := strings.Cut(detail, ":")
		seconds, bad := strconv.ParseInt(strings.TrimSpace(stamp), 10, 64)
		if left := time.Unix(seconds, 0).Sub(now); bad == nil && left > 0 {
			return err(sdk.RateLimited, min(left, lockedFor))
		}
		return err(sdk.RateLimited, 0)
	case detail == "Temporary lockout":
		return err(sdk.RateLimited, lockedFor)
	case strings.HasPrefix(detail, "Rate limit exceeded"), strings.HasPrefix(detail, "Too many requests"):
		return err(sdk.RateLimited, 0)
	case strings.HasPrefix(detail, "Unknown asset"): // "Unknown asset pair" too
		return err(sdk.NotFound, 0)
	case strings.HasPrefix(detail, "Invalid arguments"):
		return err(sdk.InvalidArgument, 0)
	case strings.HasPrefix(detail, "Permission denied"):
		return err(sdk.PermissionDenied, 0)
	case category == "EService", detail == "Internal error":
		return err(sdk.Unavailable, 0)
	default:
		return err(sdk.BadUpstream, 0)
	}
}

// classify says what an error status means, nil where it says it all: those come from what stands before Kraken.
func classify(status int, _ http.Header, _ []byte) error {
	switch status {
	case http.StatusForbidden:
		return &sdk.Error{Kind: sdk.PermissionDenied, Message: "refused by the firewall", RetryAfter: refusedFor}
	case http.StatusUnavailableForLegalReasons:
		return &sdk.Error{Kind: sdk.PermissionDenied, Message: "restricted location", RetryAfter: refusedFor}
	default:
		return nil
	}
}
