package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/test/bufconn"

	"github.com/service-islands/islands/sdk"
)

// defaultStartTimeout bounds exec to handshake.
const defaultStartTimeout = 10 * time.Second

// maxRunDir is how long a RunDir may be: the longest path below it, with names that this package and go-plugin choose,
// has to fit into the 108 bytes that Linux gives the address of a socket. Beyond them an island ends without a word.
const maxRunDir = 107 - len("/i0123456789/plugin-dir0123456789/plugin0123456789")

// controlTimeouts bounds the calls that go-plugin makes on its own account, which have no deadline of theirs.
const controlTimeouts = `{"methodConfig":[{"name":[{"service":"plugin.GRPCController"},{"service":"grpc.health.v1.Health"}],"timeout":"2s"}]}`

// dialOptions are the host's side of the connection.
func dialOptions(debugged bool) []grpc.DialOption {
	out := []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageSize), grpc.MaxCallSendMsgSize(maxMessageSize)),
		grpc.WithDefaultServiceConfig(controlTimeouts),
	}
	if !debugged {
		out = append(out, grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 10 * time.Second, Timeout: 3 * time.Second, PermitWithoutStream: true,
		}))
	}
	return out
}

// Process is an island that runs.
type Process struct {
	client *plugin.Client
	runner *islandRunner
	island *remote
	conn   grpc.ClientConnInterface
	dir    string // holds the socket; removed with the process
	socket string
	// socketInfo is the socket as it was when the island had shaken hands.
	socketInfo os.FileInfo
	done       chan struct{}
	// watching is that for the end of a program that a debugger has started.
	watching sync.WaitGroup

	stop    sync.Once
	stopErr error
	clear   sync.Once
}

// Launch starts an island and returns once it has answered with its manifest. It does not initialize it. The context
// bounds the start alone.
//
// Errors: InvalidArgument for a binary that cannot be one (missing, not executable, another checksum, another
// protocol), which trying again does not mend; Unavailable for a process that ended or did not answer in time. Where there was
// a process, the error is a *StartError, which has how it ended and what it wrote.
func Launch(ctx context.Context, opts LaunchOptions) (*Process, error) {
	if opts.Logger == nil {
		opts.Logger = hclog.NewNullLogger()
	}
	if opts.StartTimeout <= 0 {
		opts.StartTimeout = defaultStartTimeout
	}
	image := opts.Image
	if image == nil {
		sealed, err := Seal(opts.Path, opts.SHA256)
		if err != nil {
			return nil, err
		}
		defer sealed.Close() // The process holds on to what it runs.
		image = sealed
	}
	if len(opts.RunDir) > maxRunDir {
		return nil, sdk.Errorf(sdk.InvalidArgument, "the folder %s is too long for the sockets of islands: %d bytes, at most %d",
			opts.RunDir, len(opts.RunDir), maxRunDir)
	}
	dir, err := os.MkdirTemp(opts.RunDir, "i")
	if err != nil {
		return nil, sdk.Errorf(sdk.Unavailable, "start %s: %w", opts.Path, err)
	}
	reach, err := opts.Confine.files(dir, &opts)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	mutualTLS, certificate, err := oneTimeCertificate()
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, sdk.Errorf(sdk.Unavailable, "start %s: make a certificate: %w", opts.Path, err)
	}
	p := &Process{dir: dir, done: make(chan struct{})}
	started := make(chan *islandRunner, 1)
	flood := newFlood(opts.Logger)
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  handshake(),
		Plugins:          plugin.PluginSet{pluginName: &islandPlugin{}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		TLSConfig:        mutualTLS, // The island's certificate, from its handshake, is added to it.
		SkipHostEnv:      true,
		StartTimeout:     opts.StartTimeout,
		Logger:           hclog.NewNullLogger(),
		SyncStdout:       &printed{flood: flood},
		SyncStderr:       &printed{flood: flood},
		GRPCDialOptions:  dialOptions(len(opts.Debugger) > 0),
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: dir},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
			cmd.Env = append(cmd.Env, envClientCert+"="+string(certificate))
			r := newRunner(cmd, image, reach, dir, flood, opts)
			if err := r.start(); err != nil {
				return nil, err
			}
			started <- r
			return r, nil
		},
	})
	conn, err := p.connect(ctx, started)
	if err == nil {
		p.conn = conn
		p.island = newRemote(opts.Name, opts.Observer, opts.Redact, conn)
		var manifest sdk.Manifest
		callCtx, cancel := context.WithTimeout(ctx, opts.StartTimeout)
		manifest, err = p.island.fetchManifest(callCtx)
		cancel()
		p.island.manifest = manifest
	}
	if err == nil {
		p.socket, p.socketInfo, err = socketIn(dir)
	}
	if err != nil {
		return nil, p.abandon(opts.Path, err)
	}
	if conn, ok := conn.(*grpc.ClientConn); ok && len(opts.Debugger) > 0 {
		outliving := context.WithoutCancel(ctx)
		p.watching.Go(func() { p.watchProgram(outliving, conn, opts.Logger) })
	}
	go p.reap()
	return p, nil
}

