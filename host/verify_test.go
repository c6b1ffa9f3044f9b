package main

import (
	"maps"
	"testing"
)

func TestDecodeSettings(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text, complaint string
		want            map[string]any
	}{
		"an object":        {`{"a": "b"}`, "", map[string]any{"a": "b"}},
		"nothing in it":    {"{}\n", "", map[string]any{}},
		"null":             {"null", "it is null", nil},
		"two objects":      {"{}{}", "there is more behind the object", nil},
		"something behind": {`{"a": 1} x`, "there is more behind the object", nil},
		"a list":           {"[]", "json: cannot unmarshal array into Go value of type map[string]interface {}", nil},
		"nothing":          {"", "EOF", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := map[string]any{}
			err := decodeSettings([]byte(tc.text), &got)
			switch {
			case tc.complaint == "" && (err != nil || !maps.Equal(got, tc.want)):
				t.Errorf("got %v, %v", got, err)
			case tc.complaint != "" && (err == nil || err.Error() != tc.complaint):
				t.Errorf("got %v, want %s", err, tc.complaint)
			}
		})
	}
}
