package hub

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/klauspost/compress/flate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipe is a connection whose other end reads when the test says so.
type pipe struct {
	mu       sync.Mutex
	room     int // bytes that the kernel takes without a reader
	buffered []byte
	closed   bool
	halved   bool
	deadline time.Time
	change   chan struct{} // closed and replaced when something changes
	reading  time.Time
	writes   int
	last     *byte // where the bytes of the last write lay
}

func newPipe(room int) *pipe { return &pipe{room: room, change: make(chan struct{})} }

func (p *pipe) changed() {
	close(p.change)
	p.change = make(chan struct{})
}

var errClosed = errors.New("closed")

func (p *pipe) TryWrite(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.halved {
		return 0, errClosed
	}
	n := min(len(b), p.room-len(p.buffered))
	p.buffered = append(p.buffered, b[:n]...)
	p.writes++
	p.last = &b[0]
	p.changed()
	return n, nil
}

func (p *pipe) Write(b []byte) (int, error) {
	written := 0
	for {
		n, err := p.TryWrite(b[written:])
		written += n
		if err != nil || written == len(b) {
			return written, err
		}
		p.mu.Lock()
		change, left := p.change, time.Until(p.deadline)
		if p.deadline.IsZero() {
			left = time.Hour
		}
		p.mu.Unlock()
		if left <= 0 {
			return written, os.ErrDeadlineExceeded
		}
		select {
		case <-change:
		case <-time.After(left):
		}
	}
}

func (p *pipe) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reading = t
	return nil
}

func (p *pipe) SetWriteDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	p.changed()
	return nil
}

func (p *pipe) CloseWrite() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.halved = true
	p.changed()
	return nil
}

func (p *pipe) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.changed()
	return nil
}

// read takes what has arrived.
func (p *pipe) read() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.buffered
	p.buffered = nil
	p.changed()
	return b
}

// readSome takes at most n bytes of what has arrived.
func (p *pipe) readSome(n int) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	n = min(n, len(p.buffered))
	b := p.buffered[:n:n]
	p.buffered = p.buffered[n:]
	p.changed()
	return b
}

func (p *pipe) ended() (halved, closed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.halved, p.closed
}

// received is a message that a client got, or a control frame.
type received struct {
	Opcode   byte `json:"-"`
	Code     int  `json:"-"` // of a close frame
	ID       any  `json:"id"`
	Cursor   string
	Type     string          `json:"type"`
	Data     json.RawMessage `json:"data"`
	Channel  string          `json:"channel"`
	Seq      uint64          `json:"seq"`
	Epoch    string          `json:"epoch"`
	Stamp    string          `json:"timestamp"`
	deflated bool
}

// values reads data as an object of numbers.
func (r received) values(t *testing.T) map[string]int {
	t.Helper()
	var out map[string]int
	if err := json.Unmarshal(r.Data, &out); err != nil {
		t.Fatalf("%v in %s", err, r.Data)
	}
	return out
}

// listener is a client at the test's end.
type listener struct {
	t      *testing.T
	client *Client
	pipe   *pipe
	rest   []byte
}

var loopback = netip.MustParseAddr("127.0.0.1")

// listen joins a client whose socket takes room bytes.
func listen(t *testing.T, h *Hub, e Encoding, room int, start Start) *listener {
	t.Helper()
	p := newPipe(room)
	c, err := h.Join(p, e, loopback, start)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Leave)
	return &listener{t: t, client: c, pipe: p}
}

// messages takes every whole message that has arrived, without pings.
func (l *listener) messages() []received {
	l.t.Helper()
	return l.decode(l.pipe.read())
}

// decode returns the messages that are whole with some more bytes.
func (l *listener) decode(b []byte) []received {
	l.t.Helper()
	l.rest = append(l.rest, b...)
	if l.client.encoding == EventStream {
		return l.events()
	}
	var out []received
	for {
		r, n, ok := decodeFrame(l.t, l.rest)
		if !ok {
			return out
		}
		l.rest = l.rest[n:]
		if r.Opcode != 0x9 {
			out = append(out, r)
		}
	}
}