// connect starts the process and shakes hands. When the context ends first, the process is killed, which also ends
// go-plugin's wait for it.
func (p *Process) connect(ctx context.Context, started <-chan *islandRunner) (grpc.ClientConnInterface, error) {
	type result struct {
		conn grpc.ClientConnInterface
		err  error
	}
	connected := make(chan result, 1)
	go func() {
		conn, err := p.dispense()
		connected <- result{conn, err}
	}()
	select {
	case p.runner = <-started:
	case r := <-connected: // not even started
		select {
		case p.runner = <-started:
		default:
		}
		return r.conn, r.err
	}
	select {
	case r := <-connected:
		return r.conn, r.err
	case <-ctx.Done():
		p.runner.kill()
		<-connected
		return nil, ctx.Err()
	}
}

// dispense starts the process through go-plugin and returns the connection to it.
func (p *Process) dispense() (grpc.ClientConnInterface, error) {
	protocol, err := p.client.Client()
	if err != nil {
		return nil, err
	}
	raw, err := protocol.Dispense(pluginName)
	if err != nil {
		return nil, err
	}
	return raw.(grpc.ClientConnInterface), nil
}

// abandon clears up after a launch that did not succeed and returns why.
func (p *Process) abandon(path string, cause error) error {
	if p.runner != nil {
		p.runner.kill()
		<-p.runner.ended
	}
	p.release()
	err := p.explain(path, cause)
	if p.runner == nil {
		return err
	}
	return &StartError{Exit: p.runner.exit, Err: err}
}

// StartError is the error of a Launch whose process had been started, and is gone.
type StartError struct {
	// Exit is how the process ended: by itself, or killed because of the error.
	Exit Exit
	// Err says why there was no island; it has the kind.
	Err error
}

// Error is that of Err.
func (e *StartError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *StartError) Unwrap() error { return e.Err }

// explain puts why a launch did not succeed into words that say what to do.
func (p *Process) explain(path string, cause error) error {
	switch text := cause.Error(); {
	case strings.Contains(text, "incompatible API version"):
		return otherMajor(path, cause)
	case strings.Contains(text, "Unrecognized remote plugin message"):
		return sdk.Errorf(sdk.Unavailable, "%s did not shake hands: %s%s", path, p.runner.diagnose(), p.lastWords())
	case errors.Is(cause, context.Canceled):
		return sdk.Errorf(sdk.Canceled, "the start of %s was given up: %w", path, cause)
	case strings.Contains(text, "timeout while waiting") && p.runner != nil && len(p.runner.debugger) > 0:
		return sdk.Errorf(sdk.Unavailable, "%s did not shake hands in time under %s, which has to start it without being told to, as dlv does with --continue%s",
			path, p.runner.debugger[0], p.lastWords())
	case p.runner == nil:
		return sdk.Errorf(sdk.InvalidArgument, "%s cannot be executed: %w", path, cause)
	default:
		return sdk.Errorf(sdk.Unavailable, "start %s: %w%s", path, cause, p.lastWords())
	}
}

