package sdk

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Kind is why a call did not succeed. The list is closed and append-only, because it crosses the wire. A Kind is itself
// an error, so that errors.Is(err, sdk.NotFound) reads well on both sides of a process boundary.
type Kind uint8

// The kinds there are.
const (
	Internal          Kind = iota // a fault of the island itself, or an error nobody classified
	InvalidArgument               // the caller asked for something that cannot be meant
	NotFound                      // there is no such thing, as far as this island can know
	RateLimited                   // too many calls; RetryAfter says when to come back
	Unavailable                   // a peer cannot be reached or refuses to work right now
	DeadlineExceeded              // the time ran out
	Canceled                      // the caller went away
	Unauthenticated               // a key is missing or wrong
	PermissionDenied              // the peer refuses this caller: a ban, a restricted location
	BadUpstream                   // a peer answered something that makes no sense
	Unsupported                   // the island does not offer this at all: a currency, an interval
	Conflict                      // somebody else holds what was asked for: a lease, a fenced write
	ResourceExhausted             // a bound of the island's own was hit: size, queue, memory
)

// kindNames holds the name of each kind, in the order of the constants.
var kindNames = [...]string{
	"internal", "invalid argument", "not found", "rate limited", "unavailable", "deadline exceeded", "canceled",
	"unauthenticated", "permission denied", "bad upstream", "unsupported", "conflict", "resource exhausted",
}

// String returns the kind in lower-case words, such as "rate limited".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Error makes a Kind a target for errors.Is.
func (k Kind) Error() string { return k.String() }

// Error is a failure that keeps its meaning across a process boundary.
type Error struct {
	// Kind is why the call did not succeed.
	Kind Kind
	// Message in lower case, naming the thing, the value and the way out, the cause's text included. No secret.
	Message string
	// RetryAfter is how long to wait before another try; zero when unknown.
	RetryAfter time.Duration
	// Setting is the name of the setting at fault, for an InvalidArgument of Initialize.
	Setting string
	// Err is the cause, for errors.Is and errors.As on this side; it does not cross the wire.
	Err error
}

// Error returns the message, or the cause's text, or the kind's name: the first that is not empty.
func (e *Error) Error() string {
	switch {
	case e.Message != "":
		return e.Message
	case e.Err != nil:
		return e.Err.Error()
	default:
		return e.Kind.String()
	}
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is this error's kind.
func (e *Error) Is(target error) bool {
	kind, ok := target.(Kind)
	return ok && kind == e.Kind
}

// Errorf makes an error of a kind. A %w in the format keeps its cause for errors.Is and errors.As on this side.
func Errorf(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Message: err.Error(), Err: errors.Unwrap(err)}
}

// KindOf returns the kind of an error: that of the outermost Error or Kind in its chain, DeadlineExceeded and Canceled
// for those of package context, and Internal for everything else. It must not be asked about nil.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	var k Kind
	switch {
	case errors.As(err, &k):
		return k
	case errors.Is(err, context.DeadlineExceeded):
		return DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return Canceled
	default:
		return Internal
	}
}

// RetryAfter returns how long an error asks to wait before another try, zero when it does not say.
func RetryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}
