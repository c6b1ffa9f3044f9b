package pipeline

import (
	"fmt"
	"testing"
	"time"
)

func TestNearCacheIsBounded(t *testing.T) {
	n := newNear(640, 1<<20, time.Now)
	for i := range 100_000 {
		k := &kind{encode: func(any, bool) []Representation {
			return []Representation{{Body: make([]byte, 100)}}
		}}
		n.put(k.entry(fmt.Sprintf("key%d", i), nil, time.Now(), time.Now(), time.Now()), n.moment())
	}
	if n.count.Load() > 640 || n.bytes.Load() > 1<<20 {
		t.Errorf("%d entries, %d bytes", n.count.Load(), n.bytes.Load())
	}
	n.invalidate([]string{"*"})
	if n.count.Load() != 0 || n.bytes.Load() != 0 {
		t.Errorf("%d entries, %d bytes after forgetting all", n.count.Load(), n.bytes.Load())
	}
}

func TestGlob(t *testing.T) {
	tests := map[string]struct {
		pattern, key string
		want         bool
	}{
		"any run":             {"crypto_report_*", "crypto_report_btc", true},
		"any run, nothing":    {"crypto_report_*", "crypto_report_", true},
		"other prefix":        {"crypto_report_*", "rsi_analysis_btc", false},
		"one character":       {"b?c", "btc", true},
		"one character, none": {"b?c", "bc", false},
		"brackets are plain":  {"a[b]*", "a[b]c", true},
		"no class":            {"[ab]*", "a", false},
		"slash":               {"*", "a/b", true},
		"backslash is plain":  {`a\*`, `a\b`, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := matches(tt.pattern, tt.key); got != tt.want {
				t.Errorf("matches(%q, %q) = %t", tt.pattern, tt.key, got)
			}
		})
	}
}
