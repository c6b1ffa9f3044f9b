package main

import "strconv"

// stamp is what an update carries through a server: which one it is and when it was published. As text it has a fixed
// length, survives in any JSON string, and begins with a mark that occurs nowhere else in an update, so that it is found
// without parsing.
type stamp struct {
	// published is when, in nanoseconds of the machine's monotonic clock.
	published int64
	// number counts the updates of a server from 0 on.
	number uint64
	// last of a turn.
	last bool
}

// A stamp reads @ published / number and ; or, when it is the last, a full stop.
const (
	stampMark       = '@'
	publishedDigits = 20
	numberDigits    = 10
	stampLength     = 1 + publishedDigits + 1 + numberDigits + 1
)

// append adds the stamp as text.
func (s stamp) append(to []byte) []byte {
	to = appendDigits(append(to, stampMark), uint64(s.published), publishedDigits)
	to = appendDigits(append(to, '/'), s.number, numberDigits)
	if s.last {
		return append(to, '.')
	}
	return append(to, ';')
}

// appendDigits adds a number with zeros before it.
func appendDigits(to []byte, n uint64, width int) []byte {
	var digits [publishedDigits]byte
	text := strconv.AppendUint(digits[:0], n, 10)
	for range width - len(text) {
		to = append(to, '0')
	}
	return append(to, text...)
}

// parseStamp reads a stamp from exactly as much text as one has.
func parseStamp(text []byte) (s stamp, ok bool) {
	const slash = 1 + publishedDigits
	if len(text) != stampLength || text[0] != stampMark || text[slash] != '/' {
		return stamp{}, false
	}
	switch text[stampLength-1] {
	case '.':
		s.last = true
	case ';':
	default:
		return stamp{}, false
	}
	published, ok := parseDigits(text[1:slash])
	if !ok || int64(published) < 0 {
		return stamp{}, false
	}
	s.published = int64(published)
	s.number, ok = parseDigits(text[slash+1 : stampLength-1])
	return s, ok
}

func parseDigits(text []byte) (n uint64, ok bool) {
	for _, c := range text {
		digit := uint64(c - '0')
		if digit > 9 {
			return 0, false
		}
		n = n*10 + digit
	}
	return n, true
}
