package rfc6455

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// mask is the key of every masked frame here.
var mask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// sent is a frame as a client sends it: its first byte, and its payload in the shortest form of a length.
func sent(first byte, payload string) []byte {
	b := appendHeader(nil, first, len(payload))
	b[1] |= maskBit
	return append(append(b, mask[:]...), masked(payload)...)
}

// masked is a payload under the mask.
func masked(payload string) []byte {
	b := []byte(payload)
	unmask(b, mask)
	return b
}

// announced is the header of a frame with a length that is not minimal, or not true.
func announced(first byte, length uint64) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{first, maskBit | 127}, length), mask[:]...)
}

// closing is the payload of a close frame.
func closing(code uint16, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, code)) + reason
}

// The first bytes of whole frames, and of the beginnings of messages in parts.
const (
	whole      = finalBit
	text       = whole | byte(Text)
	binaryText = whole | byte(Binary)
	ping       = whole | byte(Ping)
	pong       = whole | byte(Pong)
	bye        = whole | byte(Close)
	begun      = byte(Text)
	more       = byte(continuation)
	last       = whole | byte(continuation)
)

// describe says what came of reading everything: messages, then the refusal or the error.
func describe(r *Reader) []string {
	names := map[Opcode]string{Text: "text", Binary: "binary", Close: "close", Ping: "ping", Pong: "pong"}
	var out []string
	for {
		m, err := r.Next()
		var refusal *Refusal
		switch {
		case errors.As(err, &refusal):
			return append(out, fmt.Sprintf("refused %d", refusal.Code))
		case err != nil:
			return append(out, err.Error())
		case m.Opcode == Close:
			out = append(out, fmt.Sprintf("close %d %s", m.Code, m.Reason))
		default:
			out = append(out, names[m.Opcode]+" "+shown(string(m.Payload)))
		}
	}
}

// shown shortens what is long.
func shown(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%s… %d", s[:8], len(s))
	}
	return s
}

// mostMessage is the bound of a message in these tests.
const mostMessage = 1000

