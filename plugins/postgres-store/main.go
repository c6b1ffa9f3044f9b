package main

import (
	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// manifest says what this island is.
var manifest = sdk.Manifest{
	Name:        "postgres-store",
	Version:     "1.0.0",
	Layer:       sdk.LayerInfrastructure,
	Description: "Keeps quotes, candles and answers in a Postgres database that several hosts may share.",
	Settings:    sdk.SettingsOf(settings{}),
	StopFirst:   true, // Two that migrate or prune one database at once would meet in its locks.
}

func main() { process.Serve(manifest, newStore()) }
