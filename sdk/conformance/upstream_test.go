package conformance

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// get asks a server and returns the status and the body, or the error.
func get(t *testing.T, client *http.Client, url string) (int, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func TestTheServerInFrontOfAnUpstream(t *testing.T) {
	var asked atomic.Int64
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		if strings.HasSuffix(r.URL.Path, "/missing") {
			http.Error(w, "none", http.StatusNotFound)
			return
		}
		_, _ = fmt.Fprintf(w, "%s?%s %d", r.URL.Path, r.URL.RawQuery, n)
	}))
	defer upstream.Close()
	p, err := startProxy(t.Context(), upstream.URL+"/api")
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()

	// The same question is asked once, by however many; another one is another.
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if status, body, err := get(t, client, p.url+"/quotes?a=1"); status != http.StatusOK || body != "/api/quotes?a=1 1" {
				t.Errorf("%d %q %v", status, body, err)
			}
		})
	}
	all.Wait()
	if _, body, _ := get(t, client, p.url+"/quotes?a=2"); body != "/api/quotes?a=2 2" {
		t.Errorf("another question: %q", body)
	}
	// What is not an answer is not remembered.
	for range 2 {
		if status, _, _ := get(t, client, p.url+"/missing"); status != http.StatusNotFound {
			t.Errorf("status %d", status)
		}
	}
	if n := asked.Load(); n != 4 {
		t.Errorf("the upstream was asked %d times, want 4", n)
	}

	for fault, want := range map[Fault]int{FaultRateLimited: 429, FaultServerError: 500, FaultGarbage: 200, FaultGone: 0} {
		mend := p.Break(fault)
		if status, body, err := get(t, client, p.url+"/quotes?a=1"); status != want || (want == 0) != (err != nil) || strings.HasPrefix(body, "/api") {
			t.Errorf("%s: %d %q %v", fault, status, body, err)
		}
		mend()
	}
	mend := p.Break(FaultSilence)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		ended <- err
	}()
	held := func(n int) func() error {
		return func() error {
			if got := p.Held(); got != n {
				return fmt.Errorf("%d calls are held", got)
			}
			return nil
		}
	}
	if err := eventually(t.Context(), 30*time.Second, held(1)); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("the silent upstream answered")
	}
	if err := eventually(t.Context(), 30*time.Second, held(0)); err != nil {
		t.Error(err)
	}
	mend()
	if status, body, err := get(t, client, p.url+"/quotes?a=1"); status != http.StatusOK || body != "/api/quotes?a=1 1" {
		t.Errorf("mended: %d %q %v", status, body, err)
	}
}

func TestURLsThatCannotBeBroken(t *testing.T) {
	for _, url := range []string{"", "no url", "ftp://127.0.0.1", "http://", "\x00"} {
		if p, err := startProxy(t.Context(), url); err == nil {
			p.close()
			t.Errorf("%q is taken for the URL of an upstream", url)
		}
	}
}
