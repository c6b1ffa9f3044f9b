package rfc6455

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Refusal is what a client did that ends its connection, with the close code it is to be told.
type Refusal struct {
	Code   int
	Reason string
}

// Error says what the client did.
func (r *Refusal) Error() string { return fmt.Sprintf("close %d: %s", r.Code, r.Reason) }

func refuse(code int, reason string) *Refusal { return &Refusal{Code: code, Reason: reason} }

// Message is what a client sent: a whole message, or a control frame.
type Message struct {
	Opcode Opcode
	// Payload is valid until the next call of Next. Text is valid UTF-8; a message is not compressed any more.
	Payload []byte
	// Code and Reason of a Close; NoStatus when the client gave none.
	Code   int
	Reason string
}

// bufferSize is the memory that a Reader keeps while nothing comes. It holds any control frame.
const bufferSize = 256

// maxParts bounds the frames of one message, which may be empty and would otherwise never end.
const maxParts = 1024

// Reader reads what a client sends. It must not be used concurrently.
type Reader struct {
	in         io.Reader
	maxMessage int
	deflate    bool

	buf        [bufferSize]byte
	start, end int // of what is buffered

	// message is what has come of a message that is under way.
	message  []byte
	opcode   Opcode // of that message; 0 for none
	deflated bool
	parts    int
}

// NewReader returns a reader of frames. First is what came with the handshake. A message of more than maxMessage bytes,
// compressed or not, is refused; deflate is whether messages may be compressed.
func NewReader(in io.Reader, first []byte, maxMessage int, deflate bool) *Reader {
	r := &Reader{maxMessage: maxMessage, deflate: deflate}
	r.Reset(in, first)
	return r
}

// Reset makes the reader read from somewhere else: first, then in.
func (r *Reader) Reset(in io.Reader, first []byte) {
	r.in = in
	if len(first) > 0 {
		r.in = &prefixed{first: first, rest: in}
	}
}

// prefixed reads some bytes before the rest.
type prefixed struct {
	first []byte
	rest  io.Reader
}

// Read implements io.Reader.
func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.first) == 0 {
		return p.rest.Read(b)
	}
	n := copy(b, p.first)
	if p.first = p.first[n:]; len(p.first) == 0 {
		p.first = nil
	}
	return n, nil
}

// Next returns what the client sent next. A *Refusal says what to close the connection with; any other error is the
// connection's own.
func (r *Reader) Next() (Message, error) {
	if r.opcode == 0 {
		r.message = nil // Nobody holds it any more.
	}
	for {
		h, err := r.header()
		if err != nil {
			return Message{}, err
		}
		if h.opcode.isControl() {
			return r.control(h)
		}
		if err := r.append(h); err != nil {
			return Message{}, err
		}
		if h.final {
			return r.whole()
		}
	}
}

// header of a frame.
type header struct {
	final, deflated bool
	opcode          Opcode
	length          int
	mask            [4]byte
}

// header reads the header of a frame and refuses one that may not come now.
func (r *Reader) header() (header, error) {
	b, err := r.take(2)
	if err != nil {
		return header{}, err
	}
	h := header{
		final: b[0]&finalBit != 0, deflated: b[0]&deflatedBit != 0, opcode: Opcode(b[0] & opcodeBits), length: int(b[1] & lengthBits),
	}
	reserved, masked := b[0]&otherBits != 0, b[1]&maskBit != 0
	if fault := r.fault(h, reserved, masked); fault != "" {
		return header{}, refuse(ProtocolError, fault)
	}
	if err := r.extended(&h); err != nil {
		return header{}, cutOff(err)
	}
	key, err := r.take(4)
	if err != nil {
		return header{}, cutOff(err)
	}
	copy(h.mask[:], key)
	return h, nil
}

