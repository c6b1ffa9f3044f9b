package gateway

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"

	"github.com/service-islands/islands/host/internal/gateway/hub"
)

// First bytes of frames.
const (
	textFrame  = 0x81
	pingFrame  = 0x89
	closeFrame = 0x88
	textBegins = 0x01
	partEnds   = 0x80
	compressed = 0x40 // RSV1
)

const askForEth = `{"action":"subscribe","channels":["ticker:eth"]}`

// TestViolations breaks RFC 6455 and RFC 7692 over real connections, in the manner of Autobahn: each ends with the close
// code that they want, and then the stream ends.
func TestViolations(t *testing.T) {
	l := startLive(t, hub.Options{})
	long := strings.Repeat("x", 5000)
	cases := map[string]struct {
		send     []string
		code     int
		deflated bool
	}{
		"an unmasked frame":              {[]string{"\x81\x02hi"}, 1002, false},
		"RSV1":                           {[]string{clientFrame(textFrame|compressed, "x")}, 1002, false},
		"RSV2":                           {[]string{clientFrame(textFrame|0x20, "x")}, 1002, true},
		"RSV3 of a ping":                 {[]string{clientFrame(pingFrame|0x10, "")}, 1002, true},
		"an unknown opcode":              {[]string{clientFrame(0x83, "")}, 1002, false},
		"an unknown control":             {[]string{clientFrame(0x8b, "")}, 1002, false},
		"a ping of 126 bytes":            {[]string{clientFrame(pingFrame, long[:126])}, 1002, false},
		"a ping in parts":                {[]string{clientFrame(0x09, "")}, 1002, false},
		"a part of nothing":              {[]string{clientFrame(partEnds, askForEth)}, 1002, false},
		"text within text":               {[]string{clientFrame(textBegins, "a"), clientFrame(textFrame, "b")}, 1002, false},
		"a close with one byte":          {[]string{clientFrame(closeFrame, "\x03")}, 1002, false},
		"a close with 1005":              {[]string{clientFrame(closeFrame, "\x03\xed")}, 1002, false},
		"a close with 999":               {[]string{clientFrame(closeFrame, "\x03\xe7")}, 1002, false},
		"a close with 2999":              {[]string{clientFrame(closeFrame, "\x0b\xb7")}, 1002, false},
		"a close with a bad reason":      {[]string{clientFrame(closeFrame, "\x03\xe8\xff")}, 1007, false},
		"text that is no UTF-8":          {[]string{clientFrame(textFrame, "\xff\xfe")}, 1007, false},
		"no UTF-8 over two parts":        {[]string{clientFrame(textBegins, "\xe2\x82"), clientFrame(partEnds, "x")}, 1007, false},
		"compressed garbage":             {[]string{clientFrame(textFrame|compressed, "\xff\xff\xff")}, 1007, true},
		"no UTF-8 inside":                {[]string{clientFrame(textFrame|compressed, squeeze(t, "\xff"))}, 1007, true},
		"RSV1 of a part":                 {[]string{clientFrame(textBegins|compressed, "\xf2"), clientFrame(partEnds|compressed, "")}, 1002, true},
		"binary":                         {[]string{clientFrame(0x82, "x")}, 1003, false},
		"binary, compressed":             {[]string{clientFrame(0x82|compressed, squeeze(t, "x"))}, 1003, true},
		"a long message":                 {[]string{clientFrame(textFrame, long)}, 1009, false},
		"a long message in parts":        {[]string{clientFrame(textBegins, long[:4000]), clientFrame(partEnds, long[:1000])}, 1009, false},
		"a bomb":                         {[]string{clientFrame(textFrame|compressed, squeeze(t, strings.Repeat("x", 1_000_000)))}, 1009, true},
		"the header of 100 MB":           {[]string{"\x81\xff" + string(binary.BigEndian.AppendUint64(nil, 100<<20)) + "mask"}, 1009, false},
		"the header of 2^63":             {[]string{"\x81\xff" + string(binary.BigEndian.AppendUint64(nil, 1<<63)) + "mask"}, 1002, false},
		"a request that cannot be meant": {[]string{clientFrame(textFrame, `{"action":"buy"}`)}, hub.CloseBadRequest, false},
		"a ping, then a violation":       {[]string{clientFrame(pingFrame, "x"), clientFrame(0x83, "")}, 1002, false},
		"a violation, then more":         {[]string{clientFrame(0x83, ""), clientFrame(textFrame, askForEth), long}, 1002, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var headers []string
			if tc.deflated {
				headers = []string{"Sec-WebSocket-Extensions", "permessage-deflate"}
			}
			s := l.rawDial(t, "/ws?channels=ticker:eth", "", headers...)
			s.write(tc.send...)
			got := s.rest()
			if want := fmt.Sprintf("close %d", tc.code); got[len(got)-1] != want {
				t.Errorf("got %q, want %s in the end", got, want)
			}
			if slices.Contains(got, "subscribed") {
				t.Errorf("answered after the violation: %q", got)
			}
		})
	}
}

