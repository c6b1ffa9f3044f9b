package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// The form of a segment. All numbers are little-endian.
//
//	segment: magic (8 bytes), number of the first record (8), salt (8), CRC-32C of these (4)
//	record:  length of the content (4), number (8), time in Unix nanoseconds (8), CRC-32C of the salt, these and the content
//	         (4), content
//
// The salt is drawn for each segment: what only looks like a record, within a content that somebody made for that, has
// another checksum.
const (
	magic         = "ISLSPL\x00\x01" // the last byte is the version
	segmentHeader = len(magic) + 8 + 8 + 4
	recordHeader  = 4 + 8 + 8 + 4
)

// MaxRecord is how large the content of a record may be, in bytes.
const MaxRecord = 4 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segmentName matches the names of segments, which are the numbers of their first records.
var segmentName = regexp.MustCompile(`^\d{20}\.seg$`)

func nameOf(first uint64) string { return fmt.Sprintf("%020d.seg", first) }

// firstOf is the number in a segment's name.
func firstOf(name string) (uint64, bool) {
	if !segmentName.MatchString(name) {
		return 0, false
	}
	first, err := strconv.ParseUint(name[:20], 10, 64)
	return first, err == nil && first > 0
}

// salt is what the checksums of a segment begin with.
type salt uint64

// sum is the checksum of a record.
func (s salt) sum(header, content []byte) uint32 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(s))
	return crc32.Update(crc32.Update(crc32.Checksum(b[:], castagnoli), castagnoli, header), castagnoli, content)
}

// appendHeader writes a segment's header down.
func appendHeader(b []byte, first uint64, with salt) []byte {
	start := len(b)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint64(b, first)
	b = binary.LittleEndian.AppendUint64(b, uint64(with))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// headerOf reads a segment's header.
func headerOf(b []byte) (first uint64, with salt, ok bool) {
	if len(b) < segmentHeader || string(b[:len(magic)]) != magic {
		return 0, 0, false
	}
	sum := binary.LittleEndian.Uint32(b[segmentHeader-4:])
	return binary.LittleEndian.Uint64(b[len(magic):]), salt(binary.LittleEndian.Uint64(b[len(magic)+8:])),
		sum == crc32.Checksum(b[:segmentHeader-4], castagnoli)
}

// appendRecord writes a record down.
func appendRecord(b []byte, with salt, number uint64, at time.Time, content []byte) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(content)))
	b = binary.LittleEndian.AppendUint64(b, number)
	b = binary.LittleEndian.AppendUint64(b, uint64(at.UnixNano()))
	b = binary.LittleEndian.AppendUint32(b, with.sum(b[start:], content))
	return append(b, content...)
}

// record is one that was read. The content is a part of what it was read from.
type record struct {
	number  uint64
	at      time.Time
	content []byte
}

// parseRecord reads the record at the start of b, and returns how long it is. It is none unless all of it is there and as it
// was written.
func parseRecord(b []byte, with salt) (r record, n int, ok bool) {
	if len(b) < recordHeader {
		return r, 0, false
	}
	length := binary.LittleEndian.Uint32(b)
	if length > MaxRecord || int64(len(b)) < recordHeader+int64(length) {
		return r, 0, false
	}
	n = recordHeader + int(length)
	if with.sum(b[:recordHeader-4], b[recordHeader:n]) != binary.LittleEndian.Uint32(b[recordHeader-4:]) {
		return r, 0, false
	}
	r.number = binary.LittleEndian.Uint64(b[4:])
	r.at = time.Unix(0, int64(binary.LittleEndian.Uint64(b[12:])))
	r.content = b[recordHeader:n]
	return r, n, true
}

// find finds the first whole record in b whose number may follow, and returns where it ends; 0 for none.
//
// That a checksum fits by chance where none was written has odds of one to four thousand million for each place that is
// tried, and a place is tried only when the number there is one of the few that may follow.
func find(b []byte, with salt, low, high uint64) (r record, end int) {
	for at := 0; at+recordHeader <= len(b); at++ {
		if number := binary.LittleEndian.Uint64(b[at+4:]); number < low || number > high {
			continue
		}
		if r, n, ok := parseRecord(b[at:], with); ok {
			return r, at + n
		}
	}
	return record{}, 0
}

// segment is a file of records, of a few MiB.
type segment struct {
	first uint64 // number of its first record
	// last is the number of the newest record, which is below first while there is none; newest is when that was written.
	last   uint64
	newest time.Time
	size   int64
}

// inspect reads how far a segment goes, without keeping what is in it. A segment whose header is not right is none.
func inspect(dir, name string) (*segment, error) {
	first, ok := firstOf(name)
	if !ok {
		return nil, fmt.Errorf("%s is not the name of a segment", name)
	}
	path := filepath.Join(dir, name)
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	r := reader{file: file, segment: &segment{first: first, last: first - 1, size: info.Size()}}
	if err := r.open(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s := r.segment
	s.newest = info.ModTime()
	for {
		rec, ok, err := r.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			return s, nil
		}
		s.last, s.newest = rec.number, rec.at
	}
}

// reader reads the records of a segment in order.
type reader struct {
	file    io.ReaderAt
	segment *segment
	salt    salt
	// offset is how far the file was read, ahead what of it was not yet handed out.
	offset int64
	ahead  []byte
	// expected is the number of the next record when none is missing.
	expected uint64
	// lost counts records that could not be read.
	lost uint64
}

// errNoSegment is a file whose header is not that of a segment.
var errNoSegment = errors.New("it is not a segment of the spool")

// open checks the header.
func (r *reader) open() error {
	head := make([]byte, segmentHeader)
	if n, err := r.file.ReadAt(head, 0); n < len(head) {
		if err == nil || errors.Is(err, io.EOF) {
			return errNoSegment
		}
		return err
	}
	first, with, ok := headerOf(head)
	if !ok || first != r.segment.first {
		return errNoSegment
	}
	r.salt = with
	r.offset, r.expected = int64(segmentHeader), r.segment.first
	return nil
}

// next returns the next record; ok is false when there is none right now. Its content is valid until the call after.
func (r *reader) next() (rec record, ok bool, err error) {
	if more := r.segment.size - r.offset; more > 0 {
		// Only whole records are ever counted into the size, so that what is not whole here is damaged.
		fresh := make([]byte, int64(len(r.ahead))+more)
		n := copy(fresh, r.ahead)
		got, err := r.file.ReadAt(fresh[n:], r.offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return record{}, false, err
		}
		r.ahead, r.offset = fresh[:n+got], r.segment.size
	}
	high := r.expected + uint64(len(r.ahead)/recordHeader)
	rec, end := find(r.ahead, r.salt, r.expected, high)
	if end == 0 {
		r.ahead = nil // Nothing of it can be read, and what comes later begins behind it.
		return record{}, false, nil
	}
	r.lost += rec.number - r.expected
	r.ahead, r.expected = r.ahead[end:], rec.number+1
	return rec, true, nil
}