// fault says what is wrong with the first two bytes of a frame.
func (r *Reader) fault(h header, reserved, masked bool) string {
	switch {
	case reserved || (h.deflated && (!r.deflate || h.opcode.isControl() || h.opcode == continuation)):
		return "a reserved bit is set"
	case !masked:
		return "a frame that is not masked"
	}
	switch h.opcode {
	case Close, Ping, Pong:
		if !h.final || h.length > maxControl {
			return "a control frame in parts, or of more than 125 bytes"
		}
	case Text, Binary:
		if r.opcode != 0 {
			return "a message within another"
		}
	case continuation:
		if r.opcode == 0 {
			return "a continuation of nothing"
		}
	default:
		return "an unknown opcode"
	}
	return ""
}

// extended reads a length that did not fit into the first two bytes.
func (r *Reader) extended(h *header) error {
	var length uint64
	switch h.length {
	case 126:
		b, err := r.take(2)
		if err != nil {
			return err
		}
		length = uint64(binary.BigEndian.Uint16(b))
	case 127:
		b, err := r.take(8)
		if err != nil {
			return err
		}
		if length = binary.BigEndian.Uint64(b); length>>63 != 0 {
			return refuse(ProtocolError, "a length with its highest bit set")
		}
	default:
		length = uint64(h.length)
	}
	if !h.opcode.isControl() && length > uint64(max(0, r.maxMessage-len(r.message))) {
		return refuse(MessageTooBig, fmt.Sprintf("a message of more than %d bytes", r.maxMessage))
	}
	h.length = int(length)
	return nil
}

// control reads the rest of a control frame.
func (r *Reader) control(h header) (Message, error) {
	payload, err := r.take(h.length)
	if err != nil {
		return Message{}, cutOff(err)
	}
	unmask(payload, h.mask)
	m := Message{Opcode: h.opcode, Payload: payload}
	if h.opcode == Close {
		m.Code, m.Reason, err = parseClose(payload)
	}
	return m, err
}

// append reads the payload of a frame of a message.
func (r *Reader) append(h header) error {
	if h.opcode != continuation {
		r.opcode, r.deflated, r.message, r.parts = h.opcode, h.deflated, nil, 0
	}
	if r.parts++; r.parts > maxParts {
		return refuse(PolicyViolation, "a message in too many parts")
	}
	before := len(r.message)
	r.message = append(r.message, make([]byte, h.length)...)
	part := r.message[before:]
	n := copy(part, r.buf[r.start:r.end])
	r.start += n
	if _, err := io.ReadFull(r.in, part[n:]); err != nil {
		return cutOff(err)
	}
	unmask(part, h.mask)
	return nil
}

// whole ends a message.
func (r *Reader) whole() (Message, error) {
	m := Message{Opcode: r.opcode, Payload: r.message}
	deflated := r.deflated
	r.opcode, r.deflated = 0, false
	if deflated {
		var err error
		if m.Payload, err = inflate(m.Payload, r.maxMessage); err != nil {
			return Message{}, err
		}
	}
	if m.Opcode == Text && !utf8.Valid(m.Payload) {
		return Message{}, refuse(InvalidPayload, "text that is not UTF-8")
	}
	return m, nil
}

// take returns the next n bytes, at most bufferSize, valid until the next call.
func (r *Reader) take(n int) ([]byte, error) {
	if r.end-r.start < n {
		if r.start > 0 {
			r.end, r.start = copy(r.buf[:], r.buf[r.start:r.end]), 0
		}
		for r.end < n {
			got, err := r.in.Read(r.buf[r.end:])
			r.end += got
			if err != nil && r.end < n {
				if r.end > 0 || r.opcode != 0 {
					err = cutOff(err)
				}
				return nil, err
			}
		}
	}
	b := r.buf[r.start : r.start+n]
	r.start += n
	return b, nil
}

// cutOff is the error of a connection that ended in the middle of something.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// unmask takes the mask off a payload.
func unmask(b []byte, mask [4]byte) {
	for i := range b {
		b[i] ^= mask[i&3]
	}
}
