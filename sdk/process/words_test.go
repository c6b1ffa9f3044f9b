package process

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/service-islands/islands/sdk"
	pb "github.com/service-islands/islands/sdk/internal/islandpb"
)

// TestWhatAHostileIslandSaysIsBounded reads what no half of this package would send: the host must not keep, log or show it whole.
func TestWhatAHostileIslandSaysIsBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("€", 1<<20)
	details, err := structpb.NewStruct(map[string]any{"a": long})
	if err != nil {
		t.Fatal(err)
	}
	parts := make([]*pb.Part, 1000)
	for i := range parts {
		parts[i] = &pb.Part{Name: long, Reason: long, Details: details}
	}
	health := healthFromWire(&pb.HealthResponse{Status: 99, Reason: long, Parts: parts}, nil)
	if health.Status != sdk.StatusFailed || len(health.Reason) > maxReason+4 || !strings.HasSuffix(health.Reason, "€…") || len(health.Parts) != maxParts {
		t.Errorf("%v, a reason of %d bytes, %d parts", health.Status, len(health.Reason), len(health.Parts))
	}
	if p := health.Parts[0]; len(p.Name) > maxName+4 || len(p.Reason) > maxReason+4 || p.Details != nil {
		t.Errorf("a part with a name of %d bytes, a reason of %d and %d details", len(p.Name), len(p.Reason), len(p.Details))
	}
	st, err := status.New(codes.Internal, long).WithDetails(&pb.Failure{Kind: pb.Kind_KIND_CONFLICT, Message: long, Setting: long})
	if err != nil {
		t.Fatal(err)
	}
	for _, wire := range []error{st.Err(), status.Error(codes.Internal, long)} {
		var failure *sdk.Error
		if err := errorFromWire(wire, nil); !errors.As(err, &failure) || len(failure.Error()) > 3*maxMessage || len(failure.Setting) > maxName+4 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	}
	if m := manifestFromWire(&pb.Manifest{Name: long, Version: long}, nil); len(m.Name) > maxName+4 || len(m.Version) > maxName+4 {
		t.Errorf("a name of %d bytes, a version of %d", len(m.Name), len(m.Version))
	}
	metrics := make([]*pb.Metric, 2*maxMetrics)
	for i := range metrics {
		metrics[i] = &pb.Metric{Name: "m", Samples: make([]*pb.Sample, maxSamples/100)}
	}
	if got := metricsFromWire(metrics, nil); len(got) != 100 {
		t.Errorf("%d metrics", len(got))
	}
}
