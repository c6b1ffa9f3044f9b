package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "CG-s3cr3t/key+value"

// script is a transport that answers from memory, so that time can be faked around it. It remembers when it was asked.
type script struct {
	mu     sync.Mutex
	asked  []time.Time
	answer func(n int, req *http.Request) (*http.Response, error)
}

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.asked = append(s.asked, time.Now())
	n := len(s.asked)
	s.mu.Unlock()
	return s.answer(n, req)
}

func (s *script) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// gaps are the times between the calls.
func (s *script) gaps() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []time.Duration
	for i := 1; i < len(s.asked); i++ {
		out = append(out, s.asked[i].Sub(s.asked[i-1]))
	}
	return out
}

func respond(status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

// always answers each call alike.
func always(status int, body string, header ...string) *script {
	return &script{answer: func(int, *http.Request) (*http.Response, error) { return respond(status, body, header...), nil }}
}

// failing answers the first n calls with a failure and the others with {}.
func failing(n, status int, header ...string) *script {
	return &script{answer: func(call int, _ *http.Request) (*http.Response, error) {
		if call <= n {
			return respond(status, "Throttled", header...), nil
		}
		return respond(200, "{}"), nil
	}}
}

func clientOf(t *testing.T, s http.RoundTripper, change ...func(*upstream.Options)) *upstream.Client {
	t.Helper()
	opts := upstream.Options{BaseURL: "http://upstream.test/v3", Transport: s, Headers: map[string]sdk.Secret{"X-Key": key}}
	for _, f := range change {
		f(&opts)
	}
	c := upstream.New(opts)
	t.Cleanup(c.Close)
	return c
}

func get(ctx context.Context, c *upstream.Client, retries int) error {
	var v struct{}
	return c.GetJSON(ctx, upstream.Request{Path: "/coins", Query: url.Values{"q": {"hidden-query"}}, Retries: retries}, &v)
}

func wantKind(t *testing.T, err error, kind sdk.Kind) {
	t.Helper()
	var e *sdk.Error
	if err == nil || !errors.As(err, &e) || e.Kind != kind {
		t.Fatalf("got %v, want an sdk.Error of kind %q", err, kind)
	}
	for _, secret := range []string{key, url.QueryEscape(key), "hidden-query", "upstream.test", "127.0.0.1"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%q gives away %q", err, secret)
		}
	}
}

func near(d, want time.Duration) bool { return d >= want*95/100 && d <= want*105/100 }

func TestRetriesAfterOneTwoAndFourSeconds(t *testing.T) {
	for name, tc := range map[string]struct {
		script *script
		kind   sdk.Kind
	}{
		"429": {always(429, "Throttled"), sdk.RateLimited},
		"500": {always(500, `{"status":500}`), sdk.Unavailable},
		"broken connection": {&script{answer: func(int, *http.Request) (*http.Response, error) {
			return nil, io.EOF
		}}, sdk.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
				defer cancel()
				c := clientOf(t, tc.script)
				wantKind(t, get(ctx, c, 9), tc.kind)
				gaps := tc.script.gaps()
				if len(gaps) != 3 || !near(gaps[0], time.Second) || !near(gaps[1], 2*time.Second) || !near(gaps[2], 4*time.Second) {
					t.Errorf("tried again after %v, want about 1s, 2s and 4s", gaps)
				}
				if n, _ := c.Metrics().Value("upstream_retries_total", nil); n != 3 {
					t.Errorf("%v retries counted, want 3", n)
				}
			})
		})
	}
}

func TestOtherStatusesAreNotTriedAgain(t *testing.T) {
	for status, kind := range map[int]sdk.Kind{
		400: sdk.InvalidArgument, 401: sdk.Unauthenticated, 403: sdk.PermissionDenied, 404: sdk.NotFound,
		410: sdk.NotFound, 418: sdk.RateLimited, 422: sdk.InvalidArgument, 451: sdk.PermissionDenied, 304: sdk.BadUpstream,
	} {
		s := always(status, `{"error":"x"}`)
		err := get(t.Context(), clientOf(t, s), 3)
		wantKind(t, err, kind)
		if s.calls() != 1 {
			t.Errorf("%d was asked %d times, want once", status, s.calls())
		}
		if !strings.Contains(err.Error(), fmt.Sprintf("GET /coins: %d", status)) {
			t.Errorf("%q does not name method, path and status", err)
		}
	}
}

func TestNoRetryUnlessAllowed(t *testing.T) {
	s := always(503, "")
	wantKind(t, get(t.Context(), clientOf(t, s), 0), sdk.Unavailable)
	if s.calls() != 1 {
		t.Errorf("asked %d times, want once", s.calls())
	}
}

func TestRetryAfterWinsOverBackoff(t *testing.T) {
	for name, header := range map[string]func() string{
		"seconds": func() string { return "3" },
		"date":    func() string { return time.Now().Add(3 * time.Second).UTC().Format(http.TimeFormat) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := failing(1, 429, "Retry-After", header())
				ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
				defer cancel()
				if err := get(ctx, clientOf(t, s), 3); err != nil {
					t.Fatal(err)
				}
				if gaps := s.gaps(); len(gaps) != 1 || gaps[0] < 3*time.Second || gaps[0] > 4*time.Second {
					t.Errorf("tried again after %v, want 3s and never less", gaps)
				}
			})
		})
	}
}

