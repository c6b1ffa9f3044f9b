package main

import (
	"testing"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/islandtest"
)

func TestConformance(t *testing.T) {
	shared := values(t)
	islandtest.Run(t, islandtest.Subject{
		Manifest: manifest,
		New:      func(testing.TB) sdk.IslandComponent { return newStore() },
		Settings: func(testing.TB) map[string]any { return shared },
	})
}
