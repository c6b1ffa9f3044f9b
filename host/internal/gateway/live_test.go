package gateway

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/host/internal/gateway/hub"
)

// patience is how long a test waits for what has to happen.
const patience = 20 * time.Second

// liveFeed is a gateway that listens, with a feed that the test publishes to.
type liveFeed struct {
	*Gateway
	hub *hub.Hub
	log *logLines
	n   uint64
}

// logLines counts what is logged.
type logLines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// with lists the lines that hold a text.
func (l *logLines) with(text string) (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}

// startLive starts a gateway whose feed knows btc and eth, both at 0.
func startLive(t *testing.T, o hub.Options, origins ...string) *liveFeed {
	t.Helper()
	opts := options(newFakeMarket())
	opts.Origins = origins
	return startFeed(t, o, opts)
}

// startLiveWith starts a gateway as its options say, whose feed knows btc and eth, both at 0.
func startLiveWith(t *testing.T, opts Options) *liveFeed {
	t.Helper()
	return startFeed(t, hub.Options{}, opts)
}

func startFeed(t *testing.T, o hub.Options, opts Options) *liveFeed {
	t.Helper()
	log := &logLines{}
	o.Symbols = append(o.Symbols, "btc", "eth")
	o.Logger = hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Info})
	opts.Feed, opts.Logger = hub.New(o), o.Logger
	l := &liveFeed{hub: opts.Feed, log: log}
	zero := quote("eth", 0, 0)
	l.hub.Publish(hub.Tick{Epoch: "a", At: now, Whole: true, Quotes: []hub.Item{quote("btc", 0, 0), zero}, Global: zero.JSON})
	l.Gateway = started(t, opts, defaultLimits())
	return l
}

// quote is what a symbol is worth, in as many bytes as a real one.
func quote(symbol string, seq, price uint64) hub.Item {
	text := fmt.Appendf(nil, `{"symbol":%q,"price":%d,"source":%q}`, symbol, price, strings.Repeat("market ", 40))
	return hub.Item{Key: symbol, Seq: seq, JSON: text}
}

// publish makes n ticks in which btc and the whole market are worth the number of the tick, which is also their seq.
func (l *liveFeed) publish(n int) {
	for range n {
		l.n++
		btc := quote("btc", l.n, l.n)
		l.hub.Publish(hub.Tick{
			Epoch: "a", N: l.n, At: now, Quotes: []hub.Item{btc}, QuotesSeq: l.n, Global: btc.JSON, GlobalSeq: l.n,
		})
	}
}

// flood publishes large ticks until something has happened, which a client that does not read brings about.
func (l *liveFeed) flood(t *testing.T, what string, happened func() bool) {
	t.Helper()
	until(t, what, func() bool {
		l.n++
		text := fmt.Appendf(nil, `{"price":%d,"padding":%q}`, l.n, strings.Repeat("x", 50<<10))
		l.hub.Publish(hub.Tick{Epoch: "a", N: l.n, At: now, Quotes: []hub.Item{{Key: "btc", Seq: l.n, JSON: text}}, QuotesSeq: l.n})
		return happened()
	})
}

