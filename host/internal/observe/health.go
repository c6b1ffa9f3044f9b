package observe

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/service-islands/islands/sdk"
)

// IslandState is what the health of the system is made of: one island as its supervisor knows it.
type IslandState struct {
	Name  string
	Layer sdk.Layer
	// State as the supervisor names it: starting, running, restarting, crash_loop, stopped, disabled or failed.
	State string
	// Health that the island last reported; it counts while the island runs.
	Health sdk.Health
	// Since is when the state was entered.
	Since time.Time
}

// SystemHealth is the answer of /health/system.
type SystemHealth struct {
	Layer1 LayerHealth `json:"layer1"`
	Layer2 LayerHealth `json:"layer2"`
	Layer3 LayerHealth `json:"layer3"`
	Layer4 LayerHealth `json:"layer4"`
	Layer5 LayerHealth `json:"layer5"`
	// Overall is the worst of the layers.
	Overall sdk.Status `json:"overall"`
	// Reasons of every layer that is not ok, the lowest layer first.
	Reasons   []string  `json:"reasons"`
	Timestamp time.Time `json:"timestamp"`
}

// LayerHealth is the health of one layer: the worst of its islands and of what the host does in it.
type LayerHealth struct {
	Status sdk.Status `json:"status"`
	// Reason names each part that is not ok and why, the worst first; empty when ok.
	Reason  string         `json:"reason"`
	Islands []IslandHealth `json:"islands"`
}

// IslandHealth is the health of one island.
type IslandHealth struct {
	Name   string     `json:"name"`
	Status sdk.Status `json:"status"`
	Reason string     `json:"reason"`
	Since  time.Time  `json:"since"`
}

// StatusOf folds an island's state and last health into one status and reason. An island that is being started or
// restarted is degraded, because that passes by itself; one that stays down is failed; a disabled one is ok, because
// somebody wanted it so.
func StatusOf(island IslandState) (sdk.Status, string) {
	switch island.State {
	case "running":
		return island.Health.Status, island.Health.Reason
	case "disabled":
		return sdk.StatusOK, "disabled"
	case "starting", "restarting":
		return sdk.StatusDegraded, "is " + island.State
	case "crash_loop":
		return sdk.StatusFailed, "crashed too often and waits for a reset or the next probe"
	case "failed":
		return sdk.StatusFailed, "cannot be started"
	default:
		return sdk.StatusFailed, "is " + cmp.Or(island.State, "in no known state")
	}
}

// System folds the islands' states, and the health of what the host itself does in a layer, into the health of the
// whole. Islands keep the order they come in.
func System(at time.Time, islands []IslandState, host map[sdk.Layer]sdk.Health) SystemHealth {
	out := SystemHealth{Timestamp: at.UTC(), Reasons: []string{}}
	layers := []*LayerHealth{&out.Layer1, &out.Layer2, &out.Layer3, &out.Layer4, &out.Layer5}
	for i, layer := range layers {
		number := sdk.Layer(i + 1)
		*layer = layerHealth(number, islands, host[number])
		out.Overall = sdk.Worst(out.Overall, layer.Status)
		if layer.Status != sdk.StatusOK {
			out.Reasons = append(out.Reasons, number.String()+": "+layer.Reason)
		}
	}
	return out
}

func layerHealth(layer sdk.Layer, islands []IslandState, host sdk.Health) LayerHealth {
	type fault struct {
		status sdk.Status
		text   string
	}
	out := LayerHealth{Status: host.Status, Islands: []IslandHealth{}}
	var faults []fault
	if host.Status != sdk.StatusOK {
		faults = append(faults, fault{host.Status, cmp.Or(host.Reason, host.Status.String())})
	}
	for _, island := range islands {
		if island.Layer != layer {
			continue
		}
		status, reason := StatusOf(island)
		out.Islands = append(out.Islands, IslandHealth{Name: island.Name, Status: status, Reason: reason, Since: island.Since.UTC()})
		out.Status = sdk.Worst(out.Status, status)
		if status != sdk.StatusOK {
			faults = append(faults, fault{status, island.Name + ": " + cmp.Or(reason, status.String())})
		}
	}
	slices.SortStableFunc(faults, func(a, b fault) int { return cmp.Compare(b.status, a.status) })
	texts := make([]string, len(faults))
	for i, f := range faults {
		texts[i] = f.text
	}
	out.Reason = strings.Join(texts, "; ")
	return out
}
