package main

import (
	"path/filepath"
	"testing"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/islandtest"
)

func TestConformance(t *testing.T) {
	islandtest.Run(t, islandtest.Subject{
		Manifest: manifest,
		New:      func(testing.TB) sdk.IslandComponent { return newStore() },
		Settings: func(tb testing.TB) map[string]any {
			tb.Helper()
			return map[string]any{"path": filepath.Join(tb.TempDir(), "islands.db")}
		},
	})
}
