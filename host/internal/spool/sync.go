package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

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
	ended, active, begun := s.ended, s.active, s.begun
	if s.ended = nil; !s.dirty {
		active = nil
	}
	s.dirty, s.begun = false, false
	s.mu.Unlock()
	if len(ended) == 0 && active == nil && !begun {
		return
	}
	var errs []error
	for _, file := range ended {
		errs = append(errs, file.Sync(), file.Close())
	}
	if active != nil {
		if err := active.Sync(); !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if begun {
		errs = append(errs, syncFolder(s.opts.Dir))
	}
	s.synced(errors.Join(errs...))
}

// synced notes how a sync went, and says when that changes.
func (s *Spool) synced(err error) {
	s.mu.Lock()
	before := s.stats.Unsynced
	if s.stats.Unsynced = err != nil; err != nil {
		s.stats.Failures++
		s.dirty, s.begun = s.active != nil, true // It is tried again.
	}
	s.mu.Unlock()
	switch {
	case err != nil && !before:
		s.opts.Logger.Error("the spool cannot be synced, a failure of the power may cost what it holds", "error", err)
	case err == nil && before:
		s.opts.Logger.Info("the spool can be synced again")
	}
}

// syncFolder takes the names of new segments to the disk. Windows keeps them by itself, and syncs no folders.
func syncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
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
