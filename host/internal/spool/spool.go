package spool

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Options of a Spool.
type Options struct {
	// Dir is the folder of the segments, which is made when it is missing. Nobody else may write to it.
	Dir string
	// MaxBytes bounds what is kept, 256 MiB when zero; MaxAge how long, 24 h when zero. Beyond, the oldest is dropped.
	MaxBytes int64
	MaxAge   time.Duration
	// Sync is how long what was appended may be in the system's memory alone; 1 s when zero. With SyncAlways each append
	// waits for the disk; with SyncNever the system decides.
	Sync time.Duration
	// SegmentBytes is how large a segment becomes; an eighth of MaxBytes, at most 4 MiB, when zero.
	SegmentBytes int64
	Logger       hclog.Logger
	Now          func() time.Time
}

// Special values of Options.Sync.
const (
	SyncAlways time.Duration = -1
	SyncNever  time.Duration = -2
)

// Stats are the figures of a spool.
type Stats struct {
	// Records and Bytes that are kept; Oldest is when the first of the records was appended, zero when there are none.
	Records uint64
	Bytes   int64
	Oldest  time.Time
	// Since the spool was opened: records that were appended, and confirmed; dropped because there was no more room or
	// they were too old; lost because what stands on disk is not what was written.
	Appended, Confirmed, Dropped, Lost uint64
	// Failures to write or to sync.
	Failures uint64
}

// Spool keeps records on disk. All methods may be called concurrently, but there is one reader.
type Spool struct {
	opts Options
	stop chan struct{}
	work sync.WaitGroup

	mu     sync.Mutex
	closed bool
	// recovered is whether the folder is there and was read; unusable why not, as tried at triedAt.
	recovered bool
	unusable  error
	triedAt   time.Time
	segments  []*segment // oldest first; the last one is the active one while active is not nil
	active    *os.File
	salt      salt // of the active segment
	dirty     bool
	ended     []*os.File // to be synced and closed
	following uint64     // number of the next record
	confirmed uint64     // all up to this number are
	reading   *reading
	position  uint64 // number of the last record that was handed out
	marked    uint64 // confirmed, as it stands on disk
	markedAt  time.Time
	dropping  bool // which was said
	unsynced  bool // likewise
	stats     Stats
	scratch   []byte
}

// Open opens a spool, and reads what an earlier process left in it. A folder that cannot be made or read is tried again when
// something is to be kept or read, at most once a second; until then that fails.
func Open(opts Options) *Spool {
	opts.MaxBytes = cmp.Or(opts.MaxBytes, 256<<20)
	opts.MaxAge = cmp.Or(opts.MaxAge, 24*time.Hour)
	opts.Sync = cmp.Or(opts.Sync, time.Second)
	opts.SegmentBytes = cmp.Or(opts.SegmentBytes, min(opts.MaxBytes/8, 4<<20))
	if opts.Logger == nil {
		opts.Logger = hclog.NewNullLogger()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Spool{opts: opts, stop: make(chan struct{}), following: 1}
	if err := s.ready(); err != nil {
		opts.Logger.Error("the spool cannot be opened and is tried again", "error", err)
	}
	if opts.Sync > 0 {
		s.work.Go(s.syncing)
	}
	return s
}

// openEvery is how often a folder that cannot be used is tried.
const openEvery = time.Second

// ready makes sure that the folder is there and was read.
func (s *Spool) ready() error {
	if s.recovered {
		return nil
	}
	if now := s.opts.Now(); s.unusable == nil || now.Sub(s.triedAt) >= openEvery {
		s.triedAt = now
		if s.unusable = os.MkdirAll(s.opts.Dir, 0o700); s.unusable == nil {
			s.unusable = s.recover()
		}
		s.recovered = s.unusable == nil
	}
	if s.unusable != nil {
		return fmt.Errorf("spool: %w", s.unusable)
	}
	return nil
}

// recover reads what is there. Files that are none of the spool's stay; those that are and cannot be used are removed.
func (s *Spool) recover() error {
	entries, err := os.ReadDir(s.opts.Dir)
	if err != nil {
		return err
	}
	s.confirmed = s.readMark()
	s.marked = s.confirmed
	for _, entry := range entries { // In the order of their names, which is that of their numbers.
		name := entry.Name()
		if name == markName+".new" {
			_ = os.Remove(filepath.Join(s.opts.Dir, name)) // The process ended before it was whole.
		}
		if !entry.Type().IsRegular() || !segmentName.MatchString(name) {
			continue
		}
		g, err := inspect(s.opts.Dir, name)
		switch {
		case errors.Is(err, errNoSegment):
			s.opts.Logger.Error("a segment of the spool cannot be read and is removed", "file", name)
			s.stats.Failures++
			_ = os.Remove(filepath.Join(s.opts.Dir, name))
			continue
		case err != nil:
			// What is in it is not known, and neither are its numbers: no segment has as many.
			const beyond = 1 << 20
			first, _ := firstOf(name)
			s.opts.Logger.Error("a segment of the spool cannot be read, what is in it will not be stored", "file", name, "error", err)
			s.stats.Failures++
			s.following = max(s.following, first+beyond)
			continue
		}
		s.segments = append(s.segments, g)
		s.following = max(s.following, g.last+1, g.first+1) // Its name is taken, be it empty.
	}
	s.following = max(s.following, s.confirmed+1)
	s.position = s.confirmed
	s.settle()
	if n := s.records(); n > 0 {
		s.opts.Logger.Info("the spool holds what has not been stored yet", "records", n, "bytes", s.size())
	}
	return nil
}

// Append keeps records and returns the number of the last one. None of them is kept when there is an error. They are in the
// system's hands when it returns, and on the disk within Options.Sync.
func (s *Spool) Append(contents ...[]byte) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, os.ErrClosed
	}
	if err := s.ready(); err != nil {
		s.stats.Failures++
		return 0, err
	}
	if len(contents) == 0 {
		return s.following - 1, nil
	}
	for _, content := range contents {
		if len(content) > MaxRecord {
			return 0, fmt.Errorf("spool: a record of %d bytes; the most is %d", len(content), MaxRecord)
		}
	}
	now := s.opts.Now()
	written, err := s.write(contents, now)
	if err != nil {
		// What may be left of it must not be taken for what is written under these numbers later.
		s.following += uint64(len(contents))
		s.stats.Failures++
		return 0, fmt.Errorf("spool: %w", err)
	}
	s.following += uint64(len(contents))
	g := s.segments[len(s.segments)-1]
	g.size += written
	g.last, g.newest = s.following-1, now
	s.stats.Appended += uint64(len(contents))
	if g.size >= s.opts.SegmentBytes {
		s.retire()
	}
	s.settle()
	return g.last, nil
}

