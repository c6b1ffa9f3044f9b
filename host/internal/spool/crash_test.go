package spool

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"pgregory.net/rapid"
)

// keepAppending appends, reads and confirms until the process is killed, and prints the number of each record that Append
// has taken.
func keepAppending(dir string) {
	s := Open(Options{Dir: dir, SegmentBytes: 4000})
	for {
		n, err := s.Append(fmt.Appendf(nil, "content %d", s.Stats().Appended))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(n)
	}
}

// Whatever Append has taken from a process is there after that was killed.
func TestAKilledProcessLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	total := uint64(0)
	for round := range 5 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "SPOOL_TEST_DIR="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		taken := uint64(0)
		for n := 0; lines.Scan(); n++ {
			if taken, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
				t.Fatal(err)
			}
			if n == 100+round*37 { // It goes on appending while it is killed.
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait() // It was killed.
		s := open(t, Options{Dir: dir})
		got, last := drained(t, s)
		if last < taken || uint64(len(got)) != last || uint64(len(got)) <= total {
			t.Fatalf("%d records up to %d are there, %d were taken", len(got), last, taken)
		}
		if st := s.Stats(); st.Lost+st.Dropped+st.Failures > 0 {
			t.Errorf("%+v", st)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		total = uint64(len(got))
	}
}

// image is what the files of a folder hold.
type image map[string]string

func imageOf(t fataler, dir string) image {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := image{}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[entry.Name()] = string(text)
	}
	return out
}

func (i image) write(t fataler, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range i {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// between is a state of the files that a process may leave which ends somewhere between two others.
func between(t *rapid.T, before, after image) image {
	out := maps.Clone(before)
	for _, name := range slices.Sorted(maps.Keys(after)) {
		was, is := before[name], after[name]
		if was == is && before[name] != "" {
			continue
		}
		switch {
		case name == markName: // It is replaced as a whole; what replaces it may be torn.
			if rapid.Bool().Draw(t, "renamed") {
				out[name] = is
			} else {
				out[name+".new"] = is[:rapid.IntRange(0, len(is)).Draw(t, "mark")]
				if was == "" {
					delete(out, name)
				}
			}
		default: // It is only ever appended to.
			if rapid.Bool().Draw(t, "begun") {
				out[name] = is[:rapid.IntRange(len(was), len(is)).Draw(t, "cut")]
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) { // The oldest are removed first.
		if _, kept := after[name]; kept || rapid.Bool().Draw(t, "stays") {
			break
		}
		delete(out, name)
	}
	return out
}

// Wherever a process ends while it appends, rotates, confirms and removes: what it had been given before and what was not
// confirmed before is there, in order; nothing is there that it was not given; and the next one goes on.
func TestAnEndAtAnyMoment(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	dirs := 0
	rapid.Check(t, func(t *rapid.T) {
		dirs++
		dir := filepath.Join(parent, fmt.Sprint(dirs, ".0"))
		size := int64(rapid.IntRange(60, 400).Draw(t, "segment"))
		opts := func() Options { return Options{Dir: dir, SegmentBytes: size, Sync: SyncNever} }
		s := open(t, opts())
		given, confirmed := map[uint64]string{}, uint64(0)
		written, numbers := 0, map[string]uint64{} // Each content is its own.
		for life := range rapid.IntRange(1, 3).Draw(t, "lives") {
			before := imageOf(t, dir)
			var appending []string
			var confirming uint64
			steps := rapid.IntRange(1, 8).Draw(t, "steps")
			for range steps {
				before, appending, confirming = imageOf(t, dir), nil, confirmed
				if rapid.IntRange(0, 3).Draw(t, "step") == 0 && len(given) > 0 {
					if _, last, err := s.Read(rapid.IntRange(1, 200).Draw(t, "most")); err == nil {
						confirming = max(confirmed, last)
						s.markedAt = time.Time{} // As if a second had passed.
						s.Confirm(last)
					}
				} else {
					for range rapid.IntRange(1, 4).Draw(t, "batch") {
						written++
						appending = append(appending, fmt.Sprintf("content %d %s", written, strings.Repeat("x", written%40)))
					}
					last := appended(t, s, appending...)
					for i, content := range appending {
						numbers[content] = last - uint64(len(appending)-1-i)
						given[numbers[content]] = content
					}
				}
				confirmed = confirming
			}
			torn := between(t, before, imageOf(t, dir))
			_ = s.Close()
			_ = os.RemoveAll(dir)
			dir = filepath.Join(parent, fmt.Sprint(dirs, ".", life+1))
			torn.write(t, dir)
			log := &bytes.Buffer{}
			o := opts()
			o.Logger = hclog.New(&hclog.LoggerOptions{Output: log})
			s = open(t, o)
			got, _ := drained(t, s)
			place := uint64(0)
			there := map[string]bool{}
			for _, content := range got {
				n, ok := numbers[content]
				if !ok || n <= place {
					t.Fatalf("%q is not what was given, or not in this order, after %d", content, place)
				}
				place, there[content] = n, true
			}
			for n, content := range given {
				if n > confirmed && !there[content] && !slices.Contains(appending, content) {
					t.Fatalf("%q was given and is not there; up to %d is confirmed\n%s", content, confirmed, log)
				}
			}
			// What was being appended when the process ended may be there, or not.
			maps.DeleteFunc(given, func(_ uint64, content string) bool { return slices.Contains(appending, content) && !there[content] })
			s.Rewind()
		}
		_ = s.Close()
		_ = os.RemoveAll(dir)
	})
}

// A file in the place of a segment takes no more memory than a window, however long it is.
func TestALongFileIsNotReadAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := appendRecord(appendHeader(nil, 1, 5), 5, 1, time.Now(), []byte("first"))
	path := filepath.Join(dir, nameOf(1))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 64<<20); err != nil { // A hole, and nothing of it on disk.
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r := reader{file: file, segment: &segment{first: 1, last: 0, size: 6 << 20}}
	if err := r.open(); err != nil {
		t.Fatal(err)
	}
	most := 0
	for {
		_, ok, err := r.next()
		if err != nil {
			t.Fatal(err)
		}
		if most = max(most, cap(r.ahead)); !ok {
			break
		}
	}
	if most > window+MaxRecord+recordHeader {
		t.Errorf("%d bytes were kept", most)
	}
	if err := os.Truncate(path, 1<<20); err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{Dir: dir})
	defer s.Close()
	if got, _ := drained(t, s); !slices.Equal(got, []string{"first"}) || s.Stats().Lost == 0 {
		t.Errorf("%q, %+v", got, s.Stats())
	}
}

// A segment of another version is left for the program that can read it, and its numbers are not used again.
func TestASegmentOfAnotherVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	appended(t, s, "one", "two")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, nameOf(1))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[len(magic)-1]++
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{Dir: dir})
	defer s.Close()
	if n := appended(t, s, "three"); n < 3 {
		t.Errorf("the number is %d", n)
	}
	if got, _ := drained(t, s); !slices.Equal(got, []string{"three"}) || s.Stats().Failures != 1 {
		t.Errorf("%q, %+v", got, s.Stats())
	}
	if kept, err := os.ReadFile(path); err != nil || !bytes.Equal(kept, text) {
		t.Errorf("it is not what it was: %v", err)
	}
}