// pluginVersion is how go-plugin tells the version of a handshake that it refuses.
var pluginVersion = regexp.MustCompile(`Plugin version: (\d+)`)

// otherMajor says of an island that shook hands with another major which side is to be upgraded, and how.
func otherMajor(path string, cause error) error {
	ours := sdk.Protocol{Major: sdk.ProtocolMajor, Minor: sdk.ProtocolMinor}
	if found := pluginVersion.FindStringSubmatch(cause.Error()); found != nil {
		if major, err := strconv.Atoi(found[1]); err == nil && major != ours.Major {
			return sdk.Errorf(sdk.InvalidArgument, "%s: %w", path, sdk.Protocol{Major: major}.Check(ours))
		}
	}
	return sdk.Errorf(sdk.InvalidArgument, "%s speaks another protocol major than this host, which speaks %d: upgrade the older of the two (%w)",
		path, sdk.ProtocolMajor, cause)
}

// lastWords is the end of what the process wrote to its standard error, for an error message.
func (p *Process) lastWords() string {
	const enough = 300
	if p.runner == nil {
		return ""
	}
	text := strings.TrimSpace(p.runner.exit.Stderr)
	if text == "" {
		return ""
	}
	if len(text) > enough {
		text = "…" + strings.ToValidUTF8(text[len(text)-enough:], "")
	}
	return "; it wrote: " + text
}

// reap clears up once the process has ended, whoever ended it.
func (p *Process) reap() {
	<-p.runner.ended
	p.release()
	p.watching.Wait()
	close(p.done)
}

// release ends go-plugin's goroutines, and the process if it still runs, and removes what they left. An island that was
// shut down exits when go-plugin asks it to, and is killed when it does not within four seconds.
func (p *Process) release() {
	p.clear.Do(func() {
		p.client.Kill()
		if p.runner != nil {
			_ = p.runner.stdout.Close()
			p.runner.flood.tell()
		}
		_ = os.RemoveAll(p.dir)
	})
}

// Island is the island's stand-in on this side. It answers Unavailable once the process has ended.
func (p *Process) Island() Island { return p.island }

// Manifest is what the running island says it is.
func (p *Process) Manifest() sdk.Manifest { return p.island.manifest }

// PID is the operating system's number of the process.
func (p *Process) PID() int { return p.runner.cmd.Process.Pid }

// Done is closed once the process has ended and nothing of it is left: no goroutine, no socket, no file.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit tells how the process ended. It may be asked after Done.
func (p *Process) Exit() Exit { return p.runner.exit }

// Stop calls the island's Shutdown, bounded by ctx, then ends the process and its group, and returns once Done is
// closed. The error is Shutdown's. It is safe to call twice and concurrently.
func (p *Process) Stop(ctx context.Context) error {
	p.stop.Do(func() {
		p.runner.asked.Store(true)
		p.stopErr = p.island.Shutdown(ctx)
		if p.stopErr != nil {
			p.runner.kill()
		}
		p.release()
	})
	<-p.done
	return p.stopErr
}

// Interrogate ends an island that hangs, and gives it up to grace to write the stacks of its goroutines first, which are
// in Exit then. It returns when Done is closed.
func (p *Process) Interrogate(grace time.Duration) {
	p.runner.interrogate(grace)
	<-p.done
}

// Intact reports what has become of the island's socket: nil while it is there. Without it the connection that stands goes
// on, but a lost one cannot be made again.
func (p *Process) Intact() error {
	info, err := os.Lstat(p.socket)
	if err == nil && os.SameFile(info, p.socketInfo) {
		return nil
	}
	return sdk.Errorf(sdk.Unavailable, "the socket %s is gone", p.socket)
}

// socketIn finds the socket that an island has made in its folder.
func socketIn(dir string) (path string, info os.FileInfo, err error) {
	err = filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.Type()&fs.ModeSocket != 0 {
			path = name
			info, err = entry.Info()
		}
		return err
	})
	if err == nil && path == "" && runtime.GOOS != "windows" { // Where sockets do not look like any.
		err = sdk.Errorf(sdk.Unavailable, "its socket is not in %s", dir)
	}
	return path, info, err
}

