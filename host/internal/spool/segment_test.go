package spool

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Whatever a file holds: no panic, no more memory than the file is long, and nothing is handed out whose checksum is wrong.
func FuzzSegment(f *testing.F) {
	whole := appendHeader(nil, 1, 9)
	for i, c := range []string{"one", "", strings.Repeat("three", 100)} {
		whole = appendRecord(whole, 9, uint64(i+1), time.Unix(1700000000, 0), []byte(c))
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add(whole[:segmentHeader])
	f.Add([]byte{})
	flipped := bytes.Clone(whole)
	flipped[segmentHeader+recordHeader] ^= 1
	f.Add(flipped)
	long := bytes.Clone(whole)
	binary.LittleEndian.PutUint32(long[segmentHeader:], 1<<31)
	f.Add(long)
	dir := f.TempDir()
	count := 0
	f.Fuzz(func(t *testing.T, text []byte) {
		count++
		own := filepath.Join(dir, fmt.Sprint(os.Getpid(), "-", count))
		if err := os.Mkdir(own, 0o700); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(own) }()
		if err := os.WriteFile(filepath.Join(own, nameOf(1)), text, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, Options{Dir: own, Sync: SyncNever})
		defer s.Close()
		got, _ := drained(t, s)
		total := 0
		for _, c := range got {
			if !bytes.Contains(text, []byte(c)) {
				t.Errorf("%q is nowhere in the file", c)
			}
			total += len(c) + recordHeader
		}
		if total > len(text) {
			t.Errorf("%d bytes were read of %d", total, len(text))
		}
		appended(t, s, "next")
		if got, _ := drained(t, s); !slices.Equal(got, []string{"next"}) {
			t.Errorf("%q", got)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	s := open(b, Options{Dir: b.TempDir(), MaxBytes: 1 << 30})
	defer s.Close()
	content := bytes.Repeat([]byte("x"), 3000) // About a tick of eight symbols.
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Append(content); err != nil {
			b.Fatal(err)
		}
		if st := s.following; st%1000 == 0 {
			s.Confirm(st - 1)
		}
	}
}