func TestRetryAfterBeyondTheDeadlineComesBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := always(429, "", "Retry-After", "42")
		c := clientOf(t, s)
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		start := time.Now()
		err := get(ctx, c, 3)
		wantKind(t, err, sdk.RateLimited)
		if sdk.RetryAfter(err) != 42*time.Second || time.Since(start) != 0 {
			t.Errorf("came back after %s with RetryAfter %s, want at once with 42s", time.Since(start), sdk.RetryAfter(err))
		}
		// Silent for everyone until then, without touching the network.
		time.Sleep(41 * time.Second)
		err = get(t.Context(), c, 3)
		wantKind(t, err, sdk.RateLimited)
		if s.calls() != 1 || sdk.RetryAfter(err) != time.Second {
			t.Errorf("%d calls, RetryAfter %s; want 1 and 1s", s.calls(), sdk.RetryAfter(err))
		}
		part := c.Health()
		if part.Status != sdk.StatusDegraded || part.Details["retry_after_seconds"] != 1.0 || part.Details["last_429"] == nil {
			t.Errorf("health is %+v", part)
		}
		time.Sleep(time.Second)
		wantKind(t, get(t.Context(), c, 0), sdk.RateLimited)
		if s.calls() != 2 {
			t.Errorf("%d calls after the silence, want 2", s.calls())
		}
	})
}

func TestRetryAfterWithoutADeadlineDoesNotHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		wantKind(t, get(t.Context(), clientOf(t, always(503, "", "Retry-After", "3600")), 3), sdk.Unavailable)
		if time.Since(start) != 0 {
			t.Errorf("hung for %s", time.Since(start))
		}
	})
}

func TestA429WithoutRetryAfterSilencesForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := always(429, "Throttled")
		c := clientOf(t, s)
		err := get(t.Context(), c, 0)
		wantKind(t, err, sdk.RateLimited)
		if after := sdk.RetryAfter(err); after < time.Minute || after > 75*time.Second {
			t.Errorf("RetryAfter %s, want 60s to 75s", after)
		}
		time.Sleep(59 * time.Second)
		wantKind(t, get(t.Context(), c, 0), sdk.RateLimited)
		if s.calls() != 1 {
			t.Errorf("%d calls within the silence, want 1", s.calls())
		}
		if n, _ := c.Metrics().Value("upstream_refused_total", map[string]string{"by": "silence"}); n != 1 {
			t.Errorf("%v refused calls counted, want 1", n)
		}
	})
}

func TestARetryThatGetsThroughEndsTheGuessedSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := failing(2, 429)
		c := clientOf(t, s)
		var other error
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(500 * time.Millisecond)
			other = get(t.Context(), c, 3)
		})
		if err := get(t.Context(), c, 3); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		wantKind(t, other, sdk.RateLimited)
		if err := get(t.Context(), c, 0); err != nil {
			t.Errorf("after the recovery: %v", err)
		}
		if part := c.Health(); part.Status != sdk.StatusOK {
			t.Errorf("health is %+v, want ok", part)
		}
	})
}

func TestABackoffThatDoesNotFitComesBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := always(500, "")
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		wantKind(t, get(ctx, clientOf(t, s), 3), sdk.Unavailable)
		if s.calls() != 2 || time.Since(start) > 1100*time.Millisecond {
			t.Errorf("%d calls in %s, want 2 in about 1s", s.calls(), time.Since(start))
		}
	})
}

func TestClassifySilences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := always(418, `{"msg":"banned `+key+`"}`)
		c := clientOf(t, s, func(o *upstream.Options) {
			o.Classify = func(_ int, _ http.Header, body []byte) error {
				return &sdk.Error{Kind: sdk.PermissionDenied, Message: "banned: " + string(body), RetryAfter: time.Hour}
			}
		})
		wantKind(t, get(t.Context(), c, 3), sdk.PermissionDenied)
		time.Sleep(59 * time.Minute)
		err := get(t.Context(), c, 3)
		wantKind(t, err, sdk.PermissionDenied)
		if s.calls() != 1 || !strings.Contains(c.Health().Reason, "banned") || strings.Contains(c.Health().Reason, key) {
			t.Errorf("%d calls, health %+v", s.calls(), c.Health())
		}
		time.Sleep(2 * time.Minute)
		_ = get(t.Context(), c, 0) // The answer is the same ban; that it was asked is what counts.
		if s.calls() != 2 {
			t.Errorf("%d calls after the ban, want 2", s.calls())
		}
	})
}

