package spool

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
)

// reading is the segment that is being read.
type reading struct {
	reader
	file *os.File
}

// Read hands out the records that follow those it handed out before, as many as fit into so many bytes but at least one, and
// the number of the last; none when there are none right now. The contents are the caller's.
func (s *Spool) Read(most int) (contents [][]byte, last uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, 0, os.ErrClosed
	}
	if err := s.ready(); err != nil {
		return nil, 0, err
	}
	taken := 0
	for taken < most {
		rec, ok := s.nextRecord()
		if !ok {
			break
		}
		contents = append(contents, slices.Clone(rec.content))
		taken += len(rec.content)
		s.position = rec.number
	}
	return contents, s.position, nil
}

// nextRecord returns the record after the position. What the disk does not give back is lost.
func (s *Spool) nextRecord() (record, bool) {
	for {
		if s.reading == nil {
			g := s.segmentAfter(s.position)
			if g == nil {
				return record{}, false
			}
			if err := s.openReading(g); err != nil {
				s.lose(g, max(g.first, s.position+1), err)
				continue
			}
		}
		r := s.reading
		before := r.lost
		rec, ok, err := r.next()
		if r.lost > before {
			s.lost(r.lost-before, r.segment, errDamaged)
		}
		switch {
		case err != nil:
			s.lose(r.segment, r.expected, err)
		case ok && rec.number <= s.position:
			// It was confirmed or handed out before.
		case ok:
			return rec, true
		case s.isActive(r.segment):
			return record{}, false // More may come.
		case r.expected <= r.segment.last:
			s.lose(r.segment, r.expected, errDamaged)
		default:
			s.position = max(s.position, r.segment.last)
			s.stopReading()
		}
	}
}

// errDamaged is what stands on disk and is not what was written.
var errDamaged = errors.New("it is damaged")

// lose gives the rest of a segment up, from a number on.
func (s *Spool) lose(g *segment, from uint64, err error) {
	s.stopReading()
	s.position = max(s.position, g.last)
	s.lost(g.last-min(from, g.last+1)+1, g, err)
}

// lost counts records that cannot be read, and says so.
func (s *Spool) lost(n uint64, g *segment, err error) {
	s.stats.Lost += n
	s.opts.Logger.Error("records of the spool cannot be read, they will not be stored", "records", n, "file", nameOf(g.first), "error", err)
}

// segmentAfter returns the segment with the record after a number, nil when there is none.
func (s *Spool) segmentAfter(number uint64) *segment {
	for _, g := range s.segments {
		if g.last > number {
			return g
		}
	}
	return nil
}

func (s *Spool) isActive(g *segment) bool {
	return s.active != nil && g == s.segments[len(s.segments)-1]
}

func (s *Spool) openReading(g *segment) error {
	file, err := os.Open(filepath.Join(s.opts.Dir, nameOf(g.first)))
	if err != nil {
		return err
	}
	s.reading = &reading{reader: reader{file: file, segment: g}, file: file}
	if err := s.reading.open(); err != nil {
		s.stopReading()
		return err
	}
	return nil
}

func (s *Spool) stopReading() {
	if s.reading != nil {
		_ = s.reading.file.Close() // It was only read.
		s.reading = nil
	}
}

// Rewind makes Read hand out again what was not confirmed.
func (s *Spool) Rewind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopReading()
	s.position = s.confirmed
}
