package main

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/service-islands/islands/sdk"
)

const (
	// entryFormat is the first byte of every value in Redis. Another one is another format, and not ours to read.
	entryFormat = 1
	timeSize    = 12
	headerSize  = 1 + 3*timeSize
)

// errForeign says that a value in Redis was not written by this format.
var errForeign = errors.New("the value is not an entry")

// encode writes an entry as Redis holds it: the format, StoredAt, FreshUntil and StaleUntil in seconds and nanoseconds,
// and the value.
func encode(e sdk.Entry) []byte {
	b := make([]byte, 0, headerSize+len(e.Value))
	b = append(b, entryFormat)
	for _, t := range []time.Time{e.StoredAt, e.FreshUntil, e.StaleUntil} {
		b = binary.BigEndian.AppendUint64(b, uint64(t.Unix()))
		b = binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond()))
	}
	return append(b, e.Value...)
}

// decode reads what encode wrote.
func decode(key string, b []byte) (sdk.Entry, error) {
	if len(b) < headerSize || b[0] != entryFormat {
		return sdk.Entry{}, errForeign
	}
	e := sdk.Entry{Key: key, Value: b[headerSize:]}
	for i, t := range []*time.Time{&e.StoredAt, &e.FreshUntil, &e.StaleUntil} {
		at := b[1+i*timeSize:]
		nanoseconds := binary.BigEndian.Uint32(at[8:])
		if nanoseconds >= uint32(time.Second) {
			return sdk.Entry{}, errForeign
		}
		*t = time.Unix(int64(binary.BigEndian.Uint64(at)), int64(nanoseconds)).UTC()
	}
	return e, nil
}