func TestFrames(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	cases := map[string]struct {
		in   [][]byte
		want []string
	}{
		"the example of RFC 6455, 5.7": {[][]byte{{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}}, []string{"text Hello", "EOF"}},
		"nothing":                      {nil, []string{"EOF"}},
		"an empty text":                {[][]byte{sent(text, "")}, []string{"text ", "EOF"}},
		"binary":                       {[][]byte{sent(binaryText, "\xff\xfe")}, []string{"binary \xff\xfe", "EOF"}},
		"the lengths of 125 to 1000": {
			[][]byte{sent(text, long(125)), sent(text, long(126)), sent(text, long(127)), sent(text, long(256)), sent(text, long(1000))},
			[]string{"text xxxxxxxx… 125", "text xxxxxxxx… 126", "text xxxxxxxx… 127", "text xxxxxxxx… 256", "text xxxxxxxx… 1000", "EOF"},
		},
		"a length in eight bytes": {[][]byte{announced(text, 2), masked("hi")}, []string{"text hi", "EOF"}},

		"in parts":            {[][]byte{sent(begun, "He"), sent(more, "ll"), sent(last, "o")}, []string{"text Hello", "EOF"}},
		"in empty parts":      {[][]byte{sent(begun, ""), sent(more, ""), sent(last, "")}, []string{"text ", "EOF"}},
		"a ping between":      {[][]byte{sent(begun, "He"), sent(ping, "now"), sent(last, "llo")}, []string{"ping now", "text Hello", "EOF"}},
		"a close between":     {[][]byte{sent(begun, "He"), sent(bye, closing(1000, ""))}, []string{"close 1000 ", "unexpected EOF"}},
		"pongs between":       {[][]byte{sent(begun, "He"), sent(pong, ""), sent(pong, "x"), sent(last, "y")}, []string{"pong ", "pong x", "text Hey", "EOF"}},
		"a part of nothing":   {[][]byte{sent(more, "x")}, []string{"refused 1002"}},
		"the end of nothing":  {[][]byte{sent(text, "a"), sent(last, "x")}, []string{"text a", "refused 1002"}},
		"text within text":    {[][]byte{sent(begun, "x"), sent(text, "y")}, []string{"refused 1002"}},
		"binary within text":  {[][]byte{sent(begun, "x"), sent(byte(Binary), "y")}, []string{"refused 1002"}},
		"one after the other": {[][]byte{sent(begun, "a"), sent(last, "b"), sent(text, "c")}, []string{"text ab", "text c", "EOF"}},

		"a ping":                    {[][]byte{sent(ping, "")}, []string{"ping ", "EOF"}},
		"a ping of 125":             {[][]byte{sent(ping, long(125))}, []string{"ping xxxxxxxx… 125", "EOF"}},
		"a ping of 126":             {[][]byte{sent(ping, long(126))}, []string{"refused 1002"}},
		"a ping of 64 bits":         {[][]byte{announced(ping, 5)}, []string{"refused 1002"}},
		"a pong of 126":             {[][]byte{sent(pong, long(126))}, []string{"refused 1002"}},
		"a ping in parts":           {[][]byte{sent(byte(Ping), "x")}, []string{"refused 1002"}},
		"a pong in parts":           {[][]byte{sent(byte(Pong), "x")}, []string{"refused 1002"}},
		"a close in parts":          {[][]byte{sent(byte(Close), "")}, []string{"refused 1002"}},
		"a ping that is no UTF-8":   {[][]byte{sent(ping, "\xff")}, []string{"ping \xff", "EOF"}},
		"a close without a code":    {[][]byte{sent(bye, "")}, []string{"close 1005 ", "EOF"}},
		"a close with a reason":     {[][]byte{sent(bye, closing(1001, "away"))}, []string{"close 1001 away", "EOF"}},
		"a close of 125":            {[][]byte{sent(bye, closing(1000, strings.Repeat("é", 61)+"x"))}, []string{"close 1000 " + strings.Repeat("é", 61) + "x", "EOF"}},
		"a close of 126":            {[][]byte{sent(bye, closing(1000, long(124)))}, []string{"refused 1002"}},
		"half a code":               {[][]byte{sent(bye, "\x03")}, []string{"refused 1002"}},
		"a reason that is no UTF-8": {[][]byte{sent(bye, closing(1000, "\xc3\x28"))}, []string{"refused 1007"}},
		"a reason cut in a rune":    {[][]byte{sent(bye, closing(1000, "\xe2\x82"))}, []string{"refused 1007"}},

		"text that is no UTF-8":        {[][]byte{sent(text, "\xce\xba\xe1\xbd\xb9\xed\xa0\x80edited")}, []string{"refused 1007"}},
		"text cut in a rune":           {[][]byte{sent(text, "\xe2\x82")}, []string{"refused 1007"}},
		"an overlong slash":            {[][]byte{sent(text, "\xc0\xaf")}, []string{"refused 1007"}},
		"beyond Unicode":               {[][]byte{sent(text, "\xf4\x90\x80\x80")}, []string{"refused 1007"}},
		"a rune over two parts":        {[][]byte{sent(begun, "\xe2\x82"), sent(last, "\xac")}, []string{"text €", "EOF"}},
		"a rune over four parts":       {[][]byte{sent(begun, "\xf0"), sent(more, "\x9f"), sent(more, "\x8f"), sent(last, "\x9d")}, []string{"text \U0001f3dd", "EOF"}},
		"no rune over two parts":       {[][]byte{sent(begun, "\xe2\x82"), sent(last, "x")}, []string{"refused 1007"}},
		"no rune, and a ping between":  {[][]byte{sent(begun, "\xe2"), sent(ping, ""), sent(last, "\x28\xa1")}, []string{"ping ", "refused 1007"}},
		"the first text of two is bad": {[][]byte{sent(text, "\xff"), sent(text, "fine")}, []string{"refused 1007"}},

		"RSV1":                {[][]byte{sent(text|0x40, "x")}, []string{"refused 1002"}},
		"RSV2":                {[][]byte{sent(text|0x20, "x")}, []string{"refused 1002"}},
		"RSV3":                {[][]byte{sent(text|0x10, "x")}, []string{"refused 1002"}},
		"RSV3 of a ping":      {[][]byte{sent(ping|0x10, "")}, []string{"refused 1002"}},
		"a frame in the open": {[][]byte{{text, 2, 'h', 'i'}}, []string{"refused 1002"}},
		"a ping in the open":  {[][]byte{{ping, 0}}, []string{"refused 1002"}},

		"too long by one": {[][]byte{sent(text, long(mostMessage+1))}, []string{"refused 1009"}},
		"too long in parts": {
			[][]byte{sent(begun, long(600)), sent(more, long(400)), sent(more, ""), sent(last, "x")}, []string{"refused 1009"},
		},
		"100 MB":             {[][]byte{announced(text, 100<<20)}, []string{"refused 1009"}},
		"just below 2^63":    {[][]byte{announced(text, 1<<63-1)}, []string{"refused 1009"}},
		"2^63":               {[][]byte{announced(text, 1<<63)}, []string{"refused 1002"}},
		"a part of 2^63 - 1": {[][]byte{sent(begun, long(999)), announced(more, 1<<63-1)}, []string{"refused 1009"}},

		"cut off after a byte":        {[][]byte{sent(text, "hello")[:1]}, []string{"unexpected EOF"}},
		"cut off before the length":   {[][]byte{sent(text, long(200))[:2]}, []string{"unexpected EOF"}},
		"cut off before the mask":     {[][]byte{sent(text, "hello")[:2]}, []string{"unexpected EOF"}},
		"cut off in the mask":         {[][]byte{sent(text, "hello")[:4]}, []string{"unexpected EOF"}},
		"cut off before the payload":  {[][]byte{sent(text, "hello")[:6]}, []string{"unexpected EOF"}},
		"cut off in the payload":      {[][]byte{sent(text, "hello")[:9]}, []string{"unexpected EOF"}},
		"cut off in a ping":           {[][]byte{sent(ping, "hello")[:6]}, []string{"unexpected EOF"}},
		"cut off between the parts":   {[][]byte{sent(begun, "x")}, []string{"unexpected EOF"}},
		"cut off after a whole frame": {[][]byte{sent(text, "x"), sent(text, "hello")[:3]}, []string{"text x", "unexpected EOF"}},
	}
	for _, opcode := range []byte{3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf} {
		cases[fmt.Sprintf("opcode %d", opcode)] = struct {
			in   [][]byte
			want []string
		}{[][]byte{sent(whole|opcode, "")}, []string{"refused 1002"}}
	}
	ways := map[string]func(b []byte) *Reader{
		"at once": func(b []byte) *Reader { return NewReader(bytes.NewReader(b), nil, mostMessage, false) },
		"byte by byte": func(b []byte) *Reader {
			return NewReader(iotest.OneByteReader(bytes.NewReader(b)), nil, mostMessage, false)
		},
		"with the end": func(b []byte) *Reader {
			return NewReader(iotest.DataErrReader(bytes.NewReader(b)), nil, mostMessage, false)
		},
		"with the handshake": func(b []byte) *Reader {
			return NewReader(bytes.NewReader(nil), b, mostMessage, false)
		},
		"half with the handshake": func(b []byte) *Reader {
			return NewReader(bytes.NewReader(b[len(b)/2:]), b[:len(b)/2], mostMessage, false)
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for way, reader := range ways {
				if got := describe(reader(bytes.Join(tc.in, nil))); !slices.Equal(got, tc.want) {
					t.Errorf("%s: %q, want %q", way, got, tc.want)
				}
			}
		})
	}
}

