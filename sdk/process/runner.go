package process

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin/runner"
)

// islandRunner starts an island's process for go-plugin and sees it end. It owns the pipes and the process group.
type islandRunner struct {
	cmd      *exec.Cmd
	flood    *flood   // takes what it writes to the log
	stdout   *os.File // read by go-plugin
	stderr   *os.File // read by us
	lifeline *os.File // closed when the process is gone

	name  string
	image *Image
	// debugger starts the image, if there is one, and preamble is what that prints.
	debugger []string
	preamble *preamble
	limits   Limits
	groups   *Cgroups
	group    *cgroup // nil for that of the host
	reach    *files  // nil for whatever the user may
	// user is who the process runs as, 0 for the host's user. It has these folders open then, the first of which is that of
	// its socket, which really is socketDir.
	user      uint32
	folders   []*os.File
	socketDir string
	// applied is how the process was started.
	applied Applied

	// onProcess is told of the process, and gone when its group is; nil for nobody.
	onProcess func(pid int) (gone func())
	gone      func()

	started time.Time
	tail    tail
	stacks  stacks
	read    sync.WaitGroup // the reader of stderr

	ended chan struct{} // closed when exit is set and the process group is gone
	exit  Exit
	// asked is set before the process is ended, and forsaken before a debugger is whose program is gone though nobody had asked.
	asked, forsaken atomic.Bool
}

var _ runner.Runner = (*islandRunner)(nil)

// newRunner takes a command that go-plugin has filled with its environment, and prepares it for an island, which has that
// folder for its socket.
func newRunner(cmd *exec.Cmd, image *Image, reach *files, dir string, flood *flood, opts LaunchOptions) *islandRunner {
	cmd.Args, cmd.Stdin = []string{opts.Path}, nil // So that a list of processes shows its path.
	var own []string
	r := &islandRunner{
		cmd: cmd, flood: flood, name: opts.Name, image: image, limits: opts.Limits, groups: opts.Cgroups, reach: reach, ended: make(chan struct{}),
		onProcess: opts.OnProcess,
		applied:   Applied{SHA256: image.SHA256(), Sealed: image.Unsealed() == "", Unsealed: image.Unsealed()},
	}
	if r.debugger = opts.Debugger; len(r.debugger) > 0 {
		r.preamble = &preamble{flood: flood, hide: opts.Redact}
		r.applied.Debugger, r.applied.Sealed, r.applied.Unsealed = slices.Clone(r.debugger), false, "a debugger opens it by its name"
		cmd.Env = append(cmd.Env, envDebugged+"=1")
		ownSession(cmd) // Debuggers give what they start a group of its own.
	} else {
		ownGroup(cmd)
	}
	if reach != nil {
		temporary := filepath.Join(dir, temporaryName)
		r.applied.Readable, r.applied.Writable = reach.reads, reach.writes[:len(reach.writes)-1]
		r.applied.Exposed = reach.exposed(slices.Concat(opts.Confine.Private, []string{opts.RunDir}))
		if opts.Confine.User != 0 {
			if err := r.becomes(opts.Confine.User, temporary); err != nil {
				r.applied.NotOwnUser = err.Error()
			} else {
				temporary = handed(temporaryFD)
			}
		}
		own = []string{"TMPDIR=" + temporary}
	} else if opts.Confine != nil && opts.Confine.User != 0 {
		r.applied.NotOwnUser = mayBecome().Error()
	}
	cmd.Env = slices.Concat(environment(opts, own...), opts.Limits.environment(), cmd.Env)
	return r
}

// Numbers of the files that an island is handed.
const (
	lifelineFD  = 3
	socketFD    = 4 // the folder of its socket
	temporaryFD = 5 // the folder for its temporary files
)

// becomes has the process run as another user. It cannot get to the folder of its socket, which lies among those of others,
// and so is handed it open, as is the folder for its temporary files.
func (r *islandRunner) becomes(user uint32, temporary string) error {
	if err := mayBecome(); err != nil {
		return err
	}
	at := slices.IndexFunc(r.cmd.Env, func(v string) bool { return strings.HasPrefix(v, envSocketDir+"=") })
	if at < 0 {
		return errors.New("go-plugin names no folder for the socket")
	}
	socket := strings.TrimPrefix(r.cmd.Env[at], envSocketDir+"=")
	if err := r.reach.settle(user, r.image, socket, temporary); err != nil {
		return err
	}
	for _, path := range []string{socket, temporary} {
		folder, err := os.Open(path)
		if err != nil {
			return errors.Join(err, r.takeBack())
		}
		r.folders = append(r.folders, folder)
	}
	r.socketDir, r.cmd.Env[at] = socket, envSocketDir+"="+handed(socketFD)
	r.user = user
	credentials(r.cmd.SysProcAttr, user)
	return nil
}

