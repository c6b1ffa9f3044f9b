package upstream

import (
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Request is one call of a service.
type Request struct {
	// Path is what follows the service's prefix, such as "/coins/markets".
	Path   string
	Query  url.Values
	Header http.Header
	// Caller is the address that budgets are counted by.
	Caller string
	Now    time.Time
	// Limit is set while the service's budget is replaced by another.
	Limit *Limit
}

// Limit replaces a service's budget per minute and says how a refusal looks.
type Limit struct {
	PerMinute int
	Style     Style
	// RetryAfter is the header's value; empty sends none, and RetryAuto the seconds that are left of the minute.
	RetryAfter string
}

// Style is the shape of an error's body. The empty one leaves it to the service.
type Style string

// The styles.
const (
	StyleJSON Style = "json"
	StyleHTML Style = "html"
	StyleText Style = "text"
)

// RetryAuto asks for the seconds that are left until a call will be let through.
const RetryAuto = "auto"

// Failure is an error that a service is told to answer with.
type Failure struct {
	Status     int
	Style      Style
	RetryAfter string
	// Words are the error in Kraken's words; used with kraken, where the status may be 200.
	Words string
	// Until is the end of a ban; used with status 418.
	Until time.Time
}

// Reply is a complete answer.
type Reply struct {
	Status int
	Type   string // Content-Type
	Header http.Header
	Body   []byte
	// Fresh is how long the same request gets the same body, and Age how long it has done so already. A reply with a
	// Fresh of zero is not cacheable and gets no ETag.
	Fresh, Age time.Duration
}

// Content types.
const (
	TypeJSON = "application/json; charset=utf-8"
	TypeHTML = "text/html; charset=UTF-8"
	TypeText = "text/plain; charset=utf-8"
)

// With sets a header and returns the reply.
func (r Reply) With(name, value string) Reply {
	if value == "" {
		return r
	}
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set(name, value)
	return r
}

// Cached marks the reply as one that was made at the beginning of its window, which is where [Slot] puts it.
func (r Reply) Cached(now time.Time, window time.Duration) Reply {
	r.Fresh, r.Age = window, now.Sub(Slot(now, window))
	return r
}

// Slot is the beginning of the window that holds now. An answer computed for the slot instead of for now is the same
// throughout the window, as one from a cache would be, with nothing to store.
func Slot(now time.Time, window time.Duration) time.Time { return now.Truncate(window).UTC() }

// RetrySeconds is the Retry-After value for a wait, rounded up to whole seconds and at least one.
func RetrySeconds(wait time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(wait.Seconds()))))
}