func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := always(200, "{}")
		c := clientOf(t, s)
		c.Silence(time.Now().Add(time.Minute), sdk.RateLimited, "weight used up")
		c.Silence(time.Now().Add(time.Second), sdk.PermissionDenied, "shorter")
		err := get(t.Context(), c, 3)
		wantKind(t, err, sdk.RateLimited)
		if sdk.RetryAfter(err) != time.Minute || s.calls() != 0 {
			t.Errorf("RetryAfter %s after %d calls, want 1m after none", sdk.RetryAfter(err), s.calls())
		}
		time.Sleep(time.Minute)
		if err := get(t.Context(), c, 0); err != nil {
			t.Error(err)
		}
	})
}

func TestNoMinuteHoldsMoreThanTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := always(200, "{}")
		c := clientOf(t, s, func(o *upstream.Options) { o.Limit = upstream.Limit{PerMinute: 10} })
		for range 3000 {
			if err := get(t.Context(), c, 0); err != nil {
				wantKind(t, err, sdk.RateLimited)
				if sdk.RetryAfter(err) <= 0 {
					t.Fatal("refused without RetryAfter")
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		for i, from := range s.asked {
			in := 0
			for _, at := range s.asked[i:] {
				if at.Sub(from) < time.Minute {
					in++
				}
			}
			if in > 10 {
				t.Fatalf("%d calls within a minute, want at most 10", in)
			}
		}
		if s.calls() < 20 {
			t.Errorf("only %d calls in five minutes", s.calls())
		}
	})
}

func TestLimiterRefusesAtOnceWhatCannotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := always(200, "{}")
		c := clientOf(t, s, func(o *upstream.Options) { o.Limit = upstream.Limit{PerMinute: 100, Burst: 40} })
		var v struct{}
		weigh := func(ctx context.Context, weight int) error {
			return c.GetJSON(ctx, upstream.Request{Path: "/x", Weight: weight}, &v)
		}
		if err := weigh(t.Context(), 40); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := weigh(t.Context(), 1); err != nil || time.Since(start) != time.Second {
			t.Errorf("weight 1 came after %s with %v, want to wait a second", time.Since(start), err)
		}
		err := weigh(t.Context(), 10)
		wantKind(t, err, sdk.RateLimited)
		if sdk.RetryAfter(err) != 10*time.Second {
			t.Errorf("RetryAfter %s, want 10s", sdk.RetryAfter(err))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		start = time.Now()
		wantKind(t, weigh(ctx, 1), sdk.RateLimited)
		if time.Since(start) != 0 {
			t.Errorf("hung for %s", time.Since(start))
		}
		wantKind(t, weigh(t.Context(), 41), sdk.Internal)
		if s.calls() != 2 {
			t.Errorf("%d calls were sent, want 2", s.calls())
		}
	})
}

func TestASilenceStopsCallsThatWaitForTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := always(200, "{}")
		c := clientOf(t, s, func(o *upstream.Options) { o.Limit = upstream.Limit{PerMinute: 61, Burst: 1} })
		if err := get(t.Context(), c, 0); err != nil {
			t.Fatal(err)
		}
		var waiting error
		var wg sync.WaitGroup
		wg.Go(func() { waiting = get(t.Context(), c, 0) })
		synctest.Wait()
		c.Silence(time.Now().Add(time.Minute), sdk.RateLimited, "enough")
		wg.Wait()
		wantKind(t, waiting, sdk.RateLimited)
		if s.calls() != 1 {
			t.Errorf("%d calls, want 1", s.calls())
		}
	})
}

func TestClosedClientRefuses(t *testing.T) {
	s := always(200, "{}")
	c := clientOf(t, s)
	c.Close()
	c.Close()
	wantKind(t, get(t.Context(), c, 3), sdk.Unavailable)
	if s.calls() != 0 {
		t.Error("a closed client called")
	}
}

func TestCheckURL(t *testing.T) {
	for value, ok := range map[string]bool{
		"https://api.example.com/v3": true, "http://127.0.0.1:8080": true, "": false, "api.example.com": false,
		"ftp://x": false, "https://x?key=" + key: false, "https://x#a": false, "http://[::1": false, "https://": false,
	} {
		err := upstream.CheckURL("url", value)
		if (err == nil) != ok {
			t.Errorf("CheckURL(%q) = %v", value, err)
		}
		if err == nil {
			continue
		}
		wantKind(t, err, sdk.InvalidArgument)
		wantKind(t, get(t.Context(), upstream.New(upstream.Options{BaseURL: value}), 0), sdk.InvalidArgument)
	}
	c := clientOf(t, always(200, "{}"))
	var v any
	wantKind(t, c.GetJSON(t.Context(), upstream.Request{Path: "coins"}, &v), sdk.Internal)
	wantKind(t, c.GetJSON(t.Context(), upstream.Request{Path: "/coins?x=1"}, &v), sdk.Internal)
}

func TestConcurrentCalls(t *testing.T) {
	c := clientOf(t, failing(3, 500), func(o *upstream.Options) { o.Limit = upstream.Limit{PerMinute: 100} })
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			_ = get(t.Context(), c, 0) // Some fail on purpose.
			c.Health()
			c.Metrics()
		})
	}
	wg.Wait()
	total := 0.0
	for _, s := range c.Metrics()[0].Samples {
		total += s.Value
	}
	if total != 50 {
		t.Errorf("%v calls counted, want 50", total)
	}
}
