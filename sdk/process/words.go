package process

import (
	"maps"
	"slices"
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

// redact takes out of a text what must not get out; nil takes out nothing.
type redact func(string) string

// text returns a text without what must not get out.
func (r redact) text(text string) string {
	if r == nil {
		return text
	}
	return r(text)
}

// words is what is left of a text of an island's, cut where it is longer than that many bytes. It is cut last, so that no
// half of what must not get out is left.
func (r redact) words(text string, most int) string { return words(r.text(text), most) }

// labels returns what the labels of a sample say; their names are the island's code.
func (r redact) labels(labels map[string]string) map[string]string {
	if r == nil {
		return labels
	}
	for name, value := range labels {
		if hidden := r(value); hidden != value {
			labels[name] = hidden
		}
	}
	return labels
}

// value returns the value of a detail: texts, and those in lists and maps, whose keys may be anything.
func (r redact) value(value any) any {
	switch value := value.(type) {
	case string:
		return r(value)
	case []any:
		for i, v := range value {
			value[i] = r.value(v)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) { // Those of before, because some get new ones.
			v := r.value(value[key])
			delete(value, key)
			value[r(key)] = v
		}
	}
	return value
}

// words returns the text, cut where it is longer than that many bytes.
func words(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// detailsFromWire translates the details of a part of an island; more than anybody would read are none.
func detailsFromWire(details *structpb.Struct, hide redact) map[string]any {
	if details == nil || proto.Size(details) > maxDetails {
		return nil
	}
	out := details.AsMap()
	if hide != nil {
		hide.value(out)
	}
	return out
}

// metricsFromWire translates what an island counts, as much of it as there may be.
func metricsFromWire(metrics []*pb.Metric, hide redact) sdk.Metrics {
	if metrics == nil {
		return nil
	}
	out, samples := make(sdk.Metrics, 0, min(len(metrics), maxMetrics)), 0
	for _, m := range metrics[:min(len(metrics), maxMetrics)] {
		if samples += len(m.GetSamples()); samples > maxSamples {
			break
		}
		out = append(out, metricFromWire(m, hide))
	}
	return out
}
