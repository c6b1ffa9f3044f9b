package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/service-islands/islands/sdk"
)

// The handshake: a host and an island that do not share it do not start. The version is the protocol's major.
const (
	cookieKey   = "SERVICE_ISLANDS_ISLAND"
	cookieValue = "f3a7c1b2-9d64-4c1e-8a55-2f6f0c7f1d90"
	pluginName  = "island"
)

func handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{ProtocolVersion: sdk.ProtocolMajor, MagicCookieKey: cookieKey, MagicCookieValue: cookieValue}
}

// Environment that Launch hands to an island beyond go-plugin's own.
const (
	envLifeline  = "ISLANDS_LIFELINE_FD" // file descriptor that ends when the host does
	envLogLevel  = "ISLANDS_LOG_LEVEL"   // lowest level worth sending: debug, info, warn, error
	envSocketDir = plugin.EnvUnixSocketDir
)

// maxMessageSize bounds a message in both directions.
const maxMessageSize = 16 << 20

// orphanGrace bounds an island's Shutdown when its host is gone.
const orphanGrace = 500 * time.Millisecond

// Serve runs an island in this process and returns when the host has ended it. It is the one statement in an island's
// main. Roles, reports and protocol in the manifest are filled in from the component.
//
// With the argument "describe" it prints the manifest as JSON and exits; started by anyone but a host it says what it
// is and exits.
func Serve(manifest sdk.Manifest, island sdk.IslandComponent) {
	manifest = manifest.Complete(island)
	switch {
	case len(os.Args) > 1:
		os.Exit(command(os.Stdout, os.Stderr, manifest, os.Args[1:])) //nolint:revive // Serve is an island's main
	case os.Getenv(cookieKey) != cookieValue:
		introduce(os.Stdout, manifest)
		return
	}
	// The logger keeps the real standard error: plugin.Serve puts a pipe in its place.
	logger := slog.New(&requestHandler{slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{
		Level: levelFromEnv(), ReplaceAttr: readableDuration,
	})})
	served := newServed(manifest, island, logger)
	// The host decides when an island ends, and drains it first; go-plugin ignores the interrupt only.
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP)
	watchLifeline(served)
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: handshake(),
		Plugins:         plugin.PluginSet{pluginName: &islandPlugin{served: served}},
		Logger:          hclog.NewNullLogger(),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, serverOptions(served)...)...)
		},
	})
}

// serverOptions are the island's side of the connection.
func serverOptions(s *served) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessageSize), grpc.MaxSendMsgSize(maxMessageSize),
		// Without this policy the host's keepalive is answered with "go away".
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.UnaryInterceptor(s.unary), grpc.StreamInterceptor(s.stream),
	}
}

// command answers a subcommand and returns the exit status.
func command(out, errs io.Writer, manifest sdk.Manifest, args []string) int {
	if len(args) != 1 || args[0] != "describe" {
		_, _ = fmt.Fprintf(errs, "%s: unknown arguments %q; the only one is \"describe\", which prints the manifest\n", manifest.Name, args)
		return 2
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(manifest); err != nil {
		_, _ = fmt.Fprintln(errs, err)
		return 1
	}
	return 0
}

// introduce says what the program is to somebody who started it by hand.
func introduce(out io.Writer, manifest sdk.Manifest) {
	_, _ = fmt.Fprintf(out, "%s %s: %s\nThis is an island of Service Islands. It does nothing by itself: name it in islands.hcl and start the host\n"+
		"with \"islands run\". \"%s describe\" prints its manifest.\n", manifest.Name, manifest.Version, manifest.Description, os.Args[0])
}

// watchLifeline ends the process once the host is gone: nobody would ever call it again. The goroutine lives as long as
// the process.
func watchLifeline(s *served) {
	fd, err := strconv.Atoi(os.Getenv(envLifeline))
	if err != nil {
		return
	}
	lifeline := os.NewFile(uintptr(fd), "lifeline")
	go func() {
		// Nothing is ever written, so any return means that the other end is closed.
		_, _ = lifeline.Read(make([]byte, 1))
		// The folder and the one around it were made for this process alone, by a host that can no longer remove them.
		if dir := os.Getenv(envSocketDir); dir != "" {
			_ = os.RemoveAll(dir)
			_ = os.Remove(filepath.Dir(dir))
		}
		ctx, cancel := context.WithTimeout(context.Background(), orphanGrace)
		defer cancel()
		go func() {
			defer cancel()
			_ = s.island.Shutdown(ctx) // nobody is left to tell
		}()
		<-ctx.Done()
		os.Exit(0) //nolint:revive // nothing of the process is to be left
	}()
}

// islandPlugin joins an island to go-plugin: the server's half when served is set, the client's otherwise.
type islandPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	served *served
}

var _ plugin.GRPCPlugin = (*islandPlugin)(nil)

// GRPCServer registers the island's services.
func (p *islandPlugin) GRPCServer(_ *plugin.GRPCBroker, server *grpc.Server) error {
	if p.served == nil {
		return errors.New("this half is the host's")
	}
	p.served.register(server)
	return nil
}

// GRPCClient hands the connection to Launch.
func (p *islandPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// readableDuration writes a duration as "1.5s", where slog's JSON would have nanoseconds.
func readableDuration(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// levelFromEnv returns the lowest level that the host wants to hear.
func levelFromEnv() slog.Level {
	var level slog.Level
	if err := level.UnmarshalText([]byte(os.Getenv(envLogLevel))); err != nil {
		return slog.LevelInfo
	}
	return level
}

// requestHandler adds the id of the client's request to what is logged with its context.
type requestHandler struct{ slog.Handler }

// Handle adds the request id.
func (h *requestHandler) Handle(ctx context.Context, record slog.Record) error {
	if id := sdk.RequestID(ctx); id != "" {
		record.AddAttrs(slog.String("request_id", id))
	}
	return h.Handler.Handle(ctx, record)
}

// WithAttrs keeps the wrapping.
func (h *requestHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &requestHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup keeps the wrapping.
func (h *requestHandler) WithGroup(name string) slog.Handler {
	return &requestHandler{h.Handler.WithGroup(name)}
}
