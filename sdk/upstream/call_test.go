package upstream

import (
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/service-islands/islands/sdk"
)

func TestRetryAfterHeader(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "soon": 0, "1.5": 0, "0": time.Second, "-5": time.Second, "7": 7 * time.Second, " 60 ": time.Minute,
		"9223372036854775807": maxSilence, "99999999999999999999999": 0,
		"Fri, 01 May 2026 12:00:30 GMT": 30 * time.Second,
		"Fri, 01 May 2026 11:00:30 GMT": time.Second,
		"Fri, 01 May 2099 12:00:30 GMT": maxSilence,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("Retry-After %q: %s, want %s", text, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("120")
	f.Add("Fri, 01 May 2026 12:00:30 GMT")
	f.Fuzz(func(t *testing.T, text string) {
		got := retryAfter(http.Header{"Retry-After": {text}}, time.Now())
		if got != 0 && (got < time.Second || got > maxSilence) {
			t.Errorf("Retry-After %q: %s", text, got)
		}
	})
}

func FuzzClean(f *testing.F) {
	f.Add("bad key CG-s3cr3t\x00", "CG-s3cr3t")
	f.Fuzz(func(t *testing.T, text, secret string) {
		// What could be part of the mark that stands in for it says nothing.
		if len(secret) < 4 || strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' || r == '[' || r == ']' }) {
			return
		}
		if mark := "[secret]"; strings.Contains(mark, secret) {
			return
		}
		c := New(Options{Headers: map[string]sdk.Secret{"X-Key": sdk.Secret(secret)}})
		got := c.clean(text)
		if len(got) > maxQuote+len("…") || !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r\x00") || strings.Contains(got, secret) {
			t.Errorf("clean(%q) = %q", text, got)
		}
	})
}

func TestBackoffBounds(t *testing.T) {
	for range 1000 {
		sum := backoff(1) + backoff(2) + backoff(3)
		if sum < 6650*time.Millisecond || sum > 7350*time.Millisecond {
			t.Fatalf("three backoffs take %s", sum)
		}
	}
}
