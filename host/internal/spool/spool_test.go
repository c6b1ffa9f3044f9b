package spool

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fataler is what a test and a rapid check have in common.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

func open(t fataler, opts Options) *Spool {
	t.Helper()
	s := Open(opts)
	if s.unusable != nil {
		t.Fatal(s.unusable)
	}
	return s
}

func TestAFolderThatCannotBeMadeIsTriedAgain(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	dir := filepath.Join(t.TempDir(), "spool")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // Where the folder should be.
		t.Fatal(err)
	}
	s := Open(Options{Dir: dir, Now: func() time.Time { return now }})
	defer s.Close()
	if _, err := s.Append([]byte("lost")); err == nil {
		t.Fatal("a folder that is not there took a record")
	}
	if _, _, err := s.Read(1); err == nil {
		t.Error("a folder that is not there was read")
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	now = now.Add(openEvery)
	appended(t, s, "kept")
	if got, _ := drained(t, s); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("%q", got)
	}
}

func appended(t fataler, s *Spool, contents ...string) uint64 {
	t.Helper()
	raw := make([][]byte, len(contents))
	for i, c := range contents {
		raw[i] = []byte(c)
	}
	last, err := s.Append(raw...)
	if err != nil {
		t.Fatal(err)
	}
	return last
}

// drained reads everything that there is.
func drained(t fataler, s *Spool) (contents []string, last uint64) {
	t.Helper()
	for {
		part, n, err := s.Read(1000)
		if err != nil {
			t.Fatal(err)
		}
		if last = n; len(part) == 0 {
			return contents, last
		}
		for _, c := range part {
			contents = append(contents, string(c))
		}
	}
}

func numbered(from, to int) (contents []string) {
	for i := from; i <= to; i++ {
		contents = append(contents, fmt.Sprintf("record %d %s", i, strings.Repeat("x", i%50)))
	}
	return contents
}

func TestWhatIsAppendedIsReadInOrder(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Dir: filepath.Join(t.TempDir(), "spool"), SegmentBytes: 1000})
	defer s.Close()
	all := numbered(1, 300)
	for i, c := range all {
		if n := appended(t, s, c); n != uint64(i+1) {
			t.Fatalf("record %d has the number %d", i+1, n)
		}
		if i%7 == 0 { // The reader is at the end most of the time.
			if _, _, err := s.Read(500); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.Rewind()
	got, last := drained(t, s)
	if !slices.Equal(got, all) || last != 300 {
		t.Errorf("%d records were read, the last is %d", len(got), last)
	}
	if more, _, err := s.Read(1000); err != nil || len(more) > 0 {
		t.Errorf("%q were read again, %v", more, err)
	}
	if st := s.Stats(); st.Records != 300 || st.Appended != 300 || st.Lost != 0 || st.Oldest.IsZero() {
		t.Errorf("%+v", st)
	}
	s.Confirm(last)
	if st := s.Stats(); st.Records != 0 || st.Confirmed != 300 || st.Bytes > 2000 || !st.Oldest.IsZero() {
		t.Errorf("after the confirmation %+v", st)
	}
}

func TestItOutlivesItsProcess(t *testing.T) {
	t.Parallel()
	for _, orderly := range []bool{true, false} {
		t.Run(fmt.Sprint("closed ", orderly), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := open(t, Options{Dir: dir, SegmentBytes: 700, Sync: SyncNever})
			appended(t, s, numbered(1, 100)...)
			got, _ := drained(t, s)
			if len(got) != 100 {
				t.Fatalf("%d records", len(got))
			}
			s.Confirm(40)
			if orderly {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			} else {
				defer s.Close() // As a process that is killed, it leaves everything as it is.
			}
			again := open(t, Options{Dir: dir, SegmentBytes: 700})
			defer again.Close()
			got, _ = drained(t, again)
			want := numbered(41, 100)
			if !slices.Equal(got, want) {
				t.Errorf("%d records were read: %q", len(got), got)
			}
			if n := appended(t, again, "next"); n != 101 {
				t.Errorf("the next record has the number %d", n)
			}
			if got, _ := drained(t, again); !slices.Equal(got, []string{"next"}) {
				t.Errorf("%q", got)
			}
		})
	}
}

