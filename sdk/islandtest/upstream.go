package islandtest

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Upstream is an HTTP server that stands in for what a source asks, and fails on demand: its Break is a Subject.Break.
type Upstream struct {
	// URL of the server, without a slash at the end.
	URL string

	mu     sync.Mutex
	fault  Fault
	mended chan struct{} // closed when the fault ends
}

// NewUpstream starts a server that answers with a handler while nothing is broken. It ends with the test.
func NewUpstream(tb testing.TB, handler http.Handler) *Upstream {
	tb.Helper()
	u := &Upstream{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		fault, mended := u.fault, u.mended
		u.mu.Unlock()
		switch fault {
		case "":
			handler.ServeHTTP(w, r)
		case FaultRateLimited:
			w.Header().Set("Retry-After", "7")
			http.Error(w, "too many requests", http.StatusTooManyRequests)
		case FaultServerError:
			http.Error(w, "internal server error", http.StatusInternalServerError)
		case FaultGarbage:
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `[{"garbage": 1, "cut o`) // The client may be gone.
		case FaultSilence:
			select {
			case <-r.Context().Done():
			case <-mended:
			}
		default:
			hangUp(w)
		}
	}))
	tb.Cleanup(server.Close)
	u.URL = server.URL
	return u
}

// hangUp ends the connection without an answer.
func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // A reset says more clearly than an orderly end that there is no answer.
	}
	_ = conn.Close()
}

// Break makes every call fail in one way until mend is called.
func (u *Upstream) Break(_ testing.TB, fault Fault) (mend func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	mended := make(chan struct{})
	u.fault, u.mended = fault, mended
	return sync.OnceFunc(func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.fault = ""
		close(mended)
	})
}
