package main

import (
	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// manifest says what this island is.
var manifest = sdk.Manifest{
	Name:        "sqlite-store",
	Version:     "1.0.0",
	Layer:       sdk.LayerInfrastructure,
	Description: "Keeps quotes, candles and answers in one SQLite file.",
	Settings:    sdk.SettingsOf(settings{}),
	StopFirst:   true, // The file has one writer.
}

func main() { process.Serve(manifest, newStore()) }