// Without the mark, records are handed out twice, and never none.
func TestALostMarkRepeats(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	appended(t, s, numbered(1, 10)...)
	s.Confirm(4)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, mark := range map[string][]byte{"none": nil, "torn": {1, 2, 3}, "flipped": bytes.Repeat([]byte{7}, 12)} {
		path := filepath.Join(dir, markName)
		if mark == nil {
			_ = os.Remove(path)
		} else if err := os.WriteFile(path, mark, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, Options{Dir: dir})
		if got, _ := drained(t, s); !slices.Equal(got, numbered(1, 10)) {
			t.Errorf("%s: %d records", name, len(got))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Wherever a segment is cut and whatever is flipped in it: what is read back is a part of what was written, in order and
// unchanged, and nothing that stands before the first damage is missing.
func TestDamageIsNeverReplayed(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	dirs := 0
	rapid.Check(t, func(t *rapid.T) {
		dirs++
		dir := filepath.Join(parent, fmt.Sprint(dirs))
		s := open(t, Options{Dir: dir, SegmentBytes: int64(rapid.IntRange(200, 3000).Draw(t, "segment")), Sync: SyncNever})
		var all []string
		for i := range rapid.IntRange(1, 40).Draw(t, "records") {
			// A content may hold what looks like a record, or is one.
			content := fmt.Sprintf("%d:%s", i, rapid.StringN(0, 60, 200).Draw(t, "content"))
			if rapid.Bool().Draw(t, "nested") {
				content = string(appendRecord(nil, 0, uint64(i+2), time.Unix(1, 0), []byte("invented"))) + content
			}
			all = append(all, content)
			appended(t, s, content)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		names, _ := filepath.Glob(filepath.Join(dir, "*.seg"))
		name := rapid.SampledFrom(names).Draw(t, "file")
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
		switch rapid.IntRange(0, 2).Draw(t, "damage") {
		case 0:
			text = text[:at]
		case 1:
			text[at] ^= byte(1 << rapid.IntRange(0, 7).Draw(t, "bit"))
		default:
			copy(text[at:], make([]byte, rapid.IntRange(1, 100).Draw(t, "zeros")))
		}
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		again := open(t, Options{Dir: dir, Sync: SyncNever})
		defer again.Close()
		got, _ := drained(t, again)
		place := 0
		for _, content := range got {
			found := slices.Index(all[place:], content)
			if found < 0 {
				t.Fatalf("%q was never written, or not in this order", content)
			}
			place += found + 1
		}
		if len(got) < len(all)-records(all, name, s.opts.SegmentBytes) {
			t.Fatalf("%d of %d records are left, though one segment was damaged", len(got), len(all))
		}
		if n := appended(t, again, "after"); n <= uint64(len(got)) {
			t.Fatalf("the next number is %d", n)
		}
		if last, _ := drained(t, again); !slices.Equal(last, []string{"after"}) {
			t.Fatalf("after the damage %q", last)
		}
		_ = os.RemoveAll(dir)
	})
}

// records is how many records a segment has at most.
func records(all []string, name string, segmentBytes int64) int {
	first, _ := firstOf(filepath.Base(name))
	n, size := 0, int64(segmentHeader)
	for _, content := range all[first-1:] {
		n++
		if size += int64(recordHeader + len(content)); size >= segmentBytes {
			break
		}
	}
	return n
}

func TestOneFlippedRecordCostsNoOther(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := &bytes.Buffer{}
	s := open(t, Options{Dir: dir})
	appended(t, s, numbered(1, 20)...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, nameOf(1))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[bytes.Index(text, []byte("record 7 "))] ^= 1
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	again := open(t, Options{Dir: dir, Logger: hclog.New(&hclog.LoggerOptions{Output: log})})
	defer again.Close()
	got, _ := drained(t, again)
	if want := slices.Concat(numbered(1, 6), numbered(8, 20)); !slices.Equal(got, want) {
		t.Errorf("read %q", got)
	}
	if st := again.Stats(); st.Lost != 1 || strings.Count(log.String(), "cannot be read") != 1 {
		t.Errorf("%+v\n%s", st, log)
	}
}

func TestTheOldestIsDroppedWhenThereIsNoRoom(t *testing.T) {
	t.Parallel()
	log := &bytes.Buffer{}
	s := open(t, Options{Dir: t.TempDir(), MaxBytes: 8000, SegmentBytes: 1000, Logger: hclog.New(&hclog.LoggerOptions{Output: log})})
	defer s.Close()
	all := numbered(1, 1000)
	for _, c := range all {
		appended(t, s, c)
		if size := s.Stats().Bytes; size > 9200 {
			t.Fatalf("it takes %d bytes", size)
		}
	}
	got, _ := drained(t, s)
	st := s.Stats()
	if st.Dropped == 0 || st.Dropped+uint64(len(got)) != 1000 || !slices.Equal(got, all[1000-len(got):]) {
		t.Errorf("%d were dropped and %d are left", st.Dropped, len(got))
	}
	if n := strings.Count(log.String(), "is dropped"); n != 1 {
		t.Errorf("%d lines:\n%s", n, log)
	}
}

func TestWhatIsTooOldIsDropped(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	dir := t.TempDir()
	s := open(t, Options{Dir: dir, SegmentBytes: 100, MaxAge: time.Hour, Now: func() time.Time { return now }})
	defer s.Close()
	appended(t, s, strings.Repeat("old", 50))
	now = now.Add(30 * time.Minute)
	appended(t, s, strings.Repeat("new", 50))
	now = now.Add(40 * time.Minute)
	appended(t, s, "newest")
	got, _ := drained(t, s)
	if len(got) != 2 || s.Stats().Dropped != 1 {
		t.Errorf("%q, %+v", got, s.Stats())
	}
}

func TestADiskThatIsFullIsTriedAgain(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Dir: t.TempDir()})
	defer s.Close()
	appended(t, s, "before")
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	healthy := s.active
	s.active = full
	s.mu.Unlock()
	if _, err := s.Append([]byte("lost")); err == nil {
		t.Fatal("a full disk took a record")
	}
	_ = healthy.Close()
	appended(t, s, "after")
	if got, _ := drained(t, s); !slices.Equal(got, []string{"before", "after"}) {
		t.Errorf("%q", got)
	}
	if st := s.Stats(); st.Failures != 1 || st.Lost != 0 {
		t.Errorf("%+v", st)
	}
}

func TestAFolderThatIsGone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "spool")
	s := open(t, Options{Dir: dir, SegmentBytes: 100})
	defer s.Close()
	appended(t, s, strings.Repeat("x", 200)) // The segment is full.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append([]byte("nowhere")); err == nil {
		t.Error("a folder that is gone took a record")
	}
	if got, _ := drained(t, s); len(got) > 0 || s.Stats().Lost != 1 {
		t.Errorf("%q, %+v", got, s.Stats())
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	appended(t, s, "back")
	if got, _ := drained(t, s); !slices.Equal(got, []string{"back"}) {
		t.Errorf("%q", got)
	}
}