// squeeze compresses a message without its tail.
func squeeze(t *testing.T, message string) string {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, 9)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, message); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(out.String(), "\x00\x00\xff\xff")
}

func TestTheCloseHandshake(t *testing.T) {
	l := startLive(t, hub.Options{})
	cases := map[string]struct {
		payload string
		want    string
	}{
		"without a code": {"", "\x88\x00"},
		"normal":         {"\x03\xe8", "\x88\x02\x03\xe8"},
		"with a reason":  {"\x03\xe9going away", "\x88\x02\x03\xe9"},
		"of its own":     {"\x0f\xa0", "\x88\x02\x0f\xa0"},
		"too slow":       {"\x0f\xa8", "\x88\x02\x0f\xa8"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := l.rawDial(t, "/ws?channels=ticker:eth", "")
			s.write(clientFrame(closeFrame, tc.payload))
			all, err := io.ReadAll(s.in)
			if err != nil || !bytes.HasSuffix(all, []byte(tc.want)) {
				t.Errorf("ended with %q and %v, want %q", all[max(0, len(all)-20):], err, tc.want)
			}
		})
	}
	l.clients(t, 0)
	if lines := l.log.with("sent away"); len(lines) != 0 {
		t.Errorf("clients that left were logged as sent away: %q", lines)
	}
	if s := l.hub.Stats(); s.Slow != 0 {
		t.Errorf("%d clients that left were counted as slow", s.Slow)
	}
}

// TestWhatIsAllowed uses what few clients do.
func TestWhatIsAllowed(t *testing.T) {
	l := startLive(t, hub.Options{MessagesPerSecond: 100})
	s := l.rawDial(t, "/ws", "", "Sec-WebSocket-Extensions", "permessage-deflate")
	ask := func(id string) string {
		return `{"action":"subscribe","channels":["ticker:eth"],"id":"` + id + `"}`
	}
	half := len(ask("a")) / 2
	packed := squeeze(t, ask("c"))
	cases := []struct {
		name   string
		frames []string
		want   []string
	}{
		{"a ping with a payload", []string{clientFrame(pingFrame, "\xff\x00payload")}, []string{"pong \xff\x00payload"}},
		{"a ping of 125 bytes", []string{clientFrame(pingFrame, strings.Repeat("x", 125))}, []string{"pong " + strings.Repeat("x", 125)}},
		{"pings in a row", []string{clientFrame(pingFrame, "1"), clientFrame(pingFrame, "2")}, []string{"pong 1", "pong 2"}},
		{"an unasked pong", []string{clientFrame(0x8a, "x"), clientFrame(pingFrame, "")}, []string{"pong "}},
		{
			"a message in parts with a ping between",
			[]string{clientFrame(textBegins, ask("a")[:half]), clientFrame(pingFrame, "!"), clientFrame(0, ""), clientFrame(partEnds, ask("a")[half:])},
			[]string{"pong !", "subscribed"},
		},
		{
			"compressed in parts",
			[]string{clientFrame(textBegins|compressed, packed[:9]), clientFrame(partEnds, packed[9:])},
			[]string{"subscribed"},
		},
		{"not compressed", []string{clientFrame(textFrame, ask("d"))}, []string{"subscribed"}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			for _, b := range []byte(strings.Join(tc.frames, "")) {
				s.write(string([]byte{b}))
			}
			for _, want := range tc.want {
				s.await(want)
			}
		})
	}
}

