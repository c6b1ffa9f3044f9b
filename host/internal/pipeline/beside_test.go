package pipeline

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/service-islands/islands/sdk"
)

// TestTheMoodIsBeside has the sources of prices fail and come back while the one of the sentiment does the contrary: it has no
// say in whether the external APIs are there.
func TestTheMoodIsBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := &sdk.Error{Kind: sdk.Unavailable}
		for name, tc := range map[string]struct {
			quotes, mood string
			steps        string // a source in upper case fails, in lower case it works
			want         bool
		}{
			"the mood works":              {"a b", "m", "m A B", false},
			"the mood works afterwards":   {"a b", "m", "A B m", false},
			"the mood fails":              {"a b", "m", "a b M", true},
			"one works":                   {"a b", "m", "A b M", true},
			"one for both":                {"a b", "b", "A B", false},
			"one for both, which works":   {"a b", "b", "A b", true},
			"nothing but the mood":        {"", "m", "M", false},
			"nothing but a mood that is":  {"", "m", "M m", false}, // Not steady yet.
			"nothing but a mood, and all": {"", "m", "m", true},
		} {
			s := newSources(Options{}.withDefaults())
			s.keepLines(&routes{Options: Options{Quotes: Line{Sources: strings.Fields(tc.quotes)}, Sentiment: Line{Sources: strings.Fields(tc.mood)}}})
			for step := range strings.FieldsSeq(tc.steps) {
				var err error
				if step != strings.ToLower(step) {
					err = down
				}
				s.note(s.of(strings.ToLower(step)), err)
			}
			if got := s.mode.available(); got != tc.want {
				t.Errorf("%s: available %v", name, got)
			}
		}
	})
}
