package islandtest

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/service-islands/islands/sdk/conformance"
)

// Upstream is an HTTP server that stands in for what a source asks, and fails on demand: its Break is a Subject.Break.
type Upstream struct {
	// URL of the server, without a slash at the end.
	URL string

	breaker *conformance.Breaker
}

// NewUpstream starts a server that answers with a handler while nothing is broken. It ends with the test.
func NewUpstream(tb testing.TB, handler http.Handler) *Upstream {
	tb.Helper()
	breaker := conformance.NewBreaker(handler)
	server := httptest.NewServer(breaker)
	tb.Cleanup(server.Close)
	return &Upstream{URL: server.URL, breaker: breaker}
}

// Break makes every call fail in one way until mend is called.
func (u *Upstream) Break(_ testing.TB, fault Fault) (mend func()) { return u.breaker.Break(fault) }
