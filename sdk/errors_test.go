package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
)

func TestKindOf(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want sdk.Kind
	}{
		"a plain error":               {io.EOF, sdk.Internal},
		"a kind alone":                {sdk.NotFound, sdk.NotFound},
		"a wrapped kind":              {fmt.Errorf("x: %w", sdk.Conflict), sdk.Conflict},
		"an Error":                    {&sdk.Error{Kind: sdk.BadUpstream}, sdk.BadUpstream},
		"a wrapped Error":             {fmt.Errorf("x: %w", sdk.Errorf(sdk.Unavailable, "y")), sdk.Unavailable},
		"the outermost Error":         {sdk.Errorf(sdk.Unavailable, "x: %w", sdk.Errorf(sdk.NotFound, "y")), sdk.Unavailable},
		"an Error around a kind":      {sdk.Errorf(sdk.Unsupported, "x: %w", sdk.NotFound), sdk.Unsupported},
		"a deadline":                  {fmt.Errorf("x: %w", context.DeadlineExceeded), sdk.DeadlineExceeded},
		"a cancellation":              {context.Canceled, sdk.Canceled},
		"a cancellation in an Error":  {sdk.Errorf(sdk.Internal, "x: %w", context.Canceled), sdk.Internal},
		"a joined pair":               {errors.Join(io.EOF, sdk.RateLimited), sdk.RateLimited},
		"the zero Error":              {&sdk.Error{}, sdk.Internal},
		"a kind that has no name yet": {sdk.Kind(200), sdk.Kind(200)},
	} {
		t.Run(name, func(t *testing.T) {
			if got := sdk.KindOf(tc.err); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestErrorIsItsKindAndItsCause(t *testing.T) {
	err := error(sdk.Errorf(sdk.Unavailable, "ask %s: %w", "upstream", io.ErrUnexpectedEOF))
	if !errors.Is(err, sdk.Unavailable) || errors.Is(err, sdk.NotFound) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%#v", err)
	}
	if err.Error() != "ask upstream: unexpected EOF" {
		t.Errorf("%q", err)
	}
	var e *sdk.Error
	if !errors.As(fmt.Errorf("x: %w", err), &e) || e.Kind != sdk.Unavailable {
		t.Errorf("%#v", e)
	}
	// A cause's kind can still be asked for.
	if err := sdk.Errorf(sdk.Unavailable, "x: %w", sdk.NotFound); !errors.Is(err, sdk.NotFound) || !errors.Is(err, sdk.Unavailable) {
		t.Errorf("%#v", err)
	}
}

func TestErrorText(t *testing.T) {
	for want, err := range map[string]*sdk.Error{
		"message":      {Kind: sdk.NotFound, Message: "message", Err: io.EOF},
		"EOF":          {Kind: sdk.NotFound, Err: io.EOF},
		"rate limited": {Kind: sdk.RateLimited},
	} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
}

func TestEveryKindHasAName(t *testing.T) {
	seen := map[string]bool{}
	for kind := sdk.Internal; kind <= sdk.ResourceExhausted; kind++ {
		name := kind.String()
		if seen[name] || name == "" || name == fmt.Sprintf("kind(%d)", kind) {
			t.Errorf("kind %d is called %q", kind, name)
		}
		seen[name] = true
	}
	if got := (sdk.ResourceExhausted + 1).String(); got != "kind(13)" {
		t.Errorf("the first kind beyond the list is called %q: a new kind needs a name", got)
	}
}

func TestRetryAfter(t *testing.T) {
	err := fmt.Errorf("x: %w", &sdk.Error{Kind: sdk.RateLimited, RetryAfter: 3 * time.Second})
	if got := sdk.RetryAfter(err); got != 3*time.Second {
		t.Errorf("%v", got)
	}
	for _, err := range []error{nil, io.EOF, sdk.RateLimited} {
		if got := sdk.RetryAfter(err); got != 0 {
			t.Errorf("of %v: %v", err, got)
		}
	}
}
