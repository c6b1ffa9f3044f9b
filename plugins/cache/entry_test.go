package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
)

func TestEntrySurvivesItsEncoding(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]sdk.Entry{
		"usual":    entry("k", "value"),
		"empty":    entry("k", ""),
		"zero":     {Key: "k"},
		"far away": {Key: "k", StaleUntil: time.Date(9999, 1, 1, 0, 0, 0, 1, time.UTC)},
	} {
		got, err := decode("k", encode(want))
		if err != nil || !got.StoredAt.Equal(want.StoredAt) || !got.FreshUntil.Equal(want.FreshUntil) ||
			!got.StaleUntil.Equal(want.StaleUntil) || !bytes.Equal(got.Value, want.Value) {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(entry("k", "value")))
	f.Add([]byte{entryFormat})
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := decode("k", b); err == nil && !bytes.Equal(encode(e), b) {
			t.Errorf("%x reads as %v, which writes as %x", b, e, encode(e))
		}
	})
}

func TestNoticeIsBounded(t *testing.T) {
	t.Parallel()
	for name, patterns := range map[string][]string{
		"many": strings.Split(strings.Repeat("k,", noticeKeys+1), ","),
		"long": {strings.Repeat("k", noticeBytes+1)},
	} {
		text := notice{Sender: "s", Kind: noticeChanged, Patterns: patterns}.encode()
		if _, n, err := parseNotice("0 " + text); err != nil || n.Kind != noticeFlush || n.Patterns != nil {
			t.Errorf("%s: got %v, %v", name, n, err)
		}
	}
}

func FuzzParseNotice(f *testing.F) {
	f.Add("17 " + notice{Sender: "s", Kind: noticeEnd, ID: "1", Patterns: []string{"a*"}}.encode())
	f.Add("0 {}")
	f.Fuzz(func(t *testing.T, text string) {
		if _, n, err := parseNotice(text); err == nil && n.Sender == "" {
			t.Errorf("%q has no sender", text)
		}
	})
}
