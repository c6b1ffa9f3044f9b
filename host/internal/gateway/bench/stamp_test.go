package main

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func TestStampSurvives(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		want stamp
		text string
	}{
		{"the first", stamp{}, "@00000000000000000000/0000000000;"},
		{"one of many", stamp{published: 1234567890123, number: 42}, "@00000001234567890123/0000000042;"},
		{"the last of a turn", stamp{published: 5, number: 7, last: true}, "@00000000000000000005/0000000007."},
		{"the largest", stamp{published: math.MaxInt64, number: 9_999_999_999}, "@09223372036854775807/9999999999;"},
	} {
		text := c.want.append(nil)
		if string(text) != c.text || len(text) != stampLength {
			t.Errorf("%s: %q, want %q", c.name, text, c.text)
		}
		if got, ok := parseStamp(text); !ok || got != c.want {
			t.Errorf("%s: %+v %v, want %+v", c.name, got, ok, c.want)
		}
		var update any
		if whole := updateOf(text); len(whole) != updateSize || json.Unmarshal(whole, &update) != nil || !strings.Contains(string(whole), c.text) {
			t.Errorf("%s: the update has %d bytes: %s", c.name, len(whole), whole)
		}
	}
}

func TestNoStamp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text string }{
		{"nothing", ""},
		{"too short", "@00000000000000000000/0000000000"},
		{"too long", "@00000000000000000000/0000000000;;"},
		{"another mark", "#00000000000000000000/0000000000;"},
		{"no slash", "@000000000000000000000000000000 ;"},
		{"a letter in the time", "@0000000000000000000x/0000000000;"},
		{"a sign in the number", "@00000000000000000000/-000000001;"},
		{"a time beyond 2^63", "@09223372036854775808/0000000000;"},
		{"another end", "@00000000000000000000/0000000000,"},
	} {
		if got, ok := parseStamp([]byte(c.text)); ok {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}
