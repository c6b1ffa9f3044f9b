package rfc6455

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

// FuzzReader sends any bytes. Whatever they are, the reader ends with a refusal or with the end of the bytes, keeps within
// its bounds, reads the same however the bytes arrive, and what it took means the same when it is sent again.
func FuzzReader(f *testing.F) {
	for _, seed := range [][]byte{
		nil, sent(text, "Hello"), sent(ping, ""), sent(bye, closing(1000, "bye")), sent(bye, "\x03"), sent(text, "\xff"),
		slices.Concat(sent(begun, "He"), sent(ping, "now"), sent(last, "llo")),
		announced(text, 100<<20), announced(text, 1<<63), sent(text, strings.Repeat("x", mostMessage)),
		packed(f, "a compressed message", 1), packed(f, "a compressed message", 3), packed(f, strings.Repeat("x", 100_000), 1),
		sent(text|0x40, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
		{0x81, 0xff, 0, 0},
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, in []byte, deflate bool) {
		messages, err := readAll(t, NewReader(bytes.NewReader(in), nil, mostMessage, deflate))
		others, otherErr := readAll(t, NewReader(iotest.OneByteReader(bytes.NewReader(in)), in[:0], mostMessage, deflate))
		if !slices.EqualFunc(messages, others, same) || err.Error() != otherErr.Error() {
			t.Fatalf("byte by byte %d messages and %v, at once %d and %v", len(others), otherErr, len(messages), err)
		}
		var again []byte
		for _, m := range messages {
			payload := string(m.Payload)
			if m.Opcode == Close && m.Code != NoStatus {
				payload = closing(uint16(m.Code), m.Reason)
			}
			again = append(again, sent(whole|byte(m.Opcode), payload)...)
		}
		twice, err := readAll(t, NewReader(bytes.NewReader(again), nil, mostMessage, deflate))
		if !slices.EqualFunc(messages, twice, same) || !errors.Is(err, io.EOF) {
			t.Fatalf("sent again: %d of %d messages and %v", len(twice), len(messages), err)
		}
	})
}

func same(a, b Message) bool {
	return a.Opcode == b.Opcode && bytes.Equal(a.Payload, b.Payload) && a.Code == b.Code && a.Reason == b.Reason
}

// readAll reads until the end, and checks each message and the error.
func readAll(t *testing.T, r *Reader) ([]Message, error) {
	t.Helper()
	var out []Message
	for {
		m, err := r.Next()
		if len(r.message) > mostMessage || cap(r.message) > 2*mostMessage {
			t.Fatalf("the reader keeps %d bytes", cap(r.message))
		}
		var refusal *Refusal
		switch {
		case errors.As(err, &refusal):
			if code := refusal.Code; code != ProtocolError && code != InvalidPayload && code != MessageTooBig {
				t.Fatalf("refused with %d", code)
			}
			return out, err
		case err != nil:
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatal(err)
			}
			return out, err
		}
		switch {
		case m.Opcode.isControl() && len(m.Payload) > maxControl, len(m.Payload) > mostMessage:
			t.Fatalf("opcode %d with %d bytes", m.Opcode, len(m.Payload))
		case m.Opcode == Text && !utf8.Valid(m.Payload), !utf8.ValidString(m.Reason):
			t.Fatalf("%q is not UTF-8", m.Payload)
		}
		m.Payload = bytes.Clone(m.Payload)
		out = append(out, m)
	}
}

// FuzzAcceptsDeflate offers anything.
func FuzzAcceptsDeflate(f *testing.F) {
	f.Add("permessage-deflate; client_max_window_bits=10, permessage-deflate; server_no_context_takeover")
	f.Add("permessage-deflate; server_max_window_bits=10")
	f.Add(`a;b="c,d", permessage-deflate`)
	f.Fuzz(func(t *testing.T, offer string) {
		got := AcceptsDeflate(offer)
		if got && !strings.Contains(offer, "permessage-deflate") {
			t.Errorf("accepted %q", offer)
		}
		if !AcceptsDeflate(offer + ", permessage-deflate") {
			t.Errorf("a plain offer is not taken after %q", offer)
		}
		if !got && AcceptsDeflate("nonsense, "+offer) {
			t.Errorf("%q is taken after nonsense only", offer)
		}
		if AcceptsDeflate("permessage-deflate; server_max_window_bits=9; " + strings.ReplaceAll(offer, ",", ";")) {
			t.Errorf("a small window is taken with %q", offer)
		}
	})
}