func decodeFrame(t *testing.T, b []byte) (r received, n int, ok bool) {
	t.Helper()
	if len(b) < 2 {
		return r, 0, false
	}
	r.Opcode, r.deflated = b[0]&0xf, b[0]&0x40 != 0
	length, at := int(b[1]), 2
	switch {
	case length == 126 && len(b) >= 4:
		length, at = int(binary.BigEndian.Uint16(b[2:])), 4
	case length == 127 && len(b) >= 10:
		length, at = int(binary.BigEndian.Uint64(b[2:])), 10
	case length >= 126:
		return r, 0, false
	}
	if len(b) < at+length {
		return r, 0, false
	}
	payload := b[at : at+length]
	if r.deflated {
		var text bytes.Buffer
		in := flate.NewReader(bytes.NewReader(append(bytes.Clone(payload), 0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff)))
		if _, err := text.ReadFrom(in); err != nil {
			t.Fatalf("a frame that does not inflate: %v", err)
		}
		payload = text.Bytes()
	}
	switch r.Opcode {
	case 0x1:
		in := json.NewDecoder(bytes.NewReader(payload))
		in.UseNumber() // An id may be larger than any float.
		if err := in.Decode(&r); err != nil || !json.Valid(payload) {
			t.Fatalf("%v in %s", err, payload)
		}
	case 0x8:
		if len(payload) >= 2 {
			r.Code = int(binary.BigEndian.Uint16(payload))
		}
	}
	return r, at + length, true
}

// events takes every whole event of an event stream.
func (l *listener) events() []received {
	l.t.Helper()
	var out []received
	for {
		block, rest, found := strings.Cut(string(l.rest), "\n\n")
		if !found {
			return out
		}
		l.rest = []byte(rest)
		var r received
		for line := range strings.SplitSeq(block, "\n") {
			name, value, _ := strings.Cut(line, ": ")
			switch name {
			case "data":
				if err := json.Unmarshal([]byte(value), &r); err != nil {
					l.t.Fatalf("%v in %s", err, value)
				}
			case "id":
				r.Cursor = value
			}
		}
		out = append(out, r)
	}
}

// ask sends a request of the client.
func (l *listener) ask(text string) { l.client.Receive([]byte(text)) }

// feed makes ticks whose values are numbers.
type feed struct {
	epoch string
	n     uint64
	all   uint64
	seqs  map[string]uint64
	last  map[string]int
	glob  uint64
	// global is the latest of the whole market.
	global []byte
	at     time.Time
}

func newFeed(epoch string) *feed {
	return &feed{epoch: epoch, seqs: map[string]uint64{}, last: map[string]int{}, at: time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC)}
}

// tick changes symbols, given as "btc=1".
func (f *feed) tick(changes ...string) Tick {
	f.n++
	f.at = f.at.Add(time.Second)
	t := Tick{Epoch: f.epoch, N: f.n, At: f.at}
	for _, change := range changes {
		symbol, text, _ := strings.Cut(change, "=")
		if symbol == "global" {
			f.glob++
			f.global = []byte(text)
			t.Global, t.GlobalSeq = f.global, f.glob
			continue
		}
		f.seqs[symbol]++
		f.last[symbol], _ = strconv.Atoi(text)
		t.Quotes = append(t.Quotes, Item{Key: symbol, Seq: f.seqs[symbol], JSON: []byte(text)})
	}
	if len(t.Quotes) > 0 {
		f.all++
		t.QuotesSeq = f.all
	}
	return t
}

// whole is everything at once.
func (f *feed) whole() Tick {
	t := Tick{Epoch: f.epoch, N: f.n, At: f.at, Whole: true, QuotesSeq: f.all, Global: f.global, GlobalSeq: f.glob}
	for symbol, seq := range f.seqs {
		t.Quotes = append(t.Quotes, Item{Key: symbol, Seq: seq, JSON: strconv.AppendInt(nil, int64(f.last[symbol]), 10)})
	}
	return t
}

// startHub runs a hub until the test ends.
func startHub(t *testing.T, opts Options) *Hub {
	t.Helper()
	h := New(opts)
	h.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Second)
		defer cancel()
		h.Shutdown(ctx)
	})
	return h
}