// takeBack closes the folders that were opened for the process.
func (r *islandRunner) takeBack() error {
	var errs []error
	for _, folder := range r.folders {
		errs = append(errs, folder.Close())
	}
	r.folders = nil
	return errors.Join(errs...)
}

// Start has nothing left to do: Launch starts the process before go-plugin sees it, so that it can be killed while
// go-plugin, under its lock, waits for the handshake.
func (r *islandRunner) Start(context.Context) error { return nil }

// start starts the process, the reader of its standard error, and the goroutine that waits for its end.
func (r *islandRunner) start() (err error) {
	var files []*os.File
	defer func() {
		if err != nil {
			for _, f := range files {
				_ = f.Close()
			}
			_ = r.takeBack()
		}
	}()
	pipe := func() (read, write *os.File) {
		if err != nil {
			return nil, nil
		}
		read, write, err = os.Pipe()
		files = append(files, read, write)
		return read, write
	}
	stdout, childStdout := pipe()
	stderr, childStderr := pipe()
	childLifeline, lifeline := pipe()
	if err != nil {
		return err
	}
	r.stdout, r.stderr, r.lifeline = stdout, stderr, lifeline
	r.cmd.Stdout, r.cmd.Stderr = childStdout, childStderr
	r.cmd.ExtraFiles = append([]*os.File{childLifeline}, r.folders...)
	if r.user != 0 { // So that it can open what it has by its name, such as /dev/stderr.
		_ = childStdout.Chown(int(r.user), int(r.user))
		_ = childStderr.Chown(int(r.user), int(r.user))
	}
	r.image.run(r.cmd)
	if len(r.debugger) > 0 {
		if err = underDebugger(r.cmd, r.debugger, r.image.Path()); err != nil {
			return err
		}
	}
	group, why := r.groups.group(r.name, r.limits)
	apart, err := start(r.cmd, r.reach, group, r.limits, r.ended)
	_ = r.takeBack() // The process has its own.
	group.placed()
	if err != nil {
		group.remove()
		return err
	}
	r.joined(group, why, apart.groupless)
	if apart.userless != "" {
		r.applied.NotOwnUser, r.user = apart.userless, 0
	}
	r.applied.User, r.applied.OwnUser = userOf(r.user), r.user != 0
	r.applied.Isolated, r.applied.NotIsolated = apart.notIsolated == "", apart.notIsolated
	r.applied.Confined, r.applied.Unconfined = apart.unconfined == "", apart.unconfined
	if !r.applied.Confined {
		r.applied.Readable, r.applied.Writable, r.applied.Exposed = nil, nil, nil
	}
	r.applied.MemoryBytes, r.applied.Processors, r.applied.Files = r.limits.Memory, r.limits.Processors, r.limits.Files
	r.applied.Missing = apart.missing
	for _, f := range []*os.File{childStdout, childStderr, childLifeline} {
		_ = f.Close()
	}
	r.started = time.Now()
	r.read.Go(func() {
		readLines(io.TeeReader(r.stderr, &r.tail), func(line []byte) {
			r.stacks.line(line)
			logLine(r.flood, line)
		})
	})
	if r.onProcess != nil {
		r.gone = r.onProcess(r.cmd.Process.Pid)
	}
	go r.wait()
	return nil
}

// wait sees the process end and clears up after it.
func (r *islandRunner) wait() {
	defer close(r.ended)
	state, err := r.cmd.Process.Wait()
	r.exit = Exit{At: time.Now(), Uptime: time.Since(r.started), Code: -1}
	if err == nil {
		r.exit.Code = state.ExitCode()
		r.exit.Signal = signalOf(state)
	}
	if r.forsaken.Load() {
		r.exit.Code, r.exit.Signal, r.exit.Forsaken = -1, "", true
	}
	// Grandchildren would hold the pipes open, and go on without anyone who knows of them.
	r.killAll()
	if r.gone != nil {
		r.gone()
	}
	_ = r.lifeline.Close()
	// Reading goes on until the pipes are empty; one who still holds them open has left the group.
	deadline := time.Now().Add(drainGrace)
	_ = r.stderr.SetReadDeadline(deadline)
	_ = r.stdout.SetReadDeadline(deadline)
	r.read.Wait()
	_ = r.stderr.Close()
	r.exit.Stderr = r.tail.String()
	if r.exit.Code != 0 {
		r.exit.Stack, r.exit.OutOfMemory = r.stacks.String(), r.stacks.starved() || r.group.starved()
	}
	r.group.remove()
}

