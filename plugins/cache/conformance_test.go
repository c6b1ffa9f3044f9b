package main

import (
	"testing"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/islandtest"
	"github.com/service-islands/islands/sdk/islandtest/servers"
)

func TestConformance(t *testing.T) {
	redisServer := servers.Redis(t)
	for name, values := range map[string]map[string]any{
		"memory": nil,
		"redis":  {"redis_url": redisServer.URL(), "l2_timeout": "2s"},
	} {
		t.Run(name, func(t *testing.T) {
			islandtest.Run(t, islandtest.Subject{
				Manifest: manifest(),
				New:      func(testing.TB) sdk.IslandComponent { return newCache() },
				Settings: func(testing.TB) map[string]any { return values },
			})
		})
	}
}
