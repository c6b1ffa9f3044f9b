package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// bin is the folder of the programs, built once for all tests.
var bin string

func TestMain(m *testing.M) {
	status := func() int {
		dir, err := os.MkdirTemp("", "islands-e2e-")
		if err != nil {
			return fail(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		bin = dir
		// Most tests wait for most of their time, for timers and for what processes do.
		flag.Parse()
		if at := flag.Lookup("test.parallel"); at != nil && at.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
			if err := at.Value.Set(strconv.Itoa(2 * runtime.GOMAXPROCS(0))); err != nil {
				return fail(err)
			}
		}
		if err := build(dir); err != nil {
			return fail(err)
		}
		for _, dir := range []string{dir, filepath.Join(dir, "plugins")} { // Some hosts are of another user.
			if err := os.Chmod(dir, 0o755); err != nil {
				return fail(err)
			}
		}
		status := m.Run()
		if err := goleak.Find(); err != nil && status == 0 {
			return fail(err)
		}
		return status
	}()
	os.Exit(status)
}

func fail(err error) int {
	_, _ = fmt.Fprintln(os.Stderr, err)
	return 1
}

// build makes every program, without symbols, as the Makefile does; those of the project itself with the race detector
// where the tests run at length. What a limit of memory is tried on goes without it, because it takes more than any limit.
func build(dir string) error {
	plugins := filepath.Join(dir, "plugins")
	if err := os.MkdirAll(plugins, 0o700); err != nil {
		return err
	}
	// The examples that are islands are modules of their own.
	root, err := filepath.Abs("../../..")
	if err != nil {
		return err
	}
	modules, err := filepath.Glob(filepath.Join(root, "examples", "*", "go.mod"))
	if err != nil {
		return err
	}
	for _, module := range modules {
		if err := compile(filepath.Dir(module), races, "-o", plugins+"/", "."); err != nil {
			return err
		}
	}
	for _, args := range [][]string{
		{"-o", filepath.Join(dir, "islands"), "./host"},
		{"-o", plugins + "/", "./plugins/..."},
		{"-o", filepath.Join(dir, "marketsim"), "./examples/marketsim"},
		{"-o", plugins + "/", "./host/internal/e2e/testdata/trouble", "./sdk/process/testdata/raw"},
	} {
		what := args[len(args)-1]
		if err := compile(root, races && !strings.Contains(what, "marketsim") && !strings.Contains(what, "testdata"), args...); err != nil {
			return err
		}
	}
	return nil
}

// compile runs go build in a module.
func compile(dir string, races bool, args ...string) error {
	flags, cgo := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w"}, "0"
	if races {
		flags, cgo = append(flags, "-race"), "1"
	}
	cmd := exec.Command("go", append(flags, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %v: %w\n%s", args, err, out)
	}
	return nil
}

// program is a process that a test started.
type program struct {
	cmd   *exec.Cmd
	done  chan struct{}
	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed and replaced with each line
}

// asUser is the variable with the number of the user that a program is to run as, where that is another than that of the
// tests.
const asUser = "E2E_USER"

// launch starts a program and collects its lines. It is killed when the test ends, unless it has ended before.
func launch(t *testing.T, env map[string]string, name string, args ...string) *program {
	t.Helper()
	p := &program{cmd: exec.Command(filepath.Join(bin, name), args...), done: make(chan struct{}), more: make(chan struct{})}
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	for k, v := range env {
		p.cmd.Env = append(p.cmd.Env, k+"="+v)
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if user, err := strconv.ParseUint(env[asUser], 10, 32); err == nil {
		p.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = write, write
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	var reading sync.WaitGroup
	reading.Go(func() {
		for lines := bufio.NewReaderSize(read, 1<<20); ; {
			piece, err := lines.ReadSlice('\n')
			line := strings.TrimRight(string(piece), "\r\n")
			for long := err; errors.Is(long, bufio.ErrBufferFull); { // A program that is not read would wait.
				_, long = lines.ReadSlice('\n')
			}
			if line != "" {
				p.mu.Lock()
				p.lines = append(p.lines, line)
				close(p.more)
				p.more = make(chan struct{})
				p.mu.Unlock()
			}
			if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
				return
			}
		}
	})
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		_ = read.SetReadDeadline(time.Now().Add(time.Second))
		reading.Wait()
		_ = read.Close()
		if races := p.said("DATA RACE"); races > 0 {
			t.Errorf("%s and what it started had %d data races", name, races)
		}
		if t.Failed() {
			said := slices.DeleteFunc(p.tail(300), func(line string) bool { return strings.Contains(line, "completed successfully") })
			t.Logf("%s said:\n%s", name, strings.Join(said, "\n"))
		}
	})
	return p
}

func (p *program) tail(n int) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.lines[max(0, len(p.lines)-n):]...)
}

