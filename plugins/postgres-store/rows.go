package main

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"iter"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/service-islands/islands/sdk"
)

const (
	maxLimit = 1000 // rows of one answer
	maxName  = 256  // bytes of an id, a symbol, a currency, a source
	maxKey   = 1024 // bytes of an entry's key
	maxRows  = 5000 // of one statement; all the statements of a call are one transaction
)

// The first and the last time that fit into nanoseconds. The very lowest number is left out: it stands for the zero
// time.
var (
	earliest = time.Unix(0, math.MinInt64+1)
	latest   = time.Unix(0, math.MaxInt64)
)

// nanos returns a time as it is stored; one that does not fit becomes the nearest that does.
func nanos(t time.Time) int64 {
	switch {
	case t.Before(earliest):
		return math.MinInt64
	case t.After(latest):
		return math.MaxInt64
	default:
		return t.UnixNano()
	}
}

// timeOf returns a stored time, in UTC.
func timeOf(n int64) time.Time {
	if n == math.MinInt64 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// keyTime returns a time that is part of a row's key, which must not be clamped.
func keyTime(what string, t time.Time) (int64, error) {
	if t.IsZero() || t.Before(earliest) || t.After(latest) {
		return 0, sdk.Errorf(sdk.InvalidArgument, "%s is %s; it has to lie between 1678 and 2262", what, t.UTC().Format(time.RFC3339))
	}
	return t.UnixNano(), nil
}

// checkText refuses what is too long or no text.
func checkText(what, text string, most int) error {
	switch {
	case len(text) > most:
		return sdk.Errorf(sdk.InvalidArgument, "%s has %d bytes; at most %d are kept", what, len(text), most)
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return sdk.Errorf(sdk.InvalidArgument, "%s %q is not text", what, text)
	default:
		return nil
	}
}

// checkName refuses a name that is empty as well.
func checkName(what, name string) error {
	if name == "" {
		return sdk.Errorf(sdk.InvalidArgument, "%s is missing", what)
	}
	return checkText(what, name, maxName)
}

// checkLimit refuses a limit that the contract does not allow.
func checkLimit(limit int) error {
	if limit < 1 || limit > maxLimit {
		return sdk.Errorf(sdk.InvalidArgument, "limit is %d; it has to be 1 to %d", limit, maxLimit)
	}
	return nil
}

// assetKey returns what an asset is known by: its id, or its symbol where it has none. The prefix keeps an asset whose
// id is the symbol of another apart from it.
func assetKey(id, symbol string) (string, error) {
	if err := checkText("id", id, maxName); err != nil {
		return "", err
	}
	if id == "" {
		return "symbol:" + symbol, checkName("symbol", symbol)
	}
	return "id:" + id, checkText("symbol", symbol, maxName)
}

// nullable returns a figure as the database takes it.
func nullable(n sdk.Number) *float64 {
	if f, known := n.Float64(); known {
		return &f
	}
	return nil
}

// lastOfEach sorts rows and yields them in chunks, leaving out all but the last of those that are the same: one statement
// must not meet a row twice.
func lastOfEach[T any](rows []T, order, same func(a, b T) int) iter.Seq[[]T] {
	sorted := slices.SortedStableFunc(slices.Values(rows), order)
	kept := sorted[:0]
	for i, row := range sorted {
		if i+1 == len(sorted) || same(row, sorted[i+1]) != 0 {
			kept = append(kept, row)
		}
	}
	return slices.Chunk(kept, maxRows)
}

// isGlob reports whether a pattern can match another key than itself.
func isGlob(pattern string) bool { return strings.ContainsAny(pattern, "*?") }

// place is where a page of the history ended.
type place struct {
	asOf int64
	id   int64
}

const placeSize = 8 + 8 + 4

// cursor returns the place as a cursor of this question.
func (p place) cursor(symbol, vsCurrency string) string {
	b := make([]byte, 0, placeSize)
	b = binary.BigEndian.AppendUint64(b, uint64(p.asOf))
	b = binary.BigEndian.AppendUint64(b, uint64(p.id))
	b = binary.BigEndian.AppendUint32(b, checksum(b, symbol, vsCurrency))
	return base64.RawURLEncoding.EncodeToString(b)
}

// parseCursor reads a cursor of this question.
func parseCursor(cursor, symbol, vsCurrency string) (place, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) != placeSize || binary.BigEndian.Uint32(b[16:]) != checksum(b[:16], symbol, vsCurrency) {
		return place{}, sdk.Errorf(sdk.InvalidArgument, "cursor %.60q is not one that a page of this history ended with", cursor)
	}
	return place{asOf: int64(binary.BigEndian.Uint64(b)), id: int64(binary.BigEndian.Uint64(b[8:]))}, nil
}

// checksum binds a place to its question. It finds mistakes; there is nothing here to protect from forgery.
func checksum(place []byte, symbol, vsCurrency string) uint32 {
	sum := crc32.NewIEEE()
	for _, part := range [][]byte{place, []byte(symbol), {0}, []byte(vsCurrency)} {
		_, _ = sum.Write(part) // A hash never fails.
	}
	return sum.Sum32()
}
