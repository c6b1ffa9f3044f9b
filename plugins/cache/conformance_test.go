package main

import (
	"testing"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/islandtest"
	"github.com/service-islands/islands/sdk/islandtest/servers"
)

func TestConformance(t *testing.T) {
	server := servers.Redis(t)
	for name, set := range map[string]values{
		"l1":        nil,
		"l1 and l2": {"redis_url": server.URL(), "l2_timeout": patient},
	} {
		t.Run(name, func(t *testing.T) {
			islandtest.Run(t, islandtest.Subject{
				Manifest: manifest(),
				New:      func(testing.TB) sdk.IslandComponent { return newCache() },
				Settings: func(testing.TB) map[string]any { return set },
			})
		})
	}
}
