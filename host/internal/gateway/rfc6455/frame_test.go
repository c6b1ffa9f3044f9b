package rfc6455

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppendFrame(t *testing.T) {
	cases := map[string]struct {
		payload int
		header  []byte
	}{
		"nothing":     {0, []byte{0x81, 0}},
		"the longest": {125, []byte{0x81, 125}},
		"two bytes":   {126, []byte{0x81, 126, 0, 126}},
		"64 KiB - 1":  {65535, []byte{0x81, 126, 0xff, 0xff}},
		"64 KiB":      {65536, []byte{0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			payload := bytes.Repeat([]byte{'x'}, tc.payload)
			want := append(append([]byte("before"), tc.header...), payload...)
			if got := AppendFrame([]byte("before"), Text, payload); !bytes.Equal(got, want) {
				t.Errorf("begins %x", got[:min(len(got), 20)])
			}
		})
	}
}

func TestAppendClose(t *testing.T) {
	cases := map[string]struct {
		code   int
		reason string
		want   string // of the payload
	}{
		"no code":              {0, "unheard", ""},
		"no status":            {NoStatus, "unheard", ""},
		"a code":               {NormalClosure, "", "\x03\xe8"},
		"a code and a reason":  {4008, "too slow", "\x0f\xa8too slow"},
		"the longest":          {1000, strings.Repeat("x", 123), "\x03\xe8" + strings.Repeat("x", 123)},
		"cut":                  {1000, strings.Repeat("x", 200), "\x03\xe8" + strings.Repeat("x", 123)},
		"cut before a rune":    {1000, strings.Repeat("x", 122) + "é", "\x03\xe8" + strings.Repeat("x", 122)},
		"cut after a rune":     {1000, strings.Repeat("x", 121) + "éé", "\x03\xe8" + strings.Repeat("x", 121) + "é"},
		"cut before four":      {1000, strings.Repeat("x", 120) + "\U0001f3dd", "\x03\xe8" + strings.Repeat("x", 120)},
		"runes to the brim":    {1000, strings.Repeat("€", 41), "\x03\xe8" + strings.Repeat("€", 41)},
		"runes beyond the rim": {1000, strings.Repeat("€", 42), "\x03\xe8" + strings.Repeat("€", 41)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := AppendClose(nil, tc.code, tc.reason)
			if want := append([]byte{0x88, byte(len(tc.want))}, tc.want...); !bytes.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
			if len(got) > 4 && !utf8.Valid(got[4:]) {
				t.Errorf("the reason %q is not UTF-8", got[4:])
			}
		})
	}
}