func TestCloseCodes(t *testing.T) {
	valid := func(code int) bool {
		return code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
	}
	for code := range 1 << 16 {
		want := "refused 1002"
		if valid(code) {
			want = fmt.Sprintf("close %d ", code)
		}
		r := NewReader(bytes.NewReader(sent(bye, closing(uint16(code), ""))), nil, mostMessage, false)
		if got := describe(r)[0]; got != want {
			t.Errorf("%d: %s, want %s", code, got, want)
		}
	}
}

func TestAnErrorOfTheConnection(t *testing.T) {
	broken := errors.New("broken")
	for name, before := range map[string][]byte{
		"between frames": sent(text, "x"), "in a header": sent(text, "x")[:1], "in a payload": sent(text, "hello")[:8],
	} {
		r := NewReader(io.MultiReader(bytes.NewReader(before), iotest.ErrReader(broken)), nil, mostMessage, false)
		for {
			_, err := r.Next()
			if err == nil {
				continue
			}
			if !errors.Is(err, broken) {
				t.Errorf("%s: %v", name, err)
			}
			break
		}
	}
}

func TestReset(t *testing.T) {
	r := NewReader(bytes.NewReader(sent(text, "a")), nil, mostMessage, false)
	if got := describe(r); got[0] != "text a" {
		t.Error(got)
	}
	r.Reset(bytes.NewReader(sent(text, "c")), sent(text, "b"))
	if got := describe(r); !slices.Equal(got, []string{"text b", "text c", "EOF"}) {
		t.Error(got)
	}
}

// TestAnAnnouncementTakesNoMemory reads the headers of messages that nobody could hold.
func TestAnAnnouncementTakesNoMemory(t *testing.T) {
	for _, length := range []uint64{mostMessage + 1, 100 << 20, 1 << 62, 1 << 63, 1<<64 - 1} {
		header := announced(text, length)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 100 {
			_ = describe(NewReader(bytes.NewReader(header), nil, mostMessage, false))
		}
		runtime.ReadMemStats(&after)
		if each := (after.TotalAlloc - before.TotalAlloc) / 100; each > 4<<10 {
			t.Errorf("the header of a message of %d bytes took %d", length, each)
		}
	}
}

// TestAReaderKeepsNothing reads a message and then waits for the next: what it held is free.
func TestAReaderKeepsNothing(t *testing.T) {
	in, out := io.Pipe()
	defer out.Close()
	r := NewReader(in, nil, mostMessage, false)
	go func() { _, _ = out.Write(append(sent(text, strings.Repeat("x", mostMessage)), sent(ping, "")...)) }()
	if m, err := r.Next(); err != nil || len(m.Payload) != mostMessage {
		t.Fatalf("%d bytes, %v", len(m.Payload), err)
	}
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if r.message != nil {
		t.Errorf("still holds %d bytes", len(r.message))
	}
}
