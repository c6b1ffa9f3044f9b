package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// The kinds of frames, RFC 6455, section 5.2.
const (
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xa
)

const (
	mostControl = 125             // bytes in the payload of a control frame
	mostCarried = 2 + mostControl // bytes that a connection keeps from one read to the next
)

// hearer is told what the frames of a connection hold.
type hearer interface {
	// hear gets a stamp.
	hear(s stamp)
	// control gets a ping, a pong or a close. The payload holds until it returns.
	control(op byte, payload []byte)
}

// frames reads what a server sends on one connection, however it was cut and merged on its way. It understands what the
// measured servers send: no extensions, no fragments.
type frames struct {
	left uint64 // bytes of the payload of a text or binary frame that have not come yet
}

// take reads what has arrived. It returns how many bytes at the end stand for nothing by themselves: the caller puts them
// in front of what arrives next. They are fewer than mostCarried. After an error the connection is of no use any more.
func (f *frames) take(arrived []byte, h hearer) (carried int, err error) {
	for len(arrived) > 0 {
		if f.left > 0 {
			part := arrived[:min(f.left, uint64(len(arrived)))]
			kept := hearStamps(part, uint64(len(part)) == f.left, h)
			f.left -= uint64(len(part) - kept)
			arrived = arrived[len(part)-kept:]
			if kept > 0 {
				return kept, nil
			}
			continue
		}
		op, length, size, err := parseFrameHead(arrived)
		switch {
		case err != nil:
			return 0, err
		case size == 0:
			return len(arrived), nil
		case op < opClose:
			f.left = length
		case uint64(len(arrived)-size) < length:
			return len(arrived), nil
		default:
			h.control(op, arrived[size:size+int(length)])
			size += int(length)
		}
		arrived = arrived[size:]
	}
	return 0, nil
}

// parseFrameHead reads the head of a frame from a server. Its size is 0 when it is not all there.
func parseFrameHead(arrived []byte) (op byte, length uint64, size int, err error) {
	if len(arrived) < 2 {
		return 0, 0, 0, nil
	}
	const final, reserved, masked = 0x80, 0x70, 0x80
	op = arrived[0] & 0x0f
	switch known := op == opText || op == opBinary || op >= opClose && op <= opPong; {
	case arrived[0]&reserved != 0:
		return 0, 0, 0, errors.New("a frame uses an extension that was not asked for")
	case arrived[0]&final == 0 || op == 0:
		return 0, 0, 0, errors.New("a message comes in fragments")
	case !known:
		return 0, 0, 0, fmt.Errorf("a frame of the unknown kind %#x", op)
	case arrived[1]&masked != 0:
		return 0, 0, 0, errors.New("a frame of the server is masked")
	}
	length, size = uint64(arrived[1]), 2
	switch length {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	switch {
	case op >= opClose && length > mostControl:
		return 0, 0, 0, fmt.Errorf("a control frame of more than %d bytes", mostControl)
	case len(arrived) < size:
		return 0, 0, 0, nil
	case size == 4:
		length = uint64(binary.BigEndian.Uint16(arrived[2:]))
	case size == 10:
		if length = binary.BigEndian.Uint64(arrived[2:]); int64(length) < 0 {
			return 0, 0, 0, errors.New("a frame of more than 2^63 bytes")
		}
	}
	return op, length, size, nil
}

// hearStamps finds the stamps in a part of a payload. It returns how many bytes at its end may be the beginning of another,
// which is none at the end of the payload.
func hearStamps(part []byte, ends bool, h hearer) (kept int) {
	for {
		at := bytes.IndexByte(part, stampMark)
		if at < 0 {
			return 0
		}
		if part = part[at:]; len(part) < stampLength {
			if ends {
				return 0
			}
			return len(part)
		}
		s, ok := parseStamp(part[:stampLength])
		if !ok {
			part = part[1:]
			continue
		}
		h.hear(s)
		part = part[stampLength:]
	}
}

// clientFrame returns a short frame as a client sends it. The mask is zero: it protects proxies, and here is none.
func clientFrame(op byte, payload []byte) ([]byte, error) {
	if len(payload) > mostControl {
		return nil, fmt.Errorf("%d bytes are too many for a short frame, which has %d", len(payload), mostControl)
	}
	return append([]byte{0x80 | op, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...), nil
}