// TestCompressedFrames reads the frames of a feed that is compressed: those that are worth it have RSV1, and what they
// hold is what others get.
func TestCompressedFrames(t *testing.T) {
	l := startLive(t, hub.Options{})
	plain := l.rawDial(t, "/ws?channels=ticker:btc", "")
	deflated := l.rawDial(t, "/ws?channels=ticker:btc", "", "Sec-WebSocket-Extensions", "permessage-deflate")
	plain.await("snapshot ticker:btc 0")
	l.clients(t, 2)
	l.publish(1)
	var want string
	for want == "" {
		m, err := plain.next()
		if err != nil {
			t.Fatal(err)
		}
		if m.Seq == 1 {
			want = m.payload
		}
	}
	for {
		m, err := deflated.next()
		if err != nil {
			t.Fatal(err)
		}
		if !m.packed {
			continue
		}
		text, err := io.ReadAll(flate.NewReader(strings.NewReader(m.payload + "\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
		if err != nil {
			t.Fatal(err)
		}
		if string(text) == want {
			break
		}
	}
}

// TestAHeaderOf100MB announces what the host will not hold, often: nothing is taken for it, and little is logged.
func TestAHeaderOf100MB(t *testing.T) {
	l := startLive(t, hub.Options{})
	header := "\x81\xff" + string(binary.BigEndian.AppendUint64(nil, 100<<20)) + "mask"
	const n = 50
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range n {
		s := l.rawDial(t, "/ws", "")
		s.write(header, strings.Repeat("x", 10_000))
		if got := s.rest(); got[len(got)-1] != "close 1009" {
			t.Errorf("ended with %q", got)
		}
		_ = s.Close()
		if lines := l.log.with("1009"); i == 0 && len(lines) != 1 {
			t.Errorf("logged %q", lines)
		}
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 100<<20 {
		t.Errorf("%d clients took %d bytes", n, took)
	}
	if lines := l.log.with("1009"); len(lines) > 30 {
		t.Errorf("%d lines about %d clients", len(lines), n)
	}
	l.clients(t, 0)
}

// TestWhoGoesOnAfterItWasSentAway sends for as long as it can: that is not long.
func TestWhoGoesOnAfterItWasSentAway(t *testing.T) {
	l := startLive(t, hub.Options{})
	s := l.rawDial(t, "/ws", "")
	s.write(clientFrame(0x83, ""))
	chunk := []byte(strings.Repeat("x", 1<<10))
	until(t, "the connection ends", func() bool {
		_, err := s.Write(chunk)
		return err != nil
	})
	l.clients(t, 0)
}

// TestAFloodOfRequests asks 200,000 times over one connection: the client is told once, and sent away.
func TestAFloodOfRequests(t *testing.T) {
	l := startLive(t, hub.Options{})
	for name, frame := range map[string]string{
		"subscribes": clientFrame(textFrame, askForEth), "pings": clientFrame(pingFrame, "x"), "pongs": clientFrame(0x8a, ""),
	} {
		t.Run(name, func(t *testing.T) {
			noisy := l.hub.Stats().Noisy
			s := l.rawDial(t, "/ws", "")
			ended := make(chan struct{})
			var got []string
			go func() {
				defer close(ended)
				for {
					m, err := s.next()
					if err != nil {
						return // The host may give up before all was sent, with a reset.
					}
					got = append(got, m.brief())
				}
			}()
			sendMany(s, frame, 200_000)
			<-ended
			_ = s.Close()
			if len(got) == 0 || got[len(got)-1] != fmt.Sprintf("close %d", hub.CloseLimit) || len(got) > 100 {
				t.Errorf("%d answers, the last of them %q", len(got), got[max(0, len(got)-3):])
			}
			if n := l.hub.Stats().Noisy - noisy; n != 1 {
				t.Errorf("%d clients counted as noisy", n)
			}
			l.clients(t, 0)
		})
	}
	if lines := l.log.with("too many messages"); len(lines) != 3 {
		t.Errorf("three floods were logged as %q", lines)
	}
}

// sendMany sends a frame many times, until the connection takes no more.
func sendMany(conn net.Conn, frame string, n int) {
	const together = 1000
	block := []byte(strings.Repeat(frame, together))
	for range n / together {
		if _, err := conn.Write(block); err != nil {
			return
		}
	}
}
