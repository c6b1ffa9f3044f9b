package process

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin/runner"
)

// islandRunner starts an island's process for go-plugin and sees it end. It owns the pipes and the process group.
type islandRunner struct {
	cmd      *exec.Cmd
	logger   hclog.Logger
	stdout   *os.File // read by go-plugin
	stderr   *os.File // read by us
	lifeline *os.File // closed when the process is gone

	started time.Time
	tail    tail
	read    sync.WaitGroup // the reader of stderr

	ended chan struct{} // closed when exit is set and the process group is gone
	exit  Exit
}

var _ runner.Runner = (*islandRunner)(nil)

// newRunner takes a command that go-plugin has filled with its environment, and prepares it for an island.
func newRunner(cmd *exec.Cmd, opts LaunchOptions) *islandRunner {
	cmd.Path, cmd.Args, cmd.Stdin = opts.Path, []string{opts.Path}, nil
	cmd.Env = append(environment(opts), cmd.Env...)
	ownGroup(cmd)
	return &islandRunner{cmd: cmd, logger: opts.Logger, ended: make(chan struct{})}
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
	r.cmd.ExtraFiles = []*os.File{childLifeline}
	if err = r.cmd.Start(); err != nil {
		return err
	}
	for _, f := range []*os.File{childStdout, childStderr, childLifeline} {
		_ = f.Close()
	}
	r.started = time.Now()
	r.read.Go(func() {
		readLines(io.TeeReader(r.stderr, &r.tail), func(line []byte) { logLine(r.logger, line) })
	})
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
	// Grandchildren would hold the pipes open, and go on without anyone who knows of them.
	killGroup(r.cmd.Process.Pid)
	_ = r.lifeline.Close()
	// Reading goes on until the pipes are empty; one who still holds them open has left the group.
	deadline := time.Now().Add(drainGrace)
	_ = r.stderr.SetReadDeadline(deadline)
	_ = r.stdout.SetReadDeadline(deadline)
	r.read.Wait()
	_ = r.stderr.Close()
	r.exit.Stderr = r.tail.String()
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
		killGroup(r.cmd.Process.Pid)
	}
}

// Stdout is where go-plugin reads the handshake.
func (r *islandRunner) Stdout() io.ReadCloser { return r.stdout }

// Stderr shows go-plugin nothing: its log parser is not safe with lines it does not expect.
func (r *islandRunner) Stderr() io.ReadCloser { return io.NopCloser(bytes.NewReader(nil)) }

// Name is the path of the binary.
func (r *islandRunner) Name() string { return r.cmd.Path }

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

// PluginToHost keeps addresses as they are: both sides share one machine.
func (r *islandRunner) PluginToHost(network, address string) (string, string, error) {
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

// environment is what an island sees: the allowed part of the host's, its own block's, and what Serve needs.
func environment(opts LaunchOptions) []string {
	var env []string
	for _, name := range allowedEnv {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	for name, value := range opts.Env {
		env = append(env, name+"="+value)
	}
	return append(env, envLifeline+"=3", envLogLevel+"="+levelName(opts.Logger))
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