// says waits until a line holds every one of the texts and returns it.
func (p *program) says(t *testing.T, texts ...string) string {
	t.Helper()
	deadline := time.After(time.Duration(scaled(20, 90)) * time.Second)
	for from := 0; ; {
		p.mu.Lock()
		lines, more := p.lines[from:], p.more
		from = len(p.lines)
		p.mu.Unlock()
		for _, line := range lines {
			if holdsAll(line, texts) {
				return line
			}
		}
		select {
		case <-more:
		case <-p.done:
			select {
			case <-more:
			case <-time.After(200 * time.Millisecond):
				t.Fatalf("ended without saying %q:\n%s", texts, strings.Join(p.tail(40), "\n"))
			}
		case <-deadline:
			t.Fatalf("did not say %q:\n%s", texts, strings.Join(p.tail(40), "\n"))
		}
	}
}

func holdsAll(line string, texts []string) bool {
	for _, text := range texts {
		if !strings.Contains(line, text) {
			return false
		}
	}
	return true
}

// stop ends a program by SIGTERM and returns its exit status.
func (p *program) stop(t *testing.T) int {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(time.Duration(scaled(20, 60)) * time.Second):
		t.Fatal("did not stop in time after SIGTERM")
	}
	return p.cmd.ProcessState.ExitCode()
}

// client asks without keeping connections, so that a host that was killed leaves nothing half-open behind.
var client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// reply is an answer of the host or the market.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// json decodes the body into an object.
func (r reply) json(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(r.body, &v); err != nil {
		t.Fatalf("%v in %s", err, r.body)
	}
	return v
}

// at walks into an object by a path such as "provenance.quote.source".
func at(t *testing.T, v any, path string) any {
	t.Helper()
	for key := range strings.SplitSeq(path, ".") {
		object, ok := v.(map[string]any)
		if !ok {
			t.Fatalf("no %q on the way to %q", key, path)
		}
		if v, ok = object[key]; !ok {
			t.Fatalf("no key %q on the way to %q; there are %v", key, path, keysOf(object))
		}
	}
	return v
}

func keysOf(m map[string]any) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}

func ask(ctx context.Context, method, url string, body []byte) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, text}, err
}

// market is a simulated market.
type market struct {
	*program
	url string
	env map[string]string
}

func startMarket(t *testing.T) *market {
	t.Helper()
	p := launch(t, nil, "marketsim", "--listen", "127.0.0.1:0")
	line := p.says(t, "listening on ")
	_, url, _ := strings.Cut(line, "listening on ")
	m := &market{program: p, url: strings.TrimSpace(url)}
	r, err := ask(t.Context(), http.MethodGet, m.url+"/_sim/env", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(r.body, &m.env); err != nil {
		t.Fatal(err)
	}
	return m
}

// fault switches faults on.
func (m *market) fault(t *testing.T, faults string) {
	t.Helper()
	if r, err := ask(t.Context(), http.MethodPost, m.url+"/_sim/faults", []byte(faults)); err != nil || r.status != http.StatusOK {
		t.Fatalf("%v, %s", err, r.body)
	}
}

// heal switches all faults off.
func (m *market) heal(t *testing.T) {
	t.Helper()
	if _, err := ask(t.Context(), http.MethodDelete, m.url+"/_sim/faults", nil); err != nil {
		t.Fatal(err)
	}
}

// requests returns the calls by route since the last time it was asked.
func (m *market) requests(t *testing.T) map[string]int {
	t.Helper()
	r, err := ask(t.Context(), http.MethodGet, m.url+"/_sim/requests", nil)
	if err != nil {
		t.Fatal(err)
	}
	var calls map[string]int
	if err := json.Unmarshal(r.body, &calls); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t.Context(), http.MethodDelete, m.url+"/_sim/requests", nil); err != nil {
		t.Fatal(err)
	}
	return calls
}

