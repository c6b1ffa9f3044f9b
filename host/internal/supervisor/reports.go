package supervisor

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Bounds on what is kept of crashes.
const (
	// keptCrashes is how many crashes of an island are kept, in memory and on disk.
	keptCrashes = 10
	// maxReport bounds one report on disk. JSON may need six bytes for one byte of output.
	maxReport = 2 << 20
	// maxReports bounds the reports of all islands on disk, those of earlier configurations included.
	maxReports = 64 << 20
	// maxWaiting bounds the reports that wait for a slow disk.
	maxWaiting = 32
)

// reportFormat is the version of the form in which reports are written.
const reportFormat = 1

// stampLayout makes the ID of a report.
const stampLayout = "20060102T150405.000000000Z"

// Names of what is ours in an island's folder: a report, and one that was not finished.
var (
	reportName   = regexp.MustCompile(`^\d{8}T\d{6}\.\d{9}Z\.json$`)
	unfinished   = regexp.MustCompile(`^\.\d{8}T\d{6}\.\d{9}Z\.json\.\d+$`)
	islandFolder = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
)

// storedCrash is a report as it stands on disk.
type storedCrash struct {
	Format int `json:"format"`
	Crash
}

// reports keeps crash reports on disk: <dir>/<island>/<ID>.json, open to the user alone. Each is written beside its place,
// synced and then renamed, so that a report is whole or not there. A disk that cannot be written costs the report and one
// line in the log until it can again.
type reports struct {
	dir    string // empty for none
	logger hclog.Logger
	queue  chan *Crash
	done   chan struct{}

	mu     sync.Mutex
	closed bool
	last   time.Time // the newest ID that was given

	broken bool // belongs to run
}

func newReports(dir string, logger hclog.Logger) *reports {
	return &reports{dir: dir, logger: logger, queue: make(chan *Crash, maxWaiting), done: make(chan struct{})}
}

// stamp gives a crash an ID that no other has.
func (r *reports) stamp(c *Crash) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := c.At.UTC()
	if !at.After(r.last) {
		at = r.last.Add(1)
	}
	r.last = at
	c.ID = at.Format(stampLayout)
}

// add hands a report to the writer. It never waits: a report that finds the queue full is lost.
func (r *reports) add(c *Crash) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dir == "" || r.closed {
		return
	}
	select {
	case r.queue <- c:
	default:
		r.logger.Warn("Crash report is not kept on disk, because too many wait to be written", "island", c.Island, "report", c.ID)
	}
}

// close lets run end once everything that waits is written.
func (r *reports) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.closed = true
		close(r.queue)
	}
}

// run writes until close.
func (r *reports) run() {
	defer close(r.done)
	for c := range r.queue {
		err := r.write(c)
		switch {
		case err != nil && !r.broken:
			r.logger.Error("Crash reports cannot be kept on disk", "island", c.Island, "report", c.ID, "error", err)
		case err == nil && r.broken:
			r.logger.Info("Crash reports can be kept on disk again", "island", c.Island)
		}
		r.broken = err != nil
	}
}

// write puts one report on disk and removes what is too much by then.
func (r *reports) write(c *Crash) (err error) {
	if !islandFolder.MatchString(c.Island) {
		return fmt.Errorf("%q cannot be the name of a folder", c.Island)
	}
	text, err := encodeReport(*c)
	if err != nil {
		return err
	}
	dir := filepath.Join(r.dir, c.Island)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, "."+c.ID+".json.*") // Open to the user alone.
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	if _, err := file.Write(text); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), filepath.Join(dir, c.ID+".json")); err != nil {
		return err
	}
	syncFolder(dir)
	r.prune(dir)
	r.bound()
	return nil
}

// encodeReport writes a report down. What makes it too long is cut: the stack from its end, where goroutines stand that
// were not running, and the output from its start.
func encodeReport(c Crash) ([]byte, error) {
	for {
		text, err := json.MarshalIndent(storedCrash{reportFormat, c}, "", "  ")
		if err != nil || len(text) <= maxReport || len(c.Stack)+len(c.Stderr)+len(c.Error) == 0 {
			return text, err
		}
		c.Stack = strings.ToValidUTF8(c.Stack[:len(c.Stack)/2], "")
		c.Stderr = strings.ToValidUTF8(c.Stderr[len(c.Stderr)-len(c.Stderr)/2:], "")
		c.Error = strings.ToValidUTF8(c.Error[:len(c.Error)/2], "")
	}
}

