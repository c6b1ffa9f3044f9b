package conformance

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"
)

// answers is an upstream that answers everything with the same body, and counts.
type answers struct {
	body  []byte
	asked int
}

// RoundTrip implements http.RoundTripper.
func (u *answers) RoundTrip(req *http.Request) (*http.Response, error) {
	u.asked++
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(u.body)), Request: req}, nil
}

func TestWhatIsRememberedOfAnUpstreamIsBoundedInBytes(t *testing.T) {
	upstream := &answers{body: make([]byte, replayBody)}
	r := &replay{next: upstream}
	ask := func(question int) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://upstream/%d", question), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := r.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != int64(len(upstream.body)) {
			t.Fatalf("question %d: %d bytes, %v", question, n, err)
		}
		_ = resp.Body.Close()
	}
	for question := range 3 * replayBytes / replayBody {
		ask(question)
		ask(question) // It was just answered, whatever was forgotten for it.
		if upstream.asked != question+1 {
			t.Fatalf("after question %d the upstream was asked %d times", question, upstream.asked)
		}
		held := 0
		for _, a := range r.answers {
			held += len(a.body)
		}
		if held > replayBytes || held != r.bytes {
			t.Fatalf("%d MiB are held, counted as %d MiB, and %d MiB may be", held>>20, r.bytes>>20, replayBytes>>20)
		}
	}
}