// write writes to the active segment, which it makes when there is none, and returns how many bytes it wrote.
func (s *Spool) write(contents [][]byte, now time.Time) (int64, error) {
	if s.active == nil {
		if err := s.begin(now); err != nil {
			return 0, err
		}
	}
	b := s.scratch[:0]
	for i, content := range contents {
		b = appendRecord(b, s.salt, s.following+uint64(i), now, content)
	}
	if s.scratch = b; cap(b) > 1<<20 {
		s.scratch = nil // What is rarely needed is not kept.
	}
	_, err := s.active.Write(b)
	if err == nil && s.opts.Sync == SyncAlways {
		err = s.active.Sync()
	}
	if err != nil {
		// Whatever was written of it, the segment ends before.
		g := s.segments[len(s.segments)-1]
		_ = s.active.Truncate(g.size) // Where that fails, the size alone says so, and after a restart the numbers do.
		s.retire()
		return 0, err
	}
	s.dirty = true
	return int64(len(b)), nil
}

// begin makes a new segment the active one.
func (s *Spool) begin(now time.Time) error {
	path := filepath.Join(s.opts.Dir, nameOf(s.following))
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	with := salt(rand.Uint64())
	head := appendHeader(nil, s.following, with)
	if _, err := file.Write(head); err != nil {
		return errors.Join(err, file.Close(), os.Remove(path))
	}
	s.active, s.salt = file, with
	s.segments = append(s.segments, &segment{first: s.following, last: s.following - 1, newest: now, size: int64(len(head))})
	return nil
}

// retire ends the active segment. It is synced in the background.
func (s *Spool) retire() {
	switch {
	case s.active == nil:
		return
	case s.dirty && s.opts.Sync > 0:
		s.ended = append(s.ended, s.active)
	default:
		_ = s.active.Close() // All of it was written.
	}
	s.active, s.dirty = nil, false
}

// syncing syncs now and then until the spool is closed.
func (s *Spool) syncing() {
	every := time.NewTicker(s.opts.Sync)
	defer every.Stop()
	for {
		select {
		case <-s.stop:
			s.sync()
			return
		case <-every.C:
			s.sync()
		}
	}
}

