package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/islandtest"
)

func TestConformance(t *testing.T) {
	e := newExchange(t)
	e.beat, e.tick, e.minute = 20*time.Millisecond, 20*time.Millisecond, 100*time.Millisecond
	upstream := islandtest.NewUpstream(t, e)
	islandtest.Run(t, islandtest.Subject{
		Manifest: manifest(),
		New:      func(testing.TB) sdk.IslandComponent { return newSource() },
		Settings: func(testing.TB) map[string]any {
			return map[string]any{
				"url": upstream.URL, "stream_url": "ws" + strings.TrimPrefix(upstream.URL, "http") + "/v2", "calls_per_minute": 100000,
			}
		},
		Assets:    []sdk.Asset{bitcoin, ether},
		Unknown:   nobody,
		Intervals: sdk.Intervals(),
		Break:     upstream.Break,
	})
}

// TestReadmeNamesEverySetting keeps the table of settings complete.
func TestReadmeNamesEverySetting(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range manifest().Settings {
		if row := "| `" + s.Name + "` | " + string(s.Type) + " | `" + s.Default + "` |"; !strings.Contains(string(readme), row) {
			t.Errorf("README.md has no row %q", row)
		}
	}
}
