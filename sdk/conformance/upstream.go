package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Breaker is an HTTP handler that answers for an upstream, and fails on demand: its Break is a Subject.Break.
type Breaker struct {
	handler http.Handler
	held    atomic.Int64

	mu     sync.Mutex
	fault  Fault
	mended chan struct{} // closed when the fault ends
}

// NewBreaker returns one that answers as a handler does while nothing is broken.
func NewBreaker(handler http.Handler) *Breaker { return &Breaker{handler: handler} }

// ServeHTTP implements http.Handler.
func (u *Breaker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	fault, mended := u.fault, u.mended
	u.mu.Unlock()
	switch fault {
	case "":
		u.handler.ServeHTTP(w, r)
	case FaultRateLimited:
		w.Header().Set("Retry-After", "7")
		http.Error(w, "too many requests", http.StatusTooManyRequests)
	case FaultServerError:
		http.Error(w, "internal server error", http.StatusInternalServerError)
	case FaultGarbage:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `[{"garbage": 1, "cut o`) // The client may be gone.
	case FaultSilence:
		u.held.Add(1)
		defer u.held.Add(-1)
		select {
		case <-r.Context().Done():
		case <-mended:
		}
	default:
		hangUp(w)
	}
}

// Held is how many calls are held unanswered.
func (u *Breaker) Held() int { return int(u.held.Load()) }

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
func (u *Breaker) Break(fault Fault) (mend func()) {
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

// proxy is a server on this machine that hands every call on to an upstream, unless it is broken.
type proxy struct {
	*Breaker
	// url of the server, with the path of the upstream's.
	url    string
	server *http.Server
	// transport leads to the upstream.
	transport *http.Transport
	ended     chan struct{}
}

// startProxy starts a server in front of an upstream.
func startProxy(ctx context.Context, upstream string) (*proxy, error) {
	target, err := url.Parse(upstream)
	if err != nil || target.Host == "" {
		return nil, fmt.Errorf("%q is not a URL", upstream)
	}
	scheme := target.Scheme
	switch scheme {
	case "http", "https":
	case "ws", "wss":
		target.Scheme = map[string]string{"ws": "http", "wss": "https"}[scheme]
	default:
		return nil, fmt.Errorf("%q is neither a URL of HTTP nor one of WebSocket", upstream)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the calls that are to be broken: %w", err)
	}
	root := url.URL{Scheme: target.Scheme, Host: target.Host}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: callers, IdleConnTimeout: time.Minute, DisableCompression: true,
	}
	handler := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&root)
			r.Out.Host = target.Host
		},
		Transport:     &replay{next: transport},
		FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if errors.Is(err, context.Canceled) {
				return
			}
			http.Error(w, "the upstream cannot be reached", http.StatusBadGateway)
		},
		ErrorLog: discardLog,
	}
	p := &proxy{
		Breaker: NewBreaker(handler), transport: transport, ended: make(chan struct{}),
		url: (&url.URL{Scheme: map[bool]string{true: "http", false: "ws"}[scheme == target.Scheme], Host: listener.Addr().String(), Path: target.Path, RawQuery: target.RawQuery}).String(),
	}
	p.server = &http.Server{Handler: p.Breaker, ErrorLog: discardLog, ReadHeaderTimeout: time.Minute}
	go func() {
		defer close(p.ended)
		_ = p.server.Serve(listener) // returns when closed
	}()
	return p, nil
}

// close ends the server and its connections.
func (p *proxy) close() {
	_ = p.server.Close()
	<-p.ended
	p.transport.CloseIdleConnections()
}
