package process

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	pb "github.com/service-islands/islands/sdk/internal/islandpb"
)

// CutLifeline does to the island what the end of the host does: its lifeline ends, and nothing else happens to it. An
// island shuts down then and exits.
func (p *Process) CutLifeline() { _ = p.runner.lifeline.Close() }

// Methods lists what an island may be asked, in the names of the wire such as "/islands.v1.IslandService/Health": the methods
// that are answered once.
func Methods() []string {
	var names []string
	for _, service := range []grpc.ServiceDesc{
		pb.IslandService_ServiceDesc, pb.SourceService_ServiceDesc, pb.CacheService_ServiceDesc, pb.CoordinatorService_ServiceDesc,
		pb.StoreService_ServiceDesc, pb.ReporterService_ServiceDesc,
	} {
		for _, method := range service.Methods {
			names = append(names, "/"+service.ServiceName+"/"+method.MethodName)
		}
	}
	return names
}

// Send makes a call with the bytes of a request as they are, sensible or not, and returns those of the answer. Errors carry
// the kinds of package sdk; a method that the island does not know is Unsupported.
func (p *Process) Send(ctx context.Context, method string, request []byte) ([]byte, error) {
	var answer []byte
	err := p.conn.Invoke(ctx, method, &request, &answer, grpc.ForceCodecV2(asItIs{}))
	return answer, errorFromWire(err, p.island.hide)
}

// asItIs is a codec that takes bytes for messages.
type asItIs struct{}

// Marshal returns the bytes that v points to.
func (asItIs) Marshal(v any) (mem.BufferSlice, error) {
	data, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("%T is not bytes", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(*data)}, nil
}

// Unmarshal puts the bytes where v points to.
func (asItIs) Unmarshal(data mem.BufferSlice, v any) error {
	into, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("%T cannot take bytes", v)
	}
	*into = data.Materialize()
	return nil
}

// Name is that of the codec whose messages these may be.
func (asItIs) Name() string { return "proto" }