// host is a running host.
type host struct {
	*program
	url  string
	data string
	env  map[string]string
}

// startHost starts a host with the shipped configuration, unless env names another with ISLANDS_CONFIG, on a data folder
// of its own, unless env names one.
func startHost(t *testing.T, m *market, env map[string]string) *host {
	t.Helper()
	h := &host{env: map[string]string{"ISLANDS_LISTEN": "127.0.0.1:0", "LOG_FORMAT": "json", "LOG_LEVEL": "info"}}
	if m != nil {
		for k, v := range m.env {
			h.env[k] = v
		}
	}
	for k, v := range env {
		h.env[k] = v
	}
	if h.env["ISLANDS_DATA_DIR"] == "" {
		h.env["ISLANDS_DATA_DIR"] = dataDir(t)
	}
	h.data = h.env["ISLANDS_DATA_DIR"]
	h.program = launch(t, h.env, "islands", "run", "--config", h.config())
	var line struct {
		URL string `json:"url"`
	}
	if err := json.Unmarshal([]byte(h.says(t, `"@message":"ready"`)), &line); err != nil {
		t.Fatal(err)
	}
	h.url = line.URL
	return h
}

func (h *host) config() string {
	if path := h.env["ISLANDS_CONFIG"]; path != "" {
		return path
	}
	return "../../../islands.hcl"
}

// edited writes the shipped configuration down with a change and returns its path.
func edited(t *testing.T, edit func(text string) string) string {
	t.Helper()
	text, err := os.ReadFile("../../../islands.hcl")
	if err != nil {
		t.Fatal(err)
	}
	changed := edit(string(text))
	if changed == string(text) {
		t.Fatal("the change does not fit the shipped configuration any more")
	}
	path := filepath.Join(t.TempDir(), "islands.hcl")
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// withoutBroadcast takes the live feed, which stands last, out of a configuration.
func withoutBroadcast(text string) string {
	before, _, _ := strings.Cut(text, "\nbroadcast {")
	return before + "\n"
}

// dataDir is a folder with a name short enough for a socket below it.
func dataDir(t *testing.T) string {
	t.Helper()
	parent := os.Getenv("TMPDIR")
	if len(parent) > 30 {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "isl") //nolint:usetesting // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// get asks the host.
func (h *host) get(t *testing.T, path string) reply {
	t.Helper()
	r, err := ask(t.Context(), http.MethodGet, h.url+path, nil)
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	return r
}

// ok asks the host and wants a 200.
func (h *host) ok(t *testing.T, path string) reply {
	t.Helper()
	r := h.get(t, path)
	if r.status != http.StatusOK {
		t.Fatalf("GET %s: %d %s", path, r.status, r.body)
	}
	return r
}

// cli runs the command line tool against the host and returns what it prints.
func (h *host) cli(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "islands"), append(args, "--config", h.config())...)
	for k, v := range h.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("islands %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// pids returns the process of each running island by name.
func (h *host) pids(t *testing.T) map[string]int {
	t.Helper()
	var status struct {
		Islands []struct {
			Name string `json:"name"`
			PID  int    `json:"pid"`
		} `json:"islands"`
	}
	if err := json.Unmarshal([]byte(h.cli(t, "status", "--json")), &status); err != nil {
		t.Fatal(err)
	}
	pids := map[string]int{}
	for _, island := range status.Islands {
		if island.PID != 0 {
			pids[island.Name] = island.PID
		}
	}
	return pids
}
