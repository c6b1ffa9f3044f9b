package main

import (
	"regexp"
	"testing"
	"unicode/utf8"
)

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		glob, key string
		want      bool
	}{
		{"btc", "btc", true},
		{"btc", "btc_eur", false},
		{"crypto_report_*", "crypto_report_btc", true},
		{"crypto_report_*", "crypto_report_", true},
		{"crypto_report_*", "xcrypto_report_btc", false},
		{"*", "", true},
		{"*_btc*", "rsi_btc_eur", true},
		{"a*b*c", "aXbYbZc", true},
		{"a*b*c", "aXbYbZ", false},
		{"b?c", "btc", true},
		{"b?c", "bc", false},
		{"?", "é", true},
		{"??", "é", false},
		{"*??", "€", false},
		{"*??", "a€", true},
		{"[ab]", "a", false},
		{"[ab]", "[ab]", true},
		{`\*`, `\x`, true},
		{`\*`, `x`, false},
		{"a?b", "a?b", true},
	} {
		if got := matches(test.glob, test.key); got != test.want {
			t.Errorf("matches(%q, %q) = %v", test.glob, test.key, got)
		}
	}
}

func FuzzMatches(f *testing.F) {
	f.Add("a*b?", "axxbc")
	f.Add("*?*?*", "€€")
	f.Add("[a]^*", "[a]^")
	f.Fuzz(func(t *testing.T, glob, key string) {
		if len(glob) > 40 || len(key) > 200 || !utf8.ValidString(glob) || !utf8.ValidString(key) {
			return
		}
		pattern := ""
		for _, r := range glob {
			switch r {
			case '*':
				pattern += "(?s:.*)"
			case '?':
				pattern += "(?s:.)"
			default:
				pattern += regexp.QuoteMeta(string(r))
			}
		}
		if want := regexp.MustCompile(`\A` + pattern + `\z`).MatchString(key); matches(glob, key) != want {
			t.Errorf("matches(%q, %q) is %v, a regular expression says %v", glob, key, !want, want)
		}
	})
}
