package rfc6455

import (
	"encoding/binary"
	"unicode/utf8"
)

// Opcode is what a frame is.
type Opcode byte

// The opcodes there are.
const (
	continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xA
)

// isControl reports whether frames of that opcode come whole, short and at any time.
func (o Opcode) isControl() bool { return o&0x8 != 0 }

// Bits of the first two bytes of a frame.
const (
	finalBit    = 0x80
	deflatedBit = 0x40 // RSV1: the message is compressed
	otherBits   = 0x30 // RSV2 and RSV3, which no extension of ours uses
	opcodeBits  = 0x0f
	maskBit     = 0x80
	lengthBits  = 0x7f
)

// maxControl is the payload that a control frame may hold, in bytes.
const maxControl = 125

// Close codes of RFC 6455 that a server has a use for.
const (
	NormalClosure   = 1000
	GoingAway       = 1001
	ProtocolError   = 1002
	UnsupportedData = 1003
	NoStatus        = 1005 // never sent: the peer gave no code
	InvalidPayload  = 1007
	PolicyViolation = 1008
	MessageTooBig   = 1009
	InternalError   = 1011
	TryAgainLater   = 1013
)

// AppendFrame appends an unmasked frame, whole and not compressed, as a server sends it.
func AppendFrame(b []byte, opcode Opcode, payload []byte) []byte {
	return append(appendHeader(b, byte(opcode)|finalBit, len(payload)), payload...)
}

// appendHeader appends the header of an unmasked frame.
func appendHeader(b []byte, first byte, length int) []byte {
	switch {
	case length <= maxControl:
		return append(b, first, byte(length))
	case length <= 0xffff:
		return binary.BigEndian.AppendUint16(append(b, first, 126), uint16(length))
	default:
		return binary.BigEndian.AppendUint64(append(b, first, 127), uint64(length))
	}
}

// AppendClose appends a close frame. The reason is cut to what a control frame holds; no code makes it empty.
func AppendClose(b []byte, code int, reason string) []byte {
	if code == 0 || code == NoStatus {
		return AppendFrame(b, Close, nil)
	}
	payload := binary.BigEndian.AppendUint16(make([]byte, 0, maxControl), uint16(code))
	for len(reason) > maxControl-len(payload) {
		_, size := utf8.DecodeLastRuneInString(reason)
		reason = reason[:len(reason)-size]
	}
	return AppendFrame(b, Close, append(payload, reason...))
}

// parseClose returns the code and reason of a close frame, or what is wrong with it.
func parseClose(payload []byte) (code int, reason string, err error) {
	switch {
	case len(payload) == 0:
		return NoStatus, "", nil
	case len(payload) == 1:
		return 0, "", refuse(ProtocolError, "half a close code")
	}
	code = int(binary.BigEndian.Uint16(payload))
	if !sendable(code) {
		return 0, "", refuse(ProtocolError, "a close code that nobody may send")
	}
	if !utf8.Valid(payload[2:]) {
		return 0, "", refuse(InvalidPayload, "a close reason that is not UTF-8")
	}
	return code, string(payload[2:]), nil
}

// sendable reports whether a peer may send a close code (RFC 6455, 7.4, and the registry of IANA).
func sendable(code int) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
		return true
	default:
		return false
	}
}
