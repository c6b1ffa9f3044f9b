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
	"slices"
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

// segment is a file of records, of a few MiB.
type segment struct {
	first uint64 // number of its first record
	// last is the number of the newest record, which is below first while there is none; newest is when that was written.
	last   uint64
	newest time.Time
	size   int64
	// stamps say when a record was written, the first one and another every few KiB.
	stamps []stamp
}

// stamp is when a record was written.
type stamp struct {
	number uint64
	at     time.Time
}

// Bounds on the stamps of a segment: how many bytes lie between them, and how many there are.
const (
	stampBytes = 4 << 10
	maxStamps  = 4 << 10
)

// note notes that the segment goes up to a record, written at some time, and ends at an offset behind it.
func (g *segment) note(last uint64, at time.Time, end int64) {
	if n := len(g.stamps); n == 0 || end >= int64(n)*stampBytes && n < maxStamps {
		g.stamps = append(g.stamps, stamp{g.last + 1, at})
	}
	g.last, g.newest = last, at
}

// since is when a record was written, or a few KiB before.
func (g *segment) since(number uint64) time.Time {
	at := g.newest
	for _, s := range slices.Backward(g.stamps) {
		at = s.at
		if s.number <= number {
			break
		}
	}
	return at
}

// empty is whether no record of it can be read.
func (g *segment) empty() bool { return g.last < g.first }

// inspect reads how far a segment goes, without keeping what is in it, and how many bytes behind its last record are none. It
// returns errNoSegment where the header is damaged, and errOtherVersion where it is that of another version.
func inspect(dir, name string) (g *segment, strange int64, err error) {
	first, ok := firstOf(name)
	if !ok {
		return nil, 0, fmt.Errorf("%s is not the name of a segment", name)
	}
	path := filepath.Join(dir, name)
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	g = &segment{first: first, last: first - 1, size: info.Size(), newest: info.ModTime()}
	r := reader{file: file, segment: g}
	if err := r.open(); err != nil {
		return g, info.Size(), fmt.Errorf("%s: %w", path, err)
	}
	end := int64(segmentHeader)
	for {
		rec, ok, err := r.next()
		if err != nil {
			return g, 0, err
		}
		if !ok {
			return g, info.Size() - end, nil
		}
		end = r.offset - int64(len(r.ahead))
		g.note(rec.number, rec.at, end)
	}
}

// reader reads the records of a segment in order. It keeps no more of it in memory than a window and one record.
type reader struct {
	file    io.ReaderAt
	segment *segment
	salt    salt
	// offset is how far the file was read, ahead what of it was not yet handed out.
	offset int64
	ahead  []byte
	// expected is the number of the next record when none is missing.
	expected uint64
}

// window is how many bytes of a segment are read at once.
const window = 256 << 10

var (
	// errNoSegment is a file whose header is not that of a segment.
	errNoSegment = errors.New("it is not a segment of the spool")
	// errOtherVersion is a segment that another version of this program has written.
	errOtherVersion = errors.New("it is a segment of another version")
)

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
		if version := len(magic) - 1; string(head[:version]) == magic[:version] && head[version] != magic[version] {
			return errOtherVersion
		}
		return errNoSegment
	}
	r.salt = with
	r.offset, r.expected = int64(segmentHeader), r.segment.first
	return nil
}

// left is how many bytes were not yet handed out.
func (r *reader) left() int64 { return int64(len(r.ahead)) + r.segment.size - r.offset }

// fill reads on until so many bytes are ahead, or all that there are.
func (r *reader) fill(n int) error {
	more := min(r.segment.size-r.offset, int64(max(n, window)-len(r.ahead)))
	if len(r.ahead) >= n || more <= 0 {
		return nil
	}
	fresh := make([]byte, int64(len(r.ahead))+more)
	kept := copy(fresh, r.ahead)
	got, err := r.file.ReadAt(fresh[kept:], r.offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	r.ahead = fresh[:kept+got]
	if r.offset += more; int64(got) < more {
		r.offset = r.segment.size // Somebody has cut it, and what was there is not.
	}
	return nil
}

// next returns the next record; ok is false when there is none right now. Its content is valid until the call after.
//
// Where the next one is damaged, it is the first whole one behind it whose number may follow. That a checksum fits by chance
// where none was written has odds of one to four thousand million for each place that is tried, and a place is tried only
// when the number there is one of the few that may follow.
func (r *reader) next() (rec record, ok bool, err error) {
	low, high := r.expected, r.expected+uint64(r.left())/recordHeader
	for at := 0; ; at++ {
		// Most of what is damaged is passed over here.
		for b := r.ahead; len(b)-at >= recordHeader; at++ {
			if number := binary.LittleEndian.Uint64(b[at+4:]); low <= number && number <= high {
				break
			}
		}
		if len(r.ahead)-at < recordHeader {
			r.ahead, at = r.ahead[at:], 0
			if err := r.fill(recordHeader); err != nil {
				return record{}, false, err
			}
			if len(r.ahead) < recordHeader {
				// Only whole records are ever counted into the size, so that what is not whole here is damaged, and what comes
				// later begins behind it.
				r.ahead, r.offset = nil, r.segment.size
				return record{}, false, nil
			}
		}
		if number := binary.LittleEndian.Uint64(r.ahead[at+4:]); number < low || number > high {
			continue // It was filled just now.
		}
		length := binary.LittleEndian.Uint32(r.ahead[at:])
		if length > MaxRecord || recordHeader+int64(length) > r.left()-int64(at) {
			continue
		}
		if len(r.ahead)-at < recordHeader+int(length) {
			r.ahead, at = r.ahead[at:], 0
			if err := r.fill(recordHeader + int(length)); err != nil {
				return record{}, false, err
			}
		}
		if rec, n, ok := parseRecord(r.ahead[at:], r.salt); ok {
			r.ahead, r.expected = r.ahead[at+n:], rec.number+1
			return rec, true, nil
		}
	}
}