// Applied is how the process was really started.
func (p *Process) Applied() Applied {
	applied := p.runner.applied
	applied.DebuggerSaid = p.runner.preamble.said()
	return applied
}

// Kill ends the process and its group at once and returns when Done is closed.
func (p *Process) Kill() {
	p.runner.kill()
	<-p.done
}

// maxManifest bounds what describe may print.
const maxManifest = 1 << 20

// describeGrace bounds the reading of what a program has printed once it is gone: on a busy machine it may take a while until
// anybody reads, and only what the program left behind holds its output open longer.
const describeGrace = 5 * time.Second

// Describe runs `path describe` and returns the manifest, without starting the island. The file must have that SHA-256
// (lower-case hex) unless it is empty. Errors are InvalidArgument.
func Describe(ctx context.Context, path, wantSHA256 string) (sdk.Manifest, error) {
	image, err := Seal(path, wantSHA256)
	if err != nil {
		return sdk.Manifest{}, err
	}
	defer image.Close()
	ctx, cancel := context.WithTimeout(ctx, defaultStartTimeout)
	defer cancel()
	cmd := exec.Command(path, "describe") //nolint:noctx // Its group ends with the context.
	image.run(cmd)
	cmd.Env = environment(LaunchOptions{Logger: hclog.NewNullLogger()})
	cmd.WaitDelay = describeGrace
	ownGroup(cmd)
	var out, errs bounded
	cmd.Stdout, cmd.Stderr = &out, &errs
	// What is asked here is trusted no more than an island that runs, and needs less.
	image.asNobody(cmd.SysProcAttr)
	over := make(chan struct{})
	defer close(over)
	reach := &files{optional: append(slices.Clone(systemFolders), path)}
	if _, err = start(cmd, reach, nil, Limits{}, over); err == nil {
		err = waitFor(ctx, cmd)
	}
	if err != nil {
		return sdk.Manifest{}, sdk.Errorf(sdk.InvalidArgument, "%s describe: %w %s", path, err, strings.TrimSpace(errs.String()))
	}
	var manifest sdk.Manifest
	if err := json.Unmarshal(out.Bytes(), &manifest); err != nil || manifest.Name == "" {
		return sdk.Manifest{}, sdk.Errorf(sdk.InvalidArgument, "%s is not an island: what it prints for \"describe\" is not a manifest", path)
	}
	return manifest, nil
}

// waitFor waits for the end of a process, and ends it and its group when the context ends first.
func waitFor(ctx context.Context, cmd *exec.Cmd) error {
	killed := context.AfterFunc(ctx, func() { killGroup(cmd.Process.Pid) })
	err := cmd.Wait()
	if !killed() && err != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// bounded is a buffer that forgets what goes beyond maxManifest.
type bounded struct{ bytes.Buffer }

// Write keeps what fits.
func (b *bounded) Write(p []byte) (int, error) {
	_, _ = b.Buffer.Write(p[:min(len(p), max(0, maxManifest-b.Len()))])
	return len(p), nil
}

// Loopback serves a component in this process and returns its stand-in over a real gRPC connection in memory: the same
// translation, limits and errors as between processes. The function it returns ends both, without calling Shutdown.
func Loopback(manifest sdk.Manifest, island sdk.IslandComponent) (Island, func(), error) {
	served := newServed(manifest, island, slog.New(slog.DiscardHandler))
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(serverOptions(served)...)
	served.register(server)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener) // returns when stopped
	}()
	options := append(dialOptions(false), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	conn, err := grpc.NewClient("passthrough:///loopback", options...)
	if err != nil {
		server.Stop()
		<-ended
		return nil, nil, err
	}
	stop := func() {
		_ = conn.Close()
		server.Stop()
		<-ended
	}
	r := newRemote(manifest.Name, nil, nil, conn)
	ctx, cancel := context.WithTimeout(context.Background(), defaultStartTimeout)
	defer cancel()
	if r.manifest, err = r.fetchManifest(ctx); err != nil {
		stop()
		return nil, nil, err
	}
	return r, stop, nil
}