// sync takes what was written to the disk. Whoever appends does not wait for it.
func (s *Spool) sync() {
	s.mu.Lock()
	ended, active := s.ended, s.active
	if s.ended = nil; !s.dirty {
		active = nil
	}
	s.dirty = false
	s.mu.Unlock()
	var errs []error
	for _, file := range ended {
		errs = append(errs, file.Sync(), file.Close())
	}
	if active != nil {
		if err := active.Sync(); !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		s.mu.Lock()
		said := s.unsynced
		s.unsynced, s.dirty = true, s.active != nil // It is tried again.
		s.stats.Failures++
		s.mu.Unlock()
		if !said {
			s.opts.Logger.Error("the spool cannot be synced, a failure of the power may cost what it holds", "error", err)
		}
		return
	}
	s.mu.Lock()
	back := s.unsynced && (active != nil || len(ended) > 0)
	s.unsynced = s.unsynced && !back
	s.mu.Unlock()
	if back {
		s.opts.Logger.Info("the spool can be synced again")
	}
}

// Confirm says that all records up to a number have arrived.
func (s *Spool) Confirm(through uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	through = min(through, s.following-1)
	if s.closed || through <= s.confirmed {
		return
	}
	s.stats.Confirmed += through - s.confirmed
	s.confirmed = through
	s.settle()
	if now := s.opts.Now(); now.Sub(s.markedAt) >= markEvery {
		s.mark(now)
	}
}

// settle removes segments that are done with, too old, or too many. The active one stays.
func (s *Spool) settle() {
	now := s.opts.Now()
	size := s.size()
	for len(s.segments) > 0 {
		g := s.segments[0]
		if s.isActive(g) {
			return
		}
		done := g.last <= s.confirmed || g.last < g.first
		room := size > s.opts.MaxBytes
		old := now.Sub(g.newest) > s.opts.MaxAge
		if !done && !room && !old {
			s.dropping = s.dropping && size > s.opts.MaxBytes/2
			return
		}
		if !done {
			s.drop(g, room)
		}
		if s.reading != nil && s.reading.segment == g {
			s.stopReading()
		}
		_ = os.Remove(filepath.Join(s.opts.Dir, nameOf(g.first))) // One that stays is read again by the next process.
		s.segments = s.segments[1:]
		size -= g.size
	}
}

// drop gives a segment up that was not confirmed.
func (s *Spool) drop(g *segment, room bool) {
	from := max(g.first, s.confirmed+1)
	s.stats.Dropped += g.last - from + 1
	s.confirmed = g.last
	s.position = max(s.position, g.last)
	if s.dropping {
		return
	}
	s.dropping = true
	why := "there is no more room for it"
	if !room {
		why = "it is too old"
	}
	s.opts.Logger.Error("the oldest in the spool is dropped, it will not be stored", "reason", why, "max_bytes", s.opts.MaxBytes, "max_age", s.opts.MaxAge.String())
}

func (s *Spool) size() (total int64) {
	for _, g := range s.segments {
		total += g.size
	}
	return total
}

// records is how many are kept that were not confirmed.
func (s *Spool) records() (n uint64) {
	for _, g := range s.segments {
		if from := max(g.first, s.confirmed+1); from <= g.last {
			n += g.last - from + 1
		}
	}
	return n
}

// Stats returns the figures as they stand.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	out.Records, out.Bytes = s.records(), s.size()
	if out.Records > 0 {
		out.Oldest = s.oldest()
	}
	return out
}

// oldest is about when the oldest record was appended: no later than the segment before it ended.
func (s *Spool) oldest() time.Time {
	for _, g := range s.segments {
		if g.last > s.confirmed && g.last >= g.first {
			return g.newest
		}
	}
	return time.Time{}
}

// Close ends the spool. What is in it stays there for the next process.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.stopReading()
	s.mark(s.opts.Now())
	s.retire()
	s.mu.Unlock()
	close(s.stop)
	s.work.Wait()
	return nil
}

// The mark is the file that says how far was confirmed: the number, and its CRC-32C.
const (
	markName  = "confirmed"
	markEvery = time.Second
)

// mark writes down how far was confirmed. When that fails, some records are handed out again after a restart.
func (s *Spool) mark(now time.Time) {
	if s.confirmed == s.marked {
		return
	}
	s.markedAt = now
	b := binary.LittleEndian.AppendUint64(nil, s.confirmed)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	path := filepath.Join(s.opts.Dir, markName)
	err := os.WriteFile(path+".new", b, 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		s.stats.Failures++
		return
	}
	s.marked = s.confirmed
}

// readMark returns how far was confirmed, 0 when that is not known.
func (s *Spool) readMark() uint64 {
	b, err := os.ReadFile(filepath.Join(s.opts.Dir, markName))
	if err != nil || len(b) != 12 || binary.LittleEndian.Uint32(b[8:]) != crc32.Checksum(b[:8], castagnoli) {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}
