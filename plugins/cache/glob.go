package main

import (
	"strings"
	"unicode/utf8"
)

// isGlob reports whether a pattern can match anything but itself.
func isGlob(pattern string) bool { return strings.ContainsAny(pattern, "*?") }

// matches reports whether a key matches a glob: * stands for any run of characters and ? for any one character;
// everything else, brackets and backslashes included, stands for itself. It takes at most len(glob) * len(key) steps.
func matches(glob, key string) bool {
	g, k := 0, 0
	star, resume := -1, 0
	for k < len(key) {
		switch {
		case g < len(glob) && glob[g] == '*':
			star, resume = g, k
			g++
		case g < len(glob) && glob[g] == '?':
			_, width := utf8.DecodeRuneInString(key[k:])
			g++
			k += width
		case g < len(glob) && glob[g] == key[k]:
			g++
			k++
		case star >= 0:
			// The last star takes one more character. Whole ones, so that ? never sees half of one.
			_, width := utf8.DecodeRuneInString(key[resume:])
			resume += width
			g, k = star+1, resume
		default:
			return false
		}
	}
	return strings.Trim(glob[g:], "*") == ""
}

// redisGlob writes a glob for Redis, which knows sets and escapes beyond ours and whose ? is a byte. What it matches
// beyond the glob is left for matches to sort out.
func redisGlob(prefix, glob string) string {
	var b strings.Builder
	escape := func(c byte) {
		if strings.IndexByte(`*?[]\^-`, c) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	for i := range len(prefix) {
		escape(prefix[i])
	}
	afterStar := false
	for i := range len(glob) {
		switch c := glob[i]; c {
		case '*':
			if !afterStar {
				b.WriteByte('*')
			}
			afterStar = true
		case '?':
			// One character is one byte or several.
			if afterStar {
				b.WriteString("?")
				afterStar = false
				continue
			}
			b.WriteString("?*")
			afterStar = true
		default:
			escape(c)
			afterStar = false
		}
	}
	return b.String()
}