func TestRecordsThatAreTooLarge(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Dir: t.TempDir()})
	defer s.Close()
	if _, err := s.Append(make([]byte, MaxRecord+1)); err == nil {
		t.Error("it was taken")
	}
	appended(t, s, string(make([]byte, MaxRecord)), "small")
	if got, _ := drained(t, s); len(got) != 2 {
		t.Errorf("%d records", len(got))
	}
}

func TestAClosedSpool(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Dir: t.TempDir(), Sync: time.Millisecond})
	appended(t, s, "x")
	time.Sleep(5 * time.Millisecond) // It is synced meanwhile.
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Append([]byte("y")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("append: %v", err)
	}
	if _, _, err := s.Read(1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	s.Confirm(1)
	s.Rewind()
}

// Appending, reading and confirming go on at once.
func TestAllAtOnce(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Dir: t.TempDir(), SegmentBytes: 2000, Sync: time.Millisecond})
	defer s.Close()
	const each, writers = 500, 4
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				if _, err := s.Append(fmt.Appendf(nil, "%d/%d", w, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	seen := map[string]bool{}
	for deadline := time.Now().Add(20 * time.Second); len(seen) < each*writers && time.Now().Before(deadline); {
		part, last, err := s.Read(300)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range part {
			if seen[string(c)] {
				t.Errorf("%s was read twice", c)
			}
			seen[string(c)] = true
		}
		s.Confirm(last)
		_ = s.Stats()
	}
	all.Wait()
	if st := s.Stats(); len(seen) != each*writers || st.Records != 0 || st.Lost+st.Dropped > 0 {
		t.Errorf("%d were read, %+v", len(seen), st)
	}
}
