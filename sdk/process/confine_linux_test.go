package process_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// put makes a file with its folder.
func put(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// may wants an island to succeed or to be denied.
func may(t *testing.T, p *process.Process, what string, allowed bool) {
	t.Helper()
	got, err := ask(t, p, what)
	if err != nil {
		t.Fatal(err)
	}
	if denied := strings.Contains(got, "permission denied"); allowed && got != "<nil>" || !allowed && !denied {
		t.Errorf("%s: %s", what, got)
	}
}

func TestAnIslandReachesItsOwnFilesAlone(t *testing.T) {
	data, run := t.TempDir(), runDir(t)
	private := put(t, filepath.Join(data, "spool", "1"), "quotes")
	file := put(t, filepath.Join(data, "islands.hcl"), "secret")
	certificate := put(t, filepath.Join(data, "extra", "ca.pem"), "certificate")
	settled := put(t, filepath.Join(data, "settled"), "text")
	store := filepath.Join(data, "store", "deep")
	neighbour := initialized(t, process.LaunchOptions{RunDir: run}, "")
	socket, err := filepath.Glob(filepath.Join(run, "*", "*", "*"))
	if err != nil || len(socket) != 1 {
		t.Fatalf("%v, %v", socket, err)
	}
	p := initialized(t, process.LaunchOptions{RunDir: run, Confine: &process.Confine{
		Reads: []string{filepath.Dir(certificate)}, Writes: []string{store, settled}, Private: []string{data, file},
	}}, "")
	applied := p.Applied()
	if !applied.Confined {
		t.Fatalf("not confined: %s", applied.Unconfined)
	}
	if !slices.Equal(applied.Readable, []string{filepath.Dir(certificate)}) || !slices.Equal(applied.Writable, []string{store, settled}) ||
		len(applied.Exposed) > 0 || len(applied.Missing) > 0 {
		t.Errorf("applied %+v", applied)
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	temporary, err := ask(t, p, "temporary")
	if err != nil || !strings.HasPrefix(temporary, run) {
		t.Errorf("temporary files in %q, %v", temporary, err)
	}
	for _, what := range []string{
		"read " + certificate, "list " + filepath.Dir(certificate), "write " + filepath.Join(store, "db"), "read " + filepath.Join(store, "db"),
		"write " + settled, "write " + filepath.Join(temporary, "x"), "read " + filepath.Join(temporary, "x"), "write /dev/null", "read /dev/null",
		"read /etc/passwd", "list /etc", "read /proc/self/status", "list /usr", "run /bin/true", "dial " + listener.Addr().String(),
		"remove " + filepath.Join(store, "db"),
	} {
		may(t, p, what, true)
	}
	own := put(t, filepath.Join(store, "program"), "#!/bin/sh\n")
	for _, what := range []string{
		"read " + private, "list " + filepath.Dir(private), "write " + private, "write " + filepath.Join(data, "new"), "remove " + private,
		"read " + file, "write " + file, "write " + certificate, "list " + run, "remove " + socket[0], "write /etc/islands-test", "write /tmp/islands-test",
		"list /root", "list /home", "run " + own,
	} {
		may(t, p, what, false)
	}
	if _, err := ask(t, neighbour, "read "+file); err != nil {
		t.Error(err)
	}
	may(t, neighbour, "read "+file, true) // Whom nobody confined.
	if applied := neighbour.Applied(); applied.Confined || applied.Unconfined == "" {
		t.Errorf("the neighbour: %+v", applied)
	}

	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(temporary); !os.IsNotExist(err) {
		t.Errorf("its temporary files: %v", err)
	}
}

// An island is nicer than its host in all of its threads, and the host is as it was.
func TestAnIslandYieldsToItsHost(t *testing.T) {
	niceness := func(pid int) map[int]bool {
		found := map[int]bool{}
		stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, path := range stats {
			text, err := os.ReadFile(path)
			if err != nil {
				continue // A thread that has ended.
			}
			_, after, _ := strings.Cut(string(text), ") ")
			nice, err := strconv.Atoi(strings.Fields(after)[16])
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			found[nice] = true
		}
		return found
	}
	p := initialized(t, process.LaunchOptions{RunDir: runDir(t)}, "")
	// Beside the threads that islands are started from, which are as nice as those.
	host, err := unix.Getpriority(unix.PRIO_PROCESS, os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	want := min(20-host+5, 19) // The system call says 20 less the niceness; nothing is nicer than 19.
	if found := niceness(p.PID()); len(found) != 1 || !found[want] {
		t.Errorf("the threads of the island are at %v, the host is at %d", found, 20-host)
	}
	own, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return // Nobody knows slices here.
	}
	island, err := unix.SchedGetAttr(p.PID(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if own.Runtime > 0 && island.Runtime <= own.Runtime { // A kernel before 6.12 has no slices.
		t.Errorf("slices of %v, the host's are %v", time.Duration(island.Runtime), time.Duration(own.Runtime))
	}
}

func TestWhatCannotBeKeptPrivateIsSaid(t *testing.T) {
	data := t.TempDir()
	file := put(t, filepath.Join(data, "islands.hcl"), "secret")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(data, link); err != nil {
		t.Fatal(err)
	}
	p := launch(t, process.LaunchOptions{Confine: &process.Confine{
		Reads: []string{link, "/no/such/file"}, Private: []string{file, "/etc/islands/islands.hcl", "/var/lib/islands"},
	}})
	applied := p.Applied()
	if !slices.Equal(applied.Exposed, []string{file, "/etc/islands/islands.hcl"}) {
		t.Errorf("exposed %q", applied.Exposed)
	}
	if len(applied.Missing) != 1 || !contains(applied.Missing[0], "/no/such/file", "no such file") {
		t.Errorf("missing %q", applied.Missing)
	}
}

func TestAFolderThatCannotBeMadeIsRefused(t *testing.T) {
	file := put(t, filepath.Join(t.TempDir(), "file"), "")
	run := runDir(t)
	below := filepath.Join(file, "below")
	p, err := process.Launch(t.Context(), process.LaunchOptions{
		Name: "actor", Path: executable(t), RunDir: run, Confine: &process.Confine{Writes: []string{below}},
	})
	if err == nil {
		p.Kill()
	}
	if sdk.KindOf(err) != sdk.InvalidArgument || !contains(err.Error(), below, "actor") {
		t.Errorf("%v", err)
	}
	empty(t, run)
}

// A script is executed by its path, wherever that is.
func TestAScriptIsConfinedToo(t *testing.T) {
	path := script(t, "exec "+executable(t))
	p, err := process.Launch(t.Context(), process.LaunchOptions{
		Name: "actor", Path: path, RunDir: runDir(t), Confine: &process.Confine{Reads: []string{filepath.Dir(executable(t))}},
		Env: map[string]string{"GORACE": "atexit_sleep_ms=0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	if applied := p.Applied(); !applied.Confined || applied.Sealed {
		t.Errorf("applied %+v", applied)
	}
}

// Whoever is asked what he is does nothing else.
func TestDescribeIsConfined(t *testing.T) {
	written := filepath.Join(t.TempDir(), "written")
	path := put(t, filepath.Join(passable(t), "sly"), "#!/bin/sh\necho x > "+written+"\necho '{\"name\":\"'$(id -u)'\"}'\n")
	manifest, err := process.Describe(t.Context(), path, "")
	want := strconv.Itoa(os.Geteuid())
	if want == "0" {
		want = strconv.Itoa(nobody)
	}
	if err != nil || manifest.Name != want {
		t.Fatalf("%+v, %v", manifest, err)
	}
	if _, err := os.Stat(written); !os.IsNotExist(err) {
		t.Errorf("it wrote a file: %v", err)
	}
}
