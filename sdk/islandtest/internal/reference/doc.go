// Package reference holds islands that keep the contract but for one flaw, which may be none: what the conformance kit is
// tried on, in the process of its tests and as programs.
package reference

import (
	"time"

	"github.com/service-islands/islands/sdk"
)

// Beat is how often the stream of a memory beats, so that the kit need not wait long for itself.
const Beat = beat

// Manifest is that of an island of a kind: "source", "memory", "store" or "reporter".
func Manifest(kind string) sdk.Manifest {
	layer := map[string]sdk.Layer{
		"source": sdk.LayerExternalServices, "memory": sdk.LayerInfrastructure, "store": sdk.LayerInfrastructure, "reporter": sdk.LayerBusinessLogic,
	}[kind]
	return sdk.Manifest{
		Name: "reference", Version: "1.0.0-rc.1", Layer: layer, Description: "What the kit is tried on.", Settings: sdk.SettingsOf(settings{}),
	}
}

// New returns an island of a kind with a flaw. What a leaking one leaves behind ends when leak is closed.
func New(kind, flaw string, leak chan struct{}) sdk.IslandComponent {
	switch kind {
	case "source":
		s := newSource(flaw)
		s.leak = leak
		return s
	case "memory":
		m := newMemory(flaw)
		m.leak = leak
		return m
	case "store":
		s := newTable(flaw)
		s.leak = leak
		return s
	case "reporter":
		return &reporter{life{flaw: flaw, leak: leak}}
	default:
		return &life{flaw: flaw, leak: leak}
	}
}

// Request is one that a reporter can serve.
func Request() sdk.ReportRequest {
	return sdk.ReportRequest{Report: "brief", Now: time.Now(), Quote: &sdk.Quote{Symbol: "btc", Price: sdk.Known(1.5)}}
}
