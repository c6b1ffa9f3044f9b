package process

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/service-islands/islands/sdk"
	pb "github.com/service-islands/islands/sdk/internal/islandpb"
)

// Bounds on what an island says about itself. Its own half keeps some of them, but a hostile island need not have that half,
// and what it says is logged, kept and shown.
const (
	maxReason  = 1 << 10
	maxName    = 256
	maxParts   = 64
	maxDetails = 16 << 10
	maxMetrics = 1000
	maxSamples = 10_000 // of all metrics together
)

// words returns the text, cut where it is longer than that many bytes.
func words(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// detailsFromWire translates the details of a part of an island; more than anybody would read are none.
func detailsFromWire(details *structpb.Struct) map[string]any {
	if details == nil || proto.Size(details) > maxDetails {
		return nil
	}
	return details.AsMap()
}

// metricsFromWire translates what an island counts, as much of it as there may be.
func metricsFromWire(metrics []*pb.Metric) sdk.Metrics {
	if metrics == nil {
		return nil
	}
	out, samples := make(sdk.Metrics, 0, min(len(metrics), maxMetrics)), 0
	for _, m := range metrics[:min(len(metrics), maxMetrics)] {
		if samples += len(m.GetSamples()); samples > maxSamples {
			break
		}
		out = append(out, metricFromWire(m))
	}
	return out
}