// Where little is appended, age is told all the same, and so is when the oldest came.
func TestAgeOfWhatComesSlowly(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	began := now
	s := open(t, Options{Dir: t.TempDir(), MaxAge: 8 * time.Hour, Now: func() time.Time { return now }})
	defer s.Close()
	for range 6 * 12 {
		appended(t, s, "a little")
		if oldest := s.Stats().Oldest; now.Sub(began) <= 8*time.Hour && !oldest.Equal(began) {
			t.Fatalf("after %v the oldest is of %v", now.Sub(began), oldest.Sub(began))
		} else if age := now.Sub(oldest); age > 9*time.Hour+10*time.Minute {
			t.Fatalf("the oldest is %v old", age)
		}
		now = now.Add(10 * time.Minute)
	}
	if st := s.Stats(); st.Dropped == 0 || st.Records+st.Dropped != 6*12 {
		t.Errorf("%+v", st)
	}
	_, last, err := s.Read(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	s.Confirm(last - 1)
	if oldest := s.Stats().Oldest; now.Sub(oldest) > 2*time.Hour {
		t.Errorf("the last one is %v old", now.Sub(oldest))
	}
}

// A disk that takes writes and no syncs is told once, and again when it does.
func TestASyncThatFails(t *testing.T) {
	t.Parallel()
	log := &bytes.Buffer{}
	s := open(t, Options{Dir: t.TempDir(), Sync: time.Hour, Logger: hclog.New(&hclog.LoggerOptions{Output: log})})
	defer s.Close()
	r, w, err := os.Pipe() // It cannot be synced.
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	appended(t, s, "x")
	s.mu.Lock()
	healthy := s.active
	s.mu.Unlock()
	for range 3 {
		s.mu.Lock()
		s.active, s.dirty = w, true
		s.mu.Unlock()
		s.sync()
	}
	if st := s.Stats(); !st.Unsynced || st.Failures != 3 {
		t.Errorf("%+v", st)
	}
	s.mu.Lock()
	s.active, s.dirty = healthy, true
	s.mu.Unlock()
	s.sync()
	if st := s.Stats(); st.Unsynced {
		t.Errorf("%+v", st)
	}
	if text := log.String(); strings.Count(text, "cannot be synced") != 1 || strings.Count(text, "synced again") != 1 {
		t.Error(text)
	}
}

// A segment that cannot be read right now is tried for a while; then the others have their turn.
func TestASegmentThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, back := range []bool{true, false} {
		t.Run(fmt.Sprint("it comes back ", back), func(t *testing.T) {
			t.Parallel()
			now := time.Unix(1_000_000, 0)
			dir := t.TempDir()
			s := open(t, Options{Dir: dir, SegmentBytes: 10, Now: func() time.Time { return now }})
			defer s.Close()
			appended(t, s, "one")
			appended(t, s, "two")
			path := filepath.Join(dir, nameOf(1))
			if err := os.Rename(path, path+".away"); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(nameOf(1), path); err != nil { // It leads to itself, and never to a file.
				t.Fatal(err)
			}
			for range 3 {
				if got, _, err := s.Read(1000); err == nil || len(got) > 0 {
					t.Fatalf("%q, %v", got, err)
				}
				now = now.Add(patience / 4)
			}
			want := []string{"two"}
			if back {
				want = []string{"one", "two"}
				if err := os.Rename(path+".away", path); err != nil {
					t.Fatal(err)
				}
			}
			now = now.Add(patience / 4)
			if got, _ := drained(t, s); !slices.Equal(got, want) || s.Stats().Lost != uint64(2-len(want)) {
				t.Errorf("%q, %+v", got, s.Stats())
			}
		})
	}
}
