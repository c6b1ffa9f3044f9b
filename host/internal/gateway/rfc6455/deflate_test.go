package rfc6455

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/flate"
)

// packed is what a client sends of a compressed message, in its parts: RSV1 is set on the first.
func packed(tb testing.TB, message string, parts int) []byte {
	tb.Helper()
	body := deflated(tb, message)
	var out []byte
	for i := range parts {
		part := string(body[i*len(body)/parts : (i+1)*len(body)/parts])
		first := more
		if i == 0 {
			first = begun | deflatedBit
		}
		if i == parts-1 {
			first |= finalBit
		}
		out = append(out, sent(first, part)...)
	}
	return out
}

// deflated compresses a message as RFC 7692, 7.2.1 says.
func deflated(tb testing.TB, message string) []byte {
	tb.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, 9)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write([]byte(message)); err != nil {
		tb.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	return bytes.TrimSuffix(out.Bytes(), tail)
}

func TestDeflatedMessages(t *testing.T) {
	fits := strings.Repeat("x", mostMessage)
	cases := map[string]struct {
		in   []byte
		want []string
	}{
		"the example of RFC 7692, 7.2.3.1": {sent(text|0x40, "\xf2\x48\xcd\xc9\xc9\x07\x00"), []string{"text Hello", "EOF"}},
		"its parts, 7.2.3.1": {
			append(sent(begun|0x40, "\xf2\x48\xcd"), sent(last, "\xc9\xc9\x07\x00")...), []string{"text Hello", "EOF"},
		},
		"a block that is not compressed, 7.2.3.3": {
			sent(text|0x40, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), []string{"text Hello", "EOF"},
		},
		"a last block, 7.2.3.4": {sent(text|0x40, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), []string{"text Hello", "EOF"}},
		"two blocks, 7.2.3.5": {
			sent(text|0x40, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), []string{"text Hello", "EOF"},
		},
		"nothing, 7.2.3.6":    {sent(text|0x40, "\x00"), []string{"text ", "EOF"}},
		"as long as it may":   {packed(t, fits, 1), []string{"text xxxxxxxx… 1000", "EOF"}},
		"in seven parts":      {packed(t, "a message in parts", 7), []string{"text a message in parts", "EOF"}},
		"not compressed":      {sent(text, "plain"), []string{"text plain", "EOF"}},
		"one of each":         {slices.Concat(packed(t, "a", 1), sent(text, "b"), packed(t, "c", 2)), []string{"text a", "text b", "text c", "EOF"}},
		"too long by one":     {packed(t, fits+"x", 1), []string{"refused 1009"}},
		"a bomb":              {packed(t, strings.Repeat("x", 500_000), 1), []string{"refused 1009"}},
		"a bomb in parts":     {packed(t, strings.Repeat("x", 500_000), 5), []string{"refused 1009"}},
		"no UTF-8 inside":     {packed(t, "\xff\xfe", 1), []string{"refused 1007"}},
		"garbage":             {sent(text|0x40, "\xff\xff\xff\xff"), []string{"refused 1007"}},
		"a reference to none": {sent(text|0x40, "\x4a\x04\x62\x00\x7f\x00"), []string{"refused 1007"}},
		"RSV1 of a part": {
			append(sent(begun|0x40, "\xf2\x48\xcd"), sent(last|0x40, "\xc9\xc9\x07\x00")...), []string{"refused 1002"},
		},
		"RSV1 of a part alone": {append(sent(begun, "a"), sent(last|0x40, "\x00")...), []string{"refused 1002"}},
		"RSV1 of a ping":       {sent(ping|0x40, ""), []string{"refused 1002"}},
		"RSV1 of a close":      {sent(bye|0x40, ""), []string{"refused 1002"}},
		"RSV1 and RSV2":        {sent(text|0x60, "\x00"), []string{"refused 1002"}},
		"a ping between": {
			slices.Concat(sent(begun|0x40, "\xf2\x48\xcd"), sent(ping, "x"), sent(last, "\xc9\xc9\x07\x00")), []string{"ping x", "text Hello", "EOF"},
		},
		"more bytes than a message may have, compressed": {
			sent(text|0x40, strings.Repeat("\x00", mostMessage+1)), []string{"refused 1009"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			in := iotest.HalfReader(bytes.NewReader(tc.in))
			if got := describe(NewReader(in, nil, mostMessage, true)); !slices.Equal(got, tc.want) {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

// TestDeflate packs messages of every kind and reads them as a client would, with another inflater than the one that
// reads from clients.
func TestDeflate(t *testing.T) {
	noise := make([]byte, 5000)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	cases := map[string]struct {
		payload []byte
		packs   bool
	}{
		"nothing":            {nil, false},
		"a short one":        {[]byte(strings.Repeat("x", minDeflated-1)), false},
		"a long one":         {[]byte(strings.Repeat("x", minDeflated)), true},
		"a longer one":       {[]byte(strings.Repeat("price ", 30_000)), true},
		"what does not pack": {noise, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for range 3 { // A compressor that has been used before must forget what it packed.
				b := Deflate(Binary, tc.payload)
				if got := b[0]&deflatedBit != 0; got != tc.packs {
					t.Errorf("packed: %t", got)
				}
				if m := echo(t, b); m.Opcode != Binary || !bytes.Equal(m.Payload, tc.payload) {
					t.Errorf("came back as %d bytes", len(m.Payload))
				}
				if plain := AppendFrame(nil, Binary, tc.payload); len(b) > len(plain) {
					t.Errorf("%d bytes, in plain %d", len(b), len(plain))
				}
			}
		})
	}
}

// echo sends a server's frame back as a client would.
func echo(t *testing.T, b []byte) Message {
	t.Helper()
	at := map[byte]int{126: 4, 127: 10}[b[1]]
	payload := string(b[max(2, at):])
	m, err := NewReader(bytes.NewReader(sent(b[0], payload)), nil, 1<<20, true).Next()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestShortMessagesNeedNoCompressor sends what is not worth compressing: a compressor is large, and must not be made, or
// lost, for that.
func TestShortMessagesNeedNoCompressor(t *testing.T) {
	short := []byte(`{"type":"heartbeat"}`)
	if allocations := testing.AllocsPerRun(100, func() { _ = Deflate(Text, short) }); allocations > 1 {
		t.Errorf("a short message took %v allocations", allocations)
	}
}

func TestAcceptsDeflate(t *testing.T) {
	cases := map[string]bool{
		"":                   false,
		"permessage-deflate": true,
		" permessage-deflate ; client_no_context_takeover ":                                         true,
		"permessage-deflate; server_no_context_takeover":                                            true,
		"permessage-deflate; server_no_context_takeover=1":                                          false,
		"permessage-deflate; server_no_context_takeover=":                                           false,
		"permessage-deflate; client_no_context_takeover":                                            true,
		"permessage-deflate; client_no_context_takeover=true":                                       false,
		"permessage-deflate; client_max_window_bits":                                                true,
		"permessage-deflate; client_max_window_bits=10":                                             true,
		`permessage-deflate; client_max_window_bits="10"`:                                           true,
		"permessage-deflate; client_max_window_bits=8":                                              true,
		"permessage-deflate; client_max_window_bits=7":                                              false,
		"permessage-deflate; client_max_window_bits=16":                                             false,
		"permessage-deflate; client_max_window_bits=010":                                            false,
		"permessage-deflate; client_max_window_bits=":                                               false,
		"permessage-deflate; server_max_window_bits":                                                false,
		"permessage-deflate; server_max_window_bits=16":                                             false,
		"permessage-deflate; mystery":                                                               false,
		"permessage-deflate; mystery=1":                                                             false,
		"permessage-deflate; ":                                                                      false,
		"x-webkit-deflate-frame":                                                                    false,
		"permessage-bzip2":                                                                          false,
		"permessage-deflate-2":                                                                      false,
		"permessage-bzip2, permessage-deflate":                                                      true,
		"permessage-deflate; server_max_window_bits=10":                                             false,
		"permessage-deflate; mystery, permessage-deflate":                                           true,
		"permessage-deflate; server_max_window_bits=10, permessage-gzip":                            false,
		"permessage-deflate; server_max_window_bits=10, permessage-deflate; client_max_window_bits": true,
		"permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate; client_max_window_bits=11": true,
		"permessage-deflate; client_no_context_takeover; server_no_context_takeover; client_max_window_bits":                   true,
		"permessage-deflate; client_max_window_bits; client_max_window_bits":                                                   false,
		"permessage-deflate; client_no_context_takeover; client_no_context_takeover":                                           false,
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover":                                           false,
		"permessage-deflate; client_max_window_bits=9; client_max_window_bits=10, permessage-deflate":                          true,
		",,": false,
		";":  false,
		// The answer would have to name a window as well, and the handshake's names none.
		"permessage-deflate; server_max_window_bits=15": false,
	}
	for offer, want := range cases {
		if got := AcceptsDeflate(offer); got != want {
			t.Errorf("%q: %t", offer, got)
		}
	}
}

func TestErrorsAreRefusals(t *testing.T) {
	err := refuse(MessageTooBig, "too big")
	if got := fmt.Sprint(err); got != "close 1009: too big" {
		t.Error(got)
	}
}
