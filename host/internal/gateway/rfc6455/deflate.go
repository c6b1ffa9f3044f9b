package rfc6455

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"
)

// tail is what a compressed message ends with on its own and leaves out on the wire (RFC 7692, 7.2.1).
var tail = []byte{0x00, 0x00, 0xff, 0xff}

// lastBlock ends a deflate stream, which a message on the wire does not.
const lastBlock = "\x01\x00\x00\xff\xff"

// minDeflated is the size from which a message is worth compressing, in bytes.
const minDeflated = 256

// deflateLevel is chosen for messages that are made many times a second and sent to many.
const deflateLevel = 3

var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(io.Discard, deflateLevel)
	if err != nil {
		return nil // The level is a constant within the range.
	}
	return w
}}

// Deflate returns a whole frame that holds a compressed message, or a plain one where that is shorter.
func Deflate(opcode Opcode, payload []byte) []byte {
	plain := func() []byte { return AppendFrame(make([]byte, 0, len(payload)+10), opcode, payload) }
	if len(payload) < minDeflated {
		return plain()
	}
	w, ok := deflaters.Get().(*flate.Writer)
	if !ok {
		return plain()
	}
	defer deflaters.Put(w)
	var packed bytes.Buffer
	packed.Grow(len(payload) / 2)
	w.Reset(&packed)
	if _, err := w.Write(payload); err != nil {
		return plain()
	}
	if err := w.Flush(); err != nil {
		return plain()
	}
	body := bytes.TrimSuffix(packed.Bytes(), tail)
	if len(body) >= len(payload) {
		return plain()
	}
	return append(appendHeader(make([]byte, 0, len(body)+10), byte(opcode)|finalBit|deflatedBit, len(body)), body...)
}

var inflaters = sync.Pool{New: func() any { return flate.NewReader(nil) }}

// inflate returns what a compressed message held. It stops as soon as that is more than most bytes, however little was sent.
func inflate(packed []byte, most int) ([]byte, error) {
	r, ok := inflaters.Get().(io.ReadCloser)
	if !ok {
		return nil, errors.New("no inflater")
	}
	defer inflaters.Put(r)
	stream := io.MultiReader(bytes.NewReader(packed), bytes.NewReader(tail), strings.NewReader(lastBlock))
	if err := r.(flate.Resetter).Reset(stream, nil); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	switch {
	case len(text) > most:
		return nil, refuse(MessageTooBig, "a compressed message that is too big")
	case err != nil:
		return nil, refuse(InvalidPayload, "a message that is not compressed as it says")
	default:
		return text, nil
	}
}

// AcceptsDeflate reports whether a Sec-WebSocket-Extensions header offers permessage-deflate in a way that can be answered
// with no context takeover on both sides and deflate's own window. An offer that demands a window of the server cannot, not
// even with one of that size: the answer would have to name it (RFC 7692, 7.1.2.1), and that of the handshake is always the
// same. The next offer in the header may.
func AcceptsDeflate(extensions string) bool {
	for offer := range strings.SplitSeq(extensions, ",") {
		parameters := strings.Split(offer, ";")
		if strings.TrimSpace(parameters[0]) == "permessage-deflate" && acceptable(parameters[1:]) {
			return true
		}
	}
	return false
}

// acceptable reports whether the parameters of an offer can be met.
func acceptable(parameters []string) bool {
	seen := map[string]bool{}
	for _, p := range parameters {
		name, value, given := strings.Cut(strings.TrimSpace(p), "=")
		value = strings.Trim(strings.TrimSpace(value), `"`)
		if name = strings.TrimSpace(name); seen[name] {
			return false
		}
		seen[name] = true
		switch name {
		case "server_no_context_takeover", "client_no_context_takeover":
			if given {
				return false
			}
		case "client_max_window_bits": // A hint of what the client could do; it need not be asked to.
			if given && !windowBits(value) {
				return false
			}
		default: // server_max_window_bits, or nothing that there is.
			return false
		}
	}
	return true
}

// windowBits reports whether a value is the size of a window, 8 to 15.
func windowBits(value string) bool {
	switch value {
	case "8", "9", "10", "11", "12", "13", "14", "15":
		return true
	default:
		return false
	}
}
