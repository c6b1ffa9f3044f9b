package gateway

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/service-islands/islands/sdk"
)

// maxRequestID is the longest request id that is taken over from a client, in bytes.
const maxRequestID = 64

// requestContext is the context of one request. A warm answer never looks at it, so that its timer, its channel and the
// value that carries the request id are made when they are first asked for. It is not recycled: a load that outlives
// its request goes on reading the values.
type requestContext struct {
	base     context.Context //nolint:containedctx // It is a context itself, and this is its parent.
	deadline time.Time
	id       requestID
	client   clientKey

	mu     sync.Mutex
	ended  bool
	values context.Context //nolint:containedctx // The part of this context that carries the request id.
	live   context.Context //nolint:containedctx // The part of this context that ends.
	cancel context.CancelFunc
}

var _ context.Context = (*requestContext)(nil)

// Deadline is when the request's time is up.
func (rc *requestContext) Deadline() (time.Time, bool) { return rc.deadline, true }

// Done is closed when the request's time is up, the request has ended, or the gateway gives up on it.
func (rc *requestContext) Done() <-chan struct{} {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if rc.live == nil {
		rc.live, rc.cancel = context.WithDeadline(rc.valuesLocked(), rc.deadline)
		if rc.ended {
			rc.cancel()
		}
	}
	return rc.live.Done()
}

// Err says why the context is done, nil while it is not.
func (rc *requestContext) Err() error {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	switch {
	case rc.live != nil:
		return rc.live.Err()
	case rc.ended:
		return context.Canceled
	case !time.Now().Before(rc.deadline):
		return context.DeadlineExceeded
	default:
		return rc.base.Err()
	}
}

// ClientOf names the client whose request a context belongs to: its address or its network, not to be shown. It is empty
// for a context of the host's own.
func ClientOf(ctx context.Context) string {
	rc, _ := ctx.Value(requestKey{}).(*requestContext)
	if rc == nil {
		return ""
	}
	return string(rc.client[:])
}

// Value returns the request id under its key, and the context itself under that of request contexts.
func (rc *requestContext) Value(key any) any {
	if key == (requestKey{}) {
		return rc
	}
	rc.mu.Lock()
	ctx := rc.live
	if ctx == nil {
		ctx = rc.valuesLocked()
	}
	rc.mu.Unlock()
	return ctx.Value(key)
}

func (rc *requestContext) valuesLocked() context.Context {
	if rc.values == nil {
		rc.values = sdk.WithRequestID(rc.base, rc.id.String())
	}
	return rc.values
}

// end tells those who still wait that nobody listens any more.
func (rc *requestContext) end() {
	rc.mu.Lock()
	rc.ended = true
	cancel := rc.cancel
	rc.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// requestID is what a request is called in logs and answers.
type requestID struct {
	length uint8
	text   [maxRequestID]byte
}

// bytes is the id without a copy, valid as long as where it is kept.
func (id *requestID) bytes() []byte { return id.text[:id.length] }

// String returns the id.
func (id *requestID) String() string { return string(id.bytes()) }

// take takes a client's request id over when it is sane, and makes one otherwise.
func (id *requestID) take(offered []byte) {
	if saneRequestID(offered) {
		id.length = uint8(copy(id.text[:], offered))
		return
	}
	const digits = "0123456789abcdef"
	random := rand.Uint64()
	for i := range 16 {
		id.text[i] = digits[random&15]
		random >>= 4
	}
	id.length = 16
}

// saneRequestID reports whether an id consists of 1 to 64 letters, digits, dots, underscores and hyphens.
func saneRequestID(id []byte) bool {
	if len(id) == 0 || len(id) > maxRequestID {
		return false
	}
	for _, c := range id {
		if !isAlphanumeric(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
}