// userOf is the user that a process runs as, when it is another than the host's.
func userOf(other uint32) int {
	if other != 0 {
		return int(other)
	}
	return os.Geteuid()
}

// joined notes the control group that the process is in, or why it is in the host's.
func (r *islandRunner) joined(group *cgroup, why error, groupless string) {
	switch {
	case why != nil:
		r.applied.NoCgroup = why.Error()
	case groupless != "":
		r.applied.NoCgroup = groupless
		group.remove()
	default:
		r.group, r.applied.Cgroup = group, group.String()
	}
}

// Wait returns when the process is gone.
func (r *islandRunner) Wait(context.Context) error {
	<-r.ended
	return nil
}

// Kill ends the process and its group.
func (r *islandRunner) Kill(context.Context) error {
	r.kill()
	return nil
}

// kill ends the process and its group, unless they are gone: their number may belong to others by now.
func (r *islandRunner) kill() {
	select {
	case <-r.ended:
	default:
		r.asked.Store(true)
		r.killAll()
	}
}

// killAll ends the process and what it has started.
func (r *islandRunner) killAll() {
	killGroup(r.cmd.Process.Pid)
	r.group.kill()
	if len(r.debugger) > 0 {
		killSession(r.cmd.Process.Pid)
	}
}

// interrogate has the process write its stacks and end, and ends it when it does not. One that was stopped goes on for that.
func (r *islandRunner) interrogate(grace time.Duration) {
	select {
	case <-r.ended:
		return
	default:
	}
	r.asked.Store(true)
	askForStacks(r.cmd.Process.Pid)
	patience := time.NewTimer(grace)
	defer patience.Stop()
	select {
	case <-r.ended:
	case <-patience.C:
		r.kill()
	}
}

// Stdout is where go-plugin reads the handshake.
func (r *islandRunner) Stdout() io.ReadCloser {
	short := &shortLines{File: r.stdout}
	if r.preamble == nil {
		return short
	}
	r.preamble.lines, r.preamble.Closer = bufio.NewReaderSize(short, 2*maxShake), short
	return r.preamble
}

// Stderr shows go-plugin nothing: its log parser is not safe with lines it does not expect.
func (r *islandRunner) Stderr() io.ReadCloser { return io.NopCloser(bytes.NewReader(nil)) }

// Name is the path of the binary.
func (r *islandRunner) Name() string { return r.image.Path() }

// ID is the process' number.
func (r *islandRunner) ID() string { return strconv.Itoa(r.cmd.Process.Pid) }

// Diagnose leaves the explaining to Launch.
func (r *islandRunner) Diagnose(context.Context) string { return "" }

// diagnose tells why there was no handshake, once the process has ended.
func (r *islandRunner) diagnose() string {
	switch {
	case r.exit.Signal == "killed":
		return "it printed something else than a handshake, or nothing: islands call process.Serve before they print"
	case r.exit.Signal != "":
		return "it was ended by the signal " + r.exit.Signal
	default:
		return "it exited with status " + strconv.Itoa(r.exit.Code)
	}
}

// PluginToHost keeps addresses as they are, because both sides share one machine, but for a folder that the process has under
// another name.
func (r *islandRunner) PluginToHost(network, address string) (string, string, error) {
	if name, found := strings.CutPrefix(address, handed(socketFD)+"/"); found && r.socketDir != "" {
		if filepath.Base(name) != name {
			return "", "", fmt.Errorf("the socket %s is not in the folder for it", address)
		}
		address = filepath.Join(r.socketDir, name)
	}
	return network, address, nil
}

// HostToPlugin keeps addresses as they are.
func (r *islandRunner) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// allowedEnv is what an island inherits from the host's environment: what programs need to find their way, and nothing
// that could be a secret.
var allowedEnv = []string{
	"PATH", "HOME", "TZ", "LANG", "TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy",
	"no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "GODEBUG", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL",
	"OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_SDK_DISABLED",
}

// environment is what an island sees: the allowed part of the host's, what is its own, its own block's, and what Serve needs.
func environment(opts LaunchOptions, own ...string) []string {
	var env []string
	for _, name := range allowedEnv {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	env = append(env, own...)
	for name, value := range opts.Env {
		env = append(env, name+"="+value)
	}
	return append(env, fmt.Sprintf("%s=%d", envLifeline, lifelineFD), envLogLevel+"="+levelName(opts.Logger))
}

// levelName is the lowest level that a logger lets through, in slog's words.
func levelName(logger hclog.Logger) string {
	switch logger.GetLevel() {
	case hclog.Trace, hclog.Debug:
		return "DEBUG"
	case hclog.Warn:
		return "WARN"
	case hclog.Error, hclog.Off:
		return "ERROR"
	default:
		return "INFO"
	}
}
