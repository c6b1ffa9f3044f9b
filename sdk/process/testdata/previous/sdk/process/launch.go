package process

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
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
func dialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageSize), grpc.MaxCallSendMsgSize(maxMessageSize)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second, PermitWithoutStream: true}),
		grpc.WithDefaultServiceConfig(controlTimeouts),
	}
}

// Process is an island that runs.
type Process struct {
	client *plugin.Client
	runner *islandRunner
	island *remote
	dir    string // holds the socket; removed with the process
	done   chan struct{}

	stop    sync.Once
	stopErr error
	clear   sync.Once
}

// Launch starts an island and returns once it has answered with its manifest. It does not initialize it. The context
// bounds the start alone.
//
// Errors: InvalidArgument for a binary that cannot be one (missing, not executable, another checksum, another
// protocol), which trying again does not mend; Unavailable for a process that ended or did not answer in time.
func Launch(ctx context.Context, opts LaunchOptions) (*Process, error) {
	if opts.Logger == nil {
		opts.Logger = hclog.NewNullLogger()
	}
	if opts.StartTimeout <= 0 {
		opts.StartTimeout = defaultStartTimeout
	}
	if err := checkBinary(opts.Path, opts.SHA256); err != nil {
		return nil, err
	}
	if len(opts.RunDir) > maxRunDir {
		return nil, sdk.Errorf(sdk.InvalidArgument, "the folder %s is too long for the sockets of islands: %d bytes, at most %d",
			opts.RunDir, len(opts.RunDir), maxRunDir)
	}
	dir, err := os.MkdirTemp(opts.RunDir, "i")
	if err != nil {
		return nil, sdk.Errorf(sdk.Unavailable, "start %s: %w", opts.Path, err)
	}
	p := &Process{dir: dir, done: make(chan struct{})}
	started := make(chan *islandRunner, 1)
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  handshake(),
		Plugins:          plugin.PluginSet{pluginName: &islandPlugin{}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		StartTimeout:     opts.StartTimeout,
		Logger:           hclog.NewNullLogger(),
		SyncStdout:       &printed{logger: opts.Logger},
		SyncStderr:       &printed{logger: opts.Logger},
		GRPCDialOptions:  dialOptions(),
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: dir},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
			r := newRunner(cmd, opts)
			if err := r.start(); err != nil {
				return nil, err
			}
			started <- r
			return r, nil
		},
	})
	conn, err := p.connect(ctx, started)
	if err == nil {
		p.island = newRemote(opts.Name, opts.Observer, conn)
		var manifest sdk.Manifest
		callCtx, cancel := context.WithTimeout(ctx, opts.StartTimeout)
		manifest, err = p.island.fetchManifest(callCtx)
		cancel()
		p.island.manifest = manifest
	}
	if err != nil {
		return nil, p.abandon(opts.Path, err)
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

// abandon clears up after a launch that did not succeed and returns why, in words that say what to do.
func (p *Process) abandon(path string, cause error) error {
	if p.runner != nil {
		p.runner.kill()
		<-p.runner.ended
	}
	p.release()
	switch text := cause.Error(); {
	case strings.Contains(text, "incompatible API version"):
		return sdk.Errorf(sdk.InvalidArgument, "%s speaks another protocol major than this host, which speaks %d: upgrade the older of the two (%w)",
			path, sdk.ProtocolMajor, cause)
	case strings.Contains(text, "Unrecognized remote plugin message"):
		return sdk.Errorf(sdk.Unavailable, "%s did not shake hands: %s%s", path, p.runner.diagnose(), p.lastWords())
	case errors.Is(cause, context.Canceled):
		return sdk.Errorf(sdk.Canceled, "the start of %s was given up: %w", path, cause)
	case p.runner == nil:
		return sdk.Errorf(sdk.InvalidArgument, "%s cannot be executed: %w", path, cause)
	default:
		return sdk.Errorf(sdk.Unavailable, "start %s: %w%s", path, cause, p.lastWords())
	}
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
	close(p.done)
}

// release ends go-plugin's goroutines, and the process if it still runs, and removes what they left. An island that was
// shut down exits when go-plugin asks it to, and is killed when it does not within four seconds.
func (p *Process) release() {
	p.clear.Do(func() {
		p.client.Kill()
		if p.runner != nil {
			_ = p.runner.stdout.Close()
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
		p.stopErr = p.island.Shutdown(ctx)
		if p.stopErr != nil {
			p.runner.kill()
		}
		p.release()
	})
	<-p.done
	return p.stopErr
}

// Kill ends the process and its group at once and returns when Done is closed.
func (p *Process) Kill() {
	p.runner.kill()
	<-p.done
}

// checkBinary reports what keeps a file from being started as an island.
func checkBinary(path, wantSHA256 string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return sdk.Errorf(sdk.InvalidArgument, "there is no binary %s: build it, or correct \"binary\" in islands.hcl", path)
	case err != nil:
		return sdk.Errorf(sdk.InvalidArgument, "binary %s: %w", path, err)
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0:
		return sdk.Errorf(sdk.InvalidArgument, "%s is not an executable file", path)
	case wantSHA256 == "":
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return sdk.Errorf(sdk.InvalidArgument, "binary %s: %w", path, err)
	}
	defer func() { _ = file.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return sdk.Errorf(sdk.Unavailable, "read %s: %w", path, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != wantSHA256 {
		return sdk.Errorf(sdk.InvalidArgument, "%s has the sha256 %s, not %s: somebody changed it, or \"sha256\" in islands.hcl is out of date",
			path, got, wantSHA256)
	}
	return nil
}

// maxManifest bounds what describe may print.
const maxManifest = 1 << 20

// Describe runs `path describe` and returns the manifest, without starting the island. The file must have that SHA-256
// (lower-case hex) unless it is empty. Errors are InvalidArgument.
func Describe(ctx context.Context, path, wantSHA256 string) (sdk.Manifest, error) {
	if err := checkBinary(path, wantSHA256); err != nil {
		return sdk.Manifest{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, defaultStartTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "describe")
	cmd.Env = environment(LaunchOptions{Logger: hclog.NewNullLogger()})
	cmd.WaitDelay = drainGrace
	ownGroup(cmd)
	cmd.Cancel = func() error {
		killGroup(cmd.Process.Pid)
		return nil
	}
	var out, errs bounded
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return sdk.Manifest{}, sdk.Errorf(sdk.InvalidArgument, "%s describe: %w %s", path, err, strings.TrimSpace(errs.String()))
	}
	var manifest sdk.Manifest
	if err := json.Unmarshal(out.Bytes(), &manifest); err != nil || manifest.Name == "" {
		return sdk.Manifest{}, sdk.Errorf(sdk.InvalidArgument, "%s is not an island: what it prints for \"describe\" is not a manifest", path)
	}
	return manifest, nil
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
	options := append(dialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
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
	r := newRemote(manifest.Name, nil, conn)
	ctx, cancel := context.WithTimeout(context.Background(), defaultStartTimeout)
	defer cancel()
	if r.manifest, err = r.fetchManifest(ctx); err != nil {
		stop()
		return nil, nil, err
	}
	return r, stop, nil
}
