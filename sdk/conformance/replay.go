package conformance

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"time"
)

// Bounds of what is remembered of an upstream.
const (
	replayFor     = 10 * time.Second
	replayAnswers = 512
	replayBody    = 8 << 20
	replayBytes   = 64 << 20 // of all bodies together
)

// replay answers a request that was answered a moment ago as it was answered then, so that the upstream of an island that
// is asked the same a thousand times hears of it once in a while. The same requests wait for one another.
type replay struct {
	next http.RoundTripper

	mu      sync.Mutex
	answers map[string]*answer
	bytes   int // of the bodies of those answers
}

// answer is what an upstream said to a request.
type answer struct {
	mu     sync.Mutex // held while it is asked
	at     time.Time
	status int
	header http.Header
	body   []byte
}

// RoundTrip implements http.RoundTripper.
func (r *replay) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet || req.Header.Get("Upgrade") != "" {
		return r.next.RoundTrip(req)
	}
	key := req.URL.String() + "\n" + req.Header.Get("Accept-Encoding")
	a := r.answer(key)
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.at) < replayFor {
		return &http.Response{
			StatusCode: a.status, Status: http.StatusText(a.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: a.header.Clone(),
			Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: int64(len(a.body)), Request: req,
		}, nil
	}
	resp, err := r.next.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, replayBody+1))
	if err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	if len(body) > replayBody {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(body), resp.Body), resp.Body}
		return resp, nil
	}
	_ = resp.Body.Close()
	r.keep(key, a, len(body)-len(a.body))
	a.at, a.status, a.header, a.body = time.Now(), resp.StatusCode, resp.Header.Clone(), body
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// answer returns where the answer to a request is kept.
func (r *replay) answer(key string) *answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answers == nil || len(r.answers) >= replayAnswers {
		r.answers, r.bytes = map[string]*answer{}, 0
	}
	a := r.answers[key]
	if a == nil {
		a = &answer{}
		r.answers[key] = a
	}
	return a
}

// keep counts what an answer grows by, and forgets all others when that is too much. An answer that was itself forgotten
// meanwhile is not counted: it goes with those who wait for it.
func (r *replay) keep(key string, a *answer, growth int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answers[key] != a {
		return
	}
	if r.bytes+growth > replayBytes {
		r.answers, r.bytes = map[string]*answer{key: a}, 0
		growth += len(a.body)
	}
	r.bytes += growth
}
