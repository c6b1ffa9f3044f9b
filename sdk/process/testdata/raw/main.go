// Raw is an island that was built without the kit's server, as a hostile one would be: nothing on its side keeps it from sending
// what no island may send. It is a source of quotes.
//
// TROUBLE in its environment is the address of the test that started it: GET /next waits for what to do from then on, and
// POST /tell takes what is to be told.
package main

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/service-islands/islands/sdk"
	pb "github.com/service-islands/islands/sdk/internal/islandpb"
)

func main() {
	manifest := sdk.Manifest{
		Name: "raw", Version: "6.6.6", Layer: sdk.LayerExternalServices, Description: "Sends what no island may send.",
		Protocol: sdk.Protocol{Major: sdk.ProtocolMajor}, Roles: []sdk.Role{sdk.RoleQuotes, sdk.RoleStream},
	}
	if len(os.Args) > 1 {
		_ = json.NewEncoder(os.Stdout).Encode(manifest)
		return
	}
	r := &raw{manifest: manifest}
	go r.obey()
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion: sdk.ProtocolMajor, MagicCookieKey: "SERVICE_ISLANDS_ISLAND", MagicCookieValue: os.Getenv("SERVICE_ISLANDS_ISLAND"),
		},
		Plugins: plugin.PluginSet{"island": &joint{raw: r}},
		Logger:  hclog.NewNullLogger(),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.MaxSendMsgSize(math.MaxInt))...)
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
	return nil, nil
}

// raw is the island.
type raw struct {
	pb.UnimplementedIslandServiceServer
	pb.UnimplementedSourceServiceServer
	manifest sdk.Manifest
	order    atomic.Pointer[string]
}

// obey does from now on what the test says.
func (r *raw) obey() {
	for {
		resp, err := http.Get(os.Getenv("TROUBLE") + "/next")
		if err != nil {
			time.Sleep(100 * time.Millisecond) // The test is over, and soon the process.
			continue
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if order := string(text); order != "" {
			r.order.Store(&order)
			if told, err := http.Post(os.Getenv("TROUBLE")+"/tell", "text/plain", strings.NewReader("is "+order)); err == nil {
				_ = told.Body.Close()
			}
		}
	}
}

func (r *raw) is(order string) bool {
	now := r.order.Load()
	return now != nil && *now == order
}

// Manifest says what the island is.
func (r *raw) Manifest(context.Context, *pb.ManifestRequest) (*pb.ManifestResponse, error) {
	m := &pb.Manifest{
		Name: r.manifest.Name, Version: r.manifest.Version, Layer: uint32(r.manifest.Layer), ProtocolMajor: sdk.ProtocolMajor,
	}
	for _, role := range r.manifest.Roles {
		m.Roles = append(m.Roles, string(role))
	}
	return &pb.ManifestResponse{Manifest: m}, nil
}

// Initialize takes what it is given.
func (r *raw) Initialize(context.Context, *pb.InitializeRequest) (*pb.InitializeResponse, error) {
	return &pb.InitializeResponse{}, nil
}

// Health is well, whatever the island does.
func (r *raw) Health(context.Context, *pb.HealthRequest) (*pb.HealthResponse, error) {
	if r.is("ill at length") {
		return &pb.HealthResponse{Status: 99, Reason: strings.Repeat("<b>ill</b>\r\n", 1<<20)}, nil
	}
	return &pb.HealthResponse{Status: pb.Status_STATUS_OK}, nil
}

// Metrics are none, or more than anybody wants.
func (r *raw) Metrics(context.Context, *pb.MetricsRequest) (*pb.MetricsResponse, error) {
	return &pb.MetricsResponse{}, nil
}

// Shutdown does nothing, for ever.
func (r *raw) Shutdown(context.Context, *pb.ShutdownRequest) (*pb.ShutdownResponse, error) {
	select {}
}

// Quotes answers what no source may answer.
func (r *raw) Quotes(_ context.Context, req *pb.QuotesRequest) (*pb.QuotesResponse, error) {
	return &pb.QuotesResponse{Quotes: r.quotes(req.GetAssets(), req.GetVsCurrency())}, nil
}

func (r *raw) quotes(assets []*pb.Asset, currency string) (quotes []*pb.Quote) {
	for _, a := range assets {
		price := math.NaN()
		q := &pb.Quote{Id: a.GetId(), Symbol: a.GetSymbol(), VsCurrency: currency, Price: &price, AsOf: timestamppb.Now()}
		infinite := math.Inf(-1)
		q.Volume_24H, q.MarketCap = &infinite, &infinite
		switch {
		case r.is("giant"):
			q.Name = strings.Repeat("x", 64<<20)
		case r.is("colossal"):
			q.Name = strings.Repeat("x", 1<<30)
		case r.is("no time"):
			q.AsOf = &timestamppb.Timestamp{Seconds: math.MaxInt64, Nanos: -1}
		case r.is("no text"):
			q.Symbol, q.Name = "\xff\xfe", "\xff\x00"
		}
		quotes = append(quotes, q)
	}
	if r.is("nothing") {
		return append(quotes, nil, &pb.Quote{})
	}
	return quotes
}

// Stream sends as fast as it can.
func (r *raw) Stream(req *pb.StreamRequest, stream grpc.ServerStreamingServer[pb.StreamResponse]) error {
	for {
		pause := time.Second
		if r.is("torrent") {
			pause = 0
		}
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-time.After(pause):
		}
		if err := stream.Send(&pb.StreamResponse{Seq: 7, Quotes: r.quotes(req.GetAssets(), req.GetVsCurrency())}); err != nil {
			return err
		}
	}
}