// until waits for something to happen.
func until(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !happened(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// clients waits until the feed has so many.
func (l *liveFeed) clients(t *testing.T, n int) {
	t.Helper()
	until(t, fmt.Sprintf("%d clients", n), func() bool { return l.hub.Stats().Clients == n })
}

// openFiles counts the files of this process.
func openFiles() int {
	entries, _ := os.ReadDir("/proc/self/fd") // Where there is no such folder, nothing is counted.
	return len(entries)
}

// liveMessage is what the feed sent: a message, a control frame, or a refusal before there was a WebSocket.
type liveMessage struct {
	opcode  byte
	packed  bool
	payload string
	code    int    // of a close frame
	cursor  string // of an event
	retry   string // of an event
	event   string

	Type    string          `json:"type"`
	Data    json.RawMessage `json:"data"`
	Channel string          `json:"channel"`
	Seq     uint64          `json:"seq"`
	Epoch   string          `json:"epoch"`
}

// brief is a message in short.
func (m *liveMessage) brief() string {
	switch {
	case m.opcode == 0x8:
		return fmt.Sprintf("close %d", m.code)
	case m.opcode == 0x9:
		return "ping " + m.payload
	case m.opcode == 0xa:
		return "pong " + m.payload
	case m.Channel != "":
		return fmt.Sprintf("%s %s %d", m.Type, m.Channel, m.Seq)
	default:
		return m.Type
	}
}

// answered is a connection of its own on which something was asked for, with the head of the answer. It stays open.
type answered struct {
	net.Conn
	in     *bufio.Reader // what follows the head
	body   io.Reader     // the same, as the head says how it ends
	status int
	header http.Header
	length int64
	closes bool
}

// connect asks for something; headers come in pairs, and what is behind the request is sent with it. It may be called from
// any goroutine.
func (l *liveFeed) connect(behind, method, target string, headers ...string) (*answered, error) {
	dialer := net.Dialer{Timeout: patience}
	conn, err := dialer.Dial("tcp", l.Addr())
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	var request strings.Builder
	request.WriteString(method + " " + target + " HTTP/1.1\r\nHost: " + l.Addr() + "\r\n")
	for i := 0; i < len(headers); i += 2 {
		request.WriteString(headers[i] + ": " + headers[i+1] + "\r\n")
	}
	if _, err := io.WriteString(conn, request.String()+"\r\n"+behind); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	in := bufio.NewReader(conn)
	r, err := http.ReadResponse(in, &http.Request{Method: method}) //nolint:bodyclose // It ends with the connection.
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &answered{conn, in, r.Body, r.StatusCode, r.Header, r.ContentLength, r.Close}, nil
}

// ask is connect without anything behind, for as long as the test runs.
func (l *liveFeed) ask(t *testing.T, method, target string, headers ...string) *answered {
	t.Helper()
	return l.askWith(t, "", method, target, headers...)
}

// askWith is connect for as long as the test runs.
func (l *liveFeed) askWith(t *testing.T, behind, method, target string, headers ...string) *answered {
	t.Helper()
	a, err := l.connect(behind, method, target, headers...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// refusal asks for something that is not granted.
func (l *liveFeed) refusal(t *testing.T, method, target string, headers ...string) response {
	t.Helper()
	a := l.ask(t, method, target, headers...)
	defer a.Close()
	if a.status == http.StatusSwitchingProtocols || a.status == http.StatusOK && method == http.MethodGet {
		t.Fatalf("%s was granted", target)
	}
	body, err := io.ReadAll(a.body)
	if err != nil {
		t.Fatal(err)
	}
	return response{Response: &http.Response{StatusCode: a.status, Header: a.header}, body: body}
}

// handshake are the headers of a client that wants a WebSocket.
func handshake(more ...string) []string {
	return append([]string{
		"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==",
	}, more...)
}

// rawSocket is a WebSocket of which the test writes and reads every byte.
type rawSocket struct {
	*answered
	t *testing.T
}

// rawDial makes a WebSocket by hand. What is behind the handshake is sent with it.
func (l *liveFeed) rawDial(t *testing.T, target, behind string, headers ...string) *rawSocket {
	t.Helper()
	a := l.askWith(t, behind, http.MethodGet, target, handshake(headers...)...)
	if a.status != http.StatusSwitchingProtocols {
		t.Fatalf("status %d", a.status)
	}
	return &rawSocket{a, t}
}

// clientFrame is a frame as a client sends it: its first byte, and its payload under a mask.
func clientFrame(first byte, payload string) string {
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b := []byte{first, 0x80 | byte(len(payload))}
	if n := len(payload); n > 125 {
		b[1] = 0x80 | 126
		b = append(b, byte(n>>8), byte(n)) // Nothing here is longer than that.
	}
	b = append(b, key[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i&3])
	}
	return string(b)
}

// write sends bytes.
func (s *rawSocket) write(frames ...string) {
	s.t.Helper()
	if _, err := io.WriteString(s, strings.Join(frames, "")); err != nil {
		s.t.Fatal(err)
	}
}

// next reads a frame; the error is that of the connection.
func (s *rawSocket) next() (liveMessage, error) {
	s.t.Helper()
	var m liveMessage
	head := make([]byte, 2, 10)
	if _, err := io.ReadFull(s.in, head); err != nil {
		return m, err
	}
	length := int(head[1])
	if extra := map[int]int{126: 2, 127: 8}[length]; extra > 0 {
		length = 0
		for range extra {
			b, err := s.in.ReadByte()
			if err != nil {
				return m, err
			}
			length = length<<8 | int(b)
		}
	}
	payload := make([]byte, length)
	if _, err := io.ReadFull(s.in, payload); err != nil {
		return m, err
	}
	if head[0]&0x80 == 0 || head[0]&0x30 != 0 {
		s.t.Errorf("the first byte of a frame of the server is %#x", head[0])
	}
	m.opcode, m.packed, m.payload = head[0]&0xf, head[0]&0x40 != 0, string(payload)
	if m.opcode == 0x8 && length >= 2 {
		m.code = int(payload[0])<<8 | int(payload[1])
	}
	if m.opcode == 0x1 && !m.packed {
		if err := json.Unmarshal(payload, &m); err != nil {
			s.t.Errorf("%v in %q", err, payload)
		}
	}
	return m, nil
}

// rest reads until the end of the stream.
func (s *rawSocket) rest() (briefs []string) {
	s.t.Helper()
	for {
		m, err := s.next()
		if err != nil {
			if err != io.EOF { //nolint:errorlint // A stream that ends within a frame, or with a reset, is a fault.
				s.t.Errorf("the stream ended with %v", err)
			}
			return briefs
		}
		briefs = append(briefs, m.brief())
	}
}

// await reads until a message comes.
func (s *rawSocket) await(brief string) {
	s.t.Helper()
	var got []string
	for {
		m, err := s.next()
		if err != nil {
			s.t.Fatalf("waited for %q, got %q and %v", brief, got, err)
		}
		if m.brief() == brief {
			return
		}
		got = append(got, m.brief())
	}
}

// eventReader reads server-sent events.
type eventReader struct {
	*answered
	t     *testing.T
	lines *textproto.Reader
}

// events opens an event stream.
func (l *liveFeed) events(t *testing.T, target string, headers ...string) *eventReader {
	t.Helper()
	a := l.ask(t, http.MethodGet, target, headers...)
	if a.status != http.StatusOK {
		t.Fatalf("status %d", a.status)
	}
	return &eventReader{a, t, textproto.NewReader(bufio.NewReader(a.body))}
}

// next reads an event.
func (e *eventReader) next() (liveMessage, error) {
	e.t.Helper()
	var m liveMessage
	for {
		line, err := e.lines.ReadLine()
		if err != nil || line == "" {
			return m, err
		}
		field, value, _ := strings.Cut(line, ": ")
		switch field {
		case "event":
			m.event = value
		case "id":
			m.cursor = value
		case "retry":
			m.retry = value
		case "data":
			if err := json.Unmarshal([]byte(value), &m); err != nil {
				e.t.Errorf("%v in %q", err, value)
			}
		default:
			e.t.Errorf("a line %q", line)
		}
	}
}

// want reads events and checks them in short.
func (e *eventReader) want(briefs ...string) (last liveMessage) {
	e.t.Helper()
	for _, brief := range briefs {
		m, err := e.next()
		if err != nil || m.brief() != brief || m.event != m.Type {
			e.t.Fatalf("got %q as %q and %v, want %q", m.brief(), m.event, err, brief)
		}
		last = m
	}
	return last
}
