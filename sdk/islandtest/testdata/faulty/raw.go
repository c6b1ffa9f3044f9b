package main

import (
	"context"
	"encoding/json"
	"os"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // The codec that a flaw wraps.
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/service-islands/islands/sdk"
	pb "github.com/service-islands/islands/sdk/internal/islandpb"
)

// raw is a source of quotes that serves the contract by itself, as one in another language does: nothing keeps its flaws from
// whoever calls it. Without a flaw it does what its caller may expect of its life, and no more.
type raw struct {
	pb.UnimplementedIslandServiceServer
	pb.UnimplementedSourceServiceServer
	manifest sdk.Manifest
	flaw     string

	starts  atomic.Int64
	working atomic.Int64
	stopped atomic.Bool
}

// serveRaw is the whole life of a raw island.
func serveRaw(manifest sdk.Manifest, flaw string) {
	manifest.Roles, manifest.Protocol = []sdk.Role{sdk.RoleQuotes}, sdk.Protocol{Major: sdk.ProtocolMajor, Minor: sdk.ProtocolMinor}
	if len(os.Args) > 1 {
		_ = json.NewEncoder(os.Stdout).Encode(manifest)
		return
	}
	r := &raw{manifest: manifest, flaw: flaw}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion: sdk.ProtocolMajor, MagicCookieKey: "SERVICE_ISLANDS_ISLAND", MagicCookieValue: os.Getenv("SERVICE_ISLANDS_ISLAND"),
		},
		Plugins: plugin.PluginSet{"island": &joint{raw: r}},
		Logger:  hclog.NewNullLogger(),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.ForceServerCodecV2(&reader{encoding.GetCodecV2("proto"), flaw}))...)
		},
	})
}

// joint joins the island to go-plugin.
type joint struct {
	plugin.NetRPCUnsupportedPlugin
	raw *raw
}

// GRPCServer registers the island's services.
func (j *joint) GRPCServer(_ *plugin.GRPCBroker, server *grpc.Server) error {
	pb.RegisterIslandServiceServer(server, j.raw)
	pb.RegisterSourceServiceServer(server, j.raw)
	return nil
}

// GRPCClient is the host's half.
func (j *joint) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil //nolint:nilnil // Nobody asks for it here.
}

// reader reads messages, with the flaws of that.
type reader struct {
	encoding.CodecV2
	flaw string
}

// Unmarshal reads a message.
func (r *reader) Unmarshal(data mem.BufferSlice, v any) error {
	err := r.CodecV2.Unmarshal(data, v)
	if err == nil {
		return nil
	}
	switch r.flaw {
	case "reads anything":
		return nil
	case "dies of bytes":
		panic(err)
	case "ponders over bytes":
		time.Sleep(time.Hour)
	}
	return err
}

// Manifest says what the island is.
func (r *raw) Manifest(context.Context, *pb.ManifestRequest) (*pb.ManifestResponse, error) {
	return &pb.ManifestResponse{Manifest: &pb.Manifest{
		Name: r.manifest.Name, Version: r.manifest.Version, Layer: uint32(r.manifest.Layer), ProtocolMajor: sdk.ProtocolMajor,
		ProtocolMinor: sdk.ProtocolMinor, Roles: []string{string(sdk.RoleQuotes)},
	}}, nil
}

// Initialize takes settings, once.
func (r *raw) Initialize(_ context.Context, req *pb.InitializeRequest) (*pb.InitializeResponse, error) {
	var values map[string]any
	if err := json.Unmarshal([]byte(req.GetSettingsJson()), &values); err != nil {
		switch r.flaw {
		case "takes any settings":
		case "dies of settings":
			panic(err)
		case "misnames bad settings":
			return nil, status.Error(codes.Internal, "bad settings")
		default:
			return nil, status.Error(codes.InvalidArgument, "the settings are no object of JSON")
		}
	}
	if r.starts.Add(1) == 1 {
		return &pb.InitializeResponse{}, nil
	}
	switch r.flaw {
	case "dies of a second start":
		panic("the second start")
	case "hangs in a second start":
		time.Sleep(time.Hour)
	}
	return nil, status.Error(codes.InvalidArgument, "it was initialized")
}

// Health is ok once the island was initialized.
func (r *raw) Health(context.Context, *pb.HealthRequest) (*pb.HealthResponse, error) {
	starts := r.starts.Load()
	switch {
	case r.flaw == "well before its start":
	case starts == 0:
		return &pb.HealthResponse{Status: pb.Status_STATUS_FAILED, Reason: "not initialized"}, nil
	case starts > 1 && r.flaw == "ill after a second start":
		return &pb.HealthResponse{Status: pb.Status_STATUS_FAILED, Reason: "initialized twice"}, nil
	}
	return &pb.HealthResponse{Status: pb.Status_STATUS_OK}, nil
}

// Metrics are none.
func (r *raw) Metrics(context.Context, *pb.MetricsRequest) (*pb.MetricsResponse, error) {
	return &pb.MetricsResponse{}, nil
}

// Shutdown stops the island.
func (r *raw) Shutdown(context.Context, *pb.ShutdownRequest) (*pb.ShutdownResponse, error) {
	r.stopped.Store(true)
	for r.flaw == "waits for the last call" && r.working.Load() > 0 {
		time.Sleep(time.Millisecond)
	}
	if r.flaw == "dies of a call at its end" {
		time.Sleep(100 * time.Millisecond) // So that there are some.
	}
	return &pb.ShutdownResponse{}, nil
}

// Quotes answers with one price for all.
func (r *raw) Quotes(ctx context.Context, req *pb.QuotesRequest) (*pb.QuotesResponse, error) {
	r.working.Add(1)
	defer r.working.Add(-1)
	switch {
	case r.starts.Load() == 0 && r.flaw == "dies of an early call":
		panic("called before Initialize")
	case r.starts.Load() == 0 && r.flaw == "hangs in an early call":
		time.Sleep(time.Hour)
	case r.starts.Load() == 0:
		return nil, status.Error(codes.Unavailable, "not initialized")
	case r.stopped.Load() && r.flaw == "dies of a call at its end":
		panic("called after Shutdown")
	case r.flaw == "waits for the last call":
		time.Sleep(time.Hour)
	}
	if err := ctx.Err(); err != nil {
		return nil, status.FromContextError(err).Err()
	}
	quotes := make([]*pb.Quote, 0, len(req.GetAssets()))
	for _, a := range req.GetAssets() {
		price := 1.5
		quotes = append(quotes, &pb.Quote{
			Id: a.GetId(), Symbol: a.GetSymbol(), VsCurrency: req.GetVsCurrency(), Price: &price, AsOf: timestamppb.Now(),
		})
	}
	return &pb.QuotesResponse{Quotes: quotes}, nil
}