// syncFolder makes a rename last. Not every file system can, and then it has to do without.
func syncFolder(dir string) {
	if folder, err := os.Open(dir); err == nil {
		_ = folder.Sync()
		_ = folder.Close()
	}
}

// prune keeps the newest reports of one folder.
func (r *reports) prune(dir string) {
	names := reportsIn(dir)
	for _, name := range names[:max(0, len(names)-keptCrashes)] {
		_ = os.Remove(filepath.Join(dir, name)) // What cannot be removed is tried again with the next report.
	}
}

// reportsIn lists the reports in a folder, the oldest first.
func reportsIn(dir string) []string {
	entries, _ := os.ReadDir(dir) // A folder that cannot be read holds nothing to show.
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && reportName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names
}

// bound removes the oldest reports of all until they take no more than they may.
func (r *reports) bound() {
	type held struct {
		path, name string
		size       int64
	}
	var all []held
	var total int64
	for _, dir := range r.folders() {
		for _, name := range reportsIn(dir) {
			path := filepath.Join(dir, name)
			if info, err := os.Lstat(path); err == nil {
				all = append(all, held{path, name, info.Size()})
				total += info.Size()
			}
		}
	}
	slices.SortFunc(all, func(a, b held) int { return cmp.Compare(a.name, b.name) })
	for _, h := range all {
		if total <= maxReports {
			return
		}
		if os.Remove(h.path) == nil {
			total -= h.size
		}
	}
}

// folders lists the folders of islands, those of earlier configurations too.
func (r *reports) folders() []string {
	entries, _ := os.ReadDir(r.dir)
	var dirs []string
	for _, e := range entries {
		if e.IsDir() && islandFolder.MatchString(e.Name()) {
			dirs = append(dirs, filepath.Join(r.dir, e.Name()))
		}
	}
	return dirs
}

// sweep removes what a host left that was killed while it wrote, and what cannot be read as a report. Files of other names
// are somebody else's and stay.
func (r *reports) sweep() {
	for _, dir := range r.folders() {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			switch {
			case !e.Type().IsRegular():
			case unfinished.MatchString(e.Name()):
				_ = os.Remove(path)
			case reportName.MatchString(e.Name()):
				_, err := readReport(path)
				if err != nil && !errors.Is(err, errNewer) && !errors.Is(err, fs.ErrPermission) {
					_ = os.Remove(path)
				}
			}
		}
		r.prune(dir)
	}
	r.bound()
}

// load returns the crashes of an island that are on disk, the oldest first, at most keptCrashes.
func (r *reports) load(island string) []*Crash {
	if r.dir == "" || !islandFolder.MatchString(island) {
		return nil
	}
	dir := filepath.Join(r.dir, island)
	var crashes []*Crash
	names := reportsIn(dir)
	for _, name := range names[max(0, len(names)-keptCrashes):] {
		c, err := readReport(filepath.Join(dir, name))
		if err != nil || c.Island != island || c.ID != strings.TrimSuffix(name, ".json") {
			continue
		}
		crashes = append(crashes, c)
		if at, err := time.Parse(stampLayout, c.ID); err == nil {
			r.mu.Lock()
			if at.After(r.last) && at.Before(time.Now()) {
				r.last = at
			}
			r.mu.Unlock()
		}
	}
	return crashes
}

// errNewer is a report of a newer host, which this one must not remove.
var errNewer = errors.New("the report is of a newer format")

// readReport reads one report.
func readReport(path string) (*Crash, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxReport+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxReport {
		return nil, fmt.Errorf("%s is too long for a report", path)
	}
	var stored storedCrash
	if err := json.Unmarshal(text, &stored); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case stored.Format > reportFormat:
		return nil, errNewer
	case stored.Format < 1 || stored.Island == "" || stored.ID == "":
		return nil, fmt.Errorf("%s is not a crash report", path)
	}
	return &stored.Crash, nil
}
